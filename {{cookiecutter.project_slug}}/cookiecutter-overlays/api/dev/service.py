"""The reference service: the jobs of jobs.py behind HTTP, for development and tests.

It listens on this machine only, and shows what a service of your own could look like; openapi.json
describes it. Operations are kept in a SQLite file and each job runs in a process of its own, so
both survive a restart of the service.

    PROGRESS_API_TOKEN=secret SERVICE_PORT=8600 uv run python -m dev.service
"""

import hashlib
import json
import os
import re
import secrets
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dev.local_jobs import runner
from dev.local_jobs.store import OperationStore
from progress.contract import BackendRejected, BackendUnavailable
from progress.operation import Operation, Options, Query, Status
from progress.reporter import MAX_FILE
from progress.settings import ROOT

DESCRIPTION = Path(__file__).with_name("openapi.json")
MAX_BODY = 100_000
"""Bytes of a start."""
MAX_LINES = 1_000_000
MAX_NAME = 500
"""Characters of the name of a file."""
MAX_NUMBER = 10**9
_LENGTHS = {"job": (1, 200), "subject": (0, 2000), "owner": (0, 320), "retry_of": (0, 64)}
"""The texts of a start, each with its minimum and maximum length."""
_OPTIONS: dict[str, type | tuple[type, ...]] = {
    "parameters": dict,
    "time_limit": (int, float),
    "retries": int,
    "retry_delay": (int, float),
    "max_running": int,
    "upload": str,
}
"""The members of `options` of a start."""


def make_app(
    store: OperationStore, token: str, launch: Callable[[Path], None] = runner.launch
) -> Starlette:
    """Return the service.

    Args:
        store: Where operations are kept.
        token: What a caller must send as `Authorization: Bearer ...`.
        launch: Starts a runner for the jobs of new operations.
    """

    async def start(request: Request) -> Response:
        key = request.headers.get("Idempotency-Key", "")
        _check_id("Idempotency-Key", key)
        values, options = await _start_values(request)

        def insert() -> Operation:
            if store.insert(key, **values, options=options):
                launch(store.path)
            return store.read([key])[key]

        # There is nothing new to read in the first second.
        headers = {"Location": f"/operations/{key}", "Retry-After": "1"}
        return _answer(await run_in_threadpool(insert), 202, headers)

    def show(request: Request) -> Response:
        operation = _requested(request)
        runner.recover(store, [operation])
        tag = _tag(operation)
        known = request.headers.get("If-None-Match", "").split(",")
        if tag in [part.strip().removeprefix("W/") for part in known]:
            return Response(status_code=304, headers={"ETag": tag})
        return _answer(operation, 200)

    def cancel(request: Request) -> Response:
        store.request_cancel(_requested(request).operation_id)
        return _answer(_requested(request), 202)

    def force_stop(request: Request) -> Response:
        store.request_force_stop(_requested(request).operation_id)
        return _answer(_requested(request), 202)

    def read_log(request: Request) -> Response:
        limit = _limit(request, 1000, MAX_LINES)
        log = store.files.log(_requested(request).operation_id).read(limit)
        lines = [{"at": line.at.isoformat(), "text": line.text} for line in log.lines]
        return JSONResponse({"lines": lines, "dropped": log.dropped})

    async def file(request: Request) -> Response:
        operation_id, name = request.path_params["operation_id"], _file_name(request)
        if request.method == "PUT":
            _check_id("The id", operation_id)
            content = await _content(request, MAX_FILE)
            await run_in_threadpool(store.files.save, operation_id, name, content)
            return Response(status_code=204)
        try:
            content = await run_in_threadpool(store.files.read, operation_id, name)
        except BackendRejected as missing:
            raise HTTPException(404, str(missing)) from None
        # No browser may take it for a page.
        headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
        return Response(content, 200, headers, "application/octet-stream")

    def recent(request: Request) -> Response:
        operations = store.recent(_query(request))
        runner.recover(store, operations)
        # Without results, tracebacks and steps: read a single operation for these.
        return JSONResponse({"operations": [_body(operation) for operation in operations]})

    def counts(request: Request) -> Response:
        return JSONResponse(store.counts(_query(request)))

    async def operations(request: Request) -> Response:
        # One route for both methods, so that a 405 names both.
        if request.method == "POST":
            return await start(request)
        return await run_in_threadpool(recent, request)

    def describe(request: Request) -> Response:
        return Response(DESCRIPTION.read_bytes(), media_type="application/json")

    def _requested(request: Request) -> Operation:
        operation_id = request.path_params["operation_id"]
        operation = store.read([operation_id]).get(operation_id)
        if operation is None:
            raise HTTPException(404, "There is no operation with this id.")
        return operation

    async def check_token(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        authorization = request.headers.get("Authorization", "").encode()
        if secrets.compare_digest(authorization, f"Bearer {token}".encode()):
            return await call_next(request)
        return _problem(401, "Send Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})

    return Starlette(
        routes=[
            Route("/operations", operations, methods=["GET", "POST"]),
            Route("/operations/{operation_id}", show, methods=["GET"]),
            Route("/operations/{operation_id}/cancel", cancel, methods=["POST"]),
            Route("/operations/{operation_id}/force-stop", force_stop, methods=["POST"]),
            Route("/operations/{operation_id}/log", read_log, methods=["GET"]),
            Route("/operations/{operation_id}/file", file, methods=["GET", "PUT"]),
            Route("/counts", counts, methods=["GET"]),
            Route("/openapi.json", describe, methods=["GET"]),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=check_token)],
        exception_handlers={
            HTTPException: _refused,
            BackendRejected: _rejected,
            BackendUnavailable: _unavailable,
        },
    )


def _check_id(what: str, operation_id: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", operation_id):
        raise HTTPException(400, f"{what} must be 1 to 64 of A-Z, a-z, 0-9, _ and -.")


async def _content(request: Request, most: int) -> bytes:
    """Return the body, of which no more is received than is allowed."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            raise HTTPException(413, f"Send at most {most} bytes.")
    return bytes(content)


async def _start_values(request: Request) -> tuple[dict[str, str], Options]:
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "Send application/json.")
    content = await _content(request, MAX_BODY)
    try:
        body = json.loads(content.decode(), parse_constant=_reject_constant)
        json.dumps(body, ensure_ascii=False).encode()  # fails for a lone surrogate
    except (ValueError, RecursionError):
        raise HTTPException(400, "The body is not JSON, or not Unicode.") from None
    if not isinstance(body, dict) or body.keys() - _LENGTHS - {"options"}:
        known = ", ".join(_LENGTHS)
        raise HTTPException(400, f"Send an object with only {known} and options.")
    values = {"owner": "", "retry_of": ""} | body
    options = _options(values.pop("options", {}))
    for name, (minimum, maximum) in _LENGTHS.items():
        value = values.get(name)
        if not isinstance(value, str) or not minimum <= len(value) <= maximum:
            raise HTTPException(400, f"{name} must be text of {minimum} to {maximum} characters.")
    return values, options


def _options(value: Any) -> Options:
    if not isinstance(value, dict) or value.keys() - _OPTIONS:
        raise HTTPException(400, f"options must be an object with only {', '.join(_OPTIONS)}.")
    for name, part in value.items():
        if isinstance(part, float) and part.is_integer():
            value[name] = part = int(part)  # 2.0 is an integer in JSON
        if type(part) is bool or not isinstance(part, _OPTIONS[name]):
            raise HTTPException(400, f"options: {name} has the wrong type.")
        if isinstance(part, int | float) and not 0 <= part <= MAX_NUMBER:
            raise HTTPException(400, f"options: {name} must be a number from 0 to {MAX_NUMBER}.")
    options = Options(**value)
    try:
        options.text()
    except (ValueError, RecursionError):
        raise HTTPException(400, "options: parameters cannot be stored as JSON.") from None
    return options


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _file_name(request: Request) -> str:
    name = request.query_params.get("name", "")
    if not 1 <= len(name) <= MAX_NAME:
        raise HTTPException(400, f"name must be text of 1 to {MAX_NAME} characters.")
    return name


def _limit(request: Request, default: int, most: int) -> int:
    limit = request.query_params.get("limit", str(default))
    if not (re.fullmatch(r"[0-9]{1,9}", limit) and 1 <= int(limit) <= most):
        raise HTTPException(400, f"limit must be a number from 1 to {most}.")
    return int(limit)


def _query(request: Request) -> Query:
    parameters = request.query_params
    try:
        statuses = frozenset(Status(word) for word in parameters.getlist("status"))
    except ValueError:
        raise HTTPException(400, f"status must be one of {', '.join(Status)}.") from None
    before = _time(request, "before")
    return Query(
        owner=parameters.get("owner"),
        job=parameters.get("job"),
        subject=parameters.get("subject"),
        statuses=statuses,
        since=_time(request, "since"),
        before=None if before is None else (before, parameters.get("before_id", "")),
        limit=_limit(request, 100, 1000),
    )


def _time(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise HTTPException(400, f"{name} must be a time with a time zone, like 2026-01-02T03:04:05Z.")


def _body(operation: Operation) -> dict[str, Any]:
    row = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(operation).items()
    }
    del row["problem"]
    return row


def _tag(operation: Operation) -> str:
    row = _body(operation)
    del row["read_at"]
    return f'"{hashlib.sha256(json.dumps(row).encode()).hexdigest()[:32]}"'


def _answer(operation: Operation, status: int, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(_body(operation), status, {"ETag": _tag(operation), **(headers or {})})


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, error.detail, dict(error.headers or {}))


async def _rejected(request: Request, error: Exception) -> Response:
    return _problem(422, str(error))


async def _unavailable(request: Request, error: Exception) -> Response:
    return _problem(503, str(error), {"Retry-After": "1"})


def main() -> int:
    """Print the address and serve until a signal, or until the process that started it ends."""
    token = os.environ.get("PROGRESS_API_TOKEN", "")
    port = os.environ.get("SERVICE_PORT", "8600")
    if not token or not (port.isdecimal() and int(port) < 65536):
        print("Set PROGRESS_API_TOKEN, and SERVICE_PORT to a port.", file=sys.stderr)
        return 2
    folder = Path(os.environ.get("SERVICE_FOLDER") or ROOT / ".local")
    # asyncio sets TCP_NODELAY only if the protocol is given: without it answers take 40 ms more.
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with closing(OperationStore(folder / "service.db")) as store, tcp as listener:
        if sys.platform != "win32":  # where it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(port)))
        listener.listen(128)
        config = uvicorn.Config(make_app(store, token), log_level="warning", access_log=False)
        server = uvicorn.Server(config)

        def end_with_parent() -> None:
            sys.stdin.buffer.read()
            server.should_exit = True

        if not sys.stdin.isatty() and os.environ.get("SERVICE_ENDS_WITH_STDIN"):
            threading.Thread(target=end_with_parent, name="stdin", daemon=True).start()
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
