"""One read per interval for all sessions, with a clock that the test moves."""

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from progress.contract import BackendError, BackendRejected, BackendUnavailable, PartlyUnavailable
from progress.operation import Operation, Status
from progress.poller import BACK_OFF_CAP, FORGET_AFTER, HUNG_AFTER, MAX_UNKNOWN, Poller

INTERVAL = 0.5
T0 = datetime(2026, 1, 1, tzinfo=UTC)


class Backend:
    """A backend that counts its reads."""

    def __init__(self) -> None:
        self.reads: list[list[str]] = []
        self.operations: dict[str, Operation] = {}
        self.error: Exception | None = None

    def put(self, operation_id: str, status: Status = Status.IN_PROGRESS, step: int = 0) -> None:
        self.operations[operation_id] = Operation(
            operation_id=operation_id,
            job="j",
            subject="s",
            owner="",
            status=status,
            read_at=T0 + timedelta(seconds=step),
            created_at=T0,
            current_step=step,
        )

    def read(self, ids: Sequence[str]) -> Mapping[str, Operation]:
        self.reads.append(list(ids))
        if self.error is not None:
            raise self.error
        return {name: self.operations[name] for name in ids if name in self.operations}


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def has_ended(operation: Operation) -> bool:
    return operation.status.is_terminal


@pytest.fixture
def backend() -> Backend:
    backend = Backend()
    backend.put("a")
    return backend


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def poller(backend: Backend, clock: Clock) -> Poller[Operation]:
    return Poller(backend.read, INTERVAL, has_ended, clock, jitter=lambda: 1.0)


def test_a_snapshot_that_is_not_renewed_says_how_old_it_is(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    assert poller.read("a").age == 0
    backend.error = BackendUnavailable("gone")
    clock.now += 2
    assert poller.read("a").age == 0
    clock.now += 10
    old = poller.read("a")
    assert old.age == 12
    assert old.value == backend.operations["a"]
    assert poller.read("never read").age == 0
    backend.error = None
    clock.now += BACK_OFF_CAP
    assert poller.read("a").age == 0
    backend.put("a", Status.COMPLETED)
    clock.now += 1
    assert poller.read("a").age == 0
    clock.now += 1000
    assert poller.read("a").age == 0, "it does not change again"


def test_a_slow_poll_interval_makes_no_value_old(backend: Backend, clock: Clock) -> None:
    poller = Poller(backend.read, 60.0, has_ended, clock)
    poller.read("a")
    backend.error = BackendUnavailable("gone")
    clock.now += 200
    assert poller.read("a").age == 0
    clock.now += 100
    assert poller.read("a").age == 300


def test_the_first_caller_gets_the_operation_immediately(
    poller: Poller[Operation], backend: Backend
) -> None:
    snapshot = poller.read("a")
    assert snapshot.known
    assert snapshot.value == backend.operations["a"]
    assert snapshot.error is None


def test_an_unknown_id_is_known_to_be_unknown(poller: Poller[Operation]) -> None:
    snapshot = poller.read("nobody")
    assert snapshot.known
    assert snapshot.value is None


@pytest.mark.parametrize("viewers", [1, 2, 20, 200])
def test_one_read_per_interval_whatever_the_number_of_viewers(
    poller: Poller[Operation], backend: Backend, clock: Clock, viewers: int
) -> None:
    seconds, tick = 60.0, INTERVAL / viewers
    while clock.now < 1000 + seconds:
        poller.read("a")
        clock.now += tick
    assert seconds / INTERVAL * 0.95 <= len(backend.reads) <= seconds / INTERVAL * 1.05


def test_a_tick_that_comes_a_little_early_gets_the_new_value(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    for step, early in enumerate([0.0, 0.02, -0.02, 0.03, 0.0, 0.04]):
        backend.put("a", step=step)
        clock.now = 1000 + step * INTERVAL - early
        operation = poller.read("a").value
        assert operation is not None
        assert operation.current_step == step


def test_all_requested_ids_go_into_one_read(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    backend.put("b")
    poller.read("a")
    waiting = poller.read("b")
    assert not waiting.known, "b came between two reads: it waits for the next one"
    assert len(backend.reads) == 1
    clock.now += INTERVAL
    assert poller.read("b").known
    assert backend.reads[1] == ["a", "b"]


def test_ids_that_are_requested_together_go_into_the_first_read(
    poller: Poller[Operation], backend: Backend
) -> None:
    backend.put("b")
    snapshots = poller.read_all(["a", "b", "nobody"])
    assert backend.reads == [["a", "b", "nobody"]]
    assert [snapshot.known for snapshot in snapshots.values()] == [True, True, True]
    assert snapshots["nobody"].value is None


def test_while_one_caller_reads_the_others_do_not_wait(backend: Backend, clock: Clock) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slow(ids: Sequence[str]) -> Mapping[str, Operation]:
        if backend.reads:
            reading.set()
            assert go_on.wait(10)
        return backend.read(ids)

    poller = Poller(slow, INTERVAL, clock=clock)
    poller.read("a")
    clock.now += INTERVAL
    backend.put("a", step=1)
    first = threading.Thread(target=poller.read, args=("a",))
    first.start()
    assert reading.wait(10)
    old = poller.read("a").value
    go_on.set()
    first.join()
    assert old is not None
    assert old.current_step == 0
    assert len(backend.reads) == 2
    new = poller.read("a").value
    assert new is not None
    assert new.current_step == 1


def test_a_read_that_hangs_is_shown_as_an_error(backend: Backend, clock: Clock) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def hang(ids: Sequence[str]) -> Mapping[str, Operation]:
        reading.set()
        assert go_on.wait(10)
        return backend.read(ids)

    poller = Poller(hang, INTERVAL, clock=clock)
    first = threading.Thread(target=poller.read, args=("a",))
    first.start()
    assert reading.wait(10)
    clock.now += HUNG_AFTER - 1
    assert poller.read("a").error is None
    clock.now += 2
    assert str(poller.read("a").error) == "The backend has not answered for 11 s."
    go_on.set()
    first.join()
    assert poller.read("a").error is None


def test_an_operation_that_ended_is_not_read_again(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    backend.put("a", Status.COMPLETED)
    poller.read("a")
    for _ in range(10):
        clock.now += INTERVAL
        operation = poller.read("a").value
        assert operation is not None
        assert operation.status is Status.COMPLETED
    assert len(backend.reads) == 1
    poller.read("b")
    assert backend.reads[-1] == ["b"]


def test_without_a_final_value_everything_is_read_again(backend: Backend, clock: Clock) -> None:
    poller = Poller(backend.read, INTERVAL, clock=clock)
    backend.put("a", Status.COMPLETED)
    for count in range(1, 4):
        poller.read("a")
        assert len(backend.reads) == count
        clock.now += INTERVAL


def test_ids_without_requests_are_forgotten(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    backend.put("b")
    poller.read("b")
    clock.now += FORGET_AFTER + 1
    poller.read("a")
    assert backend.reads[-1] == ["a"]


def test_forget_after_sets_how_soon(backend: Backend, clock: Clock) -> None:
    poller = Poller(backend.read, INTERVAL, clock=clock, forget_after=10)
    backend.put("b")
    poller.read("b")
    clock.now += 9
    poller.read("a")
    assert backend.reads[-1] == ["b", "a"]
    clock.now += 2
    poller.read("a")
    assert backend.reads[-1] == ["a"]


def test_an_id_is_not_forgotten_between_two_slow_polls(backend: Backend, clock: Clock) -> None:
    poller = Poller(backend.read, 60, clock=clock)
    backend.put("b")
    poller.read("a")
    for _ in range(5):
        clock.now += 61  # a browser's timer is a little late
        assert poller.read("b").known or backend.reads[-1] == ["a"]
        assert poller.read("a").known
    assert poller.read("b").known


def test_an_error_keeps_what_was_known(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    poller.read("a")
    backend.error = BackendUnavailable("no route")
    clock.now += INTERVAL
    snapshot = poller.read("a")
    assert snapshot.error is backend.error
    assert snapshot.value == backend.operations["a"]
    assert snapshot.known


def test_an_unavailable_backend_is_read_less_and_less_often(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    backend.error = BackendUnavailable("no route")
    times: list[float] = []
    while clock.now < 1300:
        before = len(backend.reads)
        for _ in range(20):
            poller.read("a")
        if len(backend.reads) > before:
            times.append(clock.now)
        clock.now += 0.1
    waits = [later - former for former, later in pairwise(times)]
    assert waits[:4] == pytest.approx([1.0, 2.0, 4.0, 8.0], abs=0.11)
    assert max(waits) == pytest.approx(BACK_OFF_CAP, abs=0.11)
    assert len(backend.reads) == len(times)


def test_a_very_long_outage_is_still_an_error_in_the_snapshot(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    backend.error = BackendUnavailable("no route")
    for _ in range(1100):
        clock.now += BACK_OFF_CAP
        assert poller.read("a").error is backend.error
    assert len(backend.reads) == 1100


def test_the_interval_is_normal_again_when_the_backend_is(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    backend.error = BackendUnavailable("no route")
    for _ in range(5):
        clock.now += BACK_OFF_CAP
        poller.read("a")
    backend.error = None
    clock.now += BACK_OFF_CAP
    assert poller.read("a").error is None
    count = len(backend.reads)
    for _ in range(20):
        clock.now += INTERVAL
        poller.read("a")
    assert len(backend.reads) == count + 20


def test_retry_after_sets_the_next_read(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    backend.error = BackendUnavailable("busy", retry_after=7)
    poller.read("a")
    clock.now += 6.9
    poller.read("a")
    assert len(backend.reads) == 1
    clock.now += 0.2
    poller.read("a")
    assert len(backend.reads) == 2


@pytest.mark.parametrize("retry_after", [None, 7])
def test_an_id_that_cannot_be_read_does_not_hide_the_others(
    poller: Poller[Operation], backend: Backend, clock: Clock, retry_after: float | None
) -> None:
    backend.put("b", step=1)
    for name in ("a", "b", "gone"):
        clock.now += INTERVAL
        poller.read(name)
    backend.put("b", step=2)
    failure = BackendUnavailable("not JSON", retry_after)
    backend.error = PartlyUnavailable({"b": backend.operations["b"]}, {"a": failure})
    clock.now += INTERVAL
    a, b, gone = (poller.read(name) for name in ("a", "b", "gone"))
    assert a.error is failure
    assert a.value == backend.operations["a"], "what was known stays"
    assert b.error is None
    assert b.value == backend.operations["b"]
    assert gone.known
    assert gone.value is None
    for wait, expected in ((INTERVAL, retry_after is None), (7, True)):
        clock.now += wait
        poller.read("b")
        assert ("a" in backend.reads[-1]) is expected
        assert "b" in backend.reads[-1], "the others are read as before"


def test_a_made_up_id_is_read_once_for_each_request(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    poller.read_all(["a", "made up"])
    for _ in range(3):
        clock.now += INTERVAL
        poller.read("a")
    assert backend.reads == [["a", "made up"], ["a"], ["a"], ["a"]]
    clock.now += INTERVAL
    poller.read("made up")
    assert backend.reads[-1] == ["a", "made up"]


def test_an_id_that_no_read_could_answer_is_read_when_it_is_requested(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    backend.error = BackendUnavailable("away")
    assert not poller.read("a").known
    backend.error = None
    clock.now += BACK_OFF_CAP
    assert poller.read("a").known


def test_many_made_up_ids_do_not_get_into_one_read(
    poller: Poller[Operation], backend: Backend, clock: Clock
) -> None:
    poller.read("a")
    clock.now += INTERVAL
    made_up = [f"made up {number}" for number in range(3 * MAX_UNKNOWN)]
    for _ in range(3):
        poller.read_all(["a", *made_up])
        clock.now += INTERVAL
    assert [len(ids) for ids in backend.reads[1:]] == [1 + MAX_UNKNOWN] * 3
    assert all("a" in ids for ids in backend.reads)
    assert set(made_up) < {name for ids in backend.reads for name in ids}


@pytest.mark.parametrize("error", [BackendRejected("no such table"), ZeroDivisionError("oops")])
def test_no_error_reaches_the_caller(
    poller: Poller[Operation], backend: Backend, error: Exception
) -> None:
    backend.error = error
    snapshot = poller.read("a")
    assert isinstance(snapshot.error, BackendError)
    assert str(error) in str(snapshot.error)
    assert not snapshot.known
