"""Follow an operation in a real browser, with the rows and texts of every backend."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.app.places import place_at_rest
from tests.browser.conftest import Viewer, operation_in

Visit = Callable[..., Viewer]


def test_text_of_a_job_is_not_markdown(visit: Visit) -> None:
    viewer = visit()
    viewer.start("fail")
    viewer.see("RuntimeError: the **third** step broke :red[badly]")
    viewer.page.get_by_text("Traceback", exact=True).click()
    viewer.see("Traceback (most recent call last):")


def test_the_board_opens_an_operation_that_runs(visit: Visit) -> None:
    viewer = visit()
    viewer.start("endless", "slow")
    viewer.see("steps so far")
    operation_id = operation_in(viewer)
    board = visit("/board")
    board.see("Select a row to open the operation")
    board.frames_in(2)  # long enough for the figures of the table to be other ones
    grid = board.page.get_by_test_id("stDataFrame")
    grid.scroll_into_view_if_needed()
    expect(grid.locator("canvas").first).to_be_visible()
    table = place_at_rest(board, grid)
    board.page.mouse.click(table["x"] + table["width"] - 40, table["y"] + 52)
    board.see("steps so far")
    assert operation_in(board) == operation_id
    board.page.click(".st-key-cancel button")
    board.see("Cancelled after")
    viewer.see("Cancelled after")
