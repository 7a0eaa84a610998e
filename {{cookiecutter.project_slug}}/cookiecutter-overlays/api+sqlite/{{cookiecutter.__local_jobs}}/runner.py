"""Runs the queued operations of a database, each in a process of its own.

One runner for each database, which the first start launches. It outlives the browser, the session
and the server, and ends when there has been nothing to do for a while. While it runs it holds a
lock, which the operating system releases when it ends, in whatever way. So "in progress, but the
lock is free" proves that the job died: a job ends with its runner.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path

from filelock import FileLock, Timeout

from progress.contract import BackendError, BackendUnavailable
from progress.notifications import notify
from progress.operation import Operation, Status
from progress.processes import OWN_GROUP
from progress.settings import ROOT, load_settings
from progress.supervisor import (
    FORCE_STOP,
    Ending,
    Supervisor,
    run_process,
    run_supervised,
    when_available,
)
from progress.text import reason_of

from .files import MAX_SIZE
from .store import OperationStore, OperationWriter

log = logging.getLogger("runner")

INTERVAL = 0.2
"""Seconds between two checks of the queue."""
IDLE_TIMEOUT = 10.0
"""Seconds without an operation after which the runner ends."""
HEARTBEAT_TIMEOUT = 3.0
"""Seconds without a heartbeat after which a job that the runner does not run is dead."""
LAUNCH_TIME = 5.0
"""Seconds that a runner may need until it holds the lock."""
RETENTION_INTERVAL = 3600.0
"""Seconds between two removals of old operations."""
RETENTION_BATCH = 200
"""How many operations, or logs and files, are removed at a time."""

MODULE = f"{__package__}.runner"  # `__name__` is "__main__" in the runner itself

_launched: "dict[Path, tuple[subprocess.Popen[bytes], float]]" = {}  # and when, monotonic
_launch_lock = threading.Lock()


def launch(database: Path) -> None:
    """Start the runner of a database, unless it runs. Call it after an operation was added.

    Raises:
        BackendUnavailable: It cannot be started.
    """
    with _launch_lock:
        # Also if it has ended: what cannot start is not started at every poll.
        _, launched_at = _launched.get(database, (None, -LAUNCH_TIME))
        if time.monotonic() - launched_at < LAUNCH_TIME or _is_running(database):
            return
        try:
            path = _path(database, "runner.log")
            if path.exists() and path.stat().st_size > MAX_SIZE:
                path.replace(f"{path}.1")
            with path.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", MODULE, str(database)],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    # Ctrl-C in the terminal of the server must not reach the jobs.
                    **OWN_GROUP,
                )
        except OSError as error:
            raise BackendUnavailable(f"No process could be started: {reason_of(error)}") from error
        _launched[database] = process, time.monotonic()
        # Else it would stay as a zombie when it ends.
        threading.Thread(target=process.wait, name="runner", daemon=True).start()


def recover(store: OperationStore, operations: Iterable[Operation]) -> None:
    """Start the runner if one of the operations needs it, and there is none.

    The server ended between the insert and the launch, or the runner was killed. A runner ends the
    operations of the runner before it.
    """
    if any(
        operation.heartbeat_age > HEARTBEAT_TIMEOUT
        or (operation.status == Status.QUEUED and operation.elapsed > LAUNCH_TIME)
        for operation in operations
    ):
        launch(store.path)


def _lock(database: Path) -> FileLock:
    return FileLock(_path(database, "runner.lock"))


def _path(database: Path, name: str) -> Path:
    folder = database.parent / f"{database.stem}.jobs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / name


def _is_running(database: Path) -> bool:
    try:
        with _lock(database).acquire(blocking=False):
            return False
    except Timeout:
        return True
    except OSError as error:
        raise BackendUnavailable(f"The lock cannot be checked: {reason_of(error)}") from error


class Runner:
    """Takes operations from the queue of a store and runs them.

    Args:
        store: The operations.
        max_running: How many run at the same time.
    """

    def __init__(self, store: OperationStore, max_running: int) -> None:
        self._store = store
        self._max_running = max_running
        self._jobs: dict[str, threading.Thread] = {}
        self._to_force_stop: set[str] = set()
        self._stopping = threading.Event()  # never set: the threads end with this process
        self._has_queued = False  # what waits for its retry
        self._removal: Iterator[None] = iter(())
        self._removed_at = -float("inf")

    def work(self) -> None:
        """Run operations until there has been none for a while.

        Raises:
            BackendError: The database was removed.
        """
        idle_since = time.monotonic()
        while self._jobs or time.monotonic() - idle_since < IDLE_TIMEOUT:
            try:
                self._check()
            except BackendError as error:
                if not self._store.path.exists():
                    raise
                # The jobs go on: it may be locked for a while, or the disk full.
                log.warning("The queue could not be read: %s", error)
                self._has_queued = False  # without a job it ends, and does not log this for ever
            if self._jobs or self._has_queued:
                idle_since = time.monotonic()
            time.sleep(INTERVAL)

    def _check(self) -> None:
        for operation_id in [name for name, job in self._jobs.items() if not job.is_alive()]:
            del self._jobs[operation_id]
        while len(self._jobs) < self._max_running and (taken := self._store.take()):
            self._start(taken)
        self._has_queued = self._store.has_queued()
        if self._jobs:
            self._to_force_stop = self._store.to_force_stop()
        self._end_orphans()
        keep, passed = load_settings().keep, time.monotonic() - self._removed_at
        if keep < float("inf") and passed > RETENTION_INTERVAL:
            self._removal, self._removed_at = remove_old(self._store, keep), time.monotonic()
        next(self._removal, None)  # jobs are taken between two batches

    def _start(self, taken: Operation) -> None:
        name = f"job-{taken.operation_id}"
        job = threading.Thread(target=self._run, args=(taken,), name=name, daemon=True)
        self._jobs[taken.operation_id] = job
        job.start()

    def _run(self, taken: Operation) -> None:
        operation_id = taken.operation_id
        command = [sys.executable, "-m", MODULE, str(self._store.path), operation_id]
        output = self._store.files.log(operation_id)
        try:
            ending = run_process(
                [*command, str(taken.attempt)],
                taken.options,
                output.append,
                lambda: FORCE_STOP if operation_id in self._to_force_stop else "",
            )
        except OSError as error:
            ending = Ending(1, f"could not be started: {reason_of(error)}")
        # This changes nothing if the process has stored the outcome.
        end = partial(self._store.end_or_requeue, taken, ending.status, ending.reason, ending.step)
        try:
            when_available(partial(end, may_retry=not ending.stopped), self._stopping)
        except BackendError as error:
            log.warning("The end of a job could not be stored, %s: %s", ending.reason, error)
        else:
            when_available(partial(self._notify, operation_id), self._stopping)

    def _end_orphans(self) -> None:
        """End what is in progress, but not here: its runner has died, and it with it."""
        for taken in self._store.stale(HEARTBEAT_TIMEOUT):
            if taken.operation_id not in self._jobs:
                reason = (
                    "The process of the job ended unexpectedly,"
                    " as it does when its machine or container restarts."
                )
                self._store.end_or_requeue(taken, Status.FAILED, reason, None, may_retry=True)
                self._notify(taken.operation_id)

    def _notify(self, operation_id: str) -> None:
        operation = self._store.read([operation_id]).get(operation_id)
        if operation is not None and operation.status.is_terminal:
            notify(operation)


def remove_old(store: OperationStore, keep: float) -> Iterator[None]:
    """Remove what ended more than `keep` seconds ago, and then the logs and files of no operation
    that are as old. Yields after each batch."""
    before = datetime.now(UTC) - timedelta(seconds=keep)
    while store.remove_ended(before, RETENTION_BATCH):
        yield
    removed = store.files.remove_older(before, store.ids())
    while list(islice(removed, RETENTION_BATCH)):
        yield


def max_running() -> int:
    """Return how many jobs run at the same time: MAX_RUNNING, or else as in settings.toml."""
    given = os.environ.get("MAX_RUNNING", "")
    return max(int(given), 1) if given.isdecimal() else load_settings().max_running


def run_queue(database: Path) -> None:
    """Run the operations of a database, unless another process does. For `launch`."""
    lock = _lock(database)
    with closing(OperationStore(database, create=False)) as store:
        while True:
            try:
                # `launch` holds it for a moment.
                with lock.acquire(timeout=1):
                    Runner(store, max_running()).work()
            except Timeout:
                return
            # Whoever added an operation before the release has seen the lock, and launched nothing.
            if not store.has_queued():
                return


def run_operation(database: Path, operation_id: str, attempt: int, step_file: str) -> None:
    """Run the job of an operation. For the process of a job."""
    supervisor = Supervisor()
    store = OperationStore(database, create=False)
    taken = when_available(lambda: store.taken(operation_id, attempt), supervisor.stopping)
    if taken is not None:
        writer = OperationWriter(store, operation_id, attempt, supervisor.stopping.is_set)
        fail = partial(store.end_or_requeue, taken, Status.FAILED, step=None, may_retry=False)
        run_supervised(taken, writer, step_file, supervisor, fail)


def main() -> None:
    """Run a queue, or one operation."""
    database, *rest = sys.argv[1:]
    if rest:
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
        operation_id, attempt, step_file = rest
        run_operation(Path(database), operation_id, int(attempt), step_file)
    else:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
        try:
            run_queue(Path(database))
        except BackendError as error:
            log.warning("The runner ends: %s", error)


if __name__ == "__main__":
    main()
