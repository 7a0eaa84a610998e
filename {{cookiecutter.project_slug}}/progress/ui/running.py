"""How a running operation is drawn at each tick: bar, latest steps, times."""

import html
import time
from datetime import UTC, datetime

import streamlit as st

from progress.operation import Operation, Status
from progress.session import polling, resources
from progress.session.tracking import Entry
from progress.text import as_line
from progress.ui.bars import SMALL
from progress.ui.formats import (
    escape_markdown,
    format_attempts,
    format_duration,
    format_metric,
    format_parameters,
    format_rate,
    format_steps,
    format_time,
)
from progress.ui.timeline import accent_color, timeline
from progress.ui.titles import operation_title

STYLE = """<style>
/* The bar of an unknown total: dashes, or a part that moves. A full bar would look finished. */
.unknown-total { height: .5rem; margin-top: .25rem; border-radius: 4px; overflow: hidden;
  background: color-mix(in srgb, currentColor 20%, transparent) }
.unknown-total div { height: 100%;
  background: repeating-linear-gradient(90deg, currentColor 0 .5rem, transparent 0 1.5rem) }
@media (prefers-reduced-motion: no-preference) {
  .moving div { width: 30%; border-radius: 4px; background: currentColor;
    animation: moving 2s ease-in-out infinite alternate } }
@keyframes moving { to { transform: translateX(233.3%) } }
/* Shows itself, and counts seconds, unless the next tick replaces it: see `late_sign`. Streamlit
   drops a style that contains the sign before "integer", hence its code. */
@property --late { syntax: "\\3c integer>"; inherits: false; initial-value: 0 }
.late { visibility: hidden; animation: late 3600s linear forwards;
  counter-reset: late calc(var(--late) + var(--after)) }
.late::after { content: "· no update for " counter(late) " s" }
@keyframes late { from { visibility: visible } to { visibility: visible; --late: 3600 } }
/* Streamlit's own download of a table writes formulas as they are; `table_as_csv` does not. */
.stElementToolbar [aria-label="Download as CSV"] { display: none }
</style>"""
"""What streamlit_app.py adds to all pages."""


def title(entry: Entry) -> str:
    """Return what a page calls a tracked operation. It is data, not Markdown."""
    return operation_title(entry.job, entry.subject) if entry.job else entry.operation_id


def draw(entry: Entry, ended_steps: int) -> None:
    """Draw how far an operation is, and its latest ended steps.

    Few elements: each is a message to each viewer at each tick. And always the same number:
    messages may arrive one by one, and what is below would jump.
    """
    operation = entry.operation
    draw_bar(title(entry), headline(operation), operation)
    st.html(
        loops(operation)
        + timeline(operation, ended_steps, accent_color())
        + figures(operation, entry.age)
    )
    if operation:
        draw_warnings(operation)


def draw_bar(name: str, text: str, operation: Operation | None) -> None:
    """Draw how far an operation is, as two lines of text and a bar."""
    if operation and operation.status == Status.IN_PROGRESS and operation.progress is None:
        # st.progress has no bar for an unknown total. This one is an element of its own, whose HTML
        # never changes: else its movement would start again at every tick.
        moving = "moving" if polling.is_polling() else ""
        with st.container(gap=None):
            st.html(f'<div style="{SMALL}">{html.escape(name)}<br>{html.escape(text)}</div>')
            st.html(
                '<div role="progressbar" aria-label="In progress, the total is unknown"'
                f' class="unknown-total {moving}" style="color:{accent_color()}"><div></div></div>'
            )
    else:
        progress = (operation.progress if operation else None) or 0.0
        st.progress(progress, text=f"{escape_markdown(name)}  \n{escape_markdown(text)}")


def headline(operation: Operation | None) -> str:
    """Return how far an operation is, in words."""
    if operation is None:
        return "Waiting for the first update"
    if operation.status == Status.QUEUED:
        if operation.queue_position is not None and operation.queue_position > 1:
            return f"Queued: number {operation.queue_position:,} in the queue"
        waits_for = "the next attempt" if operation.live.retry_reason else "a worker"
        return f"Queued: waiting for {waits_for}"
    if not (operation.current_step or operation.total_steps):
        return "In progress"  # some services have no steps
    done = format_steps(operation.current_step, operation.total_steps)
    return f"{done} so far" if operation.total_steps is None else done


def loops(operation: Operation | None) -> str:
    """Return the loops of the current step as HTML, each with a bar; and the metrics of the job."""
    if operation is None or operation.status.is_terminal:
        return ""
    parts = [
        f'<div style="{SMALL};display:flex;gap:.75rem;align-items:center">'
        f"<span>{html.escape(bar.description)}</span>"
        f'<progress max="{bar.total or 1}" value="{bar.done}" aria-label="'
        f'{html.escape(bar.description)}" style="flex:1;accent-color:{accent_color()}"></progress>'
        f"<span>{format_steps(bar.done, bar.total, 'item')}</span></div>"
        for bar in operation.live.bars
    ]
    if metrics := operation.live.metrics:
        text = " · ".join(f"{name}: {format_metric(value)}" for name, value in metrics.items())
        parts.append(f'<div style="{SMALL}">{html.escape(as_line(text))}</div>')
    return "".join(parts)


def figures(operation: Operation | None, age: float = 0.0) -> str:
    """Return times, rate and counts, as two lines of HTML; and their `age`, unless it is 0."""
    times, counts = [], []
    if operation:
        times.append(f"Elapsed {format_duration(operation.elapsed)}")
        if age:
            times.append(f"as of {format_duration(age)} ago")
        elif left := time_left(operation):
            times.append(left)
        if operation.rate is not None:
            counts.append(format_rate(operation.rate))
        if operation.failed_steps:
            counts.append(f"{operation.failed_steps:,} failed so far")
        if attempts := format_attempts(operation):
            counts.append(attempts)
        if operation.retry_of:
            counts.append(f"retry of {operation.retry_of[:8]}")
        if operation.options.parameters:  # two runs of a subject may differ in nothing else
            counts.append(format_parameters(operation.options.parameters))
    # Two lines from the first tick on, so that nothing jumps when the second one fills.
    first, second = [html.escape(" · ".join(parts)) or "&nbsp;" for parts in (times, counts)]
    lines = f"{first} {late_sign()}<br>{second}"
    return f'<p style="{SMALL};margin:.5rem 0 0;opacity:.6">{lines}</p>'


def late_sign() -> str:
    """Return HTML that the browser shows if no tick replaces it; "" on a page that does not poll.

    If packets are lost, or the server hangs, a browser is not told: the connection stays open.
    """
    if not polling.is_polling():
        return ""
    after = round(max(4 * polling.interval(), 5))
    style = f"--after:{after};animation-delay:{after}s"
    # The time makes it another element at each tick, also where nothing else changes.
    return f'<span class="late" data-at="{time.monotonic()}" style="{style}"></span>'


def time_left(operation: Operation) -> str:
    """Return how long an operation will take, in words; "" if nobody can tell."""
    if operation.remaining is None or operation.is_cancelling or is_stale(operation):
        return ""
    if operation.remaining == 0:
        return "longer than usual"
    return f"about {format_duration(max(operation.remaining, 1))} left"


def is_stale(operation: Operation) -> bool:
    """Return whether the worker may be gone."""
    return operation.heartbeat_age > resources.SETTINGS.stale_after


def draw_warnings(operation: Operation) -> None:
    """Draw what a viewer who waits for the operation should know."""
    if operation.is_cancelling:
        st.info("Cancelling: waiting for the job to stop.", icon=":material/hourglass_top:")
    if is_stale(operation):
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
    now = format_time(datetime.now(UTC), st.context.timezone)
    st.info(
        f"Paused after {budget} without interaction. {meanwhile} What is below is as of {now}.",
        icon=":material/pause_circle:",
    )
    st.button("Resume", key="resume", on_click=polling.resume)
