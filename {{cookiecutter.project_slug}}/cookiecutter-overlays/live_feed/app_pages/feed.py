"""The page that shows the figures of feeds.py as they come."""

import streamlit as st

from progress.feed import Feed, Row, read_feeds
from progress.poller import Poller, Snapshot
from progress.session import polling, resources
from progress.ui import running
from progress.ui.charts import over_time
from progress.ui.formats import escape_markdown, format_time

# Pixels. Given to each element: nothing jumps when the browser has loaded what draws it.
CHART_HEIGHT = 190
METRIC_HEIGHT = 135
KEY = "feed"  # what this page's poller reads, for all viewers


@st.cache_resource(show_spinner=False)
def feed() -> Poller[tuple[Row, ...]]:
    """Return the poller of feeds.py that all sessions share."""
    return Poller(Feed(read_feeds).read, resources.SETTINGS.poll_interval)


@st.fragment(run_every=polling.interval())
def live_feed() -> None:
    """Draw the feed at every tick, until it is turned off, the page pauses, or the viewer leaves.

    Display only, and without arguments: they would freeze until the next full rerun.
    """
    if not polling.is_called("feed"):
        st.stop()  # a tick that was under way when a full rerun ended the polling
    polling.tick()
    if polling.needs_full_rerun():
        st.rerun(scope="app")
    draw(feed().read(KEY))


def draw(snapshot: Snapshot[tuple[Row, ...]]) -> None:
    """Draw the latest rows, and why there are no newer ones."""
    if rows := snapshot.value:
        draw_rows(rows)
    elif snapshot.known:
        st.info(
            "The feed has no rows yet. The function `rows_since` in feeds.py makes them.",
            icon=":material/inbox:",
        )
    if snapshot.error is not None:
        # At the end: nothing jumps when it comes and goes.
        st.warning("The feed cannot be read now.", icon=":material/cloud_off:")
        st.text(str(snapshot.error))


def draw_rows(rows: tuple[Row, ...]) -> None:
    """Draw a figure of each name, and its chart."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    with st.container(horizontal=True):
        for name in names:
            draw_figure(name, rows)
    for name in names:
        points = ((row.at, row.figures.get(name)) for row in rows)
        st.altair_chart(over_time(points, name, CHART_HEIGHT), height=CHART_HEIGHT)
    st.caption(f"Latest row at {format_time(rows[-1].at, st.context.timezone)}")


def draw_figure(name: str, rows: tuple[Row, ...]) -> None:
    """Draw the latest value, and how much it differs from the one before."""
    values = [row.figures[name] for row in rows if name in row.figures]
    delta = f"{values[-1] - values[-2]:+,.10g}" if len(values) > 1 else None
    # Without a color: only the user knows whether more is better.
    st.metric(
        escape_markdown(name),
        f"{values[-1]:,.10g}",
        delta,
        delta_color="off",
        border=True,
        height=METRIC_HEIGHT,
    )


st.set_page_config(page_title=f"Live feed · {resources.SETTINGS.title}", layout="wide")
with st.container(horizontal=True, vertical_alignment="center"):
    st.title("Live feed", width="stretch")
    is_on = st.toggle("Live", value=True, key="live", on_change=polling.resume)
if polling.is_paused():
    running.draw_paused("The feed goes on without it.")
if is_on and not polling.is_paused():
    polling.begin("feed")
    live_feed()
else:
    draw(feed().read(KEY))
