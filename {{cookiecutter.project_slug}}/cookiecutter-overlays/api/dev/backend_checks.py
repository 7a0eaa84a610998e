"""What `make doctor` checks of the service: how it is reached, the credentials, the mapping."""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from dev.doctor import Check, attempt, without_effect
from dev.local_server import configured
from progress.backend import reference
from progress.backend.connection import ProgressConnection
from progress.backend.mapping import Service, load_service, placeholders
from progress.operation import Query, new_operation_id

CREDENTIALS = {"token", "token_file", "token_command", "username"}


def checks(connection: ProgressConnection, is_connected: bool) -> Iterator[Check]:
    """Yield the checks of the service."""
    yield from without_effect(reasons(load_service()))
    yield encryption()
    if is_connected:
        nothing = new_operation_id()
        may = "the service takes a cancel, and knows no operation that does not exist"
        yield attempt("rights", lambda: connection.cancel(nothing), may)
        yield mapping(connection)


def reasons(service: Service) -> dict[str, str]:
    """Return the settings that have no effect, each with what happens instead."""
    found: dict[str, str] = {}
    if service is not reference.SERVICE:
        found = {
            "keep": "what is kept is up to the service",
            "notifications": "messages are up to the service",
        }
    if "options" not in placeholders(service.start):
        not_sent = '"{options}" is not in `start` of progress/backend/service.py'
        found |= dict.fromkeys(("time_limit", "retries", "max_running"), not_sent)
    return found


def encryption() -> Check:
    """Check that credentials do not go over the internet in clear text."""
    settings = configured()
    url = urlsplit(str(settings["url"]))
    if url.scheme == "http" and settings.keys() & CREDENTIALS and is_public(url.hostname or ""):
        message = f"The credentials go to {url.hostname} in clear text: use https:// in the url."
        return Check("encryption", False, message)
    return Check("encryption", True, f"{url.scheme}, to {url.hostname}")


def is_public(host: str) -> bool:
    """Return whether a host may be anywhere on the internet, not in a network of its own."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".local", ".internal", ".localhost"))


def mapping(connection: ProgressConnection) -> Check:
    """Check that the latest operations of the service can be read with the mapping."""
    latest = connection.recent(Query(owner=None, limit=20))
    for operation in latest:
        if operation.problem:
            message = f"{operation.operation_id}: {operation.problem}"
            remedy = "correct progress/backend/service.py"
            return Check("mapping", False, f"{message}: {remedy}.")
    if not latest:
        return Check("mapping", True, "the service lists no operation, so it was not tested")
    return Check("mapping", True, f"the latest {len(latest)} operations can be read")
