"""What a job reports and its options, as any program may have stored them."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from progress.operation import MAX_STEP_DESCRIPTION, Bar, Live, Operation, Options, Status
from progress.rows import operation_from_row


def read(**columns: Any) -> Operation:
    return operation_from_row({"operation_id": "a1", "status": "in_progress", **columns})


EVERY_OPTION = Options({"rows": 3, "text": "é \0 😀"}, 60.0, 2, 0.5, 4, "upload-1")


@pytest.mark.parametrize("options", [Options(), Options({"a": [1, {"b": None}]}), EVERY_OPTION])
def test_options_are_read_as_they_were_stored(options: Options) -> None:
    assert read(options=options.text()).options == options
    assert read(options=json.loads(options.text())).options == options
    assert Options().text() == "{}", "what is as by default is not stored"


def test_what_a_job_reports_is_read_as_it_was_stored() -> None:
    bars = (Bar("Loading", 3, 10), Bar("Rows", 5, None))
    live = Live(bars, {"rows": 3, "rate": 0.5, "state": "ok", "none": None}, 2, "OSError: no")
    assert read(live=live.text()).live == live
    assert read(live=json.loads(live.text())).live == live
    assert Live().text() == "{}"
    assert read(live=None, options=None).problem is None


def test_a_service_may_name_only_the_parameters() -> None:
    operation = read(parameters={"rows": 3})
    assert (operation.options, operation.problem) == (Options({"rows": 3}), None)
    assert read(parameters=[3]).problem == "options is not the options of an operation"


@pytest.mark.parametrize(
    "options",
    [
        "",
        "[",
        "[]",
        "3",
        "[" * 100_000,
        '{"unknown": 1}',
        '{"parameters": null}',
        '{"parameters": [1]}',
        '{"parameters": {"a": NaN}}',
        '{"time_limit": -1}',
        '{"time_limit": NaN}',
        '{"time_limit": "60"}',
        '{"time_limit": Infinity}',
        '{"retries": "many"}',
        '{"retries": -1}',
        '{"retries": 1e300}',
        '{"retry_delay": null}',
        '{"max_running": []}',
        '{"upload": 3}',
    ],
)
def test_options_that_no_job_can_have_are_named(options: str) -> None:
    operation = read(options=options)
    assert operation.problem == "options is not the options of an operation"
    assert operation.options == Options()


def test_counts_of_options_are_whole_numbers_whatever_the_writer() -> None:
    options = read(options='{"retries": 2.0, "max_running": 1.5}').options
    assert (options.retries, options.max_running) == (2, 1)
    assert {type(options.retries), type(options.max_running)} == {int}


@pytest.mark.parametrize(
    "live",
    [
        "[",
        "[]",
        '"text"',
        '{"bars": 3}',
        '{"bars": {"done": 1}}',
        '{"bars": ["abc"]}',
        '{"bars": [{"description": "x"}]}',
        '{"bars": [{"done": -1}]}',
        '{"bars": [{"done": NaN}]}',
        '{"bars": [{"done": 1' + "0" * 400 + ', "total": 1}]}',
        '{"bars": [{"done": 1, "total": Infinity}]}',
        '{"metrics": [1]}',
        '{"metrics": {"a": [1]}}',
        '{"metrics": {"a": 1' + "0" * 400 + "}}",
        '{"retries": null}',
        '{"retries": -1}',
    ],
)
def test_what_no_job_can_report_is_named(live: str) -> None:
    operation = read(live=live)
    assert operation.problem == "live is not what a job reports"
    assert operation.live == Live()
    assert operation.attempts == 0


def test_figures_that_cannot_be_drawn_become_short_text_or_none() -> None:
    live = read(live={"metrics": {"n" * 1000: "x" * 1_000_000, "nan": float("nan")}}).live
    assert [len(name) for name in live.metrics] == [MAX_STEP_DESCRIPTION, 3]
    text, nan = live.metrics.values()
    assert isinstance(text, str)
    assert len(text) == MAX_STEP_DESCRIPTION
    assert nan is None


def test_many_bars_and_metrics_are_cut() -> None:
    bars = [{"description": "x" * 1000, "done": number} for number in range(10)]
    live = read(live={"bars": bars, "metrics": {str(n): n for n in range(100)}}).live
    assert [len(bar.description) for bar in live.bars] == [MAX_STEP_DESCRIPTION] * 3
    assert list(live.metrics) == [str(number) for number in range(20)]


# Progress with bars


@pytest.mark.parametrize(
    ("columns", "bars", "progress"),
    [
        ({"total_steps": 4, "current_step": 1}, [Bar("a", 5, 10)], 0.375),
        ({"total_steps": 4, "current_step": 1}, [Bar("a", 5, 10), Bar("b", 1, 2)], 0.3875),
        ({"total_steps": 4, "current_step": 1}, [Bar("a", 5, None), Bar("b", 1, 2)], 0.25),
        ({"total_steps": 4, "current_step": 1}, [Bar("a", 5, 10), Bar("b", 1, None)], 0.375),
        ({"total_steps": 4, "current_step": 4}, [Bar("a", 5, 10)], 1.0),
        ({"total_steps": 4, "current_step": 1}, [Bar("a", 30, 10)], 0.5),
        ({"current_step": 1}, [Bar("a", 5, 10)], 0.5),
        ({"current_step": 1}, [Bar("a", 5, None), Bar("b", 1, 2)], None),
        ({"current_step": 1}, [], None),
        ({"total_steps": 4, "current_step": 1, "status": "failed"}, [Bar("a", 5, 10)], 0.25),
    ],
)
def test_loops_are_fractions_of_the_current_step(
    columns: dict[str, Any], bars: list[Bar], progress: float | None
) -> None:
    operation = read(**columns, live=Live(tuple(bars)).text())
    assert operation.progress == (None if progress is None else pytest.approx(progress))


def test_attempts_are_processes_and_what_they_tried_again() -> None:
    assert read(attempt=2, live=Live(retries=1).text()).attempts == 3
    assert read(status="queued").attempts == 0


# Any JSON

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
numbers = st.integers() | st.floats() | json_values
bars = st.fixed_dictionaries({"done": numbers}, optional={"total": numbers, "description": numbers})
lives = st.fixed_dictionaries(
    {},
    optional={
        "bars": st.lists(bars, max_size=4) | json_values,
        "metrics": st.dictionaries(st.text(max_size=3), numbers, max_size=3) | json_values,
        "retries": numbers,
        "retry_reason": json_values,
    },
)
options = st.fixed_dictionaries(
    {},
    optional={
        "parameters": st.dictionaries(st.text(max_size=3), json_values, max_size=3) | json_values,
        "time_limit": numbers,
        "retries": numbers,
        "retry_delay": numbers,
        "max_running": numbers,
        "upload": json_values,
    },
)


@settings(deadline=None)
@given(st.booleans(), lives | json_values, options | json_values, st.integers(0, 9))
def test_any_json_is_read_or_named_and_can_be_shown_and_stored_again(
    as_text: bool, live: Any, stored: Any, current: int
) -> None:
    columns = {"live": live, "options": stored}
    if as_text:
        columns = {name: json.dumps(value) for name, value in columns.items()}
    operation = read(**columns, current_step=current, total_steps=9)
    for name, default in {"live": Live(), "options": Options()}.items():
        if getattr(operation, name) != default:
            assert f"{name} is not" not in (operation.problem or "")
    assert operation.progress is not None
    assert 0.0 <= operation.progress <= 1.0
    assert operation.attempts >= 0
    assert read(live=operation.live.text()).live == operation.live
    assert read(options=operation.options.text()).options == operation.options
    assert operation.status is Status.IN_PROGRESS
