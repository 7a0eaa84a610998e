"""Your mapping in progress/backend/service.py, and what this backend promises with any mapping.

Your mapping is tested with the answers of your service that `make record ID=...` keeps in
tests/recorded/. All other tests use the reference service.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dev import record
from progress.backend.connection import ProgressConnection
from progress.backend.mapping import Service
from progress.backend.reference import SERVICE
from progress.backend.service import SERVICE as YOURS
from progress.contract import BackendError, BackendRejected, BackendUnavailable
from progress.operation import Operation, Options, Status, new_operation_id
from progress.rows import operation_from_row

TOKEN = "the-secret-token"
ID = new_operation_id()
RUN = {
    "operation_id": ID,
    "job": "analyze",
    "subject": "a.txt",
    "owner": "me@example.com",
    "status": "in_progress",
    "created_at": "2026-01-01T10:00:00Z",
    "current_step": 3,
    "total_steps": 12,
}


def operation(run: dict[str, Any], service: Service = SERVICE) -> Operation:
    return operation_from_row({**service.row(run), "operation_id": ID})


class Server(ThreadingHTTPServer):
    """Answers every request with one status, body and headers, and keeps the requests."""

    daemon_threads = True

    def __init__(self, body: Any = None, status: int = 200, **headers: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.status, self.headers = status, headers
        self.content = b"" if body is None else json.dumps(body).encode()
        self.requests: list[dict[str, str]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(dict(self.headers.items()))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.content)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the output of the tests short."""


@contextmanager
def serve(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def connect(url: str) -> Iterator[ProgressConnection]:
    connection = ProgressConnection("progress", service=SERVICE, url=url, token=TOKEN)
    yield connection
    connection.reset()


def test_your_mapping_is_valid() -> None:
    YOURS.check()


def test_recorded_answers_are_read_as_before() -> None:
    for path in sorted(record.RECORDED.glob("*.json")):
        recorded = json.loads(path.read_text("utf-8"))
        assert record.read(YOURS, recorded["body"]) == recorded["operation"], path.name


@pytest.mark.parametrize(("word", "status"), SERVICE.statuses.items())
def test_each_status_word_has_its_status(word: str, status: Status) -> None:
    read = operation(RUN | {"status": word})
    assert (read.status, read.problem) == (status, None)


def test_an_unknown_status_word_is_a_problem_and_not_a_failure() -> None:
    read = operation(RUN | {"status": "hibernating"})
    assert read.status is Status.IN_PROGRESS
    assert read.problem is not None
    assert "hibernating" in read.problem


def test_percent_takes_the_place_of_steps() -> None:
    fields = {name: SERVICE.fields[name] for name in ("operation_id", "status")}
    service = replace(SERVICE, fields=fields | {"percent": "progress.percent"})
    service.check()
    read = operation(RUN | {"progress": {"percent": 25.0}}, service)
    assert (read.current_step, read.total_steps, read.progress) == (25, 100, 0.25)
    assert operation(RUN, service).progress is None, "no percent yet: the total is unknown"


def test_parameters_that_your_service_would_not_get_are_refused() -> None:
    service = replace(SERVICE, start=replace(SERVICE.start, body={"job": "{job}"}))
    service.check_options(Options(time_limit=60))
    for options in (Options({"rows": 3}), Options(upload=ID)):
        SERVICE.check_options(options)
        with pytest.raises(BackendRejected, match="start would lose the"):
            service.check_options(options)


@pytest.mark.parametrize("url", ["http://elsewhere.example/a", "javascript:alert(1)", None])
def test_a_link_to_a_file_is_https_or_on_the_origin_of_the_service(url: str | None) -> None:
    safe = ["https://bucket.example.com/a", "/files/a"]
    files = [{"name": "a", "url": address} for address in [*safe, url]]
    run = RUN | {"result": {"files": files}}
    with serve(Server(run)) as service, connect(service.url) as connection:
        result = connection.read([ID])[ID].result or {}
    links = [file.get("url") for file in result["files"]]
    assert links == [safe[0], f"{service.url}/files/a", None]


def test_the_token_goes_to_the_configured_service_only() -> None:
    with (
        serve(Server()) as other,
        serve(Server(status=307, Location=other.url)) as service,
        connect(service.url) as connection,
    ):
        with pytest.raises(BackendError):
            connection.read([ID])
        with pytest.raises(BackendError):
            connection.start(ID, "analyze", "a.txt", "me@example.com")
    assert len(service.requests) == 2
    assert all(request["Authorization"] == f"Bearer {TOKEN}" for request in service.requests)
    assert other.requests == []


def test_an_unreachable_service_is_not_a_failed_operation() -> None:
    with serve(Server()) as stopped:
        pass
    with connect(stopped.url) as connection, pytest.raises(BackendUnavailable):
        connection.read([ID])


def test_a_rejected_token_is_reported_but_not_shown() -> None:
    with (
        serve(Server({"title": "Unauthorized"}, 401)) as service,
        connect(service.url) as connection,
        pytest.raises(BackendRejected, match=r"401 Unauthorized.*credentials") as rejected,
    ):
        connection.read([ID])
    assert TOKEN not in str(rejected.value)
