"""The latest steps of an operation, as HTML.

Not `st.status(type="step")`: making one sleeps 50 ms (read in Streamlit 1.67, measured 51 ms), so
twenty steps would take a second of every tick; it takes no key, and its label wraps, so that
elements below it would jump. Here a step is one line of a fixed height, whatever its text.
"""

from html import escape

import streamlit as st

from progress.operation import Operation, Status
from progress.text import as_line
from progress.ui.formats import format_duration

_HEIGHT = 1.75  # rem of a line
_LINE = f"display:flex;align-items:center;gap:.5rem;height:{_HEIGHT}rem;white-space:nowrap"
_ICON = "flex:none;width:1.25rem;overflow:hidden;font:1.25rem 'Material Symbols Rounded'"
_TEXT = "flex:1;overflow:hidden;text-overflow:ellipsis"
_DURATION = "flex:none;opacity:.7;font-variant-numeric:tabular-nums"
_RED = "#e5484d"  # legible on white and on black


def accent_color() -> str:
    """Return the primary color of the theme that the viewer sees, as CSS."""
    dark = st.get_option("theme.dark.primaryColor") if st.context.theme.type == "dark" else None
    return dark or st.get_option("theme.primaryColor") or "currentColor"


def timeline(operation: Operation | None, ended_steps: int, accent: str) -> str:
    """Return an ordered list: the current step, then those that ended, the latest first.

    Its height depends on `ended_steps` alone while the operation runs: nothing below it jumps.

    Args:
        operation: What to draw; None before the first update. Its text is data: it is escaped.
        ended_steps: How many ended steps to draw at most.
        accent: The color of the current step.
    """
    lines = []
    if operation is not None and operation.status == Status.IN_PROGRESS:
        text, duration = "Starting", ""
        if operation.step_description:
            text = f"{operation.current_step + 1:,}. {operation.step_description}"
            since = operation.last_updated or operation.read_at
            duration = format_duration((operation.read_at - since).total_seconds())
        lines.append(_line("pending", text, duration, accent))
    elif operation is not None and operation.failed_in_step:
        text = f"{operation.current_step + 1:,}. {operation.step_description}"
        lines.append(_line("error", text, "failed", _RED))
    for step in reversed(operation.last_steps[-ended_steps:] if operation else ()):
        icon, duration, color = "check", format_duration(step.seconds), "inherit"
        if step.failed:
            icon, duration, color = "error", f"failed, {duration}", _RED
        lines.append(_line(icon, f"{step.number:,}. {step.description}", duration, color))
    # A backend that knows no steps needs no room for them.
    some = operation is None or operation.current_step == 0 or operation.last_steps
    room = 0 if operation and operation.status.is_terminal else 1 + ended_steps * bool(some)
    style = f"list-style:none;margin:0;padding:0;min-height:{_HEIGHT * room}rem"
    return f'<ol aria-label="Latest steps" style="{style}">{"".join(lines)}</ol>'


def _line(icon: str, text: str, duration: str, color: str) -> str:
    shown = escape(as_line(text))
    return (
        f'<li style="{_LINE}"><span aria-hidden="true" style="{_ICON};color:{escape(color)}">'
        f'{icon}</span><span style="{_TEXT}" title="{shown}">{shown}</span>'
        f'<span style="{_DURATION}">{duration}</span></li>'
    )
