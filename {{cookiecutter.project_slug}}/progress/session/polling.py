"""When a page polls: its interval, its ticks, its pause, and the full rerun that ends the polling.

`st.stop()` does not end the polling of a fragment: it ends one run, and the timer in the browser
goes on. What ends it is a full rerun that no longer calls the fragment. So the tick that finds the
end requests one full rerun; see "How polling stops" in the README.
"""

import time

import streamlit as st

from progress import adaptive_interval
from progress.session import resources, tracking, viewer

# Keys of the session state.
_PAGE = "progress_page"
_INTERACTED_AT = "interacted_at"
_INTERVAL = "progress_interval"
_PAUSED = "progress_paused"
_CALLED = "called_fragments"
_TRACKED = "tracked_at_full_rerun"
_FULL_RERUN = "full_rerun_requested"
_TOGGLE = "live"  # the widget of that name on the page that is open
_TOGGLES = "toggles"  # by page


def open_page(page: str) -> None:
    """Prepare a full rerun of a page. streamlit_app.py calls it before it defines a fragment."""
    state = st.session_state
    if state.get(_PAGE) != page:
        state[_PAGE] = page
        resume()
        state.pop(_TOGGLE, None)
        tracking.open_page()
    if not state.get(_FULL_RERUN):  # a rerun that a fragment requested is no interaction
        state[_INTERACTED_AT] = time.monotonic()
    state[_INTERVAL] = adaptive_interval.interval(resources.SETTINGS.poll_interval)
    state[_CALLED] = set()
    state[_FULL_RERUN] = False


def interval() -> float:
    """Return the seconds between the ticks of the fragments that this full rerun calls."""
    seconds: float = st.session_state[_INTERVAL]
    return seconds


def begin(fragment: str) -> None:
    """Let a fragment poll. Call it in the full rerun, before the fragment."""
    st.session_state[_CALLED].add(fragment)
    st.session_state[_TRACKED] = _tracked_ids()


def is_called(fragment: str) -> bool:
    """Return whether the last full rerun called the fragment. One tick may arrive after that."""
    return fragment in st.session_state[_CALLED]


def is_polling() -> bool:
    """Return whether the last full rerun called a fragment."""
    return bool(st.session_state[_CALLED])


def tick() -> None:
    """Do what every timed fragment begins with.

    It pauses a page without interaction, and requests a full rerun where that gives the page a
    shorter interval, as the load of the server has fallen.
    """
    adaptive_interval.count_tick()
    if time.monotonic() - st.session_state[_INTERACTED_AT] > resources.SETTINGS.idle_budget:
        st.session_state[_PAUSED] = True
        request_full_rerun()
    elif adaptive_interval.may_shorten(interval(), resources.SETTINGS.poll_interval):
        adaptive_interval.note_rerun()
        request_full_rerun()


def poll() -> None:
    """Update the tracked operations from the read that all sessions share.

    A tick requests a full rerun where an operation ended, was started or does not stop: ended if it
    ran when the full rerun called the fragment, and does not run now.
    """
    running = tracking.running()
    snapshots = resources.operations().read_all(entry.operation_id for entry in running)
    for entry in running:
        snapshot = snapshots[entry.operation_id]
        operation = snapshot.value
        if operation is not None and not viewer.may_see(operation):
            operation = None
        tracking.update(entry, operation, snapshot)
    if is_polling() and _tracked_ids() != st.session_state[_TRACKED]:
        request_full_rerun()


def request_full_rerun() -> None:
    """Let `needs_full_rerun` be true until the next full rerun."""
    st.session_state[_FULL_RERUN] = True


def needs_full_rerun() -> bool:
    """Return whether a tick has requested a full rerun."""
    return bool(st.session_state[_FULL_RERUN])


def restore_toggle(default: bool) -> None:
    """Set the toggle of the page, with the key "live", as it was when the viewer left the page."""
    state = st.session_state
    if _TOGGLE not in state:
        state[_TOGGLE] = state.get(_TOGGLES, {}).get(state[_PAGE], default)


def keep_toggle() -> None:
    """Keep the toggle of the page, and poll again. For its callback."""
    state = st.session_state
    state[_TOGGLES] = {**state.get(_TOGGLES, {}), state[_PAGE]: state[_TOGGLE]}
    resume()


def is_toggled_on() -> bool:
    """Return whether the toggle of the page is on."""
    return bool(st.session_state.get(_TOGGLE))


def is_paused() -> bool:
    """Return whether the page stopped polling because there was no interaction."""
    return bool(st.session_state.get(_PAUSED))


def resume() -> None:
    """Poll again: the viewer interacts. For the callback of a button."""
    st.session_state.pop(_PAUSED, None)
    st.session_state[_INTERACTED_AT] = time.monotonic()


def _tracked_ids() -> tuple[list[str], list[str], list[str]]:
    unresponsive = tracking.unresponsive(resources.SETTINGS.cancel_grace)
    return (
        [entry.operation_id for entry in tracking.running()],
        [*tracking.starting()],
        [entry.operation_id for entry in unresponsive],
    )
