"""The title of the browser's tab: how far the operations are, for who works in another tab."""

import streamlit as st

from progress.session import polling, resources, tracking
from progress.ui.formats import format_status


def draw_title() -> None:
    """Set the title: the progress of what runs, else how the latest operation ended."""
    st.set_page_config(page_title=" · ".join(filter(None, [state(), resources.SETTINGS.title])))


def state() -> str:
    """Return a percentage or a status; "" if nothing is tracked."""
    entries = tracking.running()
    if entries and polling.is_paused():
        return "Paused"
    if len(entries) > 1:
        return f"{len(entries)} running"
    for entry in entries or tracking.outcomes():
        if entry.operation is None:
            return "Unknown" if entry.ended else "Waiting"
        if entry.ended or entry.operation.progress is None:
            return format_status(entry.operation.status)
        return f"{int(100 * entry.operation.progress)} %"
    return ""
