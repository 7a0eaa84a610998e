"""A process for each job. It outlives the browser, the session and the server that started it.

For its whole life the process holds a lock on a file of its own. The operating system drops the
lock when the process ends, however it ends. So "in progress, and nobody holds the lock" is certain
knowledge that the process died, where a missed heartbeat would be a guess.
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

from .store import OperationStore

SILENCE_BEFORE_CHECK = 3.0
"""Seconds without a heartbeat after which it is worth a look whether the process lives."""
START_PATIENCE = 10.0
"""Seconds after which an operation that is still queued gets another process."""
DIED = "The worker ended unexpectedly."


def launch(database: Path, operation_id: str) -> None:
    """Start the process for a queued operation. A second process for it ends at once.

    Raises:
        BackendUnavailable: The machine has no room for a process, or no place for its log.
    """
    try:
        with (_folder(database) / "jobs.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(database), operation_id],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal of the server is not meant for the jobs.
                start_new_session=True,
            )
    except OSError as error:
        raise BackendUnavailable(f"No process could be started: {error}") from error
    # Somebody must wait for a child, or it stays in the process table as a zombie.
    threading.Thread(target=process.wait, name=f"job-{operation_id}", daemon=True).start()


def recover(store: OperationStore, operations: Iterable[Operation]) -> bool:
    """Find jobs whose process is gone, and return whether anything was done about one.

    A dead one in progress becomes `failed`. One that never left the queue, because the server
    ended between the row and the process, is launched again.
    """
    acted = False
    for operation in operations:
        if operation.status is Status.QUEUED:
            waited = (operation.read_at - operation.created_at).total_seconds()
            if waited > START_PATIENCE and store.claim_start(
                operation.operation_id, START_PATIENCE
            ):
                launch(store.path, operation.operation_id)
                acted = True
        elif operation.heartbeat_age > SILENCE_BEFORE_CHECK and not _is_alive(
            store.path, operation.operation_id
        ):
            acted |= store.fail_dead(operation.operation_id, DIED)
    return acted


def _folder(database: Path) -> Path:
    folder = database.with_suffix(".jobs")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _lock(database: Path, operation_id: str) -> FileLock:
    # Hashed, because a row that somebody else wrote may have any text for an id.
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
        raise BackendUnavailable(f"Locks cannot be read: {error}") from error


def _run(database: Path, operation_id: str) -> None:
    lock = _lock(database, operation_id)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return
    store = OperationStore(database)
    taken = store.begin(operation_id)
    if taken is not None:
        job, subject = taken
        run_job(job, subject, store.writer(operation_id))
    # Only now that the status is terminal does nobody ask for the lock any more.
    Path(lock.lock_file).unlink(missing_ok=True)


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    _run(Path(sys.argv[1]), sys.argv[2])
