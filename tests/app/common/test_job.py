"""How jobs.py declares jobs: what is refused, and with which message."""

import functools
import math
import re
from collections.abc import AsyncIterator, Iterator
from enum import Enum
from typing import Any

import pytest
from pydantic import AliasChoices, BaseModel, Field, SecretStr, model_validator

from progress.job import Job, ParameterErrors, Upload, as_job, defect
from progress.operation import Options


def work(report: object, subject: object) -> None:
    """A job as most are."""


async def wait(report: object, subject: object) -> None:
    """A job that is async."""


def produce(report: object, subject: object) -> Iterator[int]:
    """A job that yields."""
    yield 1


async def stream(report: object, subject: object) -> AsyncIterator[int]:
    """A job that is async and yields."""
    yield 1


class Login(BaseModel):
    password: SecretStr | None = None


class Outer(BaseModel):
    logins: list[Login] = []


class Strange(BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    lock: functools.partial[int]


class Unfinished(BaseModel):
    later: "NotDefined"  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ("work", "is 'work' (str): it must be a function or a Job."),
        (None, "is None (NoneType): it must be a function or a Job."),
        (Job("work"), "is 'work' (str): it must be a function or a Job."),  # type: ignore[arg-type]
        (produce, "is a generator, as it has a `yield`: a job must return a dict or None."),
        (functools.partial(produce), "is a generator, as it has a `yield`:"),
        (stream, "is a generator, as it has a `yield`:"),
        (lambda report: None, "takes (report): it must take (report, subject)."),
        (Job(work, subjects=None), "takes (report: object, subject: object) -> None: it must take"),
        (
            Job(lambda report: None, subjects=None, parameters=BaseModel),
            "takes (report): it must take (report, parameters).",
        ),
        (
            Job(work, parameters=BaseModel),
            "takes (report: object, subject: object) -> None:"
            " it must take (report, subject, parameters).",
        ),
        (
            Job(work, subjects={"a"}),  # type: ignore[arg-type]
            "has the subjects {'a'} (set): they must be a list, a function, an Upload or None.",
        ),
        (
            Job(print, parameters=dict),  # type: ignore[arg-type]
            "has the parameters <class 'dict'> (type): they must be a pydantic model.",
        ),
        (
            Job(print, parameters=Login()),  # type: ignore[arg-type]
            "has the parameters Login(password=None) (Login): they must be a pydantic model.",
        ),
        (
            Job(print, parameters=Login),
            "has the secret password as a parameter, which would be stored:"
            " read it from the environment in the job.",
        ),
        (Job(print, parameters=Outer), "has the secret Login as a parameter"),
        (
            Job(print, parameters=Strange),
            "has the parameters Strange, which cannot be stored: Cannot generate a JsonSchema",
        ),
        (
            Job(print, parameters=Unfinished),
            "has the parameters Unfinished, which cannot be stored: `Unfinished` is not fully",
        ),
    ],
)
def test_a_job_that_cannot_run_is_refused_with_the_reason(declared: object, reason: str) -> None:
    assert defect("job", declared).startswith(reason)
    assert "\n" not in defect("job", declared)


class CallableJob:
    """A job that is an object."""

    def __call__(self, report: object, subject: object) -> None:
        """Do nothing."""


class Kind(Enum):
    A = "a"


class Values(BaseModel):
    rows: int = Field(1, ge=0)
    kinds: list[Kind] = []
    inner: dict[str, float] = {}

    @model_validator(mode="after")
    def check(self) -> "Values":
        if self.rows == 13:
            raise ValueError("13 is\nrefused")
        return self


@pytest.mark.parametrize(
    "declared",
    [
        work,
        wait,
        print,
        CallableJob(),
        functools.partial(lambda pace, report, subject: None, 1),
        lambda *arguments: None,
        lambda report, subject, pace=1: None,
        Job(work, subjects=["a"]),
        Job(work, subjects=lambda: ["a"]),
        Job(work, subjects=Upload(("csv",))),
        Job(lambda report: None, subjects=None),
        Job(lambda report, subject, parameters: None, parameters=Values),
        Job(work, subjects=None, parameters=Values),
    ],
)
def test_what_takes_the_arguments_can_run(declared: object) -> None:
    assert defect("job", declared) == ""


@pytest.mark.parametrize("name", [3, None, "", "caf\udce9", "a\0"])
def test_a_name_is_text_that_can_be_stored(name: object) -> None:
    assert defect(name, work) == "is no name: a job needs one that is text."


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"time_limit": "soon"}, "time_limit: 'soon' is not a duration. Write it like 0.5s"),
        ({"time_limit": None}, "time_limit: 'None' is not a duration."),
        ({"time_limit": "-1s"}, "time_limit: '-1s' is not a duration."),
        ({"retry_delay": "5 weeks"}, "retry_delay: '5 weeks' is not a duration."),
        ({"retries": -1}, "retries = -1 must be a whole number, 0 or more."),
        ({"retries": True}, "retries = True must be a whole number, 0 or more."),
        ({"retries": 2.0}, "retries = 2.0 must be a whole number, 0 or more."),
        ({"max_running": "2"}, "max_running = '2' must be a whole number, 0 or more."),
    ],
)
def test_an_invalid_value_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Job(work, **values)


def test_extensions_are_several() -> None:
    with pytest.raises(ValueError, match=r"types = 'csv' is text\. Write \('csv',\)\."):
        Upload("csv")  # type: ignore[arg-type]


def test_its_values_become_the_options_of_its_operations() -> None:
    job = Job(work, time_limit="2m", retries=3, retry_delay="", max_running=2)
    assert job.options({"a": 1}) == Options({"a": 1}, 120.0, 3, 0.0, 2)
    assert Job(work, time_limit=30).options().time_limit == 30  # type: ignore[arg-type]
    assert as_job(work).options() == Options()
    assert Job(work, retry_delay="").options() == Options(retry_delay=0.0)


def test_it_is_called_with_what_it_declares() -> None:
    assert as_job(work).arguments("report", "subject", None) == ["report", "subject"]
    assert Job(work, subjects=None).arguments("report", "subject", None) == ["report"]
    job = Job(work, subjects=None, parameters=Values)
    assert job.arguments("report", "", "values") == ["report", "values"]
    job = Job(work, subjects=Upload(), parameters=Values)
    assert job.arguments("report", "path", "values") == ["report", "path", "values"]


def test_parameters_are_validated() -> None:
    job = Job(work, parameters=Values)
    assert job.validate({"rows": "2", "kinds": ["a"]}) == Values(rows=2, kinds=[Kind.A])
    assert as_job(work).validate({"rows": 2}) is None


@pytest.mark.parametrize(
    ("values", "messages"),
    [
        ({"rows": -1}, {"rows": "Input should be greater than or equal to 0"}),
        ({"rows": None}, {"rows": "Input should be a valid integer"}),
        ({"kinds": ["b", "a"]}, {"kinds": "0: Input should be 'a'"}),
        ({"inner": {"x": "y"}}, {"inner": "x: Input should be a valid number, unable to parse"}),
        ({"rows": 13}, {"": "13 is refused"}),
        ({"inner": {"x": math.inf}}, {"": "ValueError: Out of range float values are not JSON"}),
        (
            {"rows": math.inf, "kinds": 1},
            {"rows": "Input should be a finite number", "kinds": "Input should be a valid list"},
        ),
    ],
)
def test_each_field_has_its_message_and_the_text_a_line_for_each(
    values: dict[str, Any], messages: dict[str, str]
) -> None:
    with pytest.raises(ParameterErrors) as refused:
        Job(work, parameters=Values).validate(values)
    found = refused.value.messages
    assert set(found) == set(messages)
    assert all(found[name].startswith(text) for name, text in messages.items())
    assert str(refused.value).splitlines() == [
        f"{name}: {text}" if name else text for name, text in found.items()
    ]


class Broken(BaseModel):
    """A model whose validator has a fault."""

    rows: int = 3

    @model_validator(mode="after")
    def check(self) -> "Broken":
        raise KeyError("rows\nof all")


def test_a_validator_that_raises_anything_is_a_message() -> None:
    with pytest.raises(ParameterErrors) as refused:
        Job(work, parameters=Broken).validate({})
    assert refused.value.messages == {"": r"KeyError: 'rows\nof all'"}


class Renamed(BaseModel):
    """A model that reads a field under another name than it stores it."""

    rows: int = Field(3, validation_alias="in_rows")
    either: int = Field(3, validation_alias=AliasChoices("in_either", "either"))


def test_a_parameter_that_the_job_would_not_get_is_refused() -> None:
    job = Job(work, parameters=Renamed)
    assert job.validate({"in_rows": 3, "in_either": 5})
    with pytest.raises(ParameterErrors, match=r"^The job would not get rows: the model must read"):
        job.validate({"in_rows": 5})
