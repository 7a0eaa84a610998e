"""Polite and bounded HTTP: one pooled client, few retries, one origin. No Streamlit.

Every request goes through `send`. It asks the configured origin only, wherever a Location or a
redirect points, so the token does not travel.
"""

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import stamina

from progress.contract import BackendError, BackendRejected, BackendUnavailable

CONNECT_TIMEOUT = 3.0
"""Seconds to wait for a connection, new or from the pool."""
SILENCE_TIMEOUT = 5.0
"""Seconds without a byte of the answer."""
DEADLINE = 10.0
"""Seconds for a request and its whole answer, and for all tries of it."""
MAX_BODY = 4_000_000
"""Bytes of an answer. More is not read."""
MAX_REDIRECTS = 3
MAX_CONNECTIONS = 8
"""GETs of watched operations at the same time, for each server process."""
MAX_CALLS = 4
"""Starts, cancels and lists at the same time. Their connections are their own, so that no click
waits behind reads."""
TRIES = 3
"""Tries of a request that may be repeated."""
MAX_RETRY_AFTER = 900.0
"""Most seconds of a Retry-After that are honoured."""

ENVIRONMENT = {
    "url": "PROGRESS_API_URL",
    "token": "PROGRESS_API_TOKEN",
    "header": "PROGRESS_API_HEADER",
    "username": "PROGRESS_API_USERNAME",
    "password": "PROGRESS_API_PASSWORD",
}
"""The names under [connections.progress], and the variables that stand in for them."""

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_WAIT_HERE = 2.0  # A longer Retry-After is for the poller, not for a thread that waits.

# What the page and our own log say is enough; httpx2 writes a line for each request.
logging.getLogger("httpx2").setLevel(logging.WARNING)


class Refused(BackendRejected):
    """The service answered with a status that asking again does not change.

    Args:
        message: What was asked and what came back, in one line.
        status: The HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Unreadable(BackendUnavailable):
    """There was an answer, but it is not what was asked for: too large, not JSON, another thing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered."""

    status: int
    url: httpx2.URL
    """Where it came from, after redirects: what a relative Location is relative to."""
    headers: httpx2.Headers
    body: Any
    """The JSON; None if there was none."""

    @property
    def retry_after(self) -> float | None:
        """The seconds after which the service wants to be asked again, if it said so."""
        return retry_after(self.headers)

    @property
    def date(self) -> datetime | None:
        """The service's clock."""
        return _http_date(self.headers.get("Date", ""))


def configuration(
    secrets: Mapping[str, Any], given: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Return the settings: what is given goes before the environment, and that before the secrets.

    Below the one that names the url nothing is asked: what is there, a token above all, is for
    another service. An empty PROGRESS_API_URL names none, and so turns off the secrets.
    """
    variables = {
        name: os.environ[variable]
        for name, variable in ENVIRONMENT.items()
        if variable in os.environ
    }
    found: dict[str, str] = {}
    for layer in (given or {}, variables, secrets):
        # Of two ways to say who asks, that of the layer below would otherwise still be sent.
        outdone = {"username", "password"} if "token" in found else set()
        outdone |= {"token", "header"} if "username" in found else set()
        found |= {
            name: str(value)
            for name in ENVIRONMENT.keys() - found.keys() - outdone
            if (value := layer.get(name))
        }
        if layer.get("url") is not None:
            break
    return found


def open_client(settings: Mapping[str, str]) -> httpx2.Client:
    """Return a client with a pool of connections; it connects when first used.

    Raises:
        BackendRejected: The settings cannot be used; the text says which, and never its value.
    """
    where = "under [connections.progress] in .streamlit/secrets.toml"
    if "url" not in settings:
        raise BackendRejected(f"No service is configured. Set url {where}, or PROGRESS_API_URL.")
    try:
        url = httpx2.URL(settings["url"].rstrip("/") + "/")
    except (httpx2.InvalidURL, ValueError):
        url = httpx2.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise BackendRejected(f"The url {where} is not like https://jobs.example.com/api.")
    if url.userinfo:
        raise BackendRejected(f"The url {where} holds credentials: set username and password.")
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    token = settings.get("token")
    if token is not None:
        if not re.fullmatch(r"[\x20-\x7e]+", token):
            raise BackendRejected(f"The token {where} holds what a header cannot: copy it anew.")
        name = settings.get("header", "Authorization")
        if not re.fullmatch(r"[A-Za-z0-9-]+", name):
            raise BackendRejected(f"The header {where} is not the name of a header like X-API-Key.")
        headers[name] = token if "header" in settings else f"Bearer {token}"
    return httpx2.Client(
        base_url=url,
        headers=headers,
        auth=(settings["username"], settings.get("password", ""))
        if "username" in settings
        else None,
        timeout=httpx2.Timeout(SILENCE_TIMEOUT, connect=CONNECT_TIMEOUT, pool=CONNECT_TIMEOUT),
        limits=httpx2.Limits(max_connections=MAX_CONNECTIONS + MAX_CALLS),
        follow_redirects=False,
        # A proxy of the environment is for the world outside.
        trust_env=url.host not in ("127.0.0.1", "localhost", "::1"),
    )


def send(
    client: httpx2.Client,
    method: str,
    where: str | httpx2.URL,
    *,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
    repeatable: bool = False,
) -> Answer:
    """Ask the service and return what it answered with a status below 400.

    Args:
        client: From `open_client`.
        method: GET, POST and so on.
        where: A path under the configured url, or a whole address on its origin.
        query: Parameters; one whose value is a list is sent once for each.
        headers: Besides those of the client.
        body: What is sent as JSON; None for nothing.
        repeatable: Whether the service does it once however often it is asked. A GET always is.

    Raises:
        BackendUnavailable: No answer, or one that says "later" or cannot be read.
        BackendRejected: The service refused, or leads to another origin.
    """
    # Not base_url.join: to that "jobs:run" is an address of its own.
    url = (
        where
        if isinstance(where, httpx2.URL)
        else httpx2.URL(f"{client.base_url}{where.removeprefix('/')}")
    )
    request = client.build_request(
        method, url, params=query or None, headers=dict(headers or {}), json=body
    )
    until = time.monotonic() + DEADLINE
    for attempt in stamina.retry_context(
        on=_wait_before_retry,
        attempts=TRIES if repeatable or method == "GET" else 1,
        timeout=DEADLINE,
        wait_initial=0.05,
        wait_max=0.5,
        wait_jitter=0.05,
    ):
        with attempt:
            return _follow(client, request, until)
    raise AssertionError("stamina tries at least once")


def same_origin(one: httpx2.URL, other: httpx2.URL) -> bool:
    """Return whether both have the same scheme, host and port."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After, which says seconds or a date; None if it says neither.

    A date is measured against the service's own clock.
    """
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return min(float(value), MAX_RETRY_AFTER)
    then = _http_date(value)
    if then is None:
        return None
    now = _http_date(headers.get("Date", "")) or datetime.now(UTC)
    return min(max((then - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def reason(body: Any) -> str:
    """Return, in one line, what an error body says: RFC 9457, or what is common besides it."""
    if not isinstance(body, Mapping):
        return ""
    error = body.get("error")
    nested = error if isinstance(error, Mapping) else {}
    said = [body.get("title"), body.get("detail")]
    if not any(said):
        said = [nested.get("message") or body.get("message") or error]
    texts = [" ".join(text.split()) for text in said if isinstance(text, str)]
    return ": ".join(text for text in texts if text)[:500]


def _follow(client: httpx2.Client, request: httpx2.Request, until: float) -> Answer:
    for _ in range(MAX_REDIRECTS + 1):
        answer = _ask(client, request, until)
        if answer.status not in _REDIRECTS:
            return answer
        location = answer.headers.get("Location", "")
        if request.method != "GET" or not location:
            raise Refused(f"{_named(request)} was redirected: is the url right?", answer.status)
        try:
            url = answer.url.join(location)
        except (httpx2.InvalidURL, ValueError):
            raise Unreadable(f"{_named(request)} was redirected to what is no address.") from None
        request = client.build_request("GET", url, headers=_conditions(request))
    raise Unreadable(f"{_named(request)} was redirected more than {MAX_REDIRECTS} times.")


def _conditions(request: httpx2.Request) -> dict[str, str]:
    return {"If-None-Match": tag} if (tag := request.headers.get("If-None-Match")) else {}


def _ask(client: httpx2.Client, request: httpx2.Request, until: float) -> Answer:
    if not same_origin(request.url, client.base_url):
        raise BackendRejected(
            f"The service leads to {_origin(request.url)}, where the credentials must not go."
            f" Only {_origin(client.base_url)} is configured."
        )
    # What is left of the time of all tries.
    left = max(until - time.monotonic(), 0.01)
    timeouts = {name: min(wait, left) for name, wait in client.timeout.as_dict().items() if wait}
    request.extensions = {**request.extensions, "timeout": timeouts}
    try:
        response = client.send(request, stream=True)
        try:
            text = b"".join(_bounded(response, request, until))
        finally:
            response.close()
    except httpx2.TimeoutException:
        raise BackendUnavailable(f"{_named(request)} got no answer in time.") from None
    except httpx2.HTTPError as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise BackendUnavailable(f"{_named(request)}: {what[:300]}") from error
    status = response.status_code
    if status in _REDIRECTS or status == 304:
        return Answer(status, request.url, response.headers, None)
    body, problem = _json(text, request)
    if status >= 400:
        raise _refusal(request, response, body)
    if problem is not None:
        raise problem
    return Answer(status, request.url, response.headers, body)


def _bounded(response: httpx2.Response, request: httpx2.Request, until: float) -> Iterator[bytes]:
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > MAX_BODY:
            raise Unreadable(f"{_named(request)} answered with more than {MAX_BODY:,} bytes.")
        if time.monotonic() > until:
            raise BackendUnavailable(f"{_named(request)} took more than {DEADLINE:g} s to answer.")
        yield chunk


def _json(text: bytes, request: httpx2.Request) -> tuple[Any, Unreadable | None]:
    if not text.strip():
        return None, None
    try:
        return _sound(json.loads(text.decode(), parse_constant=_no_constant)), None
    except (ValueError, RecursionError):
        return None, Unreadable(f"{_named(request)} answered with what is not JSON.")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _sound(value: Any) -> Any:
    """Replace halves of surrogate pairs, which JSON can say and nothing can show."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="replace").decode()
    if isinstance(value, list):
        return [_sound(item) for item in value]
    if isinstance(value, dict):
        return {_sound(name): _sound(item) for name, item in value.items()}
    return value


def _refusal(request: httpx2.Request, response: httpx2.Response, body: Any) -> BackendError:
    status = response.status_code
    said = reason(body)
    message = f"{_named(request)} answered {status} {response.reason_phrase}".rstrip()
    message += f": {said}" if said else "."
    wait = retry_after(response.headers)
    if status in _TRANSIENT or wait is not None:
        return BackendUnavailable(message, wait)
    if status in (401, 403):
        message += " Check the credentials under [connections.progress]."
    return Refused(message, status)


def _wait_before_retry(error: Exception) -> bool | float:
    if not isinstance(error, BackendUnavailable) or isinstance(error, Unreadable):
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= _WAIT_HERE else False


def _http_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _origin(url: httpx2.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode(errors='replace')}"


def _named(request: httpx2.Request) -> str:
    # Without the query, which may hold what is not for a page.
    return f"{request.method} {request.url.host}{request.url.path}"[:200]
