"""What a page can start: the jobs and the subjects of jobs.py. What is wrong there is a message.

An error in jobs.py must not end the page, which also shows the operations that run. Nor may a slow
import or a slow `subjects()` hold it up: Streamlit runs no fragment while a page is drawn. So both
happen in a thread.
"""

import inspect
import logging
import threading
import traceback
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import date
from pathlib import PurePath
from types import ModuleType
from typing import Any, cast
from uuid import UUID

import streamlit as st

from progress.reporter import JobsModule, jobs_module
from progress.text import sanitize, truncate

log = logging.getLogger(__name__)

SUBJECTS_TTL = 300.0
"""Seconds for which the subjects are kept, for all sessions: listing them may be slow."""

LOAD_TIMEOUT = 1.0
"""Seconds for which a page waits for jobs.py before it is drawn without it."""

# Keys of the session state.
_LOADING = "loading_choices"
_LOADED = "loaded_choices"
_AS_TEXT = (str, int, date, PurePath, UUID)  # subjects of these types are converted to text


@dataclass(frozen=True, slots=True)
class Problem:
    """What a page must tell the viewer."""

    message: str
    details: str
    """Data, not Markdown."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a page offers in a selectbox."""

    names: tuple[str, ...] = ()
    problem: Problem | None = None
    """Why there are none, or why some are missing."""


def load() -> None:
    """Import jobs.py and list its subjects, for `jobs` and `subjects` of this session.

    If that takes long, they are as before until a later call, when `is_loaded`.
    """
    loading: Future[tuple[Choices, Choices]] | None = st.session_state.get(_LOADING)
    if loading is None:
        loading = Future()
        threading.Thread(target=_load, args=(loading,), name="jobs.py", daemon=True).start()
        st.session_state[_LOADING] = loading
    wait([loading], LOAD_TIMEOUT)
    if loading.done():
        st.session_state[_LOADED] = loading.result()
        st.session_state.pop(_LOADING, None)


def is_loading() -> bool:
    """Return whether the last `load` did not end in time."""
    return _LOADING in st.session_state


def is_loaded() -> bool:
    """Return whether it has ended since."""
    loading: Future[tuple[Choices, Choices]] | None = st.session_state.get(_LOADING)
    return loading is not None and loading.done()


def jobs() -> Choices:
    """Return the names of the jobs that can be started, as of the last `load`."""
    found: Choices = st.session_state.get(_LOADED, (Choices(), Choices()))[0]
    return found


def subjects() -> Choices:
    """Return the subjects as of the last `load`, and then as of at most SUBJECTS_TTL ago."""
    found: Choices = st.session_state.get(_LOADED, (Choices(), Choices()))[1]
    return found


def refresh_subjects() -> None:
    """Let the next `load` list the subjects again. For the callback of a button."""
    _list_subjects.clear()


def _load(loading: Future[tuple[Choices, Choices]]) -> None:
    loading.set_result(read_choices())


def read_choices() -> tuple[Choices, Choices]:
    """Return the jobs that can be started, and the subjects. Never raises."""
    try:
        module = cast(ModuleType, _import_jobs())
    except (Exception, SystemExit) as error:
        return Choices(problem=_problem("jobs.py cannot be imported.", error)), Choices()
    try:
        found = _list_jobs(module)
    except Exception as error:
        found = Choices(problem=_problem("The jobs cannot be listed.", error))
    return found, _list_subjects(module)[1]


def _import_jobs() -> JobsModule:
    try:
        return jobs_module()
    except KeyError:
        # Streamlit removes an edited module from `sys.modules`, also while it is being imported.
        return jobs_module()


def _list_jobs(module: ModuleType) -> Choices:
    found: Any = getattr(module, "JOBS", None)
    if not isinstance(found, Mapping) or not found:
        details = f"JOBS is {_shorten(found)}: it must be a dict that names at least one function."
        return Choices(problem=Problem("jobs.py has no jobs.", details))
    defects = {name: _defect(name, job) for name, job in found.items()}
    names = tuple(name for name, defect in defects.items() if not defect)
    lines = [f"{_shorten(name)} {defect}" for name, defect in defects.items() if defect]
    problem = Problem("Jobs in jobs.py cannot be started:", "\n".join(lines)) if lines else None
    return Choices(names, problem)


# Streamlit imports jobs.py anew after an edit: its subjects are those of another module. The module
# is part of the value so that it is kept, and the next one has another id.
@st.cache_resource(
    ttl=SUBJECTS_TTL,
    max_entries=1,
    show_spinner=False,
    hash_funcs={ModuleType: id},
)
def _list_subjects(module: ModuleType) -> tuple[ModuleType, Choices]:
    try:
        listed: Any = module.subjects()
        if not isinstance(listed, Iterable) or isinstance(listed, str | bytes):
            raise TypeError(f"subjects() returned {_shorten(listed)}: return a list of text.")
        names = tuple(dict.fromkeys(_as_text(subject) for subject in listed))
    except (Exception, SystemExit) as error:
        return module, Choices(problem=_problem("The subjects cannot be listed.", error))
    return module, Choices(names)


def _as_text(subject: object) -> str:
    if not isinstance(subject, _AS_TEXT):
        raise TypeError(f"subjects() returned {_shorten(subject)} in its list: return text.")
    return sanitize(str(subject))


def _defect(name: object, job: object) -> str:
    """Return why a job cannot be started; "" if it can."""
    if not isinstance(name, str) or not name or sanitize(name) != name:
        return "is no name: a job needs one that is text."
    if not callable(job):
        return f"is {_shorten(job)}: it must be a function."
    if inspect.iscoroutinefunction(job):
        return "is an async function: write `def`, and call asyncio.run() in it."
    if inspect.isgeneratorfunction(job) or inspect.isasyncgenfunction(job):
        return "is a generator, as it has a `yield`: a job must return a dict or None."
    try:
        inspect.signature(job).bind(None, None)
    except TypeError:
        return f"takes {inspect.signature(job)}: a job takes (report, subject)."
    except ValueError:
        pass  # a function of a C extension need not tell its parameters
    return ""


def _problem(message: str, error: BaseException) -> Problem:
    log.error(message, exc_info=error)
    if st.get_option("client.showErrorDetails") == "full":  # as in `make dev`
        return Problem(message, sanitize("".join(traceback.format_exception(error))))
    return Problem(message, f"{type(error).__name__}: the log of the server has the details.")


def _shorten(value: object) -> str:
    return truncate(f"{value!r} ({type(value).__name__})", 100)
