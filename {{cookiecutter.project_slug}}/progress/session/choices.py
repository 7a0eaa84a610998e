"""What a page can start: the jobs and the subjects of jobs.py. What is wrong there is a message.

An error in jobs.py must not end the page, which also shows the operations that run. Nor may a slow
import or a slow `subjects()` hold it up: Streamlit runs no fragment while a page is drawn. So both
happen in a thread.
"""

import logging
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, cast

import streamlit as st

from progress.execution import JobsModule, jobs_module
from progress.job import Job, as_job, defect, list_subjects, shorten, title
from progress.text import sanitize

log = logging.getLogger(__name__)

SUBJECTS_TTL = 300.0
"""Seconds for which the subjects are kept, for all sessions: listing them may be slow."""

LOAD_TIMEOUT = 1.0
"""Seconds for which a page waits for jobs.py before it is drawn without it."""

# Keys of the session state.
_LOADING = "loading_choices"
_LOADED = "loaded_choices"


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


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `load` found."""

    jobs: Choices = Choices()
    declared: Mapping[str, Job] = field(default_factory=dict)
    job: str | None = None
    """The job whose subjects these are."""
    subjects: Choices = Choices()


def load() -> None:
    """Import jobs.py, and list its jobs and the subjects of the selected job, or of the first.

    If that takes long, nothing changes until a later call, when `is_loaded`.
    """
    job: str | None = st.session_state.get("job")
    wanted, loading = st.session_state.get(_LOADING, (None, None))
    if loading is None or wanted != job:
        loading = Future()
        threading.Thread(
            target=lambda: loading.set_result(read_choices(job)), name="jobs.py", daemon=True
        ).start()
        st.session_state[_LOADING] = job, loading
    wait([loading], LOAD_TIMEOUT)
    if loading.done():
        st.session_state[_LOADED] = loading.result()
        st.session_state.pop(_LOADING, None)


def is_loading() -> bool:
    """Return whether the last `load` did not end in time."""
    return _LOADING in st.session_state


def is_loaded() -> bool:
    """Return whether it has ended since."""
    return is_loading() and st.session_state[_LOADING][1].done()


def jobs() -> Choices:
    """Return the names of the jobs that can be started, as of the last `load`."""
    return _loaded().jobs


def selected_job() -> str:
    """Return the name of the job that the viewer has selected, or of the first; "" if none."""
    name: str | None = st.session_state.get("job")
    return name or next(iter(jobs().names), "")


def find(name: str | None) -> Job | None:
    """Return a job that can be started; None if there is none with this name."""
    return _loaded().declared.get(name or "")


def subjects(job: str | None) -> Choices:
    """Return the subjects of a job, as of the last `load`, and then as of at most SUBJECTS_TTL ago.

    They are empty for another job than `load` was called for, and for one without a list.
    """
    found = _loaded()
    return found.subjects if found.job == job else Choices()


def refresh_subjects() -> None:
    """Let the next `load` list the subjects again. For the callback of a button."""
    _list_subjects.clear()


def _loaded() -> Loaded:
    found: Loaded = st.session_state.get(_LOADED, Loaded())
    return found


def read_choices(job: str | None = None) -> Loaded:
    """Return the jobs that can be started, and the subjects of one. Never raises."""
    try:
        module = cast(ModuleType, _import_jobs())
    except BaseException as error:  # also SystemExit, and panics of native libraries
        return Loaded(Choices(problem=_problem("jobs.py cannot be imported.", error)))
    try:
        found, declared = _list_jobs(module)
    except BaseException as error:
        return Loaded(Choices(problem=_problem("The jobs cannot be listed.", error)))
    name = job if job in declared else next(iter(declared), None)
    if name is None or not isinstance(declared[name].subjects, Sequence | Callable):
        return Loaded(found, declared, name)
    return Loaded(found, declared, name, _list_subjects(module, name)[1])


def _import_jobs() -> JobsModule:
    try:
        return jobs_module()
    except KeyError:
        # Streamlit removes an edited module from `sys.modules`, also while it is being imported.
        return jobs_module()


def _list_jobs(module: ModuleType) -> tuple[Choices, dict[str, Job]]:
    found: Any = getattr(module, "JOBS", None)
    if not isinstance(found, Mapping) or not found:
        details = f"JOBS is {shorten(found)}: it must be a dict that names at least one function."
        return Choices(problem=Problem("jobs.py has no jobs.", details)), {}
    defects = {name: defect(name, job) for name, job in found.items()}
    declared: dict[str, Job] = {}
    for name in [name for name, reason in defects.items() if not reason]:
        job = as_job(found[name])
        known = [other for other in declared if title(other, declared[other]) == title(name, job)]
        if known:  # a selectbox would take one for the other
            defects[name] = f"has the title of {shorten(known[0])}: give it another."
        else:
            declared[name] = job
    lines = [f"{shorten(name)} {reason}" for name, reason in defects.items() if reason]
    problem = Problem("Jobs in jobs.py cannot be started:", "\n".join(lines)) if lines else None
    return Choices(tuple(declared), problem), declared


# Streamlit imports jobs.py anew after an edit: its subjects are those of another module. The module
# is part of the value so that it is kept, and the next one has another id.
@st.cache_resource(
    ttl=SUBJECTS_TTL,
    max_entries=20,
    show_spinner=False,
    hash_funcs={ModuleType: id},
)
def _list_subjects(module: ModuleType, job: str) -> tuple[ModuleType, Choices]:
    try:
        names = list_subjects(module, as_job(module.JOBS[job]))
    except BaseException as error:  # also SystemExit, and panics of native libraries
        return module, Choices(problem=_problem("The subjects cannot be listed.", error))
    return module, Choices(names)


def _problem(message: str, error: BaseException) -> Problem:
    log.error(message, exc_info=error)
    if st.get_option("client.showErrorDetails") == "full":  # as in `make dev`
        return Problem(message, sanitize("".join(traceback.format_exception(error))))
    return Problem(message, f"{type(error).__name__}: the log of the server has the details.")
