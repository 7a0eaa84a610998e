"""The latest rows of a feed. No Streamlit."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from progress.contract import BackendRejected

ROWS = 300
"""Rows that are kept: the latest."""

RowsSince = Callable[[datetime | None], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, eq=False)  # hashable: what is drawn of rows is cached
class Row:
    """The values of a feed at one time."""

    at: datetime
    figures: Mapping[str, float]
    """By name, without those that have no value at this time."""

    @classmethod
    def from_mapping(cls, row: Mapping[str, Any]) -> "Row":
        """Read a row that a feed returned.

        Raises:
            BackendRejected: The row is invalid; the text says why.
        """
        at = row.get("time")
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise BackendRejected(f"The time of a row is {at!r}, not a datetime with a time zone.")
        figures: dict[str, float] = {}
        for name, value in row.items():
            if name == "time" or value is None:
                continue
            try:
                number = float(value)
            except (TypeError, ValueError):
                reason = f"{name!r} of a row is {value!r}, not a number."
                raise BackendRejected(reason) from None
            if math.isfinite(number):
                figures[str(name)] = number
        return cls(at, figures)


class Feed:
    """Keeps the latest rows of a feed, and reads only newer rows.

    Args:
        load: Returns the function in feeds.py, which returns the rows after a time. A row is read
            once: a later change of it is not seen.
    """

    def __init__(self, load: Callable[[], RowsSince]) -> None:
        self._load = load
        self._rows_since: RowsSince | None = None
        self._rows: deque[Row] = deque(maxlen=ROWS)

    def read(self, keys: Sequence[str]) -> dict[str, tuple[Row, ...]]:
        """Return the latest rows, oldest first, for each key: the `read` of a `Poller`.

        Raises:
            BackendRejected: The feed returned an invalid row.
        """
        if (rows_since := self._load()) != self._rows_since:  # feeds.py was edited
            self._rows_since = rows_since
            self._rows.clear()
        cursor = self._rows[-1].at if self._rows else None
        # All new rows are checked before the first is kept: an invalid row loses no other.
        new = [Row.from_mapping(row) for row in rows_since(cursor)]
        for row in sorted(new, key=lambda row: row.at):
            if cursor is None or row.at > cursor:
                self._rows.append(row)
        return dict.fromkeys(keys, tuple(self._rows))


def load_rows_since() -> RowsSince:
    """Return the function of feeds.py. It is imported here, so that its errors are the feed's."""
    import feeds

    return feeds.rows_since
