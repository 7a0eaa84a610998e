"""The log of an operation: its last lines, and the whole as a download."""

from functools import partial

import streamlit as st

from progress.contract import BackendError
from progress.operation import Log
from progress.session import commands, resources, tracking
from progress.session.tracking import Entry
from progress.ui.formats import format_time

WHOLE = 1_000_000
"""Lines of a log that a download has at most; every backend stores fewer."""


def draw_toggle(entry: Entry) -> None:
    """Draw what shows and hides the log, and if it is shown, a download of all lines."""
    if not entry.job:  # unknown: it may be another user's
        return
    if not commands.has_feature("logs"):
        st.caption("This backend has no logs.", width="content")
        return
    if st.toggle("Log", key=tracking.log_key(entry)):
        st.download_button(
            "Download log",
            partial(text, entry.operation_id),
            f"{entry.operation_id}.log",
            "text/plain",
            key=f"download-{tracking.log_key(entry)}",
            icon=":material/download:",
            on_click="ignore",
        )


def draw_tail(entry: Entry) -> None:
    """Draw the last lines while the job runs, if the log is shown. For a fragment: no widgets."""
    # No operation: it may be another user's. An id in the URL is no permission.
    if entry.operation is None or not tracking.is_log_shown(entry):
        return
    snapshot = resources.logs().read(entry.operation_id)
    if snapshot.error:
        st.text(str(snapshot.error))
    draw_lines(snapshot.value or Log())


def draw_ended(entry: Entry) -> None:
    """Draw the last lines after the end, if the log is shown."""
    if entry.operation is None or not tracking.is_log_shown(entry):
        return
    try:
        log = commands.read_log(entry.operation_id, 10 * resources.LOG_LINES)
    except BackendError as error:
        st.text(str(error))
        return
    draw_lines(log)


def draw_lines(log: Log) -> None:
    """Draw lines, each with its time."""
    if log.notice:
        st.caption(log.notice)
    zone = st.context.timezone
    lines = [f"{format_time(line.at, zone)}  {line.text}" for line in log.lines]
    st.code("\n".join(lines) or "The log is empty.", language=None, wrap_lines=True)


def text(operation_id: str) -> str:
    """Return all lines of a log, with times in UTC."""
    log = commands.read_log(operation_id, WHOLE)
    first = [f"({log.notice})"] if log.notice else []
    lines = [f"{line.at.isoformat(timespec='milliseconds')} {line.text}" for line in log.lines]
    return "\n".join([*first, *lines, ""])


def draw_force_stop(entry: Entry, suffix: str) -> None:
    """Draw a button that ends the process of a job, or that the backend cannot do that."""
    if commands.has_feature("force_stop"):
        st.button(
            "Force stop",
            key=f"force{suffix}",
            icon=":material/dangerous:",
            help="End the process of the job, in the middle of whatever it does.",
            on_click=commands.force_stop,
            args=(entry.operation_id,),
        )
    else:
        st.caption("This backend cannot stop a job by force.", width="content")
