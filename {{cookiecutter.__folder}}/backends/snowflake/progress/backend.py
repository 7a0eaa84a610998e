"""The progress backend: operations as events in Snowflake, each job in a stored procedure."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from streamlit.connections import BaseConnection

from progress import events
from progress.account import Account, QueryState, configured_options
from progress.errors import BackendRejected
from progress.operation import Operation, Query, Status
from progress.reporter import Progress

log = logging.getLogger(__name__)

SILENCE_BEFORE_CHECK = 3.0
"""Seconds without an event after which Snowflake is asked whether the procedure runs."""
CHECK_INTERVAL = 3.0
"""Seconds for which the answer "it runs" is good."""
START_PATIENCE = 10.0
"""Seconds after which an operation whose procedure was not called is called again."""
UNKNOWN_PATIENCE = 60.0
"""Seconds without an event after which a query that Snowflake does not know counts as ended."""
CALL = "CALL RUN_OPERATION(?, ?, ?)"
CANCEL_QUERY = "SELECT SYSTEM$CANCEL_QUERY(?)"


class ProgressConnection(BaseConnection[Account]):
    """Starts operations and reads how far they are. Open it with
    `st.connection("progress", type=ProgressConnection)`.

    The options are those of `[connections.snowflake]` in .streamlit/secrets.toml, or of the
    variable PROGRESS_CONNECTION (a JSON object), or the connector's default connection. It has a
    connection of its own, apart from `st.connection("snowflake")`, and is safe to share between
    threads.
    """

    def _connect(self, **kwargs: Any) -> Account:
        self._alive: dict[str, float] = {}
        return Account(kwargs or configured_options())

    def start(
        self, operation_id: str, job: str, subject: str, owner: str, retry_of: str = ""
    ) -> None:
        """Add an operation and call its procedure. The same id twice is one operation.

        Args:
            operation_id: Its id, made by the caller.
            job: Which job, one of `JOBS` in jobs.py.
            subject: What the job works on.
            owner: Whose it is.
            retry_of: The id of the operation that this one repeats.

        Raises:
            BackendUnavailable: It is unknown whether it was stored: try again with the same id.
            BackendRejected: Snowflake refused.
        """
        execute = self._instance.execute
        if events.add(execute, operation_id, job, subject, owner, retry_of):
            self._call(operation_id, job, subject)
            return
        # A start that broke between the event and the call is completed. A procedure that is
        # called twice runs once: the second call finds the claim of the first.
        found = events.read(execute, [operation_id])[operation_id]
        if found.status is Status.QUEUED and not events.queries(execute, operation_id):
            self._call(operation_id, found.job, found.subject)

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        """Return the operations that exist among these, in one statement.

        Only for those that are silent, Snowflake is asked for the state of their procedures.

        Raises:
            BackendUnavailable: Snowflake cannot be reached.
            BackendRejected: Snowflake refused.
        """
        operations = events.read(self._instance.execute, operation_ids)
        if self._settle(operations.values()):
            operations = events.read(self._instance.execute, operation_ids)
        return {name: self._with_sign(operation) for name, operation in operations.items()}

    def recent(self, query: Query) -> list[Operation]:
        """Return a page of operations, newest first, without result, error and steps.

        Raises:
            BackendUnavailable: Snowflake cannot be reached.
            BackendRejected: Snowflake refused.
        """
        operations = events.recent(self._instance.execute, query)
        if self._settle(operations):
            operations = events.recent(self._instance.execute, query)
        return [self._with_sign(operation) for operation in operations]

    def counts(self, query: Query) -> dict[Status, int]:
        """Return how many operations have each status; `limit` and `before` do not matter.

        Raises:
            BackendUnavailable: Snowflake cannot be reached.
            BackendRejected: Snowflake refused.
        """
        return events.counts(self._instance.execute, query)

    def cancel(self, operation_id: str) -> None:
        """Ask the job to stop, and Snowflake to end it. One that has ended is left alone.

        Raises:
            BackendUnavailable: The request may not have been stored.
            BackendRejected: Snowflake refused.
        """
        execute = self._instance.execute
        if not events.request_cancel(execute, operation_id):
            return
        for query_id in events.queries(execute, operation_id):
            try:
                execute(CANCEL_QUERY, (query_id,))
            except BackendRejected as error:
                # The job sees the request when it next reports.
                log.warning("The procedure could not be cancelled: %s", error)
        self._alive.pop(operation_id, None)
        self._settle(events.read(execute, [operation_id]).values())

    def reset(self) -> None:
        """Close the connection; the next use opens one. Streamlit does it when secrets change."""
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

    def _settle(self, operations: Iterable[Operation]) -> bool:
        """Look after operations that are silent; return whether something was written."""
        written = [self._settle_one(operation) for operation in self._silent(operations)]
        return any(written)

    def _silent(self, operations: Iterable[Operation]) -> list[Operation]:
        now = time.monotonic()
        for name in [name for name, seen in self._alive.items() if now - seen > UNKNOWN_PATIENCE]:
            self._alive.pop(name, None)
        return [
            operation
            for operation in operations
            if not operation.status.is_terminal
            and now - self._alive.get(operation.operation_id, -CHECK_INTERVAL) >= CHECK_INTERVAL
            and (operation.cancel_requested or _silence(operation) > SILENCE_BEFORE_CHECK)
        ]

    def _settle_one(self, operation: Operation) -> bool:
        account, operation_id = self._instance, operation.operation_id
        query_ids = events.queries(account.execute, operation_id)
        if not query_ids and not operation.cancel_requested:
            if operation.status is Status.QUEUED and _silence(operation) > START_PATIENCE:
                self._call(operation_id, operation.job, operation.subject)
                return True
            return False
        answers = [account.query_state(query_id) for query_id in query_ids]
        states = {state for state, _ in answers}
        if QueryState.ALIVE in states:
            if not operation.cancel_requested:
                self._alive[operation_id] = time.monotonic()
            return False
        if states == {QueryState.UNKNOWN} and _silence(operation) < UNKNOWN_PATIENCE:
            return False
        reason = next((message for _, message in answers if message), "")
        if states == {QueryState.UNKNOWN}:
            reason = f"Snowflake does not know its query {query_ids[0]}."
        # What `recent` found has no steps.
        last = events.read(account.execute, [operation_id])[operation_id]
        events.end(
            account.execute,
            operation_id,
            Status.CANCELLED if operation.cancel_requested else Status.FAILED,
            Progress(
                last.current_step,
                last.total_steps,
                last.failed_steps,
                last.step_description,
                last.last_steps,
            ),
            None
            if operation.cancel_requested
            else f"The procedure ended without a word. {reason}".strip(),
        )
        return True

    def _with_sign(self, operation: Operation) -> Operation:
        """Count the warehouse's word that the procedure runs as a sign of life."""
        if operation.operation_id in self._alive and operation.status is Status.IN_PROGRESS:
            return replace(operation, heartbeat_at=operation.read_at)
        return operation


def _silence(operation: Operation) -> float:
    """Return the seconds since the last event, in the queue too."""
    if operation.status is Status.QUEUED:
        return (operation.read_at - operation.created_at).total_seconds()
    return operation.silence
