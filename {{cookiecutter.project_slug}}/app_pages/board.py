"""The page that shows all operations: counts, active operations, throughput, history."""

from datetime import UTC, datetime, timedelta

import streamlit as st

from progress.operation import Operation, Status
from progress.overview import SAMPLES, Overview, Sample
from progress.poller import Snapshot
from progress.session import history, polling, resources, viewer
from progress.text import as_line
from progress.ui import history_table, running
from progress.ui.charts import Point, over_time
from progress.ui.formats import format_duration, format_rate, format_status, format_steps

# Comments, not docstrings: in a page, Streamlit draws a string on a line of its own.
METRIC_HEIGHT = 108  # pixels: nothing jumps when the browser has loaded the metrics
HEIGHT = 340  # pixels of both columns: nothing jumps when operations come and go


@st.fragment(run_every=polling.interval())
def live_board() -> None:
    """Draw the overview at every tick, until no operation is active.

    Display only, and without arguments: they would freeze until the next full rerun.
    """
    if not polling.is_called("board"):
        st.stop()  # a tick that was under way when a full rerun ended the polling
    polling.tick()
    snapshot = read_overview()
    if not is_live(snapshot):
        polling.request_full_rerun()
    if polling.needs_full_rerun():
        st.rerun(scope="app")
    draw(snapshot)


def read_overview() -> Snapshot[Overview]:
    """Return the overview of the operations that the viewer may see."""
    return resources.overviews().read("" if resources.SETTINGS.shared else viewer.owner())


def is_live(snapshot: Snapshot[Overview]) -> bool:
    """Return whether an operation is active, or the viewer waits for one."""
    overview = snapshot.value
    is_active = overview is not None and overview.active_count > 0
    return is_active or not snapshot.known or polling.is_toggled_on()


def draw(snapshot: Snapshot[Overview]) -> None:
    """Draw counts, active operations and throughput."""
    overview = snapshot.value or Overview({}, (), ())
    with st.container(horizontal=True, gap="small"):
        for status in Status:
            count = f"{overview.counts.get(status, 0):,}" if snapshot.value else "?"
            st.metric(format_status(status), count, border=True, height=METRIC_HEIGHT)
    left, right = st.columns([3, 2])
    with left.container(height=HEIGHT):
        draw_active(snapshot)
    with right.container(height=HEIGHT):
        draw_throughput(overview.samples)
    if snapshot.error is not None:
        st.warning("The operations cannot be read now.", icon=":material/cloud_off:")
        st.text(str(snapshot.error))


def draw_active(snapshot: Snapshot[Overview]) -> None:
    """Draw a bar for each active operation of the overview."""
    overview = snapshot.value
    if overview is None:
        st.caption("It is not known which operations are active.")
        return
    age = f", as of {format_duration(snapshot.age)} ago" if snapshot.age else ""
    st.html(f"<small>Active operations{age} {running.late_sign()}</small>")
    if not overview.active:
        st.caption("No operation is active. Those that are started appear here.")
    for operation in overview.active:
        name = as_line(f"{operation.job}: {operation.subject}", 200)
        running.draw_bar(name, describe(operation), operation)
    if (more := overview.active_count - len(overview.active)) > 0:
        st.caption(f"and {more:,} more")


def describe(operation: Operation) -> str:
    """Return how far an active operation is, its rate, and the time that is left."""
    parts = [format_steps(operation.current_step, operation.total_steps)]
    if operation.status == Status.QUEUED:
        parts = ["queued"]
    if operation.rate:
        parts.append(format_rate(operation.rate))
    if left := running.time_left(operation):
        parts.append(left)
    if operation.is_cancelling:
        parts.append("cancelling")
    if running.is_stale(operation):
        parts.append(f"no heartbeat for {format_duration(operation.heartbeat_age)}")
    return " · ".join(parts)


def draw_throughput(samples: tuple[Sample, ...]) -> None:
    """Draw the steps per second of all active operations over the latest reads."""
    window = timedelta(seconds=SAMPLES * resources.SETTINGS.poll_interval)
    end = samples[-1].at if samples else datetime.now(UTC)
    # The axis begins where the first sample will leave the window.
    points: list[Point] = [(end - window, None), (end, None)]
    points += [(sample.at, sample.rate) for sample in samples]
    st.altair_chart(over_time(points, "Steps per second", HEIGHT - 50, top=1))


if selected := history.selected():
    history.clear_selected()
    st.switch_page("app_pages/run.py", query_params={"operation": selected})

st.set_page_config(page_title=f"Board · {resources.SETTINGS.title}", layout="wide")
with st.container(horizontal=True, vertical_alignment="center"):
    st.title("Board", width="stretch")
    st.toggle(
        "Live",
        key="live",
        on_change=polling.resume,
        help="Keep polling while no operation is active. Active operations are polled anyway.",
    )
if polling.is_paused():
    running.draw_paused("The operations go on without it.")
snapshot = read_overview()
if is_live(snapshot) and not polling.is_paused():
    polling.begin("board")
    live_board()
else:
    draw(snapshot)
st.header("History", anchor=False)
history_table.draw()
