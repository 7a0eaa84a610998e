"""The log of a run, read from what a service answers: JSON, JSON lines or text. No I/O."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from progress.backend.mapping import Service, pick
from progress.operation import Log, LogLine
from progress.text import sanitize, truncate

MAX_LINE = 2_000
"""Characters of a line."""
_JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")


def parse(content_type: str, content: bytes) -> Any:
    """Return an answer: what its JSON is, or a list of its lines, as JSON or text.

    Raises:
        ValueError: It should be JSON, and is not.
        RecursionError: It has too many levels.
    """
    kind = content_type.partition(";")[0].strip().lower()
    text = content.decode(errors="replace")
    if kind == "application/json" or kind.endswith("+json"):
        return json.loads(text)
    lines = text.removesuffix("\n").split("\n") if text else []
    return [_json_or_text(line) for line in lines] if kind in _JSON_LINES else lines


def read_log(service: Service, body: Any, limit: int, start: datetime) -> Log:
    """Return the latest lines in an answer.

    Args:
        service: The mapping.
        body: From `parse`.
        limit: How many lines at most.
        start: The time of lines before the first that has one.

    Raises:
        ValueError: There is no list where the mapping says.
    """
    found = body if isinstance(body, list) else pick(body, service.log_lines)
    found = found.split("\n") if isinstance(found, str) else found
    if not isinstance(found, list):
        raise ValueError
    items = [_timed(service, item) for item in found]
    times = [at for at, _ in items if at is not None]
    if len(set(times)) > 1 and times == sorted(times, reverse=True):
        items.reverse()  # The latest line is the first.
    lines: list[LogLine] = []
    at = start
    for time, text in items:
        at = time or at
        lines += [LogLine(at, truncate(sanitize(line), MAX_LINE)) for line in text.split("\n")]
    dropped = pick(body, service.log_dropped)
    count = dropped if type(dropped) is int and dropped > 0 else 0
    return Log(tuple(lines[-limit:]), count, is_part=dropped is True)


def _json_or_text(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):  # The last line may not be complete yet.
        return line


def _timed(service: Service, item: Any) -> tuple[datetime | None, str]:
    """Return the time and the text of a line."""
    if isinstance(item, Mapping):
        text = pick(item, service.log_text)
        if not isinstance(text, str):
            text = json.dumps(item, ensure_ascii=False)  # So that a mistake in the mapping is seen.
        return _time(pick(item, service.log_at)), text.rstrip("\r\n")
    text = str(item).rstrip("\r\n")
    first, _, rest = text.partition(" ")
    time = _time(first) if "T" in first else None
    return (time, rest) if time else (None, text)


def _time(value: Any) -> datetime | None:
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
