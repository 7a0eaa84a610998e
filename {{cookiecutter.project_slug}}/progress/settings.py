"""settings.toml, read and checked."""

import functools
import math
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_EXAMPLE = 'run = { title = "Run", icon = "play_circle" }'


class SettingsError(ValueError):
    """A value in settings.toml is invalid. The text is one line with the remedy."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the app: `app_pages/NAME.py`."""

    name: str
    title: str
    icon: str
    """A name of Material Symbols."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values of settings.toml."""

    title: str
    description: str
    operation: str
    """What the start button says."""
    pages: tuple[Page, ...]
    """In the order of the menu; the first one opens at the app's address."""
    poll_interval: float
    """Seconds between two polls of a page, 0.2 to 60."""
    idle_budget: float
    """Seconds without interaction after which a page stops polling."""
    stale_after: float
    """Seconds without a heartbeat after which an operation is shown as stale."""
    max_active: int
    """How many operations of one owner may be queued or in progress."""
    max_running: int
    """How many jobs run at the same time on this machine; by default one for each processor. Not
    used if the backend runs them elsewhere."""
    cancel_grace: float
    """Seconds after a request to cancel until the page offers to stop the job by force."""
    keep: float
    """Seconds after which an operation that has ended is removed, with its log and files; inf."""
    requires_login: bool
    """Whether only users who are logged in see the app."""
    shared: bool
    """Whether everybody who can open the app sees all operations. Only the owner may cancel."""


@functools.cache
def load_settings() -> Settings:
    """Return the settings of this project. Later calls return the same object.

    Raises:
        SettingsError: The file is missing, is not TOML, or has an invalid value.
    """
    return read_settings()


def have_settings_changed() -> bool:
    """Return whether the file differs from what was loaded: a change needs a restart."""
    try:
        return read_settings() != load_settings()
    except SettingsError:
        return True


def read_settings(path: Path = ROOT / "settings.toml") -> Settings:
    """Read a file of settings.

    Raises:
        SettingsError: The file is missing, is not TOML, or has an invalid value.
    """
    tables = _tables(path)
    return Settings(
        title=_text(tables, "app", "title"),
        description=_text(tables, "app", "description"),
        operation=_text(tables, "app", "operation"),
        pages=_pages(tables),
        poll_interval=_seconds(tables, "progress", "poll_interval", 0.2, 60),
        idle_budget=_seconds(tables, "progress", "idle_budget", 1, 7 * 24 * 3600),
        stale_after=_seconds(tables, "progress", "stale_after", 2, 24 * 3600),
        max_active=_count(tables, "progress", "max_active", 1),
        max_running=_max_running(tables),
        cancel_grace=_seconds(tables, "progress", "cancel_grace", 0, 24 * 3600),
        keep=_keep(tables),
        requires_login=_choice(tables, "app", "login", ("none", "required")) == "required",
        shared=_flag(tables, "progress", "shared"),
    )


def read_backend_setting(table: str, name: str, path: Path = ROOT / "settings.toml") -> str:
    """Read a text that only the chosen backend needs.

    Raises:
        SettingsError: The file or the text is missing or invalid.
    """
    return _text(_tables(path), table, name)


def read_secrets() -> dict[str, Any]:
    """Return the tables of the secrets, as Streamlit reads them.

    They are in .streamlit/secrets.toml of the home folder and of the project, which takes
    precedence. Both files may be missing.

    Raises:
        SettingsError: One of them cannot be read, or is not TOML.
    """
    tables: dict[str, Any] = {}
    for folder in (Path(os.path.expanduser("~")), ROOT):
        path = folder / ".streamlit" / "secrets.toml"
        # Not path.exists(), which raises where a container's user may not enter the home folder.
        tables |= _tables(path) if os.path.exists(path) else {}
    return tables


def parse_duration(text: str) -> float:
    """Return the seconds in "0.5s", "500ms", "2", "1.5 s", "30m", "1h" or "90d".

    Raises:
        ValueError: The text is not a duration like these.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d|)", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration. Write it like 0.5s, 500ms, 30m, 1h or 90d.")
    return float(match[1]) * _SECONDS[match[2]]


def _tables(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"{path.name} is missing: restore it next to streamlit_app.py."
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or error  # not the path, which a visitor sees
        raise SettingsError(f"{path.name} cannot be read as TOML: {reason}.") from None


def _value(tables: dict[str, Any], table: str, name: str) -> Any:
    try:
        return tables[table][name]
    except (KeyError, TypeError):
        raise SettingsError(f"settings.toml has no {name} under [{table}]: add it.") from None


def _text(tables: dict[str, Any], table: str, name: str) -> str:
    value = _value(tables, table, name)
    if not isinstance(value, str):
        raise SettingsError(f"settings.toml: {name} = {value!r} is not text. Put it in quotes.")
    return value


def _choice(tables: dict[str, Any], table: str, name: str, choices: tuple[str, ...]) -> str:
    value = _value(tables, table, name)
    if value not in choices:
        known = " or ".join(f'"{choice}"' for choice in choices)
        raise SettingsError(f"settings.toml: {name} = {value!r} is invalid. Write {known}.")
    return str(value)


def _pages(tables: dict[str, Any]) -> tuple[Page, ...]:
    pages = tables.get("pages")
    if not isinstance(pages, dict) or "run" not in pages:
        raise SettingsError(f"settings.toml has no run under [pages]: add {_EXAMPLE}.")
    return tuple(_page(name, value) for name, value in pages.items())


def _page(name: str, value: Any) -> Page:
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):  # it is a file in app_pages/ and a path in URLs
        match value:
            case {"title": str(title), "icon": str(icon)} if title.strip() and icon.strip():
                return Page(name, title, icon)
    raise SettingsError(
        f"settings.toml: the page {name!r} = {value!r} is invalid. Write it like {_EXAMPLE}."
    )


def _flag(tables: dict[str, Any], table: str, name: str) -> bool:
    value = _value(tables, table, name)
    if not isinstance(value, bool):
        raise SettingsError(
            f"settings.toml: {name} = {value!r} is neither true nor false. Write true or false."
        )
    return value


def _count(tables: dict[str, Any], table: str, name: str, least: int) -> int:
    value = _value(tables, table, name)
    if type(value) is not int or value < least:
        raise SettingsError(
            f"settings.toml: {name} = {value!r} must be a whole number, {least} or more."
        )
    return value


def _max_running(tables: dict[str, Any]) -> int:
    given = _count(tables, "jobs", "max_running", 0) if "jobs" in tables else 0
    return given or os.cpu_count() or 1


def _keep(tables: dict[str, Any]) -> float:
    if _value(tables, "progress", "keep") == "forever":
        return math.inf
    return _seconds(tables, "progress", "keep", 3600, 3660 * 24 * 3600)


def _seconds(tables: dict[str, Any], table: str, name: str, least: float, most: float) -> float:
    value = _value(tables, table, name)
    try:
        seconds = parse_duration(str(value))
    except ValueError as error:
        raise SettingsError(f"settings.toml: {name}: {error}") from None
    if not least <= seconds <= most:
        raise SettingsError(
            f"settings.toml: {name} = {value!r} is out of range."
            f" Choose a duration from {least:g}s to {most:g}s."
        )
    return seconds
