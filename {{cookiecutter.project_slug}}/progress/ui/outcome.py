"""How an outcome is drawn: status, error, result, steps, buttons to retry and dismiss it."""

import re

import streamlit as st

from progress.operation import Operation, Status
from progress.results import merge
from progress.session import choices, commands, tracking
from progress.session.tracking import Entry
from progress.text import truncate
from progress.ui import joblog, result, running
from progress.ui.formats import (
    escape_markdown,
    format_attempts,
    format_datetime,
    format_duration,
    format_parameters,
    format_rate,
    format_status,
    format_steps,
)
from progress.ui.timeline import accent_color, timeline

ICONS = {
    Status.QUEUED: ":material/schedule:",
    Status.IN_PROGRESS: ":material/pending:",
    Status.COMPLETED: ":material/check_circle:",
    Status.PARTIAL: ":material/rule:",
    Status.FAILED: ":material/error:",
    Status.CANCELLED: ":material/cancel:",
}
COLORS = {
    "Queued": "gray",
    "In progress": "blue",
    "Cancelling": "yellow",
    "Completed": "green",
    "Partial": "orange",
    "Failed": "red",
    "Cancelled": "gray",
}
# Not in the output of a process that died, which is indented.
TRACEBACK = re.compile(r"^(  \+ Exception Group )?Traceback ", re.MULTILINE)
SHOWN_LINES = 5  # of the failed steps, the last included; the rest is behind a click


def draw(entry: Entry) -> None:
    """Draw how an operation ended; among several, in a line that opens. The last end is open.

    No fragment: its timer has ended, so there may be buttons.
    """
    if len(tracking.entries()) == 1:
        st.text(running.title(entry))
        draw_content(entry)
        return
    ending, icon = "Unknown", ":gray[:material/help:]"
    if operation := entry.operation:
        status = format_status(operation.status)
        ending = f"{status}, {format_duration(operation.elapsed)}"
        icon = f":{COLORS[status]}[{ICONS[operation.status]}]"
    label = f"{icon} {escape_markdown(f'{running.title(entry)} · {ending}')}"
    is_open = entry is max(tracking.outcomes(), key=ended_at)
    # A browser would leave an expander of the same key as it is when another end is the last.
    key = f"outcome-{'open-' if is_open else ''}{entry.operation_id}"
    with st.expander(label, expanded=is_open, key=key):
        draw_content(entry)


def ended_at(entry: Entry) -> float:
    """Return when an operation ended, as a timestamp; 0 if that is not known."""
    time = entry.operation and entry.operation.finished_at
    return time.timestamp() if time else 0.0


def draw_content(entry: Entry) -> None:
    """Draw status, error, result, steps and buttons of an operation that ended."""
    operation = entry.operation
    if operation is None:
        st.warning(
            "There is no operation with this id, or it is not yours.",
            icon=":material/help:",
        )
        draw_buttons(entry)
        return
    draw_status(operation)
    draw_figures(operation)
    draw_error(operation)
    if operation.problem:
        st.warning("The stored progress is partly invalid:", icon=":material/rule:")
        st.text(operation.problem)
    # A process that died has stored its metrics, and no result.
    metrics = operation.live.metrics
    if found := merge({"metrics": metrics} if metrics else {}, operation.result or {}):
        result.draw(found)
        result.draw_downloads(operation, found)
    count = len(operation.last_steps)
    if count or (operation.failed_in_step and not operation.current_step):
        shown = count + operation.failed_in_step
        label = "Steps" if count == operation.current_step else f"Last {shown} steps"
        with st.expander(label, key=f"steps-{operation.operation_id}", icon=":material/list:"):
            st.html(timeline(operation, count, accent_color()))
    joblog.draw_ended(entry)
    draw_buttons(entry)


def toast(entry: Entry) -> None:
    """Announce an outcome on a page that does not draw it."""
    ending, icon = "Unknown", ":material/help:"
    if operation := entry.operation:
        ending, icon = format_status(operation.status), ICONS[operation.status]
    text = escape_markdown(f"{running.title(entry)} · {ending}")
    st.toast(text, icon=icon, duration="long")


def draw_status(operation: Operation) -> None:
    """Draw the headline."""
    done = format_steps(operation.current_step, operation.total_steps)
    duration = format_duration(operation.elapsed)
    if not (operation.current_step or operation.total_steps):
        done, after = "", duration  # some jobs and services have no steps
    else:
        done, after = f": {done}", f"{done}, in {duration}"
    icon = ICONS[operation.status]
    match operation.status:
        case Status.COMPLETED:
            st.success(f"Completed{done} in {duration}.", icon=icon)
        case Status.PARTIAL:
            if operation.failed_steps:  # 0 if the job reported a failure before its first step
                done = f": {format_steps(operation.failed_steps, operation.current_step)} failed,"
            st.warning(f"Partly completed{done} in {duration}.", icon=icon)
        case Status.CANCELLED:
            st.info(f"Cancelled after {after}.", icon=icon)
        case _:
            st.error(f"Failed after {after}.", icon=icon)


def draw_figures(operation: Operation) -> None:
    """Draw when it ended, its rate, and its attempt."""
    figures = []
    if operation.finished_at is not None:
        figures.append(f"Ended {format_datetime(operation.finished_at, st.context.timezone)}")
    if operation.rate is not None:
        figures.append(format_rate(operation.rate))
    if attempts := format_attempts(operation):
        figures.append(attempts)
    if operation.options.parameters:
        figures.append(format_parameters(operation.options.parameters))
    if figures:
        st.caption(escape_markdown(" · ".join(figures)))


def draw_error(operation: Operation) -> None:
    """Draw the most informative line or the first failed steps, and the whole text on demand."""
    lines = (operation.error or "").splitlines()
    if len(lines) > SHOWN_LINES:
        lines = [*lines[: SHOWN_LINES - 1], "…", lines[-1]]
    label = f"Failed steps: {operation.failed_steps:,}" if operation.failed_steps else "Failures"
    if operation.status == Status.FAILED:
        if operation.failed_in_step:
            st.text(f"In step {operation.current_step + 1:,}: {operation.step_description}")
        lines = [operation.reason or ""]
        label = f"{label}, and the traceback" if operation.failed_steps else "Traceback"
        if not re.search(TRACEBACK, operation.error or ""):
            label = "Details"
    elif not operation.error and operation.status != Status.PARTIAL:
        return
    shown = "\n".join(truncate(line) for line in lines)
    st.code(shown or "No reason was given.", language=None, wrap_lines=True)
    if operation.error and operation.error.strip() != shown:
        # Without a key it would close whenever the page is drawn again.
        with st.expander(label, key=f"error-{operation.operation_id}"):
            st.code(operation.error, language=None, height=400)


def draw_buttons(entry: Entry) -> None:
    """Draw the buttons that retry and dismiss an outcome."""
    operation = entry.operation
    with st.container(horizontal=True, vertical_alignment="center"):
        if operation is not None and operation.status != Status.COMPLETED:
            st.button(
                "Retry",
                key=f"retry-{entry.operation_id}",
                icon=":material/replay:",
                on_click=commands.retry,
                args=(entry.operation_id,),
                disabled=tracking.is_full() or tracking.is_running(entry.start),
            )
        job = choices.find(entry.job)
        if operation is not None and job is not None and job.parameters is not None:
            st.button(
                "Edit and run again",
                key=f"edit-{entry.operation_id}",
                icon=":material/edit:",
                help="Fill the form above with these parameters.",
                on_click=commands.edit,
                args=(entry.operation_id,),
            )
        if operation is not None:
            joblog.draw_toggle(entry)
        draw_origin(entry)
        st.button(
            "Dismiss",
            key=f"dismiss-{entry.operation_id}",
            icon=":material/close:",
            type="tertiary",
            on_click=tracking.untrack,
            args=(entry.operation_id,),
        )


def draw_origin(entry: Entry) -> None:
    """Draw a button that opens the operation that this one repeats."""
    if entry.operation is None or not (origin := entry.operation.retry_of):
        return
    st.button(
        f"Retry of {escape_markdown(origin[:8])}",
        key=f"origin-{entry.operation_id}",
        icon=":material/history:",
        type="tertiary",
        help="Open the operation that this one repeats.",
        on_click=commands.track,
        args=(origin,),
        disabled=tracking.is_full() or tracking.find(origin) is not None,
    )
