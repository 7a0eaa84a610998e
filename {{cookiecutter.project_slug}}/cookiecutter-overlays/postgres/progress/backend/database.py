"""The connection string, the pool, and one statement at a time. No Streamlit: workers use it."""

import os
import tomllib
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import TextLoader
from psycopg_pool import ConnectionPool, PoolTimeout

from progress.contract import BackendError, BackendRejected, BackendUnavailable
from progress.settings import ROOT

Pool = ConnectionPool[psycopg.Connection[dict[str, Any]]]

CONNECT_TIMEOUT = 3
"""Seconds to wait for a connection, new or from the pool."""
STATEMENT_TIMEOUT = 5
"""Seconds after which Postgres cancels a statement."""
POOL_SETTINGS: dict[str, Any] = {
    "min_size": 1,
    "timeout": CONNECT_TIMEOUT,
    # Its pauses between two attempts to connect double each time. After 2 s a pool gives up, and
    # the next statement begins with short pauses again.
    "reconnect_timeout": 2,
}
"""Settings of the pools of the app and the workers."""


def configured_dsn() -> str | None:
    """Return the connection string of DATABASE_URL, or else of .streamlit/secrets.toml.

    The variable takes precedence even if it is empty: tests must not reach a configured database.

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
    """Return the connection string with time limits, unless it has its own.

    Raises:
        BackendRejected: It is not a connection string.
    """
    if _has_raw_at_sign(dsn):
        raise _malformed()
    try:
        given = conninfo_to_dict(dsn)
        options = f"-c statement_timeout={STATEMENT_TIMEOUT}s {given.get('options') or ''}"
        # The last one is for a server that no longer responds: TCP alone waits 15 minutes.
        limits = {"connect_timeout": CONNECT_TIMEOUT, "tcp_user_timeout": STATEMENT_TIMEOUT * 2000}
        missing = {name: str(value) for name, value in limits.items() if name not in given}
        return make_conninfo(dsn, options=options, **missing)
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
    """Return a pool of autocommit connections. It connects in the background."""
    return ConnectionPool(
        with_limits(dsn),
        connection_class=psycopg.Connection[dict[str, Any]],
        kwargs={"autocommit": True, "row_factory": psycopg.rows.dict_row},
        max_size=size,
        configure=_keep_json_as_text,
        open=True,
        **POOL_SETTINGS,
    )


def _keep_json_as_text(connection: psycopg.Connection[dict[str, Any]]) -> None:
    # operation_from_row parses it: it caches steps, and reads JSON that raises in psycopg.
    connection.adapters.register_loader("json", TextLoader)


def execute(pool: Pool, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one prepared statement as a transaction of its own and return its rows.

    It is repeated if the connection breaks: the second time it must not change anything more.

    Raises:
        BackendUnavailable: The server cannot be reached, or is too slow.
        BackendRejected: The server understood and refused.
    """
    # After a restart of the server every connection of the pool is broken.
    for remaining in reversed(range(pool.max_size + 1)):
        try:
            with pool.connection() as connection:
                cursor = connection.execute(statement.encode(), parameters, prepare=True)
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
        return BackendRejected(f"{lines[0]}. Apply the schema: make schema.")
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
