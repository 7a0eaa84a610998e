"""The page that starts, follows and cancels one operation, and shows its result."""

import logging
from collections.abc import Callable
from typing import Any

import streamlit as st

from progress import live
from progress.operation import Operation, Status
from progress.reporter import jobs_module
from progress.settings import load_settings
from progress.text import duration, plain, steps

log = logging.getLogger(__name__)
settings = load_settings()
jobs = jobs_module()


def start_operation() -> None:
    """Start what is chosen on the page."""
    live.start(st.session_state.get("job", next(iter(jobs.JOBS))), st.session_state["subject"])


def draw_outcome(ended: live.Outcome) -> None:
    """Draw how the operation ended; no timer is left by now."""
    operation = ended.operation
    if operation is None:
        st.warning(
            "There is no operation with this id, or it is not yours. Start a new one above.",
            icon=":material/help:",
        )
        st.text(ended.operation_id[:200])
        return
    st.text(f"{operation.job}: {operation.subject}")
    done = steps(operation.current_step, operation.total_steps)
    took = duration(operation.elapsed)
    match operation.status:
        case Status.COMPLETED:
            st.success(f"Completed: {done} in {took}.", icon=":material/check_circle:")
        case Status.PARTIAL:
            failed = steps(operation.failed_steps, operation.current_step)
            st.warning(f"Partly completed: {failed} failed, in {took}.", icon=":material/rule:")
            st.code(operation.error or "No reason was given.", language=None, wrap_lines=True)
        case Status.CANCELLED:
            st.info(f"Cancelled after {done}, in {took}.", icon=":material/cancel:")
        case _:
            draw_failure(operation, f"Failed after {done}, in {took}.")
    if operation.problem:
        st.warning("The stored progress makes no sense in part:", icon=":material/rule:")
        st.text(operation.problem)
    draw_result(operation.result or {})


def draw_failure(operation: Operation, headline: str) -> None:
    """Draw the last line of the traceback, and the whole of it on demand."""
    st.error(headline, icon=":material/error:")
    if operation.step_description:
        st.text(f"In step {operation.current_step + 1}: {operation.step_description}")
    st.code(operation.reason or "No reason was given.", language=None, wrap_lines=True)
    if operation.error and "\n" in operation.error.strip():
        # Without a key it would close whenever the page is drawn again.
        with st.expander("Traceback", key="traceback"):
            st.code(operation.error, language=None)


def draw_result(result: dict[str, Any]) -> None:
    """Draw what the job returned: the keys that jobs.py names, and the rest as JSON."""
    draw: dict[str, Callable[[Any], None]] = {
        "metrics": draw_metrics,
        "chart": draw_chart,
        "table": draw_table,
        "notes": draw_notes,
    }
    rest = dict(result)
    for key, draw_part in draw.items():
        if part := rest.get(key):
            try:
                draw_part(part)
            except Exception:
                # Any job may return anything; what cannot be drawn is shown as it came.
                log.exception("The %s of a result cannot be drawn", key)
            else:
                del rest[key]
    if rest:
        st.json(rest, expanded=False)


def draw_metrics(metrics: dict[str, Any]) -> None:
    """Draw named figures side by side."""
    with st.container(horizontal=True, gap="medium"):
        for name, value in metrics.items():
            st.metric(plain(str(name)), plain(str(value)), width="content")


def draw_chart(rows: list[dict[str, Any]]) -> None:
    """Draw the first column as x, and a line for each of the others."""
    x, *lines = rows[0]
    st.line_chart(rows, x=x, y=lines)


def draw_table(rows: list[dict[str, Any]]) -> None:
    """Draw one line for each row."""
    st.dataframe(rows, hide_index=True)


def draw_notes(notes: list[Any]) -> None:
    """Draw plain text, one line each."""
    if isinstance(notes, str):
        notes = [notes]
    for note in notes:
        st.text(str(note))


live.follow_url()
busy = live.watching() is not None

st.title(plain(settings.title))
st.caption(plain(settings.description))
if len(jobs.JOBS) > 1:
    st.selectbox("Job", list(jobs.JOBS), key="job", disabled=busy)
st.selectbox("Subject", jobs.subjects(), key="subject", disabled=busy)
with st.container(horizontal=True):
    st.button(
        plain(settings.operation),
        key="start",
        type="primary",
        icon=":material/play_arrow:",
        on_click=start_operation,
        disabled=busy or st.session_state["subject"] is None,
    )
    if busy:
        st.button(
            "Cancelling" if live.cancelling() else "Cancel",
            key="cancel",
            icon=":material/close:",
            on_click=live.cancel,
            disabled=live.cancelling(),
        )
live.show_problem()

if live.paused():
    live.offer_resume("The operation goes on without it.")
elif busy:
    live.live_progress()
elif (ended := live.outcome()) is not None:
    draw_outcome(ended)
