"""What a page sends of a job's parameters, and who may see a log or stop a job by force."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from streamlit.testing.v1 import AppTest

from progress.backend.connection import ProgressConnection
from progress.job import Job
from progress.operation import (
    NO_OPTIONS,
    Log,
    LogLine,
    Operation,
    Options,
    Status,
    new_operation_id,
)
from progress.session import commands, polling, tracking, viewer
from progress.session.tracking import Entry, Start
from progress.ui import joblog
from tests import jobs
from tests.conftest import wait_for_end, wait_until
from tests.pages import (
    TESTER,
    captions,
    click,
    end_all,
    entries,
    figures,
    markup,
    open_page,
    run_until,
    start,
)

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


def test_an_edit_of_the_only_job_does_not_select_it_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "JOBS", {"work": jobs.JOBS["work"]})
    page = run_until(click(open_page(), "start"), lambda page: bool(page.success))
    click(page, f"edit-{entries(page)[0].operation_id}")
    monkeypatch.setattr(jobs, "JOBS", {"renamed": jobs.JOBS["work"]})
    assert not page.run().button(key="start").disabled


def test_a_retry_has_the_limits_that_jobs_py_has_now(monkeypatch: pytest.MonkeyPatch) -> None:
    page = run_until(start(open_page(), "fail"), lambda page: bool(page.error))
    (old,) = entries(page)
    limited = Job(jobs.fail, time_limit="1h", max_running=3)
    monkeypatch.setattr(jobs, "JOBS", {**jobs.JOBS, "fail": limited})
    click(page, f"retry-{old.operation_id}")
    (new,) = entries(page)
    assert (new.options.time_limit, new.options.max_running) == (3600, 3)
    run_until(page, lambda page: bool(page.error))
    monkeypatch.setattr(jobs, "JOBS", {"succeed": jobs.succeed})
    click(page, f"retry-{new.operation_id}")
    assert entries(page)[0].options.time_limit == 3600, "what is no longer declared runs as before"


def test_a_retry_of_an_upload_is_of_the_same_file(connection: ProgressConnection) -> None:
    name, operation_id = "a.csv", new_operation_id()
    options = Options(upload=operation_id)  # without the file: it fails
    connection.start(operation_id, "keep", name, TESTER, options=options)
    wait_for_end(connection, operation_id)
    page = click(open_page(operation=operation_id), f"retry-{operation_id}")
    assert entries(page)[0].options.upload == operation_id
    run_until(page, lambda page: bool(page.error))


def test_parameters_are_shown_while_an_operation_runs(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "work", "", TESTER, options=Options({"rows": 4, "name": "<b>"}))
    wait_for_end(connection, operation_id)
    unended(monkeypatch)
    page = open_page(operation=operation_id)
    assert "rows = 4, name = &lt;b&gt;" in markup(page)


def unended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every operation run, as a page reads it."""
    read = ProgressConnection.read

    def read_running(self: ProgressConnection, ids: Sequence[str]) -> Mapping[str, Operation]:
        found = read(self, ids)
        return {
            operation_id: replace(operation, status=Status.IN_PROGRESS, finished_at=None)
            for operation_id, operation in found.items()
        }

    monkeypatch.setattr(ProgressConnection, "read", read_running)


def test_a_file_that_is_already_worked_on_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    unended(monkeypatch)
    monkeypatch.setattr(tracking, "DOUBLE_CLICK", 0.0)
    page = open_page()
    page.selectbox(key="job").set_value("keep").run()
    assert captions(page)[1:] == ["Choose a file."]
    assert page.button(key="start").disabled
    page.file_uploader[0].set_value(("a.csv", b"a,b", "text/csv")).run()
    assert "Choose a file." not in captions(page)
    click(page, "start")
    assert "Already running for this subject." in captions(page)
    click(page, "start")
    assert len(entries(page)) == 1
    page.file_uploader[0].set_value(("a.csv", b"other", "text/csv")).run()
    assert "Already running for this subject." not in captions(page)
    click(page, "start")
    assert len(entries(page)) == 2


def test_a_backend_without_files_has_no_uploads_and_no_downloads_of_files(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "succeed", "fast", TESTER)
    files = [{"name": "a.txt", "size": 3}, {"name": "b", "size": 1, "url": "https://b.test/"}] * 26
    ended = replace(wait_for_end(connection, operation_id), result={"files": files})
    monkeypatch.setattr(ProgressConnection, "read", lambda self, ids: {operation_id: ended})
    monkeypatch.setattr(ProgressConnection, "features", frozenset({"files"}))
    page = open_page(operation=operation_id)
    assert len(kept_files(page)) == 25
    assert len(page.get("link_button")) == 25
    assert "50 of 52 files are shown." in captions(page)
    page.selectbox(key="job").set_value("keep").run()
    assert not page.file_uploader
    monkeypatch.setattr(ProgressConnection, "features", frozenset({"files", "uploads"}))
    assert page.run().file_uploader
    monkeypatch.setattr(ProgressConnection, "features", frozenset())
    page.run()
    assert kept_files(page) == []
    assert len(page.get("link_button")) == 25, "the service has them elsewhere"
    assert not page.file_uploader
    assert "This backend takes no uploads." in captions(page)
    assert "Choose a file." not in captions(page)
    assert page.button(key="start").disabled


def kept_files(page: AppTest) -> list[str]:
    labels = [str(button.proto.label) for button in page.get("download_button")]
    return [label for label in labels if label.startswith("a")]


def test_a_job_without_a_subject_has_a_history_of_its_own(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(jobs.JOBS, "other", Job(jobs.work, subjects=None, parameters=jobs.Work))
    ids = [new_operation_id() for _ in range(2)]
    for operation_id, job in zip(ids, ("work", "other"), strict=True):
        connection.start(operation_id, job, "", TESTER, options=Options({"rows": 1}))
    page = work_page()
    page.session_state["history"] = True
    page.run()
    assert "History of this job" in str(page.main)
    keys = [str(button.key) for button in page.button]
    assert f"history-{ids[0]}" in keys
    assert f"history-{ids[1]}" not in keys
    unended(monkeypatch)
    click(page, "start")
    assert "Already running." in captions(page)


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
    other_operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    joblog.draw_ended(entry)
    monkeypatch.setattr("streamlit.download_button", lambda *a, **k: pytest.fail("it was offered"))
    joblog.draw_toggle(entry)
    assert entry.options is NO_OPTIONS


LINE = LogLine(datetime(2026, 1, 2, tzinfo=UTC), "a line")


@pytest.mark.parametrize(
    ("log", "notice"),
    [
        (Log((LINE,), dropped=7), "7 older lines were removed."),
        (Log((LINE,), is_part=True), "Older lines may be missing."),
    ],
)
def test_a_log_says_that_lines_are_missing_on_the_page_and_in_its_download(
    connection: ProgressConnection,
    monkeypatch: pytest.MonkeyPatch,
    log: Log,
    notice: str,
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "succeed", "fast", TESTER)
    wait_for_end(connection, operation_id)
    monkeypatch.setattr(ProgressConnection, "logs", lambda self, ids, limit: {operation_id: log})
    page = open_page(operation=operation_id)
    page.toggle(key=f"log-{operation_id}").set_value(True).run()
    assert notice in captions(page)
    assert joblog.text(operation_id).startswith(f"({notice})\n")


def test_a_backend_without_logs_and_force_stop_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProgressConnection, "features", frozenset())
    monkeypatch.setattr(tracking, "unresponsive", lambda grace: tracking.running())
    page = start(open_page(), "endless")
    assert not page.toggle
    assert {"This backend has no logs.", "This backend cannot stop a job by force."} < {
        *captions(page)
    }
    end_all(page)


def test_a_page_says_what_a_job_waits_for_whose_process_died(
    connection: ProgressConnection,
) -> None:
    operation_id = new_operation_id()
    options = Options(retries=2, retry_delay=600)
    connection.start(operation_id, "die", "fast", TESTER, options=options)
    wait_until(connection, operation_id, lambda operation: operation.live.retry_reason != "")
    page = open_page(operation=operation_id)
    assert "waiting for the next attempt" in bars(page)
    assert "attempt 2 of 3 after The process of the job was killed by SIGKILL" in markup(page)
    end_all(page)


def bars(page: AppTest) -> str:
    return "".join(bar.proto.text for bar in page.get("progress"))


def test_what_a_job_reported_is_shown_when_its_process_died() -> None:
    page = run_until(start(open_page(), "die"), lambda page: bool(page.error))
    assert figures(page) == {"Rows": "3"}


@pytest.mark.parametrize(("seconds", "is_unresponsive"), [(9, False), (11, True)])
def test_a_job_is_unresponsive_after_the_grace_time(
    monkeypatch: pytest.MonkeyPatch, seconds: float, is_unresponsive: bool
) -> None:
    entry = Entry("a", cancelling_since=100.0)
    monkeypatch.setattr(tracking, "running", lambda: [entry])
    monkeypatch.setattr("time.monotonic", lambda: 100.0 + seconds)
    assert tracking.unresponsive(10) == [entry] * is_unresponsive


def test_a_page_and_the_board_are_usable_with_a_hundred_queued_operations(
    connection: ProgressConnection,
) -> None:
    ids = [new_operation_id() for _ in range(100)]
    for operation_id in ids:
        options = Options(max_running=1)
        connection.start(operation_id, "alone", "slow", TESTER, options=options)
    wait_until(connection, ids[0], lambda operation: operation.current_step > 0)
    page = open_page(operation=ids[-1])
    assert "number 99 in the queue" in bars(page)
    board = open_page("board")
    assert figures(board)["Queued"] == "99"
    for operation_id in reversed(ids):
        connection.cancel(operation_id)
    wait_for_end(connection, ids[0])
