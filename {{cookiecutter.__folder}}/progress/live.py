"""The fragment that follows an operation, and the session state around it.

What ends the polling is not `st.stop()`: that ends one run, and the timer in the browser goes on.
It is a full run that no longer calls the fragment. So the tick that sees the end clears the
session state and asks for one full run; see "How it stops" in the README.
"""

import time
from dataclasses import dataclass

import streamlit as st

from progress.backend import ProgressConnection
from progress.errors import BackendError
from progress.operation import Operation, Status, new_operation_id
from progress.poller import Poller, Snapshot
from progress.settings import load_settings
from progress.text import duration, steps

SETTINGS = load_settings()

# Keys of the session state. The operation watched is also in the URL, as ?operation=...
_WATCHED = "watched_operation"
_OUTCOME = "outcome"
_TOUCHED = "touched_at"
_PAUSED = "paused"
_PAGE = "page"
_CANCELLING = "cancelling"
_PROBLEM = "problem"
_UNSURE = "unsure_start"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a watch ended: the final operation, or None if there is none for this viewer."""

    operation_id: str
    operation: Operation | None


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
    return str(st.user.get("email") or st.user.get("sub") or "")


def visible(operation: Operation) -> bool:
    """Return whether who is looking may see it: their own, or any if settings.toml says shared.

    What is not visible reads as unknown: an id in a URL is no permission.
    """
    return SETTINGS.shared or operation.owner == owner()


def watching() -> str | None:
    """Return the id of the operation that this session follows."""
    operation_id: str | None = st.session_state.get(_WATCHED)
    return operation_id


def watch(operation_id: str) -> None:
    """Follow an operation, in this session and, through the URL, after a reload."""
    unwatch()
    st.session_state.pop(_OUTCOME, None)
    st.session_state[_WATCHED] = operation_id
    st.session_state[_TOUCHED] = time.monotonic()
    st.query_params["operation"] = operation_id


def unwatch() -> None:
    """Follow nothing. The next full run does not call the fragment, which ends its timer."""
    st.session_state.pop(_WATCHED, None)
    st.session_state.pop(_PAUSED, None)
    st.session_state.pop(_CANCELLING, None)


def outcome() -> Outcome | None:
    """Return how the last watch of this session ended."""
    ended: Outcome | None = st.session_state.get(_OUTCOME)
    return ended


def start(job: str, subject: str) -> None:
    """Start an operation and watch it. For the callback of a button: it runs before the page.

    The id is fixed before anything is stored, so a double click finds it and starts nothing more.
    """
    if watching():
        return
    # A start that got no answer may have arrived: the next try says the same id, which starts
    # nothing twice.
    wanted = (job, subject)
    unsure_id, unsure = st.session_state.pop(_UNSURE, ("", None))
    operation_id = unsure_id if unsure == wanted else new_operation_id()
    watch(operation_id)
    try:
        backend().start(operation_id, job, subject, owner())
    except BackendError as error:
        unwatch()
        st.query_params.pop("operation", None)
        st.session_state[_UNSURE] = (operation_id, wanted)
        st.session_state[_PROBLEM] = ("The operation could not be started. Try again.", str(error))


def cancel() -> None:
    """Ask the job to stop. For the callback of a button; the page shows when it has."""
    operation_id = watching()
    if operation_id is None:
        return
    try:
        # The id may have come from the URL: only the owner may end it.
        found = backend().read([operation_id]).get(operation_id)
        if found is not None and found.owner == owner():
            backend().cancel(operation_id)
            st.session_state[_CANCELLING] = True
    except BackendError as error:
        st.session_state[_PROBLEM] = ("The cancel request did not arrive. Try again.", str(error))


def cancelling() -> bool:
    """Return whether this session asked to cancel what it watches."""
    return bool(st.session_state.get(_CANCELLING))


def touch(page: str) -> None:
    """Note that somebody is at a page. Call it in every full run of a page that polls."""
    if st.session_state.get(_PAGE) != page:
        resume()
    st.session_state[_PAGE] = page
    st.session_state[_TOUCHED] = time.monotonic()


def idle() -> bool:
    """Return whether nobody touched this page for the idle budget. A tick that sees it pauses."""
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
        f"Nobody touched this page for {duration(SETTINGS.idle_budget)}, so it stopped asking."
        f" {meanwhile}",
        icon=":material/pause_circle:",
    )
    st.button("Resume", key="resume", on_click=resume)


def follow_url() -> None:
    """Bring session and URL together. Call it once in every full run of a page that follows.

    A reload, a second tab, a restart of the server or another replica come with the id in the URL
    and an empty session; a page change comes with the session and an empty URL.
    """
    touch("run")
    asked = st.query_params.get("operation")
    ended = outcome()
    current = watching() or (ended.operation_id if ended else None)
    if asked and asked != current:
        watch(asked)
    elif current and not asked:
        st.query_params["operation"] = current


def show_problem() -> None:
    """Show, once, what went wrong in the last callback."""
    if (problem := st.session_state.pop(_PROBLEM, None)) is not None:
        advice, reason = problem
        st.error(advice, icon=":material/error:")
        st.text(reason)


@st.fragment(run_every=SETTINGS.poll_interval)
def live_progress() -> None:
    """Show how far the watched operation is, at every tick, until it ends.

    Display only, and without arguments: they would freeze at the last full run.
    """
    operation_id = watching()
    if operation_id is None:
        st.stop()  # A tick that was under way when the watch ended.
    if idle():
        pause()
        st.rerun(scope="app")
    snapshot = poller().read(operation_id)
    operation = snapshot.value
    if operation is not None and not visible(operation):
        operation = None
    if operation is not None:
        st.session_state.pop(_UNSURE, None)
    if snapshot.known and (operation is None or operation.status.is_terminal):
        unwatch()
        st.session_state[_OUTCOME] = Outcome(operation_id, operation)
        st.rerun(scope="app")
    _draw(snapshot, operation)


def _draw(snapshot: Snapshot[Operation], operation: Operation | None) -> None:
    if operation is None:
        st.progress(0.0, text="Waiting for the first news")
    else:
        _draw_running(operation)
    if snapshot.error is not None:
        st.warning(
            "The progress cannot be read just now. The operation is not affected;"
            " this page goes on asking.",
            icon=":material/cloud_off:",
        )
        st.text(str(snapshot.error))


def _draw_running(operation: Operation) -> None:
    st.text(f"{operation.job}: {operation.subject}")
    done = steps(operation.current_step, operation.total_steps)
    if operation.status is Status.QUEUED:
        st.progress(0.0, text="Queued: waiting for a worker")
    elif operation.progress is None:
        # An HTML progress element without a value is an indeterminate bar; st.progress has none.
        st.caption(f"{done} so far")
        colour = st.get_option("theme.primaryColor") or "auto"
        st.html(f'<progress aria-label="In progress" style="width:100%;accent-color:{colour}">')
    else:
        st.progress(operation.progress, text=done)
    # Text of a job is data: st.text knows no Markdown.
    st.text(operation.step_description or " ")
    times = [f"Elapsed {duration(operation.elapsed)}"]
    if operation.remaining is not None:
        times.append(f"about {duration(operation.remaining)} left")
    if operation.failed_steps:
        times.append(f"{operation.failed_steps} failed so far")
    if operation.attempt > 1:
        times.append(f"attempt {operation.attempt}")
    st.caption(" · ".join(times))
    if operation.is_cancelling:
        st.info("Cancelling: waiting for the job to stop.", icon=":material/hourglass_top:")
    if operation.silence > SETTINGS.quiet_after:
        st.warning(
            f"Quiet: no sign from the worker for {duration(operation.silence)}."
            " It may be busy or gone; this page goes on watching.",
            icon=":material/bedtime:",
        )
    if operation.problem:
        st.warning("The stored progress makes no sense in part:", icon=":material/rule:")
        st.text(operation.problem)
