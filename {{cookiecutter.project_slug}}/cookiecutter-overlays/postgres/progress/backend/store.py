"""The operations in Postgres: the statements of the app and of the workers. No Streamlit."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from progress import sql
from progress.backend.database import Pool, execute
from progress.contract import OperationLost
from progress.operation import Operation, Progress, Query, Status
from progress.rows import count_statuses, operation_from_row

MAX_ATTEMPTS = 3
"""Attempts of an operation before it is declared failed."""

_CONDITIONS = {
    "owner": "owner = %(owner)s",
    "since": "created_at >= %(since)s",
    "before": "(created_at, operation_id) < (%(before_time)s, %(before_id)s)",
    "job": "job = %(job)s",
    "subject": "subject = %(subject)s",
    "statuses": "status = ANY(%(statuses)s)",
}


def start(
    pool: Pool, operation_id: str, job: str, subject: str, owner: str, retry_of: str = ""
) -> None:
    """Add an operation and its queue job in one transaction, once for each id."""
    execute(
        pool,
        "SELECT start_operation(%(operation_id)s, %(job)s, %(subject)s, %(owner)s, %(retry_of)s)",
        {
            "operation_id": operation_id,
            "job": job,
            "subject": subject,
            "owner": owner,
            "retry_of": retry_of,
        },
    )


def read(pool: Pool, operation_ids: Sequence[str]) -> dict[str, Operation]:
    """Return the operations that exist, in one statement."""
    rows = execute(
        pool,
        "SELECT *, clock_timestamp() AS read_at FROM operations"
        " WHERE operation_id = ANY(%(operation_ids)s)",
        # An id from a URL may contain NUL, which Postgres refuses in text.
        {"operation_ids": [name for name in operation_ids if "\0" not in name]},
    )
    return {row["operation_id"]: operation_from_row(row) for row in rows}


def recent(pool: Pool, query: Query) -> list[Operation]:
    """Return a page of operations, newest first, without result, error and steps."""
    rows = execute(pool, recent_statement(query), sql.parameters(query))
    return [operation_from_row(row) for row in rows]


def recent_statement(query: Query) -> str:
    """Return the SELECT for a page of operations."""
    return sql.select(
        sql.LIST_COLUMNS + ", clock_timestamp() AS read_at",
        sql.conditions(query, _CONDITIONS),
        "ORDER BY created_at DESC, operation_id DESC LIMIT %(limit)s",
    )


def counts(pool: Pool, query: Query) -> dict[Status, int]:
    """Return how many operations have each status; `limit` and `before` do not matter."""
    conditions = sql.conditions(replace(query, before=None), _CONDITIONS)
    statement = sql.select("status, count(*) AS operations", conditions, "GROUP BY status")
    rows = execute(pool, statement, sql.parameters(query))
    return count_statuses((row["status"], row["operations"]) for row in rows)


def request_cancel(pool: Pool, operation_id: str) -> None:
    """Ask the job to stop. An operation that no worker has started ends immediately."""
    execute(pool, "SELECT cancel_operation(%(operation_id)s)", {"operation_id": operation_id})


def begin(pool: Pool, operation_id: str, queue_job: int) -> tuple[str, str, int] | None:
    """Begin the next attempt of an operation; return its job, subject and attempt.

    None means that it has ended, or was requeued as another job of the queue.
    """
    rows = execute(
        pool,
        "UPDATE operations SET status = 'in_progress', attempt = attempt + 1,"
        " current_step = 0, total_steps = NULL, failed_steps = 0, step_description = '',"
        " last_steps = '[]',"
        " started_at = clock_timestamp(), heartbeat_at = clock_timestamp()"
        " WHERE operation_id = %(operation_id)s AND queue_job = %(queue_job)s"
        " AND status IN ('queued', 'in_progress') RETURNING job, subject, attempt",
        {"operation_id": operation_id, "queue_job": queue_job},
    )
    if not rows:
        return None
    return rows[0]["job"], rows[0]["subject"], rows[0]["attempt"]


def orphaned_jobs(pool: Pool) -> list[int]:
    """Return the jobs that have left the queue although their operations have not ended.

    A job stores the end of its operation before it leaves the queue, so these never will.
    """
    rows = execute(
        pool,
        "SELECT queue_job FROM operations LEFT JOIN procrastinate_jobs ON id = queue_job"
        " WHERE operations.status IN ('queued', 'in_progress')"
        " AND coalesce(procrastinate_jobs.status NOT IN ('todo', 'doing'), true)",
        {},
    )
    return [row["queue_job"] for row in rows]


def requeue(pool: Pool, queue_job: int) -> None:
    """Requeue the operation of a stale job; after the last attempt declare it failed."""
    error = f"The worker stopped responding in each of {MAX_ATTEMPTS} attempts."
    execute(
        pool,
        "SELECT requeue_operation(%(queue_job)s, %(max_attempts)s, %(error)s)",
        {"queue_job": queue_job, "max_attempts": MAX_ATTEMPTS, "error": error},
    )


class OperationWriter:
    """Stores the progress of one attempt of an operation: the `ProgressWriter` of this backend.

    The attempt is a fencing token: once another worker has begun the next attempt, statements of a
    stale worker change nothing.

    Args:
        pool: Connections.
        operation_id: The operation.
        attempt: The number that `begin` returned.
        stopping: Whether this worker must stop, and requeue the operation.
    """

    def __init__(
        self, pool: Pool, operation_id: str, attempt: int, stopping: Callable[[], bool]
    ) -> None:
        self._pool = pool
        self._key = {"operation_id": operation_id, "attempt": attempt}
        self._stopping = stopping

    def progress(self, progress: Progress) -> bool:
        """Store the progress and a heartbeat; return whether cancel was requested."""
        if self._stopping():
            raise OperationLost
        rows = execute(
            self._pool,
            "UPDATE operations SET heartbeat_at = clock_timestamp(), last_updated ="
            " CASE WHEN (current_step, step_description) ="
            " (%(current_step)s, %(step_description)s)"
            " THEN last_updated ELSE clock_timestamp() END,"
            " current_step = %(current_step)s, total_steps = %(total_steps)s,"
            " failed_steps = %(failed_steps)s, step_description = %(step_description)s,"
            " last_steps = %(last_steps)s"
            " WHERE operation_id = %(operation_id)s AND attempt = %(attempt)s"
            " AND status = 'in_progress' RETURNING cancel_requested",
            progress.columns() | self._key,
        )
        if not rows:
            raise OperationLost
        return bool(rows[0]["cancel_requested"])

    def finish(
        self, status: Status, progress: Progress, error: str | None, result: str | None
    ) -> None:
        """Store the terminal status, unless there is one already or the next attempt has begun."""
        execute(
            self._pool,
            "UPDATE operations SET status = %(status)s, error = %(error)s, result = %(result)s,"
            " current_step = %(current_step)s, total_steps = %(total_steps)s,"
            " failed_steps = %(failed_steps)s, step_description = %(step_description)s,"
            " last_steps = %(last_steps)s,"
            " finished_at = clock_timestamp(), last_updated = clock_timestamp(),"
            " heartbeat_at = clock_timestamp()"
            " WHERE operation_id = %(operation_id)s AND attempt = %(attempt)s"
            " AND status = 'in_progress'",
            progress.columns()
            | {"status": status.value, "error": error, "result": result}
            | self._key,
        )

    def requeue(self) -> None:
        """Set the operation back to queued, because this worker stops before the job ends.

        If cancel was requested it ends here: Procrastinate does not run an aborted job again.
        """
        execute(
            self._pool,
            "UPDATE operations SET"
            " status = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'queued' END,"
            " finished_at = CASE WHEN cancel_requested THEN clock_timestamp() END"
            " WHERE operation_id = %(operation_id)s"
            " AND attempt = %(attempt)s AND status = 'in_progress'",
            self._key,
        )
