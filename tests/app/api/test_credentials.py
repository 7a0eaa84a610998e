"""Tokens that change, and tokens and passwords that no message, log line or value may contain."""

import base64
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from progress.backend import credentials, reference
from progress.backend.connection import ProgressConnection
from progress.contract import BackendError, BackendRejected, BackendUnavailable
from progress.operation import Query
from tests.app.fault_server import FaultServer, Request, fault_server

TOKEN = "the-secret-token"
ECHO = "you sent Authorization: "


@pytest.fixture
def service() -> Iterator[FaultServer]:
    """A service that accepts every token."""
    with fault_server(answer_well) as server:
        yield server


@pytest.fixture
def connect(service: FaultServer) -> Iterator[Callable[..., ProgressConnection]]:
    """A function that opens a connection to the service."""
    with ExitStack() as stack:

        def open_connection(**settings: Any) -> ProgressConnection:
            arguments = {"service": reference.SERVICE, "url": service.url} | settings
            connection = ProgressConnection("progress", **arguments)
            stack.callback(connection.reset)
            return connection

        yield open_connection


Connect = Callable[..., ProgressConnection]


def answer_well(request: Request) -> None:
    request.answer({"operation_id": request.path.split("/")[2], "status": "in_progress"})


def accept(token: str) -> Callable[[Request], None]:
    """Return the behavior of a service that accepts one token."""

    def answer(request: Request) -> None:
        if request.headers["Authorization"] == f"Bearer {token}":
            answer_well(request)
        else:
            request.answer({"title": "Expired"}, 401)

    return answer


def sent(service: FaultServer) -> list[str]:
    """Return the tokens of the requests since the last call."""
    tokens = [seen.headers["Authorization"].removeprefix("Bearer ") for seen in service.seen]
    service.seen.clear()
    return tokens


@pytest.mark.parametrize("kind", ["token_file", "token_command"])
def test_a_token_that_expired_is_read_again_once(
    service: FaultServer, connect: Connect, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "token"
    path.write_text("first\n", "utf-8")
    # Without a shell: an argument with spaces and quotes is one argument.
    command = [sys.executable, "-c", "import sys; print(open(sys.argv[1]).read())", str(path)]
    api = connect(**{kind: str(path) if kind == "token_file" else command})
    api.read(["a"])
    path.write_text("second\n", "utf-8")
    api.read(["a"])
    assert sent(service) == ["first", "first"], "it is not read for every request"
    service.behavior = accept("second")
    api.cancel("a")
    assert sent(service) == ["first", "second"]
    service.behavior = accept("third")
    with pytest.raises(BackendRejected, match="401 Unauthorized: Expired Check the credentials"):
        api.read(["a"])
    path.write_text("third\n", "utf-8")
    with pytest.raises(BackendRejected):
        api.read(["a"])
    assert sent(service) == ["second", "second"], "a token that stays refused is read rarely"


def test_a_refused_token_is_read_again_after_a_pause_and_an_old_one_always(
    service: FaultServer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "RETRY_PAUSE", 0.0)
    path = tmp_path / "token"
    path.write_text("first", "utf-8")
    service.behavior = accept("second")
    api = connect(token_file=str(path))
    with pytest.raises(BackendRejected):
        api.read(["a"])
    path.write_text("second", "utf-8")
    api.read(["a"])
    service.behavior = answer_well
    monkeypatch.setattr(credentials, "MAX_TOKEN_AGE", 0.0)
    old = connect(token_file=str(path))
    old.read(["a"])
    path.write_text("third", "utf-8")
    old.read(["a"])
    assert sent(service) == ["first", "first", "second", "second", "third"]


def test_many_requests_read_an_expired_token_once(
    service: FaultServer, connect: Connect, tmp_path: Path
) -> None:
    log, program = tmp_path / "log", tmp_path / "program.py"
    program.write_text(
        f"with open({str(log)!r}, 'a+') as log:\n"
        "    log.write('x')\n    log.seek(0)\n    print(f'token{len(log.read())}')\n"
    )
    api = connect(token_command=json.dumps([sys.executable, str(program)]))
    api.read(["a"])
    service.behavior = accept("token2")
    assert len(api.read([f"operation{number}" for number in range(8)])) == 8
    assert log.read_text() == "xx"


def test_a_token_that_cannot_be_renewed_is_used_until_it_is_refused(
    service: FaultServer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "MAX_TOKEN_AGE", 0.0)
    log, program = tmp_path / "log", tmp_path / "program.py"
    program.write_text(
        f"with open({str(log)!r}, 'a+') as log:\n"
        "    log.write('x')\n    log.seek(0)\n"
        "    print('first') if len(log.read()) == 1 else exit(3)\n"
    )
    api = connect(token_command=[sys.executable, str(program)])
    for _ in range(3):
        api.read(["a"])
    assert sent(service) == ["first"] * 3
    service.behavior = accept("second")
    for _ in range(2):
        with pytest.raises(BackendRejected, match=r"token_command .* failed .exit status 3."):
            api.read(["a"])
    assert log.read_text() == "xx", "a command that fails does not run for every request"
    monkeypatch.setattr(credentials, "RETRY_PAUSE", 0.0)
    absent = connect(token_file=str(tmp_path / "token"))
    with pytest.raises(BackendRejected, match="FileNotFoundError"):
        absent.read(["a"])
    (tmp_path / "token").write_text("second", "utf-8")
    absent.read(["a"])


def test_a_token_in_the_settings_is_refused_once(service: FaultServer, connect: Connect) -> None:
    service.behavior = accept("another")
    with pytest.raises(BackendRejected):
        connect(token=TOKEN).read(["a"])
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token_file": "/no/such/file"}, "token_file .* cannot be read .FileNotFoundError."),
        ({"token_file": "."}, "token_file .* cannot be read .IsADirectoryError."),
        ({"token_file": "/dev/null"}, "is empty"),
        ({"token_command": ["/no/such/program"]}, "token_command .* failed .FileNotFoundError."),
        (
            {"token_command": [sys.executable, "-c", f"print('{TOKEN}'); exit(3)"]},
            "token_command .* failed .exit status 3.: run it in a terminal",
        ),
        ({"token_command": [sys.executable, "-c", "print('a' + chr(9) + 'b')"]}, "copy it again"),
        ({"token_command": ["sleep", "60"]}, "failed .TimeoutExpired."),
    ],
)
def test_a_token_that_cannot_be_read_is_one_line(
    service: FaultServer,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    message: str,
) -> None:
    if settings.get("token_command") == ["sleep", "60"]:
        monkeypatch.setattr(credentials, "COMMAND_TIMEOUT", 0.3)
    with pytest.raises(BackendRejected, match=message) as caught:
        connect(**settings).read(["a"])
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert service.seen == []


# What must not be shown.


@pytest.mark.parametrize("space", [" ", "\n", "\t", "\r\n "])
def test_white_space_around_a_token_is_stripped(
    service: FaultServer, connect: Connect, space: str
) -> None:
    connect(token=f"{space}{TOKEN}{space}").read(["a"])
    assert sent(service) == [TOKEN]


BASIC = base64.b64encode(f"me:{TOKEN}".encode()).decode()
KINDS: list[dict[str, Any]] = [
    {"token": TOKEN},
    {"token": TOKEN, "header": "X-Key"},
    {"token": f"Token {TOKEN}", "header": "Authorization"},
    {"username": "me", "password": TOKEN},
    {"token_command": [sys.executable, "-c", f"print('{TOKEN}')"]},
]


@pytest.mark.parametrize(
    "settings", KINDS, ids=["token", "header", "scheme", "password", "command"]
)
def test_a_service_that_returns_the_credentials_leaks_nothing(
    service: FaultServer,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, Any],
) -> None:
    def echo(request: Request) -> str:
        return ECHO + (request.headers["Authorization"] or "") + (request.headers["X-Key"] or "")

    def refuse(request: Request) -> None:
        request.answer({"title": "No", "detail": f"{echo(request)}\x1b[31m {TOKEN}"}, 403)

    def fail(request: Request) -> None:
        request.answer({"error": {"message": echo(request)}}, 503)

    def redirect(request: Request) -> None:
        request.answer(status=302, Location=f"/{TOKEN}{len(service.seen)}")

    def run(request: Request) -> None:
        operation: dict[str, Any] = {"operation_id": "a", "job": TOKEN, echo(request): TOKEN}
        operation |= {"status": echo(request), "result": {"notes": [echo(request)]}}
        request.answer({"operations": [operation]} if "?" in request.path else operation)

    api = connect(**settings)
    shown = []
    with caplog.at_level(logging.DEBUG):
        for behavior in (refuse, fail, redirect):
            service.behavior = behavior
            for call in (lambda: api.read(["a"]), lambda: api.recent(Query(""))):
                with pytest.raises(BackendError) as caught:
                    call()
                shown.append(str(caught.value))
        service.behavior = run
        operation = api.read(["a"])["a"]
        shown += [repr(operation), repr(api.recent(Query(None)))]
    assert operation.job == credentials.HIDDEN
    assert any(ECHO in text for text in shown), "only the credentials are replaced"
    records = [f"{vars(record)} {record.getMessage()}" for record in caplog.records]
    for text in [*shown, caplog.text, *records]:
        assert TOKEN not in text
        assert BASIC not in text
        assert "\x1b" not in text


def test_no_part_of_the_credentials_is_left_at_the_end_of_a_long_message(
    service: FaultServer, connect: Connect
) -> None:
    def refuse(request: Request) -> None:
        request.answer({"detail": "x" * 490 + TOKEN}, 400)

    def redirect(request: Request) -> None:
        request.answer(status=302, Location=f"/{'x' * 180}{TOKEN}")

    api = connect(token=TOKEN)
    for behavior in (refuse, redirect):
        service.behavior = behavior
        with pytest.raises(BackendError) as caught:
            api.read(["a"])
        assert TOKEN[:4] not in str(caught.value)


def test_the_errors_of_the_http_library_leak_nothing(
    service: FaultServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def malformed(request: Request) -> None:
        request.wfile.write(f"HTTP/1.1 200 {TOKEN}\x1b[31m\r\n{TOKEN}\r\n\r\n".encode())
        request.close_connection = True

    service.behavior = malformed
    with caplog.at_level(logging.DEBUG), pytest.raises(BackendUnavailable) as caught:
        connect(token=TOKEN).read(["a"])
    records = [f"{vars(record)} {record.getMessage()}" for record in caplog.records]
    for text in [str(caught.value), caplog.text, *records]:
        assert TOKEN not in text
        assert "\x1b" not in text


def test_a_reason_phrase_has_no_control_characters(service: FaultServer, connect: Connect) -> None:
    def refuse(request: Request) -> None:
        request.wfile.write(
            b"HTTP/1.1 400 Bad\x9b31m\x85\xe2\x80\xae no\r\nContent-Length: 0\r\n\r\n"
        )
        request.close_connection = True

    service.behavior = refuse
    with pytest.raises(BackendRejected) as caught:
        connect(token=TOKEN).read(["a"])
    assert str(caught.value).isprintable()
    service.behavior = lambda request: request.answer(
        {"detail": "\x1b[1;31mred\x1b[0m \u202etxt \x9b2J\x07 \u0000bell"}, 400
    )
    with pytest.raises(BackendRejected, match=r"400 Bad Request: red txt 2J bell"):
        connect(token=TOKEN).read(["a"])


def test_the_proxy_of_the_environment_is_not_used(
    service: FaultServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_server(answer_well) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        # Not a server on this machine, which no proxy of the environment is used for.
        url = service.url.replace("127.0.0.1", "127.0.0.2")
        with pytest.raises(BackendUnavailable):
            connect(url=url, token=TOKEN).read(["a"])
        assert proxy.seen == []
        monkeypatch.setenv("PROGRESS_API_PROXY", proxy.url)
        monkeypatch.setenv("PROGRESS_API_URL", url)
        monkeypatch.setenv("PROGRESS_API_TOKEN", TOKEN)
        configured = ProgressConnection("progress", service=reference.SERVICE)
        proxy.behavior = lambda request: request.answer({"operation_id": "a", "status": "queued"})
        configured.read(["a"])
        configured.reset()
        assert [seen.path for seen in proxy.seen] == [f"{url}/operations/a"]


def test_the_password_of_a_proxy_is_not_shown(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: Request) -> None:
        request.answer({"detail": f"the proxy has {TOKEN}"}, 407)

    monkeypatch.setattr(credentials, "MAX_TOKEN_AGE", 0.0)
    path = tmp_path / "token"
    with fault_server(answer) as proxy:
        url = proxy.url.replace("//", f"//me:{TOKEN}@")
        api = connect(proxy=url, token_file=str(path))
        for number in range(7):  # however many tokens came after it
            path.write_text(f"token{number}", "utf-8")
            with pytest.raises(BackendRejected, match="407") as caught:
                api.read(["a"])
            assert TOKEN not in str(caught.value)


def test_no_thread_is_left_by_a_command(connect: Connect) -> None:
    before = set(threading.enumerate())
    api = connect(token_command=[sys.executable, "-c", "print('token')"])
    api.read(["a"])
    started = [thread for thread in set(threading.enumerate()) - before if "asyncio" in thread.name]
    assert started
    api.reset()
    for thread in started:
        thread.join(30)
        assert not thread.is_alive()
