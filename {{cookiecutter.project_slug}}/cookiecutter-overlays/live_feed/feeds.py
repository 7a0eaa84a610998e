"""YOUR figures: what the page "Live feed" draws. Edit `rows_since`.

README.md says how to remove the page.
"""

import functools
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from samples import transcript

SAMPLES = Path(__file__).parent / "samples"
LINES = 40
"""Telephone lines of the sample call centre. Each plays a transcript over and over."""
HISTORY = timedelta(minutes=2)
"""How far back the first rows go."""


def rows_since(cursor: datetime | None) -> list[dict[str, Any]]:
    """Return the rows after the cursor, oldest first.

    This is called once per poll interval, for all viewers together. What it raises is shown on the
    page as a warning, and the next call comes later.

    The sample plays the transcripts of samples/, at one minute of a call per second. To show a
    table of your own, select the rows after the cursor, with a parameter and a limit. Each row is
    read once, so select only rows that will not change: here, all but the current minute.

        statement = (
            "SELECT minute, orders, revenue FROM shop.minutes"
            " WHERE minute > %s AND minute < date_trunc('minute', now())"
            " ORDER BY minute DESC LIMIT 300"
        )
        after = cursor or datetime.now(UTC) - timedelta(hours=1)
        with pool.connection() as connection:  # a psycopg_pool.ConnectionPool, created once
            rows = connection.execute(statement, [after]).fetchall()
        return [{"time": at, "Orders per minute": n, "Revenue (EUR)": eur} for at, n, eur in rows]

    (Not with `st.connection("...", type="sql").query()`: it caches rows and leaks connections.)

    Args:
        cursor: The time of the latest row that the page has; None if it has none yet.

    Returns:
        A dict for each row: "time", a datetime with a time zone, and numbers by the name under
        which the page shows them, with the unit in the name. None means no value.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    first = max(cursor or now - HISTORY, now - HISTORY)
    seconds = int((now - first).total_seconds())
    return [_row(first + timedelta(seconds=number)) for number in range(1, seconds + 1)]


def _row(time: datetime) -> dict[str, Any]:
    second = int(time.timestamp())
    calls, busy, words = 0, 0, 0
    # The number of open lines rises and falls, so that the charts do.
    open_lines = int(LINES * (3 + math.sin(second / 15)) / 4)
    for line in range(open_lines):
        minutes = _words_by_minute()[line % len(_words_by_minute())]
        # Between two calls, lines are free for zero to three minutes.
        minute = (second + 7 * line) % (len(minutes) + line % 4)
        calls += minute == 0
        if minute < len(minutes):
            busy += 1
            words += minutes[minute]
    return {"time": time, "Calls per minute": calls, "Busy lines": busy, "Words per minute": words}


@functools.cache
def _words_by_minute() -> list[list[int]]:
    """Return, for each transcript, the number of words spoken in each of its minutes."""
    calls = []
    for path in sorted(SAMPLES.glob("*.txt")):
        turns, _ = transcript.parse(path.read_text(encoding="utf-8"))
        minutes = [0] * (max((turn.start for turn in turns), default=0) // 60 + 1)
        for turn in turns:
            minutes[turn.start // 60] += transcript.word_count(turn.text)
        calls.append(minutes)
    return calls
