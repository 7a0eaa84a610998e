"""The page that shows the figures of feeds.py, as they come."""

import streamlit as st

from progress.feed import Feed, Row, users_rows
from progress.poller import Poller, Snapshot
from progress.session import live
from progress.ui.charts import over_time
from progress.ui.formats import escape_markdown, format_time

CHART_HEIGHT = 190  # pixels
_KEY = "feed"  # the one thing that this page's poller reads, for all viewers
_FOLLOWING = "feed_following"


@st.cache_resource(show_spinner=False)
def feed() -> Poller[tuple[Row, ...]]:
    """Return the poller of feeds.py that all sessions share."""
    return Poller(Feed(users_rows).read, live.SETTINGS.poll_interval)


@st.fragment(run_every=live.interval())
def live_feed() -> None:
    """Draw the feed at every tick, until the page turns it off or nobody has touched it for long.

    Display only, and without arguments: they would freeze at the last full run.
    """
    if not st.session_state.get(_FOLLOWING):
        st.stop()  # A tick that was under way when the toggle was turned off.
    if live.idle():
        live.pause()
        st.session_state.pop(_FOLLOWING)
        st.rerun(scope="app")
    if live.crowd_has_gone():
        live.forget_interval()
        st.rerun(scope="app")
    draw(feed().read(_KEY))


def draw(snapshot: Snapshot[tuple[Row, ...]]) -> None:
    """Draw what is known, and why nothing newer is."""
    if rows := snapshot.value:
        draw_rows(rows)
    elif snapshot.known:
        st.info(
            "The feed has no rows yet. The function `rows_since` in feeds.py makes them.",
            icon=":material/inbox:",
        )
    if snapshot.error is not None:
        # Below the rest: nothing moves when it comes and goes.
        st.warning("The feed cannot be read just now.", icon=":material/cloud_off:")
        st.text(str(snapshot.error))


def draw_rows(rows: tuple[Row, ...]) -> None:
    """Draw a figure of each name, and its chart."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    with st.container(horizontal=True):
        for name in names:
            draw_figure(name, rows)
    for name in names:
        points = ((row.at, row.figures.get(name)) for row in rows)
        st.altair_chart(over_time(points, name, CHART_HEIGHT))
    st.caption(f"Latest row at {format_time(rows[-1].at, st.context.timezone)}")


def draw_figure(name: str, rows: tuple[Row, ...]) -> None:
    """Draw the latest value, and how much it differs from the one before."""
    values = [row.figures[name] for row in rows if name in row.figures]
    delta = f"{values[-1] - values[-2]:+,.10g}" if len(values) > 1 else None
    # Without a colour: nobody here knows whether more is better.
    st.metric(escape_markdown(name), f"{values[-1]:,.10g}", delta, delta_color="off", border=True)


st.set_page_config(
    page_title=f"Live feed · {live.SETTINGS.title}",
    page_icon=":material/monitoring:",
    layout="wide",
)
live.touch("feed")
with st.container(horizontal=True, vertical_alignment="center"):
    st.title("Live feed", width="stretch")
    on = st.toggle("Live", value=True, key="live", on_change=live.resume)
if live.paused():
    live.offer_resume("The feed goes on without it.")
if on and not live.paused():
    st.session_state[_FOLLOWING] = True
    live_feed()
else:
    st.session_state.pop(_FOLLOWING, None)
    draw(feed().read(_KEY))
