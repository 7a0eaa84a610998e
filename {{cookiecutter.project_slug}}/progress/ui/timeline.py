"""The latest steps of an operation as HTML. Pure Python, no Streamlit.

Not `st.status(type="step")`: making one sleeps 50 ms (read in Streamlit 1.67, measured 51 ms), so
twenty steps would take a second of every tick; it takes no key, and its label wraps, so that what
stands below would jump. Here a step is one line of a set height, whatever its text.
"""

from html import escape

from progress.operation import Operation, Status
from progress.ui.formats import format_duration

_HEIGHT = 1.75  # rem of a line
_LINE = f"display:flex;align-items:center;gap:.5rem;height:{_HEIGHT}rem;white-space:nowrap"
_ICON = "flex:none;width:1.25rem;overflow:hidden;font:1.25rem 'Material Symbols Rounded'"
_TEXT = "flex:1;overflow:hidden;text-overflow:ellipsis"
_TOOK = "flex:none;opacity:.7;font-variant-numeric:tabular-nums"
_RED = "#e5484d"  # legible on white and on black


def timeline(operation: Operation | None, most: int, accent: str) -> str:
    """Return an ordered list: the step at hand, then those that ended, the latest first.

    Its height depends on `most` alone while the operation runs: nothing below it jumps.

    Args:
        operation: What to draw; None before the first news. Its text is data: it is escaped.
        most: How many ended steps to draw.
        accent: The colour of the step at hand.
    """
    lines = []
    if operation is not None and operation.status is Status.IN_PROGRESS:
        text, took = "Starting", ""
        if operation.step_description:
            text = f"{operation.current_step + 1:,}. {operation.step_description}"
            began = operation.last_updated or operation.read_at
            took = format_duration((operation.read_at - began).total_seconds())
        lines.append(_line("pending", text, took, accent))
    for step in reversed(operation.last_steps[-most:] if operation else ()):
        icon, took, colour = "check", format_duration(step.seconds), "inherit"
        if step.failed:
            icon, took, colour = "error", f"failed, {took}", _RED
        lines.append(_line(icon, f"{step.number:,}. {step.description}", took, colour))
    # A backend that knows no steps needs no room for them.
    some = operation is None or operation.current_step == 0 or operation.last_steps
    room = 0 if operation and operation.status.is_terminal else 1 + most * bool(some)
    style = f"list-style:none;margin:0;padding:0;min-height:{_HEIGHT * room}rem"
    return f'<ol aria-label="Latest steps" style="{style}">{"".join(lines)}</ol>'


def _line(icon: str, text: str, took: str, colour: str) -> str:
    shown = escape(text)
    return (
        f'<li style="{_LINE}"><span aria-hidden="true" style="{_ICON};color:{escape(colour)}">'
        f'{icon}</span><span style="{_TEXT}" title="{shown}">{shown}</span>'
        f'<span style="{_TOOK}">{took}</span></li>'
    )
