"""How jobs.py declares a job. No I/O, no Streamlit."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from progress.operation import Options, to_text
from progress.settings import parse_duration
from progress.text import as_line, sanitize, truncate

if TYPE_CHECKING:  # a job without parameters starts without it
    from pydantic import BaseModel, ValidationError

JobFunction = Callable[..., Any]
"""Does the work. It takes `report`, then the subject if the job has subjects, then the parameters
if it has some; returns what the page shows, a dict or None. It may be an `async def`."""
Jobs = Mapping[str, "Job | JobFunction"]
"""The jobs of jobs.py, by name."""
Subjects = Sequence[object] | Callable[[], object]
"""What a job can work on, or a function that returns it."""
_AS_TEXT = (str, int, date, PurePath, UUID)  # subjects of these types are converted to text


def default_subjects() -> list[str]:
    """Marks that `subjects()` of jobs.py is used."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Upload:
    """The subject is a file that the viewer uploads: the job gets its path. Its size is limited by
    `maxUploadSize` in .streamlit/config.toml.
    """

    types: tuple[str, ...] = ()
    """Extensions, like "csv". Empty: any file."""

    def __post_init__(self) -> None:
        """Refuse text, of which each character would be an extension."""
        if isinstance(self.types, str):
            raise ValueError(f"types = {self.types!r} is text. Write ({self.types!r},).")


@dataclass(frozen=True, slots=True)
class Job:
    """A job, and how it runs. In `JOBS` a function alone is a job, too.

    Raises:
        ValueError: A value is invalid.
    """

    function: JobFunction
    title: str = field(default="", kw_only=True)
    """What pages call it; by default its name in JOBS."""
    subjects: Subjects | Upload | None = field(default=default_subjects, kw_only=True)
    """A list, a function, an Upload, or None for a job without a subject. By default `subjects()`
    of jobs.py."""
    parameters: "type[BaseModel] | None" = field(default=None, kw_only=True)
    """The model of its parameters: the page draws a form from it."""
    time_limit: str = field(default="", kw_only=True)
    """How long it may run, like "30m"; then it fails. All retries together, but for those after its
    process died: the new process has the whole time again."""
    retries: int = field(default=0, kw_only=True)
    """How often it runs again after an error."""
    retry_delay: str = field(default="5s", kw_only=True)
    """The pause before the first retry. It doubles each time."""
    max_running: int = field(default=0, kw_only=True)
    """How many operations of it run at the same time, the others wait. 0: no limit of its own."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("time_limit", "retry_delay"):
            try:
                parse_duration(str(getattr(self, name)) or "0")
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        for name in ("retries", "max_running"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} = {value!r} must be a whole number, 0 or more.")

    def options(self, parameters: Mapping[str, Any] | None = None) -> Options:
        """Return what is stored with an operation of this job."""
        return Options(
            parameters=parameters or {},
            time_limit=parse_duration(str(self.time_limit) or "0"),
            retries=self.retries,
            retry_delay=parse_duration(str(self.retry_delay) or "0"),
            max_running=self.max_running,
        )

    def arguments(self, report: object, subject: object, parameters: object) -> list[object]:
        """Return those of the arguments that the function takes."""
        found = [report]
        if self.subjects is not None:
            found.append(subject)
        if self.parameters is not None:
            found.append(parameters)
        return found

    def validate(self, values: Mapping[str, Any]) -> "BaseModel | None":
        """Return the parameters; None if the job has none.

        Raises:
            ParameterErrors: A value is invalid or missing, or cannot be stored.
        """
        if self.parameters is None:
            return None
        from pydantic import ValidationError

        try:
            model = self.parameters.model_validate(values)
            stored = model.model_dump(mode="json", by_alias=True)
            to_text(stored)  # raises for NaN and infinity
            read = self.parameters.model_validate(stored)  # as the process of the job does
        except ValidationError as error:
            raise ParameterErrors(_messages(error)) from None
        except Exception as error:  # a validator of the model, too, may raise anything
            text = as_line(sanitize(f"{type(error).__name__}: {error}"))
            raise ParameterErrors({"": text}) from error
        lost = [
            name
            for name in sorted(model.model_fields_set - read.model_fields_set)
            if getattr(model, name) != getattr(read, name)
        ]
        if lost:  # it has another alias where it is read, and the job would get the default
            names = ", ".join(lost)
            text = f"The job would not get {names}: the model must read what it is stored as."
            raise ParameterErrors({"": text})
        return model


class ParameterErrors(ValueError):
    """Parameters that a model refuses. The text is one line for each.

    Attributes:
        messages: What is wrong, by field; "" has that of the whole model.
    """

    def __init__(self, messages: dict[str, str]) -> None:
        self.messages = messages
        lines = [f"{name}: {text}" if name else text for name, text in messages.items()]
        super().__init__("\n".join(lines))


def _messages(error: "ValidationError") -> dict[str, str]:
    """Return the messages of pydantic, the first for each field."""
    messages: dict[str, str] = {}
    for details in error.errors(include_url=False, include_context=False, include_input=False):
        name, *rest = [str(part) for part in details["loc"]] or [""]
        message = details["msg"].removeprefix("Value error, ")
        place = f"{'.'.join(rest)}: " if rest else ""
        messages.setdefault(name, as_line(sanitize(place + message)))
    return messages


def as_job(declared: Any) -> Job:
    """Return a value of JOBS as a Job."""
    return declared if isinstance(declared, Job) else Job(declared)


def list_subjects(module: Any, job: Job) -> tuple[str, ...]:
    """Return what a job can work on; `module` is jobs.py. Raises whatever that raises."""
    listed: Any = module.subjects() if job.subjects is default_subjects else job.subjects
    listed = listed() if callable(listed) else listed
    if not isinstance(listed, Iterable) or isinstance(listed, str | bytes):
        raise TypeError(f"subjects() returned {shorten(listed)}: return a list of text.")
    return tuple(dict.fromkeys(_as_text(subject) for subject in listed))


def _as_text(subject: object) -> str:
    if not isinstance(subject, _AS_TEXT):
        raise TypeError(f"subjects() returned {shorten(subject)} in its list: return text.")
    return sanitize(str(subject))


def title(name: str, job: Job | None) -> str:
    """Return what pages call a job: "Analyze transcription" for "analyze_transcription"."""
    if job is not None and job.title:
        return job.title
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def defect(name: object, declared: object) -> str:
    """Return why an entry of JOBS cannot be started; "" if it can."""
    if not isinstance(name, str) or not name or sanitize(name) != name:
        return "is no name: a job needs one that is text."
    job = as_job(declared)
    function = job.function
    if not callable(function):
        return f"is {shorten(function)}: it must be a function or a Job."
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "is a generator, as it has a `yield`: a job must return a dict or None."
    names = job.arguments("report", "subject", "parameters")
    try:
        inspect.signature(function).bind(*names)
    except TypeError:
        return f"takes {inspect.signature(function)}: it must take ({', '.join(map(str, names))})."
    except ValueError:
        pass  # a function of a C extension need not tell its parameters
    subjects = job.subjects
    if not (subjects is None or callable(subjects) or isinstance(subjects, Sequence | Upload)):
        return (
            f"has the subjects {shorten(subjects)}:"
            " they must be a list, a function, an Upload or None."
        )
    return _model_defect(job.parameters)


def _model_defect(model: Any) -> str:
    if model is None:
        return ""
    from pydantic import BaseModel

    is_model = isinstance(model, type) and issubclass(model, BaseModel)
    if not is_model:
        return f"has the parameters {shorten(model)}: they must be a pydantic model."
    try:
        schema = model.model_json_schema()
    except Exception as error:  # pydantic raises many kinds, also for a type that is not defined
        reason = as_line(str(error).partition("\n")[0])
        return f"has the parameters {model.__name__}, which cannot be stored: {reason}"
    # The models within the model are in $defs.
    for name, part in {**schema.get("properties", {}), **schema.get("$defs", {})}.items():
        if "'writeOnly': True" in str(part):  # as pydantic marks its secret types
            return (
                f"has the secret {name} as a parameter, which would be stored:"
                " read it from the environment in the job."
            )
    return ""


def shorten(value: object) -> str:
    """Return the beginning of a value, and its type."""
    return truncate(f"{value!r} ({type(value).__name__})", 100)
