"""Say what is wrong with the configuration: `make doctor`, or `uv run python -m dev.doctor`.

Each line is ok, or says what to do. `--json` prints a list of objects with name, ok and message.
The exit status is 1 if a line is not ok. Run it where the app runs, with the same environment. It
prints no secret, and changes no operation.

What only one backend needs is in dev/backend_checks.py: `checks` gets the app's connection, and
whether a read of it succeeded.
"""

import importlib.util
import json
import logging
import math
import re
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from progress.contract import BackendError
from progress.health import address
from progress.operation import Query, new_operation_id
from progress.settings import ROOT, SettingsError, load_settings, read_secrets

SECRETS = Path(".streamlit") / "secrets.toml"
POLLS = 5
"""How many polls are timed."""


class Check(NamedTuple):
    """What was found out."""

    name: str
    ok: bool
    message: str
    """In one line: what was found, or what to do."""


def checks() -> Iterator[Check]:
    """Yield all checks. Those that need one that failed are left out."""
    yield python()
    yield (installed := dependencies())
    yield (valid := settings())
    yield (readable := secrets())
    if valid.ok and readable.ok:
        yield login()
        yield base_path()
        if installed.ok:
            yield from backend()


def python() -> Check:
    """Check the version of Python."""
    wanted = str(_pyproject()["requires-python"])
    least = tuple(int(part) for part in re.findall("[0-9]+", wanted)[:2])
    found = f"{sys.version.split()[0]} on {sys.platform}"
    if sys.version_info[:2] < least:
        return Check("python", False, f"{found}, but this project requires {wanted}: install it.")
    return Check("python", True, found)


def dependencies() -> Check:
    """Check the installed packages against pyproject.toml."""
    try:
        from packaging.requirements import Requirement  # Streamlit brings it
    except ModuleNotFoundError:
        return Check("dependencies", False, "Nothing is installed: run `uv sync`, then `uv run`.")
    wrong = []
    wanted = [Requirement(line) for line in _pyproject()["dependencies"]]
    for each in wanted:
        if each.marker is None or each.marker.evaluate():
            try:
                found = metadata.version(each.name)
            except metadata.PackageNotFoundError:
                found = "nothing"
            if found == "nothing" or not each.specifier.contains(found, prereleases=True):
                wrong.append(f"{each} is required, {found} is installed")
    if wrong:
        return Check("dependencies", False, f"{'; '.join(wrong)}: run `uv sync`.")
    return Check("dependencies", True, f"{len(wanted)} packages as in pyproject.toml")


def settings() -> Check:
    """Check settings.toml, and that its pages exist."""
    try:
        loaded = load_settings()
    except SettingsError as error:
        return Check("settings", False, str(error))
    for page in loaded.pages:
        if not (ROOT / "app_pages" / f"{page.name}.py").is_file():
            remedy = "add the file, or remove the line under [pages] in settings.toml"
            return Check("settings", False, f"app_pages/{page.name}.py is missing: {remedy}.")
    pages = ", ".join(page.name for page in loaded.pages)
    return Check("settings", True, f"poll_interval {loaded.poll_interval:g} s; pages {pages}")


def secrets() -> Check:
    """Check that the secrets can be read, and that git does not track them."""
    try:
        tables = read_secrets()
    except SettingsError as error:
        # Without the rest of its text, which may quote a secret.
        where = re.search(r"\(at (line [0-9]+|end of document)", str(error))
        reason = f"not TOML at {where[1]}" if where else type(error.__context__).__name__
        remedy = "correct it, here or in the home folder"
        return Check("secrets", False, f"{SECRETS} cannot be read: {reason}; {remedy}.")
    tracked = ["git", "ls-files", "--error-unmatch", str(SECRETS)]
    try:
        is_tracked = subprocess.run(tracked, cwd=ROOT, capture_output=True, check=False)
    except OSError:  # there is no git
        is_tracked = None
    if is_tracked and is_tracked.returncode == 0:
        remedy = f"run `git rm --cached {SECRETS}`, and replace every secret in it"
        return Check("secrets", False, f"git tracks {SECRETS}: {remedy}.")
    if tables:
        return Check("secrets", True, f"{SECRETS} has {', '.join(tables)}; git does not track it")
    return Check("secrets", True, f"none in {SECRETS}: the environment has what is configured")


def login() -> Check:
    """Check what a login needs."""
    auth = _auth()
    if auth is None and load_settings().requires_login:
        return Check("login", False, f"settings.toml requires a login: add [auth] to {SECRETS}.")
    if auth is None:
        return Check("login", True, "none: all who reach the app see and cancel all operations")
    if importlib.util.find_spec("authlib") is None:
        return Check("login", False, '[auth] needs Authlib: run `uv add "streamlit[auth]"`.')
    return Check("login", True, f"[auth] in {SECRETS}")


def base_path() -> Check:
    """Check the base path against the login and against the app, if that runs."""
    name = "base path"
    try:
        port, health = address()
    except (OSError, ValueError):
        where = "server.port in .streamlit/config.toml, or STREAMLIT_SERVER_PORT"
        return Check(name, False, f"The port is unknown: correct {where}.")
    base = health.removesuffix("_stcore/health")
    if not re.fullmatch(r"[\w.~/-]+", base):
        return Check(name, False, f"server.baseUrlPath gives {base!r}: write it like team/app.")
    redirect = str((_auth() or {}).get("redirect_uri", ""))
    if redirect and not redirect.endswith(f"{base}oauth2callback"):
        remedy = f"redirect_uri under [auth] must end with {base}oauth2callback"
        return Check(name, False, f"A login would return to another path: {remedy}.")
    app = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        app.request("GET", health)
        status = str(app.getresponse().status)
    except ConnectionRefusedError:
        return Check(name, True, f"{base} on port {port}, where no app runs now")
    except (OSError, HTTPException) as error:
        status = type(error).__name__
    finally:
        app.close()
    if status != "200":
        remedy = "restart the app after a change of server.baseUrlPath, or choose another port"
        return Check(name, False, f"What runs on port {port} answers {health} {status}: {remedy}.")
    return Check(name, True, f"the app answers at {base} on port {port}")


def backend() -> Iterator[Check]:
    """Check the connection to the backend, then what only this backend needs."""
    from dev import backend_checks  # both need the packages
    from progress.backend.connection import ProgressConnection

    try:
        connection = ProgressConnection("progress")
    except Exception as error:
        yield Check("connection", False, _reason(error))
        return
    nobody = new_operation_id()

    def connect() -> None:
        connection.read([nobody])
        connection.recent(Query(owner=nobody))

    yield (connected := attempt("connection", connect, "the backend answers"))
    try:
        if connected.ok:
            yield poll_latency(lambda: connection.read([nobody]))
        yield reads()
        yield from backend_checks.checks(connection, connected.ok)
    except Exception as error:
        yield Check("backend", False, _reason(error))
    connection.reset()


def poll_latency(poll: Callable[[], object]) -> Check:
    """Compare the median of some polls with the interval."""
    interval, times = load_settings().poll_interval, []
    for _ in range(POLLS):
        began = time.monotonic()
        poll()
        times.append(time.monotonic() - began)
    median = statistics.median(times)
    found = f"{median * 1000:.3g} ms, the median of {POLLS}; poll_interval is {interval:g} s"
    if median > interval / 2:
        remedy = f'set poll_interval = "{math.ceil(median * 2)}s", or move the app to its backend'
        return Check("poll latency", False, f"{found}: {remedy}.")
    return Check("poll latency", True, found)


def reads() -> Check:
    """Say how often the backend is read."""
    hourly = 3600 / load_settings().poll_interval
    when = "for each server process while a page polls; the board reads up to 4 times as often"
    return Check("reads", True, f"{hourly:,.0f} an hour {when}")


def attempt(name: str, action: Callable[[], object], done: str) -> Check:
    """Check that an action raises no error; `done` is the message then."""
    try:
        action()
    except Exception as error:
        return Check(name, False, _reason(error))
    return Check(name, True, done)


def without_effect(reasons: Mapping[str, str]) -> Iterator[Check]:
    """Say which settings, and options of jobs, are set but have no effect with this backend.

    Args:
        reasons: By "keep", "notifications" or the name of an option, what happens instead.
    """
    from progress.execution import jobs_module  # they need the packages
    from progress.job import as_job

    used = {"keep"} if load_settings().keep != math.inf else set()
    used |= read_secrets().keys()
    with suppress(Exception, SystemExit):  # pages say what is wrong with jobs.py
        for job in jobs_module().JOBS.values():
            used |= json.loads(as_job(job).options().text()).keys()
    for name, reason in reasons.items():
        if name in used:
            yield Check(name, True, f"no effect with this backend: {reason}")


def _reason(error: Exception) -> str:
    if isinstance(error, BackendError):
        return str(error)
    # Without its text, which may quote a secret.
    return f"Unexpected error ({type(error).__name__}): check [connections] in {SECRETS}."


def _pyproject() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def _auth() -> dict[str, Any] | None:
    auth = read_secrets().get("auth")
    return auth if isinstance(auth, dict) else None


def main(arguments: list[str]) -> int:
    """Print the checks; return 1 if one of them is not ok."""
    logging.disable()  # a line has the reason
    found = []
    for check in checks():
        found.append(check)
        if "--json" not in arguments:
            print(f"{'ok' if check.ok else 'FAIL':5} {check.name}: {check.message}", flush=True)
    if "--json" in arguments:
        print(json.dumps([check._asdict() for check in found], indent=2))
    return 0 if all(check.ok for check in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
