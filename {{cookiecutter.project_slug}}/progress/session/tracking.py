"""The operations that a session tracks: entries in the session state, their ids in the URL. No I/O.

The URL names them as ?operation=...&operation=..., so that a reload, a second tab, a restart of
the server and another replica go on with them.
"""

import time
from dataclasses import dataclass

import streamlit as st

from progress.contract import BackendError
from progress.operation import NO_OPTIONS, Operation, Options, new_operation_id
from progress.poller import Snapshot

MAX_TRACKED = 8
"""Operations that one session tracks at most, outcomes included."""
DOUBLE_CLICK = 0.6
"""Seconds in which a second click counts as the second half of a double click."""
URL_DELAY = 5.0
"""Seconds in which the URL that a browser sends may still name what is no longer tracked."""
TOAST_SECONDS = 5.0
"""Seconds in which each full rerun repeats a toast: a browser drops one that it has not drawn yet
if the next full rerun lacks it. One that is already shown is not shown twice."""

# Keys of the session state.
_ENTRIES = "tracked_operations"
_STARTING = "starting_operations"
_UNTRACKED = "untracked_operations"
_KEYS = "idempotency_keys"
_OFFERS = "offered_operations"
_CLICKED_AT = "moved_buttons_at"


@dataclass(frozen=True, slots=True)
class Start:
    """What a click on the start button starts."""

    job: str
    subject: str
    options: Options = NO_OPTIONS

    @property
    def key(self) -> tuple[str, str, str]:
        """Starts with equal keys are the same. Limits do not count: jobs.py may change them."""
        parameters = Options(self.options.parameters, upload=self.options.upload)
        return self.job, self.subject, parameters.text()


@dataclass(slots=True)
class Entry:
    """An operation that this session tracks, or tracked to its end."""

    operation_id: str
    job: str = ""
    """"" until it is known: an id from the URL does not tell it."""
    subject: str = ""
    options: Options = NO_OPTIONS
    started_at: float = -float("inf")
    """By `time.monotonic()`, if this session started it."""
    operation: Operation | None = None
    """As of the last update; None before the first one, or if the viewer may not see it."""
    error: BackendError | None = None
    """Why the last read failed; `operation` is then out of date."""
    age: float = 0.0
    """Seconds since `operation` was read, if that is long ago; else 0."""
    cancel_requested: bool = False
    """Whether this session requested to cancel it."""
    cancelling_since: float | None = None
    """When this session first saw that it is cancelling, by `time.monotonic()`."""
    ended: bool = False
    """Whether it is an outcome now: it is no longer polled."""
    toast_until: float = float("inf")
    """Until when pages that do not draw it show a toast, by `time.monotonic()`."""

    @property
    def start(self) -> Start:
        """What started it."""
        return Start(self.job, self.subject, self.options)


def entries() -> list[Entry]:
    """Return what this session tracks, the latest first."""
    tracked: list[Entry] = st.session_state.setdefault(_ENTRIES, [])
    return tracked


def find(operation_id: str) -> Entry | None:
    """Return the entry of an operation; None if it is not tracked."""
    return next((entry for entry in entries() if entry.operation_id == operation_id), None)


def running() -> list[Entry]:
    """Return the entries whose operations have not ended as far as this session knows."""
    return [entry for entry in entries() if not entry.ended]


def outcomes() -> list[Entry]:
    """Return the entries that this session tracked to their end, and did not dismiss."""
    return [entry for entry in entries() if entry.ended]


def offers() -> list[Operation] | None:
    """Return the viewer's operations that run untracked, as of the last read; None before it."""
    found: list[Operation] | None = st.session_state.get(_OFFERS)
    return found and [operation for operation in found if find(operation.operation_id) is None]


def note_offers(operations: list[Operation]) -> None:
    """Store which operations of the viewer run."""
    st.session_state[_OFFERS] = operations


def starting() -> list[str]:
    """Return the ids whose start the backend has not answered yet.

    A click during a start draws the page before the operation is tracked: this keeps it polling.
    """
    ids: list[str] = st.session_state.setdefault(_STARTING, [])
    return ids


def untracked() -> dict[str, float]:
    """Return what was tracked on this page: when it last was, by `time.monotonic()`."""
    times: dict[str, float] = st.session_state.setdefault(_UNTRACKED, {})
    return times


def needs_polling() -> bool:
    """Return whether an operation runs, or is about to be tracked."""
    return bool(running() or starting())


def is_full() -> bool:
    """Return whether no further operation can be tracked."""
    return len(running()) >= MAX_TRACKED


def log_key(entry: Entry) -> str:
    """Return the key of the toggle that shows the log of an operation."""
    return f"log-{entry.operation_id}"


def is_log_shown(entry: Entry) -> bool:
    """Return whether the viewer wants to see the log."""
    return bool(st.session_state.get(log_key(entry)))


def unresponsive(grace: float) -> list[Entry]:
    """Return the entries that have not stopped for so many seconds after a request to cancel."""
    until = time.monotonic() - grace
    return [entry for entry in running() if (entry.cancelling_since or float("inf")) <= until]


def is_running(start: Start) -> bool:
    """Return whether a tracked operation runs the same job, for the same subject and parameters."""
    return any(entry.start.key == start.key for entry in running())


def was_just_started(start: Start) -> bool:
    """Return whether this session started it a moment ago: a quick job may already have ended."""
    since = time.monotonic() - DOUBLE_CLICK
    started = (entry for entry in entries() if entry.started_at > since)
    return any(entry.start.key == start.key for entry in started)


def is_double_click() -> bool:
    """Return whether a click a moment ago moved the buttons: this one may be its second half."""
    last: float = st.session_state.get(_CLICKED_AT, -float("inf"))
    return time.monotonic() - last < DOUBLE_CLICK


def note_click() -> None:
    """Note a click that draws another button where the pointer is."""
    st.session_state[_CLICKED_AT] = time.monotonic()


def was_just_untracked(operation_id: str) -> bool:
    """Return whether it was tracked a moment ago, so that the browser's URL may still name it."""
    return time.monotonic() - untracked().get(operation_id, -float("inf")) < URL_DELAY


def unannounced() -> list[Entry]:
    """Return the outcomes that no page has drawn, and that a toast should announce."""
    return [entry for entry in outcomes() if time.monotonic() < entry.toast_until]


def reserve_id(start: Start, retry_of: str) -> str:
    """Reserve an idempotency key, the id of the operation, for a start, until it is answered.

    A start without an answer may have arrived: an equal one gets its id, which starts nothing
    twice.
    """
    keys: dict[tuple[str, ...], str] = st.session_state.setdefault(_KEYS, {})
    return keys.setdefault((*start.key, retry_of), new_operation_id())


def track(operation_id: str) -> None:
    """Track an operation, if there is room: the oldest outcome makes room, what runs does not."""
    if not is_full():
        add(entries(), untracked(), Entry(operation_id))


def add(
    tracked: list[Entry], untracked: dict[str, float], entry: Entry, retry_of: str = ""
) -> None:
    """Track an operation in the place of the one that it repeats.

    Args:
        tracked: What `entries()` returned. After the start of an operation, an access to the
            session state may end the callback before the operation is tracked.
        untracked: What `untracked()` returned.
        entry: The new entry.
        retry_of: The operation that it repeats, or "".
    """
    if any(known.operation_id == entry.operation_id for known in tracked):
        return
    replaced = [known for known in tracked if known.operation_id == retry_of]
    if len(tracked) - len(replaced) >= MAX_TRACKED:
        replaced += [known for known in tracked if known.ended and known not in replaced][-1:]
    tracked.insert(0, entry)
    for known in replaced:
        tracked.remove(known)
        untracked[known.operation_id] = time.monotonic()
    _forget_key(entry.operation_id)
    write_url()


def untrack(operation_id: str) -> None:
    """Stop tracking an operation, or dismiss its outcome. It goes on without this session."""
    if is_double_click():
        return  # the first click dismissed another one, whose button was here
    note_click()
    untracked()[operation_id] = time.monotonic()
    if (entry := find(operation_id)) is not None:
        entries().remove(entry)
        write_url()


def update(entry: Entry, operation: Operation | None, snapshot: Snapshot[Operation]) -> None:
    """Store what the last read said of an operation.

    Args:
        entry: Its entry.
        operation: None: it was not read, does not exist, or is not for this viewer.
        snapshot: What is known of it.
    """
    entry.error, entry.age = snapshot.error, snapshot.age
    if operation is not None:
        entry.operation, entry.job, entry.subject = operation, operation.job, operation.subject
        entry.options = operation.options
        _forget_key(entry.operation_id)
        if not operation.is_cancelling:
            entry.cancelling_since = None
        elif entry.cancelling_since is None:
            entry.cancelling_since = time.monotonic()
    elif snapshot.known:
        # It may have existed a moment ago. How it ended, nobody here can know.
        entry.operation = None
    entry.ended = snapshot.known and (operation is None or operation.status.is_terminal)


def mark_announced(entry: Entry, seconds: float = 0.0) -> None:
    """Note that a page draws the outcome, or shows a toast that is repeated for some seconds."""
    entry.toast_until = min(entry.toast_until, time.monotonic() + seconds)


def open_page() -> None:
    """Track whatever the next URL names, also what was just untracked: another page links to it."""
    st.session_state.pop(_UNTRACKED, None)
    st.session_state.pop(_OFFERS, None)


def write_url() -> None:
    """Name in the URL what this session tracks."""
    ids = [entry.operation_id for entry in entries()]
    if ids and st.query_params.get_all("operation") != ids:
        st.query_params["operation"] = ids
    elif not ids:
        st.query_params.pop("operation", None)


def _forget_key(operation_id: str) -> None:
    keys: dict[tuple[str, ...], str] = st.session_state.get(_KEYS, {})
    for start in [start for start, key in keys.items() if key == operation_id]:
        keys.pop(start, None)  # a callback that overlaps this one may have removed it
