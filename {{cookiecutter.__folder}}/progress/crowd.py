"""How often a page asks: less often where so many look that one core could not draw it all."""

import time
from collections import deque

BUSY = 0.5
"""The share of a core above which a page that begins to poll asks less often. With none of the core
left, ticks wait for each other, and nobody's page moves."""
LONGEST = 10
"""How many times longer the interval of such a page is at most, until its next full run."""
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

    The less of the core is left, the less a page more may take of it: twice as long an interval
    with half of the core left, ten times with a tenth.

    Args:
        wanted: How many seconds they are where there is no crowd.
    """
    if len(_ticks) < TICKS:
        return wanted
    then, used = _ticks[0]
    busy = (time.process_time() - used) / (time.monotonic() - then)
    return wanted / max(1 - busy, 1 / LONGEST) if busy > BUSY else wanted
