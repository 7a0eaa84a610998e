"""Polls less often when this process is busy: above some load, ticks wait for each other."""

import time
from collections import deque

BUSY = 0.5
"""The CPU share of this process, of one core, above which an interval becomes longer."""
MAX_FACTOR = 10
"""How many times longer it becomes at most."""
TICKS = 100
"""Ticks over which the CPU share is measured. With few viewers these take many seconds, so that
what a process does once, like its imports, hardly counts."""
RERUN_PAUSE = 0.5
"""Seconds between two full reruns that shorten an interval: each costs as much as ten ticks."""

# Of the latest ticks: the time, and the CPU time that the process had used by then, in seconds.
_ticks: deque[tuple[float, float]] = deque(maxlen=TICKS)
_rerun_at = -float("inf")


def count_tick() -> None:
    """Note that a page of this process ticks."""
    _ticks.append((time.monotonic(), time.process_time()))


def interval(wanted: float) -> float:
    """Return the seconds between two ticks of a page that starts to poll now.

    The less of the core is free, the less a new page may take of it: with a free half its interval
    is four times as long, with less than a third ten times. In proportion to the free share, that
    is two and three times, was too little: at a CPU share of 0.9, ticks wait for seconds.

    Args:
        wanted: The interval when the process is not busy, in seconds.
    """
    if len(_ticks) < TICKS:
        return wanted
    then, used_then = _ticks[0]
    cpu_share = (time.process_time() - used_then) / (time.monotonic() - then)
    if cpu_share <= BUSY:
        return wanted
    free = 1 - min(cpu_share, 1)
    return wanted / max(free**2, 1 / MAX_FACTOR)


def may_shorten(current: float, wanted: float) -> bool:
    """Return whether a page may have an interval of half its current one or less.

    Only a full rerun sets another interval. If all pages requested theirs at the same time, that
    alone would be a high load: see `note_rerun`.

    Args:
        current: The interval of the page, in seconds.
        wanted: The interval when the process is not busy, in seconds.
    """
    if time.monotonic() - _rerun_at < RERUN_PAUSE:
        return False
    return interval(wanted) <= current / 2


def note_rerun() -> None:
    """Note that a page requests the full rerun that shortens its interval: the others wait."""
    global _rerun_at
    _rerun_at = time.monotonic()
