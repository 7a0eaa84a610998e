"""YOUR figures: what the page "Live feed" draws. Edit `rows_since`.

README.md says what to delete to do without the page.
"""

import functools
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from samples import transcript

SAMPLES = Path(__file__).parent / "samples"
LINES = 40
"""Telephone lines of the sample's call centre. Each plays a transcript over and over."""
LONGEST = timedelta(minutes=2)
"""How far back the first rows go."""


def rows_since(cursor: datetime | None) -> list[dict[str, Any]]:
    """Return the rows after the cursor, oldest first.

    It is called once per poll interval for all viewers together, so it must not depend on who is
    looking. What it raises is shown on the page as a warning, and it is tried again later.

    The sample plays the transcripts of samples/ at one minute of call per second. To stream a
    table of your own, ask for what is newer than the cursor, with a parameter and a limit. Each row
    is read once, so it must be final: here, the minute that still runs is left out.

        statement = (
            "SELECT minute, orders, revenue FROM shop.minutes"
            " WHERE minute > %s AND minute < date_trunc('minute', now())"
            " ORDER BY minute DESC LIMIT 300"
        )
        after = cursor or datetime.now(UTC) - timedelta(hours=1)
        with pool.connection() as connection:  # a psycopg_pool.ConnectionPool, made once
            rows = connection.execute(statement, [after]).fetchall()
        return [{"time": at, "Orders per minute": n, "Revenue (EUR)": eur} for at, n, eur in rows]

    (Not with `st.connection("...", type="sql").query()`: it keeps the answer, and the connection.)

    Args:
        cursor: The time of the latest row that is known; None if there is none yet.

    Returns:
        One dict for each row that will not change any more: "time", a datetime with a time zone,
        and figures by the name under which they are shown. Say the unit in the name; None means no
        value.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    first = max(cursor or now - LONGEST, now - LONGEST)
    seconds = int((now - first).total_seconds())
    return [_row(first + timedelta(seconds=number)) for number in range(1, seconds + 1)]


def _row(time: datetime) -> dict[str, Any]:
    calls, busy, words = 0, 0, 0
    # More calls come at some times than at others.
    open_lines = LINES * (3 + math.sin(time.timestamp() / 15)) / 4
    for line in range(int(open_lines)):
        minutes = _words_by_minute()[line % len(_words_by_minute())]
        # After each call, the line is free for as many minutes as its number says.
        minute = (int(time.timestamp()) + 7 * line) % (len(minutes) + line % 4)
        calls += minute == 0
        busy += minute < len(minutes)
        words += minutes[minute] if minute < len(minutes) else 0
    return {"time": time, "Calls per minute": calls, "Busy lines": busy, "Words per minute": words}


@functools.cache
def _words_by_minute() -> list[list[int]]:
    """Return, for each transcript, how many words are said in each of its minutes."""
    calls = []
    for path in sorted(SAMPLES.glob("*.txt")):
        turns, _ = transcript.parse(path.read_text(encoding="utf-8"))
        minutes = [0] * (max((turn.start for turn in turns), default=0) // 60 + 1)
        for turn in turns:
            minutes[turn.start // 60] += transcript.word_count(turn.text)
        calls.append(minutes)
    return calls
