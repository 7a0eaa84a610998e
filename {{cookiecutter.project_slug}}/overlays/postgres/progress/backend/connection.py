"""The progress backend: operations in Postgres, jobs on the workers of a Procrastinate queue."""

from collections.abc import Sequence
from typing import Any

from streamlit.connections import BaseConnection

from progress.backend.database import Pool, execute, open_pool, required_dsn
from progress.contract import Backend
from progress.operation import Operation, Query, Status
from progress.rows import count_statuses, operation_from_row

POOL_SIZE = 4
"""Connections for each server process. One poll at a time, starts and cancels need no more."""

_RECENT = """
SELECT operation_id, job, subject, owner, status, current_step, total_steps, failed_steps,
    step_description, created_at, started_at, last_updated, heartbeat_at, finished_at,
    cancel_requested, attempt, retry_of, clock_timestamp() AS read_at
FROM operations
WHERE owner = %(owner)s
    AND created_at >= coalesce(%(since)s::timestamptz, '-infinity')
    AND (created_at, operation_id)
        < (coalesce(%(before_time)s::timestamptz, 'infinity'), %(before_id)s)
    AND (%(job)s::text IS NULL OR job = %(job)s)
    AND (%(subject)s::text IS NULL OR subject = %(subject)s)
    AND (%(statuses)s::text[] = '{}' OR status = ANY(%(statuses)s))
ORDER BY created_at DESC, operation_id DESC LIMIT %(limit)s
"""
_COUNTS = """
SELECT status, count(*) AS operations FROM operations
WHERE owner = %(owner)s
    AND created_at >= coalesce(%(since)s::timestamptz, '-infinity')
    AND (%(job)s::text IS NULL OR job = %(job)s)
    AND (%(subject)s::text IS NULL OR subject = %(subject)s)
    AND (%(statuses)s::text[] = '{}' OR status = ANY(%(statuses)s))
GROUP BY status
"""
# Statements of their own, because the plan of a prepared one must suit whatever it is given, and
# "owner = %(owner)s, if there is one" would be read without an index.
_RECENT_OF_ALL = _RECENT.replace("owner = %(owner)s", "TRUE")
_COUNTS_OF_ALL = _COUNTS.replace("owner = %(owner)s", "TRUE")


class ProgressConnection(BaseConnection[Pool], Backend):
    """Starts operations and reads how far they are. Open it with
    `st.connection("progress", type=ProgressConnection)`.

    The connection string is the variable DATABASE_URL, or else `dsn` under `[connections.progress]`
    in .streamlit/secrets.toml. Safe to share between threads.
    """

    def _connect(self, **kwargs: Any) -> Pool:
        return open_pool(kwargs.get("dsn") or required_dsn(), POOL_SIZE)

    def start(
        self, operation_id: str, job: str, subject: str, owner: str, retry_of: str = ""
    ) -> None:
        execute(
            self._instance,
            "SELECT start_operation("
            "%(operation_id)s, %(job)s, %(subject)s, %(owner)s, %(retry_of)s)",
            {
                "operation_id": operation_id,
                "job": job,
                "subject": subject,
                "owner": owner,
                "retry_of": retry_of,
            },
        )

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        rows = execute(
            self._instance,
            "SELECT *, clock_timestamp() AS read_at FROM operations"
            " WHERE operation_id = ANY(%(operation_ids)s)",
            # An id from a URL may hold a NUL, which text in Postgres does not.
            {"operation_ids": [name for name in operation_ids if "\0" not in name]},
        )
        return {row["operation_id"]: operation_from_row(row) for row in rows}

    def recent(self, query: Query) -> list[Operation]:
        statement = _RECENT_OF_ALL if query.owner is None else _RECENT
        rows = execute(self._instance, statement, _parameters(query))
        return [operation_from_row(row) for row in rows]

    def counts(self, query: Query) -> dict[Status, int]:
        statement = _COUNTS_OF_ALL if query.owner is None else _COUNTS
        rows = execute(self._instance, statement, _parameters(query))
        return count_statuses((row["status"], row["operations"]) for row in rows)

    def cancel(self, operation_id: str) -> None:
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


def _parameters(query: Query) -> dict[str, Any]:
    before_time, before_id = query.before or (None, "")
    return {
        "owner": query.owner,
        "job": query.job,
        "subject": query.subject,
        "statuses": [status.value for status in query.statuses],
        "since": query.since,
        "before_time": before_time,
        "before_id": before_id,
        "limit": query.limit,
    }
