"""The derived values of operations, and rows with invalid values."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from progress.operation import (
    MAX_STEP_DESCRIPTION,
    Progress,
    Status,
    Step,
    new_operation_id,
)
from progress.rows import count_statuses, operation_from_row
from progress.sql import ACTIVE

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def row(**changes: Any) -> dict[str, Any]:
    columns = {
        "operation_id": "a1",
        "job": "analyze",
        "subject": "call.txt",
        "owner": "",
        "status": "in_progress",
        "current_step": 6,
        "total_steps": 18,
        "failed_steps": 0,
        "step_description": "Scoring sentiment",
        "created_at": T0.isoformat(),
        "started_at": after(2).isoformat(),
        "last_updated": after(8).isoformat(),
        "heartbeat_at": after(9).isoformat(),
        "finished_at": None,
        "cancel_requested": 0,
        "error": None,
        "result": None,
        "attempt": 1,
        "retry_of": "",
        "last_steps": "[]",
        "read_at": after(10).isoformat(),
    }
    return columns | changes


def test_only_four_statuses_are_terminal() -> None:
    terminal = [status.value for status in Status if status.is_terminal]
    assert terminal == ["completed", "partial", "failed", "cancelled"]
    assert f"status NOT IN {tuple(terminal)}" == ACTIVE


def test_ids_cannot_be_guessed() -> None:
    ids = {new_operation_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in ids)


def test_a_running_operation() -> None:
    operation = operation_from_row(row())
    assert operation.progress == pytest.approx(1 / 3)
    assert operation.elapsed == 10
    assert operation.heartbeat_age == 1
    # 6 steps lasted 6 s. The current one lasts 2 s already, and the other 11 need 11 s.
    assert operation.remaining == pytest.approx(11)
    assert operation.problem is None


def test_elapsed_ends_with_the_operation() -> None:
    operation = operation_from_row(row(status="completed", finished_at=after(7).isoformat()))
    assert operation.elapsed == 7
    assert operation.heartbeat_age == 0
    assert operation.remaining is None


@pytest.mark.parametrize(
    "changes",
    [
        {"current_step": 1},
        {"total_steps": None},
        {"status": "queued"},
        {"started_at": None},
        {"live": {"retries": 1}},
    ],
)
def test_no_estimate_before_there_is_a_rate(changes: dict[str, Any]) -> None:
    assert operation_from_row(row(**changes)).remaining is None


@pytest.mark.parametrize(
    ("seconds", "current", "remaining"),
    [
        (8.5, 6, 11.5),
        (
            15,
            6,
            11,
        ),  # the current step lasts 7 s instead of 1 s: the other eleven are still to come
        (19.9, 6, 11),
        (20, 6, 0),  # all of the estimate has passed
        (500, 6, 0),
        (8.2, 17, 6 / 17 - 0.2),
        (9, 17, 0),  # the last step overruns
        (8, 18, 0),
    ],
)
def test_a_step_that_overruns_does_not_eat_the_time_of_the_next_steps(
    seconds: float, current: int, remaining: float
) -> None:
    operation = operation_from_row(row(read_at=after(seconds).isoformat(), current_step=current))
    assert operation.remaining == pytest.approx(remaining)


@pytest.mark.parametrize(
    ("changes", "failed_in_step"),
    [
        ({"status": "failed"}, True),
        ({"status": "failed", "total_steps": None}, True),
        ({"status": "failed", "step_description": ""}, False),  # before its first step
        ({"status": "failed", "current_step": 18}, False),  # after its last step
        ({"status": "cancelled"}, False),
        ({}, False),
    ],
)
def test_a_job_fails_in_the_step_that_has_not_ended(
    changes: dict[str, Any], failed_in_step: bool
) -> None:
    assert operation_from_row(row(**changes)).failed_in_step == failed_in_step


def test_cancelling_ends_with_the_acknowledgement() -> None:
    requested = operation_from_row(row(cancel_requested=1))
    assert requested.is_cancelling
    assert not replace(requested, status=Status.CANCELLED).is_cancelling


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"status": "banana"}, "status 'banana' is not one of queued, in_progress, completed"),
        ({"status": None}, "status None is not one of"),
        ({"current_step": 30}, "current_step 30 is above total_steps 18"),
        ({"current_step": -1}, "current_step -1 is not a count"),
        ({"current_step": "six"}, "current_step 'six' is not a count"),
        ({"total_steps": float("nan")}, "total_steps nan is not a count"),
        ({"heartbeat_at": "yesterday"}, "heartbeat_at 'yesterday' is not a time"),
        ({"result": "{"}, "result is not JSON"),
        ({"result": "[" * 100_000}, "result is not JSON"),
        ({"last_steps": "["}, "last_steps is not a list of steps"),
        ({"last_steps": "[" * 100_000}, "last_steps is not a list of steps"),
        ({"last_steps": {"number": 1}}, "last_steps is not a list of steps"),
        ({"last_steps": [{"number": 1}]}, "last_steps is not a list of steps"),
        ({"last_steps": [{"number": 1, "seconds": "nan"}]}, "last_steps is not a list of steps"),
    ],
)
def test_invalid_values_are_named(changes: dict[str, Any], problem: str) -> None:
    operation = operation_from_row(row(**changes))
    assert operation.problem is not None
    assert operation.problem.startswith(problem)
    assert not operation.status.is_terminal


def test_an_unknown_status_is_not_terminal() -> None:
    assert operation_from_row(row(status="banana")).status is Status.IN_PROGRESS


def test_a_result_may_be_text_or_a_value() -> None:
    assert operation_from_row(row(result='{"a": 1}')).result == {"a": 1}
    assert operation_from_row(row(result={"a": 1})).result == {"a": 1}
    assert operation_from_row(row(result="[1, 2]")).result == {"value": [1, 2]}


def test_steps_are_read_as_the_reporter_stored_them() -> None:
    steps = tuple(Step(number, f"{number} 😀", 0.25, number == 2) for number in (1, 2, 3))
    stored = Progress(last_steps=steps).columns()["last_steps"]
    assert operation_from_row(row(last_steps=stored)).last_steps == steps
    assert operation_from_row(row(last_steps=json.loads(stored))).last_steps == steps
    assert operation_from_row(row(last_steps=None)).last_steps == ()


def test_only_the_latest_steps_are_read_and_truncated() -> None:
    stored = [{"number": n, "description": "x" * 1000, "seconds": 1} for n in range(100)]
    steps = operation_from_row(row(last_steps=stored)).last_steps
    assert [step.number for step in steps] == list(range(80, 100))
    assert {len(step.description) for step in steps} == {MAX_STEP_DESCRIPTION}


def test_the_rate_ignores_the_time_after_the_latest_step() -> None:
    assert operation_from_row(row()).rate == pytest.approx(1.0)
    assert operation_from_row(row(read_at=after(99))).rate == pytest.approx(1.0)
    ended = row(status="completed", last_updated=None, finished_at=after(5))
    assert operation_from_row(ended).rate == pytest.approx(2.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"current_step": 0},
        {"current_step": 1},
        {"started_at": None},
        {"last_updated": after(2)},
        {"last_updated": after(2.9)},
        {"live": {"retries": 1}},
    ],
)
def test_no_rate_of_a_single_step_or_of_a_moment(changes: dict[str, Any]) -> None:
    assert operation_from_row(row(**changes)).rate is None


def test_unknown_statuses_count_as_in_progress() -> None:
    rows = [("failed", 2), ("banana", 3), (None, 1), ("in_progress", 4)]
    assert count_statuses(rows) == {Status.FAILED: 2, Status.IN_PROGRESS: 8}


def test_job_subject_and_owner_are_never_truncated() -> None:
    long = row(job="j" * 1000, subject="s" * 1000, owner="o" * 1000)
    operation = operation_from_row(long)
    assert (operation.job, operation.subject, operation.owner) == (
        long["job"],
        long["subject"],
        long["owner"],
    )


def test_very_long_text_is_truncated() -> None:
    error = f"Step 1, a: {'y' * 1_000_000}\nValueError: bad"
    operation = operation_from_row(row(step_description="x" * 1_000_000, error=error))
    assert len(operation.step_description) == 500
    assert operation.step_description.endswith("…")
    assert operation.error is not None
    assert len(operation.error) == 50_000
    assert operation.error.startswith("Step 1, a: y"), "the first failed step is kept"
    assert operation.error.endswith("\nValueError: bad"), "the end of a traceback is kept"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, None),
        ("The worker ended unexpectedly.", "The worker ended unexpectedly."),
        (
            'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
            "ValueError: bad\nFor further information visit a page",
            "ValueError: bad",
        ),
        (
            'Traceback (most recent call last):\n  File "a.py", line 1, in f\nKeyError: 1\n\n'
            "During handling of the above exception, another exception occurred:\n\n"
            'Traceback (most recent call last):\n  File "b.py", line 2, in h\n    i()\n    ^^^\n'
            "TypeError: no",
            "TypeError: no",
        ),
        (
            'Traceback (most recent call last):\n  File "a.py", line 1, in f\nKeyError: 1\n\n'
            "During handling of the above exception, another exception occurred:\n\n"
            "  + Exception Group Traceback (most recent call last):\n"
            '  |   File "a.py", line 2, in f\n'
            '  |     raise ExceptionGroup("two", errors)\n'
            "  | ExceptionGroup: two (2 sub-exceptions)\n"
            "  | a note\n"
            "  +-+---------------- 1 ----------------\n"
            "    | Traceback (most recent call last):\n"
            '    |   File "a.py", line 3, in g\n'
            "    | ValueError: bad\n"
            "    +---------------- 2 ----------------\n"
            "    | TypeError: no\n"
            "    +------------------------------------",
            "ExceptionGroup: two (2 sub-exceptions)",
        ),
        (
            "Step 1, a: row 1 is bad\nTraceback (most recent call last):\n"
            '  File "a.py", line 1, in f\n    g()\nValueError: bad\na note',
            "ValueError: bad",
        ),
    ],
)
def test_the_reason_is_the_line_that_names_the_exception(
    error: str | None, reason: str | None
) -> None:
    assert operation_from_row(row(error=error)).reason == reason


def test_times_without_a_zone_are_utc() -> None:
    operation = operation_from_row(row(created_at="2026-01-02 03:04:05"))
    assert operation.created_at == T0


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(max_size=30),
    st.binary(max_size=30),
    st.datetimes(),
    st.lists(st.integers(), max_size=3),
)


@settings(deadline=None)
@given(st.fixed_dictionaries({name: anything for name in row() if name != "operation_id"}))
def test_no_row_raises_and_every_number_can_be_shown(columns: dict[str, Any]) -> None:
    operation = operation_from_row(columns | {"operation_id": "a1"})
    assert operation.progress is None or 0.0 <= operation.progress <= 1.0
    assert type(operation.progress) in (float, type(None))
    assert operation.current_step >= 0
    assert operation.elapsed >= 0
    assert operation.heartbeat_age >= 0
    assert operation.remaining is None or operation.remaining >= 0
    assert operation.rate is None or operation.rate > 0
    assert operation.read_at.tzinfo is not None
    json.dumps(operation.result, default=str)


@settings(deadline=None)
@given(current=st.integers(0, 40_000), total=st.integers(1, 40_000))
def test_progress_is_a_fraction(current: int, total: int) -> None:
    operation = operation_from_row(row(current_step=current, total_steps=total))
    assert operation.progress is not None
    assert operation.progress == min(current / total, 1.0)
    assert operation.current_step <= total
