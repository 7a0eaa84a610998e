"""How far an operation is, as HTML: two lines of text and a bar."""

from html import escape

from progress.operation import Operation, Status

SMALL = "font-size:.875rem;line-height:1.5"
"""CSS of text like that of st.progress."""
_BAR = "height:.5rem;margin:.25rem 0;border-radius:4px"
_REST = "background:color-mix(in srgb,currentColor 20%,transparent)"
_DONE = "height:100%;border-radius:inherit;background:currentColor"


def bar(name: str, text: str, operation: Operation, accent: str) -> str:
    """Return how far an operation is; all text is data, and is escaped.

    Args:
        name: The first line, and what screen readers call the bar.
        text: The second line.
        operation: Its progress. None of a running operation: the total is unknown.
        accent: The color of the bar, as CSS.
    """
    color = f"color:{escape(accent)}"
    if operation.status == Status.IN_PROGRESS and operation.progress is None:
        state, inner = f'class="unknown-total" style="{color}"', "<div></div>"
    else:
        percent = 100 * (operation.progress or 0.0)
        state = f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent:.0f}"'
        state += f' style="{_BAR};{_REST};{color}"'
        inner = f'<div style="{_DONE};width:{percent:.2f}%"></div>'
    return (
        f'<div style="{SMALL};overflow-wrap:anywhere">{escape(name)}<br>{escape(text)}</div>'
        f'<div role="progressbar" aria-label="{escape(name)}" {state}>{inner}</div>'
    )
