"""Memory of the server while a browser polls the board: run it inside a baked SQLite project.

    uv run --group browser python ../../benchmarks/memory.py [TICKS]

Two endless operations run, the poll interval is 0.2 s, and what the page sends is counted as ticks.
It prints the resident memory of the server (Linux only) and the size of the page's heap.
"""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.getcwd())

from dev.browser import find_browser
from playwright.sync_api import sync_playwright
from progress.backend import ProgressConnection
from progress.operation import new_operation_id
from progress.settings import ROOT
from tests.browser.conftest import Server, free_port


def resident(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def main(ticks: int) -> None:
    """Print the memory ten times, at equal distances."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".local", ".venv"))
        settings = (project / "settings.toml").read_text("utf-8")
        fast = re.sub(r'poll_interval = "[^"]*"', 'poll_interval = "0.2s"', settings)
        (project / "settings.toml").write_text(fast, "utf-8")
        database = Path(folder) / "progress.db"
        environment = {"JOBS_MODULE": "tests.jobs", "PROGRESS_DATABASE": str(database)}
        os.environ.update(environment)
        connection = ProgressConnection("progress")
        operations = [new_operation_id(), new_operation_id()]
        app = Server(environment, free_port(), project)
        app.start()
        try:
            measure(app, connection, operations, ticks)
        finally:
            app.stop()
            for operation_id in operations:
                connection.cancel(operation_id)
            connection.reset()


def measure(app: Server, connection: ProgressConnection, operations: list[str], ticks: int) -> None:
    """Open the board and read the memory as it polls."""
    sent = 0

    def count(frame: str | bytes) -> None:
        nonlocal sent
        sent += 1

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--enable-precise-memory-info"]
        )
        page = browser.new_page()
        page.on("websocket", lambda socket: socket.on("framesent", count))
        page.goto(f"{app.url}/board")
        page.get_by_text("History").first.wait_for()
        page.click(".st-key-live label")
        for mark in range(ticks // 10, ticks + 1, ticks // 10):
            while sent < mark:
                for operation_id in operations:  # the same id twice is one operation
                    connection.start(operation_id, "endless", "slow", "")
                page.wait_for_timeout(500)
            assert app.process is not None
            heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
            print(
                f"{sent:6} ticks: server {resident(app.process.pid):6.1f} MB, page {heap:5.1f} MB",
                flush=True,
            )
        browser.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
