"""The connection to Snowflake: its options, its statements, and what its errors mean."""

import io
import json
import logging
import math
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, cast

from snowflake import connector
from snowflake.connector.config_manager import CONFIG_MANAGER
from snowflake.connector.cursor import DictCursor
from snowflake.connector.errorcode import ER_FAILED_TO_REQUEST, ER_FILE_NOT_EXISTS

from progress.contract import BackendError, BackendRejected, BackendUnavailable
from progress.settings import SettingsError, read_secrets

Answer = TypeVar("Answer")

DEFAULTS: Mapping[str, Any] = {
    "login_timeout": 8,  # seconds
    # Each statement is a transaction, whatever the account's default is.
    "autocommit": True,
    # Snowflake itself reads the `?` and its value.
    "paramstyle": "qmark",
    # The procedures that this connection called go on when it is closed.
    "server_session_keep_alive": True,
}
"""Connection options that the configured ones take precedence over."""
STATEMENT_TIMEOUT = 30
"""Seconds after which Snowflake ends a statement: enough to resume a suspended warehouse."""
NETWORK_GRACE = 30
"""Seconds beyond the statement timeout after which the connector gives up."""
MAX_TIME_LIMIT = 7 * 24 * 3600
"""Seconds after which Snowflake ends every statement."""
STATUS_TIMEOUT = 5
"""Seconds after which a request for the state of a query fails."""
LOGIN_PAUSE = 300.0
"""Seconds without another try after a refused login: Snowflake locks users whose logins fail."""
MAX_MESSAGE = 300
"""Characters of a message from Snowflake that are shown."""

# The connector logs every retry; the message on the page is enough.
logging.getLogger("snowflake.connector").setLevel(logging.CRITICAL)


class QueryState(Enum):
    """The state of a query in Snowflake."""

    RUNNING = "running"
    """Running, waiting for the warehouse, or being cancelled."""
    FAILED = "failed"
    """It ended with an error, or was cancelled."""
    SUCCEEDED = "succeeded"
    """It returned. So does a call of the procedure that finds the claim of another call."""
    UNKNOWN = "unknown"
    """Snowflake has no such query, or does not show it to this user."""


_STATES = {
    "RUNNING": QueryState.RUNNING,
    "QUEUED": QueryState.RUNNING,
    "RESUMING_WAREHOUSE": QueryState.RUNNING,
    "QUEUED_REPARING_WAREHOUSE": QueryState.RUNNING,  # sic
    "BLOCKED": QueryState.RUNNING,
    # To the connector this is an error; but a query that is being cancelled has not ended.
    "ABORTING": QueryState.RUNNING,
    "SUCCESS": QueryState.SUCCEEDED,
    "FAILED_WITH_ERROR": QueryState.FAILED,
    "FAILED_WITH_INCIDENT": QueryState.FAILED,
    "ABORTED": QueryState.FAILED,
    "DISCONNECTED": QueryState.FAILED,
    "RESTARTED": QueryState.FAILED,
}
_QUERY_ID = re.compile(r"[0-9a-fA-F-]{36}")

STAGE = "@OPERATION_FILES"

# Error numbers of Snowflake.
_STATEMENT_TIMEOUT = 630
_SESSION_EXPIRED = {390104, 390111, 390112, 390114, 390195}
# Cancelled (by the connector, after its timeout); too many waiting for a lock; statement timeout.
_TRANSIENT = _SESSION_EXPIRED | {604, 625, _STATEMENT_TIMEOUT}
# Database, schema or object; function or procedure; column, where an old schema.sql was applied.
_MISSING_OBJECT = {2003, 2043, 2140, 2141, 904}
# The host of an account that does not exist answers the login with HTTP 404.
_UNKNOWN_ACCOUNT = 290404


def configured_options() -> dict[str, Any] | None:
    """Return the connection options from PROGRESS_CONNECTION or .streamlit/secrets.toml.

    None: neither has any. Then the connector's default connection is used, which the container
    runtime of Streamlit in Snowflake provides.

    Raises:
        BackendRejected: One of them cannot be read.
    """
    if text := os.environ.get("PROGRESS_CONNECTION"):
        try:
            return dict(json.loads(text))
        except (TypeError, ValueError):
            raise BackendRejected(
                "PROGRESS_CONNECTION is not a JSON object of connection options."
            ) from None
    try:
        options = read_secrets().get("connections", {}).get("snowflake")
    except SettingsError as error:
        raise BackendRejected(str(error)) from None
    return dict(options) if options else None


class Account:
    """A connection to Snowflake that opens when first used, and again after an error.

    Safe to share between threads: one statement runs at a time, because two threads on one
    connection of the connector were seen to get each other's rows.

    Args:
        options: What `snowflake.connector.connect` takes; None for its default connection.
        timeout: Seconds after which Snowflake ends a statement.
    """

    def __init__(self, options: Mapping[str, Any] | None, timeout: int = STATEMENT_TIMEOUT) -> None:
        self._options = options
        # The connector cancels every statement after its network_timeout.
        self._defaults = {**DEFAULTS, "network_timeout": timeout + NETWORK_GRACE}
        self._statement_parameters = {"STATEMENT_TIMEOUT_IN_SECONDS": str(timeout)}
        self._lock = threading.Lock()
        self._connection: connector.SnowflakeConnection | None = None
        self._refused: tuple[float, str] | None = None  # until when, and why

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run a statement and return its rows, with column names in lower case.

        Raises:
            BackendUnavailable: Snowflake cannot be reached, or is too slow.
            BackendRejected: Snowflake refused the statement.
        """

        def run(connection: connector.SnowflakeConnection) -> list[dict[str, Any]]:
            with connection.cursor(DictCursor) as cursor:
                # Without the connector's retries, which take longer than a page can wait: the
                # poller retries, and the page says so.
                cursor.execute(
                    statement,
                    tuple(parameters),
                    _statement_params=self._statement_parameters,
                    _no_retry=True,
                )
                return cursor.fetchall()

        return [{name.lower(): value for name, value in row.items()} for row in self._run(run)]

    def execute_async(
        self, statement: str, parameters: Sequence[Any] = (), time_limit: float = 0.0
    ) -> str:
        """Start a statement without waiting for its end; return its query id.

        Args:
            statement: The statement.
            parameters: Its values.
            time_limit: Seconds after which Snowflake cancels it; 0: the limit of the account.

        Raises:
            BackendUnavailable: It is unknown whether it arrived.
            BackendRejected: Snowflake refused the statement.
        """

        def run(connection: connector.SnowflakeConnection) -> str:
            with connection.cursor() as cursor:
                seconds = str(min(math.ceil(time_limit), MAX_TIME_LIMIT))
                limits = {"STATEMENT_TIMEOUT_IN_SECONDS": seconds} if time_limit else None
                cursor.execute_async(
                    statement, tuple(parameters), _statement_params=limits, _no_retry=True
                )
                return str(cursor.sfqid)

        return self._run(run)

    def query_state(self, query_id: str) -> tuple[QueryState, str]:
        """Return the state of a query and, if it failed, Snowflake's message. Needs no warehouse.

        Raises:
            BackendUnavailable: Snowflake cannot be reached.
        """
        return self._run(lambda connection: _query_state(connection, query_id))

    def upload(self, name: str, content: bytes) -> None:
        """Store a file on the stage; it replaces an equal name. Raises as `execute`."""

        def run(connection: connector.SnowflakeConnection) -> None:
            with connection.cursor() as cursor:
                # PUT takes no parameters. The name is that of `store.file_name`.
                cursor.execute(
                    "PUT 'file:///"
                    + name
                    + "' "
                    + STAGE
                    + " AUTO_COMPRESS = FALSE OVERWRITE = TRUE",
                    file_stream=io.BytesIO(content),
                )

        self._run(run)

    def download(self, name: str) -> bytes | None:
        """Return a file of the stage; None if there is none. Raises as `execute`."""

        def run(connection: connector.SnowflakeConnection) -> bytes | None:
            with tempfile.TemporaryDirectory() as folder, connection.cursor() as cursor:
                target = Path(folder)
                try:
                    cursor.execute("GET '" + STAGE + "/" + name + "' " + local_file(target))
                except connector.Error as error:
                    if error.errno != ER_FILE_NOT_EXISTS:
                        raise
                    return None
                return (target / name).read_bytes()

        return self._run(run)

    def close(self) -> None:
        """Close the connection. The next statement opens it again."""
        with self._lock:
            self._refused = None
            self._disconnect()

    def _run(self, action: Callable[[connector.SnowflakeConnection], Answer]) -> Answer:
        with self._lock:
            try:
                try:
                    return action(self._connect())
                except connector.Error as error:
                    if error.errno not in _SESSION_EXPIRED:
                        raise
                    # Usual after some hours without a statement. The action did not run.
                    self._disconnect()
                    return action(self._connect())
            except connector.Error as error:
                translated = _translate(error)
                if isinstance(translated, BackendUnavailable):
                    self._disconnect()
                raise translated from error
            except BackendError:
                raise
            except Exception as error:
                # Without retries, the connector reads an HTTP error or a failed handshake as an
                # empty response, and fails with whatever exception that leads to.
                self._disconnect()
                raise BackendUnavailable(
                    f"Snowflake cannot be reached: unexpected response ({type(error).__name__})."
                ) from error

    def _connect(self) -> connector.SnowflakeConnection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if self._refused is not None and time.monotonic() < self._refused[0]:
            raise BackendRejected(self._refused[1])
        try:
            self._connection = _open(self._options, self._defaults)
        except (connector.Error, OSError, TypeError, ValueError) as error:
            translated = _translate_login(error)
            if isinstance(translated, BackendRejected):
                self._refused = (time.monotonic() + LOGIN_PAUSE, str(translated))
            raise translated from None
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close(retry=False)
            self._connection = None


def local_file(path: Path) -> str:
    """Return a path as PUT and GET, which take no parameters, have it: they decode no URL."""
    return "'file://" + path.as_posix().replace("'", r"\'") + "'"


def _open(
    options: Mapping[str, Any] | None, defaults: Mapping[str, Any]
) -> connector.SnowflakeConnection:
    if options is not None:
        return connector.connect(**{**defaults, **options})
    name = str(CONFIG_MANAGER["default_connection_name"])
    if name not in cast(Mapping[str, Any], CONFIG_MANAGER["connections"]):
        raise BackendRejected(
            "No account is configured. Set [connections.snowflake] in .streamlit/secrets.toml."
        )
    return connector.connect(connection_name=name, **defaults)


def _query_state(
    connection: connector.SnowflakeConnection, query_id: str
) -> tuple[QueryState, str]:
    if not _QUERY_ID.fullmatch(query_id):
        # Written by hand. Snowflake's error would be retried for seconds.
        return QueryState.UNKNOWN, ""
    # Not connection.get_query_status(): it reads every response that it does not understand, such
    # as that of an expired session, as a failed query.
    path = f"/monitoring/queries/{query_id}"
    if connection.rest is None:  # it was closed meanwhile
        raise connector.InterfaceError("The connection is closed.")
    response = connection.rest.request(path, method="get", client="rest", timeout=STATUS_TIMEOUT)
    data = response.get("data") or {}
    if "queries" not in data:
        code = str(response.get("code") or "")
        raise connector.DatabaseError(
            msg=str(response.get("message") or "The state of a query could not be read."),
            errno=int(code) if code.isdecimal() else -1,
        )
    if not data["queries"]:
        return QueryState.UNKNOWN, ""
    query = data["queries"][0]
    state = _STATES.get(str(query.get("status")), QueryState.UNKNOWN)
    message = str(query.get("errorMessage") or "") if state is QueryState.FAILED else ""
    if str(query.get("errorCode")).lstrip("0") == str(_STATEMENT_TIMEOUT):
        message = f"It ran longer than its time limit. {message}"
    return state, " ".join(message.split())[:MAX_MESSAGE]


def _message(error: connector.Error) -> str:
    """Return the message of an error in one line."""
    text = " ".join(str(error.raw_msg or error.msg or "").split())
    return text[:MAX_MESSAGE] or type(error).__name__


def _translate(error: connector.Error) -> BackendError:
    message = _message(error)
    if error.errno == ER_FAILED_TO_REQUEST:
        return BackendUnavailable("Snowflake cannot be reached: the connection failed.")
    if error.errno in _TRANSIENT or not isinstance(error, connector.ProgrammingError):
        return BackendUnavailable(f"Snowflake: {message}")
    if error.errno in _MISSING_OBJECT:
        message += " Is schema.sql applied, the procedure deployed, and the role granted?"
    return BackendRejected(f"Snowflake: {message}")


def _translate_login(error: Exception) -> BackendError:
    # These subclasses are about the network; connector.DatabaseError itself is Snowflake's answer.
    if isinstance(error, connector.OperationalError | connector.InterfaceError):
        return BackendUnavailable(f"Snowflake cannot be reached: {_message(error)}")
    if isinstance(error, connector.Error) and error.errno == _UNKNOWN_ACCOUNT:
        reason = "No such account: check `account`."
    elif isinstance(error, connector.Error):
        reason = f"Snowflake refused the login: {_message(error).rstrip('.')}."
    else:
        # Not its text, which may quote an option.
        reason = f"The connection options are invalid ({type(error).__name__})."
    return BackendRejected(
        f"{reason} Check [connections.snowflake] in .streamlit/secrets.toml, then restart."
    )
