"""The board in a real browser: pause, keyboard, filters."""

from collections.abc import Callable

from playwright.sync_api import expect

from progress.backend.connection import ProgressConnection
from tests.browser.app.axe import expect_accessible
from tests.browser.conftest import Server, Viewer, start_and_wait
from tests.conftest import wait_for_end

Visit = Callable[..., Viewer]

TABLE = "Select a row to open the operation"
EMPTY = "No operation matches these filters."


def test_a_board_without_interaction_pauses_and_resumes(
    visit: Visit, connection: ProgressConnection, pausing_server: Server
) -> None:
    operation_id = start_and_wait(connection, "endless")
    board = visit("/board", at=pausing_server)
    board.see("Paused after 3 s")
    board.expect_no_polling()
    expect_accessible(board)
    board.resume()
    board.see("Paused after 3 s")
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)


def tab_to(viewer: Viewer, selector: str) -> None:
    """Press the tab key until what has the focus is in an element."""
    expect(viewer.page.locator(selector).first).to_be_visible()
    for _ in range(60):
        viewer.page.keyboard.press("Tab")
        if viewer.page.evaluate(f"document.activeElement.closest({selector!r}) !== null"):
            return
    raise AssertionError(f"{selector} is not reached")


def test_the_board_can_be_used_by_keys(visit: Visit, connection: ProgressConnection) -> None:
    wait_for_end(connection, start_and_wait(connection, "partial"))
    board = visit("/board")
    board.see(TABLE)
    board.frames_in(1)
    tab_to(board, ".st-key-live")
    board.page.keyboard.press("Space")
    board.expect_polling()
    tab_to(board, "[data-testid=data-grid-canvas]")
    board.page.keyboard.press("ArrowRight")
    board.see("Partly completed")
    tab_to(board, "[class*=st-key-dismiss-]")
    board.page.keyboard.press("Enter")
    expect(board.page.get_by_text("Partly completed")).to_have_count(0)


def test_the_filters_are_kept_while_another_page_is_open(
    visit: Visit, connection: ProgressConnection
) -> None:
    wait_for_end(connection, start_and_wait(connection, "succeed"))
    board = visit("/board")
    # A list that is open closes when the page scrolls: here, nothing has to.
    board.page.set_viewport_size({"width": 1280, "height": 1600})
    board.frames_in(1)
    board.choose("filter_job", "unfit")
    board.see(EMPTY)  # the server has it
    board.page.get_by_role("link", name="Run").click()
    board.wait_until_startable()
    board.page.get_by_role("link", name="Board").click()
    board.see(EMPTY)
    expect(board.page.locator(".st-key-filter_job input")).to_have_value("Unfit")
