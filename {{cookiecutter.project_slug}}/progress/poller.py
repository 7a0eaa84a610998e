"""One backend read per interval, for all sessions of the process. Pure Python, no Streamlit."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from progress.contract import BackendError, BackendUnavailable, PartlyUnavailable

log = logging.getLogger(__name__)

BACK_OFF_CAP = 30.0
"""Most seconds between two tries to reach a backend that is away."""
HUNG_AFTER = 10.0
"""Seconds after which a read that has not come back counts as an error."""
FORGET_AFTER = 60.0
"""Seconds after which an id that nobody asked for is no longer read, unless told otherwise."""


Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[Value]):
    """What is known of one id."""

    value: Value | None = None
    """As it was last read; None if it was not read yet or does not exist."""
    known: bool = False
    """Whether the backend has answered for this id. With no value: there is none."""
    error: BackendError | None = None
    """Why the last read failed; `value` is then older than the poll interval."""


@dataclass(slots=True)
class _Watched(Generic[Value]):
    asked_at: float
    snapshot: Snapshot[Value]
    is_final: bool = False


def never(value: object) -> bool:
    """Say that a value may always change."""
    return False


class Poller(Generic[Value]):
    """Answers every viewer from one shared read.

    Args:
        read: Returns what exists among the given ids; for operations, the backend's `read`.
        interval: Seconds between two reads.
        is_final: Whether a value will never change again; it is then not read again.
        clock: Seconds, monotonic.
        jitter: Returns a number in 0..1 that spreads the tries of several processes.
        forget_after: Seconds, or three intervals if they are longer, after which an id that nobody
            asked for is no longer read.
    """

    def __init__(
        self,
        read: Callable[[Sequence[str]], Mapping[str, Value]],
        interval: float,
        is_final: Callable[[Value], bool] = never,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        forget_after: float = FORGET_AFTER,
    ) -> None:
        self._read = read
        self._interval = interval
        self._forget_after = max(forget_after, 3 * interval)
        self._is_final = is_final
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._watched: dict[str, _Watched[Value]] = {}
        self._due = -float("inf")
        self._failures = 0
        self._reading_since: float | None = None

    def read(self, key: str) -> Snapshot[Value]:
        """Return what is known, after a read of the backend if one is due.

        While one caller reads, the others get what was known before. It never raises: an error is
        part of the snapshot.
        """
        now = self._clock()
        with self._lock:
            watched = self._watched.setdefault(key, _Watched(now, Snapshot()))
            watched.asked_at = now
            if self._reading_since is not None and not watched.is_final:
                return self._meanwhile(watched.snapshot, now - self._reading_since)
            if watched.is_final or not self._is_due(now):
                return watched.snapshot
            self._reading_since = now
            keys = self._keys_to_read(now)
        try:
            self._refresh(keys)
        finally:
            with self._lock:
                self._reading_since = None
        with self._lock:
            return watched.snapshot

    def read_all(self, keys: Iterable[str]) -> dict[str, Snapshot[Value]]:
        """Return what is known of several ids; those that are new all go into the same read."""
        wanted = list(keys)
        now = self._clock()
        with self._lock:
            for key in wanted:
                self._watched.setdefault(key, _Watched(now, Snapshot())).asked_at = now
        return {key: self.read(key) for key in wanted}

    @staticmethod
    def _meanwhile(snapshot: Snapshot[Value], seconds: float) -> Snapshot[Value]:
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

    def _keys_to_read(self, now: float) -> list[str]:
        for key, watched in list(self._watched.items()):
            if now - watched.asked_at > self._forget_after:
                del self._watched[key]
        return [key for key, watched in self._watched.items() if not watched.is_final]

    def _refresh(self, keys: list[str]) -> None:
        error: BackendError | None = None
        found: Mapping[str, Value] = {}
        failed: Mapping[str, BackendError] = {}
        try:
            found = self._read(keys)
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
            failed = dict.fromkeys(keys, error)
        now = self._clock()
        with self._lock:
            for key in keys:
                watched = self._watched[key]
                if key in failed:
                    watched.snapshot = replace(watched.snapshot, error=failed[key])
                else:
                    value = found.get(key)
                    watched.snapshot = Snapshot(value, known=True)
                    watched.is_final = value is not None and self._is_final(value)
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
