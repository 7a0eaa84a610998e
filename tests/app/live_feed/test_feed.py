"""The rows of a feed: which are kept and which are invalid; and the sample feed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

import feeds
from progress.contract import BackendRejected
from progress.feed import ROWS, Feed, Row

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def rows_at(*seconds: int) -> list[dict[str, Any]]:
    return [{"time": T0 + timedelta(seconds=second), "n": second} for second in seconds]


class Source:
    """A feed of the test that records the cursors."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.cursors: list[datetime | None] = []

    def rows_since(self, cursor: datetime | None) -> list[dict[str, Any]]:
        self.cursors.append(cursor)
        return self.rows


def numbers(rows: tuple[Row, ...]) -> list[float]:
    return [row.figures["n"] for row in rows]


def test_each_read_is_for_the_rows_after_the_last() -> None:
    source = Source()
    feed = Feed(lambda: source.rows_since)
    assert feed.read(["feed"]) == {"feed": ()}
    source.rows = rows_at(1, 2)
    feed.read(["feed"])
    source.rows = rows_at(3)
    assert numbers(feed.read(["feed"])["feed"]) == [1, 2, 3]
    assert source.cursors == [None, None, T0 + timedelta(seconds=2)]


def test_repeated_and_unordered_rows_are_kept_once_and_in_order() -> None:
    source = Source()
    feed = Feed(lambda: source.rows_since)
    source.rows = rows_at(3, 1, 2)
    feed.read(["feed"])
    source.rows = rows_at(2, 3, 4)
    assert numbers(feed.read(["feed"])["feed"]) == [1, 2, 3, 4]


def test_an_edit_of_feeds_py_begins_anew() -> None:
    sources = [Source(), Source()]
    feed = Feed(lambda: sources[0].rows_since)
    sources[0].rows, sources[1].rows = rows_at(8, 9), rows_at(1, 2)
    feed.read(["feed"])
    del sources[0]
    assert numbers(feed.read(["feed"])["feed"]) == [1, 2]
    assert sources[0].cursors == [None]


def test_the_latest_rows_are_kept() -> None:
    source = Source()
    feed = Feed(lambda: source.rows_since)
    for start in range(0, 3 * ROWS, 100):
        source.rows = rows_at(*range(start, start + 100))
        rows = feed.read(["feed"])["feed"]
    assert numbers(rows) == list(range(2 * ROWS, 3 * ROWS))


def test_times_of_any_zone_and_numbers_of_any_type_are_read() -> None:
    berlin = timezone(timedelta(hours=1))
    time = datetime(2026, 1, 1, 1, tzinfo=berlin)
    row = Row.from_mapping(
        {"time": time, "a": Decimal("1.5"), "b": None, "c": float("nan"), "d": 0}
    )
    assert row.at == T0
    assert row.figures == {"a": 1.5, "d": 0.0}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"n": 1}, "The time of a row is None, not a datetime with a time zone."),
        ({"time": datetime(2026, 1, 1), "n": 1}, "not a datetime with a time zone"),
        ({"time": T0, "n": "many"}, "'n' of a row is 'many', not a number."),
    ],
)
def test_an_invalid_row_is_refused_and_no_other_is_lost(
    row: Mapping[str, Any], reason: str
) -> None:
    source = Source()
    feed = Feed(lambda: source.rows_since)
    source.rows = [*rows_at(1), dict(row)]
    with pytest.raises(BackendRejected, match=reason):
        feed.read(["feed"])
    source.rows = rows_at(1, 2)
    assert numbers(feed.read(["feed"])["feed"]) == [1, 2]


def test_the_sample_feed_continues_after_the_cursor() -> None:
    first = feeds.rows_since(None)
    assert len(first) == feeds.HISTORY.total_seconds()
    # Not after the first row: when the second changes, it is older than what the feed keeps.
    assert feeds.rows_since(first[60]["time"])[: len(first) - 61] == first[61:]
    assert feeds.rows_since(datetime.now(UTC) + timedelta(seconds=5)) == []
    assert all(row["Words per minute"] > 0 for row in first)
    assert len({row["Calls per minute"] for row in first}) > 3
