"""The operations that a session follows: in the session state and in the URL. No I/O here.

The URL names them as ?operation=...&operation=..., so that a reload, a second tab, a restart of
the server and another replica go on with them.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import streamlit as st

from progress.operation import Operation
from progress.text import truncate

MOST = 8
"""Most operations that one session follows, those that have ended among them."""
DOUBLE_CLICK = 1.0
"""Seconds in which a second start of the same is taken for the other half of a double click."""
URL_LAG = 5.0
"""Seconds in which the URL that a browser sends may still name what is no longer followed."""

# Keys of the session state.
_FOLLOWED = "followed_operations"
_DROPPED = "dropped_operations"


@dataclass(slots=True)
class Followed:
    """An operation that this session watches, or watched to its end."""

    operation_id: str
    job: str = ""
    """"" until it is known: an id from the URL says nothing of it."""
    subject: str = ""
    started_at: float = -float("inf")
    """By `time.monotonic()`, if it was this session that started it."""
    operation: Operation | None = None
    """As it was last seen; None before the first news, or if there is none for this viewer."""
    cancelling: bool = False
    """Whether this session asked to cancel it."""
    ended: bool = False
    """Whether the watch has ended; `operation` is then the outcome."""
    tell_until: float = float("inf")
    """Until when other pages tell its end, by `time.monotonic()`; 0 once it has been drawn."""

    @property
    def name(self) -> str:
        """How a page calls it. It is data, not Markdown."""
        return truncate(f"{self.job}: {self.subject}" if self.job else self.operation_id, 200)


def followed() -> list[Followed]:
    """Return what this session follows, the latest first."""
    ones: list[Followed] = st.session_state.setdefault(_FOLLOWED, [])
    return ones


def find(operation_id: str) -> Followed | None:
    """Return what this session knows of an operation; None if it does not follow it."""
    return next((one for one in followed() if one.operation_id == operation_id), None)


def watched() -> tuple[str, ...]:
    """Return the ids of the operations that have not ended as far as this session knows."""
    return tuple(one.operation_id for one in followed() if not one.ended)


def outcomes() -> list[Followed]:
    """Return the operations that this session watched to their end, and did not dismiss."""
    return [one for one in followed() if one.ended]


def is_full() -> bool:
    """Return whether nothing more can be watched."""
    return len(watched()) >= MOST


def is_watched(job: str, subject: str) -> bool:
    """Return whether this session watches the job at work on the subject."""
    wanted = (job, subject)
    return any((one.job, one.subject) == wanted for one in followed() if not one.ended)


def was_just_started(job: str, subject: str) -> bool:
    """Return whether the same was started a moment ago: a quick job may already have ended."""
    since = time.monotonic() - DOUBLE_CLICK
    wanted = (job, subject)
    return any((one.job, one.subject) == wanted for one in followed() if one.started_at > since)


def watch(operation_id: str) -> None:
    """Follow an operation, if there is room: the oldest outcome makes it, what runs does not."""
    if not is_full():
        _follow(followed(), Followed(operation_id))


def watch_started(
    ones: list[Followed], operation_id: str, job: str, subject: str, retry_of: str = ""
) -> None:
    """Follow an operation that this session has started, in the place of what it repeats.

    Args:
        ones: What `followed()` returned before the start. After it, a look at the session state
            may end the callback.
        operation_id: What was started.
        job: Its job.
        subject: What the job works on.
        retry_of: The operation that it repeats, or "".
    """
    _follow(ones, Followed(operation_id, job, subject, time.monotonic()), retry_of)


def _follow(ones: list[Followed], one: Followed, retry_of: str = "") -> None:
    if any(known.operation_id == one.operation_id for known in ones):
        return
    gone = [old for old in ones if old.operation_id == retry_of]
    if len(ones) - len(gone) >= MOST:
        gone += [old for old in ones if old.ended and old not in gone][-1:]
    ones.insert(0, one)
    for old in gone:
        ones.remove(old)
    _note_dropped(gone)
    write_url()


def unwatch(operation_id: str) -> None:
    """Stop following an operation, or dismiss its outcome. It goes on without this session."""
    if (one := find(operation_id)) is not None:
        followed().remove(one)
        _note_dropped([one])
        write_url()


def _note_dropped(ones: list[Followed]) -> None:
    now = time.monotonic()
    dropped: dict[str, float] = st.session_state.get(_DROPPED, {})
    recent = {name: at for name, at in dropped.items() if now - at < URL_LAG}
    st.session_state[_DROPPED] = recent | {one.operation_id: now for one in ones}


def was_just_dropped(operation_id: str) -> bool:
    """Return whether it is followed no longer, but the browser may not have heard of it yet."""
    dropped: dict[str, float] = st.session_state.get(_DROPPED, {})
    return time.monotonic() - dropped.get(operation_id, -float("inf")) < URL_LAG


def forget_dropped() -> None:
    """Take the next URL at its word, whatever it names."""
    st.session_state.pop(_DROPPED, None)


def saw(operation_id: str, operation: Operation | None) -> None:
    """Keep the latest news of an operation, for what a full run draws outside the fragment.

    None: there is no such operation for this viewer, or there is none any more.
    """
    if (one := find(operation_id)) is not None:
        one.operation = operation
        if operation is not None:
            one.job, one.subject = operation.job, operation.subject


def settle(operation_ids: Iterable[str]) -> None:
    """Keep what was last seen of these as their outcomes: the next full run polls them no more.

    Args:
        operation_ids: Operations that have ended, or that do not exist for this viewer.
    """
    for one in map(find, operation_ids):
        if one is not None:
            one.ended = True


def write_url() -> None:
    """Name in the URL what this session follows."""
    ids = [one.operation_id for one in followed()]
    if ids and st.query_params.get_all("operation") != ids:
        st.query_params["operation"] = ids
    elif not ids:
        st.query_params.pop("operation", None)
