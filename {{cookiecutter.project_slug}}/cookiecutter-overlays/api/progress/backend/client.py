"""HTTP requests with limits: few retries, one deadline, one origin. No Streamlit.

Requests are made in one event loop, in a thread of its own. Other threads hand it coroutines with
`Client.run` and wait for the result. A coroutine that is cancelled, by its deadline or by `close`,
closes its connection, so a service that never ends an answer cannot hold on to anything.

A request only ever goes to the configured origin, wherever a Location or a redirect points. So the
credentials go nowhere else.
"""

import asyncio
import json
import logging
import re
import threading
import time
import traceback
from collections.abc import AsyncIterator, Coroutine, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from progress.backend.credentials import PLACE, Credentials
from progress.contract import BackendError, BackendRejected, BackendUnavailable
from progress.text import truncate

log = logging.getLogger(__name__)
# They log every request, which is too much for a poll every half second, and what was received.
logging.getLogger("httpx2").setLevel(logging.WARNING)
logging.getLogger("httpcore2").setLevel(logging.WARNING)

CONNECT_TIMEOUT = 3.0
"""Seconds to wait for a new connection."""
READ_TIMEOUT = 5.0
"""Seconds to wait for the next bytes of a response."""
DEADLINE = 10.0
"""Seconds for one call: waiting for its turn, all attempts, and the whole response."""
MAX_BODY = 4_000_000
"""Bytes of a response. More are not read."""
FILE_DEADLINE = 120.0
"""Seconds for a call that sends or returns a file, and for the answer to a file."""
MAX_REDIRECTS = 3
MAX_READS = 8
"""Operations read at the same time by one server process."""
MAX_CALLS = 4
"""Starts, cancels and lists at the same time. They do not wait behind reads."""
MAX_FILES = 2
"""Files sent or returned at the same time: each is in memory."""
MAX_ATTEMPTS = 3
"""Attempts of a request that may be repeated."""
MAX_REASON, MAX_MESSAGE = 500, 800
"""Characters of the reason that the service gives, and of the whole message."""
MAX_RETRY_AFTER = 900.0
"""Longest Retry-After in seconds; a longer one is shortened to it."""
THREAD_NAME = "progress-api"

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_RETRY_WAIT = 0.1  # Seconds before the first retry.
_MAX_WAIT = 2.0  # A longer Retry-After is left to the poller.
_LIBRARY_CODES = re.compile(r"\[(?:Errno|WinError|SSL|X509)\b[^\]]*\]| \(_ssl\.c:\d+\)")
_CLOSED = "The connection to the service was closed before it answered."

Result = TypeVar("Result")


class Refused(BackendRejected):
    """The service answered with an error status that a retry does not change.

    Args:
        message: The request and the answer, in one line.
        status: The HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Unreadable(BackendUnavailable):
    """The service answered, but not with what was requested: too much, not JSON, another object."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with a status below 400."""

    status: int
    url: httpx2.URL
    """The address after redirects. A relative Location is relative to it."""
    headers: httpx2.Headers
    body: Any
    """The parsed JSON; None for an empty body. Bytes if these were requested."""

    @property
    def date(self) -> datetime | None:
        """The time by the service's clock."""
        return _http_date(self.headers.get("Date", ""))


class Client:
    """An HTTP client with an event loop and a thread of its own.

    Args:
        settings: From `configuration` in credentials.py.

    Raises:
        BackendRejected: A setting is missing or invalid. The message does not contain its value.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._http = _open(settings)
        self.credentials = Credentials(settings)
        self.reads = asyncio.Semaphore(MAX_READS)
        self.calls = asyncio.Semaphore(MAX_CALLS)
        self.files = asyncio.Semaphore(MAX_FILES)
        self._logged: set[type[Exception]] = set()
        self._limited: tuple[float, str] = (0.0, "")  # until when, and what the service said
        self._lock = threading.Lock()  # For the attributes below.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._running: set[Future[Any]] = set()
        self._closed = False

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the event loop and wait for its result. For any other thread.

        Raises:
            BackendUnavailable: The client was closed before or meanwhile.
        """
        with self._lock:
            if self._closed:
                work.close()
                raise BackendUnavailable(_CLOSED)
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name=THREAD_NAME, daemon=True
                )
                self._thread.start()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._running.add(future)
        try:
            return future.result()
        except CancelledError:
            raise BackendUnavailable(_CLOSED) from None
        finally:
            with self._lock:
                self._running.discard(future)

    def close(self) -> None:
        """Cancel all calls, close the connections and end the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            running = list(self._running)
        if self._loop is not None and self._thread is not None:
            for future in running:
                future.cancel()
            asyncio.run_coroutine_threadsafe(self._shut_down(self._loop), self._loop)
            self._thread.join()
            self._loop.close()

    async def _shut_down(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            cancelled = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*cancelled, return_exceptions=True)
            await self._http.aclose()
        finally:
            loop.stop()

    @asynccontextmanager
    async def limited(self, slots: asyncio.Semaphore) -> AsyncIterator[None]:
        """Wait for one of the slots, then keep the deadline for all requests made inside.

        Args:
            slots: `reads`, `calls` or `files`.

        Raises:
            BackendUnavailable: The deadline passed, or something unexpected went wrong.
        """
        deadline = FILE_DEADLINE if slots is self.files else DEADLINE
        try:
            async with asyncio.timeout(deadline):
                # No request is sent when its caller is about to give up.
                async with asyncio.timeout(deadline * 0.9):
                    await slots.acquire()
                try:
                    yield
                finally:
                    slots.release()
        except BackendError as error:
            error.args = (truncate(self.credentials.one_line(str(error)), MAX_MESSAGE),)
            raise
        except TimeoutError:
            message = f"The service did not answer within {deadline:g} s."
            raise BackendUnavailable(message) from None
        except Exception as error:
            if type(error) not in self._logged:
                self._logged.add(type(error))
                details = self.credentials.hide(traceback.format_exc())
                log.error("An answer of the service could not be processed:\n%s", details)
            reason = self.credentials.one_line(str(error))[:300]
            raise Unreadable(f"The answer: {type(error).__name__}: {reason}") from None

    async def send(
        self,
        method: str,
        address: str | httpx2.URL,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        content: bytes | None = None,
        repeatable: bool = False,
        max_bytes: int | None = None,
    ) -> Answer:
        """Send a request, with retries and redirects, and return the answer.

        Args:
            method: GET, POST and so on.
            address: A path below the configured url, or a whole address on its origin.
            query: Parameters; a list sends its parameter once for each value.
            headers: Added to those of the client.
            body: Sent as JSON; None for no body.
            content: A file that is sent instead.
            repeatable: Whether a repeated request has no further effect. A GET never has.
            max_bytes: None if the answer must be JSON. Else it is bytes, at most so many.

        Raises:
            BackendUnavailable: No answer, one that says "later", or one that cannot be read.
            BackendRejected: The service refused, or redirects to another origin.
        """
        if isinstance(address, str):
            # Not base_url.join, which takes "jobs:run" for an address with the scheme "jobs".
            address = httpx2.URL(f"{self._http.base_url}{address.removeprefix('/')}")
        sent = httpx2.Headers({} if max_bytes is None else {"Accept": "*/*"})
        if content is not None:
            sent["Content-Type"] = "application/octet-stream"
        sent.update(headers)
        request = self._http.build_request(
            method,
            address,
            params=query or None,
            headers=sent,
            json=body if content is None else None,
            content=content,
        )
        if content is not None:
            # The service may store it elsewhere before it answers.
            request.extensions["timeout"]["read"] = FILE_DEADLINE
        attempts = MAX_ATTEMPTS if repeatable or method == "GET" else 1
        failures = 0
        while True:
            try:
                return await self._follow(request, max_bytes)
            except BackendUnavailable as error:
                failures += 1
                wait = failures * _RETRY_WAIT if error.retry_after is None else error.retry_after
                if failures == attempts or wait > _MAX_WAIT or isinstance(error, Unreadable):
                    raise
            await asyncio.sleep(wait)

    def on_origin(self, url: httpx2.URL) -> bool:
        """Return whether an address has the scheme, host and port of the configured url."""
        own = self._http.base_url
        return (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port)

    def safe_link(self, address: object) -> str | None:
        """Return an address of the service as a link that a page may offer; None if it is none.

        It must be https, or on the configured origin.
        """
        try:
            url = self._http.base_url.join(address) if isinstance(address, str) else httpx2.URL()
        except (httpx2.InvalidURL, ValueError):
            return None
        is_safe = url.scheme == "https" or self.on_origin(url)
        return str(url) if is_safe and url.host and not url.userinfo else None

    async def _follow(self, request: httpx2.Request, max_bytes: int | None) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._exchange(request, max_bytes)
            if answer.status not in _REDIRECTS:
                return answer
            location = answer.headers.get("Location", "")
            if request.method != "GET" or not location:
                raise Refused(f"{_name(request)} was redirected: is the url right?", answer.status)
            try:
                url = answer.url.join(location)
            except (httpx2.InvalidURL, ValueError):
                raise Unreadable(f"{_name(request)} was redirected to an invalid URL.") from None
            request = self._http.build_request("GET", url, headers=request.headers)
        raise Unreadable(f"{_name(request)} was redirected more than {MAX_REDIRECTS} times.")

    async def _exchange(self, request: httpx2.Request, max_bytes: int | None) -> Answer:
        if not self.on_origin(request.url):
            raise BackendRejected(
                f"The service redirects to {_origin(request.url)}, where the credentials must not"
                f" go. Only {_origin(self._http.base_url)} is configured."
            )
        seconds, message = self._limited[0] - time.monotonic(), self._limited[1]
        if request.method == "GET" and seconds > 0:
            raise BackendUnavailable(f"{message} Read again in {seconds:.0f} s.", seconds)
        headers = await self.credentials.headers()
        try:
            return await self._answer(request, headers, max_bytes)
        except Refused as refusal:
            renewed = headers
            if refusal.status == 401:
                renewed = await self.credentials.headers(refused=headers)
            if renewed == headers:
                raise
        # Any request may be repeated that was refused for its token.
        return await self._answer(request, renewed, max_bytes)

    async def _answer(
        self, request: httpx2.Request, headers: Mapping[str, str], max_bytes: int | None
    ) -> Answer:
        request.headers.update(headers)
        try:
            response = await self._http.send(request, stream=True)
            try:
                is_error = response.status_code >= 400
                most = MAX_BODY if max_bytes is None or is_error else max_bytes
                content = await _read_body(request, response, most)
            finally:
                await response.aclose()
        except httpx2.TimeoutException:
            raise BackendUnavailable(f"{_name(request)} got no answer in time.") from None
        except httpx2.HTTPError as error:
            text = _LIBRARY_CODES.sub("", str(error))
            cause = self.credentials.one_line(text) or type(error).__name__
            raise BackendUnavailable(f"{_name(request)}: {cause[:300]}") from None
        status = response.status_code
        if is_error:
            try:
                reason = error_reason(self._parse(request, content))
            except Unreadable:
                reason = ""
            refusal = _refusal(request, response, reason)
            if status in (403, 429) and (wait := getattr(refusal, "retry_after", None)):
                # A rate limit is for all requests: no GET is sent before it ends.
                self._limited = time.monotonic() + wait, str(refusal)
            raise refusal
        body: Any = content
        if status in _REDIRECTS or status == 304:
            body = None
        elif max_bytes is None:
            body = self._parse(request, content)
        return Answer(status, request.url, response.headers, body)

    def _parse(self, request: httpx2.Request, content: bytes) -> Any:
        if not content.strip():
            return None
        try:
            return self.clean(json.loads(content.decode(), parse_constant=_reject_constant))
        except (ValueError, RecursionError):
            raise Unreadable(f"{_name(request)} answered with what is not JSON.") from None

    def clean(self, value: Any) -> Any:
        """Replace lone surrogates, which no UTF-8 can hold, and credentials that are returned."""
        if isinstance(value, str):
            return self.credentials.hide(value.encode(errors="replace").decode())
        if isinstance(value, list):
            return [self.clean(item) for item in value]
        if isinstance(value, dict):
            return {self.clean(key): self.clean(item) for key, item in value.items()}
        return value


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After, which may be a date; None if it is missing or invalid.

    A date is compared with the service's own clock.
    """
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return min(float(value), MAX_RETRY_AFTER)
    date = _http_date(value)
    if date is None:
        return None
    now = _http_date(headers.get("Date", "")) or datetime.now(UTC)
    return min(max((date - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def error_reason(body: Any) -> str:
    """Return the reason in an error body in one line: RFC 9457, or another common form."""
    if not isinstance(body, Mapping):
        return ""
    error = body.get("error")
    nested = error if isinstance(error, Mapping) else {}
    values = [body.get("title"), body.get("detail")]
    if not any(values):
        values = [nested.get("message") or body.get("message") or error]
    texts = [" ".join(value.split()) for value in values if isinstance(value, str)]
    return ": ".join(text for text in texts if text)[:MAX_REASON]


def _open(settings: Mapping[str, Any]) -> httpx2.AsyncClient:
    if "url" not in settings:
        raise BackendRejected(f"No service is configured. Set url {PLACE}, or PROGRESS_API_URL.")
    try:
        url = httpx2.URL(str(settings["url"]).rstrip("/") + "/")
    except (httpx2.InvalidURL, ValueError):
        url = httpx2.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise BackendRejected(f"The url {PLACE} must be like https://jobs.example.com/api.")
    if url.userinfo:
        raise BackendRejected(f"The url {PLACE} has credentials: set username and password.")
    try:
        return httpx2.AsyncClient(
            base_url=url,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            limits=httpx2.Limits(max_connections=MAX_READS + MAX_CALLS + MAX_FILES),
            follow_redirects=False,
            # No proxy of the environment sees the credentials. Its certificates (SSL_CERT_FILE) are
            # trusted: services in a company may need them.
            trust_env=False,
            verify=httpx2.create_ssl_context(),
            proxy=settings.get("proxy"),
        )
    except (httpx2.InvalidURL, ValueError, TypeError, ImportError):
        message = f"The proxy {PLACE} must be like http://proxy.example.com:3128."
        raise BackendRejected(message) from None


async def _read_body(request: httpx2.Request, response: httpx2.Response, most: int) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > most:
            raise Unreadable(f"{_name(request)} answered with more than {most:,} bytes.")
    return bytes(content)


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _refusal(request: httpx2.Request, response: httpx2.Response, reason: str) -> BackendError:
    status = response.status_code
    message = f"{_name(request)} answered {status} {response.reason_phrase}".rstrip()
    message += f": {reason}" if reason else "."
    wait = retry_after(response.headers)
    if wait is None and status in (403, 429):
        wait = _rate_limit_wait(response.headers, reason)
    if status in _TRANSIENT or wait is not None:
        return BackendUnavailable(message, wait)
    if status in (401, 403):
        message += " Check the credentials under [connections.progress]."
    return Refused(message, status)


def _rate_limit_wait(headers: Mapping[str, str], reason: str) -> float | None:
    """Return the seconds until a rate limit ends, which GitHub answers with a 403."""
    reset = headers.get("X-RateLimit-Reset", "")
    if headers.get("X-RateLimit-Remaining") == "0" and re.fullmatch(r"[0-9]{1,11}", reset):
        now = _http_date(headers.get("Date", "")) or datetime.now(UTC)
        return min(max(int(reset) - now.timestamp(), 0.0), MAX_RETRY_AFTER)
    return 60.0 if "rate limit" in reason.lower() else None  # as its documentation says


def _http_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _origin(url: httpx2.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode(errors='replace')}"


def _name(request: httpx2.Request) -> str:
    # Without the query, which may contain what must not be shown on a page.
    return f"{request.method} {request.url.host}{request.url.path}"
