"""How a running operation is drawn at each tick: bar, latest steps, times."""

import html

import streamlit as st

from progress.operation import Operation, Status
from progress.session import polling, resources
from progress.session.tracking import Entry
from progress.ui.bars import SMALL, bar
from progress.ui.formats import escape_markdown, format_duration, format_rate, format_steps
from progress.ui.timeline import accent_color, timeline


def draw(entry: Entry, ended_steps: int) -> None:
    """Draw how far an operation is, and its latest ended steps.

    Few elements: each is a message to each viewer at each tick. And always the same number:
    messages may arrive one by one, and what is below would jump.
    """
    operation = entry.operation
    draw_bar(entry.name, headline(operation), operation)
    st.html(timeline(operation, ended_steps, accent_color()) + figures(operation))
    if operation:
        draw_warnings(operation)


def draw_bar(name: str, text: str, operation: Operation | None) -> None:
    """Draw how far an operation is, as two lines of text and a bar."""
    if operation and operation.status == Status.IN_PROGRESS and operation.progress is None:
        st.html(bar(name, text, operation, accent_color()))  # st.progress has no such bar
    else:
        progress = (operation.progress if operation else None) or 0.0
        st.progress(progress, text=f"{escape_markdown(name)}  \n{escape_markdown(text)}")


def headline(operation: Operation | None) -> str:
    """Return how far an operation is, in words."""
    if operation is None:
        return "Waiting for the first update"
    if operation.status == Status.QUEUED:
        return "Queued: waiting for a worker"
    done = format_steps(operation.current_step, operation.total_steps)
    return f"{done} so far" if operation.total_steps is None else done


def figures(operation: Operation | None) -> str:
    """Return times, rate and counts, as two lines of HTML."""
    times, counts = [], []
    if operation:
        times.append(f"Elapsed {format_duration(operation.elapsed)}")
        if operation.remaining is not None:
            times.append(f"about {format_duration(operation.remaining)} left")
        if operation.rate is not None:
            counts.append(format_rate(operation.rate))
        if operation.failed_steps:
            counts.append(f"{operation.failed_steps:,} failed so far")
        if operation.attempt > 1:
            counts.append(f"attempt {operation.attempt}")
        if operation.retry_of:
            counts.append(f"retry of {operation.retry_of[:8]}")
    # Two lines from the first tick on, so that nothing jumps when the second one fills.
    lines = [html.escape(" · ".join(parts)) or "&nbsp;" for parts in (times, counts)]
    return f'<p style="{SMALL};margin:.5rem 0 0;opacity:.6">{"<br>".join(lines)}</p>'


def draw_warnings(operation: Operation) -> None:
    """Draw what a viewer who waits for the operation should know."""
    if operation.is_cancelling:
        st.info("Cancelling: waiting for the job to stop.", icon=":material/hourglass_top:")
    if operation.heartbeat_age > resources.SETTINGS.stale_after:
        st.warning(
            f"No heartbeat for {format_duration(operation.heartbeat_age)}."
            " The worker may be busy or gone; this page keeps polling.",
            icon=":material/bedtime:",
        )
    if operation.problem:
        st.warning("The stored progress is partly invalid:", icon=":material/rule:")
        st.text(operation.problem)


def draw_paused(meanwhile: str) -> None:
    """Draw why the page stopped polling, and a button to resume; `meanwhile` is what goes on."""
    budget = format_duration(resources.SETTINGS.idle_budget)
    st.info(
        f"Paused after {budget} without interaction. {meanwhile}", icon=":material/pause_circle:"
    )
    st.button("Resume", key="resume", on_click=polling.resume)
