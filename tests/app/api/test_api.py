"""Services that answer late, wrongly, too much, or lead astray: each is a clear state."""

import base64
import dataclasses
import gc
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from progress.backend import client as http
from progress.backend import mapping, profiles
from progress.backend import service as ours
from progress.backend.connection import ProgressConnection
from progress.backend.service import SERVICE
from progress.contract import BackendError, BackendRejected, BackendUnavailable, PartlyUnavailable
from progress.operation import Operation, Query, Status, new_operation_id
from progress.poller import Poller
from progress.session import live
from progress.settings import ROOT
from tests.app.fault_server import Behaviour, FaultServer, Request, fault_server
from tests.conftest import pages

# A pool that is closed while its threads are at work forgets a connection that is just being made:
# Python closes that one.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

TOKEN = "the-secret-token"
NOW = "2026-01-01T00:00:00+00:00"


def body(operation_id: str, **changes: Any) -> dict[str, Any]:
    running = {
        "operation_id": operation_id,
        "job": "j",
        "subject": "s",
        "owner": "",
        "status": "in_progress",
        "read_at": NOW,
        "created_at": NOW,
        "current_step": 1,
        "total_steps": 4,
        "cancel_requested": False,
        "attempt": 1,
    }
    return running | changes


def asked_id(request: Request) -> str:
    return request.path.split("/")[2]


def well(request: Request) -> None:
    request.answer(body(asked_id(request)))


@pytest.fixture(scope="module", autouse=True)
def no_sockets_left() -> Iterator[None]:
    """Forgotten connections are collected here, not in the tests of another file."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], FaultServer]]:
    """A function that starts a server with a behaviour."""
    with ExitStack() as stack:
        yield lambda behaviour: stack.enter_context(fault_server(behaviour))


@pytest.fixture
def service(serve: Callable[[Behaviour], FaultServer]) -> FaultServer:
    """The service that the connection is configured for."""
    return serve(well)


@pytest.fixture
def api(service: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProgressConnection]:
    """A connection to the service of the test, with short timeouts."""
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.5)
    monkeypatch.setattr(http, "DEADLINE", 1.0)
    opened = ProgressConnection("progress", url=service.url, token=TOKEN)
    yield opened
    opened.reset()


def read(api: ProgressConnection, operation_id: str) -> Operation:
    return api.read([operation_id])[operation_id]


def failure(api: ProgressConnection, operation_id: str) -> BackendError:
    with pytest.raises(BackendError) as caught:
        api.read([operation_id])
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    return caught.value


# Where credentials go.


def test_a_token_is_sent_as_a_bearer(service: FaultServer, api: ProgressConnection) -> None:
    read(api, "a")
    assert service.seen[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_a_token_can_have_a_header_of_its_own(service: FaultServer) -> None:
    api = ProgressConnection("progress", url=service.url, token=TOKEN, header="X-API-Key")
    read(api, "a")
    api.reset()
    assert service.seen[0].headers["X-API-Key"] == TOKEN
    assert "Authorization" not in service.seen[0].headers


def test_basic_auth(service: FaultServer) -> None:
    api = ProgressConnection("progress", url=service.url, username="me", password="pw")
    read(api, "a")
    api.reset()
    sent = service.seen[0].headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent) == b"me:pw"


SECRETS = {"url": "https://secrets.example", "token": "secret's", "header": "X-Secret"}
URL = {"url": "https://given.example"}


@pytest.mark.parametrize(
    ("given", "variables", "found"),
    [
        ({}, {}, SECRETS),
        # A variable goes before the secret of its name; an empty one is as good as none.
        ({}, {"token": "variable's", "header": ""}, SECRETS | {"token": "variable's"}),
        # No token goes to a url that another one named.
        ({}, URL, URL),
        ({}, URL | {"token": "variable's"}, URL | {"token": "variable's"}),
        ({}, {"url": ""}, {}),
        (URL, {"url": "https://variable.example", "token": "variable's"}, URL),
        (URL | {"token": "given"}, {"header": "X-Variable"}, URL | {"token": "given"}),
        # One way to say who asks takes the place of the other.
        (
            {},
            {"username": "me", "password": "pw"},
            {"url": SECRETS["url"], "username": "me", "password": "pw"},
        ),
    ],
)
def test_variables_go_before_secrets_and_no_token_goes_elsewhere(
    given: dict[str, str],
    variables: dict[str, str],
    found: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, variable in http.ENVIRONMENT.items():
        monkeypatch.delenv(variable, raising=False)
        if name in variables:
            monkeypatch.setenv(variable, variables[name])
    assert http.configuration(SECRETS, given) == found


def test_a_token_of_the_environment_takes_the_place_of_a_password_in_the_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in http.ENVIRONMENT.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PROGRESS_API_TOKEN", TOKEN)
    secrets = URL | {"username": "me", "password": "pw"}
    assert http.configuration(secrets) == URL | {"token": TOKEN}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_is_not_followed(
    serve: Callable[[Behaviour], FaultServer],
    service: FaultServer,
    api: ProgressConnection,
    status: int,
) -> None:
    other = serve(well)
    place = f"{other.url}/operations/a"
    service.behaviour = lambda request: request.answer(status=status, Location=place)
    error = failure(api, "a")
    assert isinstance(error, BackendRejected)
    assert "credentials must not go" in str(error)
    with pytest.raises(BackendError):
        api.start("a" * 32, "j", "s", "")
    assert other.seen == [], "nothing arrived there, so no token did"


@pytest.mark.parametrize("header", ["Location", "Operation-Location", "Azure-AsyncOperation"])
def test_a_location_on_another_origin_is_not_followed(
    serve: Callable[[Behaviour], FaultServer],
    service: FaultServer,
    api: ProgressConnection,
    header: str,
) -> None:
    other = serve(well)
    operation_id = new_operation_id()

    def lead_astray(request: Request) -> None:
        headers = {header: f"{other.url}/operations/{operation_id}"}
        request.answer(body(operation_id), 202, **headers)

    service.behaviour = lead_astray
    api.start(operation_id, "j", "s", "")
    read(api, operation_id)
    assert other.seen == []
    assert service.seen[-1].path == f"/operations/{operation_id}"


def test_a_location_and_a_redirect_on_the_origin_are_followed(
    service: FaultServer, api: ProgressConnection
) -> None:
    operation_id = new_operation_id()

    def answer(request: Request) -> None:
        if request.command == "POST":
            request.answer(status=202, Location="/somewhere/else")
        elif request.path == "/somewhere/else":
            request.answer(status=307, Location="/here")
        else:
            request.answer(body(operation_id))

    service.behaviour = answer
    api.start(operation_id, "j", "s", "")
    assert read(api, operation_id).current_step == 1
    assert [seen.path for seen in service.seen] == ["/operations", "/somewhere/else", "/here"]
    assert {seen.headers["Authorization"] for seen in service.seen} == {f"Bearer {TOKEN}"}


def test_redirects_in_a_circle_end(service: FaultServer, api: ProgressConnection) -> None:
    service.behaviour = lambda request: request.answer(status=302, Location=request.path)
    assert "redirected more than 3 times" in str(failure(api, "a"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.example/", "http://a.example/"),
        ("https://a.example/", "https://a.example:444/"),
        ("https://a.example/", "https://a.example.evil/"),
        ("https://a.example/", "https://b.example/"),
    ],
)
def test_what_is_another_origin(one: str, other: str) -> None:
    assert not http.same_origin(httpx2.URL(one), httpx2.URL(other))
    assert http.same_origin(httpx2.URL(one), httpx2.URL(one.replace(".example/", ".example:443/")))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../../admin", "?x=1", "a#b", "%2e%2e", 'a"b', "a b", "é"]
)
def test_an_id_does_not_lead_to_another_path(
    service: FaultServer, api: ProgressConnection, name: str
) -> None:
    service.behaviour = lambda request: request.answer({"title": "No"}, 404)
    assert api.read([name]) == {}
    for seen in service.seen:
        assert seen.path.startswith("/operations/")
        assert seen.path.count("/") == 2
        assert "?" not in seen.path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "No service is configured"),
        ({"url": "jobs.example.com"}, "must be like https://"),
        ({"url": "ftp://jobs.example.com"}, "must be like https://"),
        ({"url": "https://me:hush@jobs.example.com"}, "has credentials"),
        ({"url": "https://jobs.example.com", "token": "hush\nX: y"}, "copy it again"),
        ({"url": "https://jobs.example.com", "token": "hush", "header": "a b"}, "header"),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    settings: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in http.ENVIRONMENT.values():
        monkeypatch.setenv(variable, "")
    with pytest.raises(BackendRejected, match=message) as caught:
        ProgressConnection("progress", **settings).read(["a"])
    assert "hush" not in str(caught.value)


# When it is slow, away or asks for a break.


def silent(request: Request) -> None:
    request.server.ended.wait(5)


def test_silence_ends(service: FaultServer, api: ProgressConnection) -> None:
    service.behaviour = silent
    began = time.monotonic()
    assert isinstance(failure(api, "a"), BackendUnavailable)
    assert time.monotonic() - began < 3


def drip(request: Request, opening: bytes) -> None:
    request.close_connection = True
    request.wfile.write(opening)
    while not request.server.ended.wait(0.1):
        request.wfile.write(b"x")


@pytest.mark.parametrize(
    ("opening", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", "did not answer within 1 s"),
        (b"HTTP/1.1 200 OK\r\nX-Drip: ", "did not answer within"),
    ],
    ids=["body", "headers"],
)
def test_an_answer_byte_by_byte_ends(
    service: FaultServer, api: ProgressConnection, opening: bytes, message: str
) -> None:
    service.behaviour = lambda request: drip(request, opening)
    began = time.monotonic()
    assert message in str(failure(api, "a"))
    for attempt in (
        lambda: api.start(new_operation_id(), "j", "s", ""),
        lambda: api.cancel("a"),
        lambda: api.recent(Query("")),
        lambda: api.counts(Query("")),
    ):
        with pytest.raises(BackendUnavailable, match=message):
            attempt()
    # Five times PATIENCE, and what a busy machine adds; the answers have no end.
    assert time.monotonic() - began < 15


def test_nobody_listens() -> None:
    with fault_server(well) as gone:
        url = gone.url
    api = ProgressConnection("progress", url=url)
    assert isinstance(failure(api, "a"), BackendUnavailable)
    api.reset()


@pytest.mark.parametrize("fault", [Request.reset, lambda request: request.answer(status=500)])
def test_a_get_is_tried_again(
    service: FaultServer, api: ProgressConnection, fault: Behaviour
) -> None:
    service.behaviour = lambda request: (
        fault(request) if len(service.seen) < http.MAX_ATTEMPTS else well(request)
    )
    assert read(api, "a").current_step == 1
    assert len(service.seen) == http.MAX_ATTEMPTS
    service.behaviour = fault
    service.seen.clear()
    assert isinstance(failure(api, "a"), BackendUnavailable)
    assert len(service.seen) == http.MAX_ATTEMPTS


def test_a_post_with_a_key_is_tried_again_with_the_same_key(
    service: FaultServer, api: ProgressConnection
) -> None:
    operation_id = new_operation_id()
    service.behaviour = lambda request: (
        request.reset() if len(service.seen) < 2 else request.answer(body(operation_id), 202)
    )
    api.start(operation_id, "j", "s", "")
    assert [seen.headers["Idempotency-Key"] for seen in service.seen] == [operation_id] * 2


def test_a_post_without_a_key_is_not_tried_again(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behaviour = lambda request: request.answer(status=503)
    client = api._instance.client
    with pytest.raises(BackendUnavailable):
        client.run(client.send("POST", "/operations", body={}))
    assert len(service.seen) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_moves_the_next_read(
    service: FaultServer, api: ProgressConnection, status: int, as_date: bool
) -> None:
    there = datetime.now(UTC) + timedelta(days=400)  # A clock that is wrong.
    wait = format_datetime(there + timedelta(seconds=7), usegmt=True) if as_date else "7"

    def busy(request: Request) -> None:
        request.date_time_string = (  # type: ignore[method-assign]
            lambda timestamp=None: format_datetime(there, usegmt=True)
        )
        request.answer({"title": "Busy"}, status, "application/problem+json", Retry_After=wait)

    service.behaviour = busy
    now = [0.0]
    poller = Poller(api.read, 0.5, clock=lambda: now[0])
    snapshot = poller.read("a")
    assert isinstance(snapshot.error, BackendUnavailable)
    assert snapshot.error.retry_after == pytest.approx(7, abs=1)
    assert len(service.seen) == 1, "a long wait is not for a thread"
    service.behaviour = well
    now[0] = 5.9
    assert poller.read("a").error is not None
    assert len(service.seen) == 1
    now[0] = 8.1
    assert poller.read("a").error is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("999999999", http.MAX_RETRY_AFTER),
        ("-3", None),
        ("1e9", None),
        ("soon", None),
        ("", None),
        ("Fri, 01 Jan 1999 00:00:00 GMT", 0.0),
        ("Fri, 99 Jan 9999 00:00:00 GMT", None),
    ],
)
def test_what_retry_after_may_say(value: str, seconds: float | None) -> None:
    assert http.retry_after({"Retry-After": value}) == seconds


def test_retry_after_of_a_good_answer_is_honoured(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behaviour = lambda request: request.answer(body(asked_id(request)), Retry_After="60")
    for _ in range(3):
        assert read(api, "a").current_step == 1
    assert len(service.seen) == 1
    api.cancel("a")
    read(api, "a")
    assert len(service.seen) == 3, "whoever cancels wants news"


def test_a_short_retry_after_is_waited_for(service: FaultServer, api: ProgressConnection) -> None:
    service.behaviour = lambda request: (
        request.answer(status=429, Retry_After="0") if len(service.seen) == 1 else well(request)
    )
    assert read(api, "a").current_step == 1


def test_many_are_read_at_the_same_time_but_not_all(
    service: FaultServer, api: ProgressConnection
) -> None:
    def slow(request: Request) -> None:
        time.sleep(0.1)
        well(request)

    service.behaviour = slow
    ids = [new_operation_id() for _ in range(24)]
    began = time.monotonic()
    assert set(api.read(ids)) == set(ids)
    assert time.monotonic() - began < 1.2
    assert 1 < service.most_active <= http.MAX_READS


def test_one_that_cannot_be_read_leaves_the_others(
    service: FaultServer, api: ProgressConnection
) -> None:
    def answer(request: Request) -> None:
        if asked_id(request) == "bad":
            request.answer(b"<html>", kind="text/html")
        elif asked_id(request) == "none":
            request.answer({"title": "No"}, 404)
        else:
            well(request)

    service.behaviour = answer
    with pytest.raises(PartlyUnavailable) as caught:
        api.read(["good", "bad", "none"])
    assert set(caught.value.found) == {"good"}
    assert set(caught.value.failed) == {"bad"}
    snapshots = {}
    now = [0.0]
    poller = Poller(api.read, 0.5, clock=lambda: now[0])
    for _ in range(2):
        for name in ("good", "bad", "none"):
            snapshots[name] = poller.read(name)
            now[0] += 0.5
    assert snapshots["good"].value is not None
    assert snapshots["good"].error is None
    assert "not JSON" in str(snapshots["bad"].error)
    assert not snapshots["bad"].known
    assert snapshots["none"].known
    assert snapshots["none"].value is None


# When the answer is not what it should be.


def test_a_huge_body_is_not_read_to_its_end(service: FaultServer, api: ProgressConnection) -> None:
    sent = [0]
    done = threading.Event()

    def flood(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", "100000000")
        request.end_headers()
        try:
            for _ in range(100):
                request.wfile.write(b" " * 1_000_000)
                sent[0] += 1_000_000
        finally:
            done.set()

    service.behaviour = flood
    assert "more than 4,000,000 bytes" in str(failure(api, "a"))
    assert done.wait(5)
    assert sent[0] < 50_000_000
    assert len(service.seen) == 1, "it is not asked for it again at once"


def test_problem_details_are_shown(service: FaultServer, api: ProgressConnection) -> None:
    problem = {"type": "about:blank", "title": "No credit", "detail": "Your balance\nis 30."}
    service.behaviour = lambda request: request.answer(problem, 403, "application/problem+json")
    with pytest.raises(
        BackendRejected, match="403 Forbidden: No credit: Your balance is 30"
    ) as why:
        api.start(new_operation_id(), "j", "s", "")
    assert TOKEN not in str(why.value)
    assert "connections.progress" in str(why.value)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"title": "T", "detail": "D"}, "T: D"),
        ({"title": "T"}, "T"),
        ({"error": {"code": 3, "message": "M"}}, "M"),
        ({"message": "Not Found", "documentation_url": "x"}, "Not Found"),
        ({"error_code": "X", "message": "M"}, "M"),
        ({"error": "E"}, "E"),
        ({"detail": "D"}, "D"),
        ({"title": 3, "detail": ["x"]}, ""),
        ([], ""),
        (None, ""),
        ({"detail": "x" * 9999}, "x" * 500),
    ],
)
def test_what_an_error_body_says(said: Any, text: str) -> None:
    assert http.error_reason(said) == text


NOT_JSON = [
    b"<html><h1>Sign in</h1></html>",
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{",
    b'{"status": NaN}',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"operation_id": "another", "status": "completed"}',
]
NONSENSE = [
    {"status": "banana"},
    {"status": None},
    {"status": ["completed"]},
    {"current_step": 9},
    {"current_step": -1},
    {"current_step": "three"},
    {"current_step": 1e300},
    {"total_steps": {}},
    {"created_at": "yesterday", "started_at": 7, "read_at": []},
    {"heartbeat_at": "9999-12-31T23:59:59-23:59"},
    {"failed_steps": "all"},
    {"attempt": "x" * 100_000},
]
TEXTS = [
    {"step_description": "\ud800 <b>**x**</b> \0"},
    {"step_description": {"a": 1}, "failed_steps": True},
    {"job": "\udfff", "subject": "\ud800"},
    {"status": "failed", "error": "\ud800\n\udfff"},
    {"status": "completed", "result": {"notes": ["\ud800"], "\ud800": "\udfff"}},
    {"status": "completed", "result": [1, 2]},
    {"status": "completed", "result": "text"},
]


@pytest.mark.parametrize("content", NOT_JSON)
def test_an_answer_that_is_no_operation_is_named(
    service: FaultServer, api: ProgressConnection, content: bytes
) -> None:
    service.behaviour = lambda request: request.answer(content)
    assert isinstance(failure(api, "a"), BackendUnavailable)
    assert len(service.seen) == 1


@pytest.mark.parametrize("changes", NONSENSE)
def test_nonsense_in_an_answer_is_named_and_logged_once(
    service: FaultServer,
    api: ProgressConnection,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
) -> None:
    service.behaviour = lambda request: request.answer(body("a", **changes))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert read(api, "a").problem
    assert len([record for record in caplog.records if "invalid values" in record.message]) == 1
    assert TOKEN not in caplog.text


def test_an_answer_without_any_field_is_shown(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behaviour = lambda request: request.answer({})
    operation = read(api, "a")
    assert operation.status is Status.IN_PROGRESS
    assert operation.problem is not None
    assert operation.problem.startswith("status None is not one of")


@pytest.mark.parametrize("later", ["in_progress", "failed", "queued", "banana"])
def test_a_terminal_status_stays(
    service: FaultServer, api: ProgressConnection, caplog: pytest.LogCaptureFixture, later: str
) -> None:
    service.behaviour = lambda request: request.answer(body("a", status="completed"))
    assert read(api, "a").problem is None
    service.behaviour = lambda request: request.answer(body("a", status=later))
    operation = read(api, "a")
    assert operation.status is Status.COMPLETED
    assert operation.problem is not None
    assert "after completed" in operation.problem
    assert "after completed" in caplog.text


def test_304_keeps_the_old_value_and_moves_the_clock(
    service: FaultServer, api: ProgressConnection
) -> None:
    def answer(request: Request) -> None:
        if request.headers["If-None-Match"] == '"one"':
            request.answer(status=304, ETag='"one"')
        else:
            request.answer(body("a"), ETag='"one"')

    service.behaviour = answer
    before, after = read(api, "a"), read(api, "a")
    assert len(service.seen) == 2
    assert service.seen[1].headers["If-None-Match"] == '"one"'
    assert (after.current_step, after.created_at) == (before.current_step, before.created_at)
    assert after.read_at > before.read_at
    assert after.heartbeat_age > before.heartbeat_age


def test_304_without_a_question_is_named(service: FaultServer, api: ProgressConnection) -> None:
    service.behaviour = lambda request: request.answer(status=304)
    assert isinstance(failure(api, "a"), BackendUnavailable)


def test_a_list_that_is_none_is_named(service: FaultServer, api: ProgressConnection) -> None:
    service.behaviour = lambda request: request.answer({"operations": "many"})
    with pytest.raises(BackendUnavailable, match="without a list"):
        api.recent(Query(""))
    service.behaviour = lambda request: request.answer({"operations": [None, 3, {}, body("a")]})
    assert [operation.operation_id for operation in api.recent(Query(""))] == ["a"]


def test_a_list_of_a_service_that_narrows_nothing_down_is_narrowed_down_here(
    service: FaultServer,
) -> None:
    times = [f"2026-01-02T03:04:{seconds:02}Z" for seconds in range(25)]
    runs = [
        body(f"run{number:02}", created_at=time, job=f"job {number % 2}", result={"a": 1})
        for number, time in enumerate(times)
    ]
    runs += [body("foreign", owner="another", created_at=NOW)]
    runs[3]["status"] = "failed"
    service.behaviour = lambda request: request.answer({"operations": runs})
    plain = replace(SERVICE, filters=False, counts=None)
    api = ProgressConnection("progress", service=plain, url=service.url, token=TOKEN)
    seen = [row for page in pages(api.recent, Query("", limit=10)) for row in page]
    assert [row.operation_id for row in seen] == [f"run{n:02}" for n in reversed(range(25))]
    assert all(row.result is None for row in seen)
    failed = Query("", job="job 1", statuses=frozenset({Status.FAILED}))
    assert [row.operation_id for row in api.recent(failed)] == ["run03"]
    assert api.recent(replace(failed, job="job 0")) == []
    since = datetime(2026, 1, 2, 3, 4, 20, tzinfo=UTC)
    assert len(api.recent(Query("", since=since, subject="s"))) == 5
    assert len(api.recent(Query(None, limit=500))) == 26
    assert api.counts(Query("", limit=1)) == {Status.IN_PROGRESS: 24, Status.FAILED: 1}
    limits = {httpx2.URL(seen.path).params["limit"] for seen in service.seen}
    assert limits == {"100"}, "all that a page may be made of, and no more than services list"
    assert "owner=" not in service.seen[-2].path, "nobody is no owner's name"
    api.reset()


def test_what_a_service_should_have_left_out_is_left_out(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behaviour = lambda request: request.answer(
        {"operations": [body("mine", owner="me"), body("foreign", owner="another")]}
    )
    assert [row.operation_id for row in api.recent(Query("me"))] == ["mine"]
    assert "owner=me" in service.seen[0].path


def test_counts_that_are_none_are_named(service: FaultServer, api: ProgressConnection) -> None:
    service.behaviour = lambda request: request.answer([1])
    with pytest.raises(BackendUnavailable, match="without counts"):
        api.counts(Query(""))
    service.behaviour = lambda request: request.answer({"failed": 2, "queued": "x", "odd": 1})
    assert api.counts(Query("")) == {Status.FAILED: 2, Status.IN_PROGRESS: 1}


@pytest.mark.parametrize(
    "content",
    [*NOT_JSON, *NONSENSE, *TEXTS, b"flood", b"reset"],
    ids=lambda content: str(content)[:40],
)
def test_no_answer_makes_a_traceback_on_the_page(
    service: FaultServer, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    operation_id = new_operation_id()

    def answer(request: Request) -> None:
        if content == b"reset":
            request.reset()
        elif content == b"flood":
            request.answer(b" " * (http.MAX_BODY + 1))
        elif isinstance(content, bytes):
            request.answer(content)
        else:
            request.answer(body(operation_id, **content))

    service.behaviour = answer
    monkeypatch.setenv("PROGRESS_API_URL", service.url)
    monkeypatch.setattr(live, "owner", lambda: "")
    page = AppTest.from_file(str(ROOT / "app_pages" / "run.py"), default_timeout=30)
    page.query_params["operation"] = operation_id
    try:
        for _ in range(2):
            page.run()
            assert not page.exception
        if isinstance(content, bytes):
            assert page.warning[0].value.startswith("The progress cannot be read just now.")
        elif content in NONSENSE:
            assert any("makes no sense" in warning.value for warning in page.warning)
    finally:
        live.backend().reset()
        st.cache_resource.clear()


# One that hangs, and many at once.


def drip_headers(request: Request) -> None:
    drip(request, b"HTTP/1.1 200 OK\r\nX-Drip: ")


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Return what each gave or raised, with a thread for each."""

    def outcome(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(outcome, calls))


def told(**changes: Any) -> mapping.Service:
    """Return the mapping with changes."""
    return dataclasses.replace(ours.SERVICE, **changes)


def test_answers_without_end_do_not_keep_the_connections(
    service: FaultServer, api: ProgressConnection
) -> None:
    operation_id = new_operation_id()
    service.behaviour = lambda request: request.answer(status=202, Location="/place")
    api.start(operation_id, "j", "s", "me")
    service.behaviour = drip_headers
    with pytest.raises(BackendUnavailable):
        api.read([new_operation_id() for _ in range(http.MAX_READS + 1)])
    service.behaviour = lambda request: request.answer(body(operation_id, owner=None))
    assert read(api, operation_id).owner == "me", "what was known still is"
    assert service.seen[-1].path == "/place"


def test_a_click_does_not_wait_behind_reads(service: FaultServer, api: ProgressConnection) -> None:
    service.behaviour = lambda request: (
        drip_headers(request) if request.command == "GET" else request.answer(body("a"), 202)
    )
    ids = [new_operation_id() for _ in range(http.MAX_READS + 1)]

    def click() -> float:
        time.sleep(0.3)
        began = time.monotonic()
        api.start("a", "j", "s", "")
        return time.monotonic() - began

    error, seconds = at_once(lambda: api.read(ids), click)
    assert isinstance(error, BackendUnavailable)
    assert seconds < 0.5


def test_what_could_not_be_sent_in_time_is_not_sent_later(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behaviour = drip_headers
    start = lambda: api.start(new_operation_id(), "j", "s", "")  # noqa: E731
    errors = at_once(*[start] * (http.MAX_CALLS + 2))
    assert all(isinstance(error, BackendUnavailable) for error in errors)
    service.behaviour = well
    time.sleep(0.5)
    assert len(service.seen) == http.MAX_CALLS


def test_all_tries_have_one_deadline(service: FaultServer, api: ProgressConnection) -> None:
    def worse_and_worse(request: Request) -> None:
        if len(service.seen) < http.MAX_ATTEMPTS:
            time.sleep(0.4)
            request.reset()
        else:
            drip(request, b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")

    service.behaviour = worse_and_worse
    began = time.monotonic()
    assert isinstance(failure(api, "a"), BackendUnavailable)
    assert time.monotonic() - began < 1.4


def test_a_reset_under_way_is_no_traceback(service: FaultServer, api: ProgressConnection) -> None:
    def slow(request: Request) -> None:
        time.sleep(0.02)
        well(request)

    service.behaviour = slow
    ends = time.monotonic() + 1.0

    def ask() -> list[Exception]:
        errors: list[Exception] = []
        while time.monotonic() < ends:
            try:
                api.read([new_operation_id() for _ in range(12)])
                api.cancel("a")
            except Exception as error:
                errors.append(error)
        return errors

    def reset() -> None:
        while time.monotonic() < ends:
            time.sleep(0.05)
            api.reset()

    first, second, nothing = at_once(ask, ask, reset)
    assert nothing is None
    assert first
    assert {type(error) for error in first + second} <= {BackendUnavailable, PartlyUnavailable}
    assert read(api, "a").current_step == 1


def test_a_late_answer_does_not_win(service: FaultServer, api: ProgressConnection) -> None:
    newer = threading.Event()

    def answer(request: Request) -> None:
        number = len(service.seen)
        if number == 1:
            newer.wait(0.4)
        request.answer(body("a", current_step=number), ETag=f'"{number}"')

    def second() -> Operation:
        time.sleep(0.1)
        operation = read(api, "a")
        newer.set()
        return operation

    service.behaviour = answer
    operations = at_once(lambda: read(api, "a"), second)
    assert [operation.current_step for operation in operations] == [2, 2]
    read(api, "a")
    assert service.seen[-1].headers["If-None-Match"] == '"2"'


def test_a_cancel_during_a_read_is_not_forgotten(
    service: FaultServer, api: ProgressConnection
) -> None:
    asked, cancelled = threading.Event(), threading.Event()

    def answer(request: Request) -> None:
        if request.command == "GET" and not cancelled.is_set():
            asked.set()
            cancelled.wait(0.4)
        request.answer(body("a"), ETag='"one"')

    def cancel() -> None:
        asked.wait(1)
        api.cancel("a")
        cancelled.set()

    service.behaviour = answer
    operation, _ = at_once(lambda: read(api, "a"), cancel)
    assert operation.is_cancelling
    assert read(api, "a").is_cancelling
    assert "If-None-Match" not in service.seen[-1].headers


@pytest.mark.parametrize("status", [404, 409, 410])
def test_a_refused_cancel_is_told_unless_it_is_over(
    service: FaultServer, api: ProgressConnection, status: int
) -> None:
    found: dict[str, Any] | None = body("a")

    def answer(request: Request) -> None:
        if request.command == "POST":
            request.answer({"detail": "Not this one."}, status)
        elif found is None:
            request.answer(status=404)
        else:
            request.answer(found, Retry_After="60")

    service.behaviour = answer
    read(api, "a")
    with pytest.raises(BackendRejected, match="Not this one"):
        api.cancel("a")
    found = body("a", status="completed")
    api.cancel("a")
    found = None
    api.cancel("b")


# What the mapping says, and what it should not.


def test_an_etag_is_one_of_a_read(service: FaultServer, api: ProgressConnection) -> None:
    tag = '"a"'
    service.behaviour = lambda request: request.answer(body("a"), ETag=tag)
    api.start("a", "j", "s", "")
    for sent in (None, tag):
        read(api, "a")
        assert service.seen[-1].headers.get("If-None-Match") == sent
    tag = '"\xe9"'
    for _ in range(2):
        read(api, "a")
    assert "If-None-Match" not in service.seen[-1].headers, "it could not be sent"


def test_an_unforeseen_error_is_one_operations_own(
    api: ProgressConnection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    send = http.Client.send

    async def break_one(client: http.Client, method: str, address: Any, **more: Any) -> http.Answer:
        if address.endswith("/bad"):
            raise ZeroDivisionError("by\nnothing")
        return await send(client, method, address, **more)

    monkeypatch.setattr(http.Client, "send", break_one)
    for _ in range(2):
        with pytest.raises(PartlyUnavailable) as caught:
            api.read(["good", "bad"])
        assert set(caught.value.found) == {"good"}
        assert str(caught.value.failed["bad"]) == "The answer: ZeroDivisionError: by nothing"
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_the_word_that_it_runs_is_a_sign_of_life(service: FaultServer) -> None:
    fields = {name: where for name, where in ours.SERVICE.fields.items() if name != "heartbeat_at"}
    api = ProgressConnection("progress", service=told(fields=fields), url=service.url)
    stale = body("a", read_at="2026-01-01T01:00:00+00:00", last_updated=NOW)
    service.behaviour = lambda request: request.answer(
        stale, 304 if request.headers["If-None-Match"] else 200, ETag='"one"'
    )
    for _ in range(2):
        assert read(api, "a").heartbeat_age == 0
    assert service.seen[-1].headers["If-None-Match"] == '"one"'
    api.reset()
    with ExitStack() as stack:
        api = ProgressConnection("progress", url=service.url)
        stack.callback(api.reset)
        assert read(api, "a").heartbeat_age == 3600, "where a heartbeat is promised, it is missed"


def test_one_of_our_words_that_was_not_mapped_is_named(service: FaultServer) -> None:
    strange = told(statuses={"FAILED": Status.FAILED})
    api = ProgressConnection("progress", service=strange, url=service.url)
    service.behaviour = lambda request: request.answer(body("a", status="failed"))
    operation = read(api, "a")
    api.reset()
    assert operation.status is Status.IN_PROGRESS
    assert operation.problem is not None
    assert "failed (not in the mapping)" in operation.problem


def test_a_function_of_the_mapping_may_break() -> None:
    def break_down(body: Any) -> None:
        raise OSError(body)

    assert told(fields={"error": break_down}).row({})["error"] is None


def test_a_path_may_hold_a_colon(service: FaultServer, api: ProgressConnection) -> None:
    service.behaviour = lambda request: request.answer({})
    client = api._instance.client
    client.run(client.send("POST", "/jobs:run", body={}))
    assert service.seen[-1].path == "/jobs:run"


SLIPS: list[tuple[dict[str, Any], str]] = [
    (
        {"read": mapping.Call(method="GET", path="/operations/{operationId}")},
        "read has {operationId}",
    ),
    (
        {"recent": mapping.Call(method="GET", path="/x", query={"a": "{operation_id}"})},
        "recent has {oper",
    ),
    ({"start": mapping.Call(method="POST", path="/x", body=[{"a": "-{jbo}-"}])}, "start has {jbo}"),
    (
        {"cancel": mapping.Call(method="POST", path="/x", headers={"X": "{key}"})},
        "cancel has {key}",
    ),
    ({"fields": {"status": "status"}}, "fields has no operation_id"),
    ({"fields": {**ours.SERVICE.fields, "curent_step": "x"}}, "fields has curent_step"),
]


@pytest.mark.parametrize(("changes", "message"), SLIPS)
def test_a_slip_in_the_mapping_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BackendRejected) as caught:
        ProgressConnection("progress", service=told(**changes), url="http://127.0.0.1:9")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_profile_passes() -> None:
    for profile in (
        profiles.aip151(),
        profiles.azure("/x"),
        profiles.github_actions("a/b", "c.yml"),
        profiles.airflow("a"),
        profiles.databricks(1),
        profiles.prefect("a"),
    ):
        profile.check()


def test_a_slip_in_the_mapping_is_a_line_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    changes, message = SLIPS[0]
    monkeypatch.setattr(ProgressConnection._connect, "__defaults__", (told(**changes),))
    monkeypatch.setattr(live, "owner", lambda: "")
    st.cache_resource.clear()
    page = AppTest.from_file(str(ROOT / "app_pages" / "run.py"), default_timeout=30)
    page.query_params["operation"] = new_operation_id()
    try:
        page.run()
        assert not page.exception
        assert any(message in text.value for text in page.text)
    finally:
        st.cache_resource.clear()
