"""Follow an operation in a real browser, with the rows and texts of every backend."""

from collections.abc import Callable

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
    board.page.get_by_test_id("stDataFrame").scroll_into_view_if_needed()
    table = board.page.get_by_test_id("stDataFrame").bounding_box()
    assert table is not None
    board.page.mouse.click(table["x"] + table["width"] - 40, table["y"] + 52)
    board.see("steps so far")
    assert operation_in(board) == operation_id
    board.page.click(".st-key-cancel button")
    board.see("Cancelled after")
    viewer.see("Cancelled after")
