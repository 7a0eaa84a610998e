"""The page that starts, follows and cancels operations, and shows how they ended."""

from contextlib import nullcontext

import streamlit as st

from progress.contract import BackendError
from progress.operation import Query
from progress.reporter import jobs_module
from progress.session import live, tracking
from progress.settings import load_settings
from progress.text import truncate
from progress.ui import outcome, running
from progress.ui.formats import escape_markdown, format_datetime, format_duration

# Comments, not docstrings: in a page, Streamlit draws a string that stands alone.
HISTORY = 5  # operations in the history of a subject

settings = load_settings()
jobs = jobs_module()


def chosen() -> tuple[str, str | None]:
    """Return the job and the subject that are chosen on the page."""
    return st.session_state.get("job", next(iter(jobs.JOBS))), st.session_state["subject"]


def start_operation() -> None:
    """Start what is chosen on the page."""
    job, subject = chosen()
    if subject is not None:
        live.start(job, subject)


def draw_start() -> None:
    """Draw the start button, and why it cannot be pressed."""
    job, subject = chosen()
    reason = ""
    if subject is None:
        reason = "There is nothing to work on."
    elif tracking.is_watched(job, subject):
        reason = "This job is at work on this subject: see below."
    elif tracking.is_full():
        reason = f"This page follows {tracking.MOST} operations, which is all it can."
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            escape_markdown(settings.operation),
            key="start",
            type="primary",
            icon=":material/play_arrow:",
            on_click=start_operation,
            disabled=bool(reason),
        )
        if len(tracking.watched()) == 1:
            draw_controls(next(one for one in tracking.followed() if not one.ended), "")
    if reason:
        st.caption(reason)


def draw_rows() -> None:
    """Draw a row of buttons for each operation, if there are several."""
    running = [one for one in tracking.followed() if not one.ended]
    if len(running) < 2:
        return
    for one in running:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.text(one.name, width="stretch")
            draw_controls(one, f"-{one.operation_id}")


def draw_controls(one: tracking.Followed, suffix: str) -> None:
    """Draw the buttons of an operation that runs; `suffix` makes their keys its own."""
    operation = one.operation
    if operation is None or operation.owner == live.owner():
        # Whoever asked: another tab may have, and after a reload this session does not know.
        cancelling = one.cancelling or (operation is not None and operation.is_cancelling)
        st.button(
            "Cancelling" if cancelling else "Cancel",
            key=f"cancel{suffix}",
            icon=":material/close:",
            on_click=live.cancel,
            args=(one.operation_id,),
            disabled=cancelling,
        )
    st.button(
        "Stop following",
        key=f"unwatch{suffix}",
        icon=":material/visibility_off:",
        type="tertiary",
        help="The operation goes on without this page.",
        on_click=tracking.unwatch,
        args=(one.operation_id,),
    )
    outcome.draw_origin(one)


def draw_history(subject: str) -> None:
    """Draw the latest operations on a subject, once somebody asks for them."""
    history = st.expander(
        "History of this subject", key="history", icon=":material/history:", on_change="rerun"
    )
    if not history.open:
        return
    owner = None if settings.shared else live.owner()
    with history:
        try:
            operations = live.backend().recent(Query(owner, subject=subject, limit=HISTORY))
        except BackendError as error:
            st.warning("The history cannot be read just now.", icon=":material/cloud_off:")
            st.text(str(error))
            return
        if not operations:
            st.text("There is no operation on it yet.")
        for operation in operations:
            when = format_datetime(operation.created_at, st.context.timezone)
            words = f"{operation.status.replace('_', ' ')}, {format_duration(operation.elapsed)}"
            st.button(
                escape_markdown(f"{truncate(operation.job, 200)}, {when}: {words}"),
                key=f"history-{operation.operation_id}",
                type="tertiary",
                icon=outcome.ICONS[operation.status],
                on_click=live.follow,
                args=(operation.operation_id,),
                disabled=tracking.is_full() or tracking.find(operation.operation_id) is not None,
            )


@st.fragment(run_every=live.interval())
def live_progress() -> None:
    """Show how far the watched operations are, at every tick, until the last has ended.

    Display only, and without arguments: they would freeze at the last full run. One fragment for
    all of them: one timer, and one full run for all that ended since the last tick.
    """
    if not tracking.watched():
        st.stop()  # A tick that was under way when the last watch ended.
    if live.idle():
        live.pause()
        st.rerun(scope="app")
    if live.crowd_has_gone():
        live.forget_interval()
        st.rerun(scope="app")
    snapshots = live.look()
    if ended := live.ended(snapshots):
        tracking.settle(ended)
        st.rerun(scope="app")
    alone = len(snapshots) == 1
    for one in tracking.followed():
        if not one.ended:
            with nullcontext() if alone else st.container(border=True):
                running.draw(one, 5 if alone else 1)
    if errors := [snapshot.error for snapshot in snapshots.values() if snapshot.error]:
        st.warning(
            "The progress cannot be read just now. The operation is not affected;"
            " this page goes on asking.",
            icon=":material/cloud_off:",
        )
        st.text("\n".join(dict.fromkeys(map(str, errors))))


live.follow_url()

st.title(escape_markdown(settings.title))
st.caption(escape_markdown(settings.description))
if len(jobs.JOBS) > 1:
    st.selectbox("Job", list(jobs.JOBS), key="job")
st.selectbox("Subject", jobs.subjects(), key="subject")
draw_start()
draw_rows()
live.show_problem()

if tracking.watched():
    if live.paused():
        live.offer_resume("The operations go on without it.")
    else:
        live_progress()
for ended in tracking.outcomes():
    with st.container(border=len(tracking.followed()) > 1):
        outcome.draw(ended)
    ended.tell_until = 0
if (subject := chosen()[1]) is not None:
    draw_history(subject)
