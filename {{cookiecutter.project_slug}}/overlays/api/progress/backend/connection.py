"""The progress backend: operations that another service runs, started and followed over HTTP."""

import itertools
import logging
import re
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import RLock
from typing import Any, TypeVar

import httpx2
from streamlit.connections import BaseConnection

from progress.backend import client as http
from progress.backend.client import Answer, Refused, Unreadable
from progress.backend.mapping import Call, Service, fill, fill_path, pick
from progress.backend.service import SERVICE
from progress.contract import (
    Backend,
    BackendError,
    BackendRejected,
    BackendUnavailable,
    PartlyUnavailable,
)
from progress.operation import Operation, Query, Status
from progress.rows import count_statuses, operation_from_row

log = logging.getLogger(__name__)

PATIENCE = http.DEADLINE + 2.0
"""Seconds after which a caller gets an answer, even if a service sends its headers byte by byte."""
REMEMBERED = 1_000
"""Operations of which the last answer is kept, for ETags and places."""
LISTED = 100
"""Runs, however many are wanted, that a service lists which cannot narrow them down itself."""
LONGEST_ID = 200
Result = TypeVar("Result")
_CLOSED = "The connection to the service was closed before it answered."
_ID = re.compile(r"[A-Za-z0-9_.:+~-]+")
_TURNS = itertools.count(1)
_PLACES = ("Operation-Location", "Azure-AsyncOperation", "Location")


@dataclass(slots=True)
class _Known:
    """What this process knows of an operation besides its id.

    A thread that asks works on a copy; `_remember` brings what it found together with the rest.
    """

    job: str = ""
    subject: str = ""
    owner: str = ""
    retry_of: str = ""
    started_at: float = -float("inf")
    """When this process started it, by its monotonic clock."""
    place: httpx2.URL | None = None
    """Where the service said that it is found."""
    run_id: str | int | None = None
    """The service's own id."""
    etag: str | None = None
    operation: Operation | None = None
    not_before: float = -float("inf")
    """When the service wants to be asked again."""
    cancelling: bool = False
    turn: int = field(default_factory=_TURNS.__next__)
    """Counts the questions: the answer to a later one goes before."""

    def learn(self, older: "_Known") -> None:
        """Take over what only the other knows: a start or a cancel at the same time."""
        told = False
        for name in ("job", "subject", "owner", "retry_of", "place", "run_id", "cancelling"):
            if getattr(older, name) and not getattr(self, name):
                setattr(self, name, getattr(older, name))
                told = True
        self.started_at = max(self.started_at, older.started_at)
        if told:
            # The operation was made without it: ask for the whole of it again.
            self.etag, self.not_before = None, -float("inf")
        if self.cancelling and self.operation and not self.operation.status.is_terminal:
            self.operation = replace(self.operation, cancel_requested=True)

    def goes_before(self, other: "_Known") -> bool:
        """Return whether this operation stays, whatever the other answer says."""
        if self.operation is None or other.operation is None:
            return self.operation is not None
        if self.operation.status.is_terminal is not other.operation.status.is_terminal:
            return self.operation.status.is_terminal
        return self.turn > other.turn


class ProgressConnection(BaseConnection[httpx2.Client], Backend):
    """Starts operations and reads how far they are. Open it with
    `st.connection("progress", type=ProgressConnection)`.

    The service is `url` under `[connections.progress]` in .streamlit/secrets.toml, with `token`
    (and `header`), or `username` and `password`; or the variables PROGRESS_API_URL and so on. A
    variable goes before the secret of its name, and with PROGRESS_API_URL no secret is used: its
    credentials are variables, too. How it speaks is in service.py. Safe to share between threads.
    """

    def __init__(self, connection_name: str, **kwargs: Any) -> None:
        # Over `_known`, and over opening and closing.
        self._lock = RLock()
        self._logged: set[type[Exception]] = set()
        super().__init__(connection_name, **kwargs)

    @property
    def _instance(self) -> httpx2.Client:
        with self._lock:
            return super()._instance

    def _connect(self, service: Service = SERVICE, **kwargs: Any) -> httpx2.Client:
        try:
            service.check()
        except ValueError as error:
            raise BackendRejected(f"The mapping in progress/backend/service.py: {error}") from None
        self._service = service
        self._known: OrderedDict[str, _Known] = OrderedDict()
        return self._open()

    def _open(self) -> httpx2.Client:
        self._threads = ThreadPoolExecutor(http.MAX_CONNECTIONS, "progress-api")
        self._calls = ThreadPoolExecutor(http.MAX_CALLS, "progress-api-call")
        return http.open_client(http.configuration(self._secrets, self._kwargs))

    def start(
        self, operation_id: str, job: str, subject: str, owner: str, retry_of: str = ""
    ) -> None:
        known = _Known(job, subject, owner, retry_of, started_at=time.monotonic())
        self._in_time(self._start_one, self._instance, operation_id, known)

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        with self._lock:  # No reset in between.
            client = self._instance
            answers = {
                name: self._threads.submit(self._read_one, client, name)
                for name in dict.fromkeys(operation_ids)
                if _may_be_asked(name)
            }
        until = time.monotonic() + PATIENCE
        found: dict[str, Operation] = {}
        failed: dict[str, BackendError] = {}
        for name, answer in answers.items():
            try:
                operation = self._outcome(client, answer, until)
            except BackendError as error:
                failed[name] = error
                continue
            if operation is not None:
                found[name] = operation
        if not failed:
            return found
        for name, problem in failed.items():
            log.warning("Operation %s could not be read: %s", name, problem)
        if len(failed) < len(answers):
            raise PartlyUnavailable(found, failed)
        # The one that asked for the longest break speaks for all.
        raise max(failed.values(), key=lambda error: getattr(error, "retry_after", None) or 0.0)

    def recent(self, query: Query) -> list[Operation]:
        return self._in_time(self._matching, self._instance, query)[: query.limit]

    def counts(self, query: Query) -> dict[Status, int]:
        return self._in_time(self._counts_now, self._instance, replace(query, before=None))

    def cancel(self, operation_id: str) -> None:
        if _may_be_asked(operation_id):
            self._in_time(self._cancel_one, self._instance, operation_id)

    def reset(self) -> None:
        """Close the connections; the next use opens them anew."""
        with self._lock:
            if self._raw_instance is not None:
                self._close(self._raw_instance)
            super().reset()

    def _close(self, client: httpx2.Client) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._calls.shutdown(wait=False, cancel_futures=True)
        client.close()

    def _renew(self, client: httpx2.Client) -> None:
        """Put aside threads and connections that an answer without end holds."""
        with self._lock:
            if self._raw_instance is client:
                log.warning("The service keeps connections without an answer: new ones are opened.")
                self._close(client)
                self._raw_instance = None
                self._raw_instance = self._open()

    def _in_time(
        self, work: Callable[..., Result], client: httpx2.Client, *arguments: Any
    ) -> Result:
        with self._lock:
            if client is not self._raw_instance:
                raise BackendUnavailable(_CLOSED)
            answer = self._calls.submit(work, client, *arguments)
        return self._outcome(client, answer, time.monotonic() + PATIENCE)

    def _outcome(self, client: httpx2.Client, answer: "Future[Result]", until: float) -> Result:
        try:
            return answer.result(max(until - time.monotonic(), 0.0))
        except BackendError:
            raise
        except CancelledError:
            raise BackendUnavailable(_CLOSED) from None
        except FutureTimeout:
            # One that waits for a thread must not be sent later, when the page has said that it
            # failed. One that has a thread may keep it for ever.
            if not answer.cancel() and not answer.done():
                self._renew(client)
            message = f"The service did not answer within {PATIENCE:g} s."
            raise BackendUnavailable(message) from None
        except Exception as error:
            if client.is_closed:
                raise BackendUnavailable(_CLOSED) from None
            if type(error) not in self._logged:
                self._logged.add(type(error))
                log.exception("An answer of the service was not understood")
            what = " ".join(str(error).split())[:300]
            raise Unreadable(f"The answer: {type(error).__name__}: {what}") from error

    def _start_one(self, client: httpx2.Client, operation_id: str, known: _Known) -> None:
        service = self._service
        if not service.start.repeatable and self._find(client, operation_id, known) is not None:
            # A start whose answer was lost: a service without keys would begin it again.
            self._remember(operation_id, known)
            return
        values = _values(operation_id, known) | {
            "job": known.job,
            "subject": known.subject,
            "owner": known.owner,
            "retry_of": known.retry_of,
        }
        try:
            answer = self._send(client, service.start, values)
        except Refused as refusal:
            if refusal.status != service.exists:
                raise
            return
        known.place = _place(client, answer)
        known.run_id = _identity(service, answer.body)
        if known.place is None and known.run_id is None and service.id and not service.find:
            raise BackendRejected("The service began, but said neither a Location nor an id.")
        if pick(answer.body, service.fields["status"]) is not None:
            self._keep(operation_id, known, answer)
        else:
            known.operation = self._queued(operation_id, known, answer.date)
        known.not_before = time.monotonic() + (answer.retry_after or 0.0)
        self._remember(operation_id, known)

    def _read_one(self, client: httpx2.Client, operation_id: str) -> Operation | None:
        known = self._recall(operation_id)
        if known.operation is not None and time.monotonic() < known.not_before:
            return known.operation
        return self._read_now(client, operation_id, known)

    def _read_now(
        self, client: httpx2.Client, operation_id: str, known: _Known
    ) -> Operation | None:
        service = self._service
        if known.place is None and service.id is not None and known.run_id is None:
            operation = self._find(client, operation_id, known)
        else:
            values = _values(operation_id, known)
            conditions = {"If-None-Match": known.etag} if known.etag and known.operation else {}
            try:
                answer = self._send(client, service.read, values, conditions, known.place)
                operation = self._keep(operation_id, known, answer)
                if answer.status != 304:
                    known.etag = _etag(answer)
            except Refused as refusal:
                if refusal.status not in (404, 410):
                    raise
                operation = None
        if operation is not None:
            return self._remember(operation_id, known).operation
        if time.monotonic() < known.started_at + service.appears_within:
            return self._queued(operation_id, known, None)
        return operation

    def _matching(self, client: httpx2.Client, query: Query) -> list[Operation]:
        """Return what the service lists and the query asks for, newest first."""
        service = self._service
        # Services refuse to list more than a few hundred: the board would ask for that many.
        limit = query.limit if service.filters else LISTED
        answer = self._send(client, service.recent, _asked(query) | {"limit": limit})
        operations = []
        for item in self._items(answer):
            operation_id = pick(item, service.fields["operation_id"])
            if not isinstance(operation_id, str) or not _may_be_asked(operation_id):
                continue  # Started by somebody else.
            known = self._recall(operation_id)
            known.run_id = known.run_id or _identity(service, item)
            operation = self._operation(operation_id, known, item, answer.date)
            # Again, also where the service did it: nobody may see what is another owner's.
            if _matches(operation, query):
                operations.append(replace(operation, result=None, error=None, last_steps=()))
        operations.sort(key=_place_in_list, reverse=True)
        return operations

    def _counts_now(self, client: httpx2.Client, query: Query) -> dict[Status, int]:
        service = self._service
        if service.counts is None:
            return dict(Counter(found.status for found in self._matching(client, query)))
        answer = self._send(client, service.counts, _asked(query))
        if not isinstance(answer.body, dict):
            raise Unreadable(f"GET {answer.url.host}{answer.url.path} answered without counts.")
        return count_statuses(
            (service.statuses.get(word), count)
            for word, count in answer.body.items()
            if isinstance(count, int)
        )

    def _cancel_one(self, client: httpx2.Client, operation_id: str) -> None:
        known = self._recall(operation_id)
        if self._service.id is not None and known.run_id is None:
            self._find(client, operation_id, known)
            if known.run_id is None:
                return
        try:
            self._send(client, self._service.cancel, _values(operation_id, known))
        except Refused as refusal:
            if refusal.status not in (404, 409, 410):
                raise
            found = self._read_now(client, operation_id, self._recall(operation_id))
            if found is None or found.status.is_terminal:
                return
            raise
        known.turn = 0  # It is no answer about how far the operation is.
        known = self._remember(operation_id, known)
        with self._lock:
            known.cancelling = True
            known.not_before = -float("inf")
            known.etag = None

    def _find(self, client: httpx2.Client, operation_id: str, known: _Known) -> Operation | None:
        """Look for the run that has our id, where the service made one of its own."""
        service = self._service
        if service.find is None:
            return None
        values = _values(operation_id, known) | {"owner": known.owner, "limit": LISTED}
        answer = self._send(client, service.find, values)
        for item in self._items(answer):
            if pick(item, service.fields["operation_id"]) == operation_id:
                return self._keep(operation_id, known, replace(answer, body=item))
        return None

    def _items(self, answer: Answer) -> list[Any]:
        items = pick(answer.body, self._service.items)
        if not isinstance(items, list):
            raise Unreadable(f"GET {answer.url.host}{answer.url.path} answered without a list.")
        return items

    def _send(
        self,
        client: httpx2.Client,
        call: Call,
        values: dict[str, Any],
        conditions: dict[str, str] | None = None,
        place: httpx2.URL | None = None,
    ) -> Answer:
        try:
            path = place or fill_path(call.path, values)
        except ValueError as error:
            raise Refused(f"{error}.", 404) from None
        query = {} if place else fill(call.query, values)
        return http.send(
            client,
            call.method,
            path,
            query={name: value for name, value in query.items() if value is not None},
            headers={**fill(call.headers, values), **(conditions or {})},
            body=fill(call.body, values),
            repeatable=call.repeatable,
        )

    def _keep(self, operation_id: str, known: _Known, answer: Answer) -> Operation:
        """Take an answer about one run into what is known, and return the operation."""
        before = known.operation
        if answer.status == 304 and before is not None:
            now = answer.date or datetime.now(UTC)
            operation = self._alive(replace(before, read_at=max(before.read_at, now)))
        else:
            operation = self._operation(operation_id, known, answer.body, answer.date)
            known.etag = None  # What a list or a start says is not for the read's If-None-Match.
            known.run_id = known.run_id or _identity(self._service, answer.body)
        if (
            before is not None
            and before.status.is_terminal
            and operation.status is not before.status
        ):
            problem = f"the service said {operation.status} after {before.status}"
            operation = replace(before, problem=problem)
        if operation.problem and (before is None or operation.problem != before.problem):
            log.warning("Operation %s makes no sense in part: %s", operation_id, operation.problem)
        known.operation = operation
        known.not_before = time.monotonic() + (answer.retry_after or 0.0)
        return operation

    def _operation(
        self, operation_id: str, known: _Known, body: Any, date: datetime | None
    ) -> Operation:
        if not isinstance(body, dict):
            raise Unreadable(f"The service answered about {operation_id} with no JSON object.")
        row = self._service.row(body)
        # At the place that the service named, the operation may go by another name.
        if known.place is None and row.get("operation_id") not in (None, operation_id):
            raise Unreadable(f"The service answered about {operation_id} with another operation.")
        row["operation_id"] = operation_id
        # What the service does not repeat is known from the start, in the process that started it.
        for name in ("job", "subject", "owner", "retry_of"):
            if row.get(name) is None:
                row[name] = getattr(known, name)
        if row.get("read_at") is None:
            row["read_at"] = date
        operation = self._alive(operation_from_row(row))
        if known.cancelling and not operation.status.is_terminal:
            operation = replace(operation, cancel_requested=True)
        return operation

    def _alive(self, operation: Operation) -> Operation:
        # Where the service tells no heartbeat, its word that it runs is the sign of life.
        if operation.status is Status.IN_PROGRESS and "heartbeat_at" not in self._service.fields:
            return replace(operation, heartbeat_at=operation.read_at)
        return operation

    def _queued(self, operation_id: str, known: _Known, date: datetime | None) -> Operation:
        now = date or datetime.now(UTC)
        return Operation(
            operation_id=operation_id,
            job=known.job,
            subject=known.subject,
            owner=known.owner,
            retry_of=known.retry_of,
            status=Status.QUEUED,
            read_at=now,
            created_at=known.operation.created_at if known.operation else now,
        )

    def _recall(self, operation_id: str) -> _Known:
        with self._lock:
            known = self._known.get(operation_id)
            return _Known() if known is None else replace(known, turn=next(_TURNS))

    def _remember(self, operation_id: str, known: _Known) -> _Known:
        """Keep the newer of what was found out now and before; return it."""
        with self._lock:
            other = self._known.get(operation_id)
            if other is not None:
                if other.goes_before(known):
                    known, other = other, known
                known.learn(other)
            self._known[operation_id] = known
            self._known.move_to_end(operation_id)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return known


def _may_be_asked(operation_id: str) -> bool:
    """Whether it could be an id. It may come from a URL."""
    return len(operation_id) <= LONGEST_ID and _ID.fullmatch(operation_id) is not None


def _values(operation_id: str, known: _Known) -> dict[str, Any]:
    try:
        hyphens = str(uuid.UUID(operation_id))
    except ValueError:
        hyphens = operation_id
    return {"operation_id": operation_id, "uuid": hyphens, "id": known.run_id or operation_id}


def _asked(query: Query) -> dict[str, Any]:
    before_time, before_id = query.before or (None, None)
    return {
        "owner": query.owner,
        "job": query.job,
        "subject": query.subject,
        "statuses": sorted(query.statuses),
        "since": query.since and query.since.isoformat(),
        "before_time": before_time and before_time.isoformat(),
        "before_id": before_id,
    }


def _place_in_list(operation: Operation) -> tuple[datetime, str]:
    return operation.created_at, operation.operation_id


def _matches(operation: Operation, query: Query) -> bool:
    return (
        query.owner in (None, operation.owner)
        and query.job in (None, operation.job)
        and query.subject in (None, operation.subject)
        and (not query.statuses or operation.status in query.statuses)
        and (query.since is None or operation.created_at >= query.since)
        and (query.before is None or _place_in_list(operation) < query.before)
    )


def _identity(service: Service, body: Any) -> str | int | None:
    found = pick(body, service.id) if service.id is not None else None
    return found if found and isinstance(found, str | int) else None


def _etag(answer: Answer) -> str | None:
    tag = answer.headers.get("ETag")
    return tag if tag and tag.isascii() else None  # Another could not be sent back.


def _place(client: httpx2.Client, answer: Answer) -> httpx2.URL | None:
    """Return where the service says that the operation is found, if that is on its origin."""
    for name in _PLACES:
        if location := answer.headers.get(name):
            try:
                place = answer.url.join(location)
            except (httpx2.InvalidURL, ValueError):
                log.warning("The service's %s is no address.", name)
                continue
            if http.same_origin(place, client.base_url):
                return place
            log.warning("The service's %s is on another origin, %s: left aside.", name, place.host)
    return None
