"""How a result is drawn: the keys that jobs.py names, the rest as JSON, and downloads."""

import importlib
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import streamlit as st

from progress.operation import Operation
from progress.results import FILES, REPLACED, TABLE_FILE, TABLE_ROWS, is_table, table_as_csv
from progress.session import commands
from progress.text import truncate
from progress.ui import cards
from progress.ui.cards import Figure
from progress.ui.formats import escape_markdown, format_metric, format_size

# What a browser draws in a moment. The whole result can be downloaded.
SHOWN_METRICS = 50
SHOWN_POINTS = 2_000
SHOWN_SERIES = 20
SHOWN_COLUMNS = 200
SHOWN_NOTES = 100
SHOWN_FILES = 50
SHOWN_CHARACTERS = 2_000  # of a note
EXPECTED = {
    "metrics": "a dict of figures",
    "chart": "a list of dicts, one for each point",
    "table": "a list of dicts, one for each row",
    "notes": "a list of texts",
    REPLACED: "a list of texts",
}


def draw(result: dict[str, Any]) -> None:
    """Draw what the job returned: the keys that jobs.py names, and the rest as JSON."""
    draw_parts: dict[str, Callable[[Any], None]] = {
        "metrics": draw_metrics,
        "chart": draw_chart,
        "table": partial(draw_table, count=result.get(TABLE_ROWS), files=result.get(FILES)),
        "notes": draw_notes,
        REPLACED: draw_replaced,
    }
    if result.get("table") or result.get("chart"):
        # Streamlit looks for pandas while it draws, and fails if another session is in the middle
        # of the first import. An import here waits for that.
        importlib.import_module("pandas")
    rest = {name: part for name, part in result.items() if name not in (FILES, TABLE_ROWS)}
    for key, draw_part in draw_parts.items():
        if (part := rest.get(key)) is not None:
            try:
                draw_part(part)
            except Exception:
                # A job may return anything; what cannot be drawn is shown as JSON.
                st.caption(f"`{key}` cannot be drawn: it is not {EXPECTED[key]}. It is below.")
            else:
                del rest[key]
    if rest:
        st.json(rest, expanded=False)


def draw_metrics(metrics: dict[str, Any]) -> None:
    """Draw named figures side by side."""
    figures = [
        Figure(str(name), format_metric(value))
        for name, value in list(metrics.items())[:SHOWN_METRICS]
    ]
    if figures:
        cards.draw(cards.cards(figures), height=94)
    draw_limit("metrics", SHOWN_METRICS, len(metrics))


def draw_chart(rows: list[dict[str, Any]]) -> None:
    """Draw the first column as x, and a line for each other column of numbers.

    A row that lacks a value leaves a gap. What cannot be drawn is named, and shown as a table.
    """
    if not rows:
        st.caption("The chart has no points.")
        return
    points = rows[:: -(-len(rows) // SHOWN_POINTS)]
    x, *all_names = dict.fromkeys(name for row in points for name in row)
    names = all_names[:SHOWN_SERIES]
    lines = [name for name in names if is_numeric(row.get(name) for row in points)]
    is_text = all(isinstance(row.get(x), str | None) for row in points)
    if not lines or not (is_text or is_numeric(row.get(x) for row in points)):
        names, lines = [x, *names], []
    if left_out := [name for name in names if name not in lines]:
        shown = escape_markdown(truncate(", ".join(left_out)))
        st.caption(f"A chart cannot hold every value of {shown}. Here is the table:")
        draw_table(rows)
    if lines:
        columns = [{name: row.get(name) for name in (x, *lines)} for row in points]
        st.line_chart(columns, x=x, y=lines)
        draw_limit("points", len(points), len(rows))
        draw_limit("lines", SHOWN_SERIES, len(all_names))


def is_numeric(values: Iterable[Any]) -> bool:
    """Return whether every value, apart from None, is a number; False if there is none."""
    found = [value for value in values if value is not None]
    return bool(found) and all(
        isinstance(value, int | float) and abs(value) < 2**63 for value in found
    )


def draw_table(rows: list[dict[str, Any]], count: object = None, files: object = None) -> None:
    """Draw one line for each row; if these are only a part, `count` is how many there are.

    `files` are those of the result.
    """
    if not rows:
        st.caption("The table has no rows.")
        return
    names = list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))
    if len(names) > SHOWN_COLUMNS:  # rows with keys of their own would need gigabytes
        shown = set(names[:SHOWN_COLUMNS])
        rows = [{name: row[name] for name in row if name in shown} for row in rows]
    st.dataframe(rows, hide_index=True)
    draw_limit("columns", SHOWN_COLUMNS, len(names))
    if isinstance(count, int) and count > len(rows):
        kept = files if is_table(files) else []
        is_kept = any(file.get("name") == TABLE_FILE for file in kept)
        rest = f" {TABLE_FILE} has all of them." if is_kept else ""
        st.caption(f"The first {len(rows):,} of {count:,} rows.{rest}")


def draw_notes(notes: list[Any]) -> None:
    """Draw plain text, one line each."""
    if isinstance(notes, str):
        notes = [notes]
    for note in notes[:SHOWN_NOTES]:
        st.text(truncate(str(note), SHOWN_CHARACTERS))
    draw_limit("notes", SHOWN_NOTES, len(notes))


def draw_limit(name: str, shown: int, count: int) -> None:
    """Draw how much of the result is shown, if that is not all."""
    if count > shown:
        st.caption(f"{shown:,} of {count:,} {name} are shown. The download after the end has all.")


def draw_replaced(names: list[str]) -> None:
    """Draw which values could not be stored."""
    text = "\n".join(names)
    st.warning("JSON cannot hold these values; their text was stored:", icon=":material/rule:")
    st.text(text)


def draw_downloads(operation: Operation, result: dict[str, Any]) -> None:
    """Offer the table as CSV, if there is one, the whole result as JSON, and the kept files."""
    name = re.sub(r"[^\w.-]+", "-", f"{operation.job}-{operation.subject}")[:80]
    with st.container(horizontal=True):
        if is_table(rows := result.get("table")):
            st.download_button(
                "Table (CSV)",
                partial(table_as_csv, rows),  # made on a click: it may be large
                f"{name}.csv",
                "text/csv",
                key=f"csv-{operation.operation_id}",
                icon=":material/download:",
                on_click="ignore",
            )
        st.download_button(
            "Result (JSON)",
            partial(json.dumps, result, ensure_ascii=False, indent=2),
            f"{name}.json",
            "application/json",
            key=f"json-{operation.operation_id}",
            icon=":material/download:",
            on_click="ignore",
        )
    draw_files(operation, result.get(FILES))


def draw_files(operation: Operation, files: object) -> None:
    """Offer the files that the job has kept. They are read on a click, if the backend has them."""
    if not isinstance(files, list):
        return
    has_files = commands.has_feature("files")
    with st.container(horizontal=True):
        for number, file in enumerate(files[:SHOWN_FILES]):
            match file:
                case {"name": str(name), "url": str(url)} if url.startswith(
                    ("https://", "http://")
                ):
                    st.link_button(escape_markdown(name), url, icon=":material/open_in_new:")
                case {"name": str(name), "size": int(size)} if has_files:
                    st.download_button(
                        f"{escape_markdown(name)} ({format_size(size)})",
                        partial(commands.read_file, operation.operation_id, name),
                        name,
                        key=f"file-{operation.operation_id}-{number}",
                        icon=":material/download:",
                        on_click="ignore",
                    )
    if len(files) > SHOWN_FILES:
        st.caption(f"{SHOWN_FILES:,} of {len(files):,} files are shown.")
