import pytest

from progress import crowd


def test_a_page_that_joins_a_crowd_asks_less_often_until_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(crowd, "_ticks", type(crowd._ticks)(maxlen=crowd.MOST_TICKS))
    for _ in range(crowd.MOST_TICKS - 1):
        crowd.note_tick()
        now += 0.9 / crowd.MOST_TICKS
    assert crowd.interval(0.5) == 0.5
    crowd.note_tick()
    assert crowd.interval(0.5) == 0.5 * crowd.SLOWER
    now += 0.2
    assert crowd.interval(0.5) == 0.5
