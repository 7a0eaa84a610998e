"""Operations, their status and progress: immutable values. No I/O, no Streamlit."""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from progress.text import sanitize

LAST_STEPS = 20
"""How many of the latest ended steps are stored: an operation may have 30,000."""
MAX_STEP_DESCRIPTION = 200
"""Characters stored of the description of an ended step: every write contains all of them."""
MAX_BARS = 3
"""Loops within each other that have a bar."""
MAX_METRICS = 20
"""Metrics that a job may report while it runs."""
MAX_RETRY_DELAY = 24 * 3600.0
"""Seconds before a retry: the delay doubles up to this."""


class Status(StrEnum):
    """Where an operation stands. A terminal status is never overwritten."""

    QUEUED = "queued"
    """Created; no worker has started it."""
    IN_PROGRESS = "in_progress"
    """A worker runs the job."""
    COMPLETED = "completed"
    """Ended; every step succeeded."""
    PARTIAL = "partial"
    """Ended, but some steps failed."""
    FAILED = "failed"
    """Ended with an error, or its worker died."""
    CANCELLED = "cancelled"
    """Ended on request."""

    @property
    def is_terminal(self) -> bool:
        """Whether the operation has ended."""
        return self not in (Status.QUEUED, Status.IN_PROGRESS)


MAX_NAME = 2_000
"""Characters that a job, a subject and an owner have at most."""
MAX_OPTIONS = 100_000
"""Characters that options have at most, as text: each poll reads them."""
_ID = re.compile(r"[\w.:+~-]{1,200}", re.ASCII)


def new_operation_id() -> str:
    """Return an id that cannot be guessed: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def is_operation_id(text: str) -> bool:
    """Return whether a text, which may be from a URL, has the form of an id; services make others
    than `new_operation_id`."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Query:
    """Filters for a list of operations. All of them must match."""

    owner: str | None
    """None: every owner."""
    job: str | None = None
    subject: str | None = None
    statuses: frozenset[Status] = frozenset()
    """Empty: every status."""
    since: datetime | None = None
    """Created at this time or later. Aware."""
    before: tuple[datetime, str] | None = None
    """For the next page: `created_at` and `operation_id` of the last row of this page."""
    limit: int = 100

    def __post_init__(self) -> None:
        """Sanitize text as the reporter does: what no store accepts must match nothing."""
        for name in ("owner", "job", "subject"):
            text = getattr(self, name)
            if text is not None:  # a longer one matches nothing, whatever its length
                object.__setattr__(self, name, sanitize(text[: MAX_NAME + 1]))
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
class Bar:
    """How far a loop within a step is."""

    description: str
    done: int
    total: int | None
    """None while it is unknown."""


@dataclass(frozen=True, slots=True)
class Live:
    """What a job reports besides its steps."""

    bars: tuple[Bar, ...] = ()
    """The loops that run, the outer one first."""
    metrics: Mapping[str, float | str | None] = field(default_factory=dict)
    retries: int = 0
    """How often a process ran the job again after an error; `attempt` counts the processes."""
    retry_reason: str = ""
    """The latest error, or how the process before this one ended; "" if none."""

    def text(self) -> str:
        """Return it as JSON, without what has no value."""
        return to_text({name: value for name, value in asdict(self).items() if value})

    def for_retry(self, reason: str = "") -> "Live":
        """Return what the next process begins with: the retries, and the newest reason."""
        return Live(retries=self.retries, retry_reason=reason or self.retry_reason)


NO_LIVE = Live()


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job: the columns that only the job writes."""

    current_step: int = 0
    total_steps: int | None = None
    failed_steps: int = 0
    step_description: str = ""
    last_steps: tuple[Step, ...] = ()
    """The latest steps that have ended, oldest first, at most LAST_STEPS."""
    live: Live = NO_LIVE

    def columns(self) -> dict[str, Any]:
        """Return the values by column; `last_steps` and `live` as JSON text."""
        columns = asdict(self)
        return columns | {"last_steps": to_text(columns["last_steps"]), "live": self.live.text()}


@dataclass(frozen=True, slots=True)
class Options:
    """How an operation runs: what its job declared, and the viewer entered, when it was created."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    """By the fields of the job's model, as JSON has them."""
    time_limit: float = 0.0
    """Seconds after which the job is ended; 0: none."""
    retries: int = 0
    retry_delay: float = 5.0
    """Seconds before the first retry. They double each time."""
    max_running: int = 0
    """How many operations of the job run at the same time; 0: no limit of its own."""
    upload: str = ""
    """Under which id the file was stored that is the subject: the hash of its content. "" if it is
    no file."""

    def delay(self, retry: int) -> float:
        """Return the seconds before a retry; 0 is the first."""
        return min(self.retry_delay * 2.0 ** min(retry, 100), MAX_RETRY_DELAY)

    def text(self) -> str:
        """Return it as JSON, without what is as by default."""
        default = asdict(NO_OPTIONS)
        values = asdict(self).items()
        return to_text({name: value for name, value in values if value != default[name]})


NO_OPTIONS = Options()


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a job printed or logged."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Log:
    """The latest lines of a job's log."""

    lines: tuple[LogLine, ...] = ()
    dropped: int = 0
    """How many older lines were removed, because a log is limited."""
    is_part: bool = False
    """Whether there may be older lines, which nobody counted."""

    @property
    def notice(self) -> str:
        """That older lines are missing, or may be; "" if none is."""
        if self.dropped:
            return f"{self.dropped:,} older lines were removed."
        return "Older lines may be missing." if self.is_part else ""


def to_text(value: object) -> str:
    """Return a value as JSON.

    Raises:
        TypeError, ValueError: JSON has no such value, as NaN.
    """
    return sanitize(json.dumps(value, ensure_ascii=False, allow_nan=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One run of a job for one subject, as the backend stored it at `read_at`.

    All times are aware UTC by the backend's clock, so that ages are right even if the clock of the
    app is wrong.
    """

    operation_id: str
    job: str
    subject: str
    """Never truncated, nor are `job` and `owner`: a retry needs all three."""
    owner: str
    status: Status
    read_at: datetime
    created_at: datetime
    current_step: int = 0
    """How many steps have ended, failed steps included."""
    total_steps: int | None = None
    """None while it is unknown."""
    failed_steps: int = 0
    step_description: str = ""
    started_at: datetime | None = None
    last_updated: datetime | None = None
    """When a step last started or ended."""
    heartbeat_at: datetime | None = None
    """The latest heartbeat of the worker."""
    finished_at: datetime | None = None
    cancel_requested: bool = False
    error: str | None = None
    """A line for each failed step, and the traceback if the job failed."""
    result: dict[str, Any] | None = None
    attempt: int = 0
    """1 for the first; 0 before a worker has started the job."""
    retry_of: str = ""
    """The id of the operation that this one retries; "" if none."""
    last_steps: tuple[Step, ...] = ()
    """The latest steps that have ended, oldest first, at most LAST_STEPS. Empty in lists, and if
    the backend does not store them."""
    live: Live = NO_LIVE
    """What the job reports besides its steps. Empty in lists."""
    options: Options = NO_OPTIONS
    """Its parameters and limits. Empty in lists."""
    queue_position: int | None = None
    """1 for the next that starts; None if it is not queued, or the backend does not tell."""
    problem: str | None = None
    """Which stored values are invalid. They are replaced, and the operation is shown."""

    @property
    def progress(self) -> float | None:
        """How far it is, 0.0 to 1.0; None while that is unknown.

        The ended steps of all. The loops in the current step count as fractions of it; without a
        total they alone count.
        """
        in_step = 0.0 if self.status.is_terminal else _fraction(self.live.bars)
        if self.total_steps is not None:
            return min((self.current_step + in_step) / self.total_steps, 1.0)
        return in_step if self.live.bars and self.live.bars[0].total else None

    @property
    def is_cancelling(self) -> bool:
        """Whether cancel was requested and the job has not acknowledged it yet."""
        return self.cancel_requested and not self.status.is_terminal

    @property
    def failed_in_step(self) -> bool:
        """Whether the job failed in the step after the ended steps, which is `step_description`."""
        is_last = self.total_steps is not None and self.current_step >= self.total_steps
        return self.status == Status.FAILED and bool(self.step_description) and not is_last

    @property
    def elapsed(self) -> float:
        """Seconds from its creation to its end, or to `read_at` while it runs."""
        return _seconds(self.created_at, self.finished_at or self.read_at)

    @property
    def rate(self) -> float | None:
        """Steps per second, from the start to the latest update; None if that is too little, or
        after a retry: when that began is not stored."""
        until = self.last_updated or self.finished_at
        if self.started_at is None or until is None or self.live.retries:
            return None
        seconds = _seconds(self.started_at, until)
        return self.current_step / seconds if self.current_step > 1 and seconds >= 1 else None

    @property
    def remaining(self) -> float | None:
        """Estimated seconds until the end, at the rate so far; None before two steps have ended,
        and after a retry.

        0 once it lasts longer than was estimated when the current step started.
        """
        if (
            self.status != Status.IN_PROGRESS
            or self.total_steps is None
            or self.current_step < 2
            or self.started_at is None
            or self.last_updated is None
            or self.live.retries
        ):
            return None
        per_step = _seconds(self.started_at, self.last_updated) / self.current_step
        steps_left = max(self.total_steps - self.current_step, 0)
        in_step = _seconds(self.last_updated, self.read_at)
        if in_step >= per_step * steps_left:
            return 0.0
        return per_step * (steps_left - 1) + max(per_step - in_step, 0.0)

    @property
    def attempts(self) -> int:
        """How often the job has begun: `attempt` counts its processes."""
        return self.attempt + self.live.retries

    @property
    def reason(self) -> str | None:
        """The most useful line of `error`: in a traceback, the line that names the exception."""
        # The lines of an exception group have this margin; those of its exceptions a wider one.
        lines = [line.removeprefix("  | ") for line in (self.error or "").strip().splitlines()]
        frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
        after_frames = lines[frames[-1] :] if frames else lines[-1:]
        return next((line for line in after_frames if not line.startswith(" ")), None)

    @property
    def heartbeat_age(self) -> float:
        """Seconds since the latest heartbeat of the worker; 0 unless the job runs."""
        if self.status != Status.IN_PROGRESS:
            return 0.0
        times = [time for time in (self.heartbeat_at, self.last_updated) if time is not None]
        return _seconds(max(times, default=self.created_at), self.read_at)


def _fraction(bars: tuple[Bar, ...]) -> float:
    """Return how far the step is whose loops these are."""
    if not bars or not bars[0].total:
        return 0.0
    return min((bars[0].done + _fraction(bars[1:])) / bars[0].total, 1.0)


def _seconds(start: datetime, end: datetime) -> float:
    return max((end - start).total_seconds(), 0.0)
