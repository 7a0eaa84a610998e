"""The page that shows the latest operations at a glance."""

import streamlit as st

from progress import live
from progress.errors import BackendError
from progress.operation import Operation
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


st.title("Board")
try:
    operations = live.backend().recent(LIMIT, live.owner())
except BackendError as error:
    st.error("The operations cannot be read just now.", icon=":material/cloud_off:")
    st.text(str(error))
    st.stop()

if not operations:
    st.info("There is no operation yet. Start one on the other page.", icon=":material/inbox:")
    st.stop()
st.button("Refresh", icon=":material/refresh:")
chosen = st.dataframe(
    [row(operation) for operation in operations],
    hide_index=True,
    on_select="rerun",
    selection_mode="single-row",
    column_config={
        "Progress": st.column_config.ProgressColumn(format="%d %%", min_value=0, max_value=100),
        "Asked for": st.column_config.DatetimeColumn(
            format="distance", timezone=st.context.timezone
        ),
    },
)
if chosen.selection.rows:
    picked = operations[chosen.selection.rows[0]]
    st.switch_page("views/run.py", query_params={"operation": picked.operation_id})
st.caption("Select a row to follow the operation or to see its result.")
