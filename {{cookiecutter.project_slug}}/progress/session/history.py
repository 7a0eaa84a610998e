"""The history: what the board filters, turns to and selects, and the latest on a subject."""

from datetime import UTC, datetime, timedelta

import streamlit as st

from progress.operation import Operation, Query
from progress.session import resources, tracking, viewer

PAGE_SIZE = 50
SINCE = {
    "Last hour": timedelta(hours=1),
    "Last 24 hours": timedelta(days=1),
    "Last 7 days": timedelta(days=7),
}

NUMBER = "#"
"""The column that selects nothing."""

PageStarts = list[tuple[datetime, str]]
"""Where the pages begin that the viewer turned to, the latest last. Empty: the first page."""

# Keys of the session state. Those of widgets are the FILTERS and "board", the table.
FILTERS = ("filter_job", "filter_status", "filter_since", "filter_owner")
_KEPT = "history_filters"
_PAGES = "history_pages"
_ROWS = "history_rows"
_SELECTED = "history_selected"


def restore_filters() -> None:
    """Set the filters as they were: Streamlit drops the state of widgets when the page changes."""
    for key, value in st.session_state.get(_KEPT, {}).items():
        if key not in st.session_state and value:
            st.session_state[key] = value


def keep_filters() -> None:
    """Keep the filters, and show the first page of what they find. For a callback."""
    st.session_state[_PAGES] = []
    st.session_state[_KEPT] = {key: st.session_state.get(key) for key in FILTERS}


def clear_filters() -> None:
    """Show all operations. For the callback of a button."""
    st.session_state[_PAGES] = []
    st.session_state[_KEPT] = {}
    for key in FILTERS:
        st.session_state.pop(key, None)


def read(query: Query) -> list[Operation]:
    """Return a page of operations, newest first.

    Raises:
        BackendError: The backend cannot be read, or refused.
    """
    return resources.backend().recent(query)


def latest(job: str, subject: str, limit: int) -> Query:
    """Return the query for the latest operations on a subject that the viewer may see, whatever
    the job; for those of the job if it has no subject.
    """
    owner = None if resources.SETTINGS.shared else viewer.owner()
    if subject:
        return Query(owner, subject=subject, limit=limit)
    return Query(owner, job=job, limit=limit)


def query() -> Query:
    """Return the query of the filters, with one row more than a page has: is there another page?"""
    state = st.session_state
    since = SINCE.get(state.get("filter_since") or "")
    pages = page_starts()
    return Query(
        owner=state.get("filter_owner") if resources.SETTINGS.shared else viewer.owner(),
        job=state.get("filter_job"),
        statuses=frozenset(state.get("filter_status") or ()),
        since=datetime.now(UTC) - since if since else None,
        before=pages[-1] if pages else None,
        limit=PAGE_SIZE + 1,
    )


def page_starts() -> PageStarts:
    """Return where the pages begin that the viewer turned to."""
    pages: PageStarts = st.session_state.get(_PAGES, [])
    return pages


def turn_to(pages: PageStarts) -> None:
    """Show the page that begins last in `pages`. For the callback of a button."""
    if not tracking.is_double_click():
        tracking.note_click()
        st.session_state[_PAGES] = pages


def note_rows(operation_ids: list[str]) -> None:
    """Note which operations the table shows, for the callback of a click on one of its rows."""
    st.session_state[_ROWS] = operation_ids


def select_row() -> None:
    """Note the row that was clicked, of the table as it was drawn then. For a callback."""
    for number, column in st.session_state["board"].selection.cells:
        if column != NUMBER:
            st.session_state[_SELECTED] = st.session_state[_ROWS][number]


def selected() -> str | None:
    """Return the id of the operation that the viewer selected, if any."""
    operation_id: str | None = st.session_state.get(_SELECTED)
    return operation_id


def clear_selected() -> None:
    """Forget the selection once it is opened."""
    st.session_state.pop(_SELECTED, None)
