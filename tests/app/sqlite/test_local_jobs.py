"""The SQLite store and its processes in detail. tests/test_sqlite.py ships with a project."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from progress.backend import runner
from progress.backend.store import OperationStore, OperationWriter
from progress.contract import BackendRejected, BackendUnavailable, OperationLost
from progress.operation import Progress, Query, Status, Step
from progress.settings import ROOT
from tests.conftest import pages
from tests.test_sqlite import insert, read, start_process, wait_for_step


def test_an_operation_whose_process_never_started_is_launched_again(store: OperationStore) -> None:
    operation_id = insert(store, "succeed", "fast")
    assert not runner.recover(store, [read(store, operation_id)]), "too early"
    store.execute("UPDATE operations SET created_at = '2026-01-02T03:04:05.678+00:00'", ())
    waiting = read(store, operation_id)
    assert runner.recover(store, [waiting])
    assert not runner.recover(store, [waiting]), "its start is claimed"
    wait_for_step(store, operation_id, 6)


def test_a_queued_operation_that_is_cancelled_never_begins(store: OperationStore) -> None:
    operation_id = insert(store)
    store.request_cancel(operation_id)
    operation = read(store, operation_id)
    assert (operation.status, operation.cancel_requested) == (Status.CANCELLED, True)
    assert operation.finished_at is not None
    assert start_process(store, operation_id).wait(20) == 0
    assert read(store, operation_id).attempt == 0


def test_the_lock_file_is_removed(store: OperationStore) -> None:
    operation_id = insert(store, "succeed", "fast")
    assert start_process(store, operation_id).wait(20) == 0
    assert list(store.path.with_suffix(".jobs").glob("*.lock")) == []


def test_a_child_of_a_killed_job_does_not_keep_it_alive(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries fork. A filelock before 3.30 kept the lock in the child."""
    monkeypatch.setattr(runner, "HEARTBEAT_TIMEOUT", 0.1)
    operation_id = insert(store)
    assert store.begin(operation_id)
    job = (
        "import os, signal, sys, time; from pathlib import Path\n"
        "from progress.backend import runner\n"
        "lock = runner._lock(Path(sys.argv[1]), sys.argv[2]); lock.acquire()\n"
        "child = os.fork() or time.sleep(60)\n"
        "print(child, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", job, str(store.path), operation_id]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            process.wait(20)
            time.sleep(0.2)
            assert runner.recover(store, [read(store, operation_id)])
        finally:
            os.kill(child, signal.SIGKILL)
    assert read(store, operation_id).status == Status.FAILED


def test_a_terminal_status_is_never_overwritten(store: OperationStore) -> None:
    operation_id = insert(store)
    assert store.begin(operation_id) == ("endless", "slow")
    writer = OperationWriter(store, operation_id)
    writer.finish(Status.CANCELLED, Progress(1), None, None)
    writer.finish(Status.COMPLETED, Progress(2), None, "{}")
    assert not store.declare_failed(operation_id, "late")
    assert store.begin(operation_id) is None
    with pytest.raises(OperationLost):
        writer.progress(Progress(3))
    operation = read(store, operation_id)
    assert (operation.status, operation.current_step) == (Status.CANCELLED, 1)


def test_invalid_values_of_other_writers_are_read(store: OperationStore) -> None:
    operation_id = insert(store)
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


def test_a_file_of_an_earlier_version_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "progress.db"
    with closing(sqlite3.connect(path)) as earlier:
        earlier.executescript(OLD_TABLE)
    # After an update several processes open it at the same time.
    stores = [OperationStore(path) for _ in range(8)]
    with ThreadPoolExecutor(len(stores)) as threads:
        pages = list(threads.map(lambda store: store.recent(Query("me")), stores))
    for page in pages:
        assert [(operation.operation_id, operation.retry_of) for operation in page] == [("old", "")]
    store = stores[0]
    assert store.begin("old")
    step = Step(1, "one", 0.5, failed=False)
    OperationWriter(store, "old").progress(Progress(1, last_steps=(step,)))
    assert read(store, "old").last_steps == (step,)
    for opened in stores:
        opened.close()


def test_operations_of_the_same_millisecond_are_paged_by_their_ids(store: OperationStore) -> None:
    ids = sorted((insert(store) for _ in range(25)), reverse=True)
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
        assert "COVERING INDEX" in plan
        # For the newest rows SQLite 3.53 prefers the index of their times to the one in groups.
        if since is None:
            assert f"COVERING INDEX {index}" in plan
            assert "GROUP BY" not in plan


def plan_of(store: OperationStore, read: Callable[[], object]) -> str:
    """Return the query plan of the statement that a call runs."""
    statements: list[str] = []
    insert(store)
    assert store._connection is not None
    store._connection.set_trace_callback(statements.append)
    read()
    store._connection.set_trace_callback(None)
    (statement,) = statements
    rows = store.execute("EXPLAIN QUERY PLAN " + statement, ())
    return "\n".join(row["detail"] for row in rows).replace("operations USING ", "")


def test_one_read_is_one_statement(store: OperationStore) -> None:
    ids = [insert(store) for _ in range(5)]
    statements: list[str] = []
    store.read(ids)
    assert store._connection is not None
    store._connection.set_trace_callback(statements.append)
    assert len(store.read(ids)) == 5
    assert len(statements) == 1


def remove(store: OperationStore) -> None:
    for path in store.path.parent.glob(store.path.name + "*"):
        path.unlink()


def test_a_removed_file_is_created_again(store: OperationStore) -> None:
    old = insert(store)
    remove(store)
    assert store.read([old]) == {}
    new = insert(store, "succeed", "fast")
    runner.launch(store.path, new)
    wait_for_step(store, new, 6)


def test_a_file_that_replaces_another_is_read(store: OperationStore, tmp_path: Path) -> None:
    old = insert(store)
    with closing(OperationStore(tmp_path / "backup.db")) as backup:
        restored = insert(backup)
    remove(store)
    (tmp_path / "backup.db").rename(store.path)
    with closing(OperationStore(store.path)) as other:
        written = insert(other)  # not in the main file yet: the old connection must not remove it
        assert set(store.read([old, restored, written])) == {restored, written}
        assert set(other.read([old, restored, written])) == {restored, written}


def test_the_job_of_a_removed_file_stops(store: OperationStore) -> None:
    operation_id = insert(store)
    process = start_process(store, operation_id)
    try:
        wait_for_step(store, operation_id, 1)
        remove(store)
        time.sleep(1.5)
        assert not store.path.exists(), "the job creates no file"
        insert(store)
        assert process.wait(10) == 0
    finally:
        process.kill()


def test_values_that_sqlite_cannot_hold_are_rejected(store: OperationStore) -> None:
    operation_id = insert(store)
    assert store.begin(operation_id)
    writer = OperationWriter(store, operation_id)
    assert store._connection is not None
    with pytest.raises(BackendRejected, match=r"progress\.db: .*too large"):
        writer.progress(Progress(1, 10**30))
    store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)  # usually 1 GB
    with pytest.raises(BackendRejected, match=r"progress\.db: string or blob too big"):
        writer.finish(Status.COMPLETED, Progress(), None, "x" * 100_001)
    assert read(store, operation_id).status is Status.IN_PROGRESS


def test_a_full_disk_is_unavailable_and_named(store: OperationStore) -> None:
    operation_id = insert(store)
    assert store.begin(operation_id)
    assert store._connection is not None
    store._connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the present size
    with pytest.raises(BackendUnavailable, match=r"progress\.db: database or disk is full"):
        OperationWriter(store, operation_id).finish(
            Status.COMPLETED, Progress(), None, "x" * 1_000_000
        )


def test_other_users_of_the_machine_do_not_reach_the_data(tmp_path: Path) -> None:
    with closing(OperationStore(tmp_path / "data" / "progress.db")) as store:
        assert start_process(store, insert(store, "succeed", "fast")).wait(20) == 0
        folder = store.path.parent
        found = {path: oct(path.stat().st_mode & 0o777) for path in (folder, *folder.iterdir())}
    jobs = store.path.with_suffix(".jobs")
    assert found == {path: "0o700" if path in (folder, jobs) else "0o600" for path in found}
    assert {jobs, store.path} < set(found)


def test_no_message_names_a_path_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        closing(OperationStore(tmp_path / "file" / "data" / "progress.db")) as store,
        pytest.raises(BackendUnavailable) as caught,
    ):
        insert(store)
    assert str(caught.value) == "progress.db: Not a directory"
    with pytest.raises(BackendUnavailable) as caught:
        runner.launch(tmp_path / "file" / "data" / "progress.db", "a1")
    assert str(caught.value) == "No process could be started: Not a directory"
