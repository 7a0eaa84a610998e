"""Options, logs, files and force stop with services that have them, and with those that do not."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from progress.backend import client as http
from progress.backend import remote
from progress.backend.connection import ProgressConnection
from progress.backend.logs import read_log
from progress.backend.mapping import Call, Service
from progress.backend.profiles import prefect
from progress.backend.reference import SERVICE
from progress.contract import BackendError, BackendRejected, BackendUnavailable, PartlyUnavailable
from progress.operation import NO_OPTIONS, Options, Query, Status, new_operation_id
from tests.app.fault_server import FaultServer, Request, fault_server

TOKEN = "the-secret-token"
ID = "0123456789abcdef0123456789abcdef"
NOW = "2026-01-01T10:00:00+00:00"
STARTED = "2026-01-01T10:00:05+00:00"
PARAMETERS = {"rows": 3, "name": "→ 'x'", "nested": {"a": [None, True]}}
OPTIONS = Options(PARAMETERS, time_limit=60.0, retries=2, max_running=1, upload="f" * 32)

Connect = Callable[..., ProgressConnection]


def body(**changes: Any) -> dict[str, Any]:
    return {"operation_id": ID, "status": "in_progress", "created_at": NOW} | changes


@pytest.fixture
def service() -> Iterator[FaultServer]:
    """A service that answers every request with the operation."""
    with fault_server(lambda request: request.answer(body())) as server:
        yield server


@pytest.fixture
def connect(service: FaultServer) -> Iterator[Connect]:
    """A function that opens a connection, with changes of the mapping."""
    opened = []

    def open_one(**changes: Any) -> ProgressConnection:
        mapping = replace(SERVICE, **changes)
        opened.append(ProgressConnection("progress", service=mapping, url=service.url, token=TOKEN))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.reset()


@pytest.fixture
def api(connect: Connect) -> ProgressConnection:
    """A connection with the mapping of the reference service."""
    return connect()


def failure(call: Callable[[], object]) -> BackendError:
    with pytest.raises(BackendError) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    return caught.value


NOTHING = {"force_stop": None, "log": None, "file": None, "upload": None}


@pytest.mark.parametrize(
    ("names", "features"),
    [
        (set(), set()),
        ({"force_stop"}, {"force_stop"}),
        ({"log"}, {"logs"}),
        ({"file"}, {"files"}),
        ({"upload"}, set()),
        ({"file", "upload"}, {"files", "uploads"}),
        (set(NOTHING), {"force_stop", "logs", "files", "uploads"}),
    ],
)
def test_a_service_offers_what_its_mapping_has(
    connect: Connect, service: FaultServer, names: set[str], features: set[str]
) -> None:
    missing: dict[str, Any] = {name: None for name in NOTHING if name not in names}
    api = connect(**missing)
    assert api.features == features
    calls: dict[str, Callable[[], object]] = {
        "force_stop": lambda: api.force_stop(ID),
        "log": lambda: api.logs([ID], 1),
        "file": lambda: api.read_file(ID, "a"),
        "upload": lambda: api.save_file(ID, "a", b""),
    }
    for name in missing:
        assert f"offers no {name}" in str(failure(calls[name]))
    assert service.seen == []


# Options.

START = Call(
    method="POST",
    path="/start",
    query={"q": "{parameters}"},
    headers={"X-Upload": "{upload}"},
    body={
        "parameters": "{parameters}",
        "options": "{options}",
        "upload": "{upload}",
        "text": "p={parameters}",
        "list": ["{parameters}"],
    },
)


def test_options_are_sent_as_objects_or_as_json_text(
    connect: Connect, service: FaultServer
) -> None:
    connect(start=START).start(ID, "j", "s", "", options=OPTIONS)
    (seen,) = service.seen
    sent = json.loads(seen.content)
    assert sent["parameters"] == sent["list"][0] == PARAMETERS
    assert json.loads(sent["text"].removeprefix("p=")) == PARAMETERS
    assert sent["options"] == json.loads(OPTIONS.text())
    assert sent["upload"] == seen.headers["X-Upload"] == OPTIONS.upload
    assert json.loads(httpx2.URL(seen.path).params["q"]) == PARAMETERS


def test_a_start_without_options_is_what_it_was_before(
    connect: Connect, service: FaultServer, api: ProgressConnection
) -> None:
    connect(start=START).start(ID, "j", "s", "")
    api.start(ID, "j", "s", "")
    assert json.loads(service.seen[0].content) == {"text": "p={}", "list": [{}]}
    assert "X-Upload" not in service.seen[0].headers
    reference = {"job": "j", "subject": "s", "owner": "", "retry_of": ""}
    assert json.loads(service.seen[1].content) == reference


WITHOUT = replace(SERVICE.start, body={"job": "{job}"})


@pytest.mark.parametrize(
    ("options", "name"), [(Options({"a": 0}), "parameters"), (Options(upload=ID), "upload")]
)
def test_a_start_that_would_lose_something_is_refused(
    connect: Connect, service: FaultServer, options: Options, name: str
) -> None:
    error = failure(lambda: connect(start=WITHOUT).start(ID, "j", "s", "", options=options))
    assert isinstance(error, BackendRejected)
    assert f'would lose the {name} of this job. Send "{{{name}}}"' in str(error)
    assert service.seen == []
    placed = replace(WITHOUT, body={name: f"{{{name}}}"})
    connect(start=placed).start(ID, "j", "s", "", options=options)
    assert len(service.seen) == 1


def test_limits_of_a_job_do_not_keep_a_foreign_service_from_starting_it(
    connect: Connect, service: FaultServer
) -> None:
    options = replace(OPTIONS, parameters={}, upload="")
    connect(start=WITHOUT).start(ID, "j", "s", "", options=options)
    assert json.loads(service.seen[0].content) == {"job": "j"}


def fields(**changes: Any) -> dict[str, Any]:
    kept = {name: where for name, where in SERVICE.fields.items() if name != "options"}
    return kept | changes


def test_options_that_the_service_does_not_repeat_are_known_where_it_was_started(
    connect: Connect, service: FaultServer
) -> None:
    first, second = connect(fields=fields()), connect(fields=fields())
    service.behavior = lambda request: request.answer(
        {} if request.command == "POST" else body(current_step=1)
    )
    first.start(ID, "j", "s", "", options=OPTIONS)
    assert first.read([ID])[ID].options == OPTIONS
    assert second.read([ID])[ID].options == NO_OPTIONS


def test_a_service_may_return_only_the_parameters(connect: Connect, service: FaultServer) -> None:
    service.behavior = lambda request: request.answer(body(conf={"parameters": PARAMETERS}))
    api = connect(fields=fields(parameters="conf.parameters"))
    read = api.read([ID])[ID]
    assert (read.options, read.problem) == (Options(PARAMETERS), None)


def test_a_service_of_the_version_before_goes_on_working(
    service: FaultServer, api: ProgressConnection
) -> None:
    read = api.read([ID])[ID]
    assert (read.options, read.queue_position, read.problem) == (NO_OPTIONS, None, None)
    service.behavior = lambda request: request.answer(body(options=[1], live="x"))
    changed = api.read([ID])[ID]
    assert changed.status is Status.IN_PROGRESS
    assert changed.problem is not None


def test_lists_have_no_options_and_nothing_live(
    service: FaultServer, api: ProgressConnection
) -> None:
    run = body(owner="", options={"parameters": {"a": 1}}, live={"metrics": {"b": 2}})
    service.behavior = lambda request: request.answer({"operations": [run]})
    (row,) = api.recent(Query(""))
    assert (row.options.parameters, row.live.metrics) == ({}, {})


# Logs.

TEXT = Call(method="GET", path="/log/{operation_id}", query={"tail": "{limit}"})
PLAIN = b"one\ntwo\r\n\n\xff three\n"
TIMED = b"2026-01-01T10:00:01.123456789Z one\nno time\n2026-01-01T10:00:02-01:00 T wo\n"
NDJSON = b'{"at": "2026-01-01T10:00:01Z", "text": "one"}\n"two"\n{"at": "2026-01-01T1'
LINES = [{"at": "2026-01-01T10:00:02Z", "text": "b"}, {"at": "2026-01-01T10:00:02Z", "text": "c"}]
FIRST = {"at": "2026-01-01T10:00:01Z", "text": "a"}


@pytest.mark.parametrize(
    ("kind", "content", "texts"),
    [
        ("text/plain", PLAIN, ["one", "two", "", "� three"]),
        ("", PLAIN, ["one", "two", "", "� three"]),
        ("text/plain", TIMED, ["one", "no time", "T wo"]),
        ("application/x-ndjson", NDJSON, ["one", "two", '{"at": "2026-01-01T1']),
        ("application/jsonl; charset=utf-8", NDJSON, ["one", "two", '{"at": "2026-01-01T1']),
        ("application/json", [FIRST, *LINES], ["a", "b", "c"]),
        ("application/json", [*LINES[::-1], FIRST], ["a", "b", "c"]),
        ("application/json", {"lines": [FIRST, *LINES]}, ["a", "b", "c"]),
        ("application/vnd.x+json", {"lines": "x\ny"}, ["x", "y"]),
        ("application/json", ["x", {"message": "y"}, None], ["x", '{"message": "y"}', "None"]),
        ("application/json", [{"text": "Traceback\n  File\n"}], ["Traceback", "  File"]),
        ("application/json", [{"text": "a\0b\ud800"}], ["a�b?"]),
        ("application/json", [{"text": "x" * 5000}], ["x" * 1999 + "…"]),
        ("text/plain", f"my {TOKEN}!\n".encode(), ["my ***!"]),
        ("application/json", [{"text": TOKEN}], ["***"]),
    ],
)
def test_a_log_is_json_or_json_lines_or_text(
    service: FaultServer, connect: Connect, kind: str, content: Any, texts: list[str]
) -> None:
    service.behavior = lambda request: request.answer(content, kind=kind)
    lines = connect(log=TEXT).logs([ID], 50)[ID].lines
    assert [line.text for line in lines] == texts
    assert service.seen[-1].path == f"/log/{ID}?tail=50"
    assert service.seen[-1].headers["Authorization"] == f"Bearer {TOKEN}"


def test_a_line_without_a_time_has_that_of_the_line_before_or_of_the_start(
    service: FaultServer, connect: Connect
) -> None:
    api = connect(log=TEXT)
    service.behavior = lambda request: request.answer(body(started_at=STARTED))
    api.read([ID])
    service.behavior = lambda request: request.answer(b"zero\n" + TIMED, kind="text/plain")
    start = datetime.fromisoformat(STARTED)
    one = datetime(2026, 1, 1, 10, 0, 1, 123456, UTC)
    assert [line.at for line in api.logs([ID], 9)[ID].lines] == [
        start,
        one,
        one,
        datetime(2026, 1, 1, 11, 0, 2, tzinfo=UTC),
    ]


def test_the_latest_lines_are_returned_however_many_there_are(
    service: FaultServer, api: ProgressConnection, connect: Connect
) -> None:
    answer = {"lines": [str(number) for number in range(9)], "dropped": 7}
    service.behavior = lambda request: request.answer(answer)
    log = api.logs([ID], 2)[ID]
    assert ([line.text for line in log.lines], log.dropped) == (["7", "8"], 7)
    service.behavior = lambda request: request.answer(answer | {"dropped": True})
    assert api.logs([ID], 2)[ID].is_part
    other = connect(log_lines="data.rows", log_at="t", log_text="m", log_dropped="gone")
    row = {"t": NOW, "m": "x"}
    service.behavior = lambda request: request.answer({"data": {"rows": [row]}, "gone": "many"})
    (line,) = other.logs([ID], 2)[ID].lines
    assert (line.at.isoformat(), line.text) == (NOW, "x")


@pytest.mark.parametrize(("count", "is_part"), [(199, False), (200, True)])
def test_prefect_returns_at_most_200_lines_and_the_log_says_so(count: int, is_part: bool) -> None:
    rows = [{"timestamp": NOW, "message": "x"}] * count
    log = read_log(prefect("a"), rows, 1_000, datetime.now(UTC))
    assert (len(log.lines), log.is_part) == (count, is_part)


@pytest.mark.parametrize(
    "content", [b"{", {}, {"lines": 3}, 3, b"[" * 100_000, b'{"lines": [' + b" " * 20_000 + b"]}"]
)
def test_a_log_that_cannot_be_read_is_one_line(
    service: FaultServer,
    api: ProgressConnection,
    monkeypatch: pytest.MonkeyPatch,
    content: Any,
) -> None:
    monkeypatch.setattr(remote, "MAX_LOG", 200_000 if content == b"[" * 100_000 else 10_000)
    service.behavior = lambda request: request.answer(content)
    error = failure(lambda: api.logs([ID], 5))
    assert isinstance(error, BackendUnavailable)
    assert "a log that can be read" in str(error) or "more than 10,000 bytes" in str(error)


def test_logs_that_are_not_there_and_those_that_fail(
    service: FaultServer, api: ProgressConnection
) -> None:
    def answer(request: Request) -> None:
        if "/good/" in request.path:
            request.answer({"lines": ["x"]})
        elif "/empty/" in request.path:
            request.answer({"lines": []})
        else:
            request.answer({"title": "No"}, 404 if "/unknown/" in request.path else 403)

    service.behavior = answer
    assert set(api.logs(["good", "empty", "unknown", "no/id", "good"], 5)) == {"good"}
    with pytest.raises(PartlyUnavailable) as caught:
        api.logs(["good", "bad"], 5)
    assert set(caught.value.found) == {"good"}
    assert isinstance(caught.value.failed["bad"], BackendRejected)


# Files.

CONTENT = bytes(range(256)) * 500
ODD_NAME = "ä/../b &?#%2e.csv"


def test_a_file_arrives_as_it_is(service: FaultServer, api: ProgressConnection) -> None:
    service.behavior = lambda request: request.answer(CONTENT, kind="text/html; charset=latin-1")
    assert api.read_file(ID, ODD_NAME) == CONTENT
    service.behavior = lambda request: request.answer(b"", 204)
    api.save_file(ID, ODD_NAME, CONTENT)
    read, saved = service.seen
    assert (read.method, saved.method) == ("GET", "PUT")
    assert read.path == saved.path
    assert read.path.partition("?")[0] == f"/operations/{ID}/file"
    assert httpx2.URL(read.path).params["name"] == ODD_NAME
    assert saved.content == CONTENT
    assert saved.headers["Content-Type"] == "application/octet-stream"
    assert read.headers["Accept"] == "*/*"
    assert read.headers["Authorization"] == saved.headers["Authorization"] == f"Bearer {TOKEN}"


def test_the_mapping_decides_about_headers_of_a_file(
    service: FaultServer, connect: Connect
) -> None:
    upload = replace(SERVICE.upload, headers={"content-type": "text/csv"})  # type: ignore[type-var]
    connect(upload=upload).save_file(ID, "a.csv", b"a")
    assert service.seen[0].headers["content-type"] == "text/csv"
    assert "application/octet-stream" not in service.seen[0].headers.values()


@pytest.mark.parametrize("name", ["..", "a/../b", ""])
def test_a_name_cannot_change_a_path(service: FaultServer, connect: Connect, name: str) -> None:
    call = Call(method="GET", path="/files/{operation_id}/{name}")
    api = connect(file=call)
    assert "cannot be part of a path" in str(failure(lambda: api.read_file(ID, name)))
    assert service.seen == []
    service.behavior = lambda request: request.answer(b"x")
    assert api.read_file(ID, "a/b?.csv") == b"x"
    assert service.seen[0].path == f"/files/{ID}/a%2Fb%3F.csv"


@pytest.mark.parametrize("status", [302, 307])
def test_no_file_is_read_from_another_origin(
    service: FaultServer, api: ProgressConnection, status: int
) -> None:
    with fault_server(lambda request: request.answer(b"other")) as other:
        service.behavior = lambda request: request.answer(status=status, Location=other.url)
        assert "credentials must not" in str(failure(lambda: api.read_file(ID, "a")))
        with pytest.raises(BackendRejected, match="was redirected"):
            api.save_file(ID, "a", b"secret content")
        assert other.seen == []
    service.behavior = lambda request: (
        request.answer(b"moved")
        if request.path == "/moved"
        else request.answer(status=status, Location="/moved")
    )
    assert api.read_file(ID, "a") == b"moved"


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_too_large_is_not_read(
    service: FaultServer, api: ProgressConnection, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(remote, "MAX_FILE", 100_000)
    large, bomb = b"x" * 100_001, gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    service.behavior = lambda request: (
        request.answer(bomb, Content_Encoding="gzip") if packed else request.answer(large)
    )
    assert "more than 100,000 bytes" in str(failure(lambda: api.read_file(ID, "a")))
    assert service.seen[0].headers["Accept-Encoding"] == "identity"


def test_a_file_that_is_not_there_has_the_reason_of_the_service(
    service: FaultServer, api: ProgressConnection
) -> None:
    answer = {"title": "Not Found", "detail": f"No file with {TOKEN}"}
    service.behavior = lambda request: request.answer(answer, 404)
    error = failure(lambda: api.read_file(ID, "a"))
    assert isinstance(error, BackendRejected)
    assert str(error).endswith("404 Not Found: Not Found: No file with ***")


def test_a_file_is_requested_again_after_an_error_and_sent_again_only_if_repeatable(
    service: FaultServer, connect: Connect
) -> None:
    failing = {"left": 2}

    def answer(request: Request) -> None:
        failing["left"] -= 1
        request.answer(b"x", 503 if failing["left"] >= 0 else 200)

    service.behavior = answer
    assert connect().read_file(ID, "a") == b"x"
    failing["left"] = 1
    upload = replace(SERVICE.upload, repeatable=False)  # type: ignore[type-var]
    failure(lambda: connect(upload=upload).save_file(ID, "a", b"x"))
    assert [seen.method for seen in service.seen] == ["GET", "GET", "GET", "PUT"]


def test_files_have_a_deadline_and_slots_of_their_own(
    service: FaultServer, api: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "FILE_DEADLINE", 4.0)  # before a request is repeated

    def answer(request: Request) -> None:
        if "/file" in request.path:
            service.ended.wait(30)
        request.answer(body())

    service.behavior = answer
    with ThreadPoolExecutor(6) as threads:
        calls: list[Future[Any]] = [
            threads.submit(api.read_file, ID, "a") for _ in range(http.MAX_FILES)
        ]
        deadline = time.monotonic() + 30
        while service.active < http.MAX_FILES:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert api.read([ID]).keys() == {ID}, "reads do not wait for files"
        monkeypatch.setattr(http, "FILE_DEADLINE", 1.0)  # they give up before a slot is free
        calls += [threads.submit(api.read_file, ID, "a") for _ in range(2)]
        calls += [threads.submit(api.save_file, ID, "a", b"x") for _ in range(2)]
        for call in calls:
            assert isinstance(call.exception(60), BackendUnavailable)
    assert sum("/file" in seen.path for seen in service.seen) == http.MAX_FILES
    assert service.most_active <= http.MAX_FILES + 1


@pytest.mark.parametrize(
    ("url", "link"),
    [
        (
            "https://bucket.example.com/a?X-Signature=b",
            "https://bucket.example.com/a?X-Signature=b",
        ),
        ("/files/a b", "{origin}/files/a%20b"),
        ("files/a", "{origin}/files/a"),
        ("http://bucket.example.com/a", None),
        ("//bucket.example.com/a", None),
        ("https://me:pw@bucket.example.com/", None),
        ("https:///a", None),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("ftp://x/", None),
        ("https://a\nb", None),
        ("http://[", None),
        (3, None),
        (None, None),
    ],
)
def test_only_safe_links_of_files_are_kept(
    service: FaultServer, api: ProgressConnection, url: Any, link: str | None
) -> None:
    files = [{"name": "a", "size": 3, "url": url}, {"name": "b"}, 7]
    service.behavior = lambda request: request.answer(body(result={"files": files, "notes": []}))
    result = api.read([ID])[ID].result
    assert result is not None
    expected = {"url": link.format(origin=service.url)} if link else {}
    assert result["files"] == [{"name": "a", "size": 3} | expected, {"name": "b"}, 7]
    assert result["notes"] == []


def test_a_result_whose_files_are_no_list_is_kept(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behavior = lambda request: request.answer(body(result={"files": 3}))
    assert api.read([ID])[ID].result == {"files": 3}


# Force stop.


def test_force_stop_is_sent_and_has_no_effect_after_the_end(
    service: FaultServer, api: ProgressConnection
) -> None:
    api.force_stop(ID)
    assert (service.seen[0].method, service.seen[0].path) == (
        "POST",
        f"/operations/{ID}/force-stop",
    )
    assert api.read([ID])[ID].cancel_requested
    run = body(status="completed")

    def answer(request: Request) -> None:
        request.answer(run, 409 if request.command == "POST" else 200)

    service.behavior = answer
    api.force_stop(ID)
    run["status"] = "in_progress"
    other = new_operation_id()
    run["operation_id"] = other
    with pytest.raises(BackendRejected, match="409"):
        api.force_stop(other)


# A service with ids of its own.


def test_logs_and_files_are_requested_by_the_id_of_the_service(
    service: FaultServer, connect: Connect
) -> None:
    own: dict[str, Any] = {
        "id": "run",
        "find": Call(method="GET", path="/runs"),
        "items": "",
        "log": Call(method="GET", path="/runs/{id}/log"),
        "file": Call(method="GET", path="/runs/{id}/file", query={"name": "{name}"}),
    }

    def answer(request: Request) -> None:
        if request.path == "/runs":
            request.answer([body(run="r7")])
        else:
            request.answer(b"x", kind="text/plain")

    service.behavior = answer
    api = connect(**own)
    unknown = new_operation_id()
    assert set(api.logs([ID, unknown], 3)) == {ID}
    assert api.read_file(ID, "a") == b"x"
    with pytest.raises(BackendRejected, match="no file 'a'"):
        api.read_file(unknown, "a")
    paths = {seen.path for seen in service.seen}
    assert paths == {"/runs", "/runs/r7/log", "/runs/r7/file?name=a"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log": Call(method="GET", path="/{name}")}, "log has {name}"),
        ({"file": Call(method="GET", path="/{limit}")}, "file has {limit}"),
        ({"upload": Call(method="PUT", path="/{id}")}, "upload has {id}"),
        ({"force_stop": Call(method="POST", path="/{job}")}, "force_stop has {job}"),
        ({"cancel": Call(method="POST", path="/{options}")}, "cancel has {options}"),
    ],
)
def test_a_mistake_in_a_new_call_is_named(changes: dict[str, Any], message: str) -> None:
    service: Service = replace(SERVICE, **changes)
    with pytest.raises(BackendRejected) as caught:
        service.check()
    assert message in str(caught.value)
