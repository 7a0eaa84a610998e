"""Counts, active operations and throughput, with a fake backend and a clock of the test."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from progress.contract import (
    Backend,
    BackendError,
    BackendRejected,
    BackendUnavailable,
    PartlyUnavailable,
)
from progress.operation import Operation, Query, Status
from progress.overview import MAX_ACTIVE, SAMPLES, WINDOW, Overview, Overviews, Sample
from progress.poller import Poller
from progress.rows import count_statuses

INTERVAL = 1.0
GAP = 2 * WINDOW
T0 = datetime(2026, 1, 1, tzinfo=UTC)


class Store:
    """Operations in memory, and a clock."""

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self.now = T0
        self.calls: list[str] = []

    def put(
        self, name: str, status: Status = Status.IN_PROGRESS, step: int = 0, owner: str = ""
    ) -> None:
        started = None if status is Status.QUEUED else self.now
        if name in self.operations:
            started = self.operations[name].started_at
        self.operations[name] = Operation(
            operation_id=name,
            job="j",
            subject="s",
            owner=owner,
            status=status,
            read_at=self.now,
            created_at=self.now,
            started_at=started,
            current_step=step,
        )

    def backend(self) -> Backend:
        return cast(Backend, self)

    def matching(self, query: Query) -> list[Operation]:
        found = [replace(operation, read_at=self.now) for operation in self.operations.values()]
        return [
            operation
            for operation in reversed(found)
            if query.owner in (None, operation.owner)
            and (not query.statuses or operation.status in query.statuses)
        ]

    def recent(self, query: Query) -> list[Operation]:
        self.calls.append("recent")
        return self.matching(query)[: query.limit]

    def counts(self, query: Query) -> dict[Status, int]:
        self.calls.append("counts")
        return count_statuses((operation.status, 1) for operation in self.matching(query))

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        self.calls.append("read")
        return {name: self.operations[name] for name in operation_ids if name in self.operations}


class Board:
    """The overviews of one board, read at times of the test."""

    def __init__(self, store: Store, everybody: bool = False) -> None:
        self.store = store
        self.overviews = Overviews(store.backend, everybody, INTERVAL, lambda: store.now)

    def read(self, owner: str = "") -> Overview:
        return self.overviews.read([owner])[owner]

    def rate_after(self, seconds: float) -> float | None:
        self.store.now += timedelta(seconds=seconds)
        return self.read().samples[-1].rate


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def board(store: Store) -> Board:
    return Board(store)


def test_an_empty_backend_costs_one_read(store: Store, board: Board) -> None:
    overview = board.read()
    assert (overview.counts, overview.active, overview.samples) == ({}, (), ())
    assert store.calls == ["counts"]


def test_counts_and_active_operations(store: Store, board: Board) -> None:
    store.put("waits", Status.QUEUED)
    store.put("old")
    store.put("new")
    store.put("done", Status.COMPLETED)
    overview = board.read()
    assert overview.counts == {Status.QUEUED: 1, Status.IN_PROGRESS: 2, Status.COMPLETED: 1}
    assert [operation.operation_id for operation in overview.active] == ["new", "old", "waits"]
    assert overview.active_count == 3


@pytest.mark.parametrize("status", [Status.QUEUED, Status.IN_PROGRESS])
def test_the_number_of_active_operations_is_limited(
    store: Store, board: Board, status: Status
) -> None:
    for number in range(MAX_ACTIVE + 5):
        store.put(str(number), status)
    overview = board.read()
    assert len(overview.active) == MAX_ACTIVE
    assert overview.active_count == MAX_ACTIVE + 5


def test_queued_operations_are_only_read_if_they_are_shown(store: Store, board: Board) -> None:
    for number in range(MAX_ACTIVE):
        store.put(str(number))
    store.put("queued", Status.QUEUED)
    board.read()
    assert store.calls == ["counts", "recent"]


def test_an_overview_is_of_one_owner_or_of_everybody(store: Store) -> None:
    store.put("a", owner="ann")
    store.put("b", owner="bob")
    own, all_of_them = Board(store), Board(store, everybody=True)
    assert [operation.owner for operation in own.read("ann").active] == ["ann"]
    assert {operation.owner for operation in all_of_them.read("ann").active} == {"ann", "bob"}


def test_the_throughput_is_that_of_all_operations(store: Store, board: Board) -> None:
    store.put("a", step=100)
    store.put("b", step=7)
    assert board.read().samples == (), "one read has no rate"
    store.put("a", step=110)
    store.put("b", step=12)
    assert board.rate_after(5) == 3.0


def test_steps_that_come_one_by_one_do_not_make_the_rate_jump(store: Store, board: Board) -> None:
    rates = []
    for tick in range(40):  # a step in every second tick of half a second: one per second
        store.put("a", step=tick // 2)
        store.now += timedelta(seconds=0.5)
        rates += [sample.rate for sample in board.read().samples[-1:]]
    assert rates[0] == pytest.approx(1.0, abs=0.4)
    assert rates[-20:] == pytest.approx([1.0] * 20, abs=0.11)


def test_the_last_steps_of_an_ended_operation_are_counted_once(store: Store, board: Board) -> None:
    store.put("a", step=10)
    board.read()
    store.put("a", Status.COMPLETED, step=20)
    assert board.rate_after(WINDOW) == 10 / WINDOW
    assert board.rate_after(WINDOW) == 0.0
    assert store.calls.count("read") == 1


def test_an_operation_that_started_since_the_last_read_counts_from_its_first_step(
    store: Store, board: Board
) -> None:
    board.read()
    store.now += timedelta(seconds=1)
    store.put("new", step=4)
    assert board.rate_after(WINDOW - 1) == 4 / WINDOW


def test_an_operation_that_ran_unmeasured_counts_from_the_first_read_that_has_it(
    store: Store, board: Board
) -> None:
    store.put("unseen", step=1000)
    store.operations["unseen"] = replace(store.operations["unseen"], owner="ann")
    store.now += timedelta(seconds=1)
    board.read()
    store.now += timedelta(seconds=WINDOW)
    store.operations["unseen"] = replace(store.operations["unseen"], owner="")
    assert board.read().samples[-1].rate == 0.0


def test_a_new_attempt_does_not_count_backwards(store: Store, board: Board) -> None:
    store.put("a", step=50)
    board.read()
    store.put("a", step=0)
    assert board.rate_after(WINDOW) == 0.0
    store.put("a", step=5)
    assert board.rate_after(WINDOW) == 5 / WINDOW


@pytest.mark.parametrize("gap", [GAP, -2 * WINDOW])
def test_nothing_is_known_of_a_gap_or_while_the_clock_was_set_back(
    store: Store, board: Board, gap: float
) -> None:
    for tick in range(10):
        store.put("a", step=tick)
        before = board.read().samples
        store.now += timedelta(seconds=WINDOW)
    store.put("a", step=100_000)
    store.now += timedelta(seconds=gap)
    samples = board.read().samples
    assert [sample.at for sample in samples] == sorted({sample.at for sample in samples})
    assert samples[-1] == Sample(store.now, None)
    assert len(samples) >= len(before) - 1, "what was known stays"
    store.put("a", step=100_010)
    assert board.rate_after(WINDOW) == 10 / WINDOW


def test_a_slow_interval_is_no_gap(store: Store) -> None:
    overviews = Overviews(store.backend, False, 60.0, lambda: store.now)
    for step in range(3):
        store.put("a", step=step)
        samples = overviews.read([""])[""].samples
        store.now += timedelta(seconds=10 * 60)  # a busy server has ten times the interval
    assert [sample.rate for sample in samples] == [1 / 600] * 2


def test_nothing_grows(store: Store, board: Board) -> None:
    for tick in range(3 * SAMPLES):
        store.operations.clear()
        store.put(f"operation-{tick}", step=tick)
        store.now += timedelta(seconds=1)
        overview = board.read()
    assert len(overview.samples) == SAMPLES
    throughput = board.overviews._throughput[""]
    assert len(throughput._totals) <= WINDOW + 1
    assert len(throughput._steps) == 1


def test_an_owner_who_is_not_read_is_kept_while_the_samples_are_shown(store: Store) -> None:
    overviews = Board(store).overviews
    for _ in range(2):
        overviews.read(["ann", "bob"])
        store.now += timedelta(seconds=WINDOW)
    overviews.read(["bob"])
    assert overviews.read(["ann", "bob"])["ann"].samples
    store.now += timedelta(seconds=SAMPLES * INTERVAL)
    overviews.read(["bob"])
    assert list(overviews._throughput) == ["ann", "bob"]
    store.now += timedelta(seconds=1)
    overviews.read(["bob"])
    assert list(overviews._throughput) == ["bob"]


@pytest.mark.parametrize("kind", [BackendUnavailable, BackendRejected])
def test_an_ended_operation_that_cannot_be_read_does_not_cost_the_overview(
    store: Store, board: Board, monkeypatch: pytest.MonkeyPatch, kind: type[BackendError]
) -> None:
    store.put("a", step=10)
    board.read()
    store.put("a", Status.COMPLETED, step=20)

    def fail(operation_ids: Sequence[str]) -> None:
        raise kind("not JSON")

    monkeypatch.setattr(store, "read", fail)
    assert board.rate_after(WINDOW) == 0.0
    monkeypatch.undo()
    board.read()
    assert "read" not in store.calls, "it is not read again"


def test_each_ended_operation_that_can_be_read_counts(
    store: Store, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        store.put(name, step=10)
    board.read()
    for name in ("a", "b"):
        store.put(name, Status.COMPLETED, step=20)
    ended = store.operations["a"]

    def fail_for_b(operation_ids: Sequence[str]) -> None:
        raise PartlyUnavailable({"a": ended}, {"b": BackendUnavailable("not JSON")})

    monkeypatch.setattr(store, "read", fail_for_b)
    assert board.rate_after(WINDOW) == 10 / WINDOW


def test_a_board_counts_ended_operations_that_cannot_be_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    overviews = Overviews(store.backend, False, INTERVAL, lambda: store.now)
    poller = Poller(overviews.read, 0.5, clock=lambda: clock[0])
    for name in ("a", "b"):
        store.put(name)
    poller.read("")
    for name in ("a", "b"):
        store.put(name, Status.COMPLETED)

    def fail_for_b(operation_ids: Sequence[str]) -> None:
        raise PartlyUnavailable({}, {"b": BackendUnavailable("not JSON")})

    monkeypatch.setattr(store, "read", fail_for_b)
    clock[0] += 0.5
    snapshot = poller.read("")
    assert snapshot.value is not None
    assert snapshot.value.counts == {Status.COMPLETED: 2}
    assert snapshot.error is None


def test_the_error_of_one_owner_does_not_freeze_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str | None] = []
    counts = store.counts

    def fail_for_some(query: Query) -> dict[Status, int]:
        read.append(query.owner)
        if query.owner in ("bad", "worse"):
            raise BackendUnavailable(f"not JSON of {query.owner}")
        return counts(query)

    monkeypatch.setattr(store, "counts", fail_for_some)
    overviews = Board(store).overviews
    owners = ["bad", "worse", "ann", "bob"]
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="not JSON of"):
            overviews.read(owners)
    assert read == ["bad", "worse"], "an unavailable backend is read once"
    for _ in range(3):
        with pytest.raises(PartlyUnavailable) as error:
            overviews.read(owners)
        assert list(error.value.found) == ["ann", "bob"]
        assert list(error.value.failed) == ["bad", "worse"]
    assert read[2:] == ["ann", "bob", "bad", "ann", "bob", "worse", "ann", "bob", "bad"]
