"""A fake Snowflake server for development and tests, built on fakesnow (SQL on DuckDB).

`python -m dev.snowflake_server PORT FOLDER` serves on 127.0.0.1 and keeps its tables in FOLDER. The
variable FAKE_SNOWFLAKE_PASSWORD is the password of its one user. It stops when its standard input
is closed, so it never outlives the process that started it.

It adds to fakesnow's server
- CALL of stored procedures, waited for or asynchronous, with query status, statement timeout and
  SYSTEM$CANCEL_QUERY: see dev/snowflake_procedures.py;
- PUT and GET of one file of the stage OPERATION_FILES: the connector writes and reads it in FOLDER;
- a login with one user, and no access to files but its own;
- AI_SENTIMENT and AI_SUMMARIZE_AGG, answered from a word list and from the first words: they show
  that a job works, not what Cortex would answer;
- an error for unsupported statements. fakesnow responds with HTTP 500, which the connector
  retries for minutes.

It has no roles, grants, warehouses, session time zones, limits of waiting statements or sandbox
for procedures. A procedure sees the project's files and packages as they are on this machine.
Calls end with the server; Snowflake's do not. What passes here must be tried on an account before
it is trusted: `make verify-account`.
"""

import asyncio
import contextvars
import gzip
import importlib
import json
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import uvicorn
from fakesnow.converter import from_binding
from fakesnow.instance import FakeSnow
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dev.local_server import (
    ACCOUNT,
    DATABASE,
    SCHEMA,
    USER,
    VARIABLE,
    connection_options,
)
from dev.snowflake_procedures import PROCEDURE, Calls

# A module by name, because the package has a function of the same name.
fakesnow_server: Any = importlib.import_module("fakesnow.server")
fakesnow_arrow: Any = importlib.import_module("fakesnow.arrow")
pyarrow: Any = importlib.import_module("pyarrow")  # it has no types

MAX_RESULTS = 50
"""Results that are kept to be fetched again; fakesnow alone keeps all of them."""

SYNTAX_ERROR = "001003"
CALL = re.compile(r"\s*call\s+(?:[\w\"]+\.)*\"?(\w+)\"?\s*\(([?,\s]*)\)\s*;?\s*", re.IGNORECASE)
FILE = re.compile(
    r"\s*(?:put\s+'?file://[^']*?([\w-]+)'?\s+'?@OPERATION_FILES/?'?(?:\s.*)?"
    r"|get\s+'?@OPERATION_FILES/([\w-]+)'?\s+('file://(?:\\'|[^'])+'|file://\S+)(?:\s.*)?)",
    re.IGNORECASE | re.DOTALL,
)
CANCEL = re.compile(r"\s*select\s+system\$cancel_query\s*\(\s*\?\s*\)\s*;?\s*", re.IGNORECASE)


# --- requests and responses ----------------------------------------------------------------


def refusal(code: str, message: str, query_id: str = "", state: str = "0A000") -> JSONResponse:
    """Return Snowflake's response to a statement that failed; the connector does not retry it."""
    data = {"errorCode": code, "sqlState": state, "queryId": query_id}
    return JSONResponse({"data": data, "code": code, "message": message, "success": False})


async def body_of(request: Request) -> dict[str, Any]:
    """Return the JSON body of a request."""
    raw = await request.body()
    if request.headers.get("content-encoding") == "gzip":
        raw = gzip.decompress(raw)
    return cast(dict[str, Any], json.loads(raw))


def with_body(request: Request, body: Mapping[str, Any]) -> Request:
    """Return the request with another body, for fakesnow to read."""
    raw = json.dumps(body).encode()
    skipped = (b"content-encoding", b"content-length")
    headers = [(name, value) for name, value in request.scope["headers"] if name not in skipped]
    messages = [{"type": "http.request", "body": raw, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return Request({**request.scope, "headers": headers}, receive)


def bindings_of(body: Mapping[str, Any]) -> list[Any]:
    """Return the parameters of a statement."""
    bindings = body.get("bindings") or {}
    return [from_binding(bindings[str(number)]) for number in range(1, len(bindings) + 1)]


def select_text(name: str, value: str) -> dict[str, Any]:
    """Return a statement whose result is one row with one text."""
    bindings = {"1": {"type": "TEXT", "value": value}}
    return {"sqlText": f'SELECT ? AS "{name}"', "bindings": bindings}


class Server:
    """Handles the requests that fakesnow does not handle, or not as Snowflake does."""

    def __init__(self, port: int, folder: Path) -> None:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._password = os.environ[VARIABLE]
        self._stage = folder / "stage"
        self.calls = Calls(folder / "calls.jsonl", connection_options(port, self._password))
        # DuckDB runs one statement at a time for each session.
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        fakesnow_arrow.timestamp_to_sf_struct = timestamp_or_null
        shared = FakeSnow(db_path=folder)
        shared.results_cache = _BoundedCache()
        fakesnow_server.shared_fs = shared
        add_ai_functions(shared)
        # Else a statement could read every file of this machine. Attached files stay usable.
        shared.duck_conn.execute("SET enable_external_access = false")

    @property
    def app(self) -> Starlette:
        """The routes: those of fakesnow, after three that take precedence."""
        return Starlette(
            routes=[
                Route("/session/v1/login-request", self.login, methods=["POST"]),
                Route("/queries/v1/query-request", self.query, methods=["POST"]),
                Route("/monitoring/queries/{query_id}", self.monitor),
                *fakesnow_server.routes,
            ]
        )

    async def login(self, request: Request) -> Response:
        """Log the one user in."""
        given = (await body_of(request))["data"]
        if given.get("ACCOUNT_NAME", "").lower() != ACCOUNT:
            return Response("No such account.", status_code=404)
        if (given.get("LOGIN_NAME"), given.get("PASSWORD")) != (USER, self._password):
            return refusal("390100", "Incorrect username or password was specified.")
        return cast(Response, await fakesnow_server.login_request(request))

    async def query(self, request: Request) -> Response:
        """Run a statement."""
        body = await body_of(request)
        token = fakesnow_server.to_token(request)
        if token not in fakesnow_server.sessions:
            return refusal("390104", "The session is unknown: log in again.")
        sql = body["sqlText"]
        if CANCEL.fullmatch(sql):
            (query_id,) = bindings_of(body)
            body |= select_text("SYSTEM$CANCEL_QUERY", self.calls.cancel(query_id))
        elif match := CALL.fullmatch(sql):
            if match[1].upper() != PROCEDURE:
                return refusal("002140", f"Unknown function {match[1].upper()}.")
            timeout = int((body.get("parameters") or {}).get("STATEMENT_TIMEOUT_IN_SECONDS", 0))
            call = await run_in_threadpool(self.calls.start, bindings_of(body), timeout)
            if body.get("asyncExec"):
                data = {
                    "queryId": call.query_id,
                    "getResultUrl": f"/queries/{call.query_id}/result",
                }
                return JSONResponse(
                    {"data": data, "code": "333334", "message": "In progress", "success": True}
                )
            await run_in_threadpool(call.done.wait)
            if call.failed:
                return refusal(call.code, call.answer, call.query_id, "P0000")
            body |= select_text(PROCEDURE, call.answer)
        elif match := FILE.fullmatch(sql):
            data = self.transfer(*match.groups())
            return JSONResponse({"data": data, "success": True})
        async with self._locks[token]:
            _LastError.message.set("")
            response: Response = await fakesnow_server.query_request(with_body(request, body))
        shown = " ".join(sql.split())[:120]
        if response.status_code >= 500:
            reason = _LastError.message.get() or "unknown reason"
            return refusal("000002", f"The fake Snowflake server cannot run {shown!r}: {reason}")
        answer = json.loads(bytes(response.body))
        if answer.get("code") == SYNTAX_ERROR:
            reason = " ".join(answer["message"].split())
            message = f"The fake Snowflake server cannot parse {shown!r}: {reason}"
            return refusal(SYNTAX_ERROR, message)
        return response

    def transfer(self, put: str | None, get: str | None, folder: str | None) -> dict[str, Any]:
        """Return where the connector finds the stage: on this machine."""
        self._stage.mkdir(mode=0o700, exist_ok=True)
        info = {"locationType": "LOCAL_FS", "location": str(self._stage), "creds": {}}
        shared = {"stageInfo": info, "parallel": 1, "overwrite": True}
        if put:
            names = {"command": "UPLOAD", "src_locations": [put], "autoCompress": False}
            return {**shared, **names, "sourceCompression": "none"}
        found = [get] if get and (self._stage / get).exists() else []
        local = (folder or "").strip("'").removeprefix("file://").replace("\\'", "'")
        return {**shared, "command": "DOWNLOAD", "src_locations": found, "localLocation": local}

    async def monitor(self, request: Request) -> Response:
        """Return the status of a query."""
        if fakesnow_server.to_token(request) not in fakesnow_server.sessions:
            return refusal("390104", "The session is unknown: log in again.")
        call = self.calls.get(request.path_params["query_id"])
        queries = []
        if call is not None:
            error = {"errorCode": call.code, "errorMessage": call.answer} if call.failed else {}
            queries = [{"status": call.status, **error}]
        return JSONResponse({"data": {"queries": queries}, "success": True})


# --- corrections of fakesnow ---------------------------------------------------------------


class _LastError(logging.Handler):
    """Keeps the message of the last error, which fakesnow logs and does not send."""

    message: contextvars.ContextVar[str] = contextvars.ContextVar("message", default="")

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.message.set(str(record.exc_info[1]).strip().split("\n")[0])


class _BoundedCache(dict[str, Any]):
    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        while len(self) > MAX_RESULTS:
            self.pop(next(iter(self)), None)


def timestamp_or_null(
    times: Any, convert: Callable[[Any], Any] = fakesnow_arrow.timestamp_to_sf_struct
) -> Any:
    """Convert a column of timestamps; fakesnow alone turns NULL into 1970."""
    parts = convert(times)
    nulls = pyarrow.array(times.is_null().to_pylist())
    fields = list(parts.type)
    return pyarrow.StructArray.from_arrays(
        [parts.field(field.name) for field in fields], fields=fields, mask=nulls
    )


# --- fake Cortex functions -----------------------------------------------------------------

GOOD = re.compile(r"\b(thank\w*|glad|great|perfect|happy|helpful|danke?|gern\w*|prima)\b", re.I)
BAD = re.compile(r"\b(wrong|problem|terrible|unacceptable|sorry|fault|leider|ärger\w*)\b", re.I)


def sentiment(text: str) -> str:
    """Return what AI_SENTIMENT would, but from a list of words."""
    good, bad = bool(GOOD.search(text)), bool(BAD.search(text))
    word = {(True, True): "mixed", (True, False): "positive", (False, True): "negative"}
    overall = {"name": "overall", "sentiment": word.get((good, bad), "neutral")}
    return json.dumps({"categories": [overall], "note": "by a word list, not by Cortex"})


def summary(texts: list[str]) -> str:
    """Return the first words in place of what AI_SUMMARIZE_AGG would, and say so."""
    return f"(Not by Cortex: the first words.) {' '.join(texts)[:200]}"


def add_ai_functions(shared: FakeSnow) -> None:
    """Define the functions for every session."""
    database = shared.duck_conn
    database.create_function("ai_sentiment", sentiment, ["VARCHAR"], "VARCHAR")
    database.create_function("ai_first_words", summary, ["VARCHAR[]"], "VARCHAR")
    shared.connect(DATABASE, SCHEMA)
    for create in (
        "CREATE OR REPLACE MACRO LOCAL_DB.main.ai_summarize_agg(texts)",
        "CREATE OR REPLACE MACRO LOCAL_DB.APP.ai_summarize_agg(texts)",
    ):
        database.execute(create + " AS ai_first_words(list(texts))")


def main() -> None:
    """Serve until standard input is closed or a signal arrives."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    warnings.filterwarnings("ignore", module="fakesnow")
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    fakesnow_server.logger.handlers = [_LastError()]
    server = Server(port, folder)

    def stop_with_stdin() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_with_stdin, daemon=True).start()
    try:
        uvicorn.run(
            server.app,
            host="127.0.0.1",
            port=port,
            log_level="error",
            timeout_graceful_shutdown=1,
        )
    finally:
        server.calls.stop()


if __name__ == "__main__":
    main()
