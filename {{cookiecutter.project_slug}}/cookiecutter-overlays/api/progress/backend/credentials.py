"""Where the service is and what proves to it who the app is. No message may contain the latter."""

import asyncio
import base64
import json
import os
import re
import subprocess
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from progress.contract import BackendRejected
from progress.settings import ROOT

MAX_TOKEN_AGE = 300.0
"""Seconds after which the token of a file or a command is read again."""
RETRY_PAUSE = 10.0
"""Seconds until a token is read again that could not be read, or that stays refused."""
COMMAND_TIMEOUT = 8.0
"""Seconds after which a command for a token is ended. A call has 10 in all."""
HIDDEN = "***"
"""What messages have instead of a token or a password."""

ENVIRONMENT = {
    "url": "PROGRESS_API_URL",
    "token": "PROGRESS_API_TOKEN",
    "token_file": "PROGRESS_API_TOKEN_FILE",
    "token_command": "PROGRESS_API_TOKEN_COMMAND",
    "header": "PROGRESS_API_HEADER",
    "username": "PROGRESS_API_USERNAME",
    "password": "PROGRESS_API_PASSWORD",
    "proxy": "PROGRESS_API_PROXY",
}
"""The settings under [connections.progress], and their environment variables."""
PLACE = "under [connections.progress] in .streamlit/secrets.toml"

_TOKENS = {"token", "token_file", "token_command"}
# Sequences that color a terminal, and characters that control it or turn text round.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def configuration(
    secrets: Mapping[str, Any], arguments: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the settings. Arguments take precedence over the environment, that over the secrets.

    Nothing is taken from below the layer that sets the url: a token there belongs to another
    service. An empty PROGRESS_API_URL sets it to nothing, and so turns off the secrets.
    """
    environment = {name: os.environ.get(variable) for name, variable in ENVIRONMENT.items()}
    settings: dict[str, Any] = {}
    for layer in (arguments or {}, environment, secrets):
        names = ENVIRONMENT.keys() - settings.keys()
        # Credentials replace those of a layer below, of whatever kind.
        if settings.keys() & _TOKENS:
            names -= _TOKENS | {"username", "password"}
        if "username" in settings:
            names -= _TOKENS | {"header"}
        settings |= {name: layer[name] for name in names if layer.get(name)}
        if layer.get("url") is not None:
            break
    return settings


class Credentials:
    """The header that proves who the app is: with a token that may change, or with a password.

    Args:
        settings: From `configuration`.

    Raises:
        BackendRejected: A setting is invalid. The message does not contain its value.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        kinds = [name for name in ("username", *sorted(_TOKENS)) if name in settings]
        if len(kinds) > 1:
            raise BackendRejected(f"Set only one of {' and '.join(kinds)} {PLACE}.")
        self._name = str(settings.get("header", "Authorization"))
        if not re.fullmatch(r"[A-Za-z0-9-]+", self._name):
            raise BackendRejected(f"The header {PLACE} must be a header name like X-API-Key.")
        self._scheme = "" if "header" in settings else "Bearer "
        self._value = ""
        self._file = str(settings.get("token_file", ""))
        self._command = _arguments(settings.get("token_command", []))
        self._lock = asyncio.Lock()
        self._read_again_at = self._paused_until = -float("inf")
        self._failure = ""  # why the latest token could not be read
        password = str(settings.get("password", ""))
        self._passwords = [password, _password_of(settings.get("proxy", ""))]
        # A request may be under way with a previous token.
        self._tokens: deque[str] = deque(maxlen=4)
        if "token" in settings:
            self._use(str(settings["token"]))
        elif "username" in settings:
            encoded = base64.b64encode(f"{settings['username']}:{password}".encode()).decode()
            self._name, self._value = "Authorization", f"Basic {encoded}"
            self._passwords.append(encoded)

    async def headers(self, refused: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the header, with a token that is read again when it is old.

        Args:
            refused: What the service has just refused: its token is read again now.

        Raises:
            BackendRejected: The token could not be read, and no earlier one may be valid.
        """
        async with self._lock:
            now = time.monotonic()
            is_refused = refused is not None and refused.get(self._name) == self._value
            if (self._file or self._command) and (
                now >= self._read_again_at or (is_refused and now >= self._paused_until)
            ):
                before, self._failure, valid_for = self._value, "", MAX_TOKEN_AGE
                try:
                    self._use(await asyncio.to_thread(self._read))
                except BackendRejected as error:
                    self._failure, valid_for = str(error), RETRY_PAUSE
                self._read_again_at = time.monotonic() + valid_for
                if self._value == before:
                    self._paused_until = time.monotonic() + RETRY_PAUSE
            # Until the service refuses it, an earlier token may be valid.
            if self._failure and (is_refused or not self._value):
                raise BackendRejected(self._failure)
            return {self._name: self._value} if self._value else {}

    def hide(self, text: str) -> str:
        """Return a text of the service without tokens and passwords."""
        for secret in (*self._tokens, *self._passwords):
            if len(secret) >= 4:  # shorter text is part of too many words
                text = text.replace(secret, HIDDEN)
        return text

    def one_line(self, text: str) -> str:
        """Return a message without tokens, passwords and control characters, in one line."""
        return " ".join(_CONTROL.sub("", self.hide(text)).split())

    def _use(self, token: str) -> None:
        token = token.strip()  # a line feed at the end of a file, or a space that was copied
        if not re.fullmatch(r"[\x20-\x7e]+", token):
            raise BackendRejected(
                f"The token {PLACE} is empty or has characters that a header cannot hold:"
                " copy it again."
            )
        self._value = self._scheme + token
        self._tokens.append(token.split()[-1])  # without a scheme of its own, as in "Token ..."

    def _read(self) -> str:
        if self._file:
            try:
                return (ROOT / self._file).read_text("utf-8")
            except (OSError, ValueError) as error:
                raise BackendRejected(
                    f"The token_file {PLACE} cannot be read ({type(error).__name__})."
                ) from None
        try:
            return subprocess.run(
                self._command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                timeout=COMMAND_TIMEOUT,
                check=True,
            ).stdout
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            # Without its output, which may be a token.
            reason = type(error).__name__
            if isinstance(error, subprocess.CalledProcessError):
                reason = f"exit status {error.returncode}"
            raise BackendRejected(
                f"The token_command {PLACE} failed ({reason}): run it in a terminal."
            ) from None


def _arguments(command: Any) -> list[str]:
    try:
        arguments = json.loads(command) if isinstance(command, str) else list(command)
    except (TypeError, ValueError):
        arguments = None
    if not isinstance(arguments, list) or not all(isinstance(part, str) for part in arguments):
        raise BackendRejected(
            f'The token_command {PLACE} must be a list like ["gcloud", "auth",'
            ' "print-access-token"], in PROGRESS_API_TOKEN_COMMAND as JSON.'
        )
    return arguments


def _password_of(url: Any) -> str:
    match = re.search(r"//[^/]*?:([^/]*)@", str(url))
    return match[1] if match else ""
