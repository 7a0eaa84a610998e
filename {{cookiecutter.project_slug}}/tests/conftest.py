"""Fixtures and helpers of all tests: the local server of the backend, and a connection to it."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st
from streamlit import config

from dev.local_server import local_server
from progress.backend.connection import ProgressConnection
from progress.operation import Operation, Query, new_operation_id
from progress.settings import ROOT

OWNER = "somebody@example.com"


@pytest.fixture(scope="session")
def data_folder() -> Iterator[Path]:
    """A folder for the data of servers.

    Not pytest's `tmp_path`: Postgres may run as another user, who has no access to that.
    """
    (ROOT / ".local").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".local", prefix="tests-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def environment(data_folder: Path) -> Iterator[dict[str, str]]:
    """A local server of this test run: the variables by which the app and its jobs find it."""
    config.set_option("server.address", "127.0.0.1")  # else a page would warn: no login
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOBS_MODULE", "tests.jobs")
        patch.setenv("MAX_RUNNING", "20")  # tests leave jobs running, and have one queue
        # On a busy machine jobs.py takes longer to load than a page waits for it.
        patch.setattr("progress.session.choices.LOAD_TIMEOUT", 30.0)
        with local_server(data_folder, always=True) as variables:
            for name, value in variables.items():
                patch.setenv(name, value)
            yield variables | {"JOBS_MODULE": "tests.jobs", "MAX_RUNNING": "20"}


@pytest.fixture(scope="module")
def connection(environment: dict[str, str]) -> Iterator[ProgressConnection]:
    """A connection to the local server."""
    opened = ProgressConnection("progress")
    yield opened
    opened.reset()


@pytest.fixture
def started(connection: ProgressConnection) -> Callable[[str, str], str]:
    """A function that starts a job of tests/jobs.py and returns the id of the operation."""

    def start(job: str, subject: str = "fast") -> str:
        operation_id = new_operation_id()
        connection.start(operation_id, job, subject, OWNER)
        return operation_id

    return start


@pytest.fixture
def fresh_app(environment: dict[str, str]) -> Iterator[None]:
    """The app with pollers and a connection for this test only."""
    yield
    st.connection("progress", type=ProgressConnection).reset()
    st.cache_resource.clear()


def pages(recent: Callable[[Query], list[Operation]], query: Query) -> list[list[Operation]]:
    """Read all pages of a list, but at most 10."""
    found: list[list[Operation]] = []
    while len(found) < 10 and (page := recent(query)):
        found.append(page)
        query = replace(query, before=(page[-1].created_at, page[-1].operation_id))
    return found


def wait_until(
    connection: ProgressConnection,
    operation_id: str,
    condition: Callable[[Operation], bool],
    seconds: float = 60,
) -> Operation:
    """Poll an operation until the condition is true; fail with its latest state after a timeout."""
    deadline = time.monotonic() + seconds
    while True:
        operation = connection.read([operation_id])[operation_id]
        if condition(operation):
            return operation
        assert time.monotonic() < deadline, f"still {operation}"
        time.sleep(0.05)


def wait_for_end(connection: ProgressConnection, operation_id: str) -> Operation:
    """Poll an operation until its status is terminal."""
    return wait_until(connection, operation_id, lambda operation: operation.status.is_terminal)
