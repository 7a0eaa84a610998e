"""A process for each job. It outlives the browser, the session and the server that started it.

While it runs, the process holds a lock on a file of its own. The operating system releases the lock
when the process ends, in whatever way. So "in progress, but the lock is free" proves that the
process died. A stale heartbeat would only be a hint: a process may be slow, or suspended.

The process prints to a log of its own, next to the lock. A log is removed when the job has ended
and printed nothing, or after a week. A third file holds the step that the job has begun: the store
gets it up to 0.2 s later, which a process that dies may not have.
"""

import hashlib
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from progress.contract import BackendError, BackendUnavailable
from progress.operation import Operation, Status
from progress.reporter import run_job
from progress.settings import ROOT
from progress.text import reason_of, sanitize

from .store import OperationStore, OperationWriter

log = logging.getLogger(__name__)

HEARTBEAT_TIMEOUT = 3.0
"""Seconds without a heartbeat after which the lock of the process is checked."""
START_TIMEOUT = 10.0
"""Seconds after which an operation that is still queued gets another process."""
LOG_AGE = 7 * 24 * 3600.0
"""Seconds after which a log is removed."""
LOG_TAIL = 4000
"""Bytes at the end of a log that the reason of a death contains."""
STEP_LENGTH = 1000
"""Bytes of the file with the step that a job has begun."""

_ENVIRONMENT = {
    # A print never fails, whatever the locale, and is in the log even if the process is killed.
    "PYTHONUNBUFFERED": "1",
    "PYTHONIOENCODING": "utf-8:backslashreplace",
    # A crash in native code prints where it happened.
    "PYTHONFAULTHANDLER": "1",
}


def launch(database: Path, operation_id: str) -> None:
    """Start the process for a queued operation. A second process for it ends immediately.

    Raises:
        BackendUnavailable: The process could not be started, or its log could not be opened.
    """
    path = _file(database, operation_id, ".log")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(database), operation_id],
                cwd=ROOT,
                env=os.environ | _ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in the terminal of the server must not reach the jobs.
                start_new_session=True,
            )
    except OSError as error:
        raise BackendUnavailable(f"No process could be started: {reason_of(error)}") from error
    arguments = (process, database, operation_id)
    threading.Thread(
        target=_wait_for_end, args=arguments, name=f"job-{operation_id}", daemon=True
    ).start()


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
            ending = "ended unexpectedly, as it does when its machine or container restarts"
            changed |= _declare_failed(store, operation.operation_id, ending)
    return changed


def _wait_for_end(process: "subprocess.Popen[bytes]", database: Path, operation_id: str) -> None:
    """Declare the operation failed if the process ends without an outcome, and say how it ended."""
    code = process.wait()
    if code == 0 and not _file(database, operation_id, ".lock").exists():
        return  # The process has stored the outcome.
    try:
        if not _is_alive(database, operation_id):  # else this was a second process for it
            with closing(OperationStore(database, create=False)) as store:
                _declare_failed(store, operation_id, _ending(code))
    except BackendError as error:
        log.warning("The end of a job could not be stored, %s: %s", _ending(code), error)


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _declare_failed(store: OperationStore, operation_id: str, ending: str) -> bool:
    path, step = _file(store.path, operation_id, ".step"), None
    with suppress(FileNotFoundError):
        number, _, description = path.read_text("utf-8", "ignore").rstrip().partition(" ")
        if number.isdecimal():
            step = int(number), description
    changed = store.declare_failed(operation_id, _reason(store.path, operation_id, ending), step)
    path.unlink(missing_ok=True)
    return changed


def _reason(database: Path, operation_id: str, ending: str) -> str:
    path = _file(database, operation_id, ".log")
    tail = ""
    with suppress(FileNotFoundError), path.open("rb") as output:
        output.seek(max(path.stat().st_size - LOG_TAIL, 0))
        tail = output.read().decode(errors="replace").strip()
    text = f"The process of the job {ending}."
    if tail:
        # Indented, so that the last line is the `reason` of the operation, whatever the job prints.
        indented = textwrap.indent(tail, "    ")
        text = f"The last lines of {path.parent.name}/{path.name}:\n\n{indented}\n\n{text}"
    return sanitize(text)


def _file(database: Path, operation_id: str, suffix: str) -> Path:
    # A hash, because an id that another program stored may be any text.
    name = hashlib.sha256(operation_id.encode()).hexdigest()[:32]
    return database.with_suffix(".jobs") / f"{name}{suffix}"


def _lock(database: Path, operation_id: str) -> FileLock:
    path = _file(database, operation_id, ".lock")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return FileLock(path)


def _is_alive(database: Path, operation_id: str) -> bool:
    try:
        lock = _lock(database, operation_id)
        with lock.acquire(blocking=False):
            Path(lock.lock_file).unlink(missing_ok=True)
            return False
    except Timeout:
        return True
    except OSError as error:
        raise BackendUnavailable(f"The lock cannot be checked: {reason_of(error)}") from error


def _run(database: Path, operation_id: str) -> None:
    lock = _lock(database, operation_id)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return
    store = OperationStore(database, create=False)
    begun = store.begin(operation_id)
    if begun is not None:
        job, subject = begun
        path = _file(database, operation_id, ".step")
        with path.open("wb", buffering=0) as step_file:

            def write_step(number: int, description: str) -> None:
                # The same length each time, so that it needs one call, and never has an old end.
                text = f"{number} {description}".encode()[:STEP_LENGTH].ljust(STEP_LENGTH)
                with suppress(OSError):  # The disk is full: the job goes on.
                    os.pwrite(step_file.fileno(), text, 0)

            try:
                run_job(job, subject, OperationWriter(store, operation_id), on_step=write_step)
            except BackendError as error:
                # The disk may have room for this line, although it has none for a result.
                store.declare_failed(operation_id, f"The outcome could not be stored: {error}")
        path.unlink(missing_ok=True)
    # The status is terminal: nobody checks the lock any more.
    Path(lock.lock_file).unlink(missing_ok=True)
    _remove_logs(_file(database, operation_id, ".log"))


def _remove_logs(own: Path) -> None:
    for path in own.parent.glob("*.log"):
        with suppress(FileNotFoundError):  # Another process removed it.
            found = path.stat()
            is_empty = path == own and found.st_size == 0
            if is_empty or time.time() - found.st_mtime > LOG_AGE:
                path.unlink()


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    _run(Path(sys.argv[1]), sys.argv[2])
