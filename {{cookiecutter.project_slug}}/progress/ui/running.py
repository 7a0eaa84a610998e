"""How an operation that is at work is drawn, tick by tick: bar, latest steps, figures."""

import html

import streamlit as st

from progress.operation import Operation, Status
from progress.session import live, tracking
from progress.ui.formats import escape_markdown, format_duration, format_rate, format_steps
from progress.ui.timeline import timeline

_SMALL = "font-size:.875rem;line-height:1.5"  # CSS of text like that of st.progress


def draw(one: tracking.Followed, lines: int) -> None:
    """Draw how far an operation is, and its latest `lines` steps.

    Few elements: each is a message to each viewer at each tick. And always as many: messages may
    arrive one by one, and what stands below would jump.
    """
    operation = one.operation
    draw_bar(one.name, newest(operation), operation)
    st.html(timeline(operation, lines, live.accent()) + figures(operation))
    if operation:
        draw_warnings(operation)


def draw_bar(name: str, news: str, operation: Operation | None) -> None:
    """Draw how far an operation is, as two lines of text and a bar."""
    if operation and operation.status is Status.IN_PROGRESS and operation.progress is None:
        # st.progress has no bar for an unknown total. Stripes that move would jump at every tick.
        colour = live.accent()
        pale = f"color-mix(in srgb,{colour} 33%,transparent)"
        stripes = f"repeating-linear-gradient(-45deg,{colour} 0 8px,{pale} 8px 16px)"
        st.html(
            f'<div style="{_SMALL}">{html.escape(name)}<br>{html.escape(news)}</div>'
            '<div role="progressbar" aria-label="In progress, the total is unknown"'
            f' style="height:.5rem;margin-top:.25rem;border-radius:4px;background:{stripes}"></div>'
        )
    else:
        progress = (operation.progress if operation else None) or 0.0
        st.progress(progress, text=f"{escape_markdown(name)}  \n{escape_markdown(news)}")


def newest(operation: Operation | None) -> str:
    """Return what the bar says of how far it is."""
    if operation is None:
        return "Waiting for the first news"
    if operation.status is Status.QUEUED:
        return "Queued: waiting for a worker"
    done = format_steps(operation.current_step, operation.total_steps)
    return f"{done} so far" if operation.total_steps is None else done


def figures(operation: Operation | None) -> str:
    """Return times, rate and what else is known of it, as two lines of HTML."""
    times, work = [], []
    if operation:
        times.append(f"Elapsed {format_duration(operation.elapsed)}")
        if operation.remaining is not None:
            times.append(f"about {format_duration(operation.remaining)} left")
        if operation.rate is not None:
            work.append(format_rate(operation.rate))
        if operation.failed_steps:
            work.append(f"{operation.failed_steps:,} failed so far")
        if operation.attempt > 1:
            work.append(f"attempt {operation.attempt}")
        if operation.retry_of:
            work.append(f"retry of {operation.retry_of[:8]}")
    # Two lines from the first tick on, so that nothing jumps when the second one fills.
    words = [html.escape(" · ".join(line)) or "&nbsp;" for line in (times, work)]
    return f'<p style="{_SMALL};margin:.5rem 0 0;opacity:.6">{"<br>".join(words)}</p>'


def draw_warnings(operation: Operation) -> None:
    """Draw what who is waiting for it should know."""
    if operation.is_cancelling:
        st.info("Cancelling: waiting for the job to stop.", icon=":material/hourglass_top:")
    if operation.heartbeat_age > live.SETTINGS.stale_after:
        st.warning(
            f"Quiet: no sign from the worker for {format_duration(operation.heartbeat_age)}."
            " It may be busy or gone; this page goes on watching.",
            icon=":material/bedtime:",
        )
    if operation.problem:
        st.warning("The stored progress makes no sense in part:", icon=":material/rule:")
        st.text(operation.problem)
