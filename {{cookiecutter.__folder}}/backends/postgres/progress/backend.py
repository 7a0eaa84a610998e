"""The progress backend: operations in Postgres, jobs on the workers of a Procrastinate queue."""

from collections.abc import Sequence
from typing import Any

from streamlit.connections import BaseConnection

from progress.database import Pool, execute, open_pool, required_dsn
from progress.operation import Operation

POOL_SIZE = 4
"""Connections for each server process. One poll at a time, starts and cancels need no more."""


class ProgressConnection(BaseConnection[Pool]):
    """Starts operations and reads how far they are. Open it with
    `st.connection("progress", type=ProgressConnection)`.

    The connection string is the variable DATABASE_URL, or else `dsn` under `[connections.progress]`
    in .streamlit/secrets.toml. Safe to share between threads.
    """

    def _connect(self, **kwargs: Any) -> Pool:
        return open_pool(kwargs.get("dsn") or required_dsn(), POOL_SIZE)

    def start(self, operation_id: str, job: str, subject: str, owner: str) -> None:
        """Add an operation, and its job to the queue: both or neither. An id is used once.

        Raises:
            BackendUnavailable: It is unknown whether it was stored: try again with the same id.
            BackendRejected: Postgres refused.
        """
        execute(
            self._instance,
            "SELECT start_operation(%(operation_id)s, %(job)s, %(subject)s, %(owner)s)",
            {"operation_id": operation_id, "job": job, "subject": subject, "owner": owner},
        )

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        """Return the operations that exist among these, in one statement.

        Raises:
            BackendUnavailable: Postgres cannot be reached.
            BackendRejected: Postgres refused.
        """
        rows = execute(
            self._instance,
            "SELECT *, clock_timestamp() AS read_at FROM operations"
            " WHERE operation_id = ANY(%(operation_ids)s)",
            # An id from a URL may hold a NUL, which text in Postgres does not.
            {"operation_ids": [name for name in operation_ids if "\0" not in name]},
        )
        return {row["operation_id"]: Operation.from_row(row) for row in rows}

    def recent(self, limit: int, owner: str) -> list[Operation]:
        """Return at most `limit` operations of an owner, newest first, without their results.

        Raises:
            BackendUnavailable: Postgres cannot be reached.
            BackendRejected: Postgres refused.
        """
        rows = execute(
            self._instance,
            # Without results and errors, which may be large.
            "SELECT operation_id, job, subject, owner, status, current_step, total_steps,"
            " failed_steps, step_description, created_at, started_at, last_updated,"
            " heartbeat_at, finished_at, cancel_requested, attempt,"
            " clock_timestamp() AS read_at FROM operations"
            " WHERE owner = %(owner)s ORDER BY created_at DESC LIMIT %(limit)s",
            {"owner": owner, "limit": limit},
        )
        return [Operation.from_row(row) for row in rows]

    def cancel(self, operation_id: str) -> None:
        """Ask the job to stop. An operation that has ended is left alone.

        Raises:
            BackendUnavailable: The request may not have been stored.
            BackendRejected: Postgres refused.
        """
        execute(
            self._instance,
            "SELECT cancel_operation(%(operation_id)s)",
            {"operation_id": operation_id},
        )

    def reset(self) -> None:
        """Close the pool; the next use opens it anew. Streamlit does it when the secrets change."""
        if self._raw_instance is not None:
            self._raw_instance.close()
        super().reset()
