"""Jobs in processes of this machine: what only they can get wrong."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from progress.backend import runner
from progress.backend.store import OperationStore
from progress.contract import BackendUnavailable, OperationLost
from progress.operation import Operation, Progress, Query, Status, Step, new_operation_id
from progress.settings import ROOT
from tests.conftest import pages


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperationStore]:
    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    with closing(OperationStore(tmp_path / "progress.db")) as opened:
        yield opened


def queue(store: OperationStore, job: str = "endless", subject: str = "slow") -> str:
    operation_id = new_operation_id()
    assert store.insert(operation_id, job, subject, "")
    return operation_id


def run_here(store: OperationStore, operation_id: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "progress.backend.runner", str(store.path), operation_id]
    return subprocess.Popen(command, cwd=ROOT)


def read(store: OperationStore, operation_id: str) -> Operation:
    return store.read([operation_id])[operation_id]


def wait_for_steps(store: OperationStore, operation_id: str, steps: int) -> Operation:
    deadline = time.monotonic() + 20
    while (operation := read(store, operation_id)).current_step < steps:
        assert time.monotonic() < deadline, f"still {operation}"
        time.sleep(0.05)
    return operation


def test_a_stopped_process_is_quiet_and_not_dead(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "SILENCE_BEFORE_CHECK", 0.5)
    operation_id = queue(store)
    worker = run_here(store, operation_id)
    try:
        wait_for_steps(store, operation_id, 1)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        operation = read(store, operation_id)
        assert operation.heartbeat_age > 1
        assert not runner.recover(store, [operation])
        assert read(store, operation_id).status is Status.IN_PROGRESS
        worker.send_signal(signal.SIGCONT)
        wait_for_steps(store, operation_id, operation.current_step + 1)
    finally:
        worker.kill()
        worker.wait()
    time.sleep(0.6)
    assert runner.recover(store, [read(store, operation_id)])
    dead = read(store, operation_id)
    assert dead.status is Status.FAILED
    assert dead.error == runner.DIED
    assert dead.finished_at is not None


def test_a_second_process_for_an_operation_leaves_it_alone(store: OperationStore) -> None:
    operation_id = queue(store)
    worker = run_here(store, operation_id)
    try:
        wait_for_steps(store, operation_id, 1)
        assert run_here(store, operation_id).wait(20) == 0
        before = read(store, operation_id)
        assert before.attempt == 1
        wait_for_steps(store, operation_id, before.current_step + 1)
    finally:
        worker.kill()
        worker.wait()


def test_an_operation_that_never_left_the_queue_is_launched_again(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "START_PATIENCE", 0.2)
    operation_id = queue(store, "succeed", "fast")
    assert not runner.recover(store, [read(store, operation_id)]), "too early to say"
    time.sleep(0.3)
    assert runner.recover(store, [read(store, operation_id)])
    assert not runner.recover(store, [read(store, operation_id)]), "somebody is at it"
    wait_for_steps(store, operation_id, 6)


def test_the_job_outlives_the_process_that_started_it(store: OperationStore) -> None:
    operation_id = queue(store, "succeed", "slow")
    code = (
        "import sys, os; from pathlib import Path; from progress.backend import runner;"
        "runner.launch(Path(sys.argv[1]), sys.argv[2]); os._exit(0)"
    )
    command = [sys.executable, "-c", code, str(store.path), operation_id]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert wait_for_steps(store, operation_id, 6).total_steps == 6


def test_no_locks_are_left_behind(store: OperationStore) -> None:
    operation_id = queue(store, "succeed", "fast")
    assert run_here(store, operation_id).wait(20) == 0
    assert list(store.path.with_suffix(".jobs").glob("*.lock")) == []


def test_a_terminal_status_is_never_overwritten(store: OperationStore) -> None:
    operation_id = queue(store)
    assert store.begin(operation_id) == ("endless", "slow")
    writer = store.writer(operation_id)
    writer.finish(Status.CANCELLED, Progress(1), None, None)
    writer.finish(Status.COMPLETED, Progress(2), None, "{}")
    assert not store.fail_dead(operation_id, "late")
    assert store.begin(operation_id) is None
    with pytest.raises(OperationLost):
        writer.progress(Progress(3))
    operation = read(store, operation_id)
    assert (operation.status, operation.current_step) == (Status.CANCELLED, 1)


def test_nonsense_written_by_others_is_read(store: OperationStore) -> None:
    operation_id = queue(store)
    store.execute(
        "UPDATE operations SET status = 'banana', current_step = 'x', created_at = 'never',"
        " step_description = ?, result = '[' WHERE operation_id = ?",
        ("y" * 1_000_000, operation_id),
    )
    operation = read(store, operation_id)
    assert operation.problem is not None
    assert "status 'banana'" in operation.problem
    assert len(operation.step_description) == 500
    assert not runner.recover(store, [operation])


@pytest.mark.parametrize("content", [b"not a database", None])
def test_a_file_that_cannot_be_used_is_unavailable(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "progress.db"
    path.write_bytes(content * 100) if content else path.mkdir()
    with pytest.raises(BackendUnavailable, match=r"progress\.db: "):
        OperationStore(path).read(["a"])


OLD_TABLE = """
CREATE TABLE operations (
    operation_id TEXT PRIMARY KEY, job TEXT NOT NULL, subject TEXT NOT NULL, owner TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'queued', current_step INTEGER NOT NULL DEFAULT 0,
    total_steps INTEGER, failed_steps INTEGER NOT NULL DEFAULT 0,
    step_description TEXT NOT NULL DEFAULT '', created_at TEXT NOT NULL, started_at TEXT,
    last_updated TEXT, heartbeat_at TEXT, finished_at TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0, error TEXT, result TEXT,
    attempt INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX operations_by_owner ON operations (owner, created_at DESC);
INSERT INTO operations (operation_id, job, subject, owner, created_at)
VALUES ('old', 'endless', 'slow', 'me', '2026-01-02T03:04:05.678+00:00');
"""


def test_a_file_of_an_earlier_version_gets_the_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "progress.db"
    with closing(sqlite3.connect(path)) as earlier:
        earlier.executescript(OLD_TABLE)
    # Several processes meet it at the same time after an update.
    stores = [OperationStore(path) for _ in range(8)]
    with ThreadPoolExecutor(len(stores)) as threads:
        pages = list(threads.map(lambda store: store.recent(Query("me")), stores))
    for page in pages:
        assert [(operation.operation_id, operation.retry_of) for operation in page] == [("old", "")]
    store = stores[0]
    assert store.begin("old")
    step = Step(1, "one", 0.5, failed=False)
    store.writer("old").progress(Progress(1, last_steps=(step,)))
    assert read(store, "old").last_steps == (step,)
    for opened in stores:
        opened.close()


def test_operations_of_the_same_millisecond_are_paged_by_their_ids(store: OperationStore) -> None:
    ids = sorted((queue(store) for _ in range(25)), reverse=True)
    store.execute("UPDATE operations SET created_at = '2026-01-02T03:04:05.678+00:00'", ())
    found = pages(store.recent, Query("", limit=10))
    assert [operation.operation_id for page in found for operation in page] == ids


NOW = datetime.now(UTC)
ACTIVE = frozenset({Status.IN_PROGRESS})


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (Query(None), "operations"),
        (Query(None, "j", "s", frozenset({Status.FAILED}), NOW, (NOW, "a")), "operations"),
        (Query(None, statuses=ACTIVE), "active"),
        (Query(None, statuses=ACTIVE, since=NOW, before=(NOW, "a")), "active"),
    ],
)
def test_pages_are_read_by_an_index(store: OperationStore, query: Query, index: str) -> None:
    for owner, whose in (("", "owner"), (None, "all")):
        plan = plan_of(store, partial(store.recent, replace(query, owner=owner)))
        assert f"INDEX {index}_of_{whose}" in plan
        assert "ORDER BY" not in plan


@pytest.mark.parametrize("since", [None, NOW])
def test_counts_are_read_from_an_index_alone(store: OperationStore, since: datetime | None) -> None:
    for owner, index in (("", "statuses_of_owner"), (None, "statuses_of_all")):
        plan = plan_of(store, partial(store.counts, Query(owner, since=since)))
        assert f"COVERING INDEX {index}" in plan
        assert "GROUP BY" not in plan


def plan_of(store: OperationStore, read: Callable[[], object]) -> str:
    """Return how SQLite goes about the statement that a call runs."""
    statements: list[str] = []
    queue(store)
    assert store._connection is not None
    store._connection.set_trace_callback(statements.append)
    read()
    store._connection.set_trace_callback(None)
    (statement,) = statements
    rows = store.execute("EXPLAIN QUERY PLAN " + statement, ())
    return "\n".join(row["detail"] for row in rows).replace("operations USING ", "")


def test_a_locked_file_is_unavailable_and_then_available_again(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("progress.backend.store.BUSY_TIMEOUT", 0.1)
    operation_id = queue(store)
    store.close()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BackendUnavailable, match="locked"):
            store.request_cancel(operation_id)
        other.execute("ROLLBACK")
    store.request_cancel(operation_id)
    assert read(store, operation_id).cancel_requested


def test_one_read_is_one_statement(store: OperationStore) -> None:
    ids = [queue(store) for _ in range(5)]
    statements: list[str] = []
    store.read(ids)
    assert store._connection is not None
    store._connection.set_trace_callback(statements.append)
    assert len(store.read(ids)) == 5
    assert len(statements) == 1
