"""The latest operations on a subject, in an expander below the run page."""

import streamlit as st

from progress.contract import BackendError
from progress.session import commands, history, tracking
from progress.ui.formats import escape_markdown, format_datetime, format_duration, format_status
from progress.ui.outcome import ICONS
from progress.ui.titles import job_title

SHOWN = 5
"""Operations in the list."""


def draw(subject: str) -> None:
    """Draw the latest operations on a subject, once the viewer opens the list."""
    expander = st.expander(
        "History of this subject", key="history", icon=":material/history:", on_change="rerun"
    )
    if not expander.open:
        return
    with expander:
        try:
            operations = history.read(history.of_subject(subject, SHOWN))
        except BackendError as error:
            st.warning("The history cannot be read now.", icon=":material/cloud_off:")
            st.text(str(error))
            return
        if not operations:
            st.text("There is no operation for this subject yet.")
        for operation in operations:
            created = format_datetime(operation.created_at, st.context.timezone)
            status = format_status(operation.status)
            job, duration = job_title(operation.job), format_duration(operation.elapsed)
            st.button(
                escape_markdown(f"{job}, {created} · {status}, {duration}"),
                key=f"history-{operation.operation_id}",
                type="tertiary",
                icon=ICONS[operation.status],
                on_click=commands.track,
                args=(operation.operation_id,),
                disabled=tracking.is_full() or tracking.find(operation.operation_id) is not None,
            )
