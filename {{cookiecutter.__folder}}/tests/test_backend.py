"""The conformance suite: what every progress backend must do, shown on the one chosen."""

from collections.abc import Callable

import pytest

from progress.backend import ProgressConnection
from progress.operation import Operation, Status, new_operation_id
from tests.conftest import OWNER, wait_for_end, wait_until
from tests.jobs import STEPS

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


def test_times_are_in_order_and_by_one_clock(
    connection: ProgressConnection, started: Started
) -> None:
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


def test_progress_is_seen_while_it_happens(
    connection: ProgressConnection, started: Started
) -> None:
    operation_id = started("succeed", "steady")
    seen: list[Operation] = []

    def moved_twice(operation: Operation) -> bool:
        seen.append(operation)
        return operation.current_step >= 2

    wait_until(connection, operation_id, moved_twice)
    assert seen[-1].status is Status.IN_PROGRESS
    assert seen[-1].step_description.startswith("Step number")
    steps = [operation.current_step for operation in seen]
    assert steps == sorted(steps)
    assert wait_for_end(connection, operation_id).status is Status.COMPLETED


def test_a_failure_keeps_the_traceback_and_the_step(
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


def test_failed_steps_make_it_partial(connection: ProgressConnection, started: Started) -> None:
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


def test_a_terminal_status_is_left_alone(connection: ProgressConnection, started: Started) -> None:
    operation_id = started("succeed")
    ended = wait_for_end(connection, operation_id)
    connection.cancel(operation_id)
    connection.start(operation_id, "fail", "fast", OWNER)
    after = connection.read([operation_id])[operation_id]
    assert after.status is Status.COMPLETED
    assert after.finished_at == ended.finished_at
    assert not after.cancel_requested


def test_the_same_id_twice_is_one_operation(
    connection: ProgressConnection, started: Started
) -> None:
    operation_id = started("succeed", "steady")
    connection.start(operation_id, "fail", "fast", OWNER)
    operation = wait_for_end(connection, operation_id)
    assert operation.status is Status.COMPLETED
    assert operation.job == "succeed"
    assert operation.attempt == 1


def test_a_job_that_dies_without_a_word_is_declared_failed(
    connection: ProgressConnection, started: Started
) -> None:
    operation = wait_for_end(connection, started("die"))
    assert operation.status is Status.FAILED
    assert operation.error
    assert operation.current_step == 1


def test_an_unknown_job_fails_with_its_name(
    connection: ProgressConnection, started: Started
) -> None:
    operation = wait_for_end(connection, started("no_such_job"))
    assert operation.status is Status.FAILED
    assert operation.error is not None
    assert "There is no job 'no_such_job'" in operation.error


def test_a_result_that_is_not_json_fails_with_the_reason(
    connection: ProgressConnection, started: Started
) -> None:
    operation = wait_for_end(connection, started("unfit"))
    assert operation.status is Status.FAILED
    assert operation.error is not None
    assert "The job 'unfit' returned what JSON cannot hold" in operation.error


def test_text_that_stores_refuse_is_stored_all_the_same(
    connection: ProgressConnection, started: Started
) -> None:
    operation = wait_for_end(connection, started("odd_text"))
    assert operation.status is Status.COMPLETED
    assert operation.step_description == "a�b ?"
    assert operation.result is not None
    assert str(operation.result["notes"][0]).startswith("c")


def test_many_are_read_at_once_and_unknown_ids_are_left_out(
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
def test_a_subject_arrives_as_it_is(
    connection: ProgressConnection, started: Started, subject: str
) -> None:
    operation = wait_for_end(connection, started("succeed", subject))
    assert operation.status is Status.COMPLETED
    assert operation.subject == subject


def test_recent_gives_those_of_the_owner_newest_first(
    connection: ProgressConnection, started: Started
) -> None:
    ids = [started("succeed") for _ in range(3)]
    recent = connection.recent(2, OWNER)
    assert [operation.operation_id for operation in recent] == [ids[2], ids[1]]
    assert connection.recent(100, "nobody@example.com") == []
    for operation_id in ids:
        wait_for_end(connection, operation_id)
