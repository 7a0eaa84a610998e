"""Shipped and deep tests on the system's Postgres, like Debian's: the wheel has another version.

Roles and privileges differ between the major versions. The whole conformance suite would take long.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dev.local_server import workers
from progress.backend.schema import apply_schema
from tests.app import test_schema
from tests.app.conftest import find_program
from tests.app.test_schema import attacker, blank, login
from tests.test_backend import (
    test_a_job_is_retried_and_each_attempt_is_counted,
    test_a_job_runs_to_its_end,
    test_an_operation_whose_process_dies_is_declared_failed,
    test_cancel_is_a_request_that_the_job_acknowledges,
    test_files_are_uploaded_and_kept,
    test_what_a_job_prints_and_logs_is_in_its_log,
)

__all__ = [
    "attacker",
    "blank",
    "login",
    "test_a_job_is_retried_and_each_attempt_is_counted",
    "test_a_job_runs_to_its_end",
    "test_an_operation_whose_process_dies_is_declared_failed",
    "test_cancel_is_a_request_that_the_job_acknowledges",
    "test_files_are_uploaded_and_kept",
    "test_what_a_job_prints_and_logs_is_in_its_log",
]

globals().update({name: one for name, one in vars(test_schema).items() if name.startswith("test_")})


@dataclass(frozen=True)
class SystemServer:
    """A cluster whose only socket is in a folder of its own."""

    folder: Path

    def get_uri(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"


@pytest.fixture(scope="module")
def server() -> Iterator[SystemServer]:
    """A server of the system's Postgres, instead of that of the wheel."""
    programs = Path(find_program("initdb", "postgresql")).parent
    user = "postgres" if os.getuid() == 0 else None  # it refuses to run as root

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), "--pgdata", str(folder / "data"), *arguments]
        subprocess.run(command, user=user, cwd=folder, stdout=subprocess.DEVNULL, check=True)

    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="postgres-") as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user)
        run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "start", "--wait", "--log", str(folder / "log"), "--options", options)
        try:
            yield SystemServer(folder)
        finally:
            run("pg_ctl", "stop", "--wait", "--mode", "fast")


@pytest.fixture(scope="module")
def environment(server: SystemServer) -> Iterator[dict[str, str]]:
    """That server with a worker, for the tests of `test_backend`."""
    variables = {"DATABASE_URL": server.get_uri(), "JOBS_MODULE": "tests.jobs", "MAX_RUNNING": "20"}
    apply_schema(server.get_uri())
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in variables.items():
            patch.setenv(variable, value)
        with workers({"WORKER_STALE_AFTER": "3", "WORKER_CONCURRENCY": "3"}):
            yield variables
