"""A jobs.py that takes long to import, and to list its subjects: the page goes on meanwhile."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from progress.backend.connection import ProgressConnection
from tests.browser.conftest import Server, Viewer, copy_project, free_port, start_and_wait
from tests.browser.test_live import steps_shown

Visit = Callable[..., Viewer]

JOBS = """
import time
from pathlib import Path

def wait(name):
    while not Path(name).exists():
        time.sleep(0.1)

def subjects():
    wait("listed")
    return ["first"]

wait("imported")
JOBS = {"job": lambda report, subject: None}
"""


@pytest.fixture
def slow(environment: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    """A copy of the app, on the same backend, whose jobs.py waits for the test."""
    project = copy_project(tmp_path)
    (project / "jobs.py").write_text(JOBS, "utf-8")
    server = Server(environment | {"JOBS_MODULE": "jobs"}, free_port(), project)
    server.start()
    yield server
    server.stop()


def test_a_page_polls_and_cancels_while_jobs_py_is_loading(
    visit: Visit, slow: Server, connection: ProgressConnection
) -> None:
    operation_id = start_and_wait(connection, "endless")
    viewer = visit(f"/?operation={operation_id}", at=slow)
    board = visit("/board", at=slow)
    expect(board.page.get_by_placeholder("Loading jobs")).to_be_disabled()
    line = viewer.page.get_by_text("Loading jobs.py and the subjects")
    expect(line).to_be_visible()
    viewer.see("steps so far")
    before = steps_shown(viewer)
    viewer.wait_for(lambda: steps_shown(viewer) > before + 1)
    (slow.folder / "imported").touch()
    viewer.expect_polling()
    viewer.page.click(".st-key-cancel button")
    viewer.see("Cancelled after")
    expect(line).to_be_visible()
    expect(viewer.page.locator(".st-key-subject")).to_have_count(0)
    (slow.folder / "listed").touch()
    viewer.wait_until_startable()
    expect(line).to_have_count(0)
    viewer.expect_no_polling()
    expect(board.page.get_by_placeholder("Any job")).to_be_enabled()
    board.expect_no_polling()
