from collections.abc import Callable

import pytest

from progress import adaptive_interval


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Tick, and let some seconds pass in which the process uses a share of a core."""
    now = used = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.process_time", lambda: used)
    monkeypatch.setattr(
        adaptive_interval, "_ticks", type(adaptive_interval._ticks)(maxlen=adaptive_interval.TICKS)
    )
    monkeypatch.setattr(adaptive_interval, "_began_anew_at", -adaptive_interval.PAUSE)

    def tick(seconds: float, share: float) -> None:
        nonlocal now, used
        adaptive_interval.note_tick()
        now += seconds
        used += share * seconds

    return tick


def test_a_page_that_joins_a_crowd_asks_less_often(tick: Callable[[float, float], None]) -> None:
    for _ in range(adaptive_interval.TICKS - 1):
        tick(0.005, 0.6)
        assert adaptive_interval.interval(0.5) == 0.5, "too few to judge"
    tick(0.005, 0.6)
    assert adaptive_interval.interval(0.5) == pytest.approx(0.5 / 0.4**2)
    tick(1, 0)
    assert adaptive_interval.interval(0.5) == 0.5, "they have gone"
    for share, expected in ((0.4, 0.5), (0.55, 0.5 / 0.45**2), (0.8, 5.0), (1.1, 5.0), (2.5, 5.0)):
        for _ in range(adaptive_interval.TICKS):
            tick(0.005, share)
        assert adaptive_interval.interval(0.5) == pytest.approx(expected)


def test_when_a_crowd_has_gone_one_page_after_another_begins_anew(
    tick: Callable[[float, float], None],
) -> None:
    for _ in range(adaptive_interval.TICKS):
        tick(0.01, 0.55)
    assert not adaptive_interval.has_gone(4.0, 0.5), "2.5 s is not half of it"
    assert adaptive_interval.has_gone(5.0, 0.5), "2.5 s is"
    assert not adaptive_interval.has_gone(5.0, 0.5), "one at a time"
    for _ in range(adaptive_interval.TICKS):
        tick(0.01, 0.3)
    assert not adaptive_interval.has_gone(0.5, 0.5), "it has the shortest"
    assert adaptive_interval.has_gone(4.0, 0.5)
    tick(adaptive_interval.PAUSE - 0.01, 0.3)
    assert not adaptive_interval.has_gone(4.0, 0.5)
    tick(0.02, 0.3)
    assert adaptive_interval.has_gone(4.0, 0.5)
