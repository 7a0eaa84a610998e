"""What a backend does, said once: its two sides, and what can go wrong between them and the app."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from progress.operation import Operation, Progress, Query, Status


class Backend(Protocol):
    """The side of the web server: starts operations and reads how far they are.

    Each backend has one, `ProgressConnection` in progress/backend/connection.py, which all sessions
    share. Its methods may be called from several threads. Besides what they name, all of them raise

    - BackendUnavailable: it cannot be reached, or is too slow. Nobody knows what was done.
    - BackendRejected: it understood and refused.
    """

    def start(
        self, operation_id: str, job: str, subject: str, owner: str, retry_of: str = ""
    ) -> None:
        """Add an operation and start its job. The same id twice is one operation.

        After BackendUnavailable try again with the same id.

        Args:
            operation_id: Its id, made by the caller.
            job: Which job, one of `JOBS` in jobs.py.
            subject: What the job works on.
            owner: Whose it is; "" in an app without a login.
            retry_of: The id of the operation that this one repeats; "" if none.
        """

    def read(self, operation_ids: Sequence[str]) -> Mapping[str, Operation]:
        """Return the operations that exist among these, by id, from one statement.

        Raises:
            PartlyUnavailable: Some could be read, others not; it holds both.
        """

    def recent(self, query: Query) -> list[Operation]:
        """Return a page of operations, newest first, without result, error and steps."""

    def counts(self, query: Query) -> Mapping[Status, int]:
        """Return how many operations have each status; `limit` and `before` do not matter."""

    def cancel(self, operation_id: str) -> None:
        """Ask the job to stop. One that has ended, or does not exist, is left alone."""


class ProgressWriter(Protocol):
    """The side of the job: stores the progress of one operation. Each backend has one."""

    def progress(self, progress: Progress) -> bool:
        """Store how far it is, and a heartbeat; return whether somebody asked to cancel.

        Raises:
            BackendUnavailable: It could not be stored now.
            OperationLost: The operation is no longer this worker's.
        """

    def finish(
        self, status: Status, progress: Progress, error: str | None, result: str | None
    ) -> None:
        """Store the terminal status, unless there is one; `result` is a JSON object.

        Raises:
            BackendUnavailable: It could not be stored now.
            BackendRejected: It will never be stored like this.
        """


class BackendError(Exception):
    """The backend did not do what was asked. The text is one line, fit to be shown."""


class BackendUnavailable(BackendError):
    """The backend cannot be reached now. It says nothing about the operations in it.

    Args:
        message: What was tried and what came back, in one line.
        retry_after: Seconds after which the backend asked to be tried again, if it said so.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BackendRejected(BackendError):
    """The backend understood and refused. Asking again without a change is of no use."""


class PartlyUnavailable(BackendUnavailable):
    """Some of what was asked for could be read, the rest not.

    Args:
        found: Those that could be read and exist.
        failed: Why the others could not.
    """

    def __init__(self, found: Mapping[str, Any], failed: Mapping[str, BackendError]) -> None:
        waits = [getattr(error, "retry_after", None) for error in failed.values()]
        super().__init__(
            f"{len(failed)} of {len(found) + len(failed)} operations could not be read.",
            max((wait for wait in waits if wait is not None), default=None),
        )
        self.found = found
        self.failed = failed


class OperationCancelled(BaseException):
    """Somebody asked to cancel the operation.

    A BaseException, so that `except Exception` around a step of a job does not swallow it.
    """


class OperationLost(BaseException):
    """The operation has ended or went to another worker: this one must stop and write nothing."""
