"""Rows of a table, and JSON bodies, read into operations. No I/O."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from progress.operation import (
    LAST_STEPS,
    MAX_BARS,
    MAX_METRICS,
    MAX_STEP_DESCRIPTION,
    NO_LIVE,
    NO_OPTIONS,
    Bar,
    Live,
    Operation,
    Options,
    Status,
    Step,
)
from progress.text import truncate, truncate_middle

# Longer text is truncated when it is read.
_MAX_DESCRIPTION = 500
_MAX_ERROR = 50_000

Value = TypeVar("Value")


def operation_from_row(row: Mapping[str, Any]) -> Operation:
    """Return the operation in a row, or in a JSON body, that any program may have written.

    Invalid values never raise: they are replaced by values that can be shown (an unknown total, a
    clamped step) and named in `problem`.

    Args:
        row: The values by column. Times are datetimes or ISO 8601 text; `result`, `last_steps`,
            `live` and `options` are values or JSON text; `read_at` is the time by the backend's
            clock. A service may have `parameters` instead of `options`.
    """
    problems: list[str] = []
    read_at = _time(row, "read_at", problems) or datetime.now(UTC)
    total = _count(row, "total_steps", problems)
    current = _count(row, "current_step", problems) or 0
    if total is not None and total > 0 and current > total:
        problems.append(f"current_step {current} is above total_steps {total}")
        current = total
    return Operation(
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
        step_description=truncate(_text(row, "step_description"), _MAX_DESCRIPTION),
        started_at=_time(row, "started_at", problems),
        last_updated=_time(row, "last_updated", problems),
        heartbeat_at=_time(row, "heartbeat_at", problems),
        finished_at=_time(row, "finished_at", problems),
        cancel_requested=bool(row.get("cancel_requested")),
        # The beginning has the first failed steps; the end of a traceback names the exception.
        error=truncate_middle(_text(row, "error"), _MAX_ERROR) or None,
        result=_result(row, problems),
        attempt=_count(row, "attempt", problems) or 0,
        retry_of=truncate(_text(row, "retry_of"), _MAX_DESCRIPTION),
        last_steps=_parsed(row, "last_steps", "a list of steps", _step_tuple, (), problems),
        live=_parsed(row, "live", "what a job reports", _live, NO_LIVE, problems),
        options=_options(row, problems),
        queue_position=_count(row, "queue_position", problems),
        problem="; ".join(problems) or None,
    )


def count_statuses(rows: Iterable[tuple[object, int]]) -> dict[Status, int]:
    """Return the counts by status. An unknown status counts as in progress, as in a row."""
    counts: dict[Status, int] = {}
    for value, count in rows:
        status = _status_or_none(value) or Status.IN_PROGRESS
        counts[status] = counts.get(status, 0) + count
    return counts


def _shorten(value: object) -> str:
    return repr(value if not isinstance(value, str) else value[:60])


def _status_or_none(value: object) -> Status | None:
    try:
        return Status(str(value))
    except ValueError:
        return None


def _status(row: Mapping[str, Any], problems: list[str]) -> Status:
    value = row.get("status")
    status = _status_or_none(value)
    if status is None:
        # Not terminal: the job may still run, and only its side may declare it failed.
        problems.append(f"status {_shorten(value)} is not one of {', '.join(Status)}")
        return Status.IN_PROGRESS
    return status


def _count(row: Mapping[str, Any], name: str, problems: list[str]) -> int | None:
    value = row.get(name)
    if value is None:
        return None
    try:
        return _whole(value)
    except (TypeError, ValueError, OverflowError):
        problems.append(f"{name} {_shorten(value)} is not a count")
        return None


def _whole(value: Any) -> int:
    number = float(value)
    if not 0 <= number < 2**63:  # also NaN
        raise ValueError(value)
    return int(number)


def _time(row: Mapping[str, Any], name: str, problems: list[str]) -> datetime | None:
    value = row.get(name)
    if value is None:
        return None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        problems.append(f"{name} {_shorten(value)} is not a time")
        return None


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


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


def _parsed(
    row: Mapping[str, Any],
    name: str,
    what: str,
    parse: Callable[[Any], Value],
    default: Value,
    problems: list[str],
) -> Value:
    value = row.get(name)
    try:
        if isinstance(value, str | bytes):
            # Longer text is not from our reporter, and must not fill the cache.
            return _from_text(parse, value) if len(value) < 10_000 else parse(json.loads(value))
        return default if value is None else parse(value)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError):
        problems.append(f"{name} is not {what}")
        return default


# Most polls return the same text as before, and parsing it is most of the cost of a row.
@lru_cache(maxsize=500)
def _from_text(parse: Callable[[Any], Value], text: str | bytes) -> Value:
    return parse(json.loads(text))


def _options(row: Mapping[str, Any], problems: list[str]) -> Options:
    if (parameters := row.get("parameters")) is not None:
        row = {"options": {"parameters": parameters}}
    return _parsed(
        row, "options", "the options of an operation", _option_values, NO_OPTIONS, problems
    )


def _option_values(entry: Mapping[str, Any]) -> Options:
    options = Options(**entry)
    if not (isinstance(options.parameters, Mapping) and isinstance(options.upload, str)):
        raise TypeError(entry)
    if not (0 <= options.time_limit < math.inf and 0 <= options.retry_delay < math.inf):
        raise ValueError(entry)
    options.text()  # a retry stores it again: raises if it has NaN
    return replace(
        options, retries=_whole(options.retries), max_running=_whole(options.max_running)
    )


def _live(entry: Mapping[str, Any]) -> Live:
    bars = [
        Bar(
            truncate(_text(bar, "description"), MAX_STEP_DESCRIPTION),
            _whole(bar["done"]),
            _whole(bar.get("total") or 0) or None,
        )
        for bar in entry.get("bars", [])[:MAX_BARS]
    ]
    metrics = {
        truncate(name, MAX_STEP_DESCRIPTION): _metric(value)
        for name, value in list(entry.get("metrics", {}).items())[:MAX_METRICS]
    }
    reason = truncate(_text(entry, "retry_reason"), _MAX_DESCRIPTION)
    return Live(tuple(bars), metrics, _whole(entry.get("retries", 0)), reason)


def _metric(value: Any) -> float | str | None:
    if isinstance(value, str):
        return truncate(value, MAX_STEP_DESCRIPTION)
    if value is not None and not isinstance(value, int | float):
        raise TypeError(value)
    return value if value is None or math.isfinite(value) else None


def _step_tuple(entries: Sequence[Mapping[str, Any]] | None) -> tuple[Step, ...]:
    return tuple(_step(entry) for entry in (entries or [])[-LAST_STEPS:])


def _step(entry: Mapping[str, Any]) -> Step:
    seconds = float(entry["seconds"])
    if not math.isfinite(seconds):
        raise ValueError(seconds)
    return Step(
        number=int(entry["number"]),
        description=truncate(_text(entry, "description"), MAX_STEP_DESCRIPTION),
        seconds=max(seconds, 0.0),
        failed=bool(entry.get("failed")),
    )
