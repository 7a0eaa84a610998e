"""All operations at a glance: how many, which are active, how fast they go. No Streamlit."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from progress.contract import BackendError, PartlyUnavailable
from progress.operation import Operation, Query, Status

ACTIVE = tuple(status for status in Status if not status.is_terminal)
SHOWN = 20
"""Active operations that an overview names."""
SAMPLED = 500
"""Active operations whose steps are counted, the newest of them; more would make reads slow."""
SAMPLES = 240
"""Samples of the throughput that are kept: at a poll of 1 s, those of four minutes."""
SMOOTHING = 10.0
"""Seconds over which a sample of the throughput is an average: steps come one by one."""
BREAK = 180.0
"""Seconds without a read after which the throughput begins anew: nobody looked meanwhile."""
FORGET_AFTER = 10.0
"""Seconds after which an owner who left the board is no longer read: each costs up to four reads,
one after the other."""


class Store(Protocol):
    """What an overview needs of the backend."""

    def recent(self, query: Query) -> list[Operation]:
        """Return a page of operations, newest first."""

    def counts(self, query: Query) -> dict[Status, int]:
        """Return how many operations have each status."""

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        """Return the operations that exist among these."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The throughput at one time."""

    at: datetime
    """Aware, by the clock of the app."""
    rate: float
    """Steps per second of all active operations, over the last SMOOTHING seconds."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What the board shows, as it was at one read."""

    counts: Mapping[Status, int]
    """Of every operation that there is. A status that does not occur is not in it."""
    active: tuple[Operation, ...]
    """At most SHOWN, those that run before those that wait, each the newest first."""
    samples: tuple[Sample, ...]
    """The throughput, oldest first, at most SAMPLES."""

    @property
    def active_count(self) -> int:
        """How many operations have not ended, whether they are in `active` or not."""
        return sum(self.counts.get(status, 0) for status in ACTIVE)


@dataclass(frozen=True, slots=True)
class _Mark:
    at: datetime
    steps: int  # ended since the first mark


class Throughput:
    """Counts the steps of operations from one read to the next."""

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque(maxlen=SAMPLES)
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)
        self._seen: dict[str, int] = {}

    @property
    def samples(self) -> tuple[Sample, ...]:
        """What is known, oldest first."""
        return tuple(self._samples)

    def has_ended(self, at: datetime) -> bool:
        """Return whether the last read was too long ago to go on from."""
        return not self._marks or (at - self._marks[-1].at).total_seconds() > BREAK

    def missing(self, running: Iterable[Operation]) -> list[str]:
        """Return the ids that ran at the last read and are not among those that run now."""
        return list(self._seen.keys() - {operation.operation_id for operation in running})

    def add(self, running: Sequence[Operation], gone: Iterable[Operation], at: datetime) -> None:
        """Count the steps that ended since the last call.

        Args:
            running: Those that run. What begins and ends between two calls is not counted.
            gone: Those that `missing` named, as they are now, as far as they could be read.
            at: Aware; when they were read.
        """
        if self.has_ended(at):
            self._marks.clear()
            self._samples.clear()
        done, since = 0, None
        if self._marks:
            done, since = self._marks[-1].steps, (at - self._marks[-1].at).total_seconds()
        for operation in [*running, *gone]:
            before = self._seen.get(operation.operation_id)
            if before is None:
                # What ran before, beyond those that are sampled, did its steps some other time.
                before = 0 if _is_new(operation, since) else operation.current_step
            done += max(operation.current_step - before, 0)  # a new attempt begins at 0
        self._seen = {operation.operation_id: operation.current_step for operation in running}
        self._marks.append(_Mark(at, done))
        self._sample()

    def _sample(self) -> None:
        now = self._marks[-1]
        base = self._marks[0]
        for mark in self._marks:
            if (now.at - mark.at).total_seconds() < SMOOTHING:
                break
            base = mark
        seconds = (now.at - base.at).total_seconds()
        # The first figures after a start would be of too short a time to mean anything.
        if seconds >= SMOOTHING / 2:
            self._samples.append(Sample(now.at, (now.steps - base.steps) / seconds))


def _is_new(operation: Operation, since: float | None) -> bool:
    if since is None or operation.started_at is None:
        return False
    return (operation.read_at - operation.started_at).total_seconds() <= since


class Overviews:
    """Reads overviews, one for each owner: the `read` of a `Poller`.

    Args:
        store: Returns the backend.
        everybody: Whether an overview is of all operations, whoever owns them.
        now: The clock of the app.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        everybody: bool,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._everybody = everybody
        self._now = now
        self._throughput: dict[str, Throughput] = {}

    def read(self, owners: Sequence[str]) -> dict[str, Overview]:
        """Return an overview for each owner.

        After an error the rest is not asked: each might wait for a backend that is away. Whoever
        it was comes last the next time, so that nobody stands in the way of the others for long.

        Raises:
            PartlyUnavailable: Some could be read, others not; it holds both.
            BackendUnavailable: The backend cannot be read.
            BackendRejected: The backend refused.
        """
        self._forget_all_but(owners)
        for owner in owners:
            self._throughput.setdefault(owner, Throughput())
        found: dict[str, Overview] = {}
        for owner in [owner for owner in self._throughput if owner in owners]:
            try:
                found[owner] = self._overview(owner)
            except BackendError as error:
                self._throughput[owner] = self._throughput.pop(owner)
                if not found:
                    raise
                rest = [owner for owner in owners if owner not in found]
                raise PartlyUnavailable(found, dict.fromkeys(rest, error)) from error
        return found

    def _forget_all_but(self, owners: Sequence[str]) -> None:
        now = self._now()
        for owner in [*self._throughput]:
            if owner not in owners and self._throughput[owner].has_ended(now):
                del self._throughput[owner]

    def _overview(self, owner: str) -> Overview:
        store, throughput = self._store(), self._throughput[owner]
        whose = None if self._everybody else owner
        counts = store.counts(Query(whose))
        running: list[Operation] = []
        waiting: list[Operation] = []
        if counts.get(Status.IN_PROGRESS):
            only = frozenset({Status.IN_PROGRESS})
            running = store.recent(Query(whose, statuses=only, limit=SAMPLED))
        if counts.get(Status.QUEUED) and len(running) < SHOWN:
            only = frozenset({Status.QUEUED})
            waiting = store.recent(Query(whose, statuses=only, limit=SHOWN - len(running)))
        missing = throughput.missing(running)
        throughput.add(running, _readable(store, missing), self._now())
        return Overview(counts, tuple([*running, *waiting][:SHOWN]), throughput.samples)


def _readable(store: Store, operation_ids: Sequence[str]) -> Iterable[Operation]:
    # Only the last steps of what ended are at stake: no reason to show nothing at all.
    try:
        return store.read(operation_ids).values() if operation_ids else ()
    except PartlyUnavailable as error:
        return error.found.values()
    except BackendError:
        return ()
