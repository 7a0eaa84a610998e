"""Operations that run in another service: requests from the mapping, and records of the answers.

Everything here runs in the event loop of the client. So nothing else can change a record between
two `await`, and no lock is needed.
"""

import asyncio
import itertools
import json
import logging
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx2

from progress.backend.client import MAX_BODY, Answer, Client, Refused, Unreadable, retry_after
from progress.backend.logs import parse, read_log
from progress.backend.mapping import Call, Service, fill, fill_path, fill_texts, pick
from progress.contract import (
    BackendError,
    BackendRejected,
    BackendUnavailable,
    Feature,
    PartlyUnavailable,
)
from progress.operation import (
    NO_LIVE,
    NO_OPTIONS,
    Log,
    Operation,
    Options,
    Query,
    Status,
    is_operation_id,
)
from progress.reporter import MAX_FILE
from progress.results import FILES
from progress.rows import count_statuses, operation_from_row

log = logging.getLogger(__name__)

MAX_RECORDS = 1_000
"""Operations whose last answer is kept."""
MAX_LISTED = 100
"""Runs requested from a service that cannot filter them: many services refuse to list more."""
MAX_LOG = 10_000_000
"""Bytes of an answer with a log."""
_LOCATIONS = ("Operation-Location", "Azure-AsyncOperation", "Location")
_NEVER = -float("inf")

Value = TypeVar("Value")


@dataclass(slots=True)
class Record:
    """What this process knows of one operation. Look it up again after each `await`."""

    job: str = ""
    subject: str = ""
    owner: str = ""
    retry_of: str = ""
    options: Options = NO_OPTIONS
    started_at: float = _NEVER
    """When this process started it, by the monotonic clock."""
    location: httpx2.URL | None = None
    """Where the service said that it can be read."""
    run_id: str | int | None = None
    """The service's own id."""
    cancelling: bool = False
    """Whether this process sent a cancel that the service accepted."""
    operation: Operation | None = None
    """The latest answer."""
    answered: int = 0
    """The number of the latest request that was answered. Answers to earlier ones are outdated."""
    etag: str | None = None
    not_before: float = _NEVER
    """When the service wants the next read, by the monotonic clock."""


class RemoteOperations:
    """The operations of one service.

    Args:
        service: The mapping.
        client: Sends the requests.
    """

    def __init__(self, service: Service, client: Client) -> None:
        self.client = client
        self._service = service
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._numbers = itertools.count(1)

    @property
    def features(self) -> frozenset[Feature]:
        """What the service can do, according to the mapping; see `Backend.features`."""
        service = self._service
        calls: dict[Feature, bool] = {
            "force_stop": service.force_stop is not None,
            "logs": service.log is not None,
            "files": service.file is not None,
            "uploads": service.file is not None and service.upload is not None,
        }
        return frozenset(name for name, has_calls in calls.items() if has_calls)

    async def start(
        self,
        operation_id: str,
        job: str,
        subject: str,
        owner: str,
        retry_of: str,
        options: Options,
    ) -> None:
        """Start an operation; see `Backend.start`."""
        service = self._service
        service.check_options(options)
        given = {"job": job, "subject": subject, "owner": owner, "retry_of": retry_of}
        stored: dict[str, Any] = given | {"options": options}
        sent_options = json.loads(options.text())
        sent = given | {
            "parameters": sent_options.get("parameters", {}),
            "options": sent_options,
            "upload": options.upload,
        }
        async with self.client.limited(self.client.calls):
            if not service.start.repeatable and await self._find(operation_id, owner):
                # The answer to an earlier start was lost. Another request would start a second run.
                self._keep_start(operation_id, stored)
                return
            number = next(self._numbers)
            try:
                answer = await self._send(service.start, self._values(operation_id) | sent)
            except Refused as refusal:
                if refusal.status != service.exists:
                    raise
                self._keep_start(operation_id, stored)
                return
            location, run_id = self._location(answer), _run_id(service, answer.body)
            if not location and not run_id and service.id and not service.find:
                raise BackendRejected("The service started, but sent neither a Location nor an id.")
            self._keep_start(operation_id, stored)
            record = self._record(operation_id)
            record.location = location or record.location
            record.run_id = run_id or record.run_id
            if record.operation is not None:
                return  # It was read meanwhile.
            record.not_before = time.monotonic() + (retry_after(answer.headers) or 0.0)
            if pick(answer.body, service.fields["status"]) is not None:
                self._keep_answer(operation_id, number, answer)
            else:
                row = given | {"operation_id": operation_id, "status": Status.QUEUED}
                row["options"] = options.text()
                record.operation = operation_from_row(row | {"read_at": answer.date})

    async def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        """Return the operations that exist among these; see `Backend.read`."""
        return await self._read_all(operation_ids, self._read)

    async def logs(self, operation_ids: Sequence[str], limit: int) -> dict[str, Log]:
        """Return the latest lines of the logs that have some; see `Backend.logs`."""
        call = self._offered("log")

        async def read_one(operation_id: str) -> Log | None:
            async with self.client.limited(self.client.reads):
                return await self._log(call, operation_id, limit)

        return await self._read_all(operation_ids, read_one)

    async def save_file(self, operation_id: str, name: str, content: bytes) -> None:
        """Send a file before a start; see `Backend.save_file`."""
        call = self._offered("upload")
        async with self.client.limited(self.client.files):
            values = self._values(operation_id) | {"name": name}
            # With a limit, because its answer may be anything, not only JSON.
            await self._send(call, values, content=content, max_bytes=MAX_BODY)

    async def read_file(self, operation_id: str, name: str) -> bytes:
        """Return a file; see `Backend.read_file`."""
        call = self._offered("file")
        async with self.client.limited(self.client.files):
            if not await self._is_known(operation_id):
                raise BackendRejected(f"There is no file {name!r}: the service has no such run.")
            values = self._values(operation_id) | {"name": name}
            content: bytes = (await self._send(call, values, max_bytes=MAX_FILE)).body
            return content

    async def _read_all(
        self, operation_ids: Sequence[str], read: Callable[[str], Awaitable[Value | None]]
    ) -> dict[str, Value]:
        """Return what a function finds for each of these ids, read at the same time.

        Raises:
            BackendError: Nothing could be read.
            PartlyUnavailable: Not everything could be read.
        """
        names = [name for name in dict.fromkeys(operation_ids) if is_operation_id(name)]
        answers = await asyncio.gather(*map(read, names), return_exceptions=True)
        found: dict[str, Value] = {}
        failed: dict[str, BackendError] = {}
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, BackendError):
                log.warning("Operation %s could not be read: %s", name, answer)
                failed[name] = answer
            elif isinstance(answer, BaseException):
                raise answer
            elif answer is not None:
                found[name] = answer
        if not failed:
            return found
        if len(failed) < len(names):
            raise PartlyUnavailable(found, failed)
        # The longest Retry-After counts for all of them.
        raise max(failed.values(), key=lambda error: getattr(error, "retry_after", None) or 0.0)

    async def recent(self, query: Query) -> list[Operation]:
        """Return a page of operations; see `Backend.recent`."""
        async with self.client.limited(self.client.calls):
            return (await self._matching(query))[: query.limit]

    async def counts(self, query: Query) -> dict[Status, int]:
        """Return how many operations have each status; see `Backend.counts`."""
        query = replace(query, before=None)
        async with self.client.limited(self.client.calls):
            if self._service.counts is None:
                return dict(Counter(found.status for found in await self._matching(query)))
            answer = await self._send(self._service.counts, _query_values(query))
            if not isinstance(answer.body, dict):
                raise Unreadable(f"{answer.url.host}{answer.url.path} answered without counts.")
            return count_statuses(
                (self._service.statuses.get(word), count)
                for word, count in answer.body.items()
                if isinstance(count, int)
            )

    async def cancel(self, operation_id: str) -> None:
        """Request that an operation stops; see `Backend.cancel`."""
        await self._stop(self._service.cancel, operation_id)

    async def force_stop(self, operation_id: str) -> None:
        """End an operation that does not stop; see `Backend.force_stop`."""
        await self._stop(self._offered("force_stop"), operation_id)

    async def _stop(self, call: Call, operation_id: str) -> None:
        if not is_operation_id(operation_id):
            return
        async with self.client.limited(self.client.calls):
            if not await self._is_known(operation_id):
                if self._may_appear(operation_id):
                    raise BackendUnavailable("The service does not show the run yet.")
                return
            known = self._record(operation_id).operation
            if known is not None and known.status.is_terminal:
                return  # Some services would accept it, and overwrite the status.
            try:
                await self._send(call, self._values(operation_id))
            except Refused as refusal:
                if refusal.status not in (404, 409, 410):
                    raise
                found = await self._fetch(operation_id)
                if found is None or found.status.is_terminal:
                    return
                raise
            record = self._record(operation_id)
            record.cancelling = True
            if record.operation and not record.operation.status.is_terminal:
                record.operation = replace(record.operation, cancel_requested=True)
            self._keep_change(operation_id, record)

    async def _is_known(self, operation_id: str) -> bool:
        """Return whether requests can name the run; search for it if the service has own ids."""
        if self._service.id is not None and self._record(operation_id).run_id is None:
            await self._find(operation_id)
            return self._record(operation_id).run_id is not None
        return True

    def _may_appear(self, operation_id: str) -> bool:
        """Return whether the service may not show a run yet that this process started."""
        started_at = self._record(operation_id).started_at
        return time.monotonic() < started_at + self._service.appears_within

    def _offered(self, name: str) -> Call:
        call: Call | None = getattr(self._service, name)
        if call is None:
            raise BackendRejected(f"The service offers no {name}: its mapping has none.")
        return call

    async def _log(self, call: Call, operation_id: str, limit: int) -> Log | None:
        if not await self._is_known(operation_id):
            return None
        values = self._values(operation_id) | {"limit": limit}
        try:
            answer = await self._send(call, values, max_bytes=MAX_LOG)
        except Refused as refusal:
            if refusal.status not in (404, 410):
                raise
            return None
        known = self._record(operation_id).operation
        start = (known and (known.started_at or known.created_at)) or answer.date
        try:
            body = self.client.clean(parse(answer.headers.get("Content-Type", ""), answer.body))
            read = read_log(self._service, body, limit, start or datetime.now(UTC))
        except (ValueError, RecursionError):
            place = f"{answer.url.host}{answer.url.path}"
            raise Unreadable(f"{place} answered without a log that can be read.") from None
        return read if read.lines else None

    async def _read(self, operation_id: str) -> Operation | None:
        record = self._record(operation_id)
        if record.operation is not None and time.monotonic() < record.not_before:
            return record.operation
        async with self.client.limited(self.client.reads):
            return await self._fetch(operation_id)

    async def _fetch(self, operation_id: str) -> Operation | None:
        service, record = self._service, self._record(operation_id)
        found = None
        if service.id is not None and record.run_id is None and record.location is None:
            found = await self._find(operation_id, record.owner)
        else:
            number = next(self._numbers)
            condition = {"If-None-Match": record.etag} if record.etag else {}
            values = self._values(operation_id)
            try:
                answer = await self._send(service.read, values, condition, record.location)
                self._keep_answer(operation_id, number, answer, _etag(answer))
                found = self._record(operation_id).operation
            except Refused as refusal:
                if refusal.status not in (404, 410):
                    raise
        if found is None and self._may_appear(operation_id):
            record = self._record(operation_id)
            return record.operation and replace(record.operation, read_at=datetime.now(UTC))
        return found

    async def _find(self, operation_id: str, owner: str = "") -> Operation | None:
        """Search the service's runs for the operation id, where it makes ids of its own."""
        if self._service.find is None:
            return None
        number = next(self._numbers)
        values = self._values(operation_id) | {"owner": owner, "limit": MAX_LISTED}
        answer = await self._send(self._service.find, values)
        for item in self._items(answer):
            if pick(item, self._service.fields["operation_id"]) == operation_id:
                self._keep_answer(operation_id, number, replace(answer, body=item))
                return self._record(operation_id).operation
        return None

    async def _matching(self, query: Query) -> list[Operation]:
        """Return the listed operations that match the query, newest first."""
        limit = query.limit if self._service.filters else MAX_LISTED
        answer = await self._send(self._service.recent, _query_values(query) | {"limit": limit})
        operations = []
        for item in self._items(answer):
            operation_id = pick(item, self._service.fields["operation_id"])
            if not isinstance(operation_id, str) or not is_operation_id(operation_id):
                continue  # Not started by this app.
            record = self._record(operation_id)
            operation = self._operation(operation_id, record, item, answer.date)
            # Checked here even if the service filters: nobody may see operations of another owner.
            if _matches(operation, query):
                operations.append(
                    replace(
                        operation,
                        result=None,
                        error=None,
                        last_steps=(),
                        live=NO_LIVE,
                        options=NO_OPTIONS,
                    )
                )
        return sorted(operations, key=_sort_key, reverse=True)

    def _items(self, answer: Answer) -> list[Any]:
        items = pick(answer.body, self._service.items)
        if not isinstance(items, list):
            raise Unreadable(f"{answer.url.host}{answer.url.path} answered without a list.")
        return items

    async def _send(
        self,
        call: Call,
        values: dict[str, Any],
        condition: dict[str, str] | None = None,
        location: httpx2.URL | None = None,
        *,
        content: bytes | None = None,
        max_bytes: int | None = None,
    ) -> Answer:
        try:
            address = location or fill_path(call.path, values)
        except ValueError as error:
            raise Refused(f"{error}.", 404) from None
        return await self.client.send(
            call.method,
            address,
            query={} if location else fill_texts(call.query, values),
            headers=fill_texts(call.headers, values) | (condition or {}),
            body=fill(call.body, values),
            content=content,
            repeatable=call.repeatable,
            max_bytes=max_bytes,
        )

    def _values(self, operation_id: str) -> dict[str, Any]:
        try:
            hyphenated = str(uuid.UUID(operation_id))
        except ValueError:
            hyphenated = operation_id
        run_id = self._record(operation_id).run_id or operation_id
        return {"operation_id": operation_id, "uuid": hyphenated, "id": run_id}

    def _record(self, operation_id: str) -> Record:
        """Return the record of an operation, or an empty one; `_keep` stores it."""
        return self._records.get(operation_id) or Record()

    def _keep(self, operation_id: str, record: Record) -> None:
        self._records[operation_id] = record
        self._records.move_to_end(operation_id)
        while len(self._records) > MAX_RECORDS:
            self._records.popitem(last=False)

    def _keep_start(self, operation_id: str, given: dict[str, Any]) -> None:
        record = self._record(operation_id)
        for name, value in given.items():
            setattr(record, name, value)
        record.started_at = time.monotonic()
        self._keep_change(operation_id, record)

    def _keep_change(self, operation_id: str, record: Record) -> None:
        # Known answers, and answers on their way, may not show it: read the operation again.
        record.answered = next(self._numbers)
        record.etag = None
        record.not_before = _NEVER
        self._keep(operation_id, record)

    def _keep_answer(
        self, operation_id: str, number: int, answer: Answer, etag: str | None = None
    ) -> None:
        """Store an answer about one operation.

        Args:
            operation_id: The operation.
            number: The number of the request. An outdated answer is ignored, unless only this one
                says that the operation has ended.
            answer: The answer, with the run as its body.
            etag: For the next read; None if this is not the answer to a read.
        """
        record = self._record(operation_id)
        known = record.operation
        if answer.status == 304 and known is not None:
            now = answer.date or datetime.now(UTC)
            operation = self._with_heartbeat(replace(known, read_at=max(known.read_at, now)))
            etag = record.etag
        else:
            operation = self._operation(operation_id, record, answer.body, answer.date)
            record.run_id = record.run_id or _run_id(self._service, answer.body)
        outdated = number < record.answered
        if known is not None:
            ended = known.status.is_terminal
            if outdated and (ended or not operation.status.is_terminal):
                return
            if ended and operation.status != known.status:
                problem = f"the service said {operation.status} after {known.status}"
                operation = replace(known, problem=problem)
        if operation.problem and (known is None or operation.problem != known.problem):
            log.warning("Operation %s has invalid values: %s", operation_id, operation.problem)
        record.operation = operation
        if not outdated:
            record.answered = number
            record.etag = etag
            record.not_before = time.monotonic() + (retry_after(answer.headers) or 0.0)
        self._keep(operation_id, record)

    def _operation(
        self, operation_id: str, record: Record, body: Any, date: datetime | None
    ) -> Operation:
        if not isinstance(body, dict):
            raise Unreadable(f"The answer about {operation_id} is not a JSON object.")
        row = self._service.row(body)
        # At a location that the service named, the operation may have another id.
        if record.location is None and row.get("operation_id") not in (None, operation_id):
            raise Unreadable(f"The answer about {operation_id} is about another operation.")
        row["operation_id"] = operation_id
        # What the service does not repeat is known to the process that started it.
        for name in ("job", "subject", "owner", "retry_of"):
            if row.get(name) is None:
                row[name] = getattr(record, name)
        if row.get("options") is None and row.get("parameters") is None:
            row["options"] = record.options.text()
        if row.get("read_at") is None:
            row["read_at"] = date
        operation = self._with_heartbeat(self._with_safe_links(operation_from_row(row)))
        if record.cancelling and not operation.status.is_terminal:
            operation = replace(operation, cancel_requested=True)
        return operation

    def _with_heartbeat(self, operation: Operation) -> Operation:
        # A service without heartbeats vouches for its running operations with every answer.
        if operation.status == Status.IN_PROGRESS and "heartbeat_at" not in self._service.fields:
            return replace(operation, heartbeat_at=operation.read_at)
        return operation

    def _with_safe_links(self, operation: Operation) -> Operation:
        """Remove addresses that a page must not offer from the files of a result."""
        files = (operation.result or {}).get(FILES)
        if operation.result is None or not isinstance(files, list):
            return operation
        safe = []
        for file in files:
            if isinstance(file, dict) and "url" in file:
                link = self.client.safe_link(file["url"])
                file = {name: value for name, value in file.items() if name != "url"}
                file |= {"url": link} if link else {}
            safe.append(file)
        return replace(operation, result=operation.result | {FILES: safe})

    def _location(self, answer: Answer) -> httpx2.URL | None:
        """Return where the service says that the operation is, if that is on its origin."""
        for name in _LOCATIONS:
            if location := answer.headers.get(name):
                try:
                    url = answer.url.join(location)
                except (httpx2.InvalidURL, ValueError):
                    log.warning("The service's %s is not a URL: ignored.", name)
                    continue
                if self.client.on_origin(url):
                    return url
                log.warning("The service's %s is on another origin: ignored.", name)
        return None


def _query_values(query: Query) -> dict[str, Any]:
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


def _sort_key(operation: Operation) -> tuple[datetime, str]:
    return operation.created_at, operation.operation_id


def _matches(operation: Operation, query: Query) -> bool:
    return (
        query.owner in (None, operation.owner)
        and query.job in (None, operation.job)
        and query.subject in (None, operation.subject)
        and (not query.statuses or operation.status in query.statuses)
        and (query.since is None or operation.created_at >= query.since)
        and (query.before is None or _sort_key(operation) < query.before)
    )


def _run_id(service: Service, body: Any) -> str | int | None:
    found = pick(body, service.id) if service.id is not None else None
    return found if found and isinstance(found, str | int) else None


def _etag(answer: Answer) -> str | None:
    tag = answer.headers.get("ETag")
    return tag if tag and tag.isascii() else None  # No other text can be sent in a header.
