"""What a page shows of an outcome."""

import importlib
import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from progress.operation import Operation
from progress.results import REPLACED, table_as_csv
from progress.rows import operation_from_row
from tests.pages import figures


def draw(**columns: Any) -> AppTest:
    """Draw an ended operation on a page of its own."""

    def script(operation: "Operation") -> None:
        from progress.ui import outcome, result

        outcome.draw_status(operation)
        outcome.draw_error(operation)
        if operation.result:
            result.draw(operation.result)
            result.draw_downloads(operation, operation.result)

    operation = operation_from_row({"operation_id": "a1"} | columns)
    page = AppTest.from_function(script, args=(operation,), default_timeout=60).run()
    assert not page.exception
    return page


def test_a_long_message_shows_its_beginning() -> None:
    page = draw(status="failed", error=f"ValueError: {'m' * 50_000}")
    assert page.code[0].value.startswith("ValueError: mmm")
    assert len(page.code[0].value) == 500
    page = draw(status="partial", failed_steps=1, error=f"Step 1, a: {'m' * 50_000}")
    assert page.code[0].value.startswith("Step 1, a: mmm")
    assert len(page.code[0].value) == 500


def test_a_failed_job_shows_the_exception_and_below_it_the_failed_steps() -> None:
    error = (
        "Step 1, a: row 1 is bad\nTraceback (most recent call last):\n"
        '  File "jobs.py", line 3, in job\n    f()\nRuntimeError: then all broke'
    )
    page = draw(status="failed", failed_steps=1, error=error)
    assert [code.value for code in page.code] == ["RuntimeError: then all broke", error]
    assert [expander.label for expander in page.expander] == ["Failed steps: 1, and the traceback"]


@pytest.mark.parametrize(
    ("error", "label"),
    [
        ('Traceback (most recent call last):\n  File "a.py", line 3\nValueError: no', "Traceback"),
        ("  + Exception Group Traceback (most recent call last):\n  | ValueError: no", "Traceback"),
        ("The last lines of a.log:\n\n    Traceback (most ...\n\nThe process ended.", "Details"),
    ],
)
def test_the_output_of_a_process_that_died_is_no_traceback(error: str, label: str) -> None:
    page = draw(status="failed", error=error)
    assert [expander.label for expander in page.expander] == [label]


def test_of_many_failures_the_first_and_the_last_are_shown_and_all_are_counted() -> None:
    lines = [f"Step {number}, a: row {number} is bad" for number in (1, 2, 3, 4, 5, 6, 3999, 4000)]
    error = "\n".join([*lines[:6], "… 3,992 more failures …", *lines[6:]])
    page = draw(status="partial", current_step=5000, failed_steps=4000, error=error)
    assert page.warning[0].value.startswith("Partly completed: 4,000 of 5,000 steps failed")
    assert page.code[0].value.splitlines() == [*lines[:4], "…", lines[-1]]
    assert [expander.label for expander in page.expander] == ["Failed steps: 4,000"]
    assert page.code[1].value == error


def test_a_cancelled_job_shows_its_failed_steps() -> None:
    page = draw(status="cancelled", failed_steps=1, error="Step 1, a: row 1 is bad")
    assert [code.value for code in page.code] == ["Step 1, a: row 1 is bad"]
    assert not draw(status="cancelled").code


def test_a_failure_before_the_first_step_is_no_failed_step() -> None:
    page = draw(status="partial", error="Before the first step: no settings")
    assert page.warning[0].value == "Partly completed in 0.0 s."
    assert page.code[0].value == "Before the first step: no settings"


def test_an_outcome_without_steps_has_only_its_duration() -> None:
    assert draw(status="completed", total_steps=0).success[0].value == "Completed in 0.0 s."
    assert draw(status="cancelled").info[0].value == "Cancelled after 0.0 s."
    assert draw(status="failed").error[0].value == "Failed after 0.0 s."
    page = draw(status="failed", total_steps=3)
    assert page.error[0].value == "Failed after 0 of 3 steps, in 0.0 s."
    page = draw(status="partial", current_step=3, failed_steps=2)
    assert page.warning[0].value == "Partly completed: 2 of 3 steps failed, in 0.0 s."


def test_values_that_json_cannot_hold_are_named() -> None:
    page = draw(
        status="completed", result={"metrics": {"a": "1j"}, REPLACED: ["metrics.a: complex"]}
    )
    assert page.warning[0].value.startswith("JSON cannot hold these values")
    assert page.text[0].value == "metrics.a: complex"
    assert not page.json


def test_a_metric_without_a_value_is_a_dash() -> None:
    page = draw(status="completed", result={"metrics": {"Mean": None, "Rows": 0}})
    assert figures(page) == {"Mean": "—", "Rows": "0"}


def test_a_spreadsheet_runs_no_formula_of_a_table() -> None:
    rows = [
        {"=name": "=1+1", "n": -5, "text": "-5", "at": "@SUM(A1)"},
        {"=name": "+49 30", "n": 1.5, "text": "+1,000.5", "at": "\ttab", "more": "-a"},
    ]
    lines = table_as_csv(rows).decode("utf-8-sig").splitlines()
    assert lines == [
        "'=name,n,text,at,more",
        "'=1+1,-5,-5,'@SUM(A1),",
        "'+49 30,1.5,\"+1,000.5\",'\ttab,'-a",
    ]


def captions(page: AppTest) -> list[str]:
    return [caption.value for caption in page.caption]


def points(page: AppTest) -> int:
    """Return how many values the chart of the page has."""
    (chart,) = page.get("vega_lite_chart")
    (dataset,) = chart.proto.datasets
    pa = importlib.import_module("pyarrow")  # it has no types
    rows: int = pa.ipc.open_stream(dataset.data.data).read_all().num_rows
    return rows


def test_a_chart_whose_rows_lack_values_has_gaps() -> None:
    page = draw(status="completed", result={"chart": [{"x": 1, "a": 1}, {"x": 2, "b": 2.5}, {}]})
    assert points(page) == 6
    assert not captions(page)
    assert not page.json


@pytest.mark.parametrize(
    ("rows", "named", "has_chart"),
    [
        ([{"x": 1, "a": 1, "b": 1}, {"x": 2, "a": 2, "b": "n/a"}], "b", True),
        ([{"x": 1, "a": 1, "*b*": [1, 2]}, {"x": 2, "a": 2, "*b*": None}], r"\*b\*", True),
        ([{"x": 1, "a": 1, "b": None}, {"x": 2, "a": 2, "b": None}], "b", True),
        ([{"x": 1, "a": 1}, {"x": "two", "a": 2}], r"x\, a", False),
        ([{"x": {}, "a": 1}], r"x\, a", False),
        ([{"x": 1}, {"x": 2}], "x", False),
    ],
)
def test_columns_that_a_chart_cannot_hold_are_named_and_shown_as_a_table(
    rows: list[dict[str, Any]], named: str, has_chart: bool
) -> None:
    page = draw(status="completed", result={"chart": rows})
    assert captions(page)[0] == f"A chart cannot hold every value of {named}. Here is the table:"
    assert len(page.get("vega_lite_chart")) == has_chart
    assert len(page.dataframe[0].value) == len(rows)


@pytest.mark.parametrize(
    ("part", "value", "expected"),
    [
        ("chart", {"x": [1, 2], "y": [1]}, "a list of dicts, one for each point"),
        ("chart", [[1, 2], [3]], "a list of dicts, one for each point"),
        ("chart", [{"x": 1, "y": 2}, 3], "a list of dicts, one for each point"),
        ("chart", "abc", "a list of dicts, one for each point"),
        ("table", "abc", "a list of dicts, one for each row"),
        ("metrics", [1], "a dict of figures"),
        ("notes", 3, "a list of texts"),
    ],
)
def test_a_part_that_cannot_be_drawn_says_so_and_is_shown_as_json(
    part: str, value: Any, expected: str
) -> None:
    page = draw(status="completed", result={part: value})
    assert captions(page) == [f"`{part}` cannot be drawn: it is not {expected}. It is below."]
    assert json.loads(page.json[0].value) == {part: value}


@pytest.mark.parametrize("table", [[1, 2], [[1, 2], [3, 4]], {"a": [1, 2]}, [{"a": 1}, {"b": [2]}]])
def test_whatever_can_be_a_table_is_drawn(table: Any) -> None:
    page = draw(status="completed", result={"table": table})
    assert len(page.dataframe[0].value) == 2
    assert not captions(page)


@pytest.mark.parametrize(
    ("files", "rest"),
    [
        ([{"name": "table.csv"}], " table.csv has all of them."),
        ([{"name": "other.csv"}], ""),
        ("odd", ""),
        (None, ""),
    ],
)
def test_a_part_of_a_table_says_so_and_where_the_rest_is(files: Any, rest: str) -> None:
    result = {"table": [{"a": 1}] * 2, "table_rows": 6_000, "files": files}
    page = draw(status="completed", result=result)
    assert captions(page) == [f"The first 2 of 6,000 rows.{rest}"]


def test_a_chart_and_a_table_without_rows_say_so() -> None:
    page = draw(status="completed", result={"chart": [], "table": [], "metrics": {}, "notes": []})
    assert captions(page) == ["The chart has no points.", "The table has no rows."]
    assert not page.json


def test_a_browser_gets_a_part_of_a_large_result_and_the_counts() -> None:
    """It drew 20,000 notes in 17 s, and 20,000 metrics in 36 s."""
    result = {
        "metrics": {f"m{number}": number for number in range(20_000)},
        "chart": [{"x": number, "y": number} for number in range(20_001)],
        "notes": ["x" * 1_000_000, *map(str, range(20_000))],
    }
    page = draw(status="completed", result=result)
    assert captions(page) == [
        "50 of 20,000 metrics are shown. The download after the end has all.",
        "1,819 of 20,001 points are shown. The download after the end has all.",
        "100 of 20,001 notes are shown. The download after the end has all.",
    ]
    assert (len(figures(page)), points(page), len(page.text)) == (50, 1_819, 100)
    assert len(page.text[0].value) == 2_000
    assert {button.proto.label for button in page.get("download_button")} == {"Result (JSON)"}
    ragged = [{"x": 1, f"y{number}": number} for number in range(5_000)]
    page = draw(status="completed", result={"chart": ragged, "table": ragged})
    assert captions(page) == [
        "1,667 of 5,000 points are shown. The download after the end has all.",
        "20 of 1,667 lines are shown. The download after the end has all.",
        "200 of 5,001 columns are shown. The download after the end has all.",
    ]
    assert page.dataframe[0].value.shape == (5_000, 200)
    wide = {"chart": [{"x": 1} | {f"y{number}": number for number in range(1_000)}]}
    page = draw(status="completed", result=wide)
    assert captions(page) == ["20 of 1,000 lines are shown. The download after the end has all."]
