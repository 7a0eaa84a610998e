"""How often a page asks: less often where so many look that one core could not draw it all."""

import time
from collections import deque

BUSY = 0.7
"""The share of a core above which a page that begins to poll asks less often. Above it, ticks
begin to wait for each other; without any left, nobody's page moves."""
SLOWER = 4
"""How many times longer the interval of such a page is, until its next full run."""

TICKS = 100
"""Ticks by which this is judged. A number of ticks, not of seconds: where few look, these are many
seconds, in which what a process does once, like its imports, does not count for much."""

# When the latest ticks were, and how much processor time the process had used by then, in seconds.
_ticks: deque[tuple[float, float]] = deque(maxlen=TICKS)


def note_tick() -> None:
    """Note that a page of this process ticks."""
    _ticks.append((time.monotonic(), time.process_time()))


def interval(wanted: float) -> float:
    """Return the seconds between the ticks of a page that begins to poll now.

    Args:
        wanted: How many seconds they are where there is no crowd.
    """
    if len(_ticks) < TICKS:
        return wanted
    then, used = _ticks[0]
    busy = (time.process_time() - used) / (time.monotonic() - then)
    return SLOWER * wanted if busy > BUSY else wanted
