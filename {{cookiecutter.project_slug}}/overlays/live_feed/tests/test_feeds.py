"""The sample feed. Delete this file with samples/."""

from datetime import UTC, datetime, timedelta

import feeds


def test_the_feed_continues_after_the_cursor() -> None:
    first = feeds.rows_since(None)
    assert len(first) == feeds.LONGEST.total_seconds()
    assert feeds.rows_since(first[0]["time"])[: len(first) - 1] == first[1:]
    assert feeds.rows_since(datetime.now(UTC) + timedelta(seconds=5)) == []
    assert all(row["Words per minute"] > 0 for row in first)
    assert len({row["Calls per minute"] for row in first}) > 3
