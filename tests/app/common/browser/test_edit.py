"""Files of the project are edited while the app is served, and an operation runs."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.app.axe import expect_accessible
from tests.browser.conftest import Server, Viewer, copy_project, free_port

Visit = Callable[..., Viewer]

JOBS = """
import time
from pathlib import Path

def subjects():
    return ["first", "second"]

def fail(report, subject):
    report.total(3)
    report.step("Waiting for the end of the test")
    while not Path("go").exists():
        time.sleep(0.1)
    raise ValueError("the reason of the job")

def succeed(report, subject):
    report.step("Only step")
    return {"notes": ["from edition 1"]}

JOBS = {"fail": fail, "succeed": succeed}
"""


@pytest.fixture
def edited(environment: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    """A copy of the app with the jobs above and a database of its own, which reloads on edits."""
    project = copy_project(tmp_path)
    (project / "jobs.py").write_text(JOBS, "utf-8")
    own = {"JOBS_MODULE": "jobs", "PROGRESS_DATABASE": str(tmp_path / "progress.db")}
    server = Server(environment | own, free_port(), project, is_watching=True)
    server.start()
    yield server
    server.stop()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_an_edit_while_an_operation_runs_breaks_nothing(visit: Visit, edited: Server) -> None:
    viewer, other = visit(at=edited), visit(at=edited)
    viewer.start("fail", "first")
    viewer.see("Waiting for the end of the test")
    edit(edited.folder / "progress" / "operation.py", '"""', '"""Edited. ')
    edit(edited.folder / "jobs.py", "edition 1", "edition 2")
    edit(
        edited.folder / "app_pages" / "run.py", "st.title(", 'st.text("an edited page")\nst.title('
    )
    viewer.see("an edited page")
    viewer.see("Waiting for the end of the test")
    other.see("an edited page")
    viewer.expect_polling()

    (edited.folder / "go").touch()
    viewer.see("Failed after 0 of 3 steps")
    viewer.see("ValueError: the reason of the job")
    viewer.see("Traceback")
    viewer.start("succeed", "second")
    viewer.see(re.compile("Completed: 1 step"))
    viewer.see("from edition 2")
    viewer.see("Fail: first · Failed")  # folded, as another one ended later

    with closing(sqlite3.connect(edited.environment["PROGRESS_DATABASE"])) as database:
        database.execute("BEGIN EXCLUSIVE")
        viewer.page.click(".st-key-start button")
        viewer.see("The operation could not be started")
        expect_accessible(viewer)
    expect(viewer.page.get_by_text("This app has encountered an error")).to_have_count(0)


def test_a_changed_settings_file_is_named(visit: Visit, edited: Server) -> None:
    viewer = visit(at=edited)
    viewer.wait_until_startable()
    expect(viewer.page.get_by_text("restart the server")).to_have_count(0)
    edit(edited.folder / "settings.toml", "poll_interval = ", 'poll_interval = "7s" # ')
    viewer.page.click(".st-key-refresh_subjects button")
    viewer.see("settings.toml has changed: restart the server.")
