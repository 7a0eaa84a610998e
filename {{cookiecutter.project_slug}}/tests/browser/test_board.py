"""The board and the live feed in a real browser: what is not live sends nothing."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from progress.backend.connection import ProgressConnection
from progress.operation import new_operation_id
from progress.settings import ROOT
from tests.browser.conftest import Server, Viewer, free_port
from tests.conftest import wait_for_end, wait_until

Visit = Callable[..., Viewer]

TABLE = "Select a row to follow the operation"


def start(connection: ProgressConnection, job: str, subject: str = "slow") -> str:
    """Start an operation of the tests, without the page, and wait until it runs."""
    operation_id = new_operation_id()
    connection.start(operation_id, job, subject, "")
    wait_until(connection, operation_id, lambda operation: operation.current_step > 0)
    return operation_id


def toggle(viewer: Viewer) -> None:
    """Press the toggle "Live"."""
    viewer.page.click(".st-key-live label")


@pytest.fixture(scope="module")
def impatient(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The app with an idle budget of three seconds."""
    project: Path = tmp_path_factory.mktemp("impatient") / "project"
    hidden = shutil.ignore_patterns(".local", ".venv", ".tools", ".*_cache")
    shutil.copytree(ROOT, project, ignore=hidden)
    settings = (project / "settings.toml").read_text("utf-8")
    budget = re.sub(r'idle_budget = "\w+"', 'idle_budget = "3s"', settings)
    (project / "settings.toml").write_text(budget, "utf-8")
    app = Server(environment, free_port(), project)
    app.start()
    yield app
    app.stop()


def test_the_board_follows_and_ends_with_the_last_operation(
    visit: Visit, connection: ProgressConnection
) -> None:
    operation_id = start(connection, "endless")
    board = visit("/board")
    board.see("endless: slow")
    board.expect_polling()
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)
    board.see("Nothing is active.")
    board.expect_silence()
    board.see(TABLE)


def test_the_toggle_starts_and_ends_the_polling(
    visit: Visit, connection: ProgressConnection
) -> None:
    wait_for_end(connection, start(connection, "succeed"))
    board = visit("/board")
    board.see(TABLE)
    board.expect_silence()
    toggle(board)
    board.expect_polling()
    operation_id = start(connection, "endless")
    board.see("endless: slow")
    connection.cancel(operation_id)
    board.see("Nothing is active.")
    board.expect_polling()
    toggle(board)
    board.expect_silence()


def test_leaving_the_board_ends_the_polling(visit: Visit, connection: ProgressConnection) -> None:
    operation_id = start(connection, "endless")
    board = visit("/board")
    board.see("endless: slow")
    toggle(board)
    board.expect_polling()
    board.page.get_by_role("link", name="Run").click()
    board.wait_until_startable()
    board.expect_silence()
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)


def test_a_board_that_nobody_touches_stops_and_resumes(
    visit: Visit, connection: ProgressConnection, impatient: Server
) -> None:
    operation_id = start(connection, "endless")
    board = visit("/board", at=impatient)
    board.see("Nobody touched this page for 3 s")
    board.expect_silence()
    board.page.click(".st-key-resume button")
    expect(board.page.get_by_text("Nobody touched")).to_have_count(0)
    board.expect_polling()
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)


def tab_to(viewer: Viewer, selector: str) -> None:
    """Press the tab key until what has the focus is in an element."""
    for _ in range(60):
        viewer.page.keyboard.press("Tab")
        if viewer.page.evaluate(f"document.activeElement.closest({selector!r}) !== null"):
            return
    raise AssertionError(f"{selector} is not reached")


def test_the_board_can_be_used_by_keys(visit: Visit, connection: ProgressConnection) -> None:
    wait_for_end(connection, start(connection, "partial"))
    board = visit("/board")
    board.see(TABLE)
    board.frames_in(1)
    tab_to(board, ".st-key-live")
    board.page.keyboard.press("Space")
    board.expect_polling()
    tab_to(board, "[data-testid=data-grid-canvas]")
    board.page.keyboard.press("Shift+Space")
    board.see("Partly completed")
    tab_to(board, "[class*=st-key-dismiss-]")
    board.page.keyboard.press("Enter")
    expect(board.page.get_by_text("Partly completed")).to_have_count(0)


def test_the_filters_are_kept_while_another_page_is_open(
    visit: Visit, connection: ProgressConnection
) -> None:
    wait_for_end(connection, start(connection, "succeed"))
    board = visit("/board")
    # A list that is open closes when the page scrolls: here, nothing has to.
    board.page.set_viewport_size({"width": 1280, "height": 1600})
    board.frames_in(1)
    board.choose("filter_job", "succeed")
    board.page.get_by_role("link", name="Run").click()
    board.wait_until_startable()
    board.page.get_by_role("link", name="Board").click()
    board.see(TABLE)
    expect(board.page.locator(".st-key-filter_job input")).to_have_value("succeed")


def test_the_feed_runs_until_the_toggle_is_off(visit: Visit) -> None:
    feed = visit("/feed")
    feed.see("Words per minute")
    feed.expect_polling()
    toggle(feed)
    feed.expect_silence()
    feed.see("Words per minute")
    toggle(feed)
    feed.expect_polling()
    feed.page.get_by_role("link", name="Run").click()
    feed.wait_until_startable()
    feed.expect_silence()


def test_a_feed_that_nobody_touches_stops_and_resumes(visit: Visit, impatient: Server) -> None:
    feed = visit("/feed", at=impatient)
    feed.see("Nobody touched this page for 3 s")
    feed.expect_silence()
    feed.page.click(".st-key-resume button")
    expect(feed.page.get_by_text("Nobody touched")).to_have_count(0)
    feed.expect_polling()
