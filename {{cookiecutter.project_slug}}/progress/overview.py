"""What the board shows of all operations: counts, active operations, throughput. No Streamlit."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from progress.contract import Backend, BackendError, PartlyUnavailable
from progress.operation import Operation, Query, Status

MAX_ACTIVE = 20
"""Active operations in an overview."""
MAX_MEASURED = 500
"""Running operations whose steps are counted, the newest of them: more would make reads slow."""
SAMPLES = 240
"""Samples of the throughput that are kept: at a poll interval of 1 s, those of four minutes."""
WINDOW = 10.0
"""Seconds of which a sample is the average."""
FORGET_AFTER = 10.0
"""Seconds after which an owner who left the board is no longer read: each costs up to four reads,
one after the other."""

_ACTIVE = tuple(status for status in Status if not status.is_terminal)


@dataclass(frozen=True, slots=True)
class Sample:
    """The throughput at one time."""

    at: datetime
    """Aware, by the clock of the app."""
    rate: float | None
    """Steps per second of all running operations, over the last WINDOW seconds; None at the first
    read after a gap: nothing is known of the time before."""


@dataclass(frozen=True, slots=True, eq=False)  # hashable: what is drawn of it is cached
class Overview:
    """What the board shows, as of one read."""

    counts: Mapping[Status, int]
    """Of all operations. A status that no operation has is missing."""
    active: tuple[Operation, ...]
    """At most MAX_ACTIVE: first the running, then the queued, each newest first."""
    samples: tuple[Sample, ...]
    """Oldest first, at most SAMPLES."""

    @property
    def active_count(self) -> int:
        """How many operations have not ended, whether they are in `active` or not."""
        return sum(self.counts.get(status, 0) for status in _ACTIVE)


class Throughput:
    """Counts the steps that end from one read to the next, and samples their rate.

    Args:
        max_gap: Seconds without a read after which nothing is known of the time between.
    """

    def __init__(self, max_gap: float) -> None:
        self._max_gap = max_gap
        self.samples: deque[Sample] = deque(maxlen=SAMPLES)
        self._totals: deque[tuple[datetime, int]] = deque()  # steps ended by then, over WINDOW
        self._steps: dict[str, int] = {}  # of each operation that ran at the last read

    def has_gap(self, at: datetime) -> bool:
        """Return whether the last read is too long ago to compare with, or there was none."""
        return not 0 <= self.seconds_since_read(at) <= self._max_gap

    def seconds_since_read(self, at: datetime) -> float:
        """Return the seconds since the last read: below 0 if the clock was set back."""
        return (at - self._totals[-1][0]).total_seconds() if self._totals else math.inf

    def missing(self, running: Iterable[Operation]) -> list[str]:
        """Return the ids that ran at the last read, and are not in `running`."""
        return list(self._steps.keys() - {operation.operation_id for operation in running})

    def add(self, running: Sequence[Operation], ended: Iterable[Operation], at: datetime) -> None:
        """Count the steps that ended since the last read, and take a sample.

        Args:
            running: The running operations. What starts and ends between two reads is not counted.
            ended: The operations that `missing` names, as far as they can be read.
            at: When they were read, aware.
        """
        total = 0
        if self.has_gap(at):
            self._totals.clear()
            while self.samples and self.samples[-1].at >= at:  # the clock was set back
                self.samples.pop()
            if self.samples:
                self.samples.append(Sample(at, None))
        else:
            last_at, total = self._totals[-1]
            total += self._steps_since([*running, *ended], (at - last_at).total_seconds())
        self._steps = {operation.operation_id: operation.current_step for operation in running}
        self._totals.append((at, total))
        while len(self._totals) > 1 and (at - self._totals[1][0]).total_seconds() >= WINDOW:
            self._totals.popleft()
        first_at, first_total = self._totals[0]
        seconds = (at - first_at).total_seconds()
        # Steps come one by one: the average of a shorter time would jump.
        if seconds >= WINDOW / 2:
            self.samples.append(Sample(at, (total - first_total) / seconds))

    def _steps_since(self, operations: Iterable[Operation], seconds: float) -> int:
        count = 0
        for operation in operations:
            before = self._steps.get(operation.operation_id)
            if before is None:
                # Unless it is new, it ran beyond MAX_MEASURED, and nobody knows when its steps
                # ended.
                before = 0 if _has_started_within(operation, seconds) else operation.current_step
            count += max(operation.current_step - before, 0)  # a new attempt restarts at 0
        return count


def _has_started_within(operation: Operation, seconds: float) -> bool:
    if operation.started_at is None:
        return False
    return (operation.read_at - operation.started_at).total_seconds() <= seconds


class Overviews:
    """Reads overviews, one for each owner: the `read` of a `Poller`.

    Args:
        backend: Returns the backend.
        everybody: Whether an overview is of the operations of all owners.
        interval: Seconds between two reads, usually. A busy server reads less often.
        now: The clock of the app.
    """

    def __init__(
        self,
        backend: Callable[[], Backend],
        everybody: bool,
        interval: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._backend = backend
        self._everybody = everybody
        self._max_gap = max(2 * WINDOW, 12 * interval)
        self._kept = max(SAMPLES * interval, self._max_gap)
        self._now = now
        self._throughput: dict[str, Throughput] = {}  # by owner, in the order of the reads

    def read(self, owners: Sequence[str]) -> dict[str, Overview]:
        """Return an overview for each owner.

        After an error the other owners are not read, as each might wait for the same unavailable
        backend. The owner with the error comes last in the next read: nobody is blocked for long.

        Raises:
            PartlyUnavailable: Some could be read, others not; it holds both.
            BackendUnavailable: The backend cannot be read.
            BackendRejected: The backend refused.
        """
        self._update_owners(owners)
        found: dict[str, Overview] = {}
        for owner in [owner for owner in self._throughput if owner in owners]:
            try:
                found[owner] = self._read(owner)
            except BackendError as error:
                self._throughput[owner] = self._throughput.pop(owner)
                if not found:
                    raise
                rest = [owner for owner in owners if owner not in found]
                raise PartlyUnavailable(found, dict.fromkeys(rest, error)) from error
        return found

    def _update_owners(self, owners: Sequence[str]) -> None:
        now = self._now()
        for owner, throughput in list(self._throughput.items()):
            if owner not in owners and not 0 <= throughput.seconds_since_read(now) <= self._kept:
                del self._throughput[owner]
        for owner in owners:
            self._throughput.setdefault(owner, Throughput(self._max_gap))

    def _read(self, owner: str) -> Overview:
        backend, throughput = self._backend(), self._throughput[owner]
        query = Query(None if self._everybody else owner)
        counts = backend.counts(query)
        running: list[Operation] = []
        queued: list[Operation] = []
        if counts.get(Status.IN_PROGRESS):
            statuses = frozenset({Status.IN_PROGRESS})
            running = backend.recent(replace(query, statuses=statuses, limit=MAX_MEASURED))
        if counts.get(Status.QUEUED) and len(running) < MAX_ACTIVE:
            statuses = frozenset({Status.QUEUED})
            limit = MAX_ACTIVE - len(running)
            queued = backend.recent(replace(query, statuses=statuses, limit=limit))
        ended = _read_ended(backend, throughput.missing(running))
        throughput.add(running, ended, self._now())
        active = (*running, *queued)[:MAX_ACTIVE]
        return Overview(counts, active, tuple(throughput.samples))


def _read_ended(backend: Backend, operation_ids: Sequence[str]) -> Iterable[Operation]:
    # An error costs the last steps of what has ended in one sample, but not the overview.
    try:
        return backend.read(operation_ids).values() if operation_ids else ()
    except PartlyUnavailable as error:
        return error.found.values()
    except BackendError:
        return ()
