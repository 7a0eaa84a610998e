"""What only a SQLite file and the processes of its jobs can get wrong."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from progress.backend import runner
from progress.backend.store import OperationStore
from progress.contract import BackendUnavailable
from progress.operation import Operation, Status, new_operation_id
from progress.settings import ROOT
from tests.jobs import STEPS


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperationStore]:
    """A file of the test's own."""
    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    with closing(OperationStore(tmp_path / "progress.db")) as opened:
        yield opened


def insert(store: OperationStore, job: str = "endless", subject: str = "slow") -> str:
    operation_id = new_operation_id()
    assert store.insert(operation_id, job, subject, "")
    return operation_id


def start_process(store: OperationStore, operation_id: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "progress.backend.runner", str(store.path), operation_id]
    return subprocess.Popen(command, cwd=ROOT)


def read(store: OperationStore, operation_id: str) -> Operation:
    return store.read([operation_id])[operation_id]


def wait_for_step(store: OperationStore, operation_id: str, step: int) -> Operation:
    deadline = time.monotonic() + 20
    while (operation := read(store, operation_id)).current_step < step:
        assert time.monotonic() < deadline, f"still {operation}"
        time.sleep(0.05)
    return operation


def test_a_job_outlives_the_server_that_started_it(store: OperationStore) -> None:
    operation_id = insert(store, "succeed", "slow")
    server = (
        "import sys, os; from pathlib import Path; from progress.backend import runner;"
        "runner.launch(Path(sys.argv[1]), sys.argv[2]); os._exit(0)"
    )
    command = [sys.executable, "-c", server, str(store.path), operation_id]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert wait_for_step(store, operation_id, STEPS).total_steps == STEPS


def test_a_suspended_process_is_not_declared_failed_and_a_killed_one_is(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HEARTBEAT_TIMEOUT", 0.5)
    operation_id = insert(store)
    process = start_process(store, operation_id)
    try:
        wait_for_step(store, operation_id, 1)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        operation = read(store, operation_id)
        assert operation.heartbeat_age > 1
        assert not runner.recover(store, [operation])
        assert read(store, operation_id).status is Status.IN_PROGRESS
        process.send_signal(signal.SIGCONT)
        wait_for_step(store, operation_id, operation.current_step + 1)
    finally:
        process.kill()
        process.wait()
    time.sleep(0.6)
    assert runner.recover(store, [read(store, operation_id)])
    failed = read(store, operation_id)
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error.startswith("The process of the job ended unexpectedly, as it does when")
    assert failed.finished_at is not None


def test_a_second_process_for_an_operation_ends_immediately(store: OperationStore) -> None:
    operation_id = insert(store)
    process = start_process(store, operation_id)
    try:
        wait_for_step(store, operation_id, 1)
        assert start_process(store, operation_id).wait(20) == 0
        before = read(store, operation_id)
        assert before.attempt == 1
        wait_for_step(store, operation_id, before.current_step + 1)
    finally:
        process.kill()
        process.wait()


def test_a_locked_file_is_unavailable_until_it_is_unlocked(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("progress.backend.store.BUSY_TIMEOUT", 0.1)
    operation_id = insert(store)
    store.close()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BackendUnavailable, match="locked"):
            store.request_cancel(operation_id)
        other.execute("ROLLBACK")
    store.request_cancel(operation_id)
    assert read(store, operation_id).cancel_requested


@pytest.mark.parametrize("content", [b"not a database", None])
def test_a_file_that_cannot_be_used_is_unavailable(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "progress.db"
    path.write_bytes(content * 100) if content else path.mkdir()
    with pytest.raises(BackendUnavailable, match=r"progress\.db: "):
        OperationStore(path).read(["a"])
