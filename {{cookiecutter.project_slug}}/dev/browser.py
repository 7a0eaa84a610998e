"""Find a browser for the tests, or install it: `uv run --group browser python -m dev.browser`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ADVICE = "No browser was found, and none could be installed: install Chromium or Google Chrome."


def find_browser() -> str | None:
    """Return the path of an installed Chromium or Chrome, or None."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def install_browser() -> str | None:
    """Install Playwright's browser, or else the system's package if this user may."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    download = [sys.executable, "-m", "playwright", "install", "chromium"]
    if is_root and shutil.which("apt-get"):
        download.insert(-1, "--with-deps")
    subprocess.run(download, check=False)
    if (path := find_browser()) is None and is_root and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], check=False
        )
        path = find_browser()
    return path


if __name__ == "__main__":
    sys.exit(None if find_browser() or install_browser() else ADVICE)
