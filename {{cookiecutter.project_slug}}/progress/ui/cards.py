"""Figures with their names, as one piece of HTML: one message to each viewer at each tick."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import streamlit as st

from progress.text import as_line

_GRID = "display:grid;gap:1rem;margin:0;padding:0;grid-template-columns"
# Long names must not push what is beside it to the next line. It covers that: 1rem is its width.
_WIDTH = "width:0;min-width:calc(100% + 1rem)"
_CARD = (
    "padding:.75rem;border-radius:.5rem;overflow-wrap:anywhere;"
    "border:1px solid color-mix(in srgb,currentColor 20%,transparent)"
)
_NAME = "font-size:.875rem;font-weight:400"
_VALUE = "margin:0;font-size:clamp(1.125rem,2.2vw,1.75rem);font-variant-numeric:tabular-nums"
_CHANGE = "margin:0;font-size:.875rem;opacity:.75;font-variant-numeric:tabular-nums"


class Figure(NamedTuple):
    """A figure as a page shows it. All is text, and may come from outside."""

    name: str
    value: str
    change: str = ""
    """How much it differs from the value before."""


def draw(markup: str, height: int) -> None:
    """Draw what `cards` returned, in at least this height: pixels of a row of figures.

    A browser loads the code that draws HTML when it gets the first HTML. Until then, an empty
    container beside it holds the height: nothing below moves.
    """
    with st.container(horizontal=True, gap=None):
        st.html(markup)
        st.container(height=height, width=1, border=False)


def cards(figures: Sequence[Figure]) -> str:
    """Return figures as HTML. Long values wrap.

    They stand in groups of three or two, which wrap as a whole: no figure is left alone in a row.
    """
    size = 3 if len(figures) % 3 == 0 else 2
    groups = [figures[start : start + size] for start in range(0, len(figures), size)]
    shown = "".join(
        f'<dl style="{_GRID}:repeat({size},minmax(0,1fr))">{"".join(map(_card, group))}</dl>'
        for group in groups
    )
    columns = f"repeat(auto-fit,minmax(min(100%,{8.5 * size}rem),1fr))"
    return f'<div style="{_WIDTH};{_GRID}:{columns}">{shown}</div>'


def _card(figure: Figure) -> str:
    name, value, change = (escape(as_line(text, 100)) for text in figure)
    below = f'<dd style="{_CHANGE}">{change}</dd>' if change else ""
    return (
        f'<div style="{_CARD}"><dt style="{_NAME}">{name}</dt>'
        f'<dd style="{_VALUE}">{value}</dd>{below}</div>'
    )
