"""Operations whose procedure ended without a terminal event, or seems to have."""

import time
from datetime import UTC, datetime

import pytest

from progress.backend import recovery, runner, store
from progress.backend.account import Account, QueryState
from progress.backend.connection import ProgressConnection
from progress.backend.recovery import Action, decide
from progress.contract import BackendUnavailable
from progress.operation import Operation, Progress, Query, Status, Step
from tests.app.conftest import (
    Statements,
    claimed,
    new_query_id,
    query_ids,
    queued,
    start,
    wait_for_step,
)
from tests.conftest import OWNER, wait_for_end

UNEXPECTED = "The procedure ended unexpectedly."
RUNNING, FAILED, SUCCEEDED, UNKNOWN = QueryState
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def stale(status: Status, cancel_requested: bool = False) -> Operation:
    return Operation(
        operation_id="x",
        job="",
        subject="",
        owner="",
        status=status,
        read_at=NOW,
        created_at=NOW,
        cancel_requested=cancel_requested,
    )


@pytest.mark.parametrize(
    ("states", "age", "action", "when_cancelled"),
    [
        ([RUNNING], 1000, Action.WAIT, Action.WAIT),
        ([SUCCEEDED, RUNNING], 1000, Action.WAIT, Action.WAIT),
        ([RUNNING, FAILED], 1000, Action.WAIT, Action.WAIT),
        ([UNKNOWN], 59, Action.WAIT, Action.WAIT),
        ([UNKNOWN, SUCCEEDED], 59, Action.WAIT, Action.WAIT),
        ([UNKNOWN], 60, Action.FAIL, Action.CANCEL),
        ([UNKNOWN, UNKNOWN], 60, Action.FAIL, Action.CANCEL),
        ([FAILED], 4, Action.FAIL, Action.CANCEL),
        ([UNKNOWN, FAILED], 4, Action.FAIL, Action.CANCEL),
        ([SUCCEEDED, FAILED], 4, Action.FAIL, Action.CANCEL),
        # The query that runs was not stored, or is hidden: the stored one found its claim.
        ([SUCCEEDED], 1000, Action.WAIT, Action.CANCEL),
        ([UNKNOWN, SUCCEEDED], 1000, Action.WAIT, Action.CANCEL),
        ([], 1000, Action.WAIT, Action.CANCEL),
    ],
)
def test_what_is_done_with_a_stale_operation(
    states: list[QueryState], age: float, action: Action, when_cancelled: Action
) -> None:
    assert decide(stale(Status.IN_PROGRESS), states, age) is action
    assert decide(stale(Status.IN_PROGRESS, cancel_requested=True), states, age) is when_cancelled


@pytest.mark.parametrize(
    ("states", "age", "action"),
    [
        ([], 10, Action.WAIT),
        ([], 10.1, Action.CALL),
        ([SUCCEEDED], 1000, Action.WAIT),
        ([UNKNOWN], 60, Action.FAIL),
        ([FAILED], 4, Action.FAIL),
        ([RUNNING], 1000, Action.WAIT),
    ],
)
def test_what_is_done_with_an_operation_that_is_still_queued(
    states: list[QueryState], age: float, action: Action
) -> None:
    assert decide(stale(Status.QUEUED), states, age) is action


def test_an_operation_that_was_never_called_is_called_by_a_poll(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = queued(database)
    assert operations.read([operation_id])[operation_id].status is Status.QUEUED
    assert query_ids(database, operation_id) == []
    monkeypatch.setattr(recovery, "START_TIMEOUT", 0.1)
    monkeypatch.setattr(recovery, "CHECK_INTERVAL", 0.1)
    assert wait_for_end(operations, operation_id).status is Status.COMPLETED


def test_a_killed_procedure_is_failed_with_the_message_of_snowflake(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = start(operations, "endless")
    wait_for_step(operations, operation_id, 1)
    (query_id,) = query_ids(database, operation_id)
    # As an administrator would in Snowsight: no cancel was requested on the page.
    database.execute(runner.CANCEL_QUERY, (query_id,))
    operation = wait_for_end(operations, operation_id)
    assert operation.status is Status.FAILED
    assert operation.error == f"{UNEXPECTED} SQL execution canceled"
    assert operation.current_step >= 1
    assert operation.step_description.startswith("Round")


def test_a_query_that_snowflake_does_not_know_fails_after_a_timeout(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "CHECK_INTERVAL", 0.0)
    operation_id = claimed(database)
    assert operations.read([operation_id])[operation_id].status is Status.IN_PROGRESS
    monkeypatch.setattr(recovery, "UNKNOWN_TIMEOUT", 0.0)
    operation = operations.read([operation_id])[operation_id]
    assert operation.status is Status.FAILED
    assert operation.error is not None
    assert operation.error.startswith(f"{UNEXPECTED} Snowflake does not know its query 01b2c3d4-")


def test_the_calls_of_an_operation_are_judged_together(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "CHECK_INTERVAL", 0.0)
    other = new_query_id()
    operation_id = claimed(database)
    store.add_query(database.execute, operation_id, other)
    states = {other: SUCCEEDED}
    monkeypatch.setattr(Account, "query_state", lambda self, name: (states.get(name, RUNNING), ""))
    assert operations.read([operation_id])[operation_id].status is Status.IN_PROGRESS
    states = dict.fromkeys(query_ids(database, operation_id), SUCCEEDED) | {other: FAILED}
    assert operations.read([operation_id])[operation_id].status is Status.FAILED


def test_an_operation_without_a_query_is_neither_called_again_nor_failed(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "START_TIMEOUT", 0.0)
    monkeypatch.setattr(recovery, "_heartbeat_age", lambda operation: 61.0)
    monkeypatch.setattr(recovery, "CHECK_INTERVAL", 60.0)
    monkeypatch.setattr(Account, "execute_async", lambda *rest: pytest.fail("it was called"))
    operation_id = queued(database)
    assert store.claim(database.execute, operation_id)
    time.sleep(0.2)
    statements = Statements(monkeypatch)
    for _ in range(3):
        operation = operations.read([operation_id])[operation_id]
        assert operation.status is Status.IN_PROGRESS
        assert operation.heartbeat_age > 0.1
    assert statements.executed == [store._READ, store._QUERY_IDS, store._READ, store._READ]
    operations.cancel(operation_id)
    assert operations.read([operation_id])[operation_id].status is Status.CANCELLED


def test_an_operation_that_cannot_be_checked_does_not_hide_the_others(
    operations: ProgressConnection,
    database: Account,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(recovery, "CHECK_INTERVAL", 0.0)
    bad, good = new_query_id(), new_query_id()
    ids = [claimed(database, query_id) for query_id in (bad, good)]

    def query_state(account: Account, query_id: str) -> tuple[QueryState, str]:
        if query_id == bad:
            raise BackendUnavailable("no route")
        return FAILED, "killed"

    monkeypatch.setattr(Account, "query_state", query_state)
    found = operations.read(ids)
    assert [found[name].status for name in ids] == [Status.IN_PROGRESS, Status.FAILED]
    assert f"Operation {ids[0]} could not be checked: no route" in caplog.text


def test_a_poll_spends_a_limited_time_on_checks_and_the_rest_comes_first_at_the_next(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "CHECK_INTERVAL", 0.0)
    monkeypatch.setattr(recovery, "CHECK_TIMEOUT", 1.0)
    ids = [claimed(database) for _ in range(2)]
    checked: list[str] = []

    def query_state(account: Account, query_id: str) -> tuple[QueryState, str]:
        checked.append(query_id)
        time.sleep(1.1)
        return RUNNING, ""

    monkeypatch.setattr(Account, "query_state", query_state)
    both = [query_ids(database, operation_id)[0] for operation_id in ids]
    for _ in range(2):
        operations._recovery.recover(store.read(database.execute, ids).values())
    assert sorted(checked) == sorted(both)


def test_a_running_query_counts_as_a_heartbeat(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "CHECK_INTERVAL", 0.2)
    monkeypatch.setattr(Account, "query_state", lambda self, query_id: (RUNNING, ""))
    operation_id = claimed(database)
    time.sleep(0.5)
    operation = operations.read([operation_id])[operation_id]
    assert operation.status is Status.IN_PROGRESS
    assert operation.heartbeat_age == 0


def test_an_operation_that_recent_fails_keeps_its_steps(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "CHECK_INTERVAL", 0.2)
    monkeypatch.setattr(Account, "query_state", lambda self, query_id: (FAILED, ""))
    operation_id = claimed(database)
    step = Step(1, "one", 0.5, failed=True)
    writer = store.OperationWriter(database.execute, operation_id, database)
    writer.progress(Progress(1, 6, 1, "two", (step,)))
    time.sleep(0.5)
    (row,) = operations.recent(Query(OWNER))
    assert (row.status, row.last_steps) == (Status.FAILED, ())
    assert operations.read([operation_id])[operation_id].last_steps == (step,)
