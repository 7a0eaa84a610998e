"""The page that shows the latest operations at a glance."""

import streamlit as st

from progress import live
from progress.errors import BackendError
from progress.operation import Operation, Query
from progress.text import duration

LIMIT = 100


def row(operation: Operation) -> dict[str, object]:
    """Return what one line of the table shows."""
    return {
        "Status": "cancelling" if operation.is_cancelling else operation.status.replace("_", " "),
        "Job": operation.job,
        "Subject": operation.subject,
        "Progress": None if operation.progress is None else round(100 * operation.progress),
        "Asked for": operation.created_at,
        "Took": duration(operation.elapsed),
    }


def open_chosen() -> None:
    """Remember the row that was clicked, in the table as it was drawn then."""
    for number in st.session_state["board"].selection.rows:
        st.session_state["picked"] = st.session_state["drawn"][number]


if picked := st.session_state.pop("picked", None):
    st.switch_page("views/run.py", query_params={"operation": picked})

st.title("Board")
try:
    owner = None if live.SETTINGS.shared else live.owner()
    operations = live.backend().recent(Query(owner, limit=LIMIT))
except BackendError as error:
    st.error("The operations cannot be read just now.", icon=":material/cloud_off:")
    st.text(str(error))
    st.stop()

if not operations:
    st.info("There is no operation yet. Start one on the other page.", icon=":material/inbox:")
    st.stop()
st.button("Refresh", icon=":material/refresh:")
st.session_state["drawn"] = [operation.operation_id for operation in operations]
st.dataframe(
    [row(operation) for operation in operations],
    hide_index=True,
    key="board",  # without one, a table with newer figures would be another table
    on_select=open_chosen,
    selection_mode="single-row",
    column_config={
        "Progress": st.column_config.ProgressColumn(format="%d %%", min_value=0, max_value=100),
        "Asked for": st.column_config.DatetimeColumn(
            format="distance", timezone=st.context.timezone
        ),
    },
)
st.caption("Select a row to follow the operation or to see its result.")
