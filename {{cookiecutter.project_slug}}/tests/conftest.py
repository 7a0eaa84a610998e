"""What the tests share: the stand-in of the backend, and a connection to it."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dev.local_server import local_server
from progress.backend.connection import ProgressConnection
from progress.operation import Operation, Query, new_operation_id
from progress.settings import ROOT

OWNER = "somebody@example.com"


@pytest.fixture(scope="session")
def data_folder() -> Iterator[Path]:
    """A folder for the data of servers, of which some run as users of their own.

    Not one of pytest's: these are closed to other users again whenever pytest starts.
    """
    (ROOT / ".local").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".local", prefix="tests-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def environment(data_folder: Path) -> Iterator[dict[str, str]]:
    """The variables that lead an app, and its jobs, to a stand-in of this test run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOBS_MODULE", "tests.jobs")
        with local_server(data_folder, always=True) as variables:
            for name, value in variables.items():
                patch.setenv(name, value)
            yield variables | {"JOBS_MODULE": "tests.jobs"}


@pytest.fixture(scope="module")
def connection(environment: dict[str, str]) -> Iterator[ProgressConnection]:
    """A connection of its own to the stand-in."""
    opened = ProgressConnection("progress")
    yield opened
    opened.reset()


@pytest.fixture
def started(connection: ProgressConnection) -> Callable[[str, str], str]:
    """A function that starts a job of tests/jobs.py and returns the operation's id."""

    def start(job: str, subject: str = "fast") -> str:
        operation_id = new_operation_id()
        connection.start(operation_id, job, subject, OWNER)
        return operation_id

    return start


def pages(recent: Callable[[Query], list[Operation]], query: Query) -> list[list[Operation]]:
    """Read one page after the other, but no more than 10, should they not end."""
    found: list[list[Operation]] = []
    while len(found) < 10 and (page := recent(query)):
        found.append(page)
        query = replace(query, before=(page[-1].created_at, page[-1].operation_id))
    return found


def wait_until(
    connection: ProgressConnection,
    operation_id: str,
    condition: Callable[[Operation], bool],
    seconds: float = 30,
) -> Operation:
    """Read an operation until the condition holds; fail with its last state if it never does."""
    deadline = time.monotonic() + seconds
    while True:
        operation = connection.read([operation_id])[operation_id]
        if condition(operation):
            return operation
        assert time.monotonic() < deadline, f"still {operation}"
        time.sleep(0.05)


def wait_for_end(connection: ProgressConnection, operation_id: str) -> Operation:
    """Read an operation until its status is terminal."""
    return wait_until(connection, operation_id, lambda operation: operation.status.is_terminal)
