"""What pages and their fragments call: start, cancel and follow operations, look at them, pause.

What ends the polling of a fragment is not `st.stop()`: that ends one run, and the timer in the
browser goes on. It is a full run that no longer calls the fragment. So the tick that sees the end
clears the session state and asks for one full run; see "How it stops" in the README.
"""

import time
from collections.abc import Mapping
from dataclasses import replace

import streamlit as st

from progress import adaptive_interval
from progress.backend.connection import ProgressConnection
from progress.contract import BackendError
from progress.operation import Operation, Status, new_operation_id
from progress.poller import Poller, Snapshot
from progress.session import tracking
from progress.settings import load_settings
from progress.ui.formats import escape_markdown, format_duration

SETTINGS = load_settings()
TELL_FOR = 5.0
"""Seconds in which each full run says again what has ended. A toast that shows is shown once."""

# Keys of the session state; progress/watching.py has those of what is followed.
_TOUCHED = "touched_at"
_PAUSED = "paused"
_PAGE = "page"
_PROBLEM = "problem"
_OWNER = "owner"
_UNSURE = "unsure_starts"
_INTERVAL = "interval"


def backend() -> ProgressConnection:
    """Return the connection that all sessions share."""
    return st.connection("progress", type=ProgressConnection)


@st.cache_resource(show_spinner=False)
def poller() -> Poller[Operation]:
    """Return the poller that all sessions share."""
    return Poller(
        lambda ids: backend().read(ids),
        SETTINGS.poll_interval,
        is_final=lambda operation: operation.status.is_terminal,
    )


def owner() -> str:
    """Return who is looking: the e-mail address or id of the login, "" in an app without one."""
    # Once in a session, as every change of login begins a new one: at each look at st.user,
    # Streamlit looks for a secrets file, which was a tenth of what a tick cost.
    if _OWNER not in st.session_state:
        user = st.user.to_dict()
        st.session_state[_OWNER] = str(user.get("email") or user.get("sub") or "")
    known: str = st.session_state[_OWNER]
    return known


def visible(operation: Operation) -> bool:
    """Return whether who is looking may see it: their own, or any if settings.toml says shared.

    What is not visible reads as unknown: an id in a URL is no permission.
    """
    return SETTINGS.shared or operation.owner == owner()


def start(job: str, subject: str) -> None:
    """Start an operation and watch it. For the callback of a button: it runs before the page.

    The callback of the other half of a double click runs after this one and finds what it did, or
    beside this one, in a thread of its own, and then starts the same operation: once, that is.
    """
    if not tracking.was_just_started(job, subject):
        _start(job, subject)


def retry(operation_id: str) -> None:
    """Start the job of an outcome again, in its place. For the callback of a button."""
    old = tracking.find(operation_id)
    if old is None or old.operation is None or not old.ended:
        return  # the other half of a double click: it has gone
    _start(old.job, old.subject, operation_id)


def _start(job: str, subject: str, retry_of: str = "") -> None:
    resume()
    if tracking.is_full() or tracking.is_watched(job, subject):
        return
    # A start that got no answer may have arrived: the next try says the same id, which starts
    # nothing twice.
    unsure: dict[tuple[str, str, str], str] = st.session_state.setdefault(_UNSURE, {})
    wanted = (job, subject, retry_of)
    # If the viewer has clicked on meanwhile, Streamlit ends a callback at its next look at the
    # session state. There is none between the start and the note of it.
    connection, who, ones = backend(), owner(), tracking.followed()
    operation_id = unsure.setdefault(wanted, new_operation_id())
    try:
        connection.start(operation_id, job, subject, who, retry_of)
    except BackendError as error:
        st.session_state[_PROBLEM] = ("The operation could not be started. Try again.", str(error))
        return
    unsure.pop(wanted, None)  # a callback beside this one may have done it
    # Only now: what makes room for it must not go for nothing.
    tracking.watch_started(ones, operation_id, job, subject, retry_of)


def follow(operation_id: str) -> None:
    """Follow an operation that the page names. For the callback of a button."""
    resume()
    tracking.watch(operation_id)


def cancel(operation_id: str) -> None:
    """Ask a job to stop. For the callback of a button; the page shows when it has."""
    resume()
    one = tracking.find(operation_id)
    if one is None:
        return
    connection, who = backend(), owner()  # first, as in _start
    try:
        # The id may have come from the URL: only the owner may end it.
        found = connection.read([operation_id]).get(operation_id)
        if found is not None and found.owner == who:
            connection.cancel(operation_id)
            one.cancelling = True
    except BackendError as error:
        st.session_state[_PROBLEM] = ("The cancel request did not arrive. Try again.", str(error))


def touch(page: str) -> None:
    """Note that somebody is at a page. Call it in every full run of a page that polls."""
    if st.session_state.get(_PAGE) != page:
        resume()
        tracking.forget_dropped()
    st.session_state[_PAGE] = page
    st.session_state[_TOUCHED] = time.monotonic()


def interval() -> float:
    """Return the seconds between the ticks of the fragments that this full run calls."""
    seconds = adaptive_interval.interval(SETTINGS.poll_interval)
    st.session_state[_INTERVAL] = seconds
    return seconds


def crowd_has_gone() -> bool:
    """Return whether the page should begin anew, as a full run would give it a shorter interval."""
    return adaptive_interval.may_shorten(
        st.session_state.get(_INTERVAL, 0.0), SETTINGS.poll_interval
    )


def forget_interval() -> None:
    """Ask no more whether the crowd has gone: the full run that follows has the new interval."""
    adaptive_interval.note_rerun()
    st.session_state.pop(_INTERVAL, None)


def idle() -> bool:
    """Return whether nobody touched this page for the idle budget. A tick that sees it pauses.

    Every tick asks this, and is counted by it.
    """
    adaptive_interval.count_tick()
    touched: float = st.session_state[_TOUCHED]
    return time.monotonic() - touched > SETTINGS.idle_budget


def pause() -> None:
    """Stop polling until somebody resumes. The next full run does not call the fragment."""
    st.session_state[_PAUSED] = True


def paused() -> bool:
    """Return whether this page stopped polling because nobody touched it."""
    return bool(st.session_state.get(_PAUSED))


def resume() -> None:
    """Poll again after the idle budget. For the callback of a button."""
    st.session_state.pop(_PAUSED, None)


def offer_resume(meanwhile: str) -> None:
    """Say why the page stopped polling, and offer to go on; `meanwhile` is what it misses."""
    st.info(
        f"Paused after {format_duration(SETTINGS.idle_budget)} without interaction. {meanwhile}",
        icon=":material/pause_circle:",
    )
    st.button("Resume", key="resume", on_click=resume)


def follow_url() -> None:
    """Bring session and URL together. Call it once in every full run of a page that follows.

    A reload, a second tab, a restart of the server or another replica come with ids in the URL
    and an empty session; a page change comes with the session and an empty URL. What a link adds
    is followed besides the rest.
    """
    touch("run")
    asked = dict.fromkeys(st.query_params.get_all("operation"))
    new = [
        operation_id
        for operation_id in asked
        if tracking.find(operation_id) is None and not tracking.was_just_dropped(operation_id)
    ]
    room = tracking.MOST - len(tracking.watched())
    for operation_id in reversed(new[:room]):
        tracking.watch(operation_id)
    if len(new) > room:
        advice = f"This page follows at most {tracking.MOST} operations at once. Left out:"
        st.session_state[_PROBLEM] = (advice, "\n".join(name[:200] for name in new[room:]))
    if any(not one.job and not one.ended for one in tracking.followed()):
        # The buttons, drawn above the fragment, must know what an id stands for.
        tracking.settle(ended(look()))
    tracking.write_url()


def show_problem() -> None:
    """Show, once, what went wrong in the last callback."""
    if (problem := st.session_state.pop(_PROBLEM, None)) is not None:
        advice, reason = problem
        st.error(advice, icon=":material/error:")
        st.text(reason)


def show_notices(page: str) -> None:
    """Say, for a moment, what has ended and no page has drawn. `page` is the open one."""
    touch(page)
    now = time.monotonic()
    for one in [one for one in tracking.outcomes() if now < one.tell_until]:
        status = one.operation.status if one.operation else "unknown"
        icon = "check_circle" if status is Status.COMPLETED else "info"
        st.toast(
            f"{escape_markdown(one.name)}: {status}", icon=f":material/{icon}:", duration="long"
        )
        # Only now: a click may interrupt this run, and the next one tells of it. That one does in
        # any case: a browser that has not come to a toast drops it if the next run lacks it.
        one.tell_until = min(one.tell_until, now + TELL_FOR)


def look() -> dict[str, Snapshot[Operation]]:
    """Return the news of what this session watches, as far as who is looking may see it."""
    snapshots = poller().read_all(tracking.watched())
    for operation_id, snapshot in snapshots.items():
        operation = snapshot.value
        if operation is not None and visible(operation):
            tracking.saw(operation_id, operation)
            _forget_unsure(operation_id)
        else:
            snapshots[operation_id] = replace(snapshot, value=None)
            if snapshot.known:
                # It may have been there a moment ago. How it ended, nobody here can know.
                tracking.saw(operation_id, None)
    return snapshots


def _forget_unsure(operation_id: str) -> None:
    unsure = st.session_state.get(_UNSURE, {})
    for wanted in [key for key, arrived in unsure.items() if arrived == operation_id]:
        unsure.pop(wanted, None)


def ended(snapshots: Mapping[str, Snapshot[Operation]]) -> list[str]:
    """Return the ids of what has ended or does not exist for who is looking."""
    return [
        operation_id
        for operation_id, snapshot in snapshots.items()
        if snapshot.known and (snapshot.value is None or snapshot.value.status.is_terminal)
    ]


def accent() -> str:
    """Return the colour of the theme that the viewer sees, as CSS."""
    dark = st.get_option("theme.dark.primaryColor") if st.context.theme.type == "dark" else None
    return dark or st.get_option("theme.primaryColor") or "currentColor"
