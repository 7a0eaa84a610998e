"""The operations in Postgres: the statements of the app and of the workers. No Streamlit."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from progress import sql
from progress.backend.database import Pool, execute
from progress.contract import OperationLost
from progress.operation import Operation, Progress, Query, Status
from progress.rows import count_statuses, operation_from_row

MAX_ATTEMPTS = 3
"""Attempts of an operation before it is declared failed."""
NO_JOB = 0
"""The id of no job: Postgres counts from 1."""

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


def check(pool: Pool, queue: str) -> None:
    """Run what a worker runs, on no operation.

    Raises:
        BackendRejected: The schema is missing, or the login lacks a privilege.
    """
    heartbeats(pool, queue)
    begin(pool, NO_JOB)
    requeue(pool, [NO_JOB])
    requeue_lost(pool, NO_JOB)


def job_of(pool: Pool, queue_job: int) -> str | None:
    """Return the name of the job that a queue job must run; None as in `begin`."""
    rows = execute(
        pool,
        "SELECT job FROM operations"
        " WHERE queue_job = %(queue_job)s AND status IN ('queued', 'in_progress')",
        {"queue_job": queue_job},
    )
    return rows[0]["job"] if rows else None


def begin(pool: Pool, queue_job: int) -> tuple[str, str] | None:
    """Begin the next attempt of an operation; return its job and subject.

    None means that it has ended, or was requeued as another job of the queue.
    """
    rows = execute(
        pool,
        "UPDATE operations SET status = 'in_progress',"
        " attempt = attempt + CASE status WHEN 'queued' THEN 1 ELSE 0 END,"
        " current_step = 0, total_steps = NULL, failed_steps = 0, step_description = '',"
        " last_steps = '[]',"
        " started_at = clock_timestamp(), heartbeat_at = clock_timestamp()"
        " WHERE queue_job = %(queue_job)s"
        " AND status IN ('queued', 'in_progress') RETURNING job, subject",
        {"queue_job": queue_job},
    )
    return (rows[0]["job"], rows[0]["subject"]) if rows else None


def requeue(pool: Pool, queue_jobs: list[int]) -> None:
    """Requeue operations, because this worker stops. That does not count as an attempt.

    An operation of which cancel was requested ends.
    """
    execute(
        pool,
        "UPDATE operations SET"
        " status = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'queued' END,"
        " finished_at = CASE WHEN cancel_requested THEN clock_timestamp() END,"
        " attempt = CASE WHEN cancel_requested THEN attempt ELSE attempt - 1 END,"
        " queue_job = CASE WHEN cancel_requested THEN queue_job"
        " ELSE defer_operation(operation_id) END"
        " WHERE queue_job = ANY(%(queue_jobs)s) AND status = 'in_progress'",
        {"queue_jobs": queue_jobs},
    )


def heartbeats(pool: Pool, queue: str) -> list[tuple[int, datetime | None]]:
    """Return the queue jobs that must have a heartbeat, with the heartbeat of each.

    These are the jobs that a worker has taken, and those of operations that have not ended although
    their job has left the queue.
    """
    rows = execute(
        pool,
        "SELECT id AS queue_job, heartbeat_at"
        " FROM procrastinate_jobs LEFT JOIN operations ON queue_job = id"
        " WHERE queue_name = %(queue)s AND procrastinate_jobs.status = 'doing'"
        " UNION SELECT queue_job, heartbeat_at"
        " FROM operations LEFT JOIN procrastinate_jobs ON id = queue_job"
        " WHERE operations.status IN ('queued', 'in_progress')"
        " AND coalesce(procrastinate_jobs.status NOT IN ('todo', 'doing'), true)",
        {"queue": queue},
    )
    return [(row["queue_job"], row["heartbeat_at"]) for row in rows]


def beat(pool: Pool, queue_jobs: list[int]) -> None:
    """Store a heartbeat for jobs that a worker runs."""
    execute(
        pool,
        "UPDATE operations SET heartbeat_at = clock_timestamp()"
        " WHERE queue_job = ANY(%(queue_jobs)s) AND status = 'in_progress'",
        {"queue_jobs": queue_jobs},
    )


def requeue_lost(pool: Pool, queue_job: int) -> None:
    """Requeue the operation of a lost job; after the last attempt declare it failed."""
    error = f"The worker stopped responding in each of {MAX_ATTEMPTS} attempts."
    execute(
        pool,
        "SELECT requeue_operation(%(queue_job)s, %(max_attempts)s, %(error)s)",
        {"queue_job": queue_job, "max_attempts": MAX_ATTEMPTS, "error": error},
    )


class OperationWriter:
    """Stores the progress of one attempt of an operation: the `ProgressWriter` of this backend.

    The queue job is a fencing token: once the operation was requeued, which gives it another queue
    job, statements of a stale worker change nothing.

    Args:
        pool: Connections.
        queue_job: The job in the queue, for which `begin` returned the operation.
        stopping: Whether this worker must stop, and requeue the operation.
    """

    def __init__(self, pool: Pool, queue_job: int, stopping: Callable[[], bool]) -> None:
        self._pool = pool
        self._key = {"queue_job": queue_job}
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
            " WHERE queue_job = %(queue_job)s"
            " AND status = 'in_progress' RETURNING cancel_requested",
            progress.columns() | self._key,
        )
        if not rows:
            raise OperationLost
        return bool(rows[0]["cancel_requested"])

    def finish(
        self, status: Status, progress: Progress, error: str | None, result: str | None
    ) -> None:
        """Store the terminal status, unless there is one already, or it was requeued."""
        execute(
            self._pool,
            "UPDATE operations SET status = %(status)s, error = %(error)s, result = %(result)s,"
            " current_step = %(current_step)s, total_steps = %(total_steps)s,"
            " failed_steps = %(failed_steps)s, step_description = %(step_description)s,"
            " last_steps = %(last_steps)s,"
            " finished_at = clock_timestamp(), last_updated = clock_timestamp(),"
            " heartbeat_at = clock_timestamp()"
            " WHERE queue_job = %(queue_job)s"
            " AND status = 'in_progress'",
            progress.columns()
            | {"status": status.value, "error": error, "result": result}
            | self._key,
        )
