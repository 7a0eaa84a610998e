"""What only a SQLite file, its runner and the processes of its jobs can get wrong."""

import os
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
    """A file of the test's own. Its runner ends with the test, if the test has launched it."""
    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    with closing(OperationStore(tmp_path / "progress.db")) as opened:
        yield opened
    end_runner(opened)


def end_runner(store: OperationStore) -> None:
    """Kill the runner that this process has launched; its jobs end with it."""
    if (launched := runner._launched.pop(store.path, None)) is not None:
        process, _ = launched
        process.kill()
        process.wait()


def insert(store: OperationStore, job: str = "endless", subject: str = "slow") -> str:
    operation_id = new_operation_id()
    assert store.insert(operation_id, job, subject, "")
    return operation_id


def started(store: OperationStore, job: str = "endless", subject: str = "slow") -> str:
    operation_id = insert(store, job, subject)
    runner.launch(store.path)
    return operation_id


def read(store: OperationStore, operation_id: str) -> Operation:
    return store.read([operation_id])[operation_id]


def wait_for_step(store: OperationStore, operation_id: str, step: int) -> Operation:
    deadline = time.monotonic() + 60
    while (operation := read(store, operation_id)).current_step < step:
        assert time.monotonic() < deadline, f"still {operation}"
        time.sleep(0.05)
    return operation


def wait_for_end(store: OperationStore, operation_id: str) -> Operation:
    deadline = time.monotonic() + 60
    while not (operation := read(store, operation_id)).status.is_terminal:
        assert time.monotonic() < deadline, f"still {operation}"
        time.sleep(0.05)
    return operation


def is_running(pid: int) -> bool:
    """Tell whether a process has not ended. One that nobody has waited for has."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return sys.platform != "linux"  # others have no such file
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_job_outlives_the_server_that_started_it(store: OperationStore) -> None:
    operation_id = insert(store, "succeed", "slow")
    server = (
        "import sys, os; from pathlib import Path; from progress.backend import runner;"
        "runner.launch(Path(sys.argv[1])); os._exit(0)"
    )
    command = [sys.executable, "-c", server, str(store.path)]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert wait_for_step(store, operation_id, STEPS).total_steps == STEPS


def test_a_killed_job_has_failed_and_the_reason_is_known(store: OperationStore) -> None:
    operation = wait_for_end(store, started(store, "die", "fast"))
    assert operation.status is Status.FAILED
    assert operation.reason is not None
    assert operation.reason.startswith("The process of the job was killed by SIGKILL, probably")
    assert operation.step_description == "Step number 2"


def test_the_jobs_of_a_killed_runner_end_and_the_next_runner_says_so(
    store: OperationStore,
) -> None:
    operation_id = started(store)
    wait_for_step(store, operation_id, 1)
    end_runner(store)
    time.sleep(1)
    step = read(store, operation_id).current_step
    time.sleep(runner.HEARTBEAT_TIMEOUT + 0.5)
    operation = read(store, operation_id)
    assert (operation.status, operation.current_step) == (Status.IN_PROGRESS, step)
    runner.recover(store, [operation])
    failed = wait_for_end(store, operation_id)
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error.startswith("The process of the job ended unexpectedly, as it does when")


def test_a_burst_waits_in_a_fair_queue(store: OperationStore) -> None:
    burst = [insert(store) for _ in range(10)]
    other = new_operation_id()
    assert store.insert(other, "endless", "slow", "somebody else")
    assert read(store, other).queue_position == 2
    assert [read(store, name).queue_position for name in burst] == [1, *range(3, 12)]
    assert [taken.operation_id for taken in iter(store.take, None)] == [
        burst[0],
        other,
        *burst[1:],
    ]


def test_a_second_runner_ends_immediately(store: OperationStore) -> None:
    operation_id = started(store)
    wait_for_step(store, operation_id, 1)
    command = [sys.executable, "-m", "progress.backend.runner", str(store.path)]
    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == 0
    assert wait_for_step(store, operation_id, 2).attempt == 1


def test_force_stop_ends_a_job_that_does_not_stop_with_its_children(
    store: OperationStore,
) -> None:
    operation_id = started(store, "stubborn", "")
    children = wait_for_step(store, operation_id, 1).step_description.split()
    store.request_force_stop(operation_id)
    time.sleep(0.5)
    assert read(store, operation_id).status is Status.IN_PROGRESS, "it was not asked to stop before"
    store.request_cancel(operation_id)
    store.request_force_stop(operation_id)
    operation = wait_for_end(store, operation_id)
    assert operation.status is Status.CANCELLED
    assert operation.reason == "The process of the job was stopped by force."
    deadline = time.monotonic() + 30
    while any(is_running(int(child)) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
