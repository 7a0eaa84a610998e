"""The stand-in for Snowflake: fakesnow's server, and what a progress backend needs beyond it.

`python -m dev.snowflake_server PORT FOLDER` serves on 127.0.0.1 and keeps its tables in FOLDER. It
ends when its standard input does, so that it never outlives who started it.

Beyond fakesnow (SQL on DuckDB behind Snowflake's protocol) it has
- CALL of the procedures in `PROCEDURES`, each in a process of its own with a Snowpark session:
  waited for or asynchronous, with query status, SYSTEM$CANCEL_QUERY and the message of a failure;
- a login that knows one user;
- AI_SENTIMENT and AI_SUMMARIZE_AGG, answered by a word list and by the first words: they show that
  a job works, and nothing of what Cortex would say;
- an answer at once to what it cannot do. fakesnow answers HTTP 500, which the connector tries
  again for minutes.

What it is not: there are no roles, grants, warehouses, time zones of sessions, limits of waiting
statements or sandbox for procedures; every login may do everything. A procedure sees the project's
files and packages as they are on this machine. Calls end with the server; Snowflake's do not.
What passes here is to be tried on an account before it is trusted: `make verify-account`.
"""

import asyncio
import contextvars
import gzip
import importlib
import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import re
import signal
import sys
import threading
import uuid
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import forkserver
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

# A module by name, because the package has a function of the same name.
fakesnow_server: Any = importlib.import_module("fakesnow.server")
fakesnow_arrow: Any = importlib.import_module("fakesnow.arrow")
pyarrow: Any = importlib.import_module("pyarrow")  # it has no types

USER = "stand_in"
PASSWORD = "stand_in"
ACCOUNT = "stand_in"
DATABASE = "STAND_IN"
SCHEMA = "APP"
PROCEDURES = {"RUN_OPERATION": "run_operation"}
"""The procedures that can be called, and their functions in procedures.py."""
KEPT_RESULTS = 50
"""Results that fakesnow keeps for a second look; it would keep them all."""

SYNTAX_ERROR = "001003"
CALL = re.compile(r"\s*call\s+(?:[\w\"]+\.)*\"?(\w+)\"?\s*\(([?,\s]*)\)\s*;?\s*", re.IGNORECASE)
CANCEL = re.compile(r"\s*select\s+system\$cancel_query\s*\(\s*\?\s*\)\s*;?\s*", re.IGNORECASE)


def connection_options(port: int) -> dict[str, Any]:
    """Return what `snowflake.connector.connect` needs to reach the server on this machine."""
    return {
        "account": ACCOUNT,
        "user": USER,
        "password": PASSWORD,
        "host": "127.0.0.1",
        "port": port,
        "protocol": "http",
        "database": DATABASE,
        "schema": SCHEMA,
        # Else each new process asks for 0.4 s in which cloud it runs.
        "platform_detection_timeout_seconds": 0.0,
    }


# --- procedures ----------------------------------------------------------------------------


@dataclass
class Query:
    """A call of a procedure, by the words of Snowflake's query status."""

    query_id: str
    status: str = "RUNNING"
    answer: str = ""
    process: Any = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return self.status.startswith("FAILED")


class Calls:
    """The calls of procedures, kept in a file so that a restart knows how they ended."""

    def __init__(self, file: Path, port: int) -> None:
        self._file = file
        self._port = port
        self._queries: dict[str, Query] = {}
        self._context = multiprocessing.get_context("forkserver")
        # A process that has the imports done starts in some milliseconds instead of a second.
        preloaded = ["snowflake.snowpark", "procedures", "progress.backend.store"]
        self._context.set_forkserver_preload(preloaded)
        forkserver.ensure_running()
        for line in file.read_text("utf-8").splitlines() if file.exists() else []:
            query = Query(*json.loads(line))
            if query.status == "RUNNING":
                query.status = "FAILED_WITH_ERROR"
                query.answer = "The stand-in for Snowflake was stopped."
            query.done.set()
            self._queries[query.query_id] = query

    def get(self, query_id: str) -> Query | None:
        """Return a call, or None if there was none with this id."""
        return self._queries.get(query_id)

    def start(self, function: str, arguments: list[Any]) -> Query:
        """Start a procedure in a process of its own."""
        query = Query(str(uuid.uuid4()))
        self._keep(query)
        here, there = self._context.Pipe(duplex=False)
        query.process = self._context.Process(
            target=run_procedure, args=(function, arguments, self._port, there), daemon=True
        )
        query.process.start()
        there.close()
        threading.Thread(target=self._watch, args=(query, here), daemon=True).start()
        return query

    def cancel(self, query_id: str) -> str:
        """End a call as Snowflake does, and return what Snowflake would say."""
        query = self._queries.get(query_id)
        if query is None or query.done.is_set():
            return "Identified SQL statement is not currently executing."
        self._ended(query, "FAILED_WITH_ERROR", "SQL execution canceled")
        query.process.kill()
        return f"query [{query_id}] terminated."

    def stop(self) -> None:
        """End all calls."""
        for query in self._queries.values():
            if query.process is not None and query.process.is_alive():
                query.process.kill()

    def _watch(self, query: Query, pipe: multiprocessing.connection.Connection) -> None:
        try:
            good, answer = pipe.recv()
        except EOFError:
            good, answer = False, "The process of the procedure was killed."
        query.process.join()
        self._ended(query, "SUCCESS" if good else "FAILED_WITH_ERROR", answer)

    def _ended(self, query: Query, status: str, answer: str) -> None:
        if not query.done.is_set():
            query.status, query.answer = status, answer
            query.done.set()
            self._keep(query)

    def _keep(self, query: Query) -> None:
        self._queries[query.query_id] = query
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([query.query_id, query.status, query.answer]) + "\n")


def run_procedure(
    function: str, arguments: list[Any], port: int, pipe: multiprocessing.connection.Connection
) -> None:
    """Run a procedure with a session; this is the process of one call."""
    # Ctrl-C in the terminal is for the server, which ends its calls.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from snowflake import connector
    from snowflake.snowpark import Session

    import procedures

    try:
        connection = connector.connect(
            **connection_options(port), network_timeout=5, paramstyle="qmark"
        )
        session = Session.builder.configs({"connection": connection}).create()
        pipe.send((True, str(getattr(procedures, function)(session, *arguments))))
    except BaseException as error:
        pipe.send((False, f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


# --- requests ------------------------------------------------------------------------------


class _Reason(logging.Handler):
    """Keeps why fakesnow failed: it logs that, and answers without it."""

    last: contextvars.ContextVar[str] = contextvars.ContextVar("last", default="")

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.last.set(str(record.exc_info[1]).strip().split("\n")[0])


def refusal(code: str, message: str, query_id: str = "", state: str = "0A000") -> JSONResponse:
    """Return the answer of Snowflake to a statement that fails; the connector gives up at once."""
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


def timestamp_or_none(
    times: Any, convert: Callable[[Any], Any] = fakesnow_arrow.timestamp_to_sf_struct
) -> Any:
    """Convert a column of timestamps; fakesnow's own makes 1970 of those that are NULL."""
    parts = convert(times)
    nulls = pyarrow.array(times.is_null().to_pylist())
    fields = list(parts.type)
    return pyarrow.StructArray.from_arrays(
        [parts.field(field.name) for field in fields], fields=fields, mask=nulls
    )


def saying(name: str, value: str) -> dict[str, Any]:
    """Return a statement whose result is one row with one text."""
    bindings = {"1": {"type": "TEXT", "value": value}}
    return {"sqlText": f'SELECT ? AS "{name}"', "bindings": bindings}


class Server:
    """The requests that fakesnow does not answer, or not as Snowflake does."""

    def __init__(self, port: int, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.calls = Calls(folder / "calls.jsonl", port)
        # DuckDB runs one statement at a time for each session.
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        fakesnow_arrow.timestamp_to_sf_struct = timestamp_or_none
        shared = FakeSnow(db_path=folder)
        shared.results_cache = _Bounded()
        fakesnow_server.shared_fs = shared
        add_ai_functions(shared)

    @property
    def app(self) -> Starlette:
        """The server's routes: fakesnow's, but for three."""
        return Starlette(
            routes=[
                Route("/session/v1/login-request", self.login, methods=["POST"]),
                Route("/queries/v1/query-request", self.query, methods=["POST"]),
                Route("/monitoring/queries/{query_id}", self.monitor),
                *fakesnow_server.routes,
            ]
        )

    async def login(self, request: Request) -> Response:
        """Let the one user in."""
        given = (await body_of(request))["data"]
        if given.get("ACCOUNT_NAME", "").lower() != ACCOUNT:
            return Response("No such account.", status_code=404)
        if (given.get("LOGIN_NAME"), given.get("PASSWORD")) != (USER, PASSWORD):
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
            (query_id,) = _bindings(body)
            body |= saying("SYSTEM$CANCEL_QUERY", self.calls.cancel(query_id))
        elif match := CALL.fullmatch(sql):
            function = PROCEDURES.get(match[1].upper())
            if function is None:
                return refusal("002140", f"Unknown function {match[1].upper()}.")
            call = await run_in_threadpool(self.calls.start, function, _bindings(body))
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
                return refusal("100357", call.answer, call.query_id, "P0000")
            body |= saying(match[1].upper(), call.answer)
        async with self._turns[token]:
            _Reason.last.set("")
            answer: Response = await fakesnow_server.query_request(with_body(request, body))
        shown = " ".join(sql.split())[:120]
        if answer.status_code >= 500:
            reason = _Reason.last.get() or "no reason given"
            return refusal("000002", f"The stand-in for Snowflake cannot do {shown!r}: {reason}")
        said = json.loads(bytes(answer.body))
        if said.get("code") == SYNTAX_ERROR:
            why = " ".join(said["message"].split())
            return refusal(SYNTAX_ERROR, f"The stand-in for Snowflake cannot read {shown!r}: {why}")
        return answer

    async def monitor(self, request: Request) -> Response:
        """Say how a query is doing."""
        if fakesnow_server.to_token(request) not in fakesnow_server.sessions:
            return refusal("390104", "The session is unknown: log in again.")
        call = self.calls.get(request.path_params["query_id"])
        found = []
        if call is not None:
            shown = {"errorCode": "100357", "errorMessage": call.answer} if call.failed else {}
            found = [{"status": call.status, **shown}]
        return JSONResponse({"data": {"queries": found}, "success": True})


class _Bounded(dict[str, Any]):
    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        while len(self) > KEPT_RESULTS:
            self.pop(next(iter(self)), None)


def _bindings(body: Mapping[str, Any]) -> list[Any]:
    bindings = body.get("bindings") or {}
    return [from_binding(bindings[str(number)]) for number in range(1, len(bindings) + 1)]


# --- substitutes for Cortex ----------------------------------------------------------------

GOOD = re.compile(r"\b(thank\w*|glad|great|perfect|happy|helpful|danke?|gern\w*|prima)\b", re.I)
BAD = re.compile(r"\b(wrong|problem|terrible|unacceptable|sorry|fault|leider|ärger\w*)\b", re.I)


def sentiment(text: str) -> str:
    """Stand in for AI_SENTIMENT: count some words, in the shape of Cortex's answer."""
    good, bad = bool(GOOD.search(text)), bool(BAD.search(text))
    word = {(True, True): "mixed", (True, False): "positive", (False, True): "negative"}
    overall = {"name": "overall", "sentiment": word.get((good, bad), "neutral")}
    return json.dumps({"categories": [overall], "note": "by a word list, not by Cortex"})


def summary(texts: list[str]) -> str:
    """Stand in for AI_SUMMARIZE_AGG: the first words, labelled as what they are."""
    return f"(Not by Cortex: the first words.) {' '.join(texts)[:200]}"


def add_ai_functions(shared: FakeSnow) -> None:
    """Make the functions known to every session."""
    database = shared.duck_conn
    database.create_function("ai_sentiment", sentiment, ["VARCHAR"], "VARCHAR")
    database.create_function("ai_first_words", summary, ["VARCHAR[]"], "VARCHAR")
    shared.connect(DATABASE, SCHEMA)
    for schema in ("main", SCHEMA):
        database.execute(
            f"CREATE OR REPLACE MACRO {DATABASE}.{schema}.ai_summarize_agg(texts) AS"
            " ai_first_words(list(texts))"
        )


def main() -> None:
    """Serve until standard input ends or a signal comes."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    warnings.filterwarnings("ignore", module="fakesnow")
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    fakesnow_server.logger.handlers = [_Reason()]
    server = Server(port, folder)

    def end_with_input() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_input, daemon=True).start()
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
