"""The local server: where its Postgres may be, what its workers and their jobs print, and jobs that
hold the interpreter."""

import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from dev.local_server import postgres, workers
from progress.backend.connection import ProgressConnection
from progress.operation import Status
from progress.settings import ROOT
from tests.conftest import wait_for_end
from tests.test_postgres import start


def test_jobs_may_print_any_bytes_in_any_locale(
    dsn: str, operations: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    with workers({"DATABASE_URL": dsn, "JOBS_MODULE": "tests.app.process_jobs"}):
        operation_id = start(operations, "bytes")
        ended = wait_for_end(operations, operation_id)
        assert (ended.status, ended.error) == (Status.COMPLETED, None)
    lines = [line.text for line in operations.logs([operation_id], 10)[operation_id].lines]
    assert lines == ["caf\ufffd of a subprocess", "→ still here"]


def test_each_line_of_a_worker_names_it(
    dsn: str, operations: ProgressConnection, capfd: pytest.CaptureFixture[str]
) -> None:
    with workers({"DATABASE_URL": dsn, "JOBS_MODULE": "tests.app.process_jobs"}):
        wait_for_end(operations, start(operations, "bytes"))
    lines = capfd.readouterr().out.splitlines()
    assert all(line.startswith("worker 1 | ") for line in lines)
    assert any("bytes started" in line for line in lines)


def test_a_job_that_holds_the_interpreter_is_not_lost(
    dsn: str, operations: ProgressConnection
) -> None:
    environment = {
        "DATABASE_URL": dsn,
        "JOBS_MODULE": "tests.app.process_jobs",
        "WORKER_STALE_AFTER": "4",
    }
    with workers(environment, 2):
        ended = wait_for_end(operations, start(operations, "hold"))
    assert (ended.status, ended.attempt) == (Status.COMPLETED, 1)


def test_the_folder_of_postgres_may_have_any_name_and_only_its_user_may_connect(
    data_folder: Path,
) -> None:
    folder = data_folder / "My Projects" / "Größe 日本" / ("long" * 20)
    folder.mkdir(parents=True)
    with postgres(folder / "postgres") as server:
        with psycopg.connect(server.get_uri()) as connection:
            (version,) = connection.execute("SHOW server_version_num").fetchone() or ()
            (sockets,) = connection.execute("SHOW unix_socket_directories").fetchone() or ()
        assert int(version) > 150000
        assert len(f"{sockets}/.s.PGSQL.5432") < 60
        assert stat.S_IMODE(Path(sockets).stat().st_mode) == 0o700
    assert not Path(sockets).parent.exists()


HOLDER = """
import sys, time
from pathlib import Path
from dev.local_server import postgres
with postgres(Path(sys.argv[1])) as server:
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_postgres_whose_process_was_killed_is_used_again(data_folder: Path) -> None:
    data = data_folder / "killed"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with postgres(data) as shared:
            uri = shared.get_uri()
        # The other process still uses it.
        psycopg.connect(uri).close()
        holder.kill()
    with postgres(data) as server:
        psycopg.connect(server.get_uri()).close()
        server.stop()


def test_workers_that_cannot_start_are_not_restarted(
    dsn: str, capfd: pytest.CaptureFixture[str]
) -> None:
    nobody = psycopg.conninfo.make_conninfo(dsn, user="nobody")
    with pytest.raises(SystemExit, match="could not start"), workers({"DATABASE_URL": nobody}, 1):
        pass
    (line,) = capfd.readouterr().out.splitlines()
    assert 'role "nobody" does not exist' in line
