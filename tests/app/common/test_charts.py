"""The data of charts: times that every browser reads alike, and gaps."""

from datetime import UTC, datetime, timedelta

from progress.overview import Overview, Sample
from progress.ui import overview
from progress.ui.cards import Figure, cards
from progress.ui.charts import data_of, with_gaps

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(second: float) -> datetime:
    return T0 + timedelta(seconds=second)


def test_times_are_milliseconds_and_none_is_kept() -> None:
    data = data_of([(at(0), None), (at(0.5), 1.5)])
    assert data.to_pydict() == {
        "time": [T0.timestamp() * 1000, T0.timestamp() * 1000 + 500],
        "value": [None, 1.5],
    }


def test_a_time_when_nobody_looked_is_a_gap() -> None:
    seconds = [*range(60), *range(1260, 1290)]
    points = [(at(second), 1.0) for second in seconds]
    drawn = list(with_gaps(points))
    assert [point for point in drawn if point[1] is not None] == points
    assert [time for time, value in drawn if value is None] == [at(60)]


def test_distances_that_vary_are_no_gaps() -> None:
    points = [(at(number**1.3), 1.0) for number in range(300)]
    assert list(with_gaps(points)) == points
    assert list(with_gaps(points[:2])) == points[:2]
    assert list(with_gaps([])) == []


def test_no_card_is_left_alone_in_a_row() -> None:
    assert [cards([Figure("n", "1")] * count).count("<dl") for count in (3, 4, 6)] == [1, 2, 2]


def test_the_throughput_has_a_gap_where_nobody_looked() -> None:
    samples = [Sample(at(second), 1.0) for second in (*range(30), *range(38, 50))]
    values = overview.throughput(Overview({}, (), tuple(samples)))["value"].to_pylist()
    assert values == [None, *[1.0] * 30, None, *[1.0] * 12]
    assert overview.throughput(Overview({}, (), ()))["value"].to_pylist() == [None, None]
