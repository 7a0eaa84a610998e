"""An operation and its status: immutable values and their arithmetic. No I/O, no Streamlit."""

import json
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from progress.text import sanitize

LAST_STEPS = 20
"""Ended steps that are kept with an operation: it may have 30,000."""
MAX_STEP_DESCRIPTION = 200
"""Characters kept of the description of an ended step: all of them are stored with every write."""


class Status(StrEnum):
    """Where an operation stands. A terminal status is never overwritten."""

    QUEUED = "queued"
    """Asked for; no worker has begun."""
    IN_PROGRESS = "in_progress"
    """A worker is at it."""
    COMPLETED = "completed"
    """Ended; every step succeeded."""
    PARTIAL = "partial"
    """Ended, but some steps failed."""
    FAILED = "failed"
    """Ended by an error, or by the death of its worker."""
    CANCELLED = "cancelled"
    """Ended because somebody asked for it."""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (Status.QUEUED, Status.IN_PROGRESS)


TERMINAL = tuple(status.value for status in Status if status.is_terminal)


def new_operation_id() -> str:
    """Return an id that nobody can guess: 32 hexadecimal digits."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Query:
    """Which operations of the store are asked for. Everything that is given must hold."""

    owner: str | None
    """None: of everybody."""
    job: str | None = None
    subject: str | None = None
    statuses: frozenset[Status] = frozenset()
    """Empty: whatever their status."""
    since: datetime | None = None
    """Aware; created then or later."""
    before: tuple[datetime, str] | None = None
    """The next page: `created_at` and `operation_id` of the last row of the page before."""
    limit: int = 100

    def __post_init__(self) -> None:
        """Mend text that stores refuse, as the reporter does: it must match nothing, not fail."""
        for name in ("owner", "job", "subject"):
            text = getattr(self, name)
            object.__setattr__(self, name, text if text is None else sanitize(text))
        if self.before is not None:
            object.__setattr__(self, "before", (self.before[0], sanitize(self.before[1])))


@dataclass(frozen=True, slots=True)
class Step:
    """A step that has ended."""

    number: int
    """1 for the first."""
    description: str
    seconds: float
    failed: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: the columns that it alone writes."""

    current_step: int = 0
    total_steps: int | None = None
    failed_steps: int = 0
    step_description: str = ""
    last_steps: tuple[Step, ...] = ()
    """The latest steps that have ended, oldest first, at most LAST_STEPS."""

    def columns(self) -> dict[str, Any]:
        """Return the value of each column; `last_steps` as JSON text."""
        columns = asdict(self)
        return columns | {"last_steps": json.dumps(columns["last_steps"], ensure_ascii=False)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One run of a job for one subject, as the backend held it at `read_at`.

    Times are aware and in UTC, by the backend's clock, so that ages come out right however wrong
    the clock of the app is.
    """

    operation_id: str
    job: str
    subject: str
    """Whole, as `job` and `owner` are: they say what a retry is of, and whose it is. Pages cut."""
    owner: str
    status: Status
    read_at: datetime
    created_at: datetime
    current_step: int = 0
    """Steps that have ended, failed ones among them."""
    total_steps: int | None = None
    """None while nobody knows."""
    failed_steps: int = 0
    step_description: str = ""
    started_at: datetime | None = None
    last_updated: datetime | None = None
    """When a step last began or ended."""
    heartbeat_at: datetime | None = None
    """The last sign of life of the worker."""
    finished_at: datetime | None = None
    cancel_requested: bool = False
    error: str | None = None
    """A traceback, or one line for each failed step."""
    result: dict[str, Any] | None = None
    attempt: int = 0
    retry_of: str = ""
    """The id of the operation that this one repeats; "" if none."""
    last_steps: tuple[Step, ...] = ()
    """The latest steps that have ended, oldest first, at most LAST_STEPS. Empty in what `recent`
    returns, and where the backend does not know them."""
    problem: str | None = None
    """What in the stored row made no sense. The rest of the row is shown all the same."""

    @property
    def progress(self) -> float | None:
        """The share of steps that have ended, 0.0 to 1.0; None while the total is unknown."""
        if self.total_steps is None:
            return None
        return min(self.current_step / self.total_steps, 1.0)

    @property
    def is_cancelling(self) -> bool:
        """Whether somebody asked to cancel and the job has not acknowledged it yet."""
        return self.cancel_requested and not self.status.is_terminal

    @property
    def elapsed(self) -> float:
        """Seconds from the request to the end, or to `read_at` while it runs."""
        return _seconds(self.created_at, self.finished_at or self.read_at)

    @property
    def rate(self) -> float | None:
        """Steps per second from the start to the end of the latest step; None if unknown."""
        until = self.last_updated or self.finished_at
        if self.started_at is None or until is None:
            return None
        seconds = _seconds(self.started_at, until)
        return self.current_step / seconds if self.current_step and seconds else None

    @property
    def remaining(self) -> float | None:
        """Seconds until the end at the rate so far; None before two steps have ended."""
        if (
            self.status is not Status.IN_PROGRESS
            or self.total_steps is None
            or self.current_step < 2
            or self.started_at is None
            or self.last_updated is None
        ):
            return None
        per_step = _seconds(self.started_at, self.last_updated) / self.current_step
        left = per_step * max(self.total_steps - self.current_step, 0)
        return max(left - _seconds(self.last_updated, self.read_at), 0.0)

    @property
    def reason(self) -> str | None:
        """The line of `error` that says most: of a traceback, the one that names the exception."""
        lines = (self.error or "").strip().splitlines()
        frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
        after_frames = lines[frames[-1] :] if frames else lines[-1:]
        return next((line for line in after_frames if not line.startswith(" ")), None)

    @property
    def heartbeat_age(self) -> float:
        """Seconds since the worker's last sign of life; 0 unless a worker is at it."""
        if self.status is not Status.IN_PROGRESS:
            return 0.0
        signs = [time for time in (self.heartbeat_at, self.last_updated) if time is not None]
        return _seconds(max(signs, default=self.created_at), self.read_at)


def _seconds(start: datetime, end: datetime) -> float:
    return max((end - start).total_seconds(), 0.0)
