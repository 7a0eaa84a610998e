"""The progress backend: operations as events in Snowflake, each job in a stored procedure."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from streamlit.connections import BaseConnection

from progress.backend import store as events
from progress.backend.account import Account, QueryState, configured_options
from progress.contract import Backend, BackendError, BackendRejected
from progress.operation import Operation, Progress, Query, Status

log = logging.getLogger(__name__)

CHECK_INTERVAL = 3.0
"""Seconds without an event after which Snowflake is asked whether the procedure runs; and for
which its answer is good."""
CHECK_TIME = 3.0
"""Seconds that one poll may take for that."""
START_PATIENCE = 10.0
"""Seconds after which an operation whose procedure was not called is called again."""
UNKNOWN_PATIENCE = 60.0
"""Seconds without an event after which a query that Snowflake does not know counts as ended."""
CALL = "CALL RUN_OPERATION(?, ?, ?)"
CANCEL_QUERY = "SELECT SYSTEM$CANCEL_QUERY(?)"


class ProgressConnection(BaseConnection[Account], Backend):
    """Starts operations and reads how far they are. Open it with
    `st.connection("progress", type=ProgressConnection)`.

    The options are those of `[connections.snowflake]` in .streamlit/secrets.toml, or of the
    variable PROGRESS_CONNECTION (a JSON object), or the connector's default connection. It has a
    connection of its own, apart from `st.connection("snowflake")`, and is safe to share between
    threads.
    """

    def _connect(self, **kwargs: Any) -> Account:
        # When Snowflake was last asked about an operation, and whether it said that it runs.
        self._checked: dict[str, tuple[float, bool]] = {}
        return Account(kwargs or configured_options())

    def start(
        self, operation_id: str, job: str, subject: str, owner: str, retry_of: str = ""
    ) -> None:
        execute = self._instance.execute
        if events.add(execute, operation_id, job, subject, owner, retry_of):
            self._call(operation_id, job, subject)
            return
        # A start that broke between the event and the call is completed. Of two calls the second
        # finds the claim of the first, and does nothing: see `begin`.
        found = events.read(execute, [operation_id])[operation_id]
        if found.status is Status.QUEUED and not self._queries(operation_id):
            self._call(operation_id, found.job, found.subject)

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        operations = events.read(self._instance.execute, operation_ids)
        if self._settle(operations.values()):
            operations = events.read(self._instance.execute, operation_ids)
        return {name: self._with_sign(operation) for name, operation in operations.items()}

    def recent(self, query: Query) -> list[Operation]:
        operations = events.recent(self._instance.execute, query)
        if self._settle(operations):
            operations = events.recent(self._instance.execute, query)
        return [self._with_sign(operation) for operation in operations]

    def counts(self, query: Query) -> dict[Status, int]:
        return events.counts(self._instance.execute, query)

    def cancel(self, operation_id: str) -> None:
        execute = self._instance.execute
        if not events.request_cancel(execute, operation_id):
            return
        for query_id in self._queries(operation_id):
            try:
                execute(CANCEL_QUERY, (query_id,))
            except BackendRejected as error:
                # The job sees the request when it next reports.
                log.warning("The procedure could not be cancelled: %s", error)
        self._checked.pop(operation_id, None)
        self._settle(events.read(execute, [operation_id]).values())

    def reset(self) -> None:
        """Close the connection; the next use opens one.

        Streamlit calls it only when `[connections.progress]` changes, which has nothing for
        Snowflake: after a change of `[connections.snowflake]` restart the app.
        """
        if self._raw_instance is not None:
            self._raw_instance.close()
        super().reset()

    def _call(self, operation_id: str, job: str, subject: str) -> None:
        account = self._instance
        try:
            query_id = account.execute_async(CALL, (operation_id, job, subject))
        except BackendRejected as error:
            # The operation is there; what became of it is for its page to say.
            events.end(account.execute, operation_id, Status.FAILED, Progress(), str(error))
            return
        events.keep_query(account.execute, operation_id, query_id)

    def _queries(self, operation_id: str) -> list[str]:
        return events.queries(self._instance.execute, [operation_id])[operation_id]

    def _settle(self, operations: Iterable[Operation]) -> bool:
        """Look after operations that are silent; return whether something was written.

        What was read is worth more than this: an error here is logged, and the next poll goes on.
        """
        silent = self._silent(operations)
        if not silent:
            return False
        try:
            names = [operation.operation_id for operation in silent]
            queries = events.queries(self._instance.execute, names)
        except BackendError as error:
            log.warning("Silent operations could not be looked after: %s", error)
            return False
        written, began = False, time.monotonic()
        for operation in silent:
            if time.monotonic() - began > CHECK_TIME:
                break  # The page waits. Those left over come first the next time.
            name = operation.operation_id
            self._checked[name] = (time.monotonic(), False)
            try:
                written |= self._settle_one(operation, queries[name])
            except BackendError as error:
                log.warning("Operation %s could not be looked after: %s", name, error)
        return written

    def _silent(self, operations: Iterable[Operation]) -> list[Operation]:
        """Return those to ask about: first the one whose last check is longest ago."""
        now = time.monotonic()
        # A copy, because other threads add to it.
        for name, (seen, _) in list(self._checked.items()):
            if now - seen > UNKNOWN_PATIENCE:
                self._checked.pop(name, None)
        checked = {name: seen for name, (seen, _) in list(self._checked.items())}
        silent = [
            operation
            for operation in operations
            if not operation.status.is_terminal
            and now - checked.get(operation.operation_id, -CHECK_INTERVAL) >= CHECK_INTERVAL
            and (operation.cancel_requested or _silence(operation) > CHECK_INTERVAL)
        ]
        return sorted(silent, key=lambda operation: checked.get(operation.operation_id, 0.0))

    def _settle_one(self, operation: Operation, query_ids: Sequence[str]) -> bool:
        account, operation_id = self._instance, operation.operation_id
        answers = [account.query_state(query_id) for query_id in query_ids]
        states = {state for state, _ in answers}
        if QueryState.ALIVE in states:
            if operation.cancel_requested:
                self._checked.pop(operation_id, None)  # It is about to end: ask again soon.
            else:
                self._checked[operation_id] = (time.monotonic(), True)
            return False
        ended = QueryState.ENDED in states
        patient = _silence(operation) < UNKNOWN_PATIENCE
        if QueryState.UNKNOWN in states and not ended and patient:
            return False
        if operation.cancel_requested:
            self._end(operation, Status.CANCELLED, None)
            return True
        if not states and operation.status is Status.QUEUED:
            if _silence(operation) <= START_PATIENCE:
                return False
            self._call(operation_id, operation.job, operation.subject)
            return True
        if not ended and states != {QueryState.UNKNOWN}:
            # Nobody can tell: its query is not kept, or what is kept is a call that returned
            # because it found another at work. The page shows it as quiet.
            return False
        reason = next((message for _, message in answers if message), "")
        if not ended:
            reason = f"Snowflake does not know its query {query_ids[0][:40]}."
        self._end(operation, Status.FAILED, f"The procedure ended without a word. {reason}".strip())
        return True

    def _end(self, operation: Operation, status: Status, error: str | None) -> None:
        execute, operation_id = self._instance.execute, operation.operation_id
        last = events.read(execute, [operation_id])[operation_id]  # `recent` leaves out the steps
        progress = Progress(
            last.current_step,
            last.total_steps,
            last.failed_steps,
            last.step_description,
            last.last_steps,
        )
        events.end(execute, operation_id, status, progress, error)

    def _with_sign(self, operation: Operation) -> Operation:
        """Count the warehouse's word that the procedure runs as a sign of life."""
        _, alive = self._checked.get(operation.operation_id, (0.0, False))
        if alive and operation.status is Status.IN_PROGRESS:
            return replace(operation, heartbeat_at=operation.read_at)
        return operation


def _silence(operation: Operation) -> float:
    """Return the seconds since the last event, in the queue too."""
    if operation.status is Status.QUEUED:
        return (operation.read_at - operation.created_at).total_seconds()
    return operation.heartbeat_age
