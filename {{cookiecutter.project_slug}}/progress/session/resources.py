"""What all sessions of a server process share: the settings, the connection, the pollers."""

import streamlit as st

from progress.backend.connection import ProgressConnection
from progress.contract import BackendError, BackendRejected
from progress.operation import Log, Operation
from progress.overview import FORGET_AFTER, Overview, Overviews
from progress.poller import Poller
from progress.settings import load_settings

SETTINGS = load_settings()
LOG_LINES = 20
"""Lines of a log that a page shows while the job runs."""


def backend() -> ProgressConnection:
    """Return the connection to the backend. Call it where a BackendError is handled.

    Raises:
        BackendError: It is not configured, or its configuration is invalid.
    """
    try:
        return st.connection("progress", type=ProgressConnection)
    except BackendError:
        raise
    except Exception as error:
        # Without its text, which may quote a secret.
        raise BackendRejected(
            f"The connection cannot be opened ({type(error).__name__}):"
            " check [connections] in .streamlit/secrets.toml."
        ) from None


@st.cache_resource(show_spinner=False)
def operations() -> Poller[Operation]:
    """Return the poller of operations, by their ids."""
    return Poller(
        lambda ids: backend().read(ids),
        SETTINGS.poll_interval,
        is_final=lambda operation: operation.status.is_terminal,
    )


@st.cache_resource(show_spinner=False)
def logs() -> Poller[Log]:
    """Return the poller of the ends of logs, by the ids of their operations."""
    return Poller(
        lambda ids: backend().logs(ids, LOG_LINES),
        SETTINGS.poll_interval,
        forget_after=3 * SETTINGS.poll_interval,
    )


@st.cache_resource(show_spinner=False)
def overviews() -> Poller[Overview]:
    """Return the poller of the board, by owner; in a shared app "" stands for everybody."""
    reader = Overviews(backend, SETTINGS.shared, SETTINGS.poll_interval)
    return Poller(reader.read, SETTINGS.poll_interval, forget_after=FORGET_AFTER)
