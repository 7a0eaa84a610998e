"""The operations in a SQLite file: all SQL statements are here."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from progress import sql
from progress.contract import BackendRejected, BackendUnavailable, OperationLost
from progress.operation import (
    NO_OPTIONS,
    LogLine,
    Operation,
    Options,
    Progress,
    Query,
    Status,
)
from progress.rows import count_statuses, operation_from_row
from progress.text import reason_of, truncate

from .files import JobFiles

BUSY_TIMEOUT = 5.0
"""Seconds that a statement waits while another process writes."""
# Raised because of the values of a statement: too large, or of a type that SQLite does not have.
_VALUE_ERRORS = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    ValueError,
)

# Times are ISO 8601 text in UTC. _open defines utc_now().
_SCHEMA = """
CREATE TABLE IF NOT EXISTS operations (
    operation_id     TEXT PRIMARY KEY,
    job              TEXT NOT NULL,
    subject          TEXT NOT NULL,
    owner            TEXT NOT NULL,
    status           TEXT NOT NULL DEFAULT 'queued',
    current_step     INTEGER NOT NULL DEFAULT 0,
    total_steps      INTEGER,
    failed_steps     INTEGER NOT NULL DEFAULT 0,
    step_description TEXT NOT NULL DEFAULT '',
    created_at       TEXT NOT NULL,
    started_at       TEXT,
    last_updated     TEXT,
    heartbeat_at     TEXT,
    finished_at      TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    error            TEXT,
    result           TEXT,
    attempt          INTEGER NOT NULL DEFAULT 0,
    retry_of         TEXT NOT NULL DEFAULT '',
    last_steps       TEXT NOT NULL DEFAULT '[]',
    live             TEXT NOT NULL DEFAULT '{}',
    options          TEXT NOT NULL DEFAULT '{}',
    force_stop       INTEGER NOT NULL DEFAULT 0,
    not_before       TEXT
);
-- The first two read a page in order, and contain every column that a query filters by. The next
-- two contain all that counts need. The partial ones find active operations in any long history.
CREATE INDEX IF NOT EXISTS operations_of_owner
    ON operations (owner, created_at DESC, operation_id DESC, status, job, subject);
CREATE INDEX IF NOT EXISTS operations_of_all
    ON operations (created_at DESC, operation_id DESC, status, job, subject);
CREATE INDEX IF NOT EXISTS statuses_of_owner
    ON operations (owner, status, created_at, job, subject);
CREATE INDEX IF NOT EXISTS statuses_of_all
    ON operations (status, created_at, job, subject);
CREATE INDEX IF NOT EXISTS active_of_owner
    ON operations (owner, created_at DESC, operation_id DESC)
    WHERE status NOT IN ('completed', 'partial', 'failed', 'cancelled');
CREATE INDEX IF NOT EXISTS active_of_all
    ON operations (created_at DESC, operation_id DESC)
    WHERE status NOT IN ('completed', 'partial', 'failed', 'cancelled');
"""
# Columns that a file of an earlier version lacks.
_ADDED = {
    "retry_of": "ALTER TABLE operations ADD COLUMN retry_of TEXT NOT NULL DEFAULT ''",
    "last_steps": "ALTER TABLE operations ADD COLUMN last_steps TEXT NOT NULL DEFAULT '[]'",
    "live": "ALTER TABLE operations ADD COLUMN live TEXT NOT NULL DEFAULT '{}'",
    "options": "ALTER TABLE operations ADD COLUMN options TEXT NOT NULL DEFAULT '{}'",
    "force_stop": "ALTER TABLE operations ADD COLUMN force_stop INTEGER NOT NULL DEFAULT 0",
    "not_before": "ALTER TABLE operations ADD COLUMN not_before TEXT",
}
# The queued operations in the order in which they start: of every owner one after the other, also
# if somebody has added a hundred. What an owner has running counts as before.
_QUEUE = "\n".join(
    (
        """
        SELECT operation_id, job, options, not_before,
            row_number() OVER (ORDER BY turn, created_at, number) AS position
        FROM (
            SELECT operation_id, job, options, not_before, created_at, status, rowid AS number,
                row_number() OVER (
                    PARTITION BY owner ORDER BY status = 'queued', created_at, rowid
                ) AS turn
            FROM operations WHERE
        """,
        sql.ACTIVE,
        ") WHERE status = 'queued'",
    )
)

# Not more operations of a job than it allows, and no retry before its time. Other writers may have
# stored any text.
_TAKE = "\n".join(
    (
        """
        UPDATE operations SET status = 'in_progress', attempt = attempt + 1,
            started_at = utc_now(), heartbeat_at = utc_now()
        WHERE operation_id = (SELECT operation_id FROM (
        """,
        _QUEUE,
        """
        ) AS queue
        WHERE NOT coalesce(
            iif(json_valid(options), json_extract(options, '$.max_running'), 0) BETWEEN 1 AND (
                SELECT count(*) FROM operations AS running
                WHERE running.status = 'in_progress' AND running.job = queue.job
            ), FALSE)
            AND coalesce(not_before <= utc_now(), TRUE)
        ORDER BY position LIMIT 1) RETURNING *
        """,
    )
)
_TAKEN = "SELECT * FROM operations WHERE status = 'in_progress'"
_READ = "\n".join(
    (
        "SELECT *, utc_now() AS read_at, CASE status WHEN 'queued' THEN (SELECT position FROM (",
        _QUEUE,
        ") AS queue WHERE queue.operation_id = operations.operation_id) END AS queue_position",
        "FROM operations WHERE operation_id IN (SELECT value FROM json_each(?))",
    )
)
_CONDITIONS = {
    "owner": "owner = :owner",
    "since": "created_at >= :since",
    "before": "(created_at, operation_id) < (:before_time, :before_id)",
    "job": "job = :job",
    "subject": "subject = :subject",
    # With the "+" SQLite does not choose an index by status, whose rows it would have to sort.
    "statuses": "+status IN (SELECT value FROM json_each(:statuses))",
}


class OperationStore:
    """The operations in one SQLite file. Safe to share between threads.

    The file is opened, and the table made, by the first statement; every method raises
    BackendUnavailable when the file cannot be used. A file that replaces it is noticed.

    Args:
        path: The file.
        create: Whether to create it where it is missing.
    """

    def __init__(self, path: Path, create: bool = True) -> None:
        self.path = path
        self.files = JobFiles(path.parent / f"{path.stem}.jobs")
        self._create = create
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None  # the device and inode of the opened file

    def insert(
        self,
        operation_id: str,
        job: str,
        subject: str,
        owner: str,
        retry_of: str = "",
        options: Options = NO_OPTIONS,
    ) -> bool:
        """Add a queued operation; return False if there is one with this id."""
        rows = self.execute(
            "INSERT INTO operations"
            " (operation_id, job, subject, owner, retry_of, options, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, utc_now())"
            " ON CONFLICT (operation_id) DO NOTHING RETURNING operation_id",
            (operation_id, job, subject, owner, retry_of, options.text()),
        )
        return bool(rows)

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        """Return the operations that exist, in one statement."""
        rows = self.execute(_READ, (json.dumps(list(operation_ids)),))
        return {row["operation_id"]: operation_from_row(dict(row)) for row in rows}

    def recent(self, query: Query) -> list[Operation]:
        """Return a page of operations, newest first, without result, error and steps."""
        conditions = sql.conditions(query, _CONDITIONS)
        if query.statuses and not any(status.is_terminal for status in query.statuses):
            conditions.append(sql.ACTIVE)
        statement = sql.select(
            sql.LIST_COLUMNS + ", utc_now() AS read_at",
            conditions,
            "ORDER BY created_at DESC, operation_id DESC LIMIT :limit",
        )
        rows = self.execute(statement, _parameters(query))
        return [operation_from_row(dict(row)) for row in rows]

    def counts(self, query: Query) -> dict[Status, int]:
        """Return how many operations have each status; `limit` and `before` do not matter."""
        conditions = sql.conditions(replace(query, before=None), _CONDITIONS)
        statement = sql.select("status, count(*)", conditions, "GROUP BY status")
        rows = self.execute(statement, _parameters(query))
        return count_statuses((row[0], row[1]) for row in rows)

    def request_cancel(self, operation_id: str) -> None:
        """Ask the job to stop; an operation that is queued ends immediately."""
        self.execute(
            " ".join(
                (
                    "UPDATE operations SET cancel_requested = 1,"
                    " status = iif(status = 'queued', 'cancelled', status),"
                    " last_updated = iif(status = 'queued', utc_now(), last_updated),"
                    " finished_at = iif(status = 'queued', utc_now(), finished_at)"
                    " WHERE operation_id = ? AND",
                    sql.ACTIVE,
                )
            ),
            (operation_id,),
        )

    def request_force_stop(self, operation_id: str) -> None:
        """Let the runner end the process of a job that was asked to stop."""
        self.execute(
            "UPDATE operations SET force_stop = 1"
            " WHERE operation_id = ? AND status = 'in_progress' AND cancel_requested",
            (operation_id,),
        )

    def has_queued(self) -> bool:
        """Return whether an operation waits."""
        return bool(self.execute("SELECT 1 FROM operations WHERE status = 'queued' LIMIT 1", ()))

    def take(self) -> Operation | None:
        """Begin the next queued operation whose job may run once more; None if there is none."""
        rows = self.execute(_TAKE, ())
        return operation_from_row(dict(rows[0])) if rows else None

    def taken(self, operation_id: str, attempt: int) -> Operation | None:
        """Return what `take` returned; None if the operation has ended or was requeued since."""
        key = operation_id, attempt
        rows = self.execute(_TAKEN + " AND operation_id = ? AND attempt = ?", key)
        return operation_from_row(dict(rows[0])) if rows else None

    def stale(self, seconds: float) -> list[Operation]:
        """Return what is in progress without a heartbeat for so long."""
        rows = self.execute(
            _TAKEN + " AND (julianday('now') - coalesce(julianday(heartbeat_at), 0)) * 86400 > ?",
            (seconds,),
        )
        return [operation_from_row(dict(row)) for row in rows]

    def to_force_stop(self) -> set[str]:
        """Return the ids of the operations whose process must be ended."""
        return {row["operation_id"] for row in self.execute(_TAKEN + " AND force_stop", ())}

    def end_or_requeue(
        self,
        taken: Operation,
        status: Status,
        error: str,
        step: tuple[int, str] | None,
        may_retry: bool,
    ) -> None:
        """Store the end of an operation whose process has ended without one, or requeue it.

        Args:
            taken: The operation. If it has ended or was requeued since, nothing changes.
            status: How it ended.
            error: The reason.
            step: The number and the description of its last step, if they are known.
            may_retry: Whether it runs again if its job has retries left. If cancel was requested,
                it is cancelled then.
        """
        key = (taken.operation_id, taken.attempt)
        current = self.taken(*key)
        if current is None:
            return
        if may_retry and current.attempts <= current.options.retries:
            live = current.live.for_retry(truncate(error.splitlines()[-1])).text()
            pause = timedelta(seconds=current.options.delay(current.attempts - 1))
            requeued = self.execute(
                "UPDATE operations SET status = 'queued', current_step = 0, total_steps = NULL,"
                " failed_steps = 0, step_description = '', last_steps = '[]', result = NULL,"
                " live = ?, not_before = ?"
                " WHERE operation_id = ? AND attempt = ? AND status = 'in_progress'"
                " AND NOT cancel_requested RETURNING operation_id",
                (live, _time(datetime.now(UTC) + pause), *key),
            )
            if requeued:
                return
            status = Status.CANCELLED
        ended_steps, description = (None, None) if step is None else (step[0] - 1, step[1])
        self.execute(
            "UPDATE operations SET status = ?, error = ?,"
            " finished_at = utc_now(), last_updated = utc_now(),"
            " current_step = coalesce(?, current_step),"
            " step_description = coalesce(?, step_description)"
            " WHERE operation_id = ? AND attempt = ? AND status = 'in_progress'",
            (status.value, error, ended_steps, description, *key),
        )

    def ids(self) -> list[str]:
        """Return the ids of all operations and of their uploads."""
        rows = self.execute(
            "SELECT operation_id FROM operations UNION"
            " SELECT json_extract(options, '$.upload') FROM operations WHERE json_valid(options)",
            (),
        )
        return [str(row["operation_id"]) for row in rows]

    def remove_ended(self, before: datetime, limit: int) -> bool:
        """Remove operations that ended before a time, at most `limit`; return whether any did."""
        rows = self.execute(
            "DELETE FROM operations WHERE operation_id IN ("
            "SELECT operation_id FROM operations WHERE finished_at < ? LIMIT ?)"
            " RETURNING operation_id",
            (_time(before), limit),
        )
        return bool(rows)

    def close(self) -> None:
        """Close the file. The next statement opens it again."""
        with self._lock:
            self._close()

    def execute(
        self, statement: str, parameters: tuple[Any, ...] | dict[str, Any]
    ) -> list[sqlite3.Row]:
        """Run one statement as a transaction of its own and return its rows.

        Raises:
            BackendUnavailable: The file is missing, damaged, full, locked for too long, or not
                writable.
            BackendRejected: These values cannot be stored.
        """
        with self._lock:
            try:
                if self._connection is not None and self._opened != self._file_on_disk():
                    # SQLite goes on with a file that was removed: nobody else would see it.
                    self._close()
                if self._connection is None:
                    self._connection = self._open()
                    self._opened = self._file_on_disk()
                return self._connection.execute(statement, parameters).fetchall()
            except _VALUE_ERRORS as error:
                raise BackendRejected(f"{self.path.name}: {error}") from error
            except (sqlite3.Error, OSError) as error:
                self._close()
                raise BackendUnavailable(f"{self.path.name}: {reason_of(error)}") from error

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _file_on_disk(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _open(self) -> sqlite3.Connection:
        if self._create:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600)  # other users of the machine must not read it
        elif not self.path.exists():
            raise FileNotFoundError("The file was removed.")
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            connection.create_function("utc_now", 0, lambda: _time(datetime.now(UTC)))
            # In WAL mode readers and a writer do not wait for each other, and with NORMAL a commit
            # does not wait for the disk.
            _switch_to_wal(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            _create_or_upgrade(connection)
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # This statement ignores the busy timeout: it fails immediately while another process does the
    # same to a new file.
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _create_or_upgrade(connection: sqlite3.Connection) -> None:
    connection.executescript(_SCHEMA)
    columns = {row["name"] for row in connection.execute("PRAGMA table_info(operations)")}
    for name, statement in _ADDED.items():
        if name not in columns:
            try:
                connection.execute(statement)
            except sqlite3.OperationalError as error:
                # Another process added it first.
                if "duplicate column" not in str(error):
                    raise


def _parameters(query: Query) -> dict[str, Any]:
    values = sql.parameters(query)
    return values | {
        "statuses": json.dumps(values["statuses"]),
        "since": _time(values["since"]),
        "before_time": _time(values["before_time"]),
    }


def _time(time: datetime | None) -> str | None:
    # Stored times and those of a query are compared as text: one format for both.
    return None if time is None else time.astimezone(UTC).isoformat(timespec="milliseconds")


class OperationWriter:
    """Stores the progress of one attempt of an operation: the `ProgressWriter` of this store.

    Args:
        store: The operations.
        operation_id: The operation.
        attempt: The attempt: once another has begun, statements of this one change nothing.
        stopping: Whether the process must end, before the job has.
    """

    def __init__(
        self,
        store: OperationStore,
        operation_id: str,
        attempt: int,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._operation_id = operation_id
        self._key = {"operation_id": operation_id, "attempt": attempt}
        self._stopping = stopping

    def progress(self, progress: Progress) -> bool:
        """Store the progress and a heartbeat; return whether cancel was requested."""
        if self._stopping():
            raise OperationLost
        rows = self._store.execute(
            "UPDATE operations SET heartbeat_at = utc_now(), last_updated ="
            " CASE WHEN (current_step, step_description) = (:current_step, :step_description)"
            " THEN last_updated ELSE utc_now() END,"
            " current_step = :current_step, total_steps = :total_steps,"
            " failed_steps = :failed_steps, step_description = :step_description,"
            " last_steps = :last_steps, live = :live"
            " WHERE operation_id = :operation_id AND attempt = :attempt AND status = 'in_progress'"
            " RETURNING cancel_requested",
            progress.columns() | self._key,
        )
        if not rows:
            raise OperationLost
        return bool(rows[0]["cancel_requested"])

    def finish(
        self, status: Status, progress: Progress, error: str | None, result: str | None
    ) -> None:
        """Store the terminal status, unless there is one already."""
        self._store.execute(
            "UPDATE operations SET status = :status, error = :error,"
            " result = coalesce(:result, result),"
            " current_step = :current_step, total_steps = :total_steps,"
            " failed_steps = :failed_steps, step_description = :step_description,"
            " last_steps = :last_steps, live = :live,"
            " finished_at = utc_now(), last_updated = utc_now(), heartbeat_at = utc_now()"
            " WHERE operation_id = :operation_id AND attempt = :attempt AND status = 'in_progress'",
            progress.columns()
            | {"status": status.value, "error": error, "result": result}
            | self._key,
        )

    def result(self, result: str) -> None:
        """Store what there is of the result."""
        self._store.execute(
            "UPDATE operations SET result = :result"
            " WHERE operation_id = :operation_id AND attempt = :attempt AND status = 'in_progress'",
            {"result": result} | self._key,
        )

    def log(self, lines: Sequence[LogLine]) -> None:
        """Print the lines: the runner reads them, and adds the time."""
        for line in lines:
            print(line.text, flush=True)

    def save_file(self, name: str, content: bytes) -> None:
        """Store a file with the operation."""
        self._store.files.save(self._operation_id, name, content)

    def read_file(self, operation_id: str, name: str) -> bytes:
        """Return a file of any operation."""
        return self._store.files.read(operation_id, name)
