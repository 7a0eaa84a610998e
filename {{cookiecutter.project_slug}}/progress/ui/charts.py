"""A chart of one figure over time that can be redrawn at every tick without a flicker."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import streamlit as st

# Streamlit looks for pandas while it draws, and fails if another session is in the middle of the
# first import.
importlib.import_module("pandas")

Point = tuple[datetime, float | None]


def data_of(points: Iterable[Point]) -> pa.Table:
    """Return points as the data of a chart. Make it once for all viewers who see the same.

    Streamlit sends an Arrow table as it is. Anything else becomes a data frame of pandas first, at
    every tick of every viewer.

    Args:
        points: Oldest first: aware times, and values; None leaves a gap.
    """
    rows = list(points)
    # In milliseconds, as the browser counts: a time of Arrow would be shown in UTC.
    times = [time.timestamp() * 1000 for time, _ in rows]
    values = pa.array([value for _, value in rows], pa.float64())
    return pa.table({"time": times, "value": values})


def with_gaps(points: Sequence[Point]) -> Iterator[Point]:
    """Yield the points, with a gap where the next one comes much later than usual.

    Usual is what nine of ten points keep to.
    """
    pairs = list(pairwise(points))
    distances = sorted(later - earlier for (earlier, _), (later, _) in pairs)
    usual = distances[int(0.9 * (len(distances) - 1))] if distances else timedelta()
    yield from points[:1]
    for (earlier, _), point in pairs:
        if point[0] - earlier > 3 * usual:
            yield earlier + usual, None
        yield point


def draw(data: pa.Table, title: str, height: int, top: float = 0.0) -> None:
    """Draw an area chart on the clock of the viewer's browser.

    Only the data may change from tick to tick: the browser rebuilds a chart, which flickers, when
    anything else of its specification changes. So there is no domain of times; a point without a
    value widens the axis.

    Not with Altair, which validates the whole specification at every tick of every viewer.

    Args:
        data: What `data_of` returned.
        title: The figure, with its unit.
        height: In pixels.
        top: The axis of values reaches from 0 to at least this.
    """
    st.vega_lite_chart(data, _spec(title, top), height=height)  # also until it is drawn


def _spec(title: str, top: float) -> dict[str, Any]:
    # Of 24 hours: the usual format is of 12, and does not say which half of the day.
    clock = {"hours": "%H:%M", "minutes": "%H:%M", "seconds": "%H:%M:%S"}
    axis = {"title": None, "tickCount": 4}
    return {
        "title": title,
        "mark": {"type": "area", "line": True, "opacity": 0.25},
        "encoding": {
            "x": {"field": "time", "type": "temporal", "axis": axis | {"format": clock}},
            "y": {
                "field": "value",
                "type": "quantitative",
                "axis": axis | {"format": ",~r"},
                "scale": {"domain": {"unionWith": [0, top]}},
            },
        },
    }
