"""What a mapping between a job service and this app is made of. Yours is in service.py."""

import importlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from progress.contract import BackendRejected
from progress.operation import Operation, Options, Status

Field = str | Callable[[Any], Any]
"""Where a value is in a body: a path like "metadata.progressPercent", or a function of the body."""

_RUN = {"operation_id", "uuid", "id"}
_FILTERS = {"owner", "job", "subject", "statuses", "since"}
_PAGE = _FILTERS | {"limit", "before_time", "before_id"}
_VALUES = {
    "start": _RUN | {"job", "subject", "owner", "retry_of", "parameters", "options", "upload"},
    "read": _RUN,
    "cancel": _RUN,
    "force_stop": _RUN,
    "log": _RUN | {"limit"},
    "file": _RUN | {"name"},
    "upload": {"operation_id", "uuid", "name"},
    "find": _RUN | {"owner", "limit"},
    "recent": _PAGE,
    "counts": _FILTERS,
}
"""The names that each call may use as `{name}`."""
_LEFT_OUT = {"{parameters}", "{options}", "{upload}"}
"""Members with these values are not sent if an operation has none."""
_MAPPING = "The mapping in progress/backend/service.py:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the service. `{name}` in its texts is replaced by a value.

    | name | value |
    |---|---|
    | operation_id | the app's id of the operation, 32 hexadecimal digits |
    | uuid | the same with hyphens |
    | id | the service's own id of the run; the operation id where it has none |
    | job, subject, owner | of the operation; in `recent` and `counts` filters, or None |
    | retry_of | in `start`: the id of the operation that this one repeats, or "" |
    | parameters | in `start`: an object of the job's parameters |
    | options | in `start`: an object with them, and with time_limit, retries, retry_delay, \
max_running and upload of the job, as far as they are set: see `Options` in operation.py |
    | upload | in `start`: the operation id with which the file was sent that is the subject |
    | name | in `file` and `upload`: the name of the file, which may be any text |
    | limit | in `recent` and `find`: how many runs; in `log`: how many lines |
    | statuses, since | more filters: a list of our statuses, a time in ISO 8601; or None |
    | before_time, before_id | in `recent`: the last run of the previous page |

    In a path, values are percent-encoded; `{+id}` keeps the slashes of an id. In a text, and in a
    query, an object becomes JSON. A member of a body that is only `"{parameters}"`, `"{options}"`
    or `"{upload}"` is not sent if there are none.
    """

    method: str
    path: str
    """Below the url of the secrets; begins with a slash."""
    query: Mapping[str, str] = field(default_factory=dict)
    """A parameter that is only `"{name}"` is sent once for each item of a list, and not at all
    without a value."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """Sent as JSON. A text that is only `"{name}"` becomes the value with its type. In `upload`
    the file is sent instead."""
    repeatable: bool = False
    """Whether a repeated request has no further effect, as with an Idempotency-Key. Only then is
    it repeated when its answer is lost. A GET may always be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A job service: its requests, its status words, and where the values are in its bodies."""

    start: Call
    """Starts a run. The answer has a Location, or the service's id in its body, or neither if
    `read` uses the operation id."""
    read: Call
    """Reads one run."""
    cancel: Call
    """Requests that a run stops."""
    recent: Call
    """Lists the latest runs."""
    items: str
    """Where the runs are in the answer to `recent` and `find`; "" if the answer is the list."""
    fields: Mapping[str, Field]
    """Where the columns of an operation are in the body of a run: status, operation_id, job,
    subject, owner, current_step, total_steps, percent (0 to 100, instead of both), failed_steps,
    step_description, created_at, started_at, last_updated, heartbeat_at, finished_at,
    cancel_requested, error, result, attempt, retry_of, last_steps (a list of objects with number,
    description, seconds and failed), live, options or parameters (an object), queue_position.
    Leave out what the service does not have."""
    statuses: Mapping[str, Status]
    """What the service's status words mean. Other words are shown as a problem."""
    filters: bool = False
    """Whether `recent` sends all filters of a query. If not, the latest 100 runs are filtered here,
    and no page shows older runs."""
    counts: Call | None = None
    """Counts the runs of a query by status: an object of status words and numbers. None: the runs
    that `recent` lists are counted."""
    id: Field | None = None
    """Where the service's own id is in a body. None: the service uses the operation id."""
    find: Call | None = None
    """Lists runs, to search for an operation id by `fields["operation_id"]`. Needed if the service
    makes its own ids: after a reload, only the operation id is known."""
    exists: int | None = None
    """The HTTP status with which the service refuses to start the same operation twice."""
    appears_within: float = 0.0
    """Seconds until a new run appears in `read` or `find`. Until then it is shown as queued."""
    force_stop: Call | None = None
    """Ends a run that was requested to stop, and does not. None: pages do not offer it."""
    log: Call | None = None
    """Returns the latest lines of a run's log, of either end first: as a JSON list, as JSON lines
    (application/x-ndjson), or as text, whose lines may begin with a time. None: pages show no log.
    """
    log_lines: str = ""
    """Where the lines are in its JSON; "" if the answer is the list."""
    log_at: Field = "at"
    """Where the time is in a line, if that is an object. Without one it is that of the line before,
    or the start of the run."""
    log_text: Field = "text"
    """Where the text is in a line, if that is an object."""
    log_dropped: Field = "dropped"
    """Where in the JSON it is how many older lines are missing, if it says so; True if some may be
    missing."""
    file: Call | None = None
    """Returns the content of a file of a run, by its name: one of `files` in its result, which is a
    list of objects with name and size. None: only links are offered. A `url` in such an object is
    one, if it is https or on the origin of the service."""
    upload: Call | None = None
    """Sends a file before the start of the run whose subject it is, often with PUT. Its name is
    better in the query than in the path. None, here or in `file`: pages offer no upload."""

    def check(self) -> None:
        """Check the names in the mapping.

        Raises:
            BackendRejected: A name is unknown or missing.
        """
        columns = {column.name for column in fields(Operation)} - {"problem"}
        columns |= {"percent", "parameters"}
        for name in ("operation_id", "status"):
            if name not in self.fields:
                raise BackendRejected(f"{_MAPPING} fields has no {name}, which is required.")
        for name in self.fields:
            if name not in columns:
                raise BackendRejected(
                    f"{_MAPPING} fields has {name}, which is not one of {_join(columns)}."
                )
        for name, allowed in _VALUES.items():
            for value in placeholders(getattr(self, name)):
                if value not in allowed:
                    raise BackendRejected(
                        f"{_MAPPING} {name} has {{{value}}}, which is not one of {_join(allowed)}."
                    )

    def check_options(self, options: Options) -> None:
        """Check that a start carries what a job must not lose.

        Raises:
            BackendRejected: There are parameters, or an upload, and no place for them.
        """
        names = set(placeholders(self.start))
        for name in ("parameters", "upload"):
            if getattr(options, name) and not names & {name, "options"}:
                raise BackendRejected(
                    f"{_MAPPING} start would lose the {name} of this job."
                    f' Send "{{{name}}}" in its body, if the service can use them.'
                )

    def row(self, body: Any) -> dict[str, Any]:
        """Return the values of a body by the column names of an operation. Never raises."""
        row = {name: pick(body, where) for name, where in self.fields.items()}
        word = row.get("status")
        if isinstance(word, str):
            row["status"] = self.statuses.get(word, word)
            if word in tuple(Status) and word not in self.statuses:
                # It is one of our words, but may mean something else in this service.
                row["status"] = f"{word} (not in the mapping)"
        if "percent" in row:
            row["current_step"] = row.pop("percent")
            row["total_steps"] = None if row["current_step"] is None else 100
        return row


def load_service() -> Service:
    """Return SERVICE of service.py, or of the module that SERVICE_MODULE names.

    Tests use the mapping of the reference service, whatever yours is.

    Raises:
        BackendRejected: The module cannot be imported, or has no SERVICE.
    """
    module = os.environ.get("SERVICE_MODULE", "progress.backend.service")
    try:
        service = importlib.import_module(module).SERVICE
    except Exception as error:
        reason = " ".join(str(error).split())
        raise BackendRejected(f"{_MAPPING} {type(error).__name__}: {reason}.") from None
    if not isinstance(service, Service):
        raise BackendRejected(f"{_MAPPING} SERVICE is {type(service).__name__}, not a Service.")
    return service


def pick(body: Any, where: Field) -> Any:
    """Return the value at a path like "state.name" or "runs.0.id", or the result of a function."""
    try:
        if callable(where):
            return where(body)
        for part in where.split(".") if where else []:
            body = body[int(part)] if isinstance(body, list) else body[part]
        return body
    except Exception:  # A body may have any form; what a function cannot find is missing.
        return None


def first(*places: Field) -> Field:
    """Return a field with the first value that is not None."""

    def find(body: Any) -> Any:
        return next((value for place in places if (value := pick(body, place)) is not None), None)

    return find


def milliseconds(where: Field) -> Field:
    """Return a field for a time in milliseconds since 1970, where 0 means none."""

    def time(body: Any) -> datetime | None:
        value = pick(body, where)
        return datetime.fromtimestamp(value / 1000, UTC) if value else None

    return time


def fill_path(template: str, values: Mapping[str, Any]) -> str:
    """Return a path with its values percent-encoded.

    Raises:
        ValueError: A value would change the path around it.
    """

    def encode(match: re.Match[str]) -> str:
        value = _as_text(values[match[2]])
        if not value or {".", ".."} & set(value.split("/")):
            raise ValueError(f"{value!r} cannot be part of a path")
        return quote(value, safe="/" if match[1] else "")

    return re.sub(r"\{(\+?)(\w+)\}", encode, template)


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Return a body, or a part of one, with every `{name}` replaced by its value."""
    if isinstance(template, Mapping):
        return {
            name: fill(part, values)
            for name, part in template.items()
            if not (isinstance(part, str) and part in _LEFT_OUT and not values[part[1:-1]])
        }
    if isinstance(template, list):
        return [fill(part, values) for part in template]
    if not isinstance(template, str):
        return template
    if whole := re.fullmatch(r"\{(\w+)\}", template):
        return values[whole[1]]
    return re.sub(r"\{(\w+)\}", lambda match: _as_text(values[match[1]]), template)


def fill_texts(template: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a query or headers with every `{name}` replaced, and without what has no value."""
    return {
        name: value if isinstance(value, list) else _as_text(value)
        for name, value in fill(template, values).items()
        if value is not None
    }


def _as_text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


def placeholders(call: Call | None) -> Iterator[str]:
    """Yield the names that a call uses as `{name}`."""
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


def _join(names: set[str]) -> str:
    return ", ".join(sorted(names))
