"""How often a page asks: less often where so many look that one core could not draw it all."""

import time
from collections import deque

BUSY = 0.5
"""The share of a core above which a page that begins to poll asks less often. With none of the core
left, ticks wait for each other, and nobody's page moves."""
LONGEST = 10
"""How many times longer the interval of such a page is at most."""
TICKS = 100
"""Ticks by which this is judged. A number of ticks, not of seconds: where few look, these are many
seconds, in which what a process does once, like its imports, does not count for much."""
PAUSE = 0.5
"""Seconds between two pages that begin anew because the crowd has gone: each takes as much of the
processor as ten ticks."""

# When the latest ticks were, and how much processor time the process had used by then, in seconds.
_ticks: deque[tuple[float, float]] = deque(maxlen=TICKS)
_began_anew_at = -PAUSE


def count_tick() -> None:
    """Note that a page of this process ticks."""
    _ticks.append((time.monotonic(), time.process_time()))


def interval(wanted: float) -> float:
    """Return the seconds between the ticks of a page that begins to poll now.

    The less of the core is left, the less a page more may take of it: four times as long an
    interval with half of the core left, ten times with less than a third. In proportion to what is
    left, two and ten times, was too little: at nine tenths of a core, ticks wait for seconds.

    Args:
        wanted: How many seconds they are where there is no crowd.
    """
    if len(_ticks) < TICKS:
        return wanted
    then, used = _ticks[0]
    busy = (time.process_time() - used) / (time.monotonic() - then)
    return wanted / max((1 - min(busy, 1)) ** 2, 1 / LONGEST) if busy > BUSY else wanted


def may_shorten(current: float, wanted: float) -> bool:
    """Return whether a full rerun now would halve the interval of a page, or more."""
    return interval(wanted) <= current / 2 and time.monotonic() - _began_anew_at >= PAUSE


def note_rerun() -> None:
    """Note that a page asks for a full rerun."""
    global _began_anew_at
    _began_anew_at = time.monotonic()
