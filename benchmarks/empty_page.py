"""A page whose timed fragment draws nothing: what a tick costs Streamlit alone."""

import streamlit as st
from progress.session import polling


@st.fragment(run_every=polling.interval())
def empty() -> None:
    """Draw nothing at every tick."""


st.title("Empty fragment")
empty()
