"""How an operation that is at work is drawn, tick by tick: bar, latest steps, figures."""

import html

import streamlit as st

from progress import live, watching
from progress.operation import Operation, Status
from progress.text import duration, pace, plain, steps
from progress.timeline import timeline

# CSS of a label and of a bar that look like those of st.progress, and are as high.
_SMALL = "font-size:.875rem;line-height:1.5"
_LABEL = f"{_SMALL};margin-bottom:-.25rem"
_BAR = "display:block;width:100%;height:.5rem;margin-top:-.5rem"


def draw(one: watching.Followed, lines: int) -> None:
    """Draw how far an operation is, and its latest `lines` steps.

    Few elements: each is a message to each viewer at each tick.
    """
    operation, news = one.operation, newest(one.operation)
    if operation and operation.status is Status.IN_PROGRESS and operation.progress is None:
        st.html(f'<div style="{_LABEL}">{html.escape(one.name)}<br>{news}</div>')
        # An HTML progress element without a value is an indeterminate bar; st.progress has none.
        # Its HTML stays the same: one that is drawn anew would begin its movement anew.
        scheme = st.context.theme.type or "light"
        style = f"{_BAR};accent-color:{live.accent()};color-scheme:{scheme}"
        st.html(f'<progress aria-label="In progress" style="{style}">')
    else:
        progress = (operation.progress if operation else None) or 0.0
        st.progress(progress, text=f"{plain(one.name)}  \n{news}")
    st.html(timeline(operation, lines, live.accent()) + figures(operation))
    if operation:
        draw_warnings(operation)


def newest(operation: Operation | None) -> str:
    """Return what the bar says of how far it is."""
    if operation is None:
        return "Waiting for the first news"
    if operation.status is Status.QUEUED:
        return "Queued: waiting for a worker"
    done = steps(operation.current_step, operation.total_steps)
    return f"{done} so far" if operation.total_steps is None else done


def figures(operation: Operation | None) -> str:
    """Return times, rate and what else is known of it, as two lines of HTML."""
    times, work = [], []
    if operation:
        times.append(f"Elapsed {duration(operation.elapsed)}")
        if operation.remaining is not None:
            times.append(f"about {duration(operation.remaining)} left")
        if operation.rate is not None:
            work.append(pace(operation.rate))
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
    if operation.silence > live.SETTINGS.quiet_after:
        st.warning(
            f"Quiet: no sign from the worker for {duration(operation.silence)}."
            " It may be busy or gone; this page goes on watching.",
            icon=":material/bedtime:",
        )
    if operation.problem:
        st.warning("The stored progress makes no sense in part:", icon=":material/rule:")
        st.text(operation.problem)
