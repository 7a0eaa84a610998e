"""Who views the page, and what they may see."""

import streamlit as st

from progress.operation import Operation
from progress.session import resources

# Key of the session state. A widget with this key would let viewers choose who they are.
_OWNER = "progress_owner"


def owner() -> str:
    """Return the e-mail address or the id of the login, "" in an app without one."""
    # Read once: a change of login begins a new session, and `st.user` looks for a secrets file
    # each time, which was a tenth of what a tick cost.
    if _OWNER not in st.session_state:
        user = st.user.to_dict()
        st.session_state[_OWNER] = str(user.get("email") or user.get("sub") or "")
    known: str = st.session_state[_OWNER]
    return known


def may_see(operation: Operation) -> bool:
    """Return whether it is the viewer's own, or the app is shared.

    What the viewer may not see reads as unknown: an id in a URL is no permission.
    """
    return resources.SETTINGS.shared or operation.owner == owner()
