"""The page that shows the figures of feeds.py as they come."""

import streamlit as st

from progress.feed import Feed, Row, load_rows_since
from progress.poller import Poller, Snapshot
from progress.session import polling, resources
from progress.ui import cards, charts, running
from progress.ui import feed as feed_parts
from progress.ui.bars import SMALL
from progress.ui.formats import format_time

CHART_HEIGHT = 190  # pixels
KEY = "feed"  # what this page's poller reads, for all viewers


@st.cache_resource(show_spinner=False)
def feed() -> Poller[tuple[Row, ...]]:
    """Return the poller of feeds.py that all sessions share."""
    return Poller(Feed(load_rows_since).read, resources.SETTINGS.poll_interval)


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
    cards.draw(feed_parts.latest(rows), height=116)
    for name, data in feed_parts.series(rows).items():
        charts.draw(data, name, CHART_HEIGHT)
    latest = format_time(rows[-1].at, st.context.timezone)
    st.html(
        f'<p style="{SMALL};margin:0;opacity:.6">Latest row at {latest} {running.late_sign()}</p>'
    )


st.set_page_config(page_title=f"Live feed · {resources.SETTINGS.title}")
with st.container(horizontal=True, vertical_alignment="center"):
    st.title("Live feed", width="stretch")
    polling.restore_toggle(default=True)
    is_on = st.toggle("Live", key="live", on_change=polling.keep_toggle)
if polling.is_paused():
    running.draw_paused("The feed goes on without it.")
if is_on and not polling.is_paused():
    polling.begin("feed")
    live_feed()
else:
    draw(feed().read(KEY))
