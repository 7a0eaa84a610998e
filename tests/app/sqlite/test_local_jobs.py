"""The SQLite store and its processes in detail. tests/test_sqlite.py ships with a project."""

import os
import sqlite3
import threading
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
from progress.backend.files import MAX_SIZE
from progress.backend.runner import Runner
from progress.backend.store import OperationStore, OperationWriter
from progress.contract import BackendRejected, BackendUnavailable, OperationLost
from progress.operation import (
    NO_OPTIONS,
    Bar,
    Live,
    LogLine,
    Operation,
    Options,
    Progress,
    Query,
    Status,
    Step,
    new_operation_id,
)
from progress.settings import load_settings
from tests.conftest import pages
from tests.test_sqlite import end_runner, insert, read, wait_for_end, wait_for_step


def work(store: OperationStore, max_running: int = 2) -> threading.Thread:
    """Run the queue in a thread of this process, so that a test may break its parts."""
    thread = threading.Thread(target=Runner(store, max_running).work, daemon=True)
    thread.start()
    return thread


def taken(store: OperationStore, job: str = "endless", options: Options = NO_OPTIONS) -> Operation:
    """Insert an operation and begin it, as the runner does."""
    store.insert(new_operation_id(), job, "slow", "", options=options)
    begun = store.take()
    assert begun is not None
    return begun


def writer_of(store: OperationStore, begun: Operation) -> OperationWriter:
    return OperationWriter(store, begun.operation_id, begun.attempt)


def make_stale(store: OperationStore) -> None:
    store.execute("UPDATE operations SET heartbeat_at = '2026-01-02T03:04:05.678+00:00'", ())


def test_an_operation_that_no_runner_took_launches_one(store: OperationStore) -> None:
    operation_id = insert(store, "succeed", "fast")
    runner.recover(store, [read(store, operation_id)])
    assert store.path not in runner._launched, "too early"
    store.execute("UPDATE operations SET created_at = '2026-01-02T03:04:05.678+00:00'", ())
    waiting = read(store, operation_id)
    runner.recover(store, [waiting])
    launched = runner._launched[store.path]
    runner.recover(store, [waiting])
    assert runner._launched[store.path] is launched, "it is starting"
    wait_for_step(store, operation_id, 6)


def test_a_runner_that_cannot_start_is_not_started_at_every_poll(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(store)
    monkeypatch.setattr(runner, "MODULE", "no_such_module")
    log = store.path.with_suffix(".jobs") / "runner.log"
    log.parent.mkdir(exist_ok=True)
    log.write_bytes(b"x" * (MAX_SIZE + 1))
    runner.launch(store.path)
    launched = runner._launched[store.path]
    assert launched[0].wait(20) != 0
    runner.launch(store.path)
    assert runner._launched[store.path] is launched
    assert "no_such_module" in log.read_text()
    assert log.stat().st_size < MAX_SIZE < log.with_suffix(".log.1").stat().st_size


def test_a_queued_operation_that_is_cancelled_never_begins(store: OperationStore) -> None:
    operation_id = insert(store)
    store.request_cancel(operation_id)
    operation = read(store, operation_id)
    assert (operation.status, operation.cancel_requested) == (Status.CANCELLED, True)
    assert operation.finished_at is not None
    assert store.take() is None
    assert read(store, operation_id).attempt == 0


def test_one_operation_after_the_other_of_each_owner_begins_also_beside_running_ones(
    store: OperationStore,
) -> None:
    def add(owner: str) -> str:
        operation_id = new_operation_id()
        assert store.insert(operation_id, "endless", "slow", owner)
        return operation_id

    first = add("a")
    assert store.take()
    # It counts as before all that wait, whenever it was created.
    store.execute("UPDATE operations SET created_at = '2999-01-02T03:04:05.678+00:00'", ())
    later = [add("a"), add("a"), add("b"), add("b")]
    assert [read(store, name).queue_position for name in later] == [2, 4, 1, 3]
    assert read(store, first).queue_position is None
    order = [begun.operation_id for begun in iter(store.take, None)]
    assert order == [later[2], later[0], later[3], later[1]]


def test_a_job_does_not_run_more_often_than_it_allows(store: OperationStore) -> None:
    one = taken(store, "alone", Options(max_running=1))
    waiting = new_operation_id()
    store.insert(waiting, "alone", "slow", "", options=Options(max_running=1))
    assert store.take() is None
    other = insert(store)
    assert [begun.operation_id for begun in iter(store.take, None)] == [other]
    writer_of(store, one).finish(Status.COMPLETED, Progress(), None, None)
    assert [begun.operation_id for begun in iter(store.take, None)] == [waiting]


@pytest.mark.parametrize(
    "options",
    ["", "[", "3", "null", '{"max_running": 0}', '{"max_running": -1}', '{"max_running": "x"}'],
)
def test_options_of_other_writers_do_not_hold_up_the_queue(
    store: OperationStore, options: str
) -> None:
    ids = [insert(store) for _ in range(3)]
    store.execute("UPDATE operations SET options = ? WHERE operation_id = ?", (options, ids[0]))
    assert [begun.operation_id for begun in iter(store.take, None)] == ids


def test_a_job_that_dies_runs_again_as_often_as_it_may(store: OperationStore) -> None:
    begun = taken(store, options=Options({"a": 1}, retries=1, retry_delay=0.0))
    writer = writer_of(store, begun)
    writer.progress(Progress(2, 3, 1, "x", (Step(1, "one", 0.5, failed=False),)))
    writer.result('{"old": 1}')
    store.end_or_requeue(begun, Status.FAILED, "log\nIt died.", (3, "x"), may_retry=True)
    operation = read(store, begun.operation_id)
    assert (operation.status, operation.result, operation.error) == (Status.QUEUED, None, None)
    assert (operation.current_step, operation.total_steps, operation.last_steps) == (0, None, ())
    assert operation.live.retry_reason == "It died."
    with pytest.raises(OperationLost):
        writer.progress(Progress(3))
    again = store.take()
    assert again is not None
    assert (again.operation_id, again.attempt) == (begun.operation_id, 2)
    assert again.options == begun.options
    writer.finish(Status.COMPLETED, Progress(), None, None)
    writer.result("{}")
    store.end_or_requeue(begun, Status.FAILED, "the first attempt", None, may_retry=False)
    assert store.taken(begun.operation_id, 1) is None
    assert read(store, begun.operation_id).status is Status.IN_PROGRESS, "it has another worker"
    store.end_or_requeue(again, Status.FAILED, "It died.", (3, "x"), may_retry=True)
    operation = read(store, begun.operation_id)
    assert (operation.status, operation.error) == (Status.FAILED, "It died.")
    assert (operation.current_step, operation.step_description) == (2, "x")


def test_a_job_that_dies_after_a_request_to_cancel_does_not_run_again(
    store: OperationStore,
) -> None:
    begun = taken(store, options=Options(retries=1))
    store.request_cancel(begun.operation_id)
    store.end_or_requeue(begun, Status.FAILED, "log\nIt died.", None, may_retry=True)
    operation = read(store, begun.operation_id)
    assert (operation.status, operation.error) == (Status.CANCELLED, "log\nIt died.")
    assert operation.finished_at is not None


def test_an_end_is_announced_as_soon_as_the_store_is_available(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[Status] = []
    monkeypatch.setattr(runner, "notify", lambda ended: announced.append(ended.status))
    operation_id = insert(store, "succeed", "fast")
    real, errors = store.read, [BackendUnavailable("locked")]

    def read_later(ids: list[str]) -> dict[str, Operation]:
        if errors and threading.current_thread().name.startswith("job-"):
            raise errors.pop()
        return real(ids)

    monkeypatch.setattr(store, "read", read_later)
    work(store)
    wait_for_end(store, operation_id)
    deadline = time.monotonic() + 30
    while not announced and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (announced, errors) == ([Status.COMPLETED], [])


def test_what_its_runner_left_is_ended_or_runs_again(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[str] = []
    monkeypatch.setattr(runner, "notify", lambda ended: announced.append(ended.operation_id))
    lost, again = taken(store), taken(store, "succeed", Options(retries=1, retry_delay=0.0))
    make_stale(store)
    store.execute(
        "UPDATE operations SET heartbeat_at = 'never' WHERE operation_id = ?", (lost.operation_id,)
    )
    work(store)
    failed = wait_for_end(store, lost.operation_id)
    assert (failed.reason or "").startswith("The process of the job ended unexpectedly, as it does")
    completed = wait_for_end(store, again.operation_id)
    assert (completed.status, completed.attempt) == (Status.COMPLETED, 2)
    deadline = time.monotonic() + 30
    while len(announced) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert announced == [lost.operation_id, again.operation_id]


def test_a_burst_leaves_no_more_processes_than_may_run(store: OperationStore) -> None:
    ids = [insert(store, "endless", "fast") for _ in range(100)]
    work(store, max_running=2)
    wait_for_step(store, ids[0], 1)
    for _ in range(10):
        assert store.counts(Query(""))[Status.IN_PROGRESS] <= 2
        assert len([t for t in threading.enumerate() if t.name.startswith("job-")]) <= 2
        time.sleep(0.05)
    for operation_id in ids:
        store.request_cancel(operation_id)
    wait_for_end(store, ids[0])


def test_a_locked_file_ends_neither_the_runner_nor_its_jobs(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("progress.backend.store.BUSY_TIMEOUT", 0.5)
    store.close()
    runs = insert(store, "endless", "slow")
    thread = work(store)
    wait_for_step(store, runs, 1)
    dies = insert(store, "die", "fast")
    deadline = time.monotonic() + 20
    while not read(store, dies).step_description:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(2)
        other.execute("ROLLBACK")
    failed = wait_for_end(store, dies)
    assert (failed.reason or "").startswith("The process of the job was killed by SIGKILL")
    step = read(store, runs).current_step
    wait_for_step(store, runs, step + 2)
    assert thread.is_alive()
    store.request_cancel(runs)
    assert wait_for_end(store, runs).status is Status.CANCELLED


def test_a_removed_file_ends_the_runner_and_its_jobs(store: OperationStore) -> None:
    operation_id = insert(store)
    runner.launch(store.path)
    wait_for_step(store, operation_id, 1)
    store.close()
    remove(store)
    process, _ = runner._launched[store.path]
    assert process.wait(20) == 0
    assert not store.path.exists(), "neither the runner nor the job creates it"
    assert "The runner ends: " in (store.path.with_suffix(".jobs") / "runner.log").read_text()


def test_a_start_while_the_runner_ends_is_not_lost(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "IDLE_TIMEOUT", 0.3)
    insert(store, "succeed", "fast")
    added: list[str] = []
    real = Runner.work

    def end_with_a_start(self: Runner) -> None:
        real(self)
        if not added:
            added.append(insert(store, "succeed", "fast"))
            runner.launch(store.path)  # it holds the lock

    monkeypatch.setattr(Runner, "work", end_with_a_start)
    runner.run_queue(store.path)
    assert store.path not in runner._launched
    assert read(store, added[0]).status is Status.COMPLETED


def test_an_idle_runner_ends_also_if_a_row_can_never_end(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "IDLE_TIMEOUT", 0.3)
    insert(store)
    store.execute("UPDATE operations SET status = 'banana'", ())
    thread = threading.Thread(target=runner.run_queue, args=(store.path,), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_an_idle_runner_ends_also_if_it_cannot_read_its_file(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "IDLE_TIMEOUT", 0.5)
    begun = taken(store, options=Options(retries=1, retry_delay=60.0))
    store.end_or_requeue(begun, Status.FAILED, "It died.", None, may_retry=True)
    thread = work(store)
    time.sleep(1)
    assert thread.is_alive(), "it waits for the retry"
    remove(store)
    store.path.write_text("no database" * 1000)
    thread.join(10)
    assert not thread.is_alive()


def test_old_operations_are_removed_in_batches_with_logs_and_files(store: OperationStore) -> None:
    old, new, active = taken(store), taken(store), taken(store)
    for begun in (old, new):
        writer_of(store, begun).finish(Status.COMPLETED, Progress(), None, None)
    for begun in (old, new, active):
        store.files.save(begun.operation_id, "a", b"")
        store.files.log(begun.operation_id).append([LogLine(NOW, "x")])
    store.execute(
        "UPDATE operations SET created_at = '2026-01-02', finished_at = '2026-01-02'"
        " WHERE operation_id <> ?",
        (new.operation_id,),
    )
    store.execute(
        "UPDATE operations SET finished_at = NULL WHERE operation_id = ?", (active.operation_id,)
    )
    make_old(store)
    removed = runner.remove_old(store, 3600)
    assert len(list(removed)) == 2, "a batch of operations, then one of logs and files"
    assert not list(runner.remove_old(store, 3600))
    ids = [begun.operation_id for begun in (old, new, active)]
    assert set(store.read(ids)) == set(ids[1:])
    assert set(store.files.logs(ids, 1)) == set(ids[1:])
    with pytest.raises(BackendRejected):
        store.files.read(old.operation_id, "a")
    assert store.files.read(new.operation_id, "a") == b""


def make_old(store: OperationStore) -> None:
    """Let all logs and files have been stored long ago."""
    for path in store.files.folder.iterdir():
        os.utime(path, (0, 0))


def test_an_upload_is_removed_when_no_operation_has_it(store: OperationStore) -> None:
    first = taken(store, options=Options(upload="shared"))
    other = taken(store, options=Options(upload="of the first"))
    for begun in (first, other):
        writer_of(store, begun).finish(Status.COMPLETED, Progress(), None, None)
    # As the command line of an earlier version did: under the id of the first operation.
    again = taken(store, options=Options(upload=first.operation_id))
    waiting = new_operation_id()
    store.insert(waiting, "endless", "slow", "", options=Options(upload="shared"))
    uploads = ["shared", "of the first", first.operation_id, "of none"]
    for upload in uploads:
        store.files.save(upload, "slow", b"x")
    make_old(store)
    store.files.save("new", "slow", b"x")
    store.execute("UPDATE operations SET finished_at = '2026-01-02' WHERE finished_at > ''", ())
    for _ in runner.remove_old(store, 3600):
        pass
    assert set(store.read([first.operation_id, other.operation_id])) == set()
    assert store.files.read("shared", "slow") == b"x", f"{waiting} is queued"
    assert store.files.read(first.operation_id, "slow") == b"x", f"{again.operation_id} runs"
    assert store.files.read("new", "slow") == b"x"
    for upload in ("of the first", "of none"):
        with pytest.raises(BackendRejected):
            store.files.read(upload, "slow")


def test_the_names_are_read_once_for_all_batches(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(450):
        store.files.log(str(number)).append([LogLine(NOW, "x")])
    make_old(store)
    (store.files.folder / "runner.log").touch()
    os.utime(store.files.folder / "runner.log", (0, 0))
    read_ids, calls = store.ids, list[int]()

    def counted() -> list[str]:
        calls.append(1)
        return read_ids()

    monkeypatch.setattr(store, "ids", counted)
    left = []
    for _ in runner.remove_old(store, 3600):
        left.append(len(list(store.files.folder.iterdir())))
    assert (left, calls) == ([251, 51, 1], [1]), "the log of the runner stays"


def test_a_long_history_is_removed_while_jobs_go_on(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(450):
        insert(store)
    store.execute("UPDATE operations SET status = 'failed', finished_at = '2026-01-02'", ())
    settings = replace(load_settings(), keep=3600.0)
    monkeypatch.setattr(runner, "load_settings", lambda: settings)
    checked = Runner(store, 1)
    left = []
    for _ in range(4):
        checked._check()
        left.append(store.counts(Query("")).get(Status.FAILED, 0))
    assert left == [250, 50, 0, 0], "a batch at each check, between which jobs are taken"


def test_a_terminal_status_is_never_overwritten(store: OperationStore) -> None:
    begun = taken(store)
    assert (begun.job, begun.subject, begun.attempt) == ("endless", "slow", 1)
    writer = writer_of(store, begun)
    writer.finish(Status.CANCELLED, Progress(1), None, None)
    writer.finish(Status.COMPLETED, Progress(2), None, "{}")
    store.end_or_requeue(begun, Status.FAILED, "late", None, may_retry=True)
    store.request_cancel(begun.operation_id)
    assert store.take() is None
    with pytest.raises(OperationLost):
        writer.progress(Progress(3))
    operation = read(store, begun.operation_id)
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
    runner.recover(store, [operation])
    assert store.path not in runner._launched


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
    assert read(store, "old").queue_position == 1
    begun = store.take()
    assert begun is not None
    assert (begun.operation_id, begun.job, begun.attempt) == ("old", "endless", 1)
    step, live = Step(1, "one", 0.5, failed=False), Live((Bar("x", 1, 2),), {"a": 1})
    writer_of(store, begun).progress(Progress(1, last_steps=(step,), live=live))
    operation = read(store, "old")
    assert (operation.last_steps, operation.live) == ((step,), live)
    store.request_cancel("old")
    store.request_force_stop("old")
    assert store.to_force_stop() == {"old"}
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
        path.unlink(missing_ok=True)  # the runner has removed it


def test_a_removed_file_is_created_again(store: OperationStore) -> None:
    old = insert(store)
    remove(store)
    assert store.read([old]) == {}
    new = insert(store, "succeed", "fast")
    runner.launch(store.path)
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


def test_values_that_sqlite_cannot_hold_are_rejected(store: OperationStore) -> None:
    begun = taken(store)
    writer = writer_of(store, begun)
    assert store._connection is not None
    with pytest.raises(BackendRejected, match=r"progress\.db: .*too large"):
        writer.progress(Progress(1, 10**30))
    store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)  # usually 1 GB
    with pytest.raises(BackendRejected, match=r"progress\.db: string or blob too big"):
        writer.finish(Status.COMPLETED, Progress(), None, "x" * 100_001)
    assert read(store, begun.operation_id).status is Status.IN_PROGRESS


def test_a_full_disk_is_unavailable_and_named(store: OperationStore) -> None:
    begun = taken(store)
    assert store._connection is not None
    store._connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the present size
    with pytest.raises(BackendUnavailable, match=r"progress\.db: database or disk is full"):
        writer_of(store, begun).finish(Status.COMPLETED, Progress(), None, "x" * 1_000_000)


def test_other_users_of_the_machine_do_not_reach_the_data(tmp_path: Path) -> None:
    with closing(OperationStore(tmp_path / "data" / "progress.db")) as store:
        insert(store)
        runner.launch(store.path)
        folder = store.path.parent
        found = {path: oct(path.stat().st_mode & 0o777) for path in (folder, *folder.iterdir())}
    end_runner(store)
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
        runner.launch(tmp_path / "file" / "data" / "progress.db")
    assert str(caught.value) == "The lock cannot be checked: Not a directory"
