"""The operations in Postgres: the statements of the app and of the workers. No Streamlit."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from progress import sql
from progress.backend.database import Pool, execute
from progress.contract import BackendRejected, OperationLost
from progress.operation import (
    NO_OPTIONS,
    Live,
    Log,
    LogLine,
    Operation,
    Options,
    Progress,
    Query,
    Status,
)
from progress.rows import count_statuses, operation_from_row

MAX_ATTEMPTS = 3
"""Attempts of an operation that loses its workers before it is declared failed, unless its retries
allow more."""
NO_JOB = 0
"""The id of no job: Postgres counts from 1."""
LIMIT_PAUSE = 5.0
"""Seconds between two attempts to start an operation while its job has reached its limit."""
MAX_LOG = 10_000
"""Lines of a log. The oldest above are removed."""
PART_SIZE = 1_000_000
"""Bytes of each part of a file."""
RETENTION_BATCH = 20
"""How many operations, and parts of files, are removed at a time: with them up to MAX_LOG lines of
each, within the time limit of a statement."""

_CONDITIONS = {
    "owner": "owner = %(owner)s",
    "since": "created_at >= %(since)s",
    "before": "(created_at, operation_id) < (%(before_time)s, %(before_id)s)",
    "job": "job = %(job)s",
    "subject": "subject = %(subject)s",
    "statuses": "status = ANY(%(statuses)s)",
}


def start(
    pool: Pool,
    operation_id: str,
    job: str,
    subject: str,
    owner: str,
    retry_of: str = "",
    options: Options = NO_OPTIONS,
) -> None:
    """Add an operation and its queue job in one transaction, once for each id."""
    execute(
        pool,
        "SELECT start_operation(%(operation_id)s, %(job)s, %(subject)s, %(owner)s, %(retry_of)s,"
        " %(options)s)",
        {
            "operation_id": operation_id,
            "job": job,
            "subject": subject,
            "owner": owner,
            "retry_of": retry_of,
            "options": options.text(),
        },
    )


def read(pool: Pool, operation_ids: Sequence[str]) -> dict[str, Operation]:
    """Return the operations that exist, in one statement."""
    rows = execute(
        pool,
        "SELECT *, clock_timestamp() AS read_at,"
        " CASE status WHEN 'queued' THEN queue_position(queue_job) END AS queue_position"
        " FROM operations WHERE operation_id = ANY(%(operation_ids)s)",
        {"operation_ids": _valid(operation_ids)},
    )
    return {row["operation_id"]: operation_from_row(row) for row in rows}


def _valid(operation_ids: Sequence[str]) -> list[str]:
    # An id from a URL may contain NUL, which Postgres refuses in text.
    return [name for name in operation_ids if "\0" not in name]


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


def request_force_stop(pool: Pool, operation_id: str) -> None:
    """Let the worker end the process of a job that was asked to stop."""
    execute(pool, "SELECT force_stop_operation(%(operation_id)s)", {"operation_id": operation_id})


# --- logs and files ---


def logs(pool: Pool, operation_ids: Sequence[str], limit: int) -> dict[str, Log]:
    """Return the latest lines of the logs that have some, in one statement."""
    rows = execute(
        pool,
        "SELECT operation_id, written_at, line, first_number FROM operations,"
        " LATERAL (SELECT min(number) AS first_number FROM operation_log"
        " WHERE operation_log.operation_id = operations.operation_id) AS first,"
        " LATERAL (SELECT number, written_at, line FROM operation_log"
        " WHERE operation_log.operation_id = operations.operation_id"
        " ORDER BY number DESC LIMIT %(limit)s) AS latest"
        " WHERE operation_id = ANY(%(operation_ids)s) ORDER BY operation_id, number",
        {"operation_ids": _valid(operation_ids), "limit": limit},
    )
    return {
        operation_id: _log(list(lines))
        for operation_id, lines in groupby(rows, itemgetter("operation_id"))
    }


def _log(rows: list[dict[str, Any]]) -> Log:
    lines = tuple(LogLine(row["written_at"], row["line"]) for row in rows)
    return Log(lines, rows[0]["first_number"] - 1)


def save_file(pool: Pool, operation_id: str, name: str, content: bytes) -> None:
    """Store a file: all of its parts in one transaction. An upload that an operation has is
    stored already."""
    # A file without content has a part, too.
    starts = range(0, max(len(content), 1), PART_SIZE)
    if hashlib.sha256(content).hexdigest() == operation_id and execute(
        pool,
        "SELECT 1 FROM operation_files WHERE operation_id = %(operation_id)s AND name = %(name)s"
        # Without one it may be about to be removed.
        " AND EXISTS (SELECT FROM operations WHERE options->>'upload' = %(operation_id)s)"
        " GROUP BY stored_at HAVING count(*) = %(parts)s LIMIT 1",
        {"operation_id": operation_id, "name": name, "parts": len(starts)},
    ):
        return
    execute(
        pool,
        "INSERT INTO operation_files (operation_id, name, part, content)"
        " VALUES (%(operation_id)s, %(name)s, %(part)s, %(content)s)",
        *(
            {
                "operation_id": operation_id,
                "name": name,
                "part": part,
                "content": memoryview(content)[start : start + PART_SIZE],
            }
            for part, start in enumerate(starts)
        ),
    )


def read_file(pool: Pool, operation_id: str, name: str) -> bytes:
    """Return a file.

    Raises:
        BackendRejected: There is none, or it was replaced while it was read.
    """
    key: dict[str, Any] = {"operation_id": operation_id, "name": name}
    (newest,) = execute(
        pool,
        "SELECT stored_at, count(*) AS parts FROM operation_files"
        " WHERE operation_id = %(operation_id)s AND name = %(name)s"
        " GROUP BY stored_at ORDER BY stored_at DESC LIMIT 1",
        key,
    ) or [{"stored_at": None, "parts": 0}]
    # Not in one statement: it would need the memory several times, and has a time limit.
    rows = [
        row
        for part in range(newest["parts"])
        for row in execute(
            pool,
            "SELECT content FROM operation_files WHERE operation_id = %(operation_id)s"
            " AND name = %(name)s AND stored_at = %(stored_at)s AND part = %(part)s",
            key | {"stored_at": newest["stored_at"], "part": part},
        )
    ]
    if not rows or len(rows) < newest["parts"]:
        raise BackendRejected(f"There is no file {name!r}: it may have been removed.")
    return b"".join(row["content"] for row in rows)


# --- workers ---


def check(pool: Pool, queue: str) -> None:
    """Run what a worker runs, on no operation.

    Raises:
        BackendRejected: The schema is missing, or the login lacks a privilege.
    """
    heartbeats(pool, queue)
    begin(pool, NO_JOB)
    requeue(pool, [NO_JOB])
    requeue_lost(pool, NO_JOB)
    OperationLog(pool, NO_JOB).append([])
    remove_ended(pool, 1e9, 0)


def taken(pool: Pool, queue_job: int) -> Operation | None:
    """Return the operation of a queue job; None if it has ended or was requeued."""
    rows = execute(
        pool,
        "SELECT * FROM operations"
        " WHERE queue_job = %(queue_job)s AND status IN ('queued', 'in_progress')",
        {"queue_job": queue_job},
    )
    return operation_from_row(rows[0]) if rows else None


def has_queue_job(pool: Pool, queue_job: int) -> bool:
    """Return whether a queue job still has its operation: it was not lost, and then requeued or
    given up."""
    rows = execute(
        pool,
        "SELECT 1 FROM operations JOIN procrastinate_jobs ON id = queue_job"
        " WHERE queue_job = %(queue_job)s",
        {"queue_job": queue_job},
    )
    return bool(rows)


def begin(pool: Pool, queue_job: int, max_running: int = 0) -> int | None:
    """Begin the next attempt of an operation and return its number.

    None means that it has ended, or was requeued as another job of the queue; 0 that as many
    operations of its job run as may.
    """
    (row,) = execute(
        pool,
        "SELECT begin_operation(%(queue_job)s, %(max_running)s, %(pause)s) AS attempt",
        {"queue_job": queue_job, "max_running": max_running, "pause": LIMIT_PAUSE},
    )
    attempt: int | None = row["attempt"]
    return attempt


def wake(pool: Pool, job: str) -> None:
    """Let the operations that wait for the limit of a job start now, as far as it allows."""
    values = {"job": job, "pause": LIMIT_PAUSE}
    execute(pool, "SELECT wake_operations(%(job)s, %(pause)s)", values)


def to_force_stop(pool: Pool, queue_jobs: list[int]) -> set[int]:
    """Return those of the queue jobs whose process must be ended."""
    rows = execute(
        pool,
        "SELECT queue_job FROM operations WHERE queue_job = ANY(%(queue_jobs)s) AND force_stop",
        {"queue_jobs": queue_jobs},
    )
    return {row["queue_job"] for row in rows}


def end(
    pool: Pool, queue_job: int, status: Status, error: str, step: tuple[int, str] | None
) -> bool:
    """Store the end of an operation whose process has ended; False if it had stored one.

    Args:
        pool: Connections.
        queue_job: The job in the queue. If the operation was requeued since, nothing changes.
        status: How the operation ended.
        error: The reason.
        step: The number and the description of its last step, if they are known.
    """
    ended_steps, description = (None, None) if step is None else (step[0] - 1, step[1])
    rows = execute(
        pool,
        "UPDATE operations SET status = %(status)s, error = %(error)s,"
        " finished_at = clock_timestamp(), last_updated = clock_timestamp(),"
        " current_step = coalesce(%(current_step)s, current_step),"
        " step_description = coalesce(%(step_description)s, step_description)"
        " WHERE queue_job = %(queue_job)s AND status = 'in_progress' RETURNING operation_id",
        {
            "queue_job": queue_job,
            "status": status.value,
            "error": error,
            "current_step": ended_steps,
            "step_description": description,
        },
    )
    return bool(rows)


def retry(pool: Pool, queue_job: int, live: Live, delay: float) -> bool:
    """Requeue an operation whose process has died; False if it had stored an end, or cancel was
    requested."""
    rows = execute(
        pool,
        "UPDATE operations SET status = 'queued', current_step = 0, total_steps = NULL,"
        " failed_steps = 0, step_description = '', last_steps = '[]', result = NULL,"
        " live = %(live)s, queue_job = defer_operation(operation_id, NULL, %(delay)s)"
        " WHERE queue_job = %(queue_job)s AND status = 'in_progress' AND NOT cancel_requested"
        " RETURNING operation_id",
        {"queue_job": queue_job, "live": live.text(), "delay": delay},
    )
    return bool(rows)


def requeue(pool: Pool, queue_jobs: list[int]) -> int:
    """Requeue operations, because this worker stops; return how many. It counts as no attempt.

    An operation of which cancel was requested ends.
    """
    rows = execute(
        pool,
        "UPDATE operations SET"
        " status = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'queued' END,"
        " finished_at = CASE WHEN cancel_requested THEN clock_timestamp() END,"
        " attempt = CASE WHEN cancel_requested THEN attempt ELSE attempt - 1 END,"
        " queue_job = CASE WHEN cancel_requested THEN queue_job"
        " ELSE defer_operation(operation_id) END"
        " WHERE queue_job = ANY(%(queue_jobs)s) AND status = 'in_progress' RETURNING operation_id",
        {"queue_jobs": queue_jobs},
    )
    return len(rows)


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
    lost = taken(pool, queue_job)
    most = MAX_ATTEMPTS if lost is None else max(MAX_ATTEMPTS, lost.options.retries + 1)
    error = f"The worker stopped responding. An operation has at most {most} attempts."
    execute(
        pool,
        "SELECT requeue_operation(%(queue_job)s, %(max_attempts)s, %(error)s)",
        {
            "queue_job": queue_job,
            # It is compared with the number of processes.
            "max_attempts": most - (0 if lost is None else lost.live.retries),
            "error": error,
        },
    )


def remove_ended(pool: Pool, keep: float, limit: int = RETENTION_BATCH) -> int:
    """Remove what ended more than `keep` seconds ago, and the files of no operation.

    At most `limit` operations with their logs, and as many parts of files. Return how many; 0 also
    while another worker does it.
    """
    (row,) = execute(
        pool,
        "WITH lock AS MATERIALIZED (SELECT pg_try_advisory_xact_lock("
        " hashtext(current_schema()), hashtext('remove_ended')) AS is_mine),"
        " ended AS (SELECT operation_id FROM operations WHERE (SELECT is_mine FROM lock)"
        " AND finished_at < clock_timestamp() - make_interval(secs => %(keep)s)"
        " ORDER BY finished_at LIMIT %(limit)s),"
        # An operation has its own files, and its upload. They go after it, with the next batch.
        " unused AS (SELECT ctid FROM operation_files WHERE (SELECT is_mine FROM lock)"
        " AND stored_at < clock_timestamp() - make_interval(secs => %(keep)s)"
        " AND NOT EXISTS (SELECT FROM operations"
        " WHERE operations.operation_id = operation_files.operation_id)"
        " AND NOT EXISTS (SELECT FROM operations"
        " WHERE options->>'upload' = operation_files.operation_id) LIMIT %(limit)s),"
        " files AS (DELETE FROM operation_files"
        " WHERE ctid IN (SELECT ctid FROM unused) RETURNING 1),"
        " rows AS (DELETE FROM operations"
        " WHERE operation_id IN (SELECT operation_id FROM ended) RETURNING 1)"
        " SELECT (SELECT count(*) FROM files) + (SELECT count(*) FROM rows) AS removed",
        {"keep": keep, "limit": limit},
    )
    removed: int = row["removed"]
    return removed


class OperationLog:
    """Appends to the log of an operation.

    Args:
        pool: Connections.
        queue_job: The job in the queue. If the operation was requeued since, nothing is stored.
    """

    def __init__(self, pool: Pool, queue_job: int) -> None:
        self._pool = pool
        self._key = {"queue_job": queue_job, "most": MAX_LOG}
        self._last: int | None = None

    def append(self, lines: Sequence[LogLine]) -> None:
        """Add lines, and remove the oldest above MAX_LOG."""
        if self._last is None:
            (row,) = execute(
                self._pool,
                "SELECT coalesce(max(number), 0) AS last FROM operations"
                " JOIN operation_log USING (operation_id) WHERE queue_job = %(queue_job)s",
                self._key,
            )
            self._last = row["last"]
        # With their numbers: a line that was stored, although the answer was lost, is not repeated.
        execute(
            self._pool,
            "WITH removed AS (DELETE FROM operation_log USING operations"
            " WHERE operations.operation_id = operation_log.operation_id"
            " AND queue_job = %(queue_job)s AND number <= %(last)s + %(count)s - %(most)s)"
            " INSERT INTO operation_log (operation_id, number, written_at, line)"
            " SELECT operation_id, %(last)s + position, at, text FROM operations,"
            " unnest(%(times)s::timestamptz[], %(texts)s::text[])"
            " WITH ORDINALITY AS lines (at, text, position)"
            " WHERE queue_job = %(queue_job)s ON CONFLICT DO NOTHING",
            self._key
            | {
                "last": self._last,
                "count": len(lines),
                "times": [line.at for line in lines],
                "texts": [line.text for line in lines],
            },
        )
        self._last += len(lines)


class OperationWriter:
    """Stores the progress of one attempt of an operation: the `ProgressWriter` of this backend.

    The queue job is a fencing token: once the operation was requeued, which gives it another queue
    job, statements of a stale worker change nothing.

    Args:
        pool: Connections.
        operation_id: The operation.
        queue_job: The job in the queue, for which `begin` has begun it.
        stopping: Whether the process must end, before the job has.
    """

    def __init__(
        self,
        pool: Pool,
        operation_id: str,
        queue_job: int,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pool = pool
        self._operation_id = operation_id
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
            " last_steps = %(last_steps)s, live = %(live)s"
            " WHERE queue_job = %(queue_job)s AND status = 'in_progress'"
            " RETURNING cancel_requested",
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
            "UPDATE operations SET status = %(status)s, error = %(error)s,"
            " result = coalesce(%(result)s, result),"
            " current_step = %(current_step)s, total_steps = %(total_steps)s,"
            " failed_steps = %(failed_steps)s, step_description = %(step_description)s,"
            " last_steps = %(last_steps)s, live = %(live)s,"
            " finished_at = clock_timestamp(), last_updated = clock_timestamp(),"
            " heartbeat_at = clock_timestamp()"
            " WHERE queue_job = %(queue_job)s AND status = 'in_progress'",
            progress.columns()
            | {"status": status.value, "error": error, "result": result}
            | self._key,
        )

    def result(self, result: str) -> None:
        """Store what there is of the result."""
        execute(
            self._pool,
            "UPDATE operations SET result = %(result)s"
            " WHERE queue_job = %(queue_job)s AND status = 'in_progress'",
            {"result": result} | self._key,
        )

    def log(self, lines: Sequence[LogLine]) -> None:
        """Print the lines: the worker reads them, and adds the time."""
        for line in lines:
            print(line.text, flush=True)

    def save_file(self, name: str, content: bytes) -> None:
        """Store a file with the operation, and remove an older one of this name."""
        save_file(self._pool, self._operation_id, name, content)
        execute(
            self._pool,
            "DELETE FROM operation_files WHERE operation_id = %(operation_id)s AND name = %(name)s"
            " AND stored_at < (SELECT max(stored_at) FROM operation_files"
            " WHERE operation_id = %(operation_id)s AND name = %(name)s)",
            {"operation_id": self._operation_id, "name": name},
        )

    def read_file(self, operation_id: str, name: str) -> bytes:
        """Return a file of any operation."""
        return read_file(self._pool, operation_id, name)
