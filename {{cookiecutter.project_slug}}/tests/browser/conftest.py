"""A server of the app, and pages in a real browser that count what they send."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from dev.browser import ADVICE, find_browser
from progress.backend.connection import ProgressConnection
from progress.job import as_job, title
from progress.operation import new_operation_id
from progress.settings import ROOT, load_settings
from tests.conftest import wait_until
from tests.jobs import JOBS

expect.set_options(timeout=60_000)

SILENT_SECONDS = 4 + 2 * load_settings().poll_interval
"""Seconds without a frame after which it is sure that a page does not poll."""


@dataclass
class Server:
    """The app, served on a port of its own with the jobs of tests/jobs.py."""

    environment: dict[str, str]
    port: int
    folder: Path = ROOT
    is_watching: bool = False
    """Whether it reruns the pages after an edit of a file."""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """The address of the page that runs operations."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]
        command += ["--server.port", str(self.port), "--server.address", "127.0.0.1"]
        watcher = "poll" if self.is_watching else "none"
        command += ["--server.headless", "true", "--server.fileWatcherType", watcher]
        command += ["--server.runOnSave", "true"]
        self.process = subprocess.Popen(command, cwd=self.folder, env=os.environ | self.environment)
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.1)

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None


def copy_project(folder: Path) -> Path:
    """Copy the project, for a server with other files, to a folder in `folder`."""
    hidden = shutil.ignore_patterns(".local", ".venv", ".tools", ".*_cache")
    project: Path = shutil.copytree(ROOT, folder / "copy", ignore=hidden)
    return project


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server(environment: dict[str, str]) -> Iterator[Server]:
    """The app with the local server of the backend."""
    app = Server(environment, free_port())
    app.start()
    yield app
    app.stop()


@pytest.fixture(scope="session")
def pausing_server(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The app with an idle budget of three seconds."""
    project = copy_project(tmp_path_factory.mktemp("pausing"))
    settings = (project / "settings.toml").read_text("utf-8")
    budget = re.sub(r'idle_budget = "\w+"', 'idle_budget = "3s"', settings)
    (project / "settings.toml").write_text(budget, "utf-8")
    app = Server(environment, free_port(), project)
    app.start()
    yield app
    app.stop()


@pytest.fixture(scope="session")
def window() -> Iterator[BrowserContext]:
    """A window of a headless browser."""
    path = find_browser()
    assert path is not None, ADVICE
    with sync_playwright() as playwright:
        # As root, as in most containers, Chromium needs --no-sandbox. Tabs that share a process
        # share the app's compiled JavaScript: opening one costs a third (measured: 0.7 s of 2.3 s).
        args = ["--no-sandbox", "--process-per-site"]
        yield playwright.chromium.launch(executable_path=path, args=args).new_context()


@dataclass
class Viewer:
    """A page, and the number of websocket frames that it has sent."""

    page: Page
    sent: int = 0

    def choose(self, key: str, value: str) -> None:
        """Choose an option of a selectbox, unless it is chosen."""
        box = self.page.locator(f".st-key-{key} input")
        if key.endswith("job"):
            value = title(value, as_job(JOBS[value]) if value in JOBS else None)
        option = self.page.get_by_role("option", name=value, exact=True)
        if box.input_value() == value:
            return
        for _ in range(3):  # on a busy machine, a list was once not open after a click
            box.click()
            with suppress(PlaywrightTimeout):
                option.click(timeout=5_000)
                break
        expect(box).to_have_value(value)
        expect(self.page.get_by_test_id("stStatusWidget")).to_have_count(0)

    def start(self, job: str, subject: str = "fast") -> None:
        """Start an operation, once the page is ready for it."""
        self.choose("job", job)
        self.choose("subject", subject)
        self.page.click(".st-key-start button")

    def toggle(self) -> None:
        """Press the toggle "Live"."""
        self.page.click(".st-key-live label")

    def see(self, text: str | re.Pattern[str]) -> None:
        """Wait until the page shows a text."""
        expect(self.page.get_by_text(text).first).to_be_visible()

    def wait_until_startable(self) -> None:
        """Wait until the start button can be pressed."""
        # During a rerun there may be a second button for a moment, the one of the last run.
        expect(self.page.locator(".st-key-start button:enabled")).to_have_count(1)

    def frames_in(self, seconds: float) -> int:
        """Return how many frames the page sends in the coming seconds."""
        before = self.sent
        self.page.wait_for_timeout(seconds * 1000)
        return self.sent - before

    def expect_no_polling(self) -> None:
        """Fail if the page polls."""
        for _ in range(10):  # what the last run was still to send is not polling
            if self.frames_in(1) == 0:
                break
        assert self.frames_in(SILENT_SECONDS) == 0

    def expect_polling(self) -> None:
        """Fail unless the page polls."""
        before = self.sent
        self.wait_for(lambda: self.sent > before + 1)

    def resume(self) -> None:
        """Press the button of a paused page, and fail unless it polls then."""
        before = self.sent
        self.page.click(".st-key-resume button")
        self.wait_for(lambda: self.sent > before + 1)  # the click, and a tick

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds that the page does not show."""
        for _ in range(120):
            if condition():
                return
            self.frames_in(0.5)
        raise AssertionError("it did not come true in time")


@pytest.fixture(scope="module")
def visit(window: BrowserContext, server: Server) -> Iterator[Callable[..., Viewer]]:
    """A function that opens a page of the app in a tab of its own."""
    viewers: list[Viewer] = []

    def open_page(path: str = "/", at: Server = server) -> Viewer:
        viewer = Viewer(window.new_page())

        def count(frame: str | bytes) -> None:
            viewer.sent += 1

        viewer.page.on("websocket", lambda socket: socket.on("framesent", count))
        viewer.page.goto(at.url + path)
        viewers.append(viewer)
        return viewer

    yield open_page
    for viewer in viewers:
        viewer.page.close()


def start_and_wait(connection: ProgressConnection, job: str, subject: str = "slow") -> str:
    """Start an operation of the tests, without the page, and wait until it runs."""
    operation_id = new_operation_id()
    connection.start(operation_id, job, subject, "")
    wait_until(connection, operation_id, lambda operation: operation.current_step > 0)
    return operation_id


def operation_in(viewer: Viewer) -> str:
    """Return the id in the URL."""
    found = re.search(r"operation=(\w+)", viewer.page.url)
    assert found is not None, viewer.page.url
    return found[1]
