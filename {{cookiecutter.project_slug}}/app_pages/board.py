"""The page that shows all operations: counts, active operations, throughput, history."""

import streamlit as st

from progress.overview import Overview
from progress.poller import Snapshot
from progress.session import choices, history, polling, resources, viewer
from progress.ui import cards, charts, history_table, overview, running
from progress.ui.formats import format_duration
from progress.ui.timeline import accent_color

# Comments, not docstrings: in a page, Streamlit draws a string on a line of its own.
HEIGHT = 260  # pixels of both columns: nothing jumps when operations come and go


@st.fragment(run_every=polling.interval())
def live_board() -> None:
    """Draw the overview at every tick, until no operation is active.

    Display only, and without arguments: they would freeze until the next full rerun.
    """
    if not polling.is_called("board"):
        st.stop()  # a tick that was under way when a full rerun ended the polling
    polling.tick()
    snapshot = read_overview()
    if choices.is_loaded() or not is_live(snapshot):
        polling.request_full_rerun()
    if polling.needs_full_rerun():
        st.rerun(scope="app")
    draw(snapshot)


def read_overview() -> Snapshot[Overview]:
    """Return the overview of the operations that the viewer may see."""
    return resources.overviews().read("" if resources.SETTINGS.shared else viewer.owner())


def is_live(snapshot: Snapshot[Overview]) -> bool:
    """Return whether an operation is active, or the viewer waits for one, or for the filters."""
    is_active = snapshot.value is not None and snapshot.value.active_count > 0
    is_waiting = not snapshot.known or choices.is_loading()
    return is_active or is_waiting or polling.is_toggled_on()


def draw(snapshot: Snapshot[Overview]) -> None:
    """Draw counts; while there is something to wait for, also active operations and throughput."""
    known = snapshot.value
    cards.draw(overview.counts(known), height=94)
    if known is None:
        st.caption("It is not known which operations are active.")
    elif is_live(snapshot):
        left, right = st.columns([3, 2])
        # The container scrolls, not the HTML: that is replaced at every tick.
        with left.container(height=HEIGHT):
            age = f", as of {format_duration(snapshot.age)} ago" if snapshot.age else ""
            st.html(f"<strong>Active operations</strong><small>{age} {running.late_sign()}</small>")
            st.html(overview.active(known, accent_color()))
        with right.container(height=HEIGHT):
            charts.draw(overview.throughput(known), "Steps per second", HEIGHT - 34, top=1)
    else:
        st.caption("No operation is active.")
    if snapshot.error is not None:
        st.warning("The operations cannot be read now.", icon=":material/cloud_off:")
        st.text(str(snapshot.error))


if selected := history.selected():
    history.clear_selected()
    st.switch_page("app_pages/run.py", query_params={"operation": selected})

st.set_page_config(page_title=f"Board · {resources.SETTINGS.title}")
with st.container(horizontal=True, vertical_alignment="center"):
    st.title("Board", width="stretch")
    polling.restore_toggle(default=False)
    st.toggle(
        "Live",
        key="live",
        on_change=polling.keep_toggle,
        help="Keep polling while no operation is active. Active operations are polled anyway.",
    )
if polling.is_paused():
    running.draw_paused("The operations go on without it.")
choices.load()
snapshot = read_overview()
if is_live(snapshot) and not polling.is_paused():
    polling.begin("board")
    live_board()
else:
    draw(snapshot)
st.header("History", anchor=False)
history_table.draw()
