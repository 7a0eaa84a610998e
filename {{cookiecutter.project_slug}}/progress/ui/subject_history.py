"""The latest operations on a subject, or of a job, in an expander below the run page."""

import streamlit as st

from progress.contract import BackendError
from progress.session import commands, history, tracking
from progress.ui.formats import escape_markdown, format_datetime, format_duration, format_status
from progress.ui.outcome import ICONS
from progress.ui.titles import job_title

SHOWN = 5
"""Operations in the list."""


def draw(job: str, subject: str) -> None:
    """Draw the latest operations on a subject, or of a job without one, once this is opened."""
    title = f"History of this {'subject' if subject else 'job'}"
    expander = st.expander(title, key="history", icon=":material/history:", on_change="rerun")
    if not expander.open:
        return
    with expander:
        try:
            operations = history.read(history.latest(job, subject, SHOWN))
        except BackendError as error:
            st.warning("The history cannot be read now.", icon=":material/cloud_off:")
            st.text(str(error))
            return
        if not operations:
            st.text("There is no operation yet.")
        for operation in operations:
            created = format_datetime(operation.created_at, st.context.timezone)
            status = format_status(operation.status)
            name, duration = job_title(operation.job), format_duration(operation.elapsed)
            st.button(
                escape_markdown(f"{name}, {created} · {status}, {duration}"),
                key=f"history-{operation.operation_id}",
                type="tertiary",
                icon=ICONS[operation.status],
                on_click=commands.track,
                args=(operation.operation_id,),
                disabled=tracking.is_full() or tracking.find(operation.operation_id) is not None,
            )
