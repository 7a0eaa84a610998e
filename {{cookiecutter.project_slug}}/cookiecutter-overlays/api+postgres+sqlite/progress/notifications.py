"""Messages about ended operations, through Apprise: e-mail, Slack, Teams and a hundred more.

[notifications] in the secrets configures them; without it nothing is sent:

    [notifications]
    urls = ["slack://..."]           # https://github.com/caronc/apprise/wiki says how to write them
    on = ["failed", "partial"]       # by default all four: completed and cancelled, too
    app = "https://jobs.example.com" # where the app is, for a link in the message

It needs the extra: `uv sync --extra notifications`. What is cancelled while it waits in the queue
ends without a message.
"""

import importlib
import logging
from typing import Any
from urllib.parse import quote

from progress.operation import Operation, Status
from progress.settings import read_secrets
from progress.text import as_line, format_duration

log = logging.getLogger(__name__)


def notify(operation: Operation) -> None:
    """Send a message if one is configured for this end. Never raises: the operation has ended."""
    try:
        settings = read_secrets().get("notifications")
        if not settings or operation.status not in settings.get("on", list(Status)):
            return
        apprise = importlib.import_module("apprise")
        logging.getLogger("apprise").disabled = True  # it would log addresses, which are secrets
        receivers = apprise.Apprise()
        known = [receivers.add(url) for url in settings["urls"]]
        if not all(known):
            log.warning("[notifications] in secrets.toml: some of urls are invalid.")
        if not receivers.notify(title=_title(operation), body=_body(operation, settings)):
            log.warning("Operation %s: not every message was sent.", operation.operation_id)
    except ModuleNotFoundError:
        log.warning("Messages are configured, but not sent: run `uv sync --extra notifications`.")
    except Exception as error:
        # Without its text, which may quote an address.
        log.warning("A message was not sent (%s): check [notifications].", type(error).__name__)


def _title(operation: Operation) -> str:
    name = ": ".join(filter(None, (operation.job, operation.subject)))
    return as_line(f"{operation.status.capitalize()}: {name}", 200)


def _body(operation: Operation, settings: dict[str, Any]) -> str:
    lines = [f"After {format_duration(operation.elapsed)}."]
    if operation.reason:
        lines.append(as_line(operation.reason, 500))
    if app := settings.get("app"):
        lines.append(f"{str(app).rstrip('/')}/?operation={quote(operation.operation_id, safe='')}")
    return "\n".join(lines)
