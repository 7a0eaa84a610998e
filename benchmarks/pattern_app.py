"""The rule's pattern, to compare with: a timed fragment that queries the database at every tick.

It follows the rule in every point that costs: state in the session, a module-level fragment that is
called outside the button, one query per viewer and tick, display only, `st.stop()` at the end. Two
things differ. A viewer arrives with the operation in the URL instead of a click, and the database
is the SQLite file of the other app, over one connection that stays open. That is the cheapest query
there is, so the difference that remains is not the database's.
"""

import os
import sqlite3
import time

import streamlit as st
from serve import counted


@st.cache_resource
def database() -> sqlite3.Connection:
    """Return the connection that all sessions share."""
    return sqlite3.connect(os.environ["PROGRESS_DATABASE"], check_same_thread=False)


@counted
def query(operation_id: str) -> tuple[str, int, int, str, str] | None:
    """Read the progress of one operation."""
    row: tuple[str, int, int, str, str] | None = (
        database()
        .execute(
            "SELECT status, current_step, total_steps, step_description, last_updated"
            " FROM operations WHERE operation_id = ? ORDER BY last_updated DESC LIMIT 1",
            (operation_id,),
        )
        .fetchone()
    )
    return row


@st.fragment(run_every="0.5s")
def show_progress(operation_id: str) -> None:
    """Draw the progress of the operation."""
    row = query(operation_id)
    if row is None:
        st.warning("Initializing ...")
        return
    status, step, total, description, _ = row
    if status == "in_progress" and total:
        st.progress(step / total, text=f"Step {step}/{total}")
        st.info(description)
        st.caption(f"Elapsed: {int(time.time() - st.session_state.start_time)}s")
    if status in ("completed", "partial", "failed"):
        st.success(f"Complete: {step}/{total} steps")
        st.session_state.pop("active", None)
        st.session_state.in_progress = False
        st.stop()


st.title("Call Center Analytics")
if "start_time" not in st.session_state:
    st.session_state.start_time = time.time()
    st.session_state.active = st.query_params["operation"]
    st.session_state.in_progress = True
if st.session_state.get("active"):
    st.info(f"Analyzing: {st.session_state.active}")
    show_progress(st.session_state.active)
st.button("Analyze Transcription", type="primary", disabled=st.session_state.in_progress)
