"""How values read on a page."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from progress.operation import Operation, Status
from progress.text import as_line
from progress.text import format_duration as format_duration  # jobs and pages import it from here

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# What Streamlit replaces after it read the Markdown, where no escape helps: addresses by links,
# `:streamlit:` by its logo, `:material_home:` by an icon, "->" by an arrow.
_REPLACED = re.compile(
    r"(?<=:)(?=//|[\w+/-]+:)|(?<=www)(?=\.)|(?<=@)(?=\w)|(?<=[<>=~-])(?=[<>=~-])", re.IGNORECASE
)


def escape_markdown(text: str) -> str:
    """Return `text` as one line, escaped for Streamlit's Markdown, so that nothing in it is markup.

    CommonMark allows a backslash before any ASCII punctuation. Use this for names and labels; text
    that a job wrote goes to `st.text`, `st.code` or a table, which show it as it is.
    """
    line = _REPLACED.sub("\N{WORD JOINER}", as_line(text, len(text)))
    return _PUNCTUATION.sub(r"\\\1", line)


def format_status(status: Status) -> str:
    """Return a status as a page names it: "In progress"."""
    return status.replace("_", " ").capitalize()


def format_steps(current: int, total: int | None, unit: str = "step") -> str:
    """Return how far it is: "6 of 1,800 steps", or "6 steps" while nobody knows the total."""
    if total is None:
        return f"{current:,} {unit if current == 1 else f'{unit}s'}"
    return f"{current:,} of {total:,} {unit if total == 1 else f'{unit}s'}"


def format_attempts(operation: Operation) -> str:
    """Return which attempt it is, or waits for, and why the one before failed; "" for the first.

    Like "attempt 2 of 3 after OSError".
    """
    reason = operation.live.retry_reason
    number = operation.attempts + (operation.status == Status.QUEUED and bool(reason))
    if number < 2:
        return ""
    most = max(operation.options.retries + 1, number)
    return f"attempt {number} of {most}{f' after {reason}' if reason else ''}"


def format_parameters(parameters: Mapping[str, Any]) -> str:
    """Return the parameters that have a value as one line: "rows = 4, columns = a b"."""
    parts = []
    for name, value in parameters.items():
        shown = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        if shown and value is not None:
            parts.append(f"{name} = {shown}")
    return as_line(", ".join(parts), 300)


def format_size(size: int) -> str:
    """Return bytes as people read them: "12 bytes", "3.4 kB", "1.2 MB"."""
    for unit, factor in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size} bytes"


def format_metric(value: object) -> str:
    """Return a figure: "1,234.5"; a dash for None, which NaN is stored as, too."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{round(value, 6):,}"
    return "—" if value is None else str(value)


def format_rate(rate: float) -> str:
    """Return steps per second (above 0) as people read them: "2.5 s per step", "120 steps/s"."""
    if rate < 1:
        seconds = 1 / rate
        return f"{f'{seconds:.1f} s' if seconds < 9.95 else format_duration(seconds)} per step"
    return f"{rate:,.{0 if rate >= 9.95 else 1}f} steps/s"


def format_time(time: datetime, zone: str | None) -> str:
    """Return the time of day in the viewer's zone: "05:12:09"; in UTC if no zone is known."""
    return _local(time, zone, "%H:%M:%S")


def format_datetime(time: datetime, zone: str | None) -> str:
    """Return a time in the viewer's zone: "21 Nov 2026, 05:12"; in UTC if no zone is known."""
    return _local(time, zone, "%d %b %Y, %H:%M").removeprefix("0")


def _local(time: datetime, zone: str | None, form: str) -> str:
    try:
        local = time.astimezone(ZoneInfo(zone or "UTC"))
    except (KeyError, OSError, ValueError):  # what a browser calls it may be unknown here
        local, zone = time.astimezone(UTC), None
    return f"{local:{form}}{'' if zone else ' UTC'}"
