"""The progress backend: operations that another service runs, started and followed over HTTP."""

import logging
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any, TypeVar

import httpx2
from streamlit.connections import BaseConnection

from progress import http
from progress.errors import BackendError, BackendRejected, BackendUnavailable, PartlyUnavailable
from progress.http import Answer, Refused, Unreadable
from progress.mapping import Call, Service, fill, fill_path, pick
from progress.operation import Operation, Query, Status, count_statuses
from progress.service import SERVICE

log = logging.getLogger(__name__)

PATIENCE = http.DEADLINE + 2.0
"""Seconds after which a caller gets an answer, even if a service sends its headers byte by byte."""
REMEMBERED = 10_000
"""Operations of which the last answer is kept, for ETags and places."""
LISTED = 100
"""Runs that a service is asked for which cannot narrow them down itself."""
LONGEST_ID = 200
Result = TypeVar("Result")
_PLACES = ("Operation-Location", "Azure-AsyncOperation", "Location")


@dataclass(slots=True)
class _Known:
    """What this process knows of an operation besides its id."""

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


class ProgressConnection(BaseConnection[httpx2.Client]):
    """Starts operations and reads how far they are. Open it with
    `st.connection("progress", type=ProgressConnection)`.

    The service is `url` under `[connections.progress]` in .streamlit/secrets.toml, with `token`
    (and `header`), or `username` and `password`; or the variables PROGRESS_API_URL and so on, which
    go before the secrets. How it speaks is in progress/service.py. Safe to share between threads.
    """

    def _connect(self, service: Service = SERVICE, **kwargs: Any) -> httpx2.Client:
        self._service = service
        self._lock = Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._threads = ThreadPoolExecutor(http.MAX_CONNECTIONS, "progress-api")
        return http.open_client(http.configuration(self._secrets, kwargs))

    def start(
        self, operation_id: str, job: str, subject: str, owner: str, retry_of: str = ""
    ) -> None:
        """Ask the service to begin. The same id twice is one operation.

        Args:
            operation_id: Its id, made by the caller.
            job: What the service is to do.
            subject: What the job works on.
            owner: Whose it is.
            retry_of: The id of the operation that this one repeats.

        Raises:
            BackendUnavailable: It is unknown whether it began: try again with the same id.
            BackendRejected: The service refused.
        """
        known = _Known(job, subject, owner, retry_of, started_at=time.monotonic())
        self._in_time(self._start_one, self._instance, operation_id, known)

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        """Return the operations that exist among these, with at most 8 GETs at the same time.

        Raises:
            PartlyUnavailable: Some could be read, others not; it holds both.
            BackendUnavailable: The service cannot be reached, or asks for a break.
            BackendRejected: The service refused.
        """
        client = self._instance  # Connects, where it is not done yet.
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
                operation = _outcome(answer, until)
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
        """Return a page of operations, newest first, without result, error and steps.

        Of a service that cannot narrow them down itself, the latest 100 are looked through.

        Raises:
            BackendUnavailable: The service cannot be reached, or asks for a break.
            BackendRejected: The service refused.
        """
        return self._in_time(self._matching, self._instance, query)[: query.limit]

    def counts(self, query: Query) -> dict[Status, int]:
        """Return how many operations have each status; `limit` and `before` do not matter.

        Where the service has no such answer, those that `recent` can see are counted.

        Raises:
            BackendUnavailable: The service cannot be reached, or asks for a break.
            BackendRejected: The service refused.
        """
        return self._in_time(self._counts_now, self._instance, replace(query, before=None))

    def cancel(self, operation_id: str) -> None:
        """Ask the job to stop. An operation that has ended, or does not exist, is left alone.

        Raises:
            BackendUnavailable: The request may not have arrived.
            BackendRejected: The service refused.
        """
        if _may_be_asked(operation_id):
            self._in_time(self._cancel_one, self._instance, operation_id)

    def reset(self) -> None:
        """Close the connections; the next use opens them anew."""
        if self._raw_instance is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._raw_instance.close()
        super().reset()

    def _in_time(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return _outcome(self._threads.submit(work, *arguments), time.monotonic() + PATIENCE)

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
        service = self._service
        if known.place is None and service.id is not None and known.run_id is None:
            operation = self._find(client, operation_id, known)
        else:
            values = _values(operation_id, known)
            conditions = {"If-None-Match": known.etag} if known.etag and known.operation else {}
            try:
                answer = self._send(client, service.read, values, conditions, known.place)
                operation = self._keep(operation_id, known, answer)
            except Refused as refusal:
                if refusal.status not in (404, 410):
                    raise
                operation = None
        if operation is not None:
            self._remember(operation_id, known)
        elif time.monotonic() < known.started_at + service.appears_within:
            return self._queued(operation_id, known, None)
        return operation

    def _matching(self, client: httpx2.Client, query: Query) -> list[Operation]:
        """Return what the service lists and the query asks for, newest first."""
        service = self._service
        limit = query.limit if service.filters else max(query.limit, LISTED)
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
            (service.statuses.get(word, word), count)
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
            return
        known.cancelling = True
        known.not_before = -float("inf")
        known.etag = None

    def _find(self, client: httpx2.Client, operation_id: str, known: _Known) -> Operation | None:
        """Look for the run that has our id, where the service made one of its own."""
        service = self._service
        if service.find is None:
            return None
        values = _values(operation_id, known) | {"owner": known.owner, "limit": 100}
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
            operation = replace(before, read_at=max(before.read_at, now))
        else:
            operation = self._operation(operation_id, known, answer.body, answer.date)
            known.etag = answer.headers.get("ETag")
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
        operation = Operation.from_row(row)
        if known.cancelling and not operation.status.is_terminal:
            operation = replace(operation, cancel_requested=True)
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
            return self._known.get(operation_id) or _Known()

    def _remember(self, operation_id: str, known: _Known) -> None:
        with self._lock:
            self._known[operation_id] = known
            self._known.move_to_end(operation_id)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)


def _may_be_asked(operation_id: str) -> bool:
    """Whether it could be an id. It may come from a URL."""
    return 0 < len(operation_id) <= LONGEST_ID and operation_id.isprintable()


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


def _outcome(answer: "Future[Result]", until: float) -> Result:
    try:
        return answer.result(max(until - time.monotonic(), 0.0))
    except FutureTimeout:
        raise BackendUnavailable(f"The service did not answer within {PATIENCE:g} s.") from None
