"""A process for each job. It outlives the browser, the session and the server that started it.

While it runs, the process holds a lock on a file of its own. The operating system releases the lock
when the process ends, in whatever way. So "in progress, but the lock is free" proves that the
process died. A stale heartbeat would only be a hint: a process may be slow, or suspended.
"""

import hashlib
import logging
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock, Timeout

from progress.contract import BackendUnavailable
from progress.operation import Operation, Status
from progress.reporter import run_job
from progress.settings import ROOT

from .store import OperationStore, OperationWriter

HEARTBEAT_TIMEOUT = 3.0
"""Seconds without a heartbeat after which the lock of the process is checked."""
START_TIMEOUT = 10.0
"""Seconds after which an operation that is still queued gets another process."""
PROCESS_DIED = "The worker ended unexpectedly."


def launch(database: Path, operation_id: str) -> None:
    """Start the process for a queued operation. A second process for it ends immediately.

    Raises:
        BackendUnavailable: The process could not be started, or its log could not be opened.
    """
    try:
        with (_folder(database) / "jobs.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(database), operation_id],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal of the server must not reach the jobs.
                start_new_session=True,
            )
    except OSError as error:
        raise BackendUnavailable(f"No process could be started: {error}") from error
    # A child that nobody waits for stays in the process table as a zombie.
    threading.Thread(target=process.wait, name=f"job-{operation_id}", daemon=True).start()


def recover(store: OperationStore, operations: Iterable[Operation]) -> bool:
    """Recover operations whose process is missing; return whether any of them changed.

    An operation in progress is declared failed. A queued operation is launched again: the server
    ended between the insert and the launch.
    """
    changed = False
    for operation in operations:
        if operation.status == Status.QUEUED:
            waited = (operation.read_at - operation.created_at).total_seconds()
            if waited > START_TIMEOUT and store.claim_start(operation.operation_id, START_TIMEOUT):
                launch(store.path, operation.operation_id)
                changed = True
        elif operation.heartbeat_age > HEARTBEAT_TIMEOUT and not _is_alive(
            store.path, operation.operation_id
        ):
            changed |= store.declare_failed(operation.operation_id, PROCESS_DIED)
    return changed


def _folder(database: Path) -> Path:
    folder = database.with_suffix(".jobs")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _lock(database: Path, operation_id: str) -> FileLock:
    # A hash, because an id that another program stored may be any text.
    name = hashlib.sha256(operation_id.encode()).hexdigest()[:32]
    return FileLock(_folder(database) / f"{name}.lock")


def _is_alive(database: Path, operation_id: str) -> bool:
    try:
        lock = _lock(database, operation_id)
        with lock.acquire(blocking=False):
            Path(lock.lock_file).unlink(missing_ok=True)
            return False
    except Timeout:
        return True
    except OSError as error:
        raise BackendUnavailable(f"The lock cannot be checked: {error}") from error


def _run(database: Path, operation_id: str) -> None:
    lock = _lock(database, operation_id)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return
    store = OperationStore(database)
    begun = store.begin(operation_id)
    if begun is not None:
        job, subject = begun
        run_job(job, subject, OperationWriter(store, operation_id))
    # The status is terminal: nobody checks the lock any more.
    Path(lock.lock_file).unlink(missing_ok=True)


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    _run(Path(sys.argv[1]), sys.argv[2])
