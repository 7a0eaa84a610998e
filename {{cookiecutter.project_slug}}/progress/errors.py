"""What can go wrong between the app and the progress backend."""

from collections.abc import Mapping
from typing import Any


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
