"""What the buttons of a page do: start, retry, cancel and track operations.

These are callbacks: they run before the page does. If the viewer clicks again meanwhile, Streamlit
ends a callback at its next access to the session state. So there is none between a request to the
backend and the note of it.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from progress.contract import Backend, BackendError, Feature
from progress.job import Job, ParameterErrors, Upload
from progress.operation import Log, Query, Status, is_operation_id
from progress.session import choices, parameters, polling, resources, tracking, viewer
from progress.session.choices import Problem
from progress.session.tracking import Entry, Start
from progress.text import as_line, sanitize, truncate

ACTIVE = frozenset({Status.QUEUED, Status.IN_PROGRESS})
UPLOAD = "upload"
"""The key of the widget for a file."""
_PROBLEMS = "progress_problems"  # key of the session state


def start_selected() -> None:
    """Start an operation of the job and the subject that are selected, and track it."""
    # As the browser sends them: the values of the last run may be out of date.
    choices.load()
    name = choices.selected_job()
    job, subject = choices.find(name), selected_subject()
    if job is None or subject is None:
        # The lists have changed, or a forged message.
        details = f"{truncate(name, 100)}: {truncate(str(st.session_state.get('subject')), 100)}"
        problems().append(Problem("This is no longer offered. Choose again.", details))
        return
    try:
        wanted = _selected_start(name, job, subject)
    except ParameterErrors as error:
        parameters.note_errors(name, error)
        return
    parameters.note_errors(name, None)
    start(wanted, _selected_content(job))


def is_selected_running() -> bool:
    """Return whether a tracked operation runs what a click on the start button would start."""
    name = choices.selected_job()
    job, subject = choices.find(name), selected_subject()
    started = [(entry.job, entry.subject) for entry in tracking.running()]
    if job is None or subject is None or (name, subject) not in started:
        return False  # before a large file is hashed
    try:
        return tracking.is_running(_selected_start(name, job, subject))
    except ParameterErrors:
        return False


def selected_subject() -> str | None:
    """Return what the selected job is to work on: a subject, the name of a file, or "" if it needs
    none; None if nothing that is offered is selected.
    """
    name = choices.selected_job()
    if (job := choices.find(name)) is None:
        return None
    if job.subjects is None:
        return ""
    if isinstance(job.subjects, Upload):
        file = st.session_state.get(UPLOAD)
        return None if file is None else as_line(sanitize(file.name))
    subject: str | None = st.session_state.get("subject")
    return subject if subject in choices.subjects(name).names else None


def _selected_content(job: Job) -> bytes | None:
    """Return the content of the uploaded file; None if the subject is no file."""
    file = st.session_state.get(UPLOAD) if isinstance(job.subjects, Upload) else None
    return None if file is None else bytes(file.getvalue())


def _selected_start(name: str, job: Job, subject: str) -> Start:
    """Return what a click starts. A file counts by its content: the same again is the same start.

    Raises:
        ParameterErrors: A parameter is invalid or missing.
    """
    options = parameters.options(name, job)
    if (content := _selected_content(job)) is not None:
        options = replace(options, upload=hashlib.sha256(content).hexdigest())
    return Start(name, subject, options)


def start(wanted: Start, content: bytes | None = None) -> None:
    """Start an operation and track it; `content` is that of an uploaded file.

    The second half of a double click runs after this and finds what it did, or at the same time in
    another thread, and then sends the same id, which starts nothing twice.
    """
    if not tracking.was_just_started(wanted):
        _start(wanted, content=content)


def retry(operation_id: str) -> None:
    """Start the job of an outcome again, in its place, with the limits that jobs.py has now."""
    entry = tracking.find(operation_id)
    if entry is None or entry.operation is None or not entry.ended:
        return
    choices.load()
    options = entry.options
    if (job := choices.find(entry.job)) is not None:
        options = replace(job.options(options.parameters), upload=options.upload)
    _start(Start(entry.job, entry.subject, options), operation_id)


def edit(operation_id: str) -> None:
    """Fill the form with what an operation was started with, to run it again with changes."""
    polling.resume()
    entry = tracking.find(operation_id)
    if entry is None or (job := choices.find(entry.job)) is None:
        return
    if len(choices.jobs().names) > 1:  # else there is no widget, and it would stay for ever
        st.session_state["job"] = entry.job
    if job.subjects is not None and not isinstance(job.subjects, Upload):
        st.session_state["subject"] = entry.subject
    parameters.fill(entry.job, job, entry.options.parameters)


def force_stop(operation_id: str) -> None:
    """End the process of a job that does not stop."""
    _request(operation_id, lambda backend: backend.force_stop(operation_id))


def cancel(operation_id: str) -> None:
    """Request that a job stops. The page shows when it has."""
    if (entry := tracking.find(operation_id)) is None:
        return

    def request(backend: Backend) -> None:
        backend.cancel(operation_id)
        entry.cancel_requested = True

    _request(operation_id, request)


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


def read_file(operation_id: str, name: str) -> bytes:
    """Return a file that a job has kept.

    Raises:
        BackendError: It cannot be read, or was removed.
    """
    return resources.backend().read_file(operation_id, name)


def read_log(operation_id: str, limit: int) -> Log:
    """Return at most so many of the latest lines of a log.

    Raises:
        BackendError: It cannot be read.
    """
    return resources.backend().logs([operation_id], limit).get(operation_id, Log())


def has_feature(feature: Feature) -> bool:
    """Return whether the backend, as it is configured, can do something that not every one can."""
    try:
        return feature in resources.backend().features
    except BackendError:
        return False


def problems() -> list[Problem]:
    """Return what went wrong in callbacks and is not drawn yet. A page empties the list."""
    found: list[Problem] = st.session_state.setdefault(_PROBLEMS, [])
    return found


def _first(ids: list[str]) -> str:
    return "\n".join(truncate(operation_id, 200) for operation_id in ids[:10])


def _start(wanted: Start, retry_of: str = "", content: bytes | None = None) -> None:
    polling.resume()
    if tracking.is_full() or tracking.is_running(wanted):
        return
    owner, tracked, untracked = viewer.owner(), tracking.entries(), tracking.untracked()
    operation_id = tracking.reserve_id(wanted, retry_of)
    starting, noted = tracking.starting(), problems()
    starting.append(operation_id)
    try:
        backend = resources.backend()
        if (active := _active_count(backend, owner)) >= (most := resources.SETTINGS.max_active):
            whose = f"You have {active}" if owner else f"There are {active}"
            message = f"{whose} active operations: at most {most} at a time. Wait, or cancel some."
            noted.append(Problem(message, "max_active in settings.toml sets the limit."))
            return
        job, subject, options = wanted.job, wanted.subject, wanted.options
        if content is not None:
            backend.save_file(options.upload, subject, content)
        backend.start(operation_id, job, subject, owner, retry_of, options)
        # Tracked only now: what makes room for it is not lost if the start fails.
        entry = Entry(operation_id, job, subject, options, time.monotonic())
        tracking.add(tracked, untracked, entry, retry_of)
    except BackendError as error:
        noted.append(Problem("The operation could not be started. Try again.", str(error)))
    finally:
        starting.remove(operation_id)


def _request(operation_id: str, request: Callable[[Backend], None]) -> None:
    """Request something of the viewer's own operation. The id may be from the URL."""
    polling.resume()
    owner, noted = viewer.owner(), problems()
    try:
        backend = resources.backend()
        found = backend.read([operation_id]).get(operation_id)
        if found is not None and found.owner == owner:
            request(backend)
    except BackendError as error:
        noted.append(Problem("The request did not arrive. Try again.", str(error)))


def _active_count(backend: Backend, owner: str) -> int:
    counts = backend.counts(Query(owner, statuses=ACTIVE))
    return sum(counts.get(status, 0) for status in ACTIVE)
