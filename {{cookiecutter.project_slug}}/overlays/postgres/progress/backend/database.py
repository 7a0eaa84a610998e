"""How to reach Postgres, and the job's side of the progress table. No Streamlit: workers use it."""

import os
import tomllib
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import TextLoader
from psycopg_pool import ConnectionPool, PoolTimeout

from progress.contract import BackendError, BackendRejected, BackendUnavailable, OperationLost
from progress.operation import Progress, Status
from progress.settings import ROOT

Pool = ConnectionPool[psycopg.Connection[dict[str, Any]]]

CONNECT_TIMEOUT = 3
"""Seconds to wait for a connection, new or from the pool."""
STATEMENT_TIMEOUT = 5
"""Seconds after which Postgres ends a statement of ours."""


def configured_dsn() -> str | None:
    """Return the connection string of DATABASE_URL, or else of .streamlit/secrets.toml.

    Where the variable is set, the file is not asked: a test never reaches what it names.

    Raises:
        BackendRejected: secrets.toml cannot be read, or is not TOML.
    """
    if "DATABASE_URL" in os.environ:
        return os.environ["DATABASE_URL"] or None
    dsn = None
    try:
        secrets = tomllib.loads((ROOT / ".streamlit" / "secrets.toml").read_text("utf-8"))
        dsn = secrets.get("connections", {}).get("progress", {}).get("dsn")
    except FileNotFoundError:
        pass
    except (ValueError, OSError) as error:
        raise BackendRejected(f".streamlit/secrets.toml cannot be read: {error}.") from None
    return str(dsn) if dsn else None


def required_dsn() -> str:
    """Return the connection string, found to be well-formed.

    Raises:
        BackendRejected: None is configured, or it is malformed.
    """
    dsn = configured_dsn()
    if dsn is None:
        raise BackendRejected(
            "No database is configured. Set dsn under [connections.progress] in"
            " .streamlit/secrets.toml, or DATABASE_URL."
        )
    with_limits(dsn)
    return dsn


def with_limits(dsn: str) -> str:
    """Return the connection string with our time limits, where it has none of its own.

    Raises:
        BackendRejected: It is not a connection string.
    """
    try:
        given = conninfo_to_dict(dsn)
        options = f"-c statement_timeout={STATEMENT_TIMEOUT}s {given.get('options') or ''}"
        # The last one is for a server or a network that goes silent: TCP alone waits a quarter of
        # an hour.
        limits = {"connect_timeout": CONNECT_TIMEOUT, "tcp_user_timeout": STATEMENT_TIMEOUT * 2000}
        missing = {name: str(value) for name, value in limits.items() if name not in given}
        return make_conninfo(dsn, options=options, **missing)
    except psycopg.ProgrammingError:
        # What psycopg says would quote it, the password included.
        raise BackendRejected(
            "The connection string is malformed."
            " Write it like postgresql://user:password@host:5432/database."
        ) from None


def open_pool(dsn: str, size: int) -> Pool:
    """Return a pool of autocommit connections; it connects when first used."""
    return ConnectionPool(
        with_limits(dsn),
        connection_class=psycopg.Connection[dict[str, Any]],
        kwargs={"autocommit": True, "row_factory": psycopg.rows.dict_row},
        min_size=1,
        max_size=size,
        timeout=CONNECT_TIMEOUT,
        configure=_keep_json_as_text,
        # Without it a restart of the server shows as an error on every connection of the pool.
        check=ConnectionPool.check_connection,
        open=True,
    )


def _keep_json_as_text(connection: psycopg.Connection[dict[str, Any]]) -> None:
    # Operation.from_row parses it: not twice what did not change, and whatever stands in it.
    connection.adapters.register_loader("json", TextLoader)


def execute(pool: Pool, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one prepared statement as a transaction of its own and return its rows.

    Raises:
        BackendUnavailable: The server cannot be reached, or is too slow.
        BackendRejected: The server understood and refused.
    """
    try:
        with pool.connection() as connection:
            cursor = connection.execute(statement.encode(), parameters, prepare=True)
            return cursor.fetchall() if cursor.description else []
    except psycopg.Error as error:
        raise _named(error) from error


_NO_SCHEMA = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)


def _named(error: psycopg.Error) -> BackendError:
    if isinstance(error, PoolTimeout):
        return BackendUnavailable(
            f"Postgres gave no connection within {CONNECT_TIMEOUT} s; the log says why."
        )
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, _NO_SCHEMA):
        return BackendRejected(f"{lines[0]}. Apply the schema: make schema.")
    if isinstance(error, psycopg.OperationalError):
        return BackendUnavailable(f"Postgres: {lines[0]}")
    return BackendRejected(f"Postgres: {lines[0]}")


class OperationWriter:
    """Stores the progress of one attempt of an operation: the `ProgressWriter` of this backend.

    Every statement names the attempt, so that a worker that comes back from the dead changes
    nothing that its successor wrote.

    Args:
        pool: Connections.
        operation_id: The operation.
        attempt: The number that `begin` returned.
        stopping: Whether this worker is to end, and give the operation back.
    """

    def __init__(
        self, pool: Pool, operation_id: str, attempt: int, stopping: Callable[[], bool]
    ) -> None:
        self._pool = pool
        self._key = {"operation_id": operation_id, "attempt": attempt}
        self._stopping = stopping

    def progress(self, progress: Progress) -> bool:
        """Store how far it is, and a heartbeat; return whether somebody asked to cancel."""
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
        """Store the terminal status, unless there is one or another attempt has begun."""
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

    def give_back(self) -> None:
        """Put the operation back into the queue: this worker ends before the job does.

        One that is to be cancelled ends here: Procrastinate does not run an aborted job again.
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


def begin(pool: Pool, operation_id: str, queue_job: int) -> tuple[str, str, int] | None:
    """Take an operation for a job of the queue; return its job, subject and attempt.

    None means that it has ended, or belongs to another job of the queue.
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
