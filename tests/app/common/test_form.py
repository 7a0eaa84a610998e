"""The form of parameters: every value of JSON is shown, and comes back as it was."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pydantic import AwareDatetime, BaseModel, Field, NaiveDatetime, create_model
from streamlit.testing.v1 import AppTest
from typing_extensions import TypeAliasType

from progress.job import Job, ParameterErrors
from progress.session import parameters, viewer
from progress.text import sanitize

BERLIN = ZoneInfo("Europe/Berlin")
MULTILINE: dict[str, Any] = {"multiline": True}
Tree = TypeAliasType("Tree", "list[Tree] | int")


class Color(Enum):
    """Choices that are no text."""

    RED = (1, 0)
    BLUE = (0, 1)


class Level(IntEnum):
    """Choices that are numbers."""

    LOW = 1
    HIGH = 2


class Point(BaseModel):
    """A model within the model."""

    x: int = 0
    next: "Point | None" = None


# Each kind of field, with a default, which need not be valid.
KINDS: dict[str, tuple[Any, Any]] = {
    "whole": (int, 3),
    "above": (Annotated[int, Field(ge=0, le=10)], 50),
    "below": (Annotated[int, Field(ge=100, le=1_000_000)], 1),
    "between": (Annotated[int, Field(gt=1, lt=5)], 9),
    "only": (Annotated[int, Field(ge=5, le=5)], 5),
    "nothing": (Annotated[int, Field(ge=5, le=3)], 4),
    "huge": (Annotated[int, Field(ge=-(2**60), le=2**60)], 2**59),
    "share": (Annotated[float, Field(ge=0, le=1)], 0.5),
    "wide": (Annotated[float, Field(ge=0, le=1e9)], 0.125),
    "tiny": (Annotated[float, Field(ge=0, le=1e-3)], 5e-4),
    "open": (Annotated[float, Field(gt=0, le=math.inf)], math.inf),
    "nan": (float, math.nan),
    "letter": (Literal["a", "b"], "c"),
    "digit": (Literal[1, 2, "1"], 1),
    "level": (Level, Level.LOW),
    "color": (Color, Color.RED),
    "constant": (Literal["a"], "a"),
    "letter_or_none": (Literal["a", None], "a"),
    "letters": (list[Literal["a", "b"]], ["a", "a"]),
    "colors": (set[Color], {Color.RED}),
    "flag": (bool, True),
    "text": (str, "a\nb"),
    "short": (Annotated[str, Field(max_length=3)], "abcd"),
    "lines": (Annotated[str, Field(json_schema_extra=MULTILINE)], "a\nb\r\nc\0\udce4"),
    "day": (Annotated[date, Field(ge=date(1980, 1, 1), le=date(1989, 1, 1))], date(1990, 1, 1)),
    "at": (datetime, datetime(1990, 1, 1, 12, 30)),
    "aware": (datetime, datetime(1990, 1, 1, 12, 30, 7, tzinfo=UTC)),
    "must_be_aware": (AwareDatetime, datetime(2990, 1, 1, tzinfo=BERLIN)),
    "must_be_naive": (NaiveDatetime, datetime.max),
    "hour": (time, time(12)),
    "pause": (timedelta, timedelta(days=1)),
    "point": (Point, Point(x=1, next=Point())),
    "tree": (Tree, [[1], []]),
    "table": (dict[str, list[int]], {"a": [1]}),
    "mixed": (int | str, 1),
    "anything": (Any, {"a": None}),
}


def model_of(kinds: Mapping[str, tuple[Any, Any]]) -> type[BaseModel]:
    """Return a model with each kind twice, and some also required."""
    declared: dict[str, Any] = dict(kinds)
    for name, (kind, _) in kinds.items():
        declared[f"{name}_or_null"] = (kind | None, None)
    for name in ("whole", "share", "level", "flag", "short", "day", "aware", "tree"):
        declared[f"{name}_required"] = (kinds[name][0], ...)
    return create_model("Every", **declared)


job = Job(print, parameters=model_of(KINDS))
ODD: list[Any] = [
    None, True, 0, -1, 5, 7, 2**53, -(2**70), 0.5, -0.0, 1e308, 12345.678901234, math.inf, math.nan,
    "", "a", "b", "abcd", "a\nb", "a\r\nb", "\0", "\udce4", "5", "null", "1990-01-01", "0001-01-01",
    "9999-12-31", "2026-13-40", "1990-01-01T12:30:00", "1990-01-01T12:30:07", "9999-12-31T23:59:59",
    "0001-01-01T00:00:00+14:00", "2026-10-25T01:30:00Z", "2026-10-25T00:30:00Z", 1e9,
    [], ["a"], ["a", "a"], ["b", "a"], [1], [[1, 0]], [None, {}], {}, {"x": 1}, {"a": [1]},
]  # fmt: skip
JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "zone", lambda: BERLIN)


def form_page() -> None:
    """A page with nothing but the form. `edit` in the session state is what "Edit" fills in."""
    import streamlit as st

    from progress.job import ParameterErrors
    from progress.session import parameters
    from progress.ui import form
    from tests.app import test_form

    if "edit" in st.session_state:
        parameters.fill("job", test_form.job, st.session_state.pop("edit"))
    form.draw("job", test_form.job)
    st.session_state["entered"] = parameters.values("job", test_form.job)
    try:
        parameters.options("job", test_form.job)
    except ParameterErrors as error:
        st.session_state["errors"] = error.messages


def draw(page: AppTest, edit: dict[str, Any] | None = None) -> dict[str, Any]:
    """Draw the page until the browser's values are back, and return what was entered."""
    if edit is not None:
        page.session_state["edit"] = edit
    for _ in range(2):
        page.run()
        assert not page.exception, page.exception[0].value
    entered: dict[str, Any] = page.session_state["entered"]
    return entered


def is_same(entered: Any, value: Any) -> bool:
    """Return whether both are the same in JSON, or the same moment."""
    if entered == value or (entered != entered and value != value):
        return True
    try:
        return datetime.fromisoformat(entered) == datetime.fromisoformat(value)
    except (TypeError, ValueError):  # what cannot be stored is replaced
        return bool(entered == json.loads(sanitize(json.dumps(value, ensure_ascii=False))))


def check_shows(page: AppTest, value: Any) -> None:
    names = [*parameters.fields("job", job)]
    entered = draw(page, dict.fromkeys(names, value))
    for name in names:
        if value is not None:
            assert is_same(entered[name], value), name
        elif name in KINDS and KINDS[name][1] is not None:
            # A field without a value: only a switch, and a list of choices, have one always.
            assert entered.get(name) in (None, False, []), name


@pytest.fixture
def page() -> AppTest:
    return AppTest.from_function(form_page, default_timeout=60)


def test_any_default_is_shown(page: AppTest) -> None:
    entered = draw(page)
    schema = job.parameters.model_json_schema() if job.parameters else {}
    for name in KINDS:
        assert is_same(entered[name], schema["properties"][name]["default"]), name
    assert "JSON" not in "".join(page.session_state["errors"].values())


@pytest.mark.parametrize("value", ODD)
def test_any_value_is_shown_and_comes_back(page: AppTest, value: Any) -> None:
    check_shows(page, value)


@settings(max_examples=10, deadline=None, suppress_health_check=[*HealthCheck])
@given(JSON)
def test_any_json_is_shown_and_comes_back(value: Any) -> None:
    check_shows(AppTest.from_function(form_page, default_timeout=60), value)


def use(monkeypatch: pytest.MonkeyPatch, **declared: Any) -> Job:
    """Let the form be that of these fields."""
    found = Job(print, parameters=create_model("Some", **declared))
    monkeypatch.setattr("tests.app.test_form.job", found)
    return found


def kinds_of(declared: Job) -> dict[str, str]:
    return {name: schema["widget"] for name, schema in parameters.fields("job", declared).items()}


def test_a_short_range_is_a_slider_of_its_type(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = use(
        monkeypatch,
        share=(float, Field(0.5, ge=0, le=1)),
        rows=(int, Field(3, ge=1, le=100)),
        rate=(float, Field(0.5, ge=0, le=1e9)),
        tiny=(float, Field(5e-4, ge=0, le=1e-3)),
        many=(int, Field(3, ge=1, le=10_000)),
        empty=(int | None, Field(3, ge=1, le=9)),
    )
    typed = dict.fromkeys(("rate", "tiny", "many", "empty"), "number")
    assert kinds_of(declared) == {"share": "slider", "rows": "slider"} | typed
    draw(page)
    page.slider(key="parameter-job-share").set_value(0.25)
    page.number_input(key="parameter-job-rate").set_value(1234.56789)
    entered = draw(page)
    assert (entered["share"], entered["rate"], entered["tiny"]) == (0.25, 1234.56789, 5e-4)
    assert type(entered["rows"]) is int


def test_a_value_that_no_longer_fits_is_named_and_can_be_corrected(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, rows=(int, Field(3, ge=1, le=10)), mode=(Literal["fast", "exact"], "fast"))
    draw(page)
    draw(page, {"rows": 50, "mode": "slow"})
    assert [box.value for box in page.text_area] == ["50", '"slow"']
    assert [error.value for error in page.error] == [
        r"Input should be less than or equal to 10",
        r"Input should be \'fast\' or \'exact\'",
    ]
    page.text_area[0].set_value("7")
    page.text_area[1].set_value("exact")  # text needs no quotes
    assert draw(page) == {"rows": 7, "mode": "exact"}
    draw(page, {"rows": 5, "mode": "exact"})
    assert not page.error
    assert page.slider(key="parameter-job-rows").value == 5


def test_an_edit_of_jobs_py_keeps_what_was_entered(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, rows=(int, Field(3, ge=1, le=100)), day=(date | None, None))
    draw(page)
    page.slider(key="parameter-job-rows").set_value(50)
    page.date_input(key="parameter-job-day").set_value(date(1950, 1, 1))
    draw(page)
    use(monkeypatch, rows=(int, Field(3, ge=1, le=10)), day=(int, 5))
    assert draw(page) == {"rows": 50, "day": "1950-01-01"}
    use(monkeypatch, rows=(int, Field(3, ge=1, le=100)))
    assert draw(page) == {"rows": 50}


def test_an_empty_field_has_the_default_that_the_model_makes(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = use(
        monkeypatch,
        letters=(list[Literal["a", "b"]], Field(default_factory=lambda: ["a"])),
        flag=(bool, Field(default_factory=lambda: True)),
        name=(str, Field(default_factory=lambda: "x")),
        at=(datetime, Field(default_factory=datetime.now)),
    )
    assert draw(page) == {}
    assert declared.validate({}) is not None
    chosen = {"letters": [], "flag": False, "name": "", "at": "1990-01-01T12:30:00"}
    assert draw(page, chosen) == chosen


def test_what_is_cleared_is_empty(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    use(
        monkeypatch,
        name=(str, "all"),
        note=(str | None, "x"),
        must=(str, ...),
        letter=(Literal["a", None], "a"),
    )
    draw(page)
    page.selectbox(key="parameter-job-letter").set_value(None)
    for name in ("name", "note", "must"):
        page.text_input(key=f"parameter-job-{name}").set_value("")
    assert draw(page) == {"name": "", "note": None, "letter": None}


def test_json_that_is_too_deep_is_a_message(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, tree=(list[int], [1]))
    draw(page)
    page.text_area[0].set_value("[" * 100_000)
    draw(page)
    assert [*page.session_state["errors"]] == ["tree"]


def test_a_time_has_the_zone_of_the_viewer_if_its_type_or_default_has_one(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = use(
        monkeypatch,
        any=(datetime, datetime(2026, 7, 1, 12)),
        later=(datetime, datetime(2026, 7, 1, 12, tzinfo=UTC)),
        aware=(AwareDatetime, ...),
        naive=(NaiveDatetime, ...),
    )
    draw(page)
    assert page.datetime_input(key="parameter-job-later").value == datetime(2026, 7, 1, 14)
    for name in ("later", "aware", "naive"):
        page.datetime_input(key=f"parameter-job-{name}").set_value(datetime(2026, 1, 1, 8, 30))
    assert draw(page) == {
        "any": "2026-07-01T12:00:00",
        "later": "2026-01-01T08:30:00+01:00",
        "aware": "2026-01-01T08:30:00+01:00",
        "naive": "2026-01-01T08:30:00",
    }
    assert declared.validate(page.session_state["entered"]) is not None
    # Elsewhere, as on the command line, any time may have a zone. It is not lost.
    stored = "2026-01-01T08:30:00+09:00"
    assert draw(page, {"any": stored, "later": stored})["any"] == stored
    assert page.datetime_input(key="parameter-job-later").value == datetime(2026, 1, 1, 0, 30)


@pytest.mark.parametrize(
    ("name", "zone"),
    [("Asia/Kolkata", "Asia/Kolkata"), (None, "UTC"), ("../etc/passwd", "UTC"), ("Mars/X", "UTC")],
)
def test_the_zone_of_the_viewer(
    name: str | None, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("streamlit.context", SimpleNamespace(timezone=name))
    assert str(viewer.zone()) == zone


def test_what_json_does_not_have_is_a_message(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = use(monkeypatch, most=(float, math.inf))
    draw(page)
    assert [*page.session_state["errors"]] == [""]
    monkeypatch.setattr(parameters, "values", lambda *args: {"most": math.nan})
    with pytest.raises(ParameterErrors):
        parameters.options("job", declared)
