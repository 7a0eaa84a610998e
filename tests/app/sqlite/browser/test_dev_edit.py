"""`make dev` while jobs.py is edited: each new session offers what jobs then run."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from tests.browser.conftest import Server, Viewer, copy_project, free_port

JOBS = """
from helper import NAMES

def subjects():
    return NAMES

def first_job(report, subject):
    return {"notes": ["of the first edition"]}

JOBS = {"first_job": first_job}
"""


@pytest.fixture
def served(environment: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    """A copy of the project with the jobs above, served as by `make dev`."""
    project = copy_project(tmp_path)
    (project / "jobs.py").write_text(JOBS, "utf-8")
    (project / "helper.py").write_text('NAMES = ["first subject"]', "utf-8")
    own = {"JOBS_MODULE": "jobs", "PROGRESS_DATABASE": str(tmp_path / "progress.db")}
    app = Server(environment | own, free_port(), project)
    environ = os.environ | app.environment | {"PORT": str(app.port)}
    with subprocess.Popen([sys.executable, "-m", "dev"], cwd=project, env=environ) as process:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{app.url}/_stcore/health", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield app
        process.terminate()


def offered(viewer: Viewer, key: str) -> list[str]:
    """Return the options of a selectbox."""
    for _ in range(3):  # on a busy machine, a list was once not open after a click
        viewer.page.locator(f".st-key-{key} input").click()
        with suppress(PlaywrightTimeout):
            viewer.page.get_by_role("option").first.wait_for(timeout=5_000)
            break
    found = viewer.page.get_by_role("option").all_inner_texts()
    viewer.page.keyboard.press("Escape")
    return found


def test_an_edit_of_jobs_is_offered_after_a_reload_and_in_a_new_session(
    visit: Callable[..., Viewer], served: Server
) -> None:
    viewer = visit(at=served)
    viewer.wait_until_startable()
    assert offered(viewer, "subject") == ["first subject"]
    viewer.frames_in(1)

    edited = JOBS.replace("first edition", "second edition").replace(
        '{"first_job"', '{"second_job": first_job, "first_job"'
    )
    (served.folder / "jobs.py").write_text(edited, "utf-8")
    expect(viewer.page.get_by_text("File change")).to_be_visible()  # Streamlit's own prompt
    viewer.page.reload()
    viewer.wait_until_startable()
    assert offered(viewer, "job") == ["Second job", "First job"]

    viewer.page.goto("about:blank")  # nobody has the app open
    viewer.page.wait_for_timeout(1000)
    (served.folder / "helper.py").write_text('NAMES = ["first subject", "second subject"]', "utf-8")
    viewer = visit(at=served)
    viewer.wait_until_startable()
    assert offered(viewer, "subject") == ["first subject", "second subject"]
    viewer.choose("job", "second_job")
    viewer.page.click(".st-key-start button")
    viewer.see("of the second edition")
    assert Path(served.environment["PROGRESS_DATABASE"]).exists()
    assert not list(served.folder.rglob("*.db")), "the variable counts for the app and its jobs"

    (served.folder / "jobs.py").write_text(f"{JOBS}\nraise ValueError('half an edit')", "utf-8")
    viewer.page.reload()
    viewer.see("jobs.py cannot be imported.")
    viewer.see("ValueError: half an edit")
    viewer.see("Traceback (most recent call last)")
