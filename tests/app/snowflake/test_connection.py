"""Starts, polls and cancels through the connection of the app."""

import pytest

from dev.local_server import FakeSnowflake
from progress.backend import recovery, runner, store
from progress.backend.account import Account, QueryState
from progress.backend.connection import ProgressConnection
from progress.operation import Progress, Query, Status
from tests.app.conftest import Statements, claimed, query_ids, queued, start, wait_for_step
from tests.conftest import OWNER, wait_for_end


def test_a_start_that_failed_before_the_call_is_completed_by_the_next_try(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = queued(database)
    operations.start(operation_id, "fail", "other", OWNER)
    operation = wait_for_end(operations, operation_id)
    assert (operation.status, operation.job, operation.subject) == ("completed", "succeed", "fast")


def test_an_operation_that_is_called_several_times_runs_once(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = queued(database, subject="steady")
    calls = [
        database.execute_async(runner.CALL, (operation_id, "succeed", "steady")) for _ in range(3)
    ]
    assert wait_for_end(operations, operation_id).status is Status.COMPLETED
    (row,) = database.execute(
        "SELECT COUNT(*) AS EVENTS FROM OPERATION_EVENTS"
        " WHERE OPERATION_ID = ? AND STEP_DESCRIPTION = 'Step number 6 of `steady`'",
        (operation_id,),
    )
    assert row == {"events": 2}, "the step, and the end"
    for query_id in calls:
        assert database.query_state(query_id)[0] is not QueryState.UNKNOWN


def test_a_refused_call_fails_the_operation_with_the_reason(
    operations: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "CALL", "CALL NOT_DEPLOYED(?, ?, ?)")
    operation_id = start(operations, "succeed")
    operation = operations.read([operation_id])[operation_id]
    assert operation.status is Status.FAILED
    assert operation.error == (
        "Snowflake: Unknown function NOT_DEPLOYED."
        " Is schema.sql applied, the procedure deployed, and the role granted?"
    )


def test_a_poll_is_one_statement(
    operations: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A job that is held up is not to be checked.
    monkeypatch.setattr(recovery, "CHECK_INTERVAL", 60.0)
    ids = [start(operations, "endless") for _ in range(2)]
    for operation_id in ids:
        wait_for_step(operations, operation_id, 1)
    statements = Statements(monkeypatch)
    for _ in range(4):
        for operation_id in ids:
            operations._recovery.forget(operation_id)
        found = operations.read(ids)
    assert {operation.status for operation in found.values()} == {Status.IN_PROGRESS}
    assert statements.executed == [store._READ] * 4
    assert statements.states == 0
    for operation_id in ids:
        operations.cancel(operation_id)


def test_recent_and_counts_are_one_statement_each(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = claimed(database)
    store.finish(database.execute, operation_id, Status.COMPLETED, Progress(6, 6))
    statements = Statements(monkeypatch)
    assert [row.operation_id for row in operations.recent(Query(OWNER))] == [operation_id]
    assert operations.counts(Query(OWNER)) == {Status.COMPLETED: 1}
    assert statements.executed == [store._RECENT, store._COUNTS]


def test_the_next_read_shows_a_cancel_and_every_session_the_state_of_the_query(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = start(operations, "endless")
    wait_for_step(operations, operation_id, 1)
    operations.cancel(operation_id)
    operation = operations.read([operation_id])[operation_id]
    assert (operation.status, operation.error) == (Status.CANCELLED, None)
    (query_id,) = query_ids(database, operation_id)
    assert database.query_state(query_id) == (QueryState.FAILED, "SQL execution canceled")


def test_cancel_without_the_privilege_to_cancel_the_query_waits_for_the_job(
    operations: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = start(operations, "endless")
    wait_for_step(operations, operation_id, 1)
    monkeypatch.setattr(runner, "CANCEL_QUERY", "SELECT NOT_ALLOWED(?)")
    operations.cancel(operation_id)
    assert operations.read([operation_id])[operation_id].cancel_requested
    assert wait_for_end(operations, operation_id).status is Status.CANCELLED


def test_cancel_of_an_operation_that_was_never_called_ends_it(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = queued(database)
    operations.cancel(operation_id)
    assert operations.read([operation_id])[operation_id].status is Status.CANCELLED
    operations.start(operation_id, "succeed", "fast", OWNER)
    assert query_ids(database, operation_id) == []


def test_two_connections_read_the_same_and_either_cancels(
    operations: ProgressConnection, server: FakeSnowflake
) -> None:
    other = ProgressConnection("progress", **server.options)
    operation_id = start(operations, "endless")
    wait_for_step(other, operation_id, 1)
    other.cancel(operation_id)
    assert wait_for_end(operations, operation_id).status is Status.CANCELLED
    assert wait_for_end(other, operation_id).status is Status.CANCELLED
    other.reset()
