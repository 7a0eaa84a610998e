"""The latest steps as HTML."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest

from progress.operation import Operation, Status, Step
from progress.ui.timeline import timeline

NOW = datetime(2026, 11, 21, 5, 12, tzinfo=UTC)


def operation(**values: Any) -> Operation:
    status = values.pop("status", Status.IN_PROGRESS)
    return Operation(
        operation_id="a",
        job="j",
        subject="s",
        owner="",
        status=status,
        read_at=NOW,
        created_at=NOW,
        **values,
    )


def ended(*numbers: int, failed: int = 0) -> tuple[Step, ...]:
    return tuple(Step(n, f"Row {n}", n / 10, n == failed) for n in numbers)


def lines(html: str) -> list[str]:
    """Return the text of each line."""
    return [re.sub("<[^>]*>", "|", line) for line in html.split("<li ")[1:]]


def height(html: str) -> str:
    found = re.search(r"min-height:([0-9.]+)rem", html)
    assert found is not None
    return found[1]


def test_the_step_at_hand_comes_first_and_then_the_latest() -> None:
    running = operation(
        current_step=3,
        step_description="Row 4",
        last_updated=NOW - timedelta(seconds=2),
        last_steps=ended(1, 2, 3, failed=2),
    )
    first, second, third = lines(timeline(running, 2, "teal"))
    assert "|4. Row 4|" in first
    assert "2 s" in first
    assert "|3. Row 3|" in second
    assert "|2. Row 2|" in third
    assert "|failed, 0.2 s|" in third


def test_it_is_as_readable_at_30_000_steps() -> None:
    running = operation(
        current_step=29_999,
        total_steps=30_000,
        step_description="x" * 500,
        last_steps=ended(*range(29_980, 30_000)),
    )
    drawn = lines(timeline(running, 5, "teal"))
    assert len(drawn) == 6
    assert "|30,000. xxx" in drawn[0]
    assert "|29,995. Row 29995|" in drawn[-1]


def test_it_keeps_its_height_while_the_operation_runs() -> None:
    at_work = operation(current_step=9, step_description="x", last_steps=ended(*range(1, 10)))
    states = [None, operation(status=Status.QUEUED), operation(), at_work]
    assert {height(timeline(state, 5, "teal")) for state in states} == {str(6 * 1.75)}
    # Some services do not tell the steps: then there is no room for them either.
    assert height(timeline(operation(current_step=9), 5, "teal")) == "1.75"


def test_an_ended_operation_has_no_step_at_hand() -> None:
    state = operation(
        status=Status.CANCELLED, current_step=1, step_description="Row 2", last_steps=ended(1)
    )
    assert len(lines(timeline(state, 20, "teal"))) == 1


def test_the_step_in_which_the_job_failed_comes_first_with_a_red_mark() -> None:
    state = operation(
        status=Status.FAILED, current_step=1, step_description="Row 2", last_steps=ended(1)
    )
    html = timeline(state, 20, "teal")
    first, second = lines(html)
    assert "|error|" in first
    assert "|2. Row 2|" in first
    assert "|failed|" in first
    assert "color:#e5484d" in html.split("<li ")[1]
    assert "|check|" in second


@pytest.mark.parametrize("text", ["<b>no</b>", '"><i>no</i>', "&lt;"])
def test_text_of_a_job_is_data(text: str) -> None:
    step = Step(1, text, 0.1, False)
    html = timeline(operation(current_step=1, step_description=text, last_steps=(step,)), 5, "x")
    assert set(re.findall(r"<(\w+)", html)) == {"ol", "li", "span"}
    assert f"2. {text}" in [unescape(part) for part in lines(html)[0].split("|")]
