"""How often a page asks: less often where so many look that one core could not draw it all."""

import time
from collections import deque

MOST_TICKS = 200
"""Ticks of a process in a second. Where there are as many, a page that begins to poll asks less
often. A tick of the run page takes some 3 ms of a core, and a core that has no time left draws
nothing for anybody."""
SLOWER = 4
"""How many times longer the interval of such a page is, until its next full run."""

_ticks: deque[float] = deque(maxlen=MOST_TICKS)


def note_tick() -> None:
    """Note that a page of this process ticks."""
    _ticks.append(time.monotonic())


def interval(wanted: float) -> float:
    """Return the seconds between the ticks of a page that begins to poll now.

    Args:
        wanted: How many seconds they are where there is no crowd.
    """
    crowded = len(_ticks) == MOST_TICKS and time.monotonic() - _ticks[0] < 1
    return SLOWER * wanted if crowded else wanted
