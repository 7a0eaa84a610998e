"""What `make doctor` checks of the service: how it is reached, the credentials, the mapping."""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from dev.doctor import Check, attempt
from dev.local_server import configured
from progress.backend.connection import ProgressConnection
from progress.operation import Query, new_operation_id

CREDENTIALS = {"token", "token_file", "token_command", "username"}


def checks(connection: ProgressConnection, is_connected: bool) -> Iterator[Check]:
    """Yield the checks of the service."""
    yield encryption()
    if is_connected:
        nothing = new_operation_id()
        may = "the service takes a cancel, and knows no operation that does not exist"
        yield attempt("rights", lambda: connection.cancel(nothing), may)
        yield mapping(connection)


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
