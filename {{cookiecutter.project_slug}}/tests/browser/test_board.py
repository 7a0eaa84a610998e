"""The board in a real browser: what is not live sends nothing."""

from collections.abc import Callable

from progress.backend.connection import ProgressConnection
from tests.browser.conftest import Viewer, start_and_wait
from tests.conftest import wait_for_end

Visit = Callable[..., Viewer]

TABLE = "Select a row to open the operation"


def test_the_board_follows_and_ends_with_the_last_operation(
    visit: Visit, connection: ProgressConnection
) -> None:
    operation_id = start_and_wait(connection, "endless")
    board = visit("/board")
    board.see("Endless: slow")
    board.expect_polling()
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)
    board.see("No operation is active.")
    board.expect_no_polling()
    board.see(TABLE)


def test_the_toggle_starts_and_ends_the_polling(
    visit: Visit, connection: ProgressConnection
) -> None:
    wait_for_end(connection, start_and_wait(connection, "succeed"))
    board = visit("/board")
    board.see(TABLE)
    board.expect_no_polling()
    board.toggle()
    board.expect_polling()
    operation_id = start_and_wait(connection, "endless")
    board.see("Endless: slow")
    connection.cancel(operation_id)
    board.see("No operation is active.")
    board.expect_polling()
    board.toggle()
    board.expect_no_polling()


def test_leaving_the_board_ends_the_polling(visit: Visit, connection: ProgressConnection) -> None:
    operation_id = start_and_wait(connection, "endless")
    board = visit("/board")
    board.see("Endless: slow")
    board.toggle()
    board.expect_polling()
    board.page.get_by_role("link", name="Run").click()
    board.wait_until_startable()
    board.expect_no_polling()
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)
