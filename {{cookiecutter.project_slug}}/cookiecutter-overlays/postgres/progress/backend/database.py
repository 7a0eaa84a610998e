"""The connection string, the pool, and one statement at a time. No Streamlit: workers use it."""

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from progress.contract import BackendError, BackendRejected, BackendUnavailable
from progress.settings import SettingsError, read_backend_setting, read_secrets

CONNECT_TIMEOUT = 3
"""Seconds to wait for a connection, new or from the pool."""
STATEMENT_TIMEOUT = 5
"""Seconds after which Postgres cancels a statement, unless the login has a limit of its own."""
POOL_SETTINGS: dict[str, Any] = {
    "min_size": 1,
    "timeout": CONNECT_TIMEOUT,
    # Its pauses between two attempts to connect double each time. After 2 s a pool gives up, and
    # the next statement begins with short pauses again.
    "reconnect_timeout": 2,
}
"""Settings of the pools of the app and the workers."""

CONNECTION: dict[str, Any] = {"prepare_threshold": None}
"""Options of psycopg. A prepared statement would be unknown on the next connection of a pooler."""

# Settings of one transaction. Those of a session would reach other clients of a pooler.
_BEGIN = (
    "SELECT set_config('search_path', %(schema)s, true),"
    " CASE current_setting('statement_timeout')"
    " WHEN '0' THEN set_config('statement_timeout', %(timeout)s, true) END"
)


def schema_name() -> str:
    """Return the schema of this project's tables: `schema` under [postgres] in settings.toml.

    Raises:
        BackendRejected: It is missing or invalid.
    """
    try:
        name = read_backend_setting("postgres", "schema")
    except SettingsError as error:
        raise BackendRejected(str(error)) from None
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise BackendRejected(
            f"settings.toml: schema = {name!r} is invalid."
            " Use a-z, 0-9 and _, at most 63 characters, no digit first."
        )
    return name


def _begin_parameters() -> dict[str, str]:
    return {"schema": schema_name(), "timeout": f"{STATEMENT_TIMEOUT}s"}


class Pool(ConnectionPool[psycopg.Connection[dict[str, Any]]]):
    """Connections for one transaction each, in the schema of this project."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._parameters = _begin_parameters()
        super().__init__(*args, **kwargs)

    @contextmanager
    def connection(
        self, timeout: float | None = None
    ) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """Yield a connection in a transaction, which ends with the context."""
        with super().connection(timeout) as connection:
            connection.execute(_BEGIN, self._parameters)
            yield connection


class QueuePool(AsyncConnectionPool[psycopg.AsyncConnection[Any]]):
    """The same for Procrastinate, which names no schema in its statements."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._parameters = _begin_parameters()
        super().__init__(*args, kwargs=CONNECTION, **kwargs)

    @asynccontextmanager
    async def connection(
        self, timeout: float | None = None
    ) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Yield a connection in a transaction, which ends with the context."""
        async with super().connection(timeout) as connection:
            await connection.execute(_BEGIN, self._parameters)
            yield connection


def configured_dsn() -> str | None:
    """Return the connection string of DATABASE_URL, or else of .streamlit/secrets.toml.

    The variable takes precedence even if it is empty: tests must not reach a configured database.

    Raises:
        BackendRejected: secrets.toml cannot be read, or is not TOML.
    """
    if "DATABASE_URL" in os.environ:
        return os.environ["DATABASE_URL"] or None
    try:
        dsn = read_secrets().get("connections", {}).get("progress", {}).get("dsn")
    except SettingsError as error:
        raise BackendRejected(str(error)) from None
    return str(dsn) if dsn else None


def required_dsn() -> str:
    """Return the configured connection string.

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
    """Return the connection string with time limits, unless it has its own, and in UTF-8.

    Nothing in it is for the server alone: a pooler refuses or ignores what it does not know.

    Raises:
        BackendRejected: It is not a connection string.
    """
    if _has_raw_at_sign(dsn):
        raise _malformed()
    try:
        given = conninfo_to_dict(dsn)
        # The last one is for a server that no longer responds: TCP alone waits 15 minutes.
        limits = {"connect_timeout": CONNECT_TIMEOUT, "tcp_user_timeout": STATEMENT_TIMEOUT * 2000}
        missing = {name: str(value) for name, value in limits.items() if name not in given}
        return make_conninfo(dsn, client_encoding="utf8", **missing)
    except psycopg.ProgrammingError:
        # The message of psycopg would contain the password.
        raise _malformed() from None


def _has_raw_at_sign(dsn: str) -> bool:
    # Postgres would take the end of the password for the host, which appears in messages.
    rest = dsn.removeprefix("postgresql://").removeprefix("postgres://")
    authority, _, path = rest.partition("/")
    return rest != dsn and (authority.count("@") > 1 or "@" in path.partition("?")[0])


def _malformed() -> BackendRejected:
    return BackendRejected(
        "The connection string is malformed."
        " Write it like postgresql://user:password@host:5432/database."
        " In the user and the password percent-encode special characters: @ is %40, / is %2F."
    )


def open_pool(dsn: str, size: int) -> Pool:
    """Return a pool of connections. It connects in the background."""
    return Pool(
        with_limits(dsn),
        kwargs=CONNECTION | {"row_factory": psycopg.rows.dict_row},
        max_size=size,
        configure=_keep_json_as_text,
        open=True,
        **POOL_SETTINGS,
    )


def _keep_json_as_text(connection: psycopg.Connection[dict[str, Any]]) -> None:
    # operation_from_row parses it: it caches steps, and reads JSON that raises in psycopg.
    connection.adapters.register_loader("json", TextLoader)


def execute(pool: Pool, statement: str, *parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a statement, for each of the parameters, as one transaction; return the last rows.

    It is repeated if the connection breaks: the second time it must not change anything more.

    Raises:
        BackendUnavailable: The server cannot be reached, or is too slow.
        BackendRejected: The server understood and refused.
    """
    # After a restart of the server every connection of the pool is broken.
    for remaining in reversed(range(pool.max_size + 1)):
        try:
            with pool.connection() as connection:
                for values in parameters:
                    cursor = connection.execute(statement.encode(), values)
                return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            if not (remaining and _is_broken_connection(error)):
                raise backend_error(error) from error
    raise AssertionError  # the last time returns or raises


def _is_broken_connection(error: psycopg.Error) -> bool:
    if not isinstance(error, psycopg.OperationalError) or isinstance(error, PoolTimeout):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


_NO_SCHEMA = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)


def backend_error(error: psycopg.Error) -> BackendError:
    """Return the error of a statement in one line."""
    if isinstance(error, PoolTimeout):
        return BackendUnavailable(
            f"Postgres gave no connection within {CONNECT_TIMEOUT} s; the log says why."
        )
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, _NO_SCHEMA):
        return BackendRejected(
            f"{lines[0]}. Apply the schema: make schema."
            " If it is applied, grant this login progress_web or progress_worker."
        )
    if isinstance(error, psycopg.OperationalError):
        return BackendUnavailable(f"Postgres: {lines[0]}")
    return BackendRejected(f"Postgres: {lines[0]}")


# What the server says when it takes no connections for now.
_TEMPORARY = ("starting up", "shutting down", "recovery", "too many", "connection slots")
# What the client says of a configuration that can never connect.
_MISCONFIGURED = ("no password supplied", "invalid ", "SSL was required", "certificate")


def connection_error(error: psycopg.OperationalError) -> BackendError:
    """Return why no connection was made: rejected if the server refuses it for good."""
    line = str(error).strip().splitlines()[0]
    refused = "FATAL:" in line and not any(words in line for words in _TEMPORARY)
    if refused or any(words in line for words in _MISCONFIGURED):
        return BackendRejected(f"Postgres refused the connection: {line}")
    return BackendUnavailable(f"Postgres: {line}")
