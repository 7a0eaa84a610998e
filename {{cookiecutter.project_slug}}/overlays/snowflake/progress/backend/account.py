"""How to reach Snowflake: one connection, guarded by a lock."""

import json
import logging
import os
import re
import threading
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, TypeVar, cast
from urllib.parse import quote

from snowflake import connector
from snowflake.connector.config_manager import CONFIG_MANAGER
from snowflake.connector.cursor import DictCursor
from snowflake.connector.errorcode import ER_FAILED_TO_REQUEST

from progress.contract import BackendError, BackendRejected, BackendUnavailable
from progress.settings import ROOT

Answer = TypeVar("Answer")

LIMITS: Mapping[str, Any] = {
    # Seconds in which a login must succeed.
    "login_timeout": 8,
    # A statement is a transaction of its own, whatever the account's default is.
    "autocommit": True,
    # The connector's sign for a parameter: the `?` that Snowflake itself reads.
    "paramstyle": "qmark",
    # The procedures that this connection called go on when it ends.
    "server_session_keep_alive": True,
}
STATEMENT_TIMEOUT = 30
"""Seconds that a statement may take: time for a suspended warehouse to wake."""
GRACE = 30
"""Seconds after that in which Snowflake has to say so, before the connector gives up."""
STATUS_TIMEOUT = 5
"""Seconds for which a failing request for the state of a query is sent again."""
MESSAGE_LENGTH = 300
"""Characters of a message of Snowflake's that are shown."""
LOGIN_PAUSE = 300.0
"""Seconds for which a refused login is not tried again: Snowflake locks a user who fails often."""

# The connector logs every retry; what the page or the command says is enough.
logging.getLogger("snowflake.connector").setLevel(logging.CRITICAL)


class QueryState(Enum):
    """What Snowflake says of a query."""

    ALIVE = "alive"
    """Running, waiting for the warehouse, or being cancelled."""
    ENDED = "ended"
    """It ended with an error, or was cancelled."""
    SUCCEEDED = "succeeded"
    """It returned. A call of a procedure that found another call at work does so, too."""
    UNKNOWN = "unknown"
    """Snowflake has no such query, or does not show it to this user."""


_ALIVE = {
    "RUNNING",
    "QUEUED",
    "RESUMING_WAREHOUSE",
    "QUEUED_REPARING_WAREHOUSE",  # sic
    "BLOCKED",
    # The connector counts this as an error; but a query that is being ended has not ended.
    "ABORTING",
}
_ENDED = {
    "FAILED_WITH_ERROR",
    "FAILED_WITH_INCIDENT",
    "ABORTED",
    "DISCONNECTED",
    "RESTARTED",
}


def configured_options() -> dict[str, Any] | None:
    """Return the connection options from PROGRESS_CONNECTION or .streamlit/secrets.toml.

    None: neither has any. The connector's own default connection applies then, which is also
    what the container runtime of Streamlit in Snowflake provides.

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
        secrets = tomllib.loads((ROOT / ".streamlit" / "secrets.toml").read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BackendRejected(f".streamlit/secrets.toml is not TOML: {error}.") from None
    options = secrets.get("connections", {}).get("snowflake")
    return dict(options) if options else None


class Account:
    """A connection to Snowflake that is opened when first used, and again after it broke.

    Safe to share between threads: statements take turns, because a connection of the connector
    that two threads use at a time was seen to mix up their rows.

    Args:
        options: What `snowflake.connector.connect` takes; None for its default connection.
        timeout: Seconds after which Snowflake ends a statement that is waited for.
    """

    def __init__(self, options: Mapping[str, Any] | None, timeout: int = STATEMENT_TIMEOUT) -> None:
        self._options = options
        # The connector cancels every statement after its network_timeout.
        self._limits = {**LIMITS, "network_timeout": timeout + GRACE}
        self._statement = {"STATEMENT_TIMEOUT_IN_SECONDS": str(timeout)}
        self._lock = threading.Lock()
        self._connection: connector.SnowflakeConnection | None = None
        self._refused: tuple[float, str] | None = None

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run one statement and return its rows, with the names of columns in lower case.

        Raises:
            BackendUnavailable: Snowflake cannot be reached, or is too slow.
            BackendRejected: Snowflake understood and refused.
        """

        def run(connection: connector.SnowflakeConnection) -> list[dict[str, Any]]:
            with connection.cursor(DictCursor) as cursor:
                # Not the connector's own timeout and retries, which last longer than a page can
                # wait: whoever asks asks again, and says meanwhile that Snowflake is away.
                cursor.execute(
                    statement,
                    tuple(parameters),
                    _statement_params=self._statement,
                    _no_retry=True,
                )
                return cursor.fetchall()

        return [{name.lower(): value for name, value in row.items()} for row in self._in_turn(run)]

    def execute_async(self, statement: str, parameters: Sequence[Any] = ()) -> str:
        """Send a statement without waiting for its end; return the id of its query.

        Raises:
            BackendUnavailable: It is unknown whether it arrived.
            BackendRejected: Snowflake understood and refused.
        """

        def run(connection: connector.SnowflakeConnection) -> str:
            with connection.cursor() as cursor:
                cursor.execute_async(statement, tuple(parameters), _no_retry=True)
                return str(cursor.sfqid)

        return self._in_turn(run)

    def query_state(self, query_id: str) -> tuple[QueryState, str]:
        """Return the state of a query and, if it failed, what Snowflake says of that.

        It takes a request to Snowflake, and no warehouse.

        Raises:
            BackendUnavailable: Snowflake cannot be reached.
        """
        return self._in_turn(lambda connection: _query_state(connection, query_id))

    def close(self) -> None:
        """Close the connection. The next statement opens it again."""
        with self._lock:
            self._refused = None
            self._drop()

    def _in_turn(self, action: Callable[[connector.SnowflakeConnection], Answer]) -> Answer:
        with self._lock:
            try:
                try:
                    return action(self._opened())
                except connector.Error as error:
                    if error.errno not in _SESSION_GONE:
                        raise
                    # Nothing was run. After some hours without a statement that is usual.
                    self._drop()
                    return action(self._opened())
            except connector.Error as error:
                named = _named(error)
                if isinstance(named, BackendUnavailable):
                    self._drop()
                raise named from error
            except BackendError:
                raise
            except Exception as error:
                # Told not to try again, the connector takes an HTTP error or a failed handshake
                # for an empty answer, and trips over it.
                self._drop()
                raise BackendUnavailable(
                    f"Snowflake cannot be reached: no proper answer ({type(error).__name__})."
                ) from error

    def _opened(self) -> connector.SnowflakeConnection:
        if self._connection is None or self._connection.is_closed():
            self._connection = self._open()
        return self._connection

    def _open(self) -> connector.SnowflakeConnection:
        if self._refused is not None and time.monotonic() < self._refused[0]:
            raise BackendRejected(self._refused[1])
        try:
            return _connect(self._options, self._limits)
        except (connector.Error, OSError, TypeError, ValueError) as error:
            named = _login_error(error)
            if isinstance(named, BackendRejected):
                self._refused = (time.monotonic() + LOGIN_PAUSE, str(named))
            raise named from None

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close(retry=False)
            self._connection = None


def _connect(
    options: Mapping[str, Any] | None, limits: Mapping[str, Any]
) -> connector.SnowflakeConnection:
    if options is not None:
        return connector.connect(**{**limits, **options})
    name = str(CONFIG_MANAGER["default_connection_name"])
    if name not in cast(Mapping[str, Any], CONFIG_MANAGER["connections"]):
        raise BackendRejected(
            "No account is configured. Set [connections.snowflake] in .streamlit/secrets.toml."
        )
    return connector.connect(connection_name=name, **limits)


def _query_state(
    connection: connector.SnowflakeConnection, query_id: str
) -> tuple[QueryState, str]:
    if not _QUERY_ID.fullmatch(query_id):
        # Anybody may have written it; the request would be tried again for seconds.
        return QueryState.UNKNOWN, ""
    # Not connection.get_query_status(): it takes every answer that it does not understand, that of
    # a session that has run out among them, for a query that failed.
    path = f"/monitoring/queries/{quote(query_id, safe='')}"
    assert connection.rest is not None  # It is, between connecting and closing.
    answer = connection.rest.request(path, method="get", client="rest", timeout=STATUS_TIMEOUT)
    data = answer.get("data") or {}
    if "queries" not in data:
        code = str(answer.get("code") or "")
        raise connector.DatabaseError(
            msg=str(answer.get("message") or "The state of a query could not be read."),
            errno=int(code) if code.isdecimal() else -1,
        )
    if not data["queries"]:
        return QueryState.UNKNOWN, ""
    query = data["queries"][0]
    status = str(query.get("status"))
    if status in _ALIVE:
        return QueryState.ALIVE, ""
    if status == "SUCCESS":
        return QueryState.SUCCEEDED, ""
    if status in _ENDED:
        message = str(query.get("errorMessage") or "")
        return QueryState.ENDED, " ".join(message.split())[:MESSAGE_LENGTH]
    return QueryState.UNKNOWN, ""


def _line(error: connector.Error) -> str:
    """Return what an error says, in one line."""
    lines = str(error.raw_msg or error.msg or "").split("\n")
    text = " ".join(line.strip() for line in lines if line.strip())
    return text[:MESSAGE_LENGTH] or type(error).__name__


def _login_error(error: Exception) -> BackendError:
    # The subclasses are about the way there; the class itself is Snowflake's answer.
    if isinstance(error, connector.OperationalError | connector.InterfaceError):
        return BackendUnavailable(f"Snowflake cannot be reached: {_line(error)}")
    if isinstance(error, connector.Error) and error.errno == _NO_SUCH_ACCOUNT:
        reason = "No such account: check `account`."
    elif isinstance(error, connector.Error):
        reason = f"Snowflake refused the login: {_line(error).rstrip('.')}."
    else:
        # Not its text, which may quote an option.
        reason = f"The options of the connection are of no use ({type(error).__name__})."
    return BackendRejected(
        f"{reason} Check [connections.snowflake] in .streamlit/secrets.toml, then restart."
    )


_QUERY_ID = re.compile(r"[0-9a-fA-F-]{36}")
# The address of an account that is none answers the login with HTTP 404.
_NO_SUCH_ACCOUNT = 290404
# The session, or its token, is no more.
_SESSION_GONE = {390104, 390111, 390112, 390114, 390195}
# Cancelled (by the connector, after its timeout); too many others wait for the same lock; too long.
_WORTH_ANOTHER_TRY = _SESSION_GONE | {604, 625, 630}
# The last one: a column, of a table that an earlier version of schema.sql made.
_NO_SUCH_OBJECT = {2003, 2043, 904}


def _named(error: connector.Error) -> BackendError:
    line = _line(error)
    if error.errno == ER_FAILED_TO_REQUEST:
        return BackendUnavailable("Snowflake cannot be reached: the connection failed.")
    if error.errno in _WORTH_ANOTHER_TRY or not isinstance(error, connector.ProgrammingError):
        return BackendUnavailable(f"Snowflake: {line}")
    if error.errno in _NO_SUCH_OBJECT:
        return BackendRejected(f"Snowflake: {line} Is schema.sql applied, and the role granted?")
    return BackendRejected(f"Snowflake: {line}")
