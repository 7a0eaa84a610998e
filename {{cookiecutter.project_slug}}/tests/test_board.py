"""The wiring of the board: what it lists, and what ends its polling."""

import pytest

from progress.backend.connection import ProgressConnection
from progress.contract import BackendUnavailable
from progress.operation import Query, new_operation_id
from progress.settings import load_settings
from tests.conftest import wait_for_end, wait_until
from tests.pages import TESTER, figures, is_polling, open_page, run_until, switch_page

pytestmark = pytest.mark.usefixtures("fresh_app")


@pytest.mark.parametrize("name", [page.name for page in load_settings().pages])
def test_every_page_of_the_settings_opens(name: str) -> None:
    page = open_page(name)
    assert page.title
    assert not page.error


def test_a_real_operation_is_counted_and_listed(connection: ProgressConnection) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "partial", "fast", TESTER)
    wait_for_end(connection, operation_id)
    page = open_page("board")
    table = page.dataframe[0].value
    assert list(table.iloc[0])[2:5] == ["Partial", "fast", 100]
    assert list(table.iloc[0]["Status"]) == ["Partial"]
    assert int(figures(page)["Partial"]) >= 1


def test_the_polling_ends_with_the_last_operation(connection: ProgressConnection) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "endless", "slow", TESTER)
    wait_until(connection, operation_id, lambda operation: operation.current_step > 0)
    page = open_page("board")
    assert is_polling(page, "board")
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)
    run_until(page, lambda page: not is_polling(page, "board"))
    assert figures(page)["In progress"] == "0"


def test_the_end_of_a_tracked_operation_is_a_toast_on_another_page(
    connection: ProgressConnection,
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "endless", "slow", TESTER)
    page = switch_page(open_page(operation=operation_id), "board")
    connection.cancel(operation_id)
    run_until(page, lambda page: bool(page.toast))
    assert page.toast[0].value == r"Endless\: slow · Cancelled"
    assert not is_polling(page, "notices")


def test_an_unavailable_backend_is_shown_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: ProgressConnection, query: Query) -> None:
        raise BackendUnavailable("no *route*")

    monkeypatch.setattr(ProgressConnection, "recent", fail)
    monkeypatch.setattr(ProgressConnection, "counts", fail)
    page = open_page("board")
    assert page.warning[0].value == "The operations cannot be read now."
    assert page.error[0].value == "The history cannot be read now."
    assert [text.value for text in page.text] == ["no *route*"] * 2
    assert set(figures(page).values()) == {"?"}
    assert not page.get("vega_lite_chart")
    assert not any(caption.value.startswith("No operation") for caption in page.caption)
    assert is_polling(page, "board"), "it keeps polling"
