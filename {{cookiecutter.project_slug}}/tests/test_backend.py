"""The conformance suite: what every backend must do, tested with the backend of this project."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from progress.backend.connection import ProgressConnection
from progress.contract import BackendRejected
from progress.job import as_job
from progress.operation import (
    LAST_STEPS,
    MAX_NAME,
    MAX_OPTIONS,
    MAX_STEP_DESCRIPTION,
    Operation,
    Options,
    Query,
    Status,
    new_operation_id,
)
from progress.results import REPLACED
from tests.conftest import OWNER, pages, wait_for_end, wait_until
from tests.jobs import JOBS, MANY, SLOW, STEPS, Work

Started = Callable[..., str]


def test_a_job_runs_to_its_end(connection: ProgressConnection, started: Started) -> None:
    operation_id = started("succeed")
    operation = wait_for_end(connection, operation_id)
    assert operation.status is Status.COMPLETED
    assert (operation.current_step, operation.total_steps) == (STEPS, STEPS)
    assert operation.failed_steps == 0
    assert operation.progress == 1.0
    assert (operation.job, operation.subject, operation.owner) == ("succeed", "fast", OWNER)
    assert operation.result == {
        "metrics": {"Steps": STEPS},
        "table": [{"step": 1, "rows": 10}],
        "notes": ["All well."],
    }
    assert operation.error is None
    assert operation.problem is None
    assert operation.attempt == 1


def test_times_are_aware_and_in_order(connection: ProgressConnection, started: Started) -> None:
    operation = wait_for_end(connection, started("succeed"))
    assert operation.started_at is not None
    assert operation.last_updated is not None
    assert operation.finished_at is not None
    times = [
        operation.created_at,
        operation.started_at,
        operation.last_updated,
        operation.finished_at,
        operation.read_at,
    ]
    assert times == sorted(times)
    assert all(time.utcoffset() is not None for time in times)


@pytest.mark.parametrize("number", range(3))
def test_names_that_are_too_long_are_refused(connection: ProgressConnection, number: int) -> None:
    names = ["succeed", "fast", OWNER]
    names[number] = "x" * (MAX_NAME + 1)
    job, subject, owner = names
    operation_id = new_operation_id()
    with pytest.raises(BackendRejected, match="has 2,001 characters"):
        connection.start(operation_id, job, subject, owner)
    assert not connection.read([operation_id])


def test_parameters_that_are_too_long_are_refused(connection: ProgressConnection) -> None:
    operation_id, options = new_operation_id(), Options({"text": "x" * MAX_OPTIONS})
    with pytest.raises(BackendRejected, match=r"The parameters have 100,\d\d\d characters"):
        connection.start(operation_id, "succeed", "fast", OWNER, options=options)
    assert not connection.read([operation_id])


def test_progress_is_visible_while_the_job_runs(
    connection: ProgressConnection, started: Started
) -> None:
    operation_id = started("endless", "steady")
    seen: list[Operation] = []

    def has_two_steps(operation: Operation) -> bool:
        seen.append(operation)
        return operation.current_step >= 2

    wait_until(connection, operation_id, has_two_steps)
    assert seen[-1].status is Status.IN_PROGRESS
    assert seen[-1].finished_at is None
    assert seen[-1].elapsed > 0
    assert seen[-1].step_description.startswith("Round")
    steps = [operation.current_step for operation in seen]
    assert steps == sorted(steps)
    connection.cancel(operation_id)
    assert wait_for_end(connection, operation_id).status is Status.CANCELLED


def test_a_failed_operation_has_the_traceback_and_the_step(
    connection: ProgressConnection, started: Started
) -> None:
    operation = wait_for_end(connection, started("fail"))
    assert operation.status is Status.FAILED
    assert operation.current_step == 2
    assert operation.step_description == "Step number 3"
    assert operation.error is not None
    assert operation.error.startswith("Traceback")
    last = operation.error.strip().splitlines()[-1]
    assert last == "RuntimeError: the **third** step broke :red[badly]"


def test_an_operation_with_failed_steps_is_partial(
    connection: ProgressConnection, started: Started
) -> None:
    operation = wait_for_end(connection, started("partial"))
    assert operation.status is Status.PARTIAL
    assert (operation.current_step, operation.failed_steps) == (STEPS, 2)
    assert operation.error is not None
    assert operation.error.splitlines() == [
        "Step 2, Step number 2: ValueError: row 2 has no *amount*",
        "Step 5, Step number 5: ValueError: row 5 has no *amount*",
    ]
    assert operation.result == {"metrics": {"Steps": STEPS - 2}}


def test_cancel_is_a_request_that_the_job_acknowledges(
    connection: ProgressConnection, started: Started
) -> None:
    operation_id = started("endless", "steady")
    wait_until(connection, operation_id, lambda operation: operation.current_step >= 1)
    connection.cancel(operation_id)
    requested = connection.read([operation_id])[operation_id]
    assert requested.cancel_requested
    operation = wait_for_end(connection, operation_id)
    assert operation.status is Status.CANCELLED
    assert not operation.is_cancelling
    assert operation.error is None


def test_a_terminal_status_is_never_overwritten(
    connection: ProgressConnection, started: Started
) -> None:
    operation_id = started("succeed")
    ended = wait_for_end(connection, operation_id)
    connection.cancel(operation_id)
    connection.start(operation_id, "fail", "fast", OWNER)
    after = connection.read([operation_id])[operation_id]
    assert after.status is Status.COMPLETED
    assert after.finished_at == ended.finished_at
    assert not after.cancel_requested


def test_starting_the_same_id_twice_creates_one_operation(
    connection: ProgressConnection, started: Started
) -> None:
    operation_id = started("succeed", "steady")
    connection.start(operation_id, "fail", "fast", OWNER)
    operation = wait_for_end(connection, operation_id)
    assert operation.status is Status.COMPLETED
    assert operation.job == "succeed"
    assert operation.attempt == 1


def test_an_operation_whose_process_dies_is_declared_failed(
    connection: ProgressConnection, started: Started
) -> None:
    operation = wait_for_end(connection, started("die"))
    assert operation.status is Status.FAILED
    assert operation.error
    assert operation.current_step == 1
    assert operation.live.metrics == {"Rows": 3}


def test_a_result_so_far_survives_the_failure_of_the_job(
    connection: ProgressConnection, started: Started
) -> None:
    operation = wait_for_end(connection, started("give_up"))
    assert operation.status is Status.FAILED
    assert operation.result == {"notes": ["So far."]}


def test_an_unknown_job_fails_and_the_error_names_it(
    connection: ProgressConnection, started: Started
) -> None:
    operation = wait_for_end(connection, started("no_such_job"))
    assert operation.status is Status.FAILED
    assert operation.error is not None
    assert "There is no job 'no_such_job'" in operation.error


def test_a_value_that_json_cannot_hold_is_named_and_the_result_kept(
    connection: ProgressConnection, started: Started
) -> None:
    operation = wait_for_end(connection, started("unfit"))
    assert operation.status is Status.COMPLETED
    assert operation.result == {
        "metrics": {"Rows": None, "Phase": "1j"},
        "notes": ["All well."],
        REPLACED: ["metrics.Phase: complex"],
    }


def test_text_with_invalid_characters_is_sanitized(
    connection: ProgressConnection, started: Started
) -> None:
    operation = wait_for_end(connection, started("odd_text"))
    assert operation.status is Status.COMPLETED
    assert operation.step_description == "a�b ?"
    assert operation.result is not None
    assert str(operation.result["notes"][0]).startswith("c")


def test_read_takes_many_ids_and_skips_unknown_ids(
    connection: ProgressConnection, started: Started
) -> None:
    ids = [started("succeed") for _ in range(3)]
    found = connection.read(
        [*ids, new_operation_id(), "", "x' OR '1'='1", "no\x00thing", "ü" * 999]
    )
    assert set(found) == set(ids)
    assert connection.read([]) == {}
    for operation_id in ids:
        wait_for_end(connection, operation_id)


def test_cancel_of_an_unknown_id_does_nothing(connection: ProgressConnection) -> None:
    connection.cancel(new_operation_id())


@pytest.mark.parametrize("subject", ["", "O'Brien; DROP TABLE operations", 'Größe 😀 \\ " <b>'])
def test_a_subject_is_stored_unchanged(
    connection: ProgressConnection, started: Started, subject: str
) -> None:
    operation = wait_for_end(connection, started("succeed", subject))
    assert operation.status is Status.COMPLETED
    assert operation.subject == subject


@pytest.fixture(scope="module")
def history(connection: ProgressConnection) -> list[Operation]:
    """All 13 operations of an owner, newest first, as `read` returns them.

    The first completed, the second failed and is a retry of the first, the third is partial. The
    others raise, which is the fastest way to end.
    """
    ended: list[Operation] = []
    for number in range(13):
        operation_id = new_operation_id()
        job = ["succeed", "fail", "partial"][number] if number < 3 else "broken"
        retry_of = ended[0].operation_id if number == 1 else ""
        connection.start(operation_id, job, SUBJECTS[number % 2], HISTORIAN, retry_of)
        # One by one: each may need its own process.
        ended.append(wait_for_end(connection, operation_id))
    return ended[::-1]


HISTORIAN = "historian@example.com"
SUBJECTS = ("fast", "O'Brien; DROP TABLE operations -- \" % :owner 😀")


def place(operation: Operation) -> tuple[datetime, str]:
    """Return the sort key of `recent`, after which the next page starts."""
    return operation.created_at, operation.operation_id


def ids_of(operations: list[Operation]) -> list[str]:
    """Return the ids, in the same order."""
    return [operation.operation_id for operation in operations]


def test_recent_returns_the_operations_of_the_owner_newest_first(
    connection: ProgressConnection, history: list[Operation]
) -> None:
    assert ids_of(connection.recent(Query(HISTORIAN, limit=2))) == ids_of(history[:2])
    assert ids_of(connection.recent(Query(HISTORIAN))) == ids_of(history)
    assert connection.recent(Query("nobody@example.com")) == []
    # "" is the owner in an app without a login, not everybody.
    assert all(operation.owner == "" for operation in connection.recent(Query("")))


def test_without_an_owner_recent_returns_the_operations_of_everybody(
    connection: ProgressConnection, history: list[Operation], started: Started
) -> None:
    operation_id = started("succeed")
    wait_for_end(connection, operation_id)
    everybody = Query(None, since=history[-1].created_at, limit=1000)
    found = connection.recent(everybody)
    assert {operation_id, *ids_of(history)} <= set(ids_of(found))
    assert found == sorted(found, key=place, reverse=True)
    assert sum(connection.counts(everybody).values()) == len(found)


def test_recent_leaves_out_result_error_and_steps(
    connection: ProgressConnection, history: list[Operation]
) -> None:
    assert any(operation.result for operation in history)
    assert any(operation.last_steps for operation in history)
    expected = [replace(operation, result=None, error=None, last_steps=()) for operation in history]
    rows = connection.recent(Query(HISTORIAN))
    for row, operation in zip(rows, expected, strict=True):
        assert replace(row, read_at=operation.read_at) == operation


def test_pages_have_no_gaps_and_no_duplicates(
    connection: ProgressConnection, history: list[Operation]
) -> None:
    found = pages(connection.recent, Query(HISTORIAN, limit=5))
    assert [len(page) for page in found] == [5, 5, 3]
    assert ids_of([operation for page in found for operation in page]) == ids_of(history)


@pytest.mark.parametrize(
    ("subject", "job", "statuses", "since"),
    [
        (SUBJECTS[1], None, set(), None),
        (None, "broken", set(), None),
        (None, None, {Status.FAILED}, None),
        (None, None, {Status.COMPLETED, Status.PARTIAL}, None),
        (None, None, {Status.QUEUED}, None),
        (None, None, set(), 9),
        (None, "broken", {Status.FAILED}, 9),
        (SUBJECTS[0], "partial", {Status.PARTIAL, Status.FAILED}, 12),
        (SUBJECTS[1], "broken", {Status.FAILED}, 7),
        (SUBJECTS[1], "partial", {Status.FAILED}, 7),
    ],
)
def test_recent_and_counts_filter(
    connection: ProgressConnection,
    history: list[Operation],
    subject: str | None,
    job: str | None,
    statuses: set[Status],
    since: int | None,
) -> None:
    earliest = history[since].created_at if since is not None else None
    expected = [
        operation
        for operation in history
        if subject in (None, operation.subject)
        and job in (None, operation.job)
        and (not statuses or operation.status in statuses)
        and (earliest is None or operation.created_at >= earliest)
    ]
    query = Query(HISTORIAN, job, subject, frozenset(statuses), earliest)
    assert ids_of(connection.recent(query)) == ids_of(expected)
    first = connection.recent(replace(query, limit=3))
    assert ids_of(first) == ids_of(expected[:3])
    if first:
        rest = connection.recent(replace(query, before=place(first[-1])))
        assert ids_of(rest) == ids_of(expected[3:])
    counts = Counter(operation.status for operation in expected)
    assert connection.counts(query) == counts
    assert connection.counts(replace(query, limit=1, before=place(history[-1]))) == counts


def test_no_operation_is_newer_than_the_newest(
    connection: ProgressConnection, history: list[Operation]
) -> None:
    query = Query(HISTORIAN, since=history[0].created_at + timedelta(seconds=1))
    assert connection.recent(query) == []
    assert connection.counts(query) == {}


@pytest.mark.parametrize(
    "text", ["", "%", "_", "' OR '1'='1", "no\x00thing", "half \udce4", "\\", "ü" * 999, "NULL"]
)
def test_filters_are_parameters_and_never_part_of_a_statement(
    connection: ProgressConnection, history: list[Operation], text: str
) -> None:
    for query in (
        Query(HISTORIAN, job=text),
        Query(HISTORIAN, subject=text),
        Query("nobody" + text),
        Query(HISTORIAN, before=(history[-1].created_at - timedelta(days=1), text)),
    ):
        assert connection.recent(query) == []
    assert connection.counts(Query(HISTORIAN, job=text)) == {}
    assert sum(connection.counts(Query(HISTORIAN)).values()) == len(history)


def test_a_retry_has_the_id_of_the_first_operation(
    connection: ProgressConnection, history: list[Operation]
) -> None:
    first, retry = history[-1], history[-2]
    assert (first.job, first.retry_of) == ("succeed", "")
    assert (retry.job, retry.retry_of) == ("fail", first.operation_id)


def test_the_ended_steps_are_stored(connection: ProgressConnection, started: Started) -> None:
    endless = started("endless", "slow")
    running = wait_until(connection, endless, lambda operation: operation.current_step >= 3)
    connection.cancel(endless)
    ended = wait_for_end(connection, started("partial", "slow"))
    for operation, name in ((running, "Round"), (ended, "Step number")):
        assert [step.number for step in operation.last_steps] == list(
            range(1, operation.current_step + 1)
        )
        assert [step.description for step in operation.last_steps] == [
            f"{name} {step.number}" for step in operation.last_steps
        ]
        assert all(SLOW * 0.9 < step.seconds < SLOW + 30 for step in operation.last_steps)
    assert [step.number for step in ended.last_steps if step.failed] == [2, 5]
    assert ended.rate is not None
    assert ended.rate < 1.1 / SLOW


def test_only_the_latest_of_many_steps_are_stored(
    connection: ProgressConnection, started: Started
) -> None:
    operation = wait_for_end(connection, started("many"))
    assert operation.status is Status.COMPLETED
    numbers = [step.number for step in operation.last_steps]
    assert numbers == list(range(MANY - LAST_STEPS + 1, MANY + 1))
    assert {len(step.description) for step in operation.last_steps} == {MAX_STEP_DESCRIPTION}


def test_parameters_travel_and_are_validated_by_the_worker(connection: ProgressConnection) -> None:
    given = {"rows": 4, "day": "2026-02-01", "columns": ["b", "c"], "name": "→ 'x'"}
    operation = run(connection, "work", "", Options(given))
    assert operation.status is Status.COMPLETED
    assert operation.result is not None
    (note,) = operation.result["notes"]
    assert json.loads(note) == json.loads(Work.model_validate(given).model_dump_json())
    assert operation.result["metrics"] == {"Rows": 4}
    assert operation.options.parameters == given
    refused = run(connection, "work", "", Options({"rows": 1000, "limit": 5}))
    assert refused.status is Status.FAILED
    assert refused.reason is not None
    assert "rows: Input should be less than or equal to 100" in (refused.error or "")


def test_an_async_job_shows_loops_and_metrics_and_its_result_early(
    connection: ProgressConnection, started: Started
) -> None:
    operation_id = started("count", "lines")
    running = wait_until(connection, operation_id, lambda operation: bool(operation.live.bars))
    assert running.live.bars[0].description == "Numbers"
    assert running.live.bars[0].total == 20
    assert running.result == {"table": [{"number": 1}]}
    operation = wait_for_end(connection, operation_id)
    assert operation.result == {
        "table": [{"number": 1}],
        "metrics": {"Last": 19, "Sum": 190},
    }
    assert operation.live.bars == ()


def test_a_job_is_retried_and_each_attempt_is_counted(
    connection: ProgressConnection, started: Started
) -> None:
    options = as_job(JOBS["flaky"]).options()
    operation = run(connection, "flaky", "fast", options)
    assert operation.status is Status.COMPLETED
    assert operation.attempts == 3
    assert operation.live.retry_reason == "OSError: not yet"
    assert operation.step_description == "Attempt 3"


def test_what_a_job_prints_and_logs_is_in_its_log(
    connection: ProgressConnection, started: Started
) -> None:
    if "logs" not in connection.features:
        pytest.skip("this backend has no logs")
    began = datetime.now(UTC)
    operation_id = started("count", "lines")
    wait_for_end(connection, operation_id)
    unknown = new_operation_id()
    logs = connection.logs([operation_id, unknown], 100)
    assert set(logs) == {operation_id}
    lines = logs[operation_id].lines
    assert {"→ printed", "to stderr"} < {line.text for line in lines}
    assert any("logged" in line.text for line in lines)
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert abs((lines[0].at - began).total_seconds()) < 60
    (last,) = connection.logs([operation_id], 1)[operation_id].lines
    assert last == lines[-1]


def test_files_are_uploaded_and_kept(connection: ProgressConnection) -> None:
    if "uploads" not in connection.features:
        pytest.skip("this backend takes no files")
    operation_id, name = new_operation_id(), "ä/../b.csv"
    connection.save_file(operation_id, name, b"a,b\n")
    connection.start(operation_id, "keep", name, OWNER, options=Options(upload=operation_id))
    operation = wait_for_end(connection, operation_id)
    assert operation.result == {
        "files": [{"name": "copy of it.txt", "size": 4}],
        "metrics": {"Characters": 4, "Suffix": ".csv"},
    }
    assert connection.read_file(operation_id, "copy of it.txt") == b"A,B\n"
    with pytest.raises(BackendRejected, match="no file 'other'"):
        connection.read_file(operation_id, "other")


def test_a_job_is_ended_at_its_time_limit(connection: ProgressConnection) -> None:
    operation = run(connection, "limited", "slow", Options(time_limit=1))
    assert operation.status is Status.FAILED
    assert "ran longer than its time limit" in (operation.error or "")
    assert operation.elapsed < 60


def test_a_job_that_ignores_a_cancel_is_stopped_by_force(
    connection: ProgressConnection, started: Started
) -> None:
    if "force_stop" not in connection.features:
        pytest.skip("this backend does not stop jobs by force")
    operation_id = started("stubborn")
    wait_until(connection, operation_id, lambda operation: operation.current_step >= 1)
    connection.cancel(operation_id)
    connection.force_stop(operation_id)
    assert wait_for_end(connection, operation_id).status is Status.CANCELLED


def run(connection: ProgressConnection, job: str, subject: str, options: Options) -> Operation:
    operation_id = new_operation_id()
    connection.start(operation_id, job, subject, OWNER, options=options)
    return wait_for_end(connection, operation_id)
