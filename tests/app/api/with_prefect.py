"""The Prefect profile with a real Prefect server on this machine.

Prefect is large, so it is not a dependency of the project: test_project.py of the template runs
this file. Prefect 3.8 does not start with later versions of FastAPI:

    uv run --with "prefect>=3.4,<4" --with "fastapi<0.150" pytest tests/app/with_prefect.py
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from progress.backend.connection import ProgressConnection
from progress.backend.profiles import prefect
from progress.contract import BackendRejected
from progress.operation import Log, Operation, Options, Query, Status, new_operation_id
from progress.settings import ROOT
from tests.conftest import OWNER, wait_until

PASSWORD = "user:a password"
FLOW = """
import time
from prefect import flow, get_run_logger

@flow
def work(operation_id: str, job: str, subject: str, owner: str, parameters: dict = {}):
    for number in range(parameters.get("lines", 0)):
        get_run_logger().info("line %s", number)
    if subject == "broken":
        raise ValueError("no *such* transcript")
    for _ in range(600 if subject == "endless" else 10):
        time.sleep(0.1)

if __name__ == "__main__":
    work.serve(name="work", print_starting_message=False)
"""


@contextmanager
def process(
    command: list[str], environment: dict[str, str], folder: Path
) -> "Iterator[subprocess.Popen[bytes]]":
    with (
        (folder / "prefect.log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=os.environ | environment,
            stdout=log,
            stderr=log,
        ) as running,
    ):
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()


def eventually(
    attempt: Callable[[], httpx2.Response], running: "subprocess.Popen[bytes]", folder: Path
) -> httpx2.Response:
    deadline = time.monotonic() + 90
    while True:
        try:
            answer = attempt()
            if answer.status_code == 200:
                return answer
        except httpx2.HTTPError:
            pass
        log = (folder / "prefect.log").read_text(errors="replace")
        assert running.poll() is None, log[-3000:]
        assert time.monotonic() < deadline, log[-3000:]
        time.sleep(0.2)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server with a password and a process that serves a flow; their settings."""
    folder = tmp_path_factory.mktemp("prefect")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": url,
        "PREFECT_API_AUTH_STRING": PASSWORD,
        "PREFECT_SERVER_API_AUTH_STRING": PASSWORD,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(ROOT),
    }
    (folder / "work.py").write_text(FLOW, "utf-8")
    user, _, password = PASSWORD.partition(":")
    serve = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (
        httpx2.Client(auth=(user, password), trust_env=False) as client,
        process(serve, environment, folder) as server,
    ):
        eventually(lambda: client.get(f"{url}/health"), server, folder)
        with process(["work.py"], environment, folder) as worker:
            name = f"{url}/deployments/name/work/work"
            deployment = eventually(lambda: client.get(name), worker, folder).json()["id"]
            yield {"url": url, "username": user, "password": password, "deployment": deployment}


@pytest.fixture
def connect(settings: dict[str, str]) -> Iterator[Callable[..., ProgressConnection]]:
    """A function that opens a connection to the server, like another replica of the app."""
    opened = []

    def open_one(**changes: str) -> ProgressConnection:
        given = {name: settings[name] for name in ("url", "username", "password")} | changes
        service = prefect(settings["deployment"])
        opened.append(ProgressConnection("progress", service=service, **given))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.reset()


def ended(operation: Operation) -> bool:
    return operation.status.is_terminal


def test_a_run_is_started_and_read_until_its_end(
    connect: Callable[..., ProgressConnection],
) -> None:
    first, second = connect(), connect()
    operation_id = new_operation_id()
    for _ in range(2):
        first.start(operation_id, "work", "quick", OWNER)
    seen = set()

    def has_ended(operation: Operation) -> bool:
        seen.add(operation.status)
        return ended(operation)

    operation = wait_until(first, operation_id, has_ended, 240)
    assert seen == {Status.QUEUED, Status.IN_PROGRESS, Status.COMPLETED}
    assert (operation.job, operation.subject, operation.owner) == ("work", "quick", OWNER)
    assert operation.problem is None
    assert operation.attempt == 1
    assert 1 <= operation.elapsed < 240
    # Another replica, or this one after a restart, knows only the id.
    assert second.read([operation_id, new_operation_id()]).keys() == {operation_id}
    assert second.read([operation_id])[operation_id].status is Status.COMPLETED
    recent = second.recent(Query(OWNER))
    assert [run.operation_id for run in recent] == [operation_id], "it ran once"
    assert second.recent(Query("nobody@example.com")) == []
    # The board requests this many (MAX_MEASURED); Prefect refuses to list more than 200.
    assert len(second.recent(Query(OWNER, limit=500))) == 1


def test_parameters_arrive_and_the_log_is_read(
    connect: Callable[..., ProgressConnection],
) -> None:
    first, second = connect(), connect()
    operation_id = new_operation_id()
    first.start(operation_id, "work", "quick", OWNER, options=Options({"lines": 3}))
    wait_until(first, operation_id, ended, 240)
    assert second.read([operation_id])[operation_id].options == Options({"lines": 3})
    # Prefect's worker sends them every two seconds.
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        lines = second.logs([operation_id], 1000).get(operation_id, Log()).lines
        texts = [line.text for line in lines]
        if "line 2" in texts:
            break
        time.sleep(0.2)
    assert [text for text in texts if text.startswith("line ")] == ["line 0", "line 1", "line 2"]
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert len(second.logs([operation_id], 2)[operation_id].lines) == 2


def test_a_failure_has_its_reason(connect: Callable[..., ProgressConnection]) -> None:
    connection = connect()
    operation_id = new_operation_id()
    connection.start(operation_id, "work", "broken", OWNER)
    operation = wait_until(connection, operation_id, ended, 240)
    assert operation.status is Status.FAILED
    assert operation.error is not None
    assert "no *such* transcript" in operation.error


def test_a_run_is_cancelled(connect: Callable[..., ProgressConnection]) -> None:
    first, second = connect(), connect()
    operation_id = new_operation_id()
    first.start(operation_id, "work", "endless", OWNER)
    wait_until(first, operation_id, lambda run: run.status is Status.IN_PROGRESS, 240)
    second.cancel(operation_id)
    assert first.read([operation_id])[operation_id].cancel_requested
    assert wait_until(first, operation_id, ended, 240).status is Status.CANCELLED
    second.cancel(operation_id)
    assert first.read([operation_id])[operation_id].status is Status.CANCELLED


def test_a_wrong_password_is_rejected(connect: Callable[..., ProgressConnection]) -> None:
    with pytest.raises(BackendRejected, match="401 Unauthorized"):
        connect(password="wrong").start(new_operation_id(), "work", "quick", OWNER)
