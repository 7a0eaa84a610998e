"""What a mapping between a job service and this app is made of. Yours is in service.py."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from progress.operation import Operation, Status

Field = str | Callable[[Any], Any]
"""Where a value stands in a body: "metadata.progressPercent", or a function of the body."""

_RUN = {"operation_id", "uuid", "id"}
_ASKED = {"owner", "job", "subject", "statuses", "since"}
_PAGE = _ASKED | {"limit", "before_time", "before_id"}
_VALUES = {
    "start": _RUN | {"job", "subject", "owner", "retry_of"},
    "read": _RUN,
    "cancel": _RUN,
    "find": _RUN | {"owner", "limit"},
    "recent": _PAGE,
    "counts": _ASKED,
}
"""What `{name}` may be in each call of a service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the service. `{name}` in its texts stands for a value.

    The values are operation_id (ours, 32 hexadecimal digits), uuid (the same with hyphens), id (the
    service's own), and at a start job, subject, owner and retry_of (the operation that this one
    repeats, or ""). In lists they are limit, and what the query asks for, or nothing: owner, job,
    subject, statuses (a list of ours), since, before_time and before_id (the last run of the page
    before; times as ISO 8601). In a path they are percent-encoded; `{+id}` keeps the slashes of an
    id.
    """

    method: str
    path: str
    """Below the url of the secrets, with a slash in front."""
    query: Mapping[str, str] = field(default_factory=dict)
    """A parameter that is just `"{name}"` is sent once for each value of a list, and left out for
    nothing."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """Sent as JSON. A text that is just `"{name}"` becomes the value as it is, numbers too."""
    repeatable: bool = False
    """Whether the service does it once however often it is asked, as with an Idempotency-Key. Only
    then is a lost answer tried again. A GET always may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How a job service speaks: its requests, its words, and where values stand in its bodies."""

    start: Call
    """Begins a run. Its answer has a Location, or the service's id in the body, or neither where
    `read` asks with our id."""
    read: Call
    """Asks for one run."""
    cancel: Call
    """Asks a run to stop."""
    recent: Call
    """Asks for the latest runs."""
    items: str
    """Where the runs stand in the answer of `recent` and `find`; "" if it is the answer."""
    fields: Mapping[str, Field]
    """The columns of an operation, and where they stand in the body of a run: status,
    operation_id, job, subject, owner, current_step, total_steps, percent (0 to 100, in the place
    of both), failed_steps, step_description, created_at, started_at, last_updated, heartbeat_at,
    finished_at, cancel_requested, error, result, attempt, retry_of, last_steps (a list of objects
    with number, description, seconds and failed). Leave out what the service does not say."""
    statuses: Mapping[str, Status]
    """What its words for a status mean here. Other words are shown as a problem."""
    filters: bool = False
    """Whether `recent` takes all that a query may ask for. Otherwise its latest 100 runs are
    narrowed down here: no page and no filter reaches behind them."""
    counts: Call | None = None
    """Asks how many runs of a query have each status: an object of its words and numbers. None:
    the runs that `recent` can see are counted."""
    id: Field | None = None
    """Where the service's own id stands in a body. None: it takes ours."""
    find: Call | None = None
    """Asks for the runs among which one has our id, by `fields["operation_id"]`. It is needed
    where the service makes ids of its own: after a reload or on another replica only our id is
    known."""
    exists: int | None = None
    """The HTTP status with which it refuses to start the same operation twice."""
    appears_within: float = 0.0
    """Seconds that a new run may take to be seen by `read` or `find`. Until then it is queued."""

    def check(self) -> None:
        """Find the slips of a pen that would otherwise be tracebacks, or say nothing at all.

        Raises:
            ValueError: What is wrong and where, in one line.
        """
        columns = {column.name for column in fields(Operation)} - {"problem"} | {"percent"}
        for name in ("operation_id", "status"):
            if name not in self.fields:
                raise ValueError(f"fields has no {name}, which every service must tell.")
        for name in self.fields:
            if name not in columns:
                raise ValueError(f"fields has {name}, which is not one of {_listed(columns)}.")
        for name, values in _VALUES.items():
            call: Call | None = getattr(self, name, None)
            for value in _placeholders(call):
                if value not in values:
                    raise ValueError(f"{name} has {{{value}}}, but only {_listed(values)}.")

    def row(self, body: Any) -> dict[str, Any]:
        """Return what a body says, by the names of an operation's columns. It never raises."""
        row = {name: pick(body, where) for name, where in self.fields.items()}
        word = row.get("status")
        row["status"] = self.statuses.get(word, word) if isinstance(word, str) else word
        if word in tuple(Status) and word not in self.statuses:
            # One of our words, but nobody said that it means the same.
            row["status"] = f"{word} (not in the mapping)"
        if "percent" in row:
            row["current_step"], row["total_steps"] = row.pop("percent"), 100
            if row["current_step"] is None:
                row["total_steps"] = None
        return row


def _placeholders(call: Call | None) -> Iterator[str]:
    if call is None:
        return
    yield from re.findall(r"\{\+?(.*?)\}", call.path)
    parts: list[Any] = [call.query, call.headers, call.body]
    while parts:
        part = parts.pop()
        if isinstance(part, Mapping):
            parts += part.values()
        elif isinstance(part, list):
            parts += part
        elif isinstance(part, str):
            yield from re.findall(r"\{(\w+)\}", part)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def pick(body: Any, where: Field) -> Any:
    """Return the value at a path like "state.name" or "runs.0.id", or what a function finds."""
    try:
        if callable(where):
            return where(body)
        for part in where.split(".") if where else []:
            body = body[int(part)] if isinstance(body, list) else body[part]
        return body
    except Exception:  # Whatever a function of the mapping does not expect is not there.
        return None


def first(*places: Field) -> Field:
    """Return a field that is the first of these places that says something."""

    def find(body: Any) -> Any:
        return next((value for place in places if (value := pick(body, place)) is not None), None)

    return find


def milliseconds(where: Field) -> Field:
    """Return a field for a time that the service says as milliseconds since 1970; 0 is no time."""

    def time(body: Any) -> datetime | None:
        value = pick(body, where)
        return datetime.fromtimestamp(value / 1000, UTC) if value else None

    return time


def fill_path(template: str, values: Mapping[str, Any]) -> str:
    """Return a path with its values percent-encoded.

    Raises:
        ValueError: A value would lead out of its place in the path.
    """

    def encoded(match: re.Match[str]) -> str:
        value = str(values[match[2]])
        if not value or {".", ".."} & set(value.split("/")):
            raise ValueError(f"{value!r} cannot stand in a path")
        return quote(value, safe="/" if match[1] else "")

    return re.sub(r"\{(\+?)(\w+)\}", encoded, template)


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Return a body, or a part of one, with `{name}` replaced by the value."""
    if isinstance(template, Mapping):
        return {name: fill(part, values) for name, part in template.items()}
    if isinstance(template, list):
        return [fill(part, values) for part in template]
    if not isinstance(template, str):
        return template
    if whole := re.fullmatch(r"\{(\w+)\}", template):
        return values[whole[1]]
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), template)
