"""`make dev`: where it runs, and which websites reach it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from dev.__main__ import main
from progress.settings import ROOT


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an app that `python -m dev` serves."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    database = str(tmp_path_factory.mktemp("dev") / "progress.db")
    served = subprocess.Popen(
        [sys.executable, "-m", "dev"],
        cwd=ROOT,
        env=os.environ | {"PORT": str(port), "PROGRESS_DATABASE": database},
    )
    deadline = time.monotonic() + 60
    while connect(port, f"127.0.0.1:{port}") == "":
        assert served.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield port
    served.terminate()
    served.wait(60)


def connect(port: int, host: str) -> str:
    """Open a websocket as a website at `host` would, and return the first line of the answer."""
    lines = [
        "GET /_stcore/stream HTTP/1.1",
        f"Host: {host}",
        f"Origin: http://{host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
    ]
    try:
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            return connection.recv(1000).decode("latin-1").partition("\r\n")[0]
    except OSError:
        return ""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_reaches_it(port: int, host: str) -> None:
    assert " 101 " in connect(port, f"{host}:{port}")


def test_a_website_that_names_this_machine_does_not(port: int) -> None:
    answer = connect(port, f"rebound.example:{port}")
    assert answer
    assert " 101 " not in answer


@pytest.mark.parametrize(("system", "tested"), [("linux", 1), ("darwin", 1), ("win32", 0)])
def test_a_system_that_is_not_tested_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], system: str, tested: int
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setenv("PORT", "none")  # ends it before it starts a server
    assert main() == 2
    *lines, port = capsys.readouterr().err.splitlines()
    assert port.startswith("PORT=none is not a port.")
    named = "win32 is not tested. Where something fails, use Linux, macOS or WSL."
    assert lines == ([] if tested else [named])
