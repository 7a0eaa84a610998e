"""Make the pictures of the docs from a baked project. Part of `make screenshots`.

Usage: python docs/screenshots.py PROJECT
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

PICTURES = Path(__file__).parent / "pictures"
JOBS = Path(__file__).with_name("picture_jobs.py")
HALF_WAY = re.compile(r"\b(7|8|9|10) of 18 steps")  # not one step: a tick may miss it
STATES = {
    "succeed": "Completed",
    "partial": "Partly completed",
    "fail": "Failed after",
    "endless": "Cancelled after",
}


@contextmanager
def served(project: Path, readable: bool = True, **variables: str) -> Iterator[str]:
    """Serve a copy of the project with these variables; yield its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / "project"
        shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".local", ".venv"))
        shutil.copy(JOBS, copy)
        if not readable:  # a folder where the database should be
            (copy / ".local" / "progress.db").mkdir(parents=True)
        environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"} | variables
        command = [os.environ.get("UV", "uv"), "run", "--quiet", "python", "-m", "dev"]
        environment["PORT"] = url.rsplit(":", 1)[1]
        server = subprocess.Popen(command, cwd=copy, env=environment)
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield url
        finally:
            server.terminate()
            server.wait()


def shoot(page: Page, name: str) -> None:
    """Take a picture of the page when no tick is partly drawn."""
    page.wait_for_function("!document.querySelector('[data-stale=true]')")
    page.screenshot(path=PICTURES / f"{name}.png")


def start(page: Page, url: str, job: str | None = None, subject: str | None = None) -> None:
    """Reload the page, choose job and subject, and start an operation."""
    page.goto(url)
    page.wait_for_selector(".st-key-start button:not([disabled])")
    for key, value in {"job": job, "subject": subject}.items():
        if value is not None:
            page.click(f".st-key-{key} input")
            page.get_by_role("option", name=value, exact=True).click()
            page.wait_for_timeout(500)
    page.click(".st-key-start button")


def shoot_board(browser: Browser, page: Page, url: str) -> None:
    """Start operations, each in its own tab, and take pictures of the board and the feed."""
    for number in (2, 1, 4, 3):
        tab = browser.new_page()
        tab.goto(url)
        tab.wait_for_selector(".st-key-start button:not([disabled])")
        tab.click(".st-key-subject input")
        tab.get_by_role("option").nth(number).click()
        tab.wait_for_timeout(500)
        tab.click(".st-key-start button")
        tab.wait_for_timeout(1500)
        tab.close()
    page.set_viewport_size({"width": 1200, "height": 1040})
    page.goto(f"{url}/board")
    page.get_by_text("Select a row").wait_for()
    page.wait_for_timeout(12_000)
    shoot(page, "board")
    page.goto(f"{url}/feed")
    page.get_by_text("Latest row").wait_for()
    page.wait_for_timeout(3000)
    shoot(page, "feed")
    page.set_viewport_size({"width": 900, "height": 800})


def shoot_several(page: Page, url: str) -> None:
    """Start three operations in one session; take a picture while they run."""
    page.set_viewport_size({"width": 900, "height": 1330})
    page.goto(url)
    page.wait_for_selector(".st-key-start button:not([disabled])")
    for number in (2, 1, 4):
        page.click(".st-key-subject input")
        page.get_by_role("option").nth(number).click()
        page.wait_for_timeout(500)
        page.click(".st-key-start button")
        page.wait_for_timeout(2500)
    shoot(page, "several")
    page.set_viewport_size({"width": 900, "height": 800})


def shoot_job(page: Page, url: str) -> None:
    """Start a job with parameters; take pictures of its form, log and bars, and of its files."""
    page.set_viewport_size({"width": 900, "height": 1840})
    start(page, url, "Load orders")
    page.get_by_text("Log", exact=True).click()
    page.get_by_text(re.compile(r"1\d of 31 items")).wait_for()
    shoot(page, "parameters")
    page.get_by_text("Completed").wait_for()
    page.locator("[data-testid=stDataFrame] canvas").first.wait_for()
    page.wait_for_timeout(1000)
    shoot(page, "files")
    page.set_viewport_size({"width": 900, "height": 800})


def main(project: Path) -> None:
    """Make all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 800})
        with served(project) as url:
            start(page, url)
            page.get_by_text(HALF_WAY).wait_for()
            shoot(page, "running")
            page.get_by_text("Completed").wait_for()
            page.set_viewport_size({"width": 900, "height": 1560})
            page.locator("[data-testid=stDataFrame] canvas").first.wait_for()
            page.locator("[data-testid=stVegaLiteChart] .marks").first.wait_for()
            page.wait_for_timeout(1000)
            shoot(page, "completed")
            page.set_viewport_size({"width": 900, "height": 800})
        with served(project, STEP_SECONDS="1.5") as url:
            shoot_several(page, url)
            shoot_board(browser, page, url)
        with served(project, JOBS_MODULE=JOBS.stem) as url:
            shoot_job(page, url)
        with served(project, JOBS_MODULE="tests.jobs") as url:
            for job, words in STATES.items():
                start(page, url, job.capitalize(), "slow" if job == "endless" else "fast")
                if job == "endless":
                    page.get_by_text("3 steps so far").wait_for()
                    shoot(page, "unknown-total")
                    page.click(".st-key-cancel button")
                page.get_by_text(words).wait_for()
                page.wait_for_timeout(1000)
                if job != "succeed":
                    shoot(page, {"fail": "failed", "endless": "cancelled"}.get(job, job))
        with served(project, readable=False) as url:
            page.goto(f"{url}/?operation=0")
            page.get_by_text("cannot be read").first.wait_for()
            page.wait_for_timeout(1000)
            shoot(page, "unreachable")
        phone = browser.new_page(viewport={"width": 390, "height": 860}, color_scheme="dark")
        with served(project) as url:
            start(phone, url)
            phone.get_by_text(HALF_WAY).wait_for()
            shoot(phone, "phone-dark")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
