"""Recovery of operations whose procedure ended without a terminal event.

A procedure that is killed writes nothing. So when the heartbeat of an operation is stale, its
queries (the calls of its procedure) are checked, `decide` returns what to do, and `Recovery` does
it. While Snowflake says that a query runs, that counts as a heartbeat.
"""

import logging
import math
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from progress.backend import store
from progress.backend.account import Account, QueryState
from progress.backend.runner import call_procedure
from progress.contract import BackendError
from progress.operation import Operation, Progress, Status

log = logging.getLogger(__name__)

CHECK_INTERVAL = 3.0
"""Seconds without an event after which a heartbeat is stale; and between two checks."""
CHECK_TIMEOUT = 3.0
"""Seconds that one poll may spend on checks."""
START_TIMEOUT = 10.0
"""Seconds after which an operation whose procedure was not called is called again."""
UNKNOWN_TIMEOUT = 60.0
"""Seconds without an event after which a query that Snowflake does not know counts as failed."""


class Action(Enum):
    """What to do with an operation whose heartbeat is stale."""

    WAIT = "wait"
    CALL = "call"
    """Call its procedure again."""
    CANCEL = "cancel"
    """Insert the terminal event `cancelled`."""
    FAIL = "fail"
    """Insert the terminal event `failed`."""


def decide(operation: Operation, states: Collection[QueryState], age: float) -> Action:
    """Return what to do with an operation whose heartbeat is stale: the first row that matches.

    | its queries                  | cancel requested | heartbeat age | action |
    |------------------------------|------------------|---------------|--------|
    | one is running               |                  |               | WAIT   |
    | one is unknown, none failed  |                  | < 60 s        | WAIT   |
    |                              | yes              |               | CANCEL |
    | none, and it is still queued |                  | > 10 s        | CALL   |
    | one failed                   |                  |               | FAIL   |
    | all are unknown              |                  |               | FAIL   |
    |                              |                  |               | WAIT   |

    A query that succeeded proves nothing: a call that finds the claim of another call succeeds,
    too. The last row is an operation whose query id could not be stored: it stays stale until its
    job ends or a user cancels it.

    Args:
        operation: It has not ended.
        states: The states of its queries.
        age: Seconds since its last event.
    """
    failed = QueryState.FAILED in states
    if QueryState.RUNNING in states:
        return Action.WAIT
    if QueryState.UNKNOWN in states and not failed and age < UNKNOWN_TIMEOUT:
        return Action.WAIT
    if operation.cancel_requested:
        return Action.CANCEL
    if not states and operation.status == Status.QUEUED and age > START_TIMEOUT:
        return Action.CALL
    if failed or set(states) == {QueryState.UNKNOWN}:
        return Action.FAIL
    return Action.WAIT


@dataclass(frozen=True, slots=True)
class _Check:
    at: float
    running: bool


class Recovery:
    """Checks stale operations and acts on what `decide` returns. Safe to share between threads.

    Args:
        account: The connection to Snowflake.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._checks: dict[str, _Check] = {}  # the latest of each operation

    def with_heartbeat(self, operation: Operation) -> Operation:
        """Return the operation, with a heartbeat if its query was running at the latest check."""
        check = self._checks.get(operation.operation_id)
        if check is not None and check.running and operation.status == Status.IN_PROGRESS:
            return replace(operation, heartbeat_at=operation.read_at)
        return operation

    def forget(self, operation_id: str) -> None:
        """Forget the latest check, so that the next poll checks again."""
        self._checks.pop(operation_id, None)

    def recover(self, operations: Iterable[Operation]) -> bool:
        """Check those that are due; return whether an event was inserted, so that a read is due.

        Errors are logged, not raised: the caller has read the operations and can show them.
        """
        self._forget_old()
        due = self._due(operations)
        if not due:
            return False
        try:
            ids = [operation.operation_id for operation in due]
            query_ids = store.query_ids(self._account.execute, ids)
        except BackendError as error:
            log.warning("Stale operations could not be checked: %s", error)
            return False
        inserted, deadline = False, time.monotonic() + CHECK_TIMEOUT
        for operation in due:
            if time.monotonic() > deadline:
                break  # The page waits. The rest comes first at the next poll.
            operation_id = operation.operation_id
            try:
                inserted |= self._check(operation, query_ids[operation_id])
            except BackendError as error:
                log.warning("Operation %s could not be checked: %s", operation_id, error)
        return inserted

    def _due(self, operations: Iterable[Operation]) -> list[Operation]:
        """Return the operations to check, that of the oldest check first."""
        latest = time.monotonic() - CHECK_INTERVAL
        due = [
            operation
            for operation in operations
            if not operation.status.is_terminal
            and self._checked_at(operation) <= latest
            and (operation.cancel_requested or _heartbeat_age(operation) > CHECK_INTERVAL)
        ]
        return sorted(due, key=self._checked_at)

    def _checked_at(self, operation: Operation) -> float:
        check = self._checks.get(operation.operation_id)
        return -math.inf if check is None else check.at

    def _forget_old(self) -> None:
        """Forget the checks of operations that are no longer polled."""
        oldest = time.monotonic() - UNKNOWN_TIMEOUT
        for operation_id, check in list(self._checks.items()):  # a copy: other threads add to it
            if check.at < oldest:
                self.forget(operation_id)

    def _check(self, operation: Operation, query_ids: Sequence[str]) -> bool:
        """Check one operation and act; return whether an event was inserted."""
        operation_id = operation.operation_id
        self._checks[operation_id] = _Check(time.monotonic(), running=False)
        answers = [self._account.query_state(query_id) for query_id in query_ids]
        states = {state for state, _ in answers}
        if QueryState.RUNNING in states:
            if operation.cancel_requested:
                self.forget(operation_id)  # It is about to end: the next poll checks again.
            else:
                self._checks[operation_id] = _Check(time.monotonic(), running=True)
        action = decide(operation, states, _heartbeat_age(operation))
        if action is Action.CALL:
            found = self._read(operation_id)
            call_procedure(self._account, operation_id, found.job, found.subject, found.options)
        elif action is Action.CANCEL:
            self._finish(operation_id, Status.CANCELLED, None)
        elif action is Action.FAIL:
            reason = next((message for _, message in answers if message), "")
            if states == {QueryState.UNKNOWN}:
                reason = f"Snowflake does not know its query {query_ids[0][:40]}."
            error = f"The procedure ended unexpectedly. {reason}".strip()
            self._finish(operation_id, Status.FAILED, error)
        return action is not Action.WAIT

    def _read(self, operation_id: str) -> Operation:
        """Return the whole operation: `recent` has no options and no steps."""
        return store.read(self._account.execute, [operation_id])[operation_id]

    def _finish(self, operation_id: str, status: Status, error: str | None) -> None:
        latest = self._read(operation_id)
        progress = Progress(
            latest.current_step,
            latest.total_steps,
            latest.failed_steps,
            latest.step_description,
            latest.last_steps,
            latest.live,
        )
        store.finish(self._account.execute, operation_id, status, progress, error)


def _heartbeat_age(operation: Operation) -> float:
    """Return the seconds since the last event, of a queued operation since it was created."""
    if operation.status == Status.QUEUED:
        return (operation.read_at - operation.created_at).total_seconds()
    return operation.heartbeat_age
