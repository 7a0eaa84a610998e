"""A fake Snowflake server of these tests' own, which they may stop, and operations in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.local_server import FakeSnowflake
from progress.backend import store
from progress.backend.account import Account
from progress.backend.connection import ProgressConnection
from progress.job import as_job
from progress.operation import Operation, new_operation_id
from tests.app.more_jobs import JOBS
from tests.conftest import OWNER, wait_until


@pytest.fixture(scope="session")
def server(data_folder: Path) -> Iterator[FakeSnowflake]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOBS_MODULE", "tests.app.more_jobs")
        with FakeSnowflake(data_folder / "own") as running:
            yield running


@pytest.fixture
def database(server: FakeSnowflake) -> Iterator[Account]:
    opened = Account(server.options)
    yield opened
    opened.execute("DELETE FROM OPERATION_EVENTS")
    opened.execute("DELETE FROM OPERATION_LOG")
    opened.close()


@pytest.fixture
def operations(database: Account, server: FakeSnowflake) -> Iterator[ProgressConnection]:
    """The app's connection to this server."""
    opened = ProgressConnection("progress", **server.options)
    yield opened
    opened.reset()


def start(
    operations: ProgressConnection, job: str, subject: str = "steady", **parameters: object
) -> str:
    operation_id = new_operation_id()
    options = as_job(JOBS[job]).options(parameters)
    operations.start(operation_id, job, subject, OWNER, options=options)
    return operation_id


def wait_for_step(operations: ProgressConnection, operation_id: str, step: int) -> Operation:
    return wait_until(
        operations, operation_id, lambda operation: operation.current_step >= step, 40
    )


def queued(database: Account, job: str = "succeed", subject: str = "fast") -> str:
    """An operation that was created, and whose procedure was not called."""
    operation_id = new_operation_id()
    assert store.create(database.execute, operation_id, job, subject, OWNER)
    return operation_id


def claimed(database: Account, query_id: str | None = None) -> str:
    """An operation whose procedure claimed it, and no longer runs."""
    operation_id = queued(database)
    store.add_query(database.execute, operation_id, query_id or new_query_id())
    assert store.claim(database.execute, operation_id)
    return operation_id


def query_ids(database: Account, operation_id: str) -> list[str]:
    return store.query_ids(database.execute, [operation_id])[operation_id]


def new_query_id() -> str:
    return "01b2c3d4-0000-0000-0000-" + new_operation_id()[:12]


class Statements:
    """Counts the statements of all accounts, and the requests for the state of a query."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.executed: list[str] = []
        self.states = 0
        execute, query_state = Account.execute, Account.query_state

        def counted(account: Account, statement: str, parameters: object = ()) -> object:
            self.executed.append(statement)
            return execute(account, statement, parameters)  # type: ignore[arg-type]

        def counted_state(account: Account, query_id: str) -> object:
            self.states += 1
            return query_state(account, query_id)

        monkeypatch.setattr(Account, "execute", counted)
        monkeypatch.setattr(Account, "query_state", counted_state)
