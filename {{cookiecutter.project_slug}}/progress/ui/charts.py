"""A chart of one figure over time that can be redrawn at every tick without a flicker."""

import importlib
from collections.abc import Iterable
from datetime import datetime

import altair as alt

# Altair looks for pandas while it draws, and fails if another session is in the middle of the first
# import.
importlib.import_module("pandas")

Point = tuple[datetime, float | None]


def over_time(points: Iterable[Point], title: str, height: int, top: float = 0.0) -> alt.Chart:
    """Return an area chart of the points, oldest first, on the clock of the viewer's browser.

    Only the data may change from tick to tick: the browser rebuilds a chart, which flickers, when
    anything else of its specification changes. So there is no domain of times; a point without a
    value widens the axis.

    Args:
        points: Aware times, and values; None leaves a gap.
        title: The figure, with its unit.
        height: In pixels.
        top: The axis of values reaches from 0 to at least this.
    """
    # Fixed names of columns: a colon or a bracket in one has a meaning in Altair.
    rows = [{"time": time.isoformat(), "value": value} for time, value in points]
    scale = alt.Scale(domain={"unionWith": [0, top]})
    chart: alt.Chart = (
        alt.Chart({"values": rows}, height=height, title=title)
        .mark_area(line=True, opacity=0.25)
        .encode(
            x=alt.X("time:T", axis=alt.Axis(title=None, tickCount=4)),
            y=alt.Y("value:Q", axis=alt.Axis(title=None, tickCount=4, format=",~r"), scale=scale),
        )
    )
    return chart
