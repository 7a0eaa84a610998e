"""One backend read per interval, for all sessions of the process. Pure Python, no Streamlit."""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from progress.errors import BackendError, BackendUnavailable, PartlyUnavailable
from progress.operation import Operation

log = logging.getLogger(__name__)

BACK_OFF_CAP = 30.0
"""Most seconds between two tries to reach a backend that is away."""
HUNG_AFTER = 10.0
"""Seconds after which a read that has not come back counts as an error."""
FORGET_AFTER = 60.0
"""Seconds after which an id that nobody asked for is no longer read."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of one operation."""

    operation: Operation | None = None
    """As it was last read; None if it was not read yet or does not exist."""
    known: bool = False
    """Whether the backend has answered for this id. With no operation: there is none."""
    error: BackendError | None = None
    """Why the last read failed; `operation` is then older than the poll interval."""


@dataclass(slots=True)
class _Watched:
    asked_at: float
    snapshot: Snapshot = field(default_factory=Snapshot)

    @property
    def is_final(self) -> bool:
        operation = self.snapshot.operation
        return operation is not None and operation.status.is_terminal


class Poller:
    """Answers every viewer from one shared read.

    Args:
        read: Returns the operations that exist among the given ids; the backend's `read`.
        interval: Seconds between two reads.
        clock: Seconds, monotonic.
        jitter: Returns a number in 0..1 that spreads the tries of several processes.
    """

    def __init__(
        self,
        read: Callable[[Sequence[str]], Mapping[str, Operation]],
        interval: float,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._read = read
        self._interval = interval
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._watched: dict[str, _Watched] = {}
        self._due = -float("inf")
        self._failures = 0
        self._reading_since: float | None = None

    def read(self, operation_id: str) -> Snapshot:
        """Return what is known, after a read of the backend if one is due.

        While one caller reads, the others get what was known before. It never raises: an error is
        part of the snapshot.
        """
        now = self._clock()
        with self._lock:
            watched = self._watched.setdefault(operation_id, _Watched(now))
            watched.asked_at = now
            if self._reading_since is not None and not watched.is_final:
                return self._meanwhile(watched.snapshot, now - self._reading_since)
            if watched.is_final or not self._is_due(now):
                return watched.snapshot
            self._reading_since = now
            ids = self._ids_to_read(now)
        try:
            self._refresh(ids)
        finally:
            with self._lock:
                self._reading_since = None
        with self._lock:
            return watched.snapshot

    @staticmethod
    def _meanwhile(snapshot: Snapshot, seconds: float) -> Snapshot:
        if seconds < HUNG_AFTER:
            return snapshot
        error = BackendUnavailable(f"The backend has not answered for {seconds:.0f} s.")
        return replace(snapshot, error=error)

    def _is_due(self, now: float) -> bool:
        # Ticks of a browser come a little early or late. Without the slack a tick that is 5 ms
        # early would see a value one whole interval old. The due times stay on a grid of whole
        # intervals, so that on average there is no more than one read per interval.
        slack = 0.0 if self._failures else self._interval / 4
        return now >= self._due - slack

    def _ids_to_read(self, now: float) -> list[str]:
        for operation_id, watched in list(self._watched.items()):
            if now - watched.asked_at > FORGET_AFTER:
                del self._watched[operation_id]
        return [name for name, watched in self._watched.items() if not watched.is_final]

    def _refresh(self, ids: list[str]) -> None:
        error: BackendError | None = None
        found: Mapping[str, Operation] = {}
        failed: Mapping[str, BackendError] = {}
        try:
            found = self._read(ids)
        except PartlyUnavailable as problem:
            # It answers: only a wait that it asked for moves the next read.
            found, failed = problem.found, problem.failed
            error = problem if problem.retry_after is not None else None
        except BackendError as problem:
            error = problem
        except Exception as problem:
            # A driver's own error must not reach the page as a traceback at every tick.
            log.exception("The backend's read failed in a way that it should have named")
            error = BackendUnavailable(f"{type(problem).__name__}: {problem}")
        if error is not None and not failed:
            failed = dict.fromkeys(ids, error)
        now = self._clock()
        with self._lock:
            for operation_id in ids:
                watched = self._watched[operation_id]
                if operation_id in failed:
                    watched.snapshot = replace(watched.snapshot, error=failed[operation_id])
                else:
                    watched.snapshot = Snapshot(found.get(operation_id), known=True)
            self._failures = 0 if error is None else self._failures + 1
            self._due = now + self._back_off(error) if error else self._next_on_grid(now)

    def _next_on_grid(self, now: float) -> float:
        following = self._due + self._interval
        return following if following > now else now + self._interval

    def _back_off(self, error: BackendError) -> float:
        if isinstance(error, BackendUnavailable) and error.retry_after is not None:
            return max(error.retry_after, self._interval)
        longest = min(self._interval * 2.0**self._failures, BACK_OFF_CAP)
        return max(self._interval, longest * (0.5 + self._jitter() / 2))
