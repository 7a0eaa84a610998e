"""What the buttons of a page do: start, retry, cancel and track operations.

These are callbacks: they run before the page does. If the viewer clicks again meanwhile, Streamlit
ends a callback at its next access to the session state. So there is none between a request to the
backend and the note of it.
"""

import time

import streamlit as st

from progress.contract import Backend, BackendError
from progress.operation import Query, Status, is_operation_id
from progress.session import choices, polling, resources, tracking, viewer
from progress.session.choices import Problem
from progress.session.tracking import Entry
from progress.text import truncate

ACTIVE = frozenset({Status.QUEUED, Status.IN_PROGRESS})
_PROBLEMS = "progress_problems"  # key of the session state


def start_selected() -> None:
    """Start an operation of the job and the subject that are selected, and track it."""
    # As the browser sends them: the values of the last run may be out of date.
    job = st.session_state.get("job") or next(iter(choices.jobs().names), None)
    subject: str | None = st.session_state.get("subject")
    if job in choices.jobs().names and subject in choices.subjects().names:
        start(job, subject)
    else:  # the lists have changed, or a forged message
        details = f"{truncate(str(job), 100)}: {truncate(str(subject), 100)}"
        problems().append(Problem("This is no longer offered. Choose again.", details))


def start(job: str, subject: str) -> None:
    """Start an operation and track it.

    The second half of a double click runs after this and finds what it did, or at the same time in
    another thread, and then sends the same id, which starts nothing twice.
    """
    if not tracking.was_just_started(job, subject):
        _start(job, subject)


def retry(operation_id: str) -> None:
    """Start the job of an outcome again, in its place."""
    entry = tracking.find(operation_id)
    if entry is not None and entry.operation is not None and entry.ended:
        _start(entry.job, entry.subject, operation_id)


def cancel(operation_id: str) -> None:
    """Request that a job stops. The page shows when it has."""
    polling.resume()
    entry = tracking.find(operation_id)
    if entry is None:
        return
    owner, noted = viewer.owner(), problems()
    try:
        backend = resources.backend()
        # The id may be from the URL: only the owner may cancel.
        found = backend.read([operation_id]).get(operation_id)
        if found is not None and found.owner == owner:
            backend.cancel(operation_id)
            entry.cancel_requested = True
    except BackendError as error:
        noted.append(Problem("The cancel request did not arrive. Try again.", str(error)))


def track(operation_id: str) -> None:
    """Track an operation that the page names."""
    polling.resume()
    if not tracking.is_double_click():
        tracking.note_click()
        tracking.track(operation_id)


def find_offers() -> None:
    """Read which operations of the viewer run, when the page opens and tracks nothing.

    It is no polling: a full rerun reads them again, and only while there are any.
    """
    offers = tracking.offers()
    is_new = offers is None and not tracking.entries()
    if problems() or not (offers or is_new):  # a start that just failed has told what is wrong
        return
    query = Query(viewer.owner(), statuses=ACTIVE, limit=tracking.MAX_TRACKED)
    try:
        tracking.note_offers(resources.backend().recent(query))
    except BackendError as error:
        problems().append(Problem("The running operations cannot be read.", str(error)))


def track_url() -> None:
    """Track what the URL names besides what is tracked, and name all of it in the URL.

    A reload, a second tab, a restart of the server and another replica come with ids in the URL and
    an empty session; a page change comes with the session and an empty URL.
    """
    ids = dict.fromkeys(filter(None, st.query_params.get_all("operation")))
    new = [
        operation_id
        for operation_id in ids
        if tracking.find(operation_id) is None and not tracking.was_just_untracked(operation_id)
    ]
    invalid = [operation_id for operation_id in new if not is_operation_id(operation_id)]
    if invalid:
        problems().append(Problem("The address names an invalid operation id:", _first(invalid)))
        new = [operation_id for operation_id in new if operation_id not in invalid]
    room = tracking.MAX_TRACKED - len(tracking.running())
    for operation_id in reversed(new[:room]):
        tracking.track(operation_id)
    if left_out := new[room:]:
        message = f"This page tracks at most {tracking.MAX_TRACKED} operations. Left out:"
        problems().append(Problem(message, _first(left_out)))
    tracking.write_url()


def problems() -> list[Problem]:
    """Return what went wrong in callbacks and is not drawn yet. A page empties the list."""
    found: list[Problem] = st.session_state.setdefault(_PROBLEMS, [])
    return found


def _first(ids: list[str]) -> str:
    return "\n".join(truncate(operation_id, 200) for operation_id in ids[:10])


def _start(job: str, subject: str, retry_of: str = "") -> None:
    polling.resume()
    if tracking.is_full() or tracking.is_running(job, subject):
        return
    owner, tracked, untracked = viewer.owner(), tracking.entries(), tracking.untracked()
    operation_id = tracking.idempotency_key(job, subject, retry_of)
    starting, noted = tracking.starting(), problems()
    starting.append(operation_id)
    try:
        backend = resources.backend()
        if (active := _active_count(backend, owner)) >= (most := resources.SETTINGS.max_active):
            whose = f"You have {active}" if owner else f"There are {active}"
            message = f"{whose} active operations: at most {most} at a time. Wait, or cancel some."
            noted.append(Problem(message, "max_active in settings.toml sets the limit."))
            return
        backend.start(operation_id, job, subject, owner, retry_of)
        # Tracked only now: what makes room for it is not lost if the start fails.
        entry = Entry(operation_id, job, subject, time.monotonic())
        tracking.add(tracked, untracked, entry, retry_of)
    except BackendError as error:
        noted.append(Problem("The operation could not be started. Try again.", str(error)))
    finally:
        starting.remove(operation_id)


def _active_count(backend: Backend, owner: str) -> int:
    counts = backend.counts(Query(owner, statuses=ACTIVE))
    return sum(counts.get(status, 0) for status in ACTIVE)
