"""How far an operation is, as HTML: two lines of text and a bar."""

from html import escape

from progress.operation import Operation, Status

SMALL = "font-size:.875rem;line-height:1.5"
"""CSS of text like that of st.progress."""
_BAR = "height:.5rem;margin-top:.25rem;border-radius:4px"


def bar(name: str, text: str, operation: Operation, accent: str) -> str:
    """Return how far an operation is; all text is data, and is escaped.

    Args:
        name: The first line, and what screen readers call the bar.
        text: The second line.
        operation: Its progress. None of a running operation: the total is unknown.
        accent: The color of the bar, as CSS.
    """
    color = escape(accent)
    pale = f"color-mix(in srgb,{color} 33%,transparent)"
    progress = operation.progress
    if operation.status == Status.IN_PROGRESS and progress is None:
        # Stripes that move would jump at every tick.
        stripes = f"repeating-linear-gradient(-45deg,{color} 0 8px,{pale} 8px 16px)"
        state, inner = "", ""
        background = stripes
    else:
        percent = 100 * (progress or 0.0)
        state = f' aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent:.0f}"'
        background = "color-mix(in srgb,currentColor 12%,transparent)"
        inner = (
            f'<div style="width:{percent:.2f}%;height:100%;border-radius:inherit;'
            f'background:{color}"></div>'
        )
    return (
        f'<div style="{SMALL};overflow-wrap:anywhere">{escape(name)}<br>{escape(text)}</div>'
        f'<div role="progressbar" aria-label="{escape(name)}"{state}'
        f' style="{_BAR};background:{background}">{inner}</div>'
    )
