"""The processes of jobs under a worker: how they end, logs, files, limits, and the queue."""

import asyncio
import hashlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from procrastinate import JobContext

from dev.local_server import workers
from progress.backend import runner, store
from progress.backend.connection import ProgressConnection
from progress.backend.database import Pool, execute
from progress.contract import BackendRejected, BackendUnavailable
from progress.operation import (
    Live,
    LogLine,
    Operation,
    Options,
    Progress,
    Status,
    new_operation_id,
)
from progress.supervisor import Ending
from tests.app.test_workers import is_alive
from tests.conftest import OWNER, wait_for_end, wait_until
from tests.test_postgres import queue_jobs, start, wait_for_step


@contextmanager
def a_worker(dsn: str, concurrency: int = 3) -> Iterator[None]:
    """Run a worker. No operation is lost within a test."""
    variables = {
        "DATABASE_URL": dsn,
        "JOBS_MODULE": "tests.app.process_jobs",
        "WORKER_STALE_AFTER": "600",
    }
    with workers(variables | {"WORKER_CONCURRENCY": str(concurrency)}):
        yield


def start_with(
    operations: ProgressConnection, job: str, subject: str, owner: str = OWNER, **options: Any
) -> str:
    operation_id = new_operation_id()
    operations.start(operation_id, job, subject, owner, "", Options(**options))
    return operation_id


def lines(operations: ProgressConnection, operation_id: str, limit: int = 100) -> list[str]:
    log = operations.logs([operation_id], limit).get(operation_id)
    return [line.text for line in log.lines] if log else []


def begin(database: Pool) -> int:
    """Begin the operation that was started last, as a worker would; return its queue job."""
    queue_job: int = queue_jobs(database)[-1]["id"]
    assert store.begin(database, queue_job)
    return queue_job


# --- how a process ends ---


@pytest.mark.parametrize(
    ("subject", "ending"),
    [
        ("9", "was killed by SIGKILL, probably because memory ran out"),
        ("10", "was killed by SIGUSR1"),
        ("15", "was killed by SIGTERM"),
        ("-3", "ended with exit code 3"),
        ("-0", "ended with exit code 0"),
    ],
)
def test_a_job_whose_process_ends_without_an_outcome_fails_immediately_with_the_reason(
    dsn: str, operations: ProgressConnection, subject: str, ending: str
) -> None:
    with a_worker(dsn):
        ended = wait_for_end(operations, start(operations, "end_by", subject))
    assert (ended.status, ended.attempt) == (Status.FAILED, 1)
    assert ended.reason == f"The process of the job {ending}."
    assert "\n    half done\n" in (ended.error or "")
    assert ended.current_step >= 1
    assert ended.step_description == "two"


def test_a_job_whose_process_ended_is_retried_as_often_as_it_allows(
    dsn: str, operations: ProgressConnection, tmp_path: Path
) -> None:
    def waits(operation: Operation) -> bool:
        return operation.status is Status.QUEUED and operation.attempt == 1

    with a_worker(dsn):
        operation_id = start_with(
            operations, "die_once", str(tmp_path / "died"), retries=1, retry_delay=5.0
        )
        waiting = wait_until(operations, operation_id, waits)
        assert waiting.live.retry_reason == "The process of the job ended with exit code 7."
        ended = wait_for_end(operations, operation_id)
        assert (ended.status, ended.attempt) == (Status.COMPLETED, 2)
        ended = wait_for_end(
            operations, start_with(operations, "end_by", "-4", retries=1, retry_delay=0.1)
        )
        assert (ended.status, ended.attempt) == (Status.FAILED, 2)
        assert ended.reason == "The process of the job ended with exit code 4."


def test_retries_of_a_process_and_within_it_count_together(
    dsn: str, operations: ProgressConnection, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    with a_worker(dsn):
        operation_id = start_with(
            operations, "die_and_raise", str(runs), retries=2, retry_delay=0.1
        )
        ended = wait_for_end(operations, operation_id)
    assert (ended.status, ended.reason) == (Status.FAILED, "ValueError: again")
    assert (runs.read_text(), ended.attempts) == ("run\n" * 3, 3)


def test_retries_within_a_process_are_not_forgotten_when_it_dies(
    dsn: str, operations: ProgressConnection, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    with a_worker(dsn):
        operation_id = start_with(operations, "raise_or_die", str(runs), retries=2, retry_delay=0.0)
        ended = wait_for_end(operations, operation_id)
    assert runs.read_text() == "run\n" * 3
    assert (ended.reason, ended.attempts) == ("ValueError: odd", 3)
    assert ended.live.retry_reason == "The process of the job ended with exit code 7."


def test_retries_count_for_an_operation_that_lost_its_worker(
    operations: ProgressConnection, database: Pool
) -> None:
    operation_id = start_with(operations, "wait", "0", retries=3)
    writer = store.OperationWriter(database, operation_id, begin(database))
    retried = Live(retries=2, retry_reason="OSError: x")
    writer.progress(Progress(live=replace(retried, metrics={"a": 1})))
    store.requeue_lost(database, queue_jobs(database)[-1]["id"])
    queue_job = begin(database)
    found = operations.read([operation_id])[operation_id]
    assert (found.attempts, found.live) == (4, retried)
    store.requeue_lost(database, queue_job)
    ended = operations.read([operation_id])[operation_id]
    assert ended.status is Status.FAILED
    assert ended.reason == "The worker stopped responding. An operation has at most 4 attempts."


def test_the_pause_before_a_retry_has_a_limit(
    dsn: str, operations: ProgressConnection, database: Pool, tmp_path: Path
) -> None:
    (tmp_path / "runs").write_text("run\n")
    with a_worker(dsn):
        operation_id = start_with(
            operations, "raise_or_die", str(tmp_path / "runs"), retries=1, retry_delay=1e12
        )
        wait_until(operations, operation_id, lambda found: bool(found.live.retry_reason))
    (row,) = execute(
        database,
        "SELECT scheduled_at - clock_timestamp() AS pause FROM procrastinate_jobs"
        " JOIN operations ON id = queue_job",
        {},
    )
    assert timedelta(hours=23) < row["pause"] < timedelta(hours=24)


def test_a_job_that_dies_after_a_request_to_cancel_does_not_run_again(
    operations: ProgressConnection, database: Pool
) -> None:
    operation_id = start_with(operations, "wait", "0", retries=1)
    queue_job = begin(database)
    operations.cancel(operation_id)
    runner.store_ending(database, queue_job, Ending(7))
    ended = operations.read([operation_id])[operation_id]
    assert (ended.status, ended.attempt) == (Status.CANCELLED, 1)
    assert ended.reason == "The process of the job ended with exit code 7."


def test_a_forced_stop_ends_the_job_and_its_children_soon(
    dsn: str, operations: ProgressConnection, tmp_path: Path
) -> None:
    with a_worker(dsn):
        operation_id = start(operations, "stubborn", str(tmp_path / "pid"))
        wait_for_step(operations, operation_id, 1)
        operations.force_stop(operation_id)  # cancel was not requested
        operations.cancel(operation_id)
        time.sleep(1)
        assert not operations.read([operation_id])[operation_id].status.is_terminal
        operations.force_stop(operation_id)
        ended = wait_until(
            operations, operation_id, lambda operation: operation.status.is_terminal, 20
        )
    assert ended.status is Status.CANCELLED
    assert ended.reason == "The process of the job was stopped by force."
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while is_alive(child):
        assert time.monotonic() < deadline, "a child goes on"
        time.sleep(0.05)


def test_a_job_that_runs_longer_than_its_time_limit_fails(
    dsn: str, operations: ProgressConnection, tmp_path: Path
) -> None:
    with a_worker(dsn):
        operation_id = start_with(
            operations, "stubborn", str(tmp_path / "pid"), time_limit=2.0, retries=3
        )
        ended = wait_for_end(operations, operation_id)
    assert (ended.status, ended.attempt) == (Status.FAILED, 1)
    assert ended.reason == (
        "The process of the job was stopped: it ran longer than its time limit of 2 s."
    )


def test_a_part_of_the_result_and_a_file_survive_a_failure(
    dsn: str, operations: ProgressConnection, database: Pool, tmp_path: Path
) -> None:
    with a_worker(dsn):
        operation_id = start(operations, "early", str(tmp_path / "a.txt"))
        ended = wait_for_end(operations, operation_id)
    assert (ended.status, ended.reason) == (Status.FAILED, "ValueError: too bad")
    assert ended.result == {"notes": ["early"], "files": [{"name": "a.txt", "size": 6}]}
    assert operations.read_file(operation_id, "a.txt") == b"second"
    assert len(execute(database, "SELECT part FROM operation_files", {})) == 1


def fail_once(call: Callable[..., Any], errors: list[BackendUnavailable], *arguments: Any) -> Any:
    if errors:
        raise errors.pop()
    return call(*arguments)


# The pipe to the process is closed when nothing refers to it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("subject", "status"), [("0", Status.COMPLETED), ("not a number", Status.FAILED)]
)
def test_the_worker_announces_the_end_once(
    operations: ProgressConnection,
    database: Pool,
    monkeypatch: pytest.MonkeyPatch,
    subject: str,
    status: Status,
) -> None:
    announced: list[Operation] = []
    monkeypatch.setattr(runner, "notify", announced.append)
    monkeypatch.setenv("JOBS_MODULE", "tests.app.process_jobs")
    operation_id = start_with(operations, "wait", subject, max_running=1)
    errors = [BackendUnavailable("away"), BackendUnavailable("away")]
    for name in ("wake", "read"):  # wake fails twice, and then read does not
        monkeypatch.setattr(store, name, partial(fail_once, getattr(store, name), errors))
    (row,) = queue_jobs(database)
    context = SimpleNamespace(
        job=SimpleNamespace(id=row["id"], attempts=0),
        additional_context={"pool": database, "running": runner.Running(), "stale_after": 3},
    )
    for _ in range(2):
        runner.run_operation.func(cast(JobContext, context), operation_id)
    assert [(ended.operation_id, ended.status) for ended in announced] == [(operation_id, status)]
    assert not errors


def test_a_worker_announces_what_it_gives_up(
    operations: ProgressConnection, database: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[Operation] = []
    monkeypatch.setattr(runner, "notify", announced.append)
    operation_id = start(operations, "wait", "0")
    for _ in range(store.MAX_ATTEMPTS):
        assert not announced
        job = queue_jobs(database)[-1]["id"]
        assert store.begin(database, job)
        runner.give_up_or_requeue(database, job)
    runner.give_up_or_requeue(database, job)  # another worker sees it, too
    assert [(ended.operation_id, ended.status) for ended in announced] == [
        (operation_id, Status.FAILED)
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_worker_whose_operation_was_given_up_does_not_announce_its_end(
    operations: ProgressConnection,
    database: Pool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    announced: list[Operation] = []
    monkeypatch.setattr(runner, "notify", announced.append)
    monkeypatch.setenv("JOBS_MODULE", "tests.app.process_jobs")
    operation_id = start(operations, "wait", "8")
    execute(database, "UPDATE operations SET attempt = %(last)s", {"last": store.MAX_ATTEMPTS - 1})
    (row,) = queue_jobs(database)
    context = SimpleNamespace(
        job=SimpleNamespace(id=row["id"], attempts=0),
        additional_context={"pool": database, "running": runner.Running(), "stale_after": 3},
    )
    stale = threading.Thread(
        target=runner.run_operation.func, args=(cast(JobContext, context), operation_id)
    )
    stale.start()
    wait_until(operations, operation_id, lambda found: found.step_description == "waiting")
    runner.give_up_or_requeue(database, row["id"])  # another worker
    stale.join()
    assert [(ended.operation_id, ended.status) for ended in announced] == [
        (operation_id, Status.FAILED)
    ]


# --- logs ---


def test_the_log_has_all_that_a_job_wrote_until_it_was_killed(
    dsn: str, operations: ProgressConnection
) -> None:
    with a_worker(dsn):
        operation_id = start(operations, "talk")
        ended = wait_for_end(operations, operation_id)
    log = operations.logs([operation_id, "unknown", "no\0id"], 100)[operation_id]
    assert [line.text for line in log.lines] == [
        "printed",
        "to stderr: é",
        "INFO mine: logged",
        "reported",
        "in two lines",
        "no line end",
    ]
    assert log.dropped == 0
    assert ended.started_at is not None
    assert all(ended.started_at <= line.at <= ended.read_at for line in log.lines)
    assert lines(operations, operation_id, 2) == ["in two lines", "no line end"]


def test_a_log_is_bounded_and_its_lines_are_stored_once(
    operations: ProgressConnection, database: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_LOG", 100)
    first, other = start(operations, "wait"), start(operations, "wait")
    (queue_job, _) = [job["id"] for job in queue_jobs(database)]
    log = store.OperationLog(database, queue_job)
    now = datetime.now(UTC)
    for block in range(5):
        log.append([LogLine(now, f"line {block * 50 + number}") for number in range(1, 51)])
    found = operations.logs([first, other], 1000)
    assert list(found) == [first]
    assert found[first].dropped == 150
    assert [line.text for line in found[first].lines] == [f"line {n}" for n in range(151, 251)]
    # The answer to a block was lost: it is written again.
    log._last = 200
    log.append([LogLine(now, f"line {number}") for number in range(201, 253)])
    assert lines(operations, first, 3) == ["line 250", "line 251", "line 252"]
    # The next attempt goes on.
    store.OperationLog(database, queue_job).append([LogLine(now, "again")])
    assert lines(operations, first, 3) == ["line 251", "line 252", "again"]
    assert len(lines(operations, first, 1000)) == 100


# --- files ---


@pytest.mark.parametrize("size", [0, 1, 1_000_000, 2_500_000])
def test_a_file_is_stored_in_parts_and_read_unchanged(
    operations: ProgressConnection, database: Pool, size: int
) -> None:
    content = os.urandom(size)
    operations.save_file("of nothing yet", "a 'name' %s", content)
    assert operations.read_file("of nothing yet", "a 'name' %s") == content
    parts = execute(database, "SELECT part FROM operation_files", {})
    assert len(parts) == max(-(-size // 1_000_000), 1)


def test_a_file_replaces_an_older_one_whole(operations: ProgressConnection, database: Pool) -> None:
    operations.save_file("a", "f", b"x" * 2_500_000)
    operations.save_file("a", "f", b"new")
    operations.save_file("a", "g", b"other")
    assert operations.read_file("a", "f") == b"new"
    store.OperationWriter(database, "a", store.NO_JOB).save_file("f", b"newest")
    assert operations.read_file("a", "f") == b"newest"
    assert len(execute(database, "SELECT part FROM operation_files", {})) == 2


def test_a_file_that_is_not_stored_whole_is_not_there(
    operations: ProgressConnection, database: Pool
) -> None:
    execute(database, "ALTER TABLE operation_files ADD CONSTRAINT full_up CHECK (part < 2)", {})
    try:
        with pytest.raises(BackendRejected, match="full_up"):
            operations.save_file("a", "f", b"x" * 2_500_000)
    finally:
        execute(database, "ALTER TABLE operation_files DROP CONSTRAINT full_up", {})
    with pytest.raises(BackendRejected, match=r"There is no file 'f': it may have been removed\."):
        operations.read_file("a", "f")


@pytest.mark.parametrize("place", ["dsn", "pooled"])
def test_a_job_gets_the_uploaded_file_with_the_roles_of_the_schema(
    request: pytest.FixtureRequest, dsn: str, database: Pool, place: str
) -> None:
    where = request.getfixturevalue(place)
    for login, role in (("app_login", "progress_web"), ("job_login", "progress_worker")):
        execute(database, f"DROP ROLE IF EXISTS {login}", {})
        execute(database, f"CREATE ROLE {login} LOGIN IN ROLE {role}", {})
    if place == "dsn":  # the pooler of the tests has one login
        app_dsn, job_dsn = (
            psycopg.conninfo.make_conninfo(where, user=login)
            for login in ("app_login", "job_login")
        )
    else:
        app_dsn = job_dsn = where
    app = ProgressConnection("progress", dsn=app_dsn)
    operation_id = new_operation_id()
    app.save_file(operation_id, "../../evil.CSV", b"12345" * 500_000)
    with a_worker(job_dsn):
        app.start(
            operation_id, "read_upload", "../../evil.CSV", OWNER, "", Options(upload=operation_id)
        )
        ended = wait_for_end(app, operation_id)
    assert (ended.status, ended.error) == (Status.COMPLETED, None)
    assert ended.result == {"notes": ["2500000", ".CSV"]}
    app.reset()


@pytest.mark.parametrize("size", [0, 2_500_000])
def test_an_upload_is_stored_once_however_often_it_is_started(
    operations: ProgressConnection, database: Pool, size: int
) -> None:
    content = os.urandom(size)
    upload = hashlib.sha256(content).hexdigest()
    count = "SELECT count(DISTINCT stored_at) AS files FROM operation_files"
    for _ in range(3):
        operations.save_file(upload, "a.csv", content)
        start_with(operations, "wait", "a.csv", upload=upload)
    assert execute(database, count, {}) == [{"files": 1}]
    assert operations.read_file(upload, "a.csv") == content
    operations.save_file(upload, "b.csv", content)
    assert operations.read_file(upload, "b.csv") == content
    # It is not whole.
    execute(database, "DELETE FROM operation_files WHERE name = 'a.csv' AND part = 0", {})
    operations.save_file(upload, "a.csv", content)
    assert operations.read_file(upload, "a.csv") == content


# --- limits and the queue ---


def test_a_job_runs_as_often_at_the_same_time_as_it_allows(
    dsn: str, operations: ProgressConnection
) -> None:
    with a_worker(dsn):
        limited = [start_with(operations, "wait", "0.5", max_running=1) for _ in range(4)]
        free = start(operations, "wait", "0")
        assert wait_for_end(operations, free).status is Status.COMPLETED
        ended = {name: wait_for_end(operations, name) for name in limited}
    times = sorted(
        (operation.started_at, operation.finished_at)
        for operation in ended.values()
        if operation.started_at and operation.finished_at
    )
    assert len(times) == 4
    gaps = [begin - end for (_, end), (begin, _) in pairwise(times)]
    # Not while another runs, and without waiting for the pause.
    assert timedelta(0) <= min(gaps) < timedelta(seconds=store.LIMIT_PAUSE - 2)


def test_what_waits_for_a_limit_does_not_keep_the_queue_busy(
    dsn: str, operations: ProgressConnection, database: Pool
) -> None:
    count = "SELECT count(*) AS retries FROM procrastinate_events WHERE type = 'deferred_for_retry'"
    with a_worker(dsn):
        first = start_with(operations, "stubborn", os.devnull, max_running=1)
        wait_for_step(operations, first, 1)
        waiting = [start_with(operations, "stubborn", os.devnull, max_running=1) for _ in range(30)]
        time.sleep(3)
        (before,) = execute(database, count, {})
        time.sleep(2 * store.LIMIT_PAUSE)
        (after,) = execute(database, count, {})
        assert after["retries"] - before["retries"] <= 8  # 60 if each were tried
        found = operations.read(waiting)
        assert {operation.status for operation in found.values()} == {Status.QUEUED}
        operations.cancel(waiting[0])
        assert operations.read(waiting[:1])[waiting[0]].status is Status.CANCELLED
        operations.cancel(first)
        operations.force_stop(first)
        wait_for_end(operations, first)
        wait_until(
            operations, waiting[1], lambda operation: operation.status is Status.IN_PROGRESS, 30
        )


def order(operations: ProgressConnection, names: dict[str, str]) -> list[str]:
    """Return the names of the queued operations by their position."""
    found = operations.read(list(names)).values()
    queued = [operation for operation in found if operation.status is Status.QUEUED]
    assert sorted(operation.queue_position or 0 for operation in queued) == list(
        range(1, len(queued) + 1)
    )
    return [
        names[operation.operation_id]
        for operation in sorted(queued, key=lambda operation: operation.queue_position or 0)
    ]


def fetch(database: Pool) -> int:
    """Take a job from the queue, as a worker does, and begin its operation."""
    (row,) = execute(
        database, "SELECT id FROM procrastinate_fetch_job_v2(ARRAY['operations'], NULL)", {}
    )
    queue_job: int = row["id"]
    assert store.begin(database, queue_job) == 1
    return queue_job


def test_owners_take_turns_and_each_keeps_its_order(
    operations: ProgressConnection, database: Pool
) -> None:
    names: dict[str, str] = {}

    def add(*added: str) -> None:
        for name in added:
            names[start_with(operations, "wait", "0", owner=name[0])] = name

    def end(queue_job: int) -> None:
        assert store.end(database, queue_job, Status.FAILED, "", None)
        execute(database, "DELETE FROM procrastinate_jobs WHERE id = %(id)s", {"id": queue_job})

    add("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    assert order(operations, names) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]
    first = fetch(database)
    add("d1", "d2")
    assert order(operations, names) == ["b1", "c1", "d1", "a2", "b2", "d2", "a3", "a4"]
    end(first)
    for _ in range(6):
        end(fetch(database))
    # What an owner adds later does not overtake what waits of it.
    add("a5", "a6", "e1")
    assert order(operations, names) == ["a3", "e1", "a4", "a5", "a6"]
    # What is requeued keeps its turn.
    store.requeue(database, [fetch(database)])
    assert order(operations, names) == ["e1", "a3", "a4", "a5", "a6"]


def test_the_position_in_the_queue_is_only_that_of_queued_operations(
    operations: ProgressConnection, database: Pool
) -> None:
    first, second = start(operations, "wait"), start(operations, "wait")
    fetch(database)
    found = operations.read([first, second])
    assert [found[name].queue_position for name in (first, second)] == [None, 1]


# --- retention ---


def test_what_is_old_is_removed_with_its_log_and_files_in_batches(
    operations: ProgressConnection, database: Pool
) -> None:
    old = [start(operations, "wait") for _ in range(5)]
    recent, active = start(operations, "wait"), start(operations, "wait")
    for operation_id, job in zip([*old, recent], queue_jobs(database), strict=False):
        store.begin(database, job["id"])
        store.OperationLog(database, job["id"]).append([LogLine(datetime.now(UTC), "a line")])
        operations.save_file(operation_id, "kept", b"x")
        store.end(database, job["id"], Status.FAILED, "", None)
    operations.save_file("unused", "upload", b"x")
    operations.save_file(active, "upload", b"x")
    execute(
        database,
        "UPDATE operations SET finished_at = now() - interval '2 h'"
        " WHERE operation_id = ANY(%(old)s)",
        {"old": old},
    )
    execute(database, "UPDATE operation_files SET stored_at = now() - interval '2 h'", {})
    with database.connection() as connection:  # another worker does it
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtext(current_schema()), hashtext('remove_ended'))"
        )
        assert store.remove_ended(database, 3600) == 0
    while store.remove_ended(database, 3600, limit=2):
        assert len(operations.read(old)) in (3, 1, 0)
    assert set(operations.read([*old, recent, active])) == {recent, active}
    assert set(operations.logs([*old, recent], 1)) == {recent}
    rows = execute(database, "SELECT operation_id FROM operation_files", {})
    assert {row["operation_id"] for row in rows} == {recent, active}


def test_an_upload_is_removed_when_no_operation_has_it(
    operations: ProgressConnection, database: Pool
) -> None:
    old = start_with(operations, "wait", "", upload="of the old")
    store.end(database, begin(database), Status.FAILED, "", None)
    execute(database, "UPDATE operations SET finished_at = now() - interval '2 h'", {})
    start_with(operations, "wait", "", upload="shared")
    # As the command line of an earlier version did: under the id of the first operation.
    start_with(operations, "wait", "", upload=old)
    for upload in ("shared", "of the old", old, "of none"):
        operations.save_file(upload, "x", b"x")
    execute(database, "UPDATE operation_files SET stored_at = now() - interval '2 h'", {})
    operations.save_file("new", "x", b"x")
    while store.remove_ended(database, 3600):
        assert not operations.read([old])
    rows = execute(database, "SELECT operation_id FROM operation_files", {})
    assert {row["operation_id"] for row in rows} == {"shared", old, "new"}


def test_a_worker_removes_what_is_old(operations: ProgressConnection, database: Pool) -> None:
    operation_id = start(operations, "wait")
    store.end(database, begin(database), Status.FAILED, "", None)
    execute(database, "UPDATE operations SET finished_at = now() - interval '11 years'", {})
    for keep, is_kept in ((math.inf, True), (3600.0, False)):
        with suppress(TimeoutError):  # it waits for the next hour
            asyncio.run(asyncio.wait_for(runner.remove_old(database, keep), 1))
        assert (operation_id in operations.read([operation_id])) is is_kept
