"""What a page shows of an outcome."""

from typing import Any

from streamlit.testing.v1 import AppTest

from progress.operation import Operation
from progress.results import REPLACED
from progress.rows import operation_from_row


def draw(**columns: Any) -> AppTest:
    """Draw an ended operation on a page of its own."""

    def script(operation: "Operation") -> None:
        from progress.ui import outcome

        outcome.draw_status(operation)
        outcome.draw_error(operation)
        outcome.draw_result(operation)

    operation = operation_from_row({"operation_id": "a1"} | columns)
    page = AppTest.from_function(script, args=(operation,), default_timeout=30).run()
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
    assert [expander.label for expander in page.expander] == ["Failed steps and traceback"]


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
    assert [metric.value for metric in page.metric] == ["—", "0"]
