"""The workers of the local server: what their jobs print, and jobs that hold the interpreter."""

import ctypes
import os
import time

import psycopg
import pytest

from dev.local_server import workers
from progress.backend.connection import ProgressConnection
from progress.operation import Status
from progress.reporter import Job, Reporter
from tests.conftest import wait_for_end
from tests.test_postgres import start


def print_any_bytes(report: Reporter, subject: str) -> None:
    os.write(1, b"caf\xe9 of a subprocess\n")
    time.sleep(0.5)
    print("→ still here", flush=True)


def hold_the_interpreter(report: Reporter, subject: str) -> None:
    report.step("sorting")
    ctypes.PyDLL(None).sleep(6)  # a PyDLL holds the lock of the interpreter in its calls
    report.step("sorted")


JOBS: dict[str, Job] = {"bytes": print_any_bytes, "hold": hold_the_interpreter}


def test_jobs_may_print_any_bytes_and_each_line_names_the_worker(
    dsn: str,
    operations: ProgressConnection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    with workers({"DATABASE_URL": dsn, "JOBS_MODULE": __name__}, 1):
        for _ in range(2):
            ended = wait_for_end(operations, start(operations, "bytes"))
            assert (ended.status, ended.error) == (Status.COMPLETED, None)
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("worker 1 | caf\\xe9 of a subprocess") == 2
    assert lines.count("worker 1 | → still here") == 2


def test_a_job_that_holds_the_interpreter_is_not_lost(
    dsn: str, operations: ProgressConnection
) -> None:
    environment = {"DATABASE_URL": dsn, "JOBS_MODULE": __name__, "WORKER_STALE_AFTER": "2"}
    with workers(environment, 2):
        ended = wait_for_end(operations, start(operations, "hold"))
    assert (ended.status, ended.attempt) == (Status.COMPLETED, 1)


def test_workers_that_cannot_start_are_not_restarted(
    dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = psycopg.conninfo.make_conninfo(dsn, user="nobody")
    with pytest.raises(SystemExit, match="could not start"), workers({"DATABASE_URL": nobody}, 1):
        pass
    (line,) = capsys.readouterr().out.splitlines()
    assert 'role "nobody" does not exist' in line
