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
"""Longest time in seconds between two attempts to reach an unavailable backend."""
HUNG_AFTER = 10.0
"""Seconds after which a read that has not returned is shown as an error."""
OLD_AFTER = 4
"""Intervals after which a snapshot says how old its value is, but no less than MIN_OLD seconds."""
MIN_OLD = 2.0
FORGET_AFTER = 60.0
"""Seconds without a request after which an id is no longer read."""
MAX_UNKNOWN = 50
"""Ids without a value that one read contains at most: ids in URLs may be made up."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[Value]):
    """What is known of one id."""

    value: Value | None = None
    """As last read; None if it was not read yet, or does not exist."""
    known: bool = False
    """Whether the backend has answered for this id. Known without a value: it does not exist."""
    error: BackendError | None = None
    """Why the last read failed; `value` is from an earlier read."""
    age: float = 0.0
    """Seconds since `value` was read, if these are more than a few intervals; else 0."""


@dataclass(slots=True)
class _Cached(Generic[Value]):
    requested_at: float
    snapshot: Snapshot[Value]
    is_final: bool = False
    read_at: float = -float("inf")
    answered_at: float = -float("inf")
    """When the snapshot got its value. `read_at` also counts the reads that failed."""
    not_before: float = -float("inf")
    """When it may be read again, if the backend said so for this id."""


class Poller(Generic[Value]):
    """Serves all sessions from one shared read per interval.

    Args:
        read: Returns the values that exist among the given ids; for operations, the backend's
            `read`.
        interval: Seconds between two reads.
        is_final: Whether a value will never change again; it is then not read again.
        clock: Seconds, monotonic.
        jitter: Returns a number in 0..1 that spreads the attempts of several processes.
        forget_after: Seconds without a request after which an id is no longer read; at least
            three intervals.
    """

    def __init__(
        self,
        read: Callable[[Sequence[str]], Mapping[str, Value]],
        interval: float,
        is_final: Callable[[Value], bool] = lambda value: False,
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
        self._cache: dict[str, _Cached[Value]] = {}
        self._due = -float("inf")
        self._failures = 0
        self._reading_since: float | None = None

    def read(self, key: str) -> Snapshot[Value]:
        """Return what is known, after a read of the backend if one is due.

        While one caller reads, the others get what was known before. Never raises: an error is
        part of the snapshot.
        """
        now = self._clock()
        keys: list[str] = []
        with self._lock:
            cached = self._request(key, now)
            if not cached.is_final and self._reading_since is None and self._is_due(now):
                self._forget_unrequested(now)
                keys = self._keys_to_read(now)
            if not keys:
                return self._snapshot(cached, now)
            self._reading_since = now
        try:
            self._refresh(keys)
        finally:
            with self._lock:
                self._reading_since = None
        with self._lock:
            return self._snapshot(cached, self._clock())

    def read_all(self, keys: Iterable[str]) -> dict[str, Snapshot[Value]]:
        """Return what is known of several ids; new ids all go into the same read."""
        requested = list(keys)
        now = self._clock()
        with self._lock:
            for key in requested:
                self._request(key, now)
        return {key: self.read(key) for key in requested}

    def _snapshot(self, cached: _Cached[Value], now: float) -> Snapshot[Value]:
        snapshot = cached.snapshot
        if cached.is_final:
            return snapshot
        reading = 0.0 if self._reading_since is None else now - self._reading_since
        if reading >= HUNG_AFTER:
            error = BackendUnavailable(f"The backend has not answered for {reading:.0f} s.")
            snapshot = replace(snapshot, error=error)
        age = now - cached.answered_at
        if snapshot.value is not None and age > max(OLD_AFTER * self._interval, MIN_OLD):
            snapshot = replace(snapshot, age=age)
        return snapshot

    def _request(self, key: str, now: float) -> _Cached[Value]:
        cached = self._cache.setdefault(key, _Cached(now, Snapshot()))
        cached.requested_at = now
        return cached

    def _is_due(self, now: float) -> bool:
        # A browser's ticks come a little early or late. Without the slack, a tick that is 5 ms
        # early would get a value that is a whole interval old. The due times stay on a grid of
        # whole intervals, so that on average there is at most one read per interval.
        slack = 0.0 if self._failures else self._interval / 4
        return now >= self._due - slack

    def _forget_unrequested(self, now: float) -> None:
        for key, cached in list(self._cache.items()):
            if now - cached.requested_at > self._forget_after:
                del self._cache[key]

    def _keys_to_read(self, now: float) -> list[str]:
        keys, unknown = [], []
        for key, cached in self._cache.items():
            if cached.is_final or now < cached.not_before:
                continue
            if cached.snapshot.value is not None:
                keys.append(key)
            elif cached.requested_at > cached.read_at:  # read once for each request
                unknown.append(key)
        unknown.sort(key=lambda key: self._cache[key].read_at)
        return keys + unknown[:MAX_UNKNOWN]

    def _refresh(self, keys: list[str]) -> None:
        error: BackendError | None = None
        found: Mapping[str, Value] = {}
        failed: Mapping[str, BackendError] = {}
        try:
            found = self._read(keys)
        except PartlyUnavailable as problem:
            found, failed = problem.found, problem.failed  # the backend answers
        except BackendError as problem:
            error = problem
        except Exception as problem:
            # An unexpected error must not reach the page as a traceback at every tick.
            log.exception("The backend raised an unexpected error")
            error = BackendUnavailable(f"{type(problem).__name__}: {problem}")
        if error is not None:
            failed = dict.fromkeys(keys, error)
        now = self._clock()
        with self._lock:
            for key in keys:
                cached = self._cache[key]
                cached.read_at = now
                if key in failed:
                    cached.snapshot = replace(cached.snapshot, error=failed[key])
                    if error is None:
                        cached.not_before = now + (_retry_after(failed[key]) or 0.0)
                else:
                    value = found.get(key)
                    cached.snapshot, cached.answered_at = Snapshot(value, known=True), now
                    cached.is_final = value is not None and self._is_final(value)
            self._failures = 0 if error is None else self._failures + 1
            self._due = now + self._back_off(error) if error else self._next_on_grid(now)

    def _next_on_grid(self, now: float) -> float:
        following = self._due + self._interval
        return following if following > now else now + self._interval

    def _back_off(self, error: BackendError) -> float:
        if (seconds := _retry_after(error)) is not None:
            return max(seconds, self._interval)
        doublings = min(self._failures, 20)  # 2.0**1024 is too large for a float
        longest = min(self._interval * 2.0**doublings, BACK_OFF_CAP)
        return max(self._interval, longest * (0.5 + self._jitter() / 2))


def _retry_after(error: BackendError) -> float | None:
    return error.retry_after if isinstance(error, BackendUnavailable) else None
