"""How an outcome is drawn: status, error, result, steps, buttons to retry and dismiss it."""

import importlib
import json
import logging
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import streamlit as st

from progress.operation import Operation, Status
from progress.results import FILES, REPLACED, TABLE_FILE, TABLE_ROWS, is_table, table_as_csv
from progress.session import choices, commands, tracking
from progress.session.tracking import Entry
from progress.text import truncate
from progress.ui import cards, joblog, running
from progress.ui.cards import Figure
from progress.ui.formats import (
    escape_markdown,
    format_attempts,
    format_datetime,
    format_duration,
    format_parameters,
    format_rate,
    format_size,
    format_status,
    format_steps,
)
from progress.ui.timeline import accent_color, timeline

log = logging.getLogger(__name__)

ICONS = {
    Status.QUEUED: ":material/schedule:",
    Status.IN_PROGRESS: ":material/pending:",
    Status.COMPLETED: ":material/check_circle:",
    Status.PARTIAL: ":material/rule:",
    Status.FAILED: ":material/error:",
    Status.CANCELLED: ":material/cancel:",
}
COLORS = {
    "Queued": "gray",
    "In progress": "blue",
    "Cancelling": "yellow",
    "Completed": "green",
    "Partial": "orange",
    "Failed": "red",
    "Cancelled": "gray",
}
# Not in the output of a process that died, which is indented.
TRACEBACK = re.compile(r"^(  \+ Exception Group )?Traceback ", re.MULTILINE)
SHOWN_LINES = 5  # of the failed steps, the last included; the rest is behind a click
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


def draw(entry: Entry) -> None:
    """Draw how an operation ended; among several, in a line that opens. The last end is open.

    No fragment: its timer has ended, so there may be buttons.
    """
    if len(tracking.entries()) == 1:
        st.text(running.title(entry))
        draw_content(entry)
        return
    ending, icon = "Unknown", ":gray[:material/help:]"
    if operation := entry.operation:
        status = format_status(operation.status)
        ending = f"{status}, {format_duration(operation.elapsed)}"
        icon = f":{COLORS[status]}[{ICONS[operation.status]}]"
    label = f"{icon} {escape_markdown(f'{running.title(entry)} · {ending}')}"
    is_open = entry is max(tracking.outcomes(), key=ended_at)
    # A browser would leave an expander of the same key as it is when another end is the last.
    key = f"outcome-{'open-' if is_open else ''}{entry.operation_id}"
    with st.expander(label, expanded=is_open, key=key):
        draw_content(entry)


def ended_at(entry: Entry) -> float:
    """Return when an operation ended, as a timestamp; 0 if that is not known."""
    time = entry.operation and entry.operation.finished_at
    return time.timestamp() if time else 0.0


def draw_content(entry: Entry) -> None:
    """Draw status, error, result, steps and buttons of an operation that ended."""
    operation = entry.operation
    if operation is None:
        st.warning(
            "There is no operation with this id, or it is not yours.",
            icon=":material/help:",
        )
        draw_buttons(entry)
        return
    draw_status(operation)
    draw_figures(operation)
    draw_error(operation)
    if operation.problem:
        st.warning("The stored progress is partly invalid:", icon=":material/rule:")
        st.text(operation.problem)
    draw_result(operation.result or {})
    if operation.result:
        draw_downloads(operation, operation.result)
        draw_files(entry, operation.result.get(FILES))
    count = len(operation.last_steps)
    if count or (operation.failed_in_step and not operation.current_step):
        shown = count + operation.failed_in_step
        label = "Steps" if count == operation.current_step else f"Last {shown} steps"
        with st.expander(label, key=f"steps-{operation.operation_id}", icon=":material/list:"):
            st.html(timeline(operation, count, accent_color()))
    joblog.draw_whole(entry)
    draw_buttons(entry)


def toast(entry: Entry) -> None:
    """Announce an outcome on a page that does not draw it."""
    ending, icon = "Unknown", ":material/help:"
    if operation := entry.operation:
        ending, icon = format_status(operation.status), ICONS[operation.status]
    text = escape_markdown(f"{running.title(entry)} · {ending}")
    st.toast(text, icon=icon, duration="long")


def draw_status(operation: Operation) -> None:
    """Draw the headline."""
    done = format_steps(operation.current_step, operation.total_steps)
    duration = format_duration(operation.elapsed)
    if not (operation.current_step or operation.total_steps):
        done, after = "", duration  # some jobs and services have no steps
    else:
        done, after = f": {done}", f"{done}, in {duration}"
    icon = ICONS[operation.status]
    match operation.status:
        case Status.COMPLETED:
            st.success(f"Completed{done} in {duration}.", icon=icon)
        case Status.PARTIAL:
            if operation.failed_steps:  # 0 if the job reported a failure before its first step
                done = f": {format_steps(operation.failed_steps, operation.current_step)} failed,"
            st.warning(f"Partly completed{done} in {duration}.", icon=icon)
        case Status.CANCELLED:
            st.info(f"Cancelled after {after}.", icon=icon)
        case _:
            st.error(f"Failed after {after}.", icon=icon)


def draw_figures(operation: Operation) -> None:
    """Draw when it ended, its rate, and its attempt."""
    figures = []
    if operation.finished_at is not None:
        figures.append(f"Ended {format_datetime(operation.finished_at, st.context.timezone)}")
    if operation.rate is not None:
        figures.append(format_rate(operation.rate))
    if operation.attempts > 1:
        figures.append(format_attempts(operation))
    if operation.options.parameters:
        figures.append(format_parameters(operation.options.parameters))
    if figures:
        st.caption(escape_markdown(" · ".join(figures)))


def draw_error(operation: Operation) -> None:
    """Draw the most informative line or the first failed steps, and the whole text on demand."""
    lines = (operation.error or "").splitlines()
    if len(lines) > SHOWN_LINES:
        lines = [*lines[: SHOWN_LINES - 1], "…", lines[-1]]
    label = f"Failed steps: {operation.failed_steps:,}" if operation.failed_steps else "Failures"
    if operation.status == Status.FAILED:
        if operation.failed_in_step:
            st.text(f"In step {operation.current_step + 1:,}: {operation.step_description}")
        lines = [operation.reason or ""]
        label = f"{label}, and the traceback" if operation.failed_steps else "Traceback"
        if not re.search(TRACEBACK, operation.error or ""):
            label = "Details"
    elif not operation.error and operation.status != Status.PARTIAL:
        return
    shown = "\n".join(truncate(line) for line in lines)
    st.code(shown or "No reason was given.", language=None, wrap_lines=True)
    if operation.error and operation.error.strip() != shown:
        # Without a key it would close whenever the page is drawn again.
        with st.expander(label, key=f"error-{operation.operation_id}"):
            st.code(operation.error, language=None, height=400)


def draw_result(result: dict[str, Any]) -> None:
    """Draw what the job returned: the keys that jobs.py names, and the rest as JSON."""
    draw_parts: dict[str, Callable[[Any], None]] = {
        "metrics": draw_metrics,
        "chart": draw_chart,
        "table": partial(draw_table, count=result.get(TABLE_ROWS)),
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
                log.exception("The %s of a result cannot be drawn", key)
                st.caption(f"`{key}` cannot be drawn: it is not {EXPECTED[key]}. It is below.")
            else:
                del rest[key]
    if rest:
        st.json(rest, expanded=False)


def draw_metrics(metrics: dict[str, Any]) -> None:
    """Draw named figures side by side."""
    figures = [
        Figure(str(name), "—" if value is None else str(value))  # None: also what NaN is stored as
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


def draw_table(rows: list[dict[str, Any]], count: object = None) -> None:
    """Draw one line for each row; `count` is how many there are, if these are only a part."""
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
        st.caption(f"The first {len(rows):,} of {count:,} rows. {TABLE_FILE} has all of them.")


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
        st.caption(f"{shown:,} of {count:,} {name} are shown. The download has all of them.")


def draw_replaced(names: list[str]) -> None:
    """Draw which values could not be stored."""
    text = "\n".join(names)
    st.warning("JSON cannot hold these values; their text was stored:", icon=":material/rule:")
    st.text(text)


def draw_downloads(operation: Operation, result: dict[str, Any]) -> None:
    """Offer the table as CSV, if there is one, and the whole result as JSON."""
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


def draw_files(entry: Entry, files: object) -> None:
    """Offer the files that the job has kept. They are read on a click."""
    if not isinstance(files, list):
        return
    with st.container(horizontal=True):
        for number, file in enumerate(files[:SHOWN_FILES]):
            match file:
                case {"name": str(name), "size": int(size)}:
                    st.download_button(
                        f"{escape_markdown(name)} ({format_size(size)})",
                        partial(commands.read_file, entry.operation_id, name),
                        name,
                        key=f"file-{entry.operation_id}-{number}",
                        icon=":material/download:",
                        on_click="ignore",
                    )
    draw_limit("files", SHOWN_FILES, len(files))


def draw_buttons(entry: Entry) -> None:
    """Draw the buttons that retry and dismiss an outcome."""
    operation = entry.operation
    with st.container(horizontal=True, vertical_alignment="center"):
        if operation is not None and operation.status != Status.COMPLETED:
            st.button(
                "Retry",
                key=f"retry-{entry.operation_id}",
                icon=":material/replay:",
                on_click=commands.retry,
                args=(entry.operation_id,),
                disabled=tracking.is_full() or tracking.is_running(entry.start),
            )
        job = choices.find(entry.job)
        if operation is not None and job is not None and job.parameters is not None:
            st.button(
                "Edit and run again",
                key=f"edit-{entry.operation_id}",
                icon=":material/edit:",
                help="Fill the form above with these parameters.",
                on_click=commands.edit,
                args=(entry.operation_id,),
            )
        if operation is not None:
            joblog.draw_toggle(entry)
        draw_origin(entry)
        st.button(
            "Dismiss",
            key=f"dismiss-{entry.operation_id}",
            icon=":material/close:",
            type="tertiary",
            on_click=tracking.untrack,
            args=(entry.operation_id,),
        )


def draw_origin(entry: Entry) -> None:
    """Draw a button that opens the operation that this one repeats."""
    if entry.operation is None or not (origin := entry.operation.retry_of):
        return
    st.button(
        f"Retry of {escape_markdown(origin[:8])}",
        key=f"origin-{entry.operation_id}",
        icon=":material/history:",
        type="tertiary",
        help="Open the operation that this one repeats.",
        on_click=commands.track,
        args=(origin,),
        disabled=tracking.is_full() or tracking.find(origin) is not None,
    )
