"""What a page sends of a job's parameters, and who may see a log or stop a job by force."""

from collections.abc import Iterator
from datetime import date

import pytest
from streamlit.testing.v1 import AppTest

from progress.backend.connection import ProgressConnection
from progress.operation import NO_OPTIONS, Options, new_operation_id
from progress.session import commands, polling, tracking, viewer
from progress.session.tracking import Entry, Start
from progress.ui import joblog
from tests.conftest import wait_for_end, wait_until
from tests.pages import TESTER, click, entries, open_page, run_until

pytestmark = pytest.mark.usefixtures("fresh_app")


def work_page() -> AppTest:
    page = open_page()
    page.selectbox(key="job").set_value("work").run()
    assert not page.exception
    return page


def test_the_form_has_a_widget_for_each_kind_of_field() -> None:
    page = work_page()
    key = "parameter-work-"
    assert page.slider(key=f"{key}rows").value == 3
    assert page.number_input(key=f"{key}factor").value == 1.5
    assert page.text_input(key=f"{key}name").value == "all"
    assert page.text_area(key=f"{key}comment").value == ""
    assert page.toggle(key=f"{key}dry_run").value is False
    assert page.selectbox(key=f"{key}size").options == ["small", "large"]
    assert page.multiselect(key=f"{key}columns").value == ["a"]
    assert page.date_input(key=f"{key}day").value is None
    assert page.number_input(key=f"{key}limit").value is None


def test_invalid_values_are_named_and_nothing_starts(connection: ProgressConnection) -> None:
    page = work_page()
    page.number_input(key="parameter-work-limit").set_value(50)
    click(page, "start")
    assert [error.value for error in page.error] == ["limit is above rows"]
    assert not entries(page)
    page.number_input(key="parameter-work-limit").set_value(1)
    page.date_input(key="parameter-work-day").set_value(date(2026, 2, 1))
    click(page, "start")
    assert not page.error
    (entry,) = entries(page)
    assert entry.options.parameters["day"] == "2026-02-01"
    assert entry.options.parameters["limit"] == 1


def test_a_retry_has_the_same_parameters_and_edit_fills_the_form() -> None:
    page = work_page()
    page.slider(key="parameter-work-rows").set_value(7)
    click(page, "start")
    run_until(page, lambda page: bool(page.success))
    (entry,) = entries(page)
    page.slider(key="parameter-work-rows").set_value(9).run()
    page.selectbox(key="job").set_value("succeed").run()
    click(page, f"edit-{entry.operation_id}")
    assert page.selectbox(key="job").value == "work"
    assert page.slider(key="parameter-work-rows").value == 7


def test_the_same_job_with_other_parameters_is_another_start() -> None:
    one, other = (Start("work", "", Options({"rows": rows})) for rows in (1, 2))
    assert one.key != other.key
    assert one.key == Start("work", "", Options({"rows": 1}, time_limit=5)).key, "limits may change"


@pytest.fixture
def other_operation(connection: ProgressConnection) -> Iterator[str]:
    """A stubborn operation of another owner, of which cancel was requested."""
    operation_id = new_operation_id()
    connection.start(operation_id, "endless", "slow", "other@example.com")
    wait_until(connection, operation_id, lambda operation: operation.current_step > 0)
    yield operation_id
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)


def test_only_the_owner_stops_a_job_by_force(
    other_operation: str, connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "force_stop" not in connection.features:
        pytest.skip("this backend does not end jobs")
    stopped: list[str] = []
    monkeypatch.setattr(
        ProgressConnection, "force_stop", lambda self, operation_id: stopped.append(operation_id)
    )
    monkeypatch.setattr(viewer, "owner", lambda: TESTER)
    monkeypatch.setattr(polling, "resume", lambda: None)
    commands.force_stop(other_operation)
    assert stopped == []
    monkeypatch.setattr(viewer, "owner", lambda: "other@example.com")
    commands.force_stop(other_operation)
    assert stopped == [other_operation]


def test_the_log_of_another_owner_is_not_read(
    other_operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Entry(other_operation)  # what an id in the URL becomes, before the first update
    monkeypatch.setattr(tracking, "is_log_shown", lambda entry: True)  # a forged widget
    monkeypatch.setattr(joblog, "draw_lines", lambda log: pytest.fail("it was read"))
    joblog.draw_tail(entry)
    joblog.draw_whole(entry)
    assert entry.options is NO_OPTIONS
