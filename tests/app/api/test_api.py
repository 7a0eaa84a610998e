"""Services that answer late, wrongly, too much or from elsewhere: each leads to a clear state."""

import base64
import dataclasses
import gc
import logging
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from progress.backend import client as http
from progress.backend import credentials, mapping, profiles, reference, remote
from progress.backend.connection import ProgressConnection
from progress.backend.reference import SERVICE
from progress.contract import BackendError, BackendRejected, BackendUnavailable, PartlyUnavailable
from progress.operation import Operation, Query, Status, new_operation_id
from progress.poller import Poller
from progress.settings import ROOT
from tests.app.fault_server import Behavior, FaultServer, Request, fault_server
from tests.conftest import pages
from tests.pages import click, open_page, switch_page, texts

TOKEN = "the-secret-token"
NOW = "2026-01-01T00:00:00+00:00"
VIEWER = "test@example.com"
"""The login of an AppTest."""


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


def requested_id(request: Request) -> str:
    return request.path.split("/")[2]


def answer_well(request: Request) -> None:
    request.answer(body(requested_id(request)))


def changed(**changes: Any) -> mapping.Service:
    """Return the mapping with changes."""
    return dataclasses.replace(SERVICE, **changes)


@pytest.fixture(scope="module", autouse=True)
def no_sockets_left() -> Iterator[None]:
    """Sockets of the servers are collected here, not in the tests of another file."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
def reference_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the mapping of the reference service, whatever service.py says."""
    monkeypatch.setenv("SERVICE_MODULE", reference.__name__)


@pytest.fixture
def serve() -> Iterator[Callable[[Behavior], FaultServer]]:
    """A function that starts a server with a behavior."""
    with ExitStack() as stack:
        yield lambda behavior: stack.enter_context(fault_server(behavior))


@pytest.fixture
def service(serve: Callable[[Behavior], FaultServer]) -> FaultServer:
    """The service that the connection is configured for."""
    return serve(answer_well)


Connect = Callable[..., ProgressConnection]


@pytest.fixture
def connect(service: FaultServer) -> Iterator[Connect]:
    """A function that opens a connection to the service."""
    opened = []

    def open_connection(**arguments: Any) -> ProgressConnection:
        opened.append(ProgressConnection("progress", url=service.url, **arguments))
        return opened[-1]

    yield open_connection
    for connection in opened:
        connection.reset()


@pytest.fixture
def api(connect: Connect) -> ProgressConnection:
    """A connection to the service."""
    return connect(token=TOKEN)


def read(api: ProgressConnection, operation_id: str) -> Operation:
    return api.read([operation_id])[operation_id]


def failure(api: ProgressConnection, operation_id: str) -> BackendError:
    with pytest.raises(BackendError) as caught:
        api.read([operation_id])
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    return caught.value


def in_parallel(*calls: Callable[[], Any]) -> list[Any]:
    """Return what each call returned or raised, with a thread for each."""

    def outcome(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(outcome, calls))


def all_calls(api: ProgressConnection) -> list[Callable[[], Any]]:
    """Return a call of each method, for different operations."""
    return [
        lambda: api.read([new_operation_id()]),
        lambda: api.start(new_operation_id(), "j", "s", ""),
        lambda: api.cancel(new_operation_id()),
        lambda: api.recent(Query("")),
        lambda: api.counts(Query("")),
    ]


# Credentials.


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({"token": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}),
        ({"token": TOKEN, "header": "X-API-Key"}, {"X-API-Key": TOKEN}),
        (
            {"username": "me", "password": "pw"},
            {"Authorization": f"Basic {base64.b64encode(b'me:pw').decode()}"},
        ),
        ({}, {}),
    ],
    ids=["bearer", "header", "basic", "none"],
)
def test_credentials_are_sent_in_their_header(
    service: FaultServer, connect: Connect, arguments: dict[str, str], sent: dict[str, str]
) -> None:
    read(connect(**arguments), "a")
    headers = service.seen[0].headers
    assert {
        name: headers[name] for name in ("Authorization", "X-API-Key") if name in headers
    } == sent


SECRETS = {"url": "https://secrets.example", "token": "secret's", "header": "X-Secret"}
BASIC = {"url": "https://secrets.example", "username": "me", "password": "pw"}
COMMAND = {"url": "https://secrets.example", "token_command": ["x"], "header": "X-Secret"}
URL = {"url": "https://argument.example"}


@pytest.mark.parametrize(
    ("secrets", "variables", "arguments", "expected"),
    [
        (SECRETS, {}, {}, SECRETS),
        # A variable takes precedence over the secret of its name; an empty variable does not count.
        (SECRETS, {"token": "variable's", "header": ""}, {}, SECRETS | {"token": "variable's"}),
        # No token goes to a url of another layer.
        (SECRETS, URL, {}, URL),
        (SECRETS, URL | {"token": "variable's"}, {}, URL | {"token": "variable's"}),
        (SECRETS, {"url": ""}, {}, {}),
        (SECRETS, {"url": "https://variable.example", "token": "variable's"}, URL, URL),
        (
            SECRETS,
            {"header": "X-Variable"},
            URL | {"token": "argument's"},
            URL | {"token": "argument's"},
        ),
        # A token replaces a password, and the other way round.
        (SECRETS, {"username": "me", "password": "pw"}, {}, BASIC),
        (BASIC, {"token": TOKEN}, {}, {"url": BASIC["url"], "token": TOKEN}),
        (BASIC, {"token_file": "t"}, {}, {"url": BASIC["url"], "token_file": "t"}),
        (SECRETS, {"token_command": "[]"}, {}, COMMAND | {"token_command": "[]"}),
        (COMMAND, {"token": TOKEN}, {}, SECRETS | {"token": TOKEN}),
        (COMMAND, {"username": "me", "password": "pw"}, {}, BASIC),
    ],
)
def test_precedence_of_settings(
    secrets: dict[str, Any],
    variables: dict[str, str],
    arguments: dict[str, str],
    expected: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, variable in credentials.ENVIRONMENT.items():
        monkeypatch.delenv(variable, raising=False)
        if name in variables:
            monkeypatch.setenv(variable, variables[name])
    assert credentials.configuration(secrets, arguments) == expected


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_is_not_followed(
    serve: Callable[[Behavior], FaultServer],
    service: FaultServer,
    api: ProgressConnection,
    status: int,
) -> None:
    other = serve(answer_well)
    location = f"{other.url}/operations/a"
    service.behavior = lambda request: request.answer(status=status, Location=location)
    error = failure(api, "a")
    assert isinstance(error, BackendRejected)
    assert "credentials must not go" in str(error)
    with pytest.raises(BackendError):
        api.start("a" * 32, "j", "s", "")
    assert other.seen == [], "no request arrived there, so no token did"


@pytest.mark.parametrize("header", ["Location", "Operation-Location", "Azure-AsyncOperation"])
def test_a_location_on_another_origin_is_not_followed(
    serve: Callable[[Behavior], FaultServer],
    service: FaultServer,
    api: ProgressConnection,
    header: str,
) -> None:
    other = serve(answer_well)
    operation_id = new_operation_id()
    headers = {header: f"{other.url}/operations/{operation_id}"}
    service.behavior = lambda request: request.answer(body(operation_id), 202, **headers)
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
            request.answer(body(operation_id), ETag='"one"')

    service.behavior = answer
    api.start(operation_id, "j", "s", "")
    assert read(api, operation_id).current_step == 1
    assert [seen.path for seen in service.seen] == ["/operations", "/somewhere/else", "/here"]
    read(api, operation_id)
    assert service.seen[-1].path == "/here"
    assert service.seen[-1].headers["If-None-Match"] == '"one"'
    assert {seen.headers["Authorization"] for seen in service.seen} == {f"Bearer {TOKEN}"}


def test_a_redirect_loop_ends(service: FaultServer, api: ProgressConnection) -> None:
    service.behavior = lambda request: request.answer(status=302, Location=request.path)
    assert "redirected more than 3 times" in str(failure(api, "a"))


@pytest.mark.parametrize(
    "other",
    [
        "http://a.example/",
        "https://a.example:444/",
        "https://a.example.evil/",
        "https://b.example/",
    ],
)
def test_another_origin(other: str) -> None:
    client = http.Client({"url": "https://a.example/api"})
    assert client.on_origin(httpx2.URL("https://a.example:443/elsewhere"))
    assert not client.on_origin(httpx2.URL(other))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../../admin", "?x=1", "a#b", "%2e%2e", 'a"b', "a b", "é"]
)
def test_an_id_cannot_change_the_path(
    service: FaultServer, api: ProgressConnection, name: str
) -> None:
    service.behavior = lambda request: request.answer({"title": "No"}, 404)
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
        ({"url": "https://jobs.example.com", "token": " "}, "is empty"),
        ({"url": "https://jobs.example.com", "token": "hush", "header": "a b"}, "header"),
        ({"url": "https://jobs.example.com", "token": "hush", "token_file": "x"}, "only one of"),
        ({"url": "https://jobs.example.com", "token": "hush", "username": "x"}, "only one of"),
        ({"url": "https://jobs.example.com", "token_command": "print hush"}, "must be a list"),
        ({"url": "https://jobs.example.com", "token_command": [3, "hush"]}, "must be a list"),
        ({"url": "https://jobs.example.com", "proxy": "hush"}, "proxy"),
    ],
)
def test_an_invalid_setting_is_named_but_not_shown(
    settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in credentials.ENVIRONMENT.values():
        monkeypatch.setenv(variable, "")
    with pytest.raises(BackendRejected, match=message) as caught:
        ProgressConnection("progress", **settings).read(["a"])
    assert "hush" not in str(caught.value)


# Slow, unreachable and busy services.


def trickle(request: Request, opening: bytes) -> None:
    """Send a byte every tenth of a second, without an end."""
    request.close_connection = True
    request.wfile.write(opening)
    while not request.server.ended.wait(0.1):
        request.wfile.write(b"x")


def trickle_headers(request: Request) -> None:
    trickle(request, b"HTTP/1.1 200 OK\r\nX-Header: ")


def trickle_body(request: Request) -> None:
    trickle(request, b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")


def stay_silent(request: Request) -> None:
    request.server.ended.wait(30)


def wait_until_idle(service: FaultServer) -> None:
    """Wait until the server has noticed that all connections were closed."""
    deadline = time.monotonic() + 20
    while service.active:
        assert time.monotonic() < deadline, "a connection is still open"
        time.sleep(0.02)


@pytest.mark.parametrize("behavior", [trickle_headers, trickle_body, stay_silent])
def test_an_answer_without_end_ends_every_call_in_time(
    service: FaultServer,
    api: ProgressConnection,
    monkeypatch: pytest.MonkeyPatch,
    behavior: Behavior,
) -> None:
    monkeypatch.setattr(http, "DEADLINE", 1.0)
    service.behavior = behavior
    errors = in_parallel(*all_calls(api))
    assert {type(error) for error in errors} == {BackendUnavailable}
    assert {str(error) for error in errors} == {"The service did not answer within 1 s."}
    if behavior is not stay_silent:
        wait_until_idle(service)


def test_answers_without_end_keep_no_connection_and_no_slot(
    service: FaultServer, api: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    service.behavior = lambda request: request.answer(status=202, Location="/place")
    api.start(operation_id, "j", "s", "me")
    service.behavior = trickle_headers
    with monkeypatch.context() as patch:
        patch.setattr(http, "DEADLINE", 1.0)
        # More than there are connections in the pool.
        for _ in range(2):
            with pytest.raises(BackendUnavailable):
                api.read([new_operation_id() for _ in range(http.MAX_READS)])
    wait_until_idle(service)
    service.behavior = lambda request: request.answer(body(operation_id, owner=None))
    assert read(api, operation_id).owner == "me", "what is known of an operation is kept"
    assert service.seen[-1].path == "/place"


def test_an_unreachable_service_is_unavailable() -> None:
    with fault_server(answer_well) as stopped:
        url = stopped.url
    api = ProgressConnection("progress", url=url)
    assert isinstance(failure(api, "a"), BackendUnavailable)
    api.reset()


def test_the_reason_for_no_connection_has_no_codes_of_the_library(service: FaultServer) -> None:
    for url in ("http://no-such-host.invalid", service.url.replace("http:", "https:")):
        api = ProgressConnection("progress", url=url)
        place, _, reason = str(failure(api, "a")).partition(": ")
        assert place.startswith("GET ")
        assert re.fullmatch(r"[\w .,'-]{10,}", reason), reason
        assert "_ssl" not in reason
        api.reset()


@pytest.mark.parametrize("fault", [Request.reset, lambda request: request.answer(status=500)])
def test_a_get_is_retried(service: FaultServer, api: ProgressConnection, fault: Behavior) -> None:
    service.behavior = lambda request: (
        fault(request) if len(service.seen) < http.MAX_ATTEMPTS else answer_well(request)
    )
    assert read(api, "a").current_step == 1
    assert len(service.seen) == http.MAX_ATTEMPTS
    service.behavior = fault
    service.seen.clear()
    assert isinstance(failure(api, "a"), BackendUnavailable)
    assert len(service.seen) == http.MAX_ATTEMPTS


def test_a_post_with_a_key_is_retried_with_the_same_key(
    service: FaultServer, api: ProgressConnection
) -> None:
    operation_id = new_operation_id()
    service.behavior = lambda request: (
        request.reset() if len(service.seen) < 2 else request.answer(body(operation_id), 202)
    )
    api.start(operation_id, "j", "s", "")
    assert [seen.headers["Idempotency-Key"] for seen in service.seen] == [operation_id] * 2


def test_a_post_without_a_key_is_not_retried(service: FaultServer, connect: Connect) -> None:
    service.behavior = lambda request: request.answer(status=503)
    api = connect(service=changed(cancel=mapping.Call(method="POST", path="/cancel")))
    with pytest.raises(BackendUnavailable):
        api.cancel("a")
    assert len(service.seen) == 1


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_delays_the_next_read(
    service: FaultServer, api: ProgressConnection, as_date: bool
) -> None:
    there = datetime.now(UTC) + timedelta(days=400)  # The service's clock is wrong.
    wait = format_datetime(there + timedelta(seconds=7), usegmt=True) if as_date else "7"

    def busy(request: Request) -> None:
        request.date_time_string = (  # type: ignore[method-assign]
            lambda timestamp=None: format_datetime(there, usegmt=True)
        )
        request.answer({"title": "Busy"}, 503, "application/problem+json", Retry_After=wait)

    service.behavior = busy
    now = [0.0]
    poller = Poller(api.read, 0.5, clock=lambda: now[0])
    snapshot = poller.read("a")
    assert isinstance(snapshot.error, BackendUnavailable)
    assert snapshot.error.retry_after == pytest.approx(7, abs=1)
    assert len(service.seen) == 1, "no call waits that long"
    service.behavior = answer_well
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
def test_values_of_retry_after(value: str, seconds: float | None) -> None:
    assert http.retry_after({"Retry-After": value}) == seconds


RESET = {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": str(int(time.time()) + 400)}
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes."


@pytest.mark.parametrize(
    ("status", "message", "headers", "wait"),
    [
        (403, "API rate limit exceeded for installation ID 1.", RESET, 400),
        (429, "Too many", RESET, 400),
        (403, SECONDARY, {"X_RateLimit_Remaining": "14"}, 60),
        (403, SECONDARY, {"Retry_After": "7"}, 7),
        (429, "Too many", {}, None),
        (403, "Resource not accessible by integration", {"X_RateLimit_Remaining": "14"}, None),
        (403, "No", {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "soon"}, None),
    ],
)
def test_a_403_of_a_rate_limit_is_not_about_the_credentials(
    service: FaultServer,
    api: ProgressConnection,
    status: int,
    message: str,
    headers: dict[str, str],
    wait: float | None,
) -> None:
    service.behavior = lambda request: request.answer({"message": message}, status, **headers)
    error = failure(api, "a")
    if status == 403 and wait is None:
        assert isinstance(error, BackendRejected)
        assert "Check the credentials" in str(error)
    else:
        assert isinstance(error, BackendUnavailable)
        assert error.retry_after == (wait and pytest.approx(wait, rel=0.5))
        assert "credentials" not in str(error)
        assert len(service.seen) == (1 if wait else http.MAX_ATTEMPTS)


def test_retry_after_of_a_good_answer_is_honored_until_a_cancel(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behavior = lambda request: request.answer(body(requested_id(request)), Retry_After="60")
    for _ in range(3):
        assert read(api, "a").current_step == 1
    assert len(service.seen) == 1
    api.cancel("a")
    read(api, "a")
    assert len(service.seen) == 3


def test_a_rate_limit_holds_for_all_reads_and_for_nothing_else(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behavior = lambda request: (
        request.answer({"title": "Slow down"}, 429, Retry_After="300")
        if request.path.endswith("/a")
        else answer_well(request)
    )
    failure(api, "a")
    error = failure(api, "b")
    assert "429 Too Many Requests: Slow down Read again in 300 s." in str(error)
    assert isinstance(error, BackendUnavailable)
    assert error.retry_after == pytest.approx(300, abs=5)
    with pytest.raises(BackendUnavailable, match="Slow down"):
        api.counts(Query(""))
    assert len(service.seen) == 1
    api.cancel("b")
    assert len(service.seen) == 2


def test_another_refusal_delays_its_operation_only(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behavior = lambda request: (
        request.answer(status=503, Retry_After="300")
        if request.path.endswith("/a")
        else answer_well(request)
    )
    failure(api, "a")
    assert read(api, "b").current_step == 1


def test_a_short_retry_after_is_waited_for(service: FaultServer, api: ProgressConnection) -> None:
    service.behavior = lambda request: (
        request.answer(status=429, Retry_After="0")
        if len(service.seen) == 1
        else answer_well(request)
    )
    assert read(api, "a").current_step == 1


def test_many_reads_run_at_the_same_time_up_to_a_limit(
    service: FaultServer, api: ProgressConnection
) -> None:
    def slow(request: Request) -> None:
        time.sleep(0.1)
        answer_well(request)

    service.behavior = slow
    ids = [new_operation_id() for _ in range(24)]
    assert set(api.read(ids)) == set(ids)
    assert 1 < service.most_active <= http.MAX_READS


def test_all_attempts_have_one_deadline(
    service: FaultServer, api: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "DEADLINE", 2.0)
    monkeypatch.setattr(http, "MAX_ATTEMPTS", 10)

    def fail_slowly(request: Request) -> None:
        time.sleep(0.9)
        request.reset()

    service.behavior = fail_slowly
    assert isinstance(failure(api, "a"), BackendUnavailable)
    assert len(service.seen) <= 3  # with one for each attempt: 10


def test_a_click_does_not_wait_behind_reads(
    service: FaultServer, api: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "DEADLINE", 3.0)
    service.behavior = lambda request: (
        trickle_headers(request) if request.command == "GET" else request.answer(body("a"), 202)
    )
    ids = ["a", *(new_operation_id() for _ in range(http.MAX_READS))]
    ended: list[str] = []

    def poll() -> None:
        try:
            api.read(ids)
        finally:
            ended.append("poll")

    def click() -> None:
        time.sleep(0.3)
        api.start("a", "j", "s", "")  # While "a" is being read, too.
        api.cancel("a")
        ended.append("click")

    error, nothing = in_parallel(poll, click)
    assert isinstance(error, BackendUnavailable)
    assert nothing is None
    assert ended == ["click", "poll"]


def test_a_call_that_got_no_slot_in_time_is_never_sent(
    service: FaultServer, api: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tenth of it is what the threads may start apart.
    monkeypatch.setattr(http, "DEADLINE", 6.0)
    monkeypatch.setattr(http, "READ_TIMEOUT", 60.0)  # after it, a request is sent again
    read(api, "a")
    service.seen.clear()
    service.behavior = trickle_headers
    start = lambda: api.start(new_operation_id(), "j", "s", "")  # noqa: E731
    errors = in_parallel(*[start] * (http.MAX_CALLS + 2))
    assert all(isinstance(error, BackendUnavailable) for error in errors)
    service.behavior = answer_well
    time.sleep(0.5)
    assert len(service.seen) == http.MAX_CALLS


# The event loop and its thread.


def loop_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == http.THREAD_NAME}


def test_the_first_of_many_calls_starts_one_thread_and_reset_ends_it(
    connect: Connect,
) -> None:
    others = loop_threads()
    api = connect()
    assert loop_threads() == others, "an unused connection has no thread"
    for _ in range(2):
        ids = in_parallel(*[lambda: read(api, "a").operation_id] * 12)
        assert ids == ["a"] * 12
        assert len(loop_threads() - others) == 1
        api.reset()
        assert loop_threads() == others
    api.close()


def test_a_reset_ends_the_calls_under_way(
    service: FaultServer, api: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "DEADLINE", 10.0)
    service.behavior = trickle_headers

    def reset() -> None:
        deadline = time.monotonic() + 8
        while service.active < 5:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        api.reset()

    *errors, nothing = in_parallel(*all_calls(api), reset)
    assert nothing is None
    assert {type(error) for error in errors} == {BackendUnavailable}
    assert all("was closed before it answered" in str(error) for error in errors)
    wait_until_idle(service)
    service.behavior = answer_well
    assert read(api, "a").current_step == 1, "the next use opens a new client"


def test_resets_at_any_moment_are_no_tracebacks(
    service: FaultServer, api: ProgressConnection
) -> None:
    def slow(request: Request) -> None:
        time.sleep(0.02)
        answer_well(request)

    service.behavior = slow
    ends = time.monotonic() + 1.0

    def call() -> list[Exception]:
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

    first, second, nothing = in_parallel(call, call, reset)
    assert nothing is None
    assert first
    assert {type(error) for error in first + second} == {BackendUnavailable}
    assert read(api, "a").current_step == 1


# Reads, starts and cancels of one operation at the same time.


class Overtaken:
    """Holds back the answer to the first request until `go_on` is called."""

    def __init__(self, service: FaultServer, answer: Callable[[Request, int], None]) -> None:
        self.arrived, self._released = threading.Event(), threading.Event()

        def behave(request: Request) -> None:
            number = len(service.seen)
            if number == 1:
                self.arrived.set()
                self._released.wait(4)
            answer(request, number)

        service.behavior = behave

    def then(self, call: Callable[[], Any]) -> Callable[[], Any]:
        """Return a call that is made, and answered, while the first request waits."""

        def later() -> Any:
            self.arrived.wait(4)
            result = call()
            self._released.set()
            return result

        return later


def test_a_late_answer_does_not_replace_a_newer_one(
    service: FaultServer, api: ProgressConnection
) -> None:
    first = Overtaken(
        service,
        lambda request, number: request.answer(body("a", current_step=number), ETag=f'"{number}"'),
    )
    operations = in_parallel(lambda: read(api, "a"), first.then(lambda: read(api, "a")))
    assert [operation.current_step for operation in operations] == [2, 2]
    read(api, "a")
    assert service.seen[-1].headers["If-None-Match"] == '"2"'


def test_a_late_answer_that_the_operation_has_ended_counts(
    service: FaultServer, api: ProgressConnection
) -> None:
    first = Overtaken(
        service,
        lambda request, number: request.answer(
            body("a", status="completed" if number == 1 else "in_progress")
        ),
    )
    late, early = in_parallel(lambda: read(api, "a"), first.then(lambda: read(api, "a")))
    assert (early.status, late.status) == (Status.IN_PROGRESS, Status.COMPLETED)
    assert read(api, "a").status is Status.COMPLETED


def test_a_cancel_during_a_read_is_kept(service: FaultServer, api: ProgressConnection) -> None:
    first = Overtaken(service, lambda request, number: request.answer(body("a"), ETag='"one"'))
    operation, _ = in_parallel(lambda: read(api, "a"), first.then(lambda: api.cancel("a")))
    assert operation.is_cancelling
    assert read(api, "a").is_cancelling
    assert "If-None-Match" not in service.seen[-1].headers, "the service was to show it, too"


def test_a_start_during_a_read_is_kept(service: FaultServer, api: ProgressConnection) -> None:
    def answer(request: Request, number: int) -> None:
        headers: dict[str, Any] = {"Location": "/place"} if request.command == "POST" else {}
        request.answer(body("a", owner=None, subject=None), ETag='"one"', **headers)

    first = Overtaken(service, answer)
    start = lambda: api.start("a", "j", "mine", "me")  # noqa: E731
    for operation in (
        in_parallel(lambda: read(api, "a"), first.then(start))[0],
        read(api, "a"),
    ):
        assert (operation.subject, operation.owner) == ("mine", "me")
    assert service.seen[-1].path == "/place"
    assert "If-None-Match" not in service.seen[-1].headers


def test_a_read_during_a_start_loses_nothing(service: FaultServer, api: ProgressConnection) -> None:
    def answer(request: Request, number: int) -> None:
        if request.command == "POST":
            run = body("a", owner=None, current_step=0)
            request.answer(run, 202, Location="/place", Retry_After="60")
        else:
            request.answer(body("a", owner=None, current_step=3), ETag='"one"')

    first = Overtaken(service, answer)
    in_parallel(lambda: api.start("a", "j", "s", "me"), first.then(lambda: read(api, "a")))
    operation = read(api, "a")
    assert (operation.current_step, operation.owner) == (3, "me")
    assert service.seen[-1].path == "/place"
    assert "If-None-Match" not in service.seen[-1].headers


def test_the_oldest_records_are_forgotten(
    service: FaultServer, api: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_RECORDS", 2)

    def answer(request: Request) -> None:
        if requested_id(request) == "unknown":
            request.answer(status=404)
        else:
            request.answer(body(requested_id(request)), ETag='"one"')

    service.behavior = answer
    for name in ("a", "b", "unknown", "a", "b", "c", "a"):
        api.read([name])
    tags = [
        (requested[-1], seen.headers.get("If-None-Match"))
        for seen in service.seen
        if (requested := seen.path.split("/")[-1]) != "unknown"
    ]
    first, again = [("a", None), ("b", None)], [("a", '"one"'), ("b", '"one"')]
    assert tags == [*first, *again, ("c", None), ("a", None)]


@pytest.mark.parametrize("status", [404, 409, 410])
def test_a_refused_cancel_is_reported_unless_the_operation_has_ended(
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

    service.behavior = answer
    read(api, "a")
    with pytest.raises(BackendRejected, match="Not this one"):
        api.cancel("a")
    found = body("a", status="completed")
    api.cancel("a")
    found = None
    api.cancel("b")


# Answers that are not what they should be.


def test_an_operation_that_cannot_be_read_does_not_affect_others(
    service: FaultServer, api: ProgressConnection
) -> None:
    def answer(request: Request) -> None:
        if requested_id(request) == "bad":
            request.answer(b"<html>", kind="text/html")
        elif requested_id(request) == "none":
            request.answer({"title": "No"}, 404)
        else:
            answer_well(request)

    service.behavior = answer
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

    service.behavior = flood
    assert "more than 4,000,000 bytes" in str(failure(api, "a"))
    assert done.wait(30)
    assert sent[0] < 50_000_000
    assert len(service.seen) == 1, "it is not retried"


def test_problem_details_are_shown(service: FaultServer, api: ProgressConnection) -> None:
    problem = {"type": "about:blank", "title": "No credit", "detail": "Your balance\nis 30."}
    service.behavior = lambda request: request.answer(problem, 403, "application/problem+json")
    with pytest.raises(
        BackendRejected, match="403 Forbidden: No credit: Your balance is 30"
    ) as refused:
        api.start(new_operation_id(), "j", "s", "")
    assert TOKEN not in str(refused.value)
    assert "connections.progress" in str(refused.value)


@pytest.mark.parametrize(
    ("error", "reason"),
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
def test_the_reason_in_an_error_body(error: Any, reason: str) -> None:
    assert http.error_reason(error) == reason


NOT_AN_OPERATION = [
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
INVALID_VALUES = [
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
ODD_VALUES = [
    {"step_description": "\ud800 <b>**x**</b> \0"},
    {"step_description": {"a": 1}, "failed_steps": True},
    {"job": "\udfff", "subject": "\ud800"},
    {"status": "failed", "error": "\ud800\n\udfff"},
    {"status": "completed", "result": {"notes": ["\ud800"], "\ud800": "\udfff"}},
    {"status": "completed", "result": [1, 2]},
    {"status": "completed", "result": "text"},
]


@pytest.mark.parametrize("content", NOT_AN_OPERATION)
def test_an_answer_that_is_no_operation_is_an_error(
    service: FaultServer, api: ProgressConnection, content: bytes
) -> None:
    service.behavior = lambda request: request.answer(content)
    assert isinstance(failure(api, "a"), BackendUnavailable)
    assert len(service.seen) == 1, "it is not retried"


@pytest.mark.parametrize("changes", INVALID_VALUES)
def test_invalid_values_are_a_problem_and_logged_once(
    service: FaultServer,
    api: ProgressConnection,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
) -> None:
    service.behavior = lambda request: request.answer(body("a", **changes))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert read(api, "a").problem
    assert len([entry for entry in caplog.records if "invalid values" in entry.message]) == 1
    assert TOKEN not in caplog.text


def test_an_answer_without_any_field_is_shown(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behavior = lambda request: request.answer({})
    operation = read(api, "a")
    assert operation.status is Status.IN_PROGRESS
    assert operation.problem is not None
    assert operation.problem.startswith("status None is not one of")


@pytest.mark.parametrize("later", ["in_progress", "failed", "queued", "banana"])
def test_a_terminal_status_is_kept(
    service: FaultServer, api: ProgressConnection, caplog: pytest.LogCaptureFixture, later: str
) -> None:
    service.behavior = lambda request: request.answer(body("a", status="completed"))
    assert read(api, "a").problem is None
    service.behavior = lambda request: request.answer(body("a", status=later))
    operation = read(api, "a")
    assert operation.status is Status.COMPLETED
    assert operation.problem is not None
    assert "after completed" in operation.problem
    assert "after completed" in caplog.text


def test_304_keeps_the_value_and_moves_the_clock(
    service: FaultServer, api: ProgressConnection
) -> None:
    def answer(request: Request) -> None:
        if request.headers["If-None-Match"] == '"one"':
            request.answer(status=304, ETag='"one"')
        else:
            request.answer(body("a"), ETag='"one"')

    service.behavior = answer
    before, after, again = read(api, "a"), read(api, "a"), read(api, "a")
    assert [seen.headers.get("If-None-Match") for seen in service.seen] == [None, '"one"', '"one"']
    assert (again.current_step, again.created_at) == (before.current_step, before.created_at)
    assert after.read_at > before.read_at
    assert after.heartbeat_age > before.heartbeat_age


def test_304_to_an_unconditional_request_is_an_error(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behavior = lambda request: request.answer(status=304)
    assert isinstance(failure(api, "a"), BackendUnavailable)


def test_only_the_etag_of_a_read_is_used(service: FaultServer, api: ProgressConnection) -> None:
    tag = '"a"'
    service.behavior = lambda request: request.answer(body("a"), ETag=tag)
    api.start("a", "j", "s", "")
    for sent in (None, tag):
        read(api, "a")
        assert service.seen[-1].headers.get("If-None-Match") == sent
    tag = '"\xe9"'
    for _ in range(2):
        read(api, "a")
    assert "If-None-Match" not in service.seen[-1].headers, "a header cannot hold it"


def test_an_unexpected_error_is_of_one_operation_and_logged_once(
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
    assert caplog.text.count("could not be processed") == caplog.text.count("Traceback") == 1


@pytest.mark.parametrize(
    "content",
    [*NOT_AN_OPERATION, *INVALID_VALUES, *ODD_VALUES, b"flood", b"reset"],
    ids=lambda content: str(content)[:40],
)
def test_no_answer_is_a_traceback_on_the_page(
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
            request.answer(body(operation_id, owner=VIEWER, **content))

    service.behavior = answer
    monkeypatch.setenv("PROGRESS_API_URL", service.url)
    page = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=60)
    page.query_params["operation"] = operation_id
    try:
        for _ in range(2):
            page.run()
            assert not page.exception
        if isinstance(content, bytes):
            assert page.warning[0].value.startswith("The progress cannot be read")
        elif content in INVALID_VALUES:
            assert any("The stored progress" in warning.value for warning in page.warning)
    finally:
        st.cache_resource.clear()


# Lists and counts.


def test_a_list_that_is_no_list_is_an_error(service: FaultServer, api: ProgressConnection) -> None:
    service.behavior = lambda request: request.answer({"operations": "many"})
    with pytest.raises(BackendUnavailable, match="without a list"):
        api.recent(Query(""))
    service.behavior = lambda request: request.answer({"operations": [None, 3, {}, body("a")]})
    assert [operation.operation_id for operation in api.recent(Query(""))] == ["a"]


def test_the_list_of_a_service_without_filters_is_filtered_here(
    service: FaultServer, connect: Connect
) -> None:
    times = [f"2026-01-02T03:04:{seconds:02}Z" for seconds in range(25)]
    runs = [
        body(f"run{number:02}", created_at=time, job=f"job {number % 2}", result={"a": 1})
        for number, time in enumerate(times)
    ]
    runs += [body("foreign", owner="another", created_at=NOW)]
    runs[3]["status"] = "failed"
    service.behavior = lambda request: request.answer({"operations": runs})
    api = connect(service=changed(filters=False, counts=None))
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
    assert limits == {"100"}, "all that a page can show, but not more than services list"
    assert "owner=" not in service.seen[-2].path, "a filter that is None is not sent"


def test_operations_of_another_owner_are_left_out_even_if_the_service_lists_them(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behavior = lambda request: request.answer(
        {"operations": [body("mine", owner="me"), body("foreign", owner="another")]}
    )
    assert [row.operation_id for row in api.recent(Query("me"))] == ["mine"]
    assert "owner=me" in service.seen[0].path


def test_counts_that_are_no_object_are_an_error(
    service: FaultServer, api: ProgressConnection
) -> None:
    service.behavior = lambda request: request.answer([1])
    with pytest.raises(BackendUnavailable, match="without counts"):
        api.counts(Query(""))
    service.behavior = lambda request: request.answer({"failed": 2, "queued": "x", "odd": 1})
    assert api.counts(Query("")) == {Status.FAILED: 2, Status.IN_PROGRESS: 1}


# The mapping.


def test_a_service_without_heartbeats_is_never_stale(
    service: FaultServer, connect: Connect
) -> None:
    fields = {name: where for name, where in SERVICE.fields.items() if name != "heartbeat_at"}
    api = connect(service=changed(fields=fields))
    stale = body("a", read_at="2026-01-01T01:00:00+00:00", last_updated=NOW)
    service.behavior = lambda request: request.answer(
        stale, 304 if request.headers["If-None-Match"] else 200, ETag='"one"'
    )
    for _ in range(2):
        assert read(api, "a").heartbeat_age == 0
    assert service.seen[-1].headers["If-None-Match"] == '"one"'
    assert read(connect(), "a").heartbeat_age == 3600, "a mapped heartbeat that is missing is stale"


def test_a_status_word_of_ours_that_is_not_in_the_mapping_is_a_problem(
    service: FaultServer, connect: Connect
) -> None:
    service.behavior = lambda request: request.answer(body("a", status="failed"))
    operation = read(connect(service=changed(statuses={"FAILED": Status.FAILED})), "a")
    assert operation.status is Status.IN_PROGRESS
    assert operation.problem is not None
    assert "failed (not in the mapping)" in operation.problem


def test_a_function_of_the_mapping_may_raise() -> None:
    def fail(body: Any) -> None:
        raise OSError(body)

    assert changed(fields={"error": fail}).row({})["error"] is None


def test_a_path_may_have_a_colon(service: FaultServer, connect: Connect) -> None:
    service.behavior = lambda request: request.answer(body("a"))
    api = connect(service=changed(read=mapping.Call(method="GET", path="/jobs:read")))
    read(api, "a")
    assert service.seen[-1].path == "/jobs:read"


MISTAKES: list[tuple[dict[str, Any], str]] = [
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
    ({"fields": {**SERVICE.fields, "curent_step": "x"}}, "fields has curent_step"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_a_mistake_in_the_mapping_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BackendRejected) as caught:
        ProgressConnection("progress", service=changed(**changes), url="http://127.0.0.1:9")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


MAPPINGS = {
    "SERVICE = (": "SyntaxError",
    "from progress.backend.mapping import Service\nSERVICE = Service(start=1)": "TypeError",
    "from progress.backend.profiles import airflow\nSERVICE = airflow": "SERVICE is function, not",
    "from progress.backend.reference import SERVICE as MINE": "AttributeError",
    "import dataclasses\nfrom progress.backend import reference\n"
    "SERVICE = dataclasses.replace(reference.SERVICE, fields={'status': 'x'})": "no operation_id",
}


@pytest.mark.parametrize(("source", "message"), MAPPINGS.items())
def test_a_mistake_in_the_mapping_is_a_line_on_each_page(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_service.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SERVICE_MODULE", "own_service")
    st.cache_resource.clear()
    try:
        page = click(open_page(), "start")
        (line,) = [text for text in texts(page) if message in text]
        assert line.startswith("The mapping in progress/backend/service.py: ")
        assert "\n" not in line
        assert line in texts(switch_page(page, "board"))
    finally:
        sys.modules.pop("own_service", None)
        st.cache_resource.clear()


def test_every_profile_is_valid() -> None:
    for profile in (
        profiles.aip151(),
        profiles.azure("/x"),
        profiles.github_actions("a/b", "c.yml"),
        profiles.airflow("a"),
        profiles.databricks(1),
        profiles.prefect("a"),
    ):
        profile.check()
