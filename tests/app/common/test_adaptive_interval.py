from collections import deque
from collections.abc import Callable

import pytest

from progress import adaptive_interval

Tick = Callable[[float, float], None]


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Tick:
    """A function: tick, and let some seconds pass in which the process uses a share of a core."""
    now = used = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.process_time", lambda: used)
    monkeypatch.setattr(adaptive_interval, "_ticks", deque(maxlen=adaptive_interval.TICKS))
    monkeypatch.setattr(adaptive_interval, "_rerun_at", -float("inf"))

    def tick(seconds: float, share: float) -> None:
        nonlocal now, used
        adaptive_interval.count_tick()
        now += seconds
        used += share * seconds

    return tick


def test_a_page_that_opens_in_a_busy_process_polls_less_often(tick: Tick) -> None:
    for _ in range(adaptive_interval.TICKS - 1):
        tick(0.005, 0.6)
        assert adaptive_interval.interval(0.5) == 0.5, "too few ticks to judge"
    tick(0.005, 0.6)
    assert adaptive_interval.interval(0.5) == pytest.approx(0.5 / 0.4**2)
    tick(1, 0)
    assert adaptive_interval.interval(0.5) == 0.5, "no longer busy"


@pytest.mark.parametrize(
    ("share", "expected"), [(0.4, 0.5), (0.55, 0.5 / 0.45**2), (0.8, 5.0), (1.1, 5.0), (2.5, 5.0)]
)
def test_the_interval_grows_with_the_cpu_share(tick: Tick, share: float, expected: float) -> None:
    for _ in range(adaptive_interval.TICKS):
        tick(0.005, share)
    assert adaptive_interval.interval(0.5) == pytest.approx(expected)


def test_an_interval_may_become_half_as_long_or_less(tick: Tick) -> None:
    for _ in range(adaptive_interval.TICKS):
        tick(0.01, 0.55)
    assert not adaptive_interval.may_shorten(4.0, 0.5), "2.5 s is not half of it"
    assert adaptive_interval.may_shorten(5.0, 0.5)
    for _ in range(adaptive_interval.TICKS):
        tick(0.01, 0.3)
    assert not adaptive_interval.may_shorten(0.5, 0.5), "it is the shortest"
    assert adaptive_interval.may_shorten(4.0, 0.5)


def test_one_page_after_another_shortens_its_interval(tick: Tick) -> None:
    for _ in range(adaptive_interval.TICKS):
        tick(0.01, 0.3)
    for _ in range(2):
        assert adaptive_interval.may_shorten(4.0, 0.5), "to ask changes nothing"
    adaptive_interval.note_rerun()
    assert not adaptive_interval.may_shorten(4.0, 0.5)
    tick(adaptive_interval.RERUN_PAUSE - 0.01, 0.3)
    assert not adaptive_interval.may_shorten(4.0, 0.5)
    tick(0.02, 0.3)
    assert adaptive_interval.may_shorten(4.0, 0.5)
