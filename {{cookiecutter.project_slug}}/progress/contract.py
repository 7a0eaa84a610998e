"""The interface of a backend: the app's side, the job's side, and their errors."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from progress.operation import (
    MAX_NAME,
    MAX_OPTIONS,
    NO_OPTIONS,
    Log,
    LogLine,
    Operation,
    Options,
    Progress,
    Query,
    Status,
)
from progress.text import truncate

Feature = Literal["force_stop", "logs", "files", "uploads"]
"""Optional features of a backend, after its methods. "uploads": jobs may work on uploaded files."""


class Backend(Protocol):
    """The app's side: starts operations and reads their progress.

    Each backend implements it once, as `ProgressConnection` in progress/backend/connection.py. All
    sessions share one object, so its methods are thread-safe. Every method may raise

    - BackendUnavailable: it cannot be reached, or is too slow. The call may have had an effect.
    - BackendRejected: it refused the call.
    """

    @property
    def features(self) -> frozenset[Feature]:
        """Its optional features, as configured."""

    def start(
        self,
        operation_id: str,
        job: str,
        subject: str,
        owner: str,
        retry_of: str = "",
        options: Options = NO_OPTIONS,
    ) -> None:
        """Add an operation and start its job, once for each id. Begins with `check_start`.

        The id is an idempotency key: after BackendUnavailable call this again with the same id.

        Args:
            operation_id: The id, created by the caller.
            job: The name of the job, one of `JOBS` in jobs.py.
            subject: What the job works on; "" if it has no subjects.
            owner: The user who owns it; "" in an app without a login.
            retry_of: The id of the operation that this one retries; "" if none.
            options: Its parameters and limits.
        """

    def read(self, operation_ids: Sequence[str]) -> Mapping[str, Operation]:
        """Return the operations with these ids, by id; unknown ids are missing. One statement.

        Raises:
            PartlyUnavailable: Only some could be read; it holds them, and the errors of the others.
        """

    def recent(self, query: Query) -> list[Operation]:
        """Return a page of operations, newest first, without result, error and steps."""

    def counts(self, query: Query) -> Mapping[Status, int]:
        """Return how many operations have each status; `limit` and `before` do not matter."""

    def cancel(self, operation_id: str) -> None:
        """Ask the job to stop. Unknown operations, and those that have ended, are ignored."""

    def force_stop(self, operation_id: str) -> None:
        """End the process of a job that was asked to stop. The operation is then cancelled."""

    def logs(self, operation_ids: Sequence[str], limit: int) -> Mapping[str, Log]:
        """Return at most `limit` of the latest lines of each log; operations without a log are
        missing."""

    def save_file(self, operation_id: str, name: str, content: bytes) -> None:
        """Store a file with an operation, which may not exist yet; it replaces a file of the same
        name."""

    def read_file(self, operation_id: str, name: str) -> bytes:
        """Return a file. BackendRejected: there is none with this name."""


class ProgressWriter(Protocol):
    """The job's side: stores the progress of one operation. Threads of the job may call `log` and
    the methods for files at the same time; all others are called one at a time.
    """

    def progress(self, progress: Progress) -> bool:
        """Store the progress and a heartbeat; return whether cancel was requested.

        Raises:
            BackendUnavailable: It could not be stored now.
            OperationLost: The operation has ended, or another worker has it.
        """

    def finish(
        self, status: Status, progress: Progress, error: str | None, result: str | None
    ) -> None:
        """Store the terminal status, unless there is one already; `result` is a JSON object.

        Without a `result` the stored one stays.

        Raises:
            BackendUnavailable: It could not be stored now.
            BackendRejected: These values cannot be stored.
        """

    def result(self, result: str) -> None:
        """Store what there is of the result: `finish` may never be called. Raises as `finish`."""

    def log(self, lines: Sequence[LogLine]) -> None:
        """Append lines to the log, and remove the oldest above a limit. Raises as `finish`."""

    def save_file(self, name: str, content: bytes) -> None:
        """Store a file with the operation; it replaces a file of the same name. Raises as
        `finish`."""

    def read_file(self, operation_id: str, name: str) -> bytes:
        """Return a file of any operation. Raises as `finish`."""


class BackendError(Exception):
    """A call to the backend failed. The message is one line that pages show as it is."""


class BackendUnavailable(BackendError):
    """The backend cannot be reached now. The operations in it may be running all the same.

    Args:
        message: What failed and why, in one line.
        retry_after: Seconds to wait before the next call, if the backend returned a number.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BackendRejected(BackendError):
    """The backend refused the call. The same call will fail again."""


class PartlyUnavailable(BackendUnavailable):
    """Only some of the requested operations could be read. A `retry_after` is for its operation.

    Args:
        found: The operations that were read, by id.
        failed: The errors of the others, by id.
    """

    def __init__(self, found: Mapping[str, Any], failed: Mapping[str, BackendError]) -> None:
        super().__init__(
            f"{len(failed)} of {len(found) + len(failed)} operations could not be read."
        )
        self.found = found
        self.failed = failed


class OperationCancelled(BaseException):
    """Cancel of the operation was requested.

    A BaseException, so that an `except Exception` in a job does not catch it.
    """


class OperationLost(BaseException):
    """The operation has ended, or another worker has it: stop, and store nothing."""


def check_start(job: str, subject: str, owner: str, options: Options) -> None:
    """Refuse what is too long to be stored with an operation: a browser may send any text.

    Raises:
        BackendRejected: A name has more than MAX_NAME characters, or the options have more than
            MAX_OPTIONS.
    """
    for what, name in {"job": job, "subject": subject, "owner": owner}.items():
        if len(name) > MAX_NAME:
            raise BackendRejected(
                f"The {what} {truncate(name, 50)!r} has {len(name):,} characters."
                f" At most {MAX_NAME:,} can be stored."
            )
    if (size := len(options.text())) > MAX_OPTIONS:
        raise BackendRejected(
            f"The parameters have {size:,} characters. At most {MAX_OPTIONS:,} can be stored."
        )
