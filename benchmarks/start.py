"""How long it takes until a page is served: bake, downloads, start. Part of `make bench`.

Usage: uv run --directory PROJECT python start.py BACKEND RESULTS.json

Cold is `make demo` in a new clone on a machine with an empty package cache, so it measures the
network, too. A page is served when its first script run has ended.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from viewers import Figures, Viewer

TEMPLATE = Path(__file__).resolve().parents[1]
UV = os.environ.get("UV", "uv")  # uv sets it
TIMEOUT = 600
"""Seconds until a page must be served."""


def timed(*command: str, cwd: Path, **variables: str) -> float:
    """Run a command quietly; return its seconds."""
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, env=environment(**variables), check=True, capture_output=True)
    return time.perf_counter() - started


def environment(**variables: str) -> dict[str, str]:
    """Return the variables of a user's shell, without those of this environment and of make."""
    dropped = ("VIRTUAL_ENV", "MAKEFLAGS", "MFLAGS", "ANSWERS", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if name not in dropped} | variables


async def first_page(url: str) -> None:
    """Open the page; return when its first run has ended."""
    page = Viewer(url, Figures())
    task = asyncio.create_task(page.run())
    await page.opened.wait()
    task.cancel()


def demo(template: Path, backend: str, **variables: str) -> float:
    """Run `make demo`; return the seconds until the page is served."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = template / "demo.log"
    started = time.perf_counter()
    with (
        log.open("w") as file,
        subprocess.Popen(
            ["make", "demo", f"UV={UV}", f"BACKEND={backend}"],
            cwd=template,
            env=environment(PORT=str(port), **variables),
            stdout=file,
            stderr=file,
            start_new_session=True,
        ) as process,
    ):
        try:
            while process.poll() is None and time.perf_counter() - started < TIMEOUT:
                with suppress(OSError), urllib.request.urlopen(url, timeout=5):
                    asyncio.run(first_page(url))
                    return time.perf_counter() - started
                time.sleep(0.02)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    raise SystemExit(f"The project was not served.\n{log.read_text()}")


def megabytes(project: Path, folder: Path) -> float:
    """Download what production installs; return the megabytes of the wheels."""
    list_ = folder / "requirements.txt"
    timed(
        *(UV, "export", "--quiet", "--no-dev", "--no-hashes", "--output-file", str(list_)),
        cwd=project,
    )
    pip = (UV, "run", "--quiet", "--with", "pip", "python", "-m", "pip", "download", "--no-deps")
    timed(*pip, "--dest", str(folder / "wheels"), "--requirement", str(list_), cwd=project)
    return sum(file.stat().st_size for file in (folder / "wheels").iterdir()) / 1e6


def main() -> None:
    """Measure, and write the figures."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the demo ends, too
    backend = sys.argv[1]
    # Under build/, whose parents are open to others: a local server may run as another user.
    with tempfile.TemporaryDirectory(dir=TEMPLATE / "build") as name:
        folder = Path(name)
        folder.chmod(0o755)
        template = folder / "clone"
        left_out = shutil.ignore_patterns(".git", ".venv", ".tools", "build", "*_cache", "*.lock")
        shutil.copytree(TEMPLATE, template, ignore=left_out)
        timed("git", "init", "--quiet", cwd=template)
        bake = ("make", "bake", f"UV={UV}", f"BACKEND={backend}")
        row = {
            "cold_s": round(demo(template, backend, UV_CACHE_DIR=str(folder / "cache")), 1),
            "warm_s": round(demo(template, backend), 1),
            "bake_s": round(timed(*bake, cwd=template), 2),
            "wheels_mb": round(megabytes(template / "build" / f"demo-{backend}", folder), 1),
        }
    print(json.dumps(row))
    Path(sys.argv[2]).write_text(json.dumps(row))


if __name__ == "__main__":
    main()
