import pytest

from progress import crowd


def test_a_page_that_joins_a_crowd_asks_less_often_until_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = used = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.process_time", lambda: used)
    monkeypatch.setattr(crowd, "_ticks", type(crowd._ticks)(maxlen=crowd.TICKS))

    def tick(seconds: float, share: float) -> None:
        nonlocal now, used
        crowd.note_tick()
        now += seconds
        used += share * seconds

    for _ in range(crowd.TICKS - 1):
        tick(0.005, 0.75)
        assert crowd.interval(0.5) == 0.5, "too few to judge"
    tick(0.005, 0.75)
    assert crowd.interval(0.5) == pytest.approx(2.0)
    now += 1
    assert crowd.interval(0.5) == 0.5, "they have gone"
    for share, expected in ((0.4, 0.5), (0.8, 2.5), (1.1, 5.0)):
        for _ in range(crowd.TICKS):
            tick(0.005, share)
        assert crowd.interval(0.5) == pytest.approx(expected)
