"""The page that shows every operation at a glance: figures, those that are active, the history."""

from datetime import UTC, datetime, timedelta

import streamlit as st

from progress.contract import BackendError
from progress.operation import Operation, Query, Status
from progress.overview import FORGET_AFTER, SAMPLES, Overview, Overviews, Sample
from progress.poller import Poller, Snapshot
from progress.reporter import jobs_module
from progress.session import live
from progress.text import truncate
from progress.ui import running
from progress.ui.charts import Point, over_time
from progress.ui.formats import format_duration, format_rate, format_steps, format_time

# Comments, not docstrings: in a page, Streamlit draws a string that stands alone.
PAGE = 50  # rows of the history on one page
HEIGHT = (
    340  # pixels of what is active, and of the chart: nothing jumps when operations come and go
)
SINCE = {
    "Last hour": timedelta(hours=1),
    "Last 24 hours": timedelta(days=1),
    "Last 7 days": timedelta(days=7),
}
FILTERS = ("filter_job", "filter_status", "filter_since", "filter_owner")
WORDS = {status: status.replace("_", " ").capitalize() for status in Status}
COLOURS = {
    "Queued": "gray",
    "In progress": "blue",
    "Cancelling": "yellow",
    "Completed": "green",
    "Partial": "orange",
    "Failed": "red",
    "Cancelled": "gray",
}

# Keys of the session state.
_FOLLOWING = "board_following"
_BEFORE = "history_before"  # where the pages begin that were turned to, the latest last
_CHOSEN = "history_filters"


@st.cache_resource(show_spinner=False)
def overviews() -> Poller[Overview]:
    """Return the poller of overviews that all sessions share."""
    reader = Overviews(live.backend, everybody=live.SETTINGS.shared)
    return Poller(reader.read, live.SETTINGS.poll_interval, forget_after=FORGET_AFTER)


def look() -> Snapshot[Overview]:
    """Return what is known of the operations that who is looking may see."""
    return overviews().read("" if live.SETTINGS.shared else live.owner())


def is_live(snapshot: Snapshot[Overview]) -> bool:
    """Return whether there is something to follow, or somebody wants to wait for it."""
    overview = snapshot.value
    active = overview is not None and overview.active_count > 0
    return active or not snapshot.known or bool(st.session_state.get("live"))


@st.fragment(run_every=live.interval())
def live_board() -> None:
    """Draw the overview at every tick, until nothing is active any more.

    Display only, and without arguments: they would freeze at the last full run.
    """
    if not st.session_state.get(_FOLLOWING):
        st.stop()  # A tick that was under way when the last full run ended the polling.
    if live.idle():
        live.pause()
        st.session_state.pop(_FOLLOWING)
        st.rerun(scope="app")
    if live.crowd_has_gone():
        live.forget_interval()
        st.rerun(scope="app")
    snapshot = look()
    if not is_live(snapshot):
        # The full run follows again only what a later read has found: it cannot loop.
        st.session_state.pop(_FOLLOWING)
        st.rerun(scope="app")
    draw(snapshot)


def draw(snapshot: Snapshot[Overview]) -> None:
    """Draw the figures, what is active, and the throughput."""
    overview = snapshot.value or Overview({}, (), ())
    with st.container(horizontal=True, gap="small"):
        for status, word in WORDS.items():
            count = f"{overview.counts.get(status, 0):,}" if snapshot.value else "?"
            st.metric(word, count, border=True)
    left, right = st.columns([3, 2])
    with left.container(height=HEIGHT):
        draw_active(overview)
    with right.container(height=HEIGHT):
        draw_throughput(overview.samples)
    if snapshot.error is not None:
        st.warning("The operations cannot be read just now.", icon=":material/cloud_off:")
        st.text(str(snapshot.error))


def draw_active(overview: Overview) -> None:
    """Draw a bar for each active operation that is named."""
    if not overview.active:
        st.caption("Nothing is active. What is started shows here, with how far it is.")
    for operation in overview.active:
        draw_bar(operation)
    if (more := overview.active_count - len(overview.active)) > 0:
        st.caption(f"and {more:,} more")


def draw_bar(operation: Operation) -> None:
    """Draw how far one operation is, how fast it goes and how long it will take."""
    parts = [format_steps(operation.current_step, operation.total_steps)]
    if operation.status is Status.QUEUED:
        parts = ["queued"]
    if operation.rate:
        parts.append(format_rate(operation.rate))
    if operation.remaining is not None:
        parts.append(f"about {format_duration(operation.remaining)} left")
    if operation.is_cancelling:
        parts.append("cancelling")
    if operation.heartbeat_age > live.SETTINGS.stale_after:
        parts.append(f"quiet for {format_duration(operation.heartbeat_age)}")
    name, news = truncate(f"{operation.job}: {operation.subject}", 200), " · ".join(parts)
    running.draw_bar(name, news, operation)


def draw_throughput(samples: tuple[Sample, ...]) -> None:
    """Draw the steps per second of all active operations over the latest reads."""
    window = timedelta(seconds=SAMPLES * live.SETTINGS.poll_interval)
    end = samples[-1].at if samples else datetime.now(UTC)
    # The axis begins where the first sample will leave the window.
    points: list[Point] = [(end - window, None), (end, None)]
    points += [(sample.at, sample.rate) for sample in samples]
    st.altair_chart(over_time(points, "Steps per second", HEIGHT - 50, top=1))


def row(operation: Operation) -> dict[str, object]:
    """Return what one line of the history shows."""
    cells: dict[str, object] = {
        "Status": ["Cancelling" if operation.is_cancelling else WORDS[operation.status]],
        "Job": truncate(operation.job),
        "Subject": truncate(operation.subject),
        "Progress": None if operation.progress is None else round(100 * operation.progress),
        "Asked for": operation.created_at,
        "Took": format_duration(operation.elapsed),
    }
    if live.SETTINGS.shared:
        cells["Owner"] = truncate(operation.owner)
    return cells


def open_chosen() -> None:
    """Remember the row that was clicked, in the table as it was drawn then."""
    for number in st.session_state["board"].selection.rows:
        st.session_state["picked"] = st.session_state["drawn"][number]


def keep_filters() -> None:
    """Begin at the first page, and keep the filters: Streamlit forgets them with the page."""
    st.session_state[_BEFORE] = []
    st.session_state[_CHOSEN] = {key: st.session_state.get(key) for key in FILTERS}


def clear_filters() -> None:
    """Show everything."""
    st.session_state[_BEFORE] = []
    st.session_state[_CHOSEN] = {}
    for key in FILTERS:
        st.session_state.pop(key, None)


def draw_filters() -> None:
    """Offer what the history can be narrowed to."""
    for key, value in st.session_state.get(_CHOSEN, {}).items():
        if key not in st.session_state and value:
            st.session_state[key] = value
    with st.container(horizontal=True):
        st.selectbox(
            "Job",
            list(jobs_module().JOBS),
            index=None,
            placeholder="Any",
            key="filter_job",
            on_change=keep_filters,
            width=165,
        )
        st.selectbox(
            "Asked for",
            list(SINCE),
            index=None,
            placeholder="At any time",
            key="filter_since",
            on_change=keep_filters,
            width=160,
        )
        if live.SETTINGS.shared:
            st.selectbox(
                "Owner",
                [live.owner()] if live.owner() else [],
                index=None,
                placeholder="Anybody",
                accept_new_options=True,
                key="filter_owner",
                on_change=keep_filters,
                width=165,
            )
        st.multiselect(
            "Status",
            list(Status),
            format_func=WORDS.__getitem__,
            placeholder="Any",
            key="filter_status",
            on_change=keep_filters,
        )


def query() -> Query:
    """Return what the filters ask for, with a row more than a page has: is there another page?"""
    state = st.session_state
    since = SINCE.get(state.get("filter_since") or "")
    pages = state.setdefault(_BEFORE, [])
    return Query(
        owner=state.get("filter_owner") if live.SETTINGS.shared else live.owner(),
        job=state.get("filter_job"),
        statuses=frozenset(state.get("filter_status") or ()),
        since=datetime.now(UTC) - since if since else None,
        before=pages[-1] if pages else None,
        limit=PAGE + 1,
    )


def turn_to(pages: list[tuple[datetime, str]]) -> None:
    """Show another page. The button knows which: the other half of a double click changes nothing.

    Args:
        pages: Where the pages begin that were turned to, the latest last.
    """
    st.session_state[_BEFORE] = pages


def draw_history() -> None:
    """Draw a page of the history, as it was when somebody last touched the page."""
    asked = query()
    try:
        operations = live.backend().recent(asked)
    except BackendError as error:
        st.error("The history cannot be read just now.", icon=":material/cloud_off:")
        st.text(str(error))
        st.button("Try again", icon=":material/refresh:")
        return
    pages = st.session_state[_BEFORE]
    if not operations:
        draw_no_history(asked, pages)
        return
    shown = operations[:PAGE]
    st.session_state["drawn"] = [operation.operation_id for operation in shown]
    st.caption("Select a row to follow the operation or to see its result.")
    st.dataframe(
        [row(operation) for operation in shown],
        hide_index=True,
        key="board",  # without one, a table with newer figures would be another table
        on_select=open_chosen,
        selection_mode="single-row",
        column_config={
            # For its colours: there is one value in each cell.
            "Status": st.column_config.MultiselectColumn(
                options=list(COLOURS), color=list(COLOURS.values())
            ),
            "Progress": st.column_config.ProgressColumn(format="%d %%", min_value=0, max_value=100),
            "Asked for": st.column_config.DatetimeColumn(
                format="D MMM YYYY, HH:mm:ss", timezone=st.context.timezone
            ),
        },
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        draw_newer(pages)
        st.button(
            "Older",
            key="older",
            icon=":material/arrow_forward:",
            on_click=turn_to,
            args=([*pages, (shown[-1].created_at, shown[-1].operation_id)],),
            disabled=len(operations) <= PAGE,
        )
        st.button("Refresh", key="refresh", icon=":material/refresh:")
        first = len(pages) * PAGE + 1
        now = format_time(datetime.now(UTC), st.context.timezone)
        st.caption(f"{first:,} to {first + len(shown) - 1:,}, as of {now}")


def draw_newer(pages: list[tuple[datetime, str]]) -> None:
    """Draw the button that turns back a page."""
    st.button(
        "Newer",
        key="newer",
        icon=":material/arrow_back:",
        on_click=turn_to,
        args=(pages[:-1],),
        disabled=not pages,
    )


def draw_no_history(asked: Query, pages: list[tuple[datetime, str]]) -> None:
    """Say why there is nothing, and what to do about it."""
    if asked.before is not None:
        st.info("There is nothing older.", icon=":material/inbox:")
        draw_newer(pages)
    elif asked.job or asked.statuses or asked.since or (live.SETTINGS.shared and asked.owner):
        st.info("No operation matches these filters.", icon=":material/filter_alt_off:")
        st.button("Clear the filters", key="clear", on_click=clear_filters)
    else:
        st.info("There is no operation yet.", icon=":material/inbox:")
        if st.button("Start one", key="start_one", icon=":material/play_arrow:", type="primary"):
            st.switch_page("app_pages/run.py")


if picked := st.session_state.pop("picked", None):
    st.switch_page("app_pages/run.py", query_params={"operation": picked})

st.set_page_config(
    page_title=f"Board · {live.SETTINGS.title}", page_icon=":material/view_list:", layout="wide"
)
live.touch("board")
with st.container(horizontal=True, vertical_alignment="center"):
    st.title("Board", width="stretch")
    st.toggle(
        "Live",
        key="live",
        on_change=live.resume,
        help="Keep polling while nothing is active. What is active is followed anyway.",
    )
if live.paused():
    live.offer_resume("Operations go on without it.")
snapshot = look()
if is_live(snapshot) and not live.paused():
    st.session_state[_FOLLOWING] = True
    live_board()
else:
    st.session_state.pop(_FOLLOWING, None)
    draw(snapshot)
st.subheader("History")
draw_filters()
draw_history()
