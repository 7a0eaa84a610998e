"""An operation and its status: immutable values and their arithmetic. No I/O, no Streamlit."""

import json
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Self

from progress.text import shortened, storable

# Longer text is cut when it is read, whoever wrote it.
_MAX_DESCRIPTION = 500
_MAX_ERROR = 50_000
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
            object.__setattr__(self, name, text if text is None else storable(text))
        if self.before is not None:
            object.__setattr__(self, "before", (self.before[0], storable(self.before[1])))


@dataclass(frozen=True, slots=True)
class Step:
    """A step that has ended."""

    number: int
    """1 for the first."""
    description: str
    seconds: float
    failed: bool


def count_statuses(rows: Iterable[tuple[object, int]]) -> dict[Status, int]:
    """Add up pairs of a status, as it was stored, and a count."""
    counts: dict[Status, int] = {}
    for value, count in rows:
        status = _known_status(value) or Status.IN_PROGRESS
        counts[status] = counts.get(status, 0) + count
    return counts


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
    def silence(self) -> float:
        """Seconds since the worker's last sign of life; 0 unless a worker is at it."""
        if self.status is not Status.IN_PROGRESS:
            return 0.0
        signs = [time for time in (self.heartbeat_at, self.last_updated) if time is not None]
        return _seconds(max(signs, default=self.created_at), self.read_at)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a row or a JSON body that anybody may have written.

        Missing or senseless values become what can be shown (an unknown total, a clamped step) and
        are named in `problem`; nothing here raises for a bad value.

        Args:
            row: The columns of the progress table; times as aware datetimes or ISO 8601 text,
                `result` as a dict or JSON text, `read_at` the backend's clock at the read.
        """
        problems: list[str] = []
        read_at = _time(row, "read_at", problems) or datetime.now(UTC)
        total = _count(row, "total_steps", problems)
        current = _count(row, "current_step", problems) or 0
        if total is not None and total > 0 and current > total:
            problems.append(f"current_step {current} is above total_steps {total}")
            current = total
        return cls(
            operation_id=str(row["operation_id"]),
            job=_text(row, "job"),
            subject=_text(row, "subject"),
            owner=_text(row, "owner"),
            status=_status(row, problems),
            read_at=read_at,
            created_at=_time(row, "created_at", problems) or read_at,
            current_step=current,
            total_steps=total or None,
            failed_steps=_count(row, "failed_steps", problems) or 0,
            step_description=shortened(_text(row, "step_description"), _MAX_DESCRIPTION),
            started_at=_time(row, "started_at", problems),
            last_updated=_time(row, "last_updated", problems),
            heartbeat_at=_time(row, "heartbeat_at", problems),
            finished_at=_time(row, "finished_at", problems),
            cancel_requested=bool(row.get("cancel_requested")),
            error=_tail(row, "error", _MAX_ERROR) or None,
            result=_result(row, problems),
            attempt=_count(row, "attempt", problems) or 0,
            retry_of=shortened(_text(row, "retry_of"), _MAX_DESCRIPTION),
            last_steps=_steps(row, problems),
            problem="; ".join(problems) or None,
        )


def _seconds(start: datetime, end: datetime) -> float:
    return max((end - start).total_seconds(), 0.0)


def _shown(value: object) -> str:
    return repr(value if not isinstance(value, str) else value[:60])


def _known_status(value: object) -> Status | None:
    try:
        return Status(str(value))
    except ValueError:
        return None


def _status(row: Mapping[str, Any], problems: list[str]) -> Status:
    value = row.get("status")
    status = _known_status(value)
    if status is None:
        # Not terminal: whoever wrote it may mend it, and nobody here may declare a failure.
        problems.append(f"status {_shown(value)} is not one of {', '.join(Status)}")
        return Status.IN_PROGRESS
    return status


def _count(row: Mapping[str, Any], name: str, problems: list[str]) -> int | None:
    value = row.get(name)
    if value is None:
        return None
    try:
        number = float(value)
        if math.isfinite(number) and 0 <= number < 2**63:
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    problems.append(f"{name} {_shown(value)} is not a count")
    return None


def _time(row: Mapping[str, Any], name: str, problems: list[str]) -> datetime | None:
    value = row.get(name)
    if value is None:
        return None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        problems.append(f"{name} {_shown(value)} is not a time")
        return None


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


def _tail(row: Mapping[str, Any], name: str, limit: int) -> str:
    # A traceback names the exception at its end.
    text = _text(row, name)
    return text if len(text) <= limit else "…" + text[1 - limit :]


def _result(row: Mapping[str, Any], problems: list[str]) -> dict[str, Any] | None:
    value = row.get("result")
    try:
        value = json.loads(value) if isinstance(value, str | bytes) else value
    except (ValueError, RecursionError):
        problems.append("result is not JSON")
        return None
    if value is None or isinstance(value, dict):
        return value
    return {"value": value}


def _steps(row: Mapping[str, Any], problems: list[str]) -> tuple[Step, ...]:
    value = row.get("last_steps")
    try:
        if isinstance(value, str | bytes):
            # Longer text is not of this project, and not worth keeping.
            return _parsed(value) if len(value) < 10_000 else _listed(json.loads(value))
        return _listed(value)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError):
        problems.append("last_steps is not a list of steps")
        return ()


# Most polls bring the text of the poll before, and to parse it is most of what a row costs.
@lru_cache(maxsize=500)
def _parsed(text: str | bytes) -> tuple[Step, ...]:
    return _listed(json.loads(text))


def _listed(entries: Sequence[Mapping[str, Any]] | None) -> tuple[Step, ...]:
    return tuple(_step(entry) for entry in (entries or [])[-LAST_STEPS:])


def _step(entry: Mapping[str, Any]) -> Step:
    seconds = float(entry["seconds"])
    if not math.isfinite(seconds):
        raise ValueError(seconds)
    return Step(
        number=int(entry["number"]),
        description=shortened(_text(entry, "description"), MAX_STEP_DESCRIPTION),
        seconds=max(seconds, 0.0),
        failed=bool(entry.get("failed")),
    )
