"""The history of the board: filters, a page of operations as a table, buttons to turn pages."""

from datetime import UTC, datetime

import streamlit as st

from progress.contract import BackendError
from progress.operation import Operation, Query, Status
from progress.session import choices, history, resources, viewer
from progress.text import as_line
from progress.ui.formats import format_duration, format_status, format_time
from progress.ui.outcome import COLORS
from progress.ui.titles import job_title


def draw() -> None:
    """Draw the history as of the last interaction with the page."""
    draw_filters()
    query, pages = history.query(), history.page_starts()
    try:
        operations = history.read(query)
    except BackendError as error:
        st.error("The history cannot be read now.", icon=":material/cloud_off:")
        st.text(str(error))
        st.button("Try again", icon=":material/refresh:")
        return
    if operations:
        draw_table(operations[: history.PAGE_SIZE], len(pages) * history.PAGE_SIZE + 1)
        draw_paging(pages, operations)
    else:
        draw_empty(query, pages)


def draw_filters() -> None:
    """Draw the filters. Without labels, nothing moves when the browser has loaded them."""
    history.restore_filters()
    jobs = choices.jobs().names
    no_job = "Loading jobs" if choices.is_loading() else "No jobs"
    with st.container(horizontal=True):
        st.selectbox(
            "Job",
            jobs,
            index=None,
            format_func=job_title,
            placeholder="Any job" if jobs else no_job,
            label_visibility="collapsed",
            key="filter_job",
            on_change=history.keep_filters,
            width=165,
            disabled=not jobs,
        )
        st.selectbox(
            "Created",
            list(history.SINCE),
            index=None,
            placeholder="Any time",
            label_visibility="collapsed",
            key="filter_since",
            on_change=history.keep_filters,
            width=160,
        )
        if resources.SETTINGS.shared:
            st.selectbox(
                "Owner",
                [viewer.owner()] if viewer.owner() else [],
                index=None,
                placeholder="Anybody",
                label_visibility="collapsed",
                accept_new_options=True,
                key="filter_owner",
                on_change=history.keep_filters,
                width=165,
            )
        st.multiselect(
            "Status",
            list(Status),
            format_func=format_status,
            placeholder="Any status",
            label_visibility="collapsed",
            key="filter_status",
            on_change=history.keep_filters,
        )


def draw_table(operations: list[Operation], first: int) -> None:
    """Draw a page of operations. A click on a row opens the operation.

    Streamlit selects rows by a column of checkboxes only, and cells by a click or by the arrow keys
    too. So a selected cell opens its row, but for the numbers: there, the keys move up and down.
    """
    history.note_rows([operation.operation_id for operation in operations])
    st.caption("Select a row to open the operation: click beside its number, or press → on it.")
    st.dataframe(
        [
            {history.NUMBER: number} | row(operation)
            for number, operation in enumerate(operations, first)
        ],
        hide_index=True,
        key="board",  # without a key, a table with newer values would be another table
        on_select=history.select_row,
        selection_mode="single-cell",
        column_config={
            history.NUMBER: st.column_config.NumberColumn(width=50),
            # For its colors: there is one value in each cell.
            "Status": st.column_config.MultiselectColumn(
                options=list(COLORS), color=list(COLORS.values())
            ),
            "Progress": st.column_config.ProgressColumn(format="%d %%", min_value=0, max_value=100),
            "Created": st.column_config.DatetimeColumn(
                format="D MMM YYYY, HH:mm:ss", timezone=st.context.timezone
            ),
        },
    )


def row(operation: Operation) -> dict[str, object]:
    """Return the cells of an operation."""
    status = "Cancelling" if operation.is_cancelling else format_status(operation.status)
    # Only of an ended operation: the bar of an active one moves on, and the table does not.
    progress = operation.progress if operation.status.is_terminal else None
    cells: dict[str, object] = {
        "Status": [status],
        "Job": job_title(operation.job),
        "Subject": as_line(operation.subject),
        "Progress": None if progress is None else round(100 * progress),
        "Created": operation.created_at,
        "Duration": format_duration(operation.elapsed),
    }
    if resources.SETTINGS.shared:
        cells["Owner"] = as_line(operation.owner)
    return cells


def draw_paging(pages: history.PageStarts, operations: list[Operation]) -> None:
    """Draw the buttons that turn pages, and which rows the table shows."""
    shown = operations[: history.PAGE_SIZE]
    with st.container(horizontal=True, vertical_alignment="center"):
        draw_newer(pages)
        st.button(
            "Older",
            key="older",
            icon=":material/arrow_forward:",
            on_click=history.turn_to,
            args=([*pages, (shown[-1].created_at, shown[-1].operation_id)],),
            disabled=len(operations) == len(shown),
        )
        st.button("Refresh", key="refresh", icon=":material/refresh:")
        first = len(pages) * history.PAGE_SIZE + 1
        now = format_time(datetime.now(UTC), st.context.timezone)
        st.caption(f"{first:,} to {first + len(shown) - 1:,}, as of {now}")


def draw_newer(pages: history.PageStarts) -> None:
    """Draw the button that turns back one page."""
    st.button(
        "Newer",
        key="newer",
        icon=":material/arrow_back:",
        on_click=history.turn_to,
        args=(pages[:-1],),
        disabled=not pages,
    )


def draw_empty(query: Query, pages: history.PageStarts) -> None:
    """Draw why there is no operation, and what to do about it."""
    if pages:
        st.info("There are no older operations.", icon=":material/inbox:")
        draw_newer(pages)
    elif query.job or query.statuses or query.since or (resources.SETTINGS.shared and query.owner):
        st.info("No operation matches these filters.", icon=":material/filter_alt_off:")
        st.button("Clear the filters", key="clear", on_click=history.clear_filters)
    else:
        st.info("There is no operation yet.", icon=":material/inbox:")
        if st.button(
            "Start an operation", key="start_one", icon=":material/play_arrow:", type="primary"
        ):
            st.switch_page("app_pages/run.py")
