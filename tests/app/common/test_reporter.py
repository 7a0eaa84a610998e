"""A job's side, with a writer that records and a clock that the test moves."""

import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from progress import reporter
from progress.contract import BackendRejected, BackendUnavailable, OperationCancelled, OperationLost
from progress.operation import Progress, Status, Step
from progress.reporter import Reporter, run_job


@dataclass
class Recorder:
    """A writer that keeps what it is given, and fails when told to."""

    written: list[Progress] = field(default_factory=list)
    outcomes: list[tuple[Status, Progress, str | None, str | None]] = field(default_factory=list)
    cancel_requested: bool = False
    error: BaseException | None = None

    def progress(self, progress: Progress) -> bool:
        if self.error is not None:
            raise self.error
        self.written.append(progress)
        return self.cancel_requested

    def finish(
        self, status: Status, progress: Progress, error: str | None, result: str | None
    ) -> None:
        if self.error is not None:
            raise self.error
        self.outcomes.append((status, progress, error, result))


class Clock:
    """Seconds that pass when the test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def writer() -> Recorder:
    return Recorder()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def report(writer: Recorder, clock: Clock) -> Reporter:
    """A reporter whose heart does not beat by itself."""
    return Reporter(writer, clock)


def test_a_step_counts_when_it_has_ended(report: Reporter, writer: Recorder, clock: Clock) -> None:
    report.total(3)
    for name in ("one", "two", "three"):
        clock.now += 1
        report.step(name)
    assert [(p.current_step, p.step_description) for p in writer.written] == [
        (0, ""),
        (0, "one"),
        (1, "two"),
        (2, "three"),
    ]
    report.finish(Status.COMPLETED)
    [(status, progress, error, result)] = writer.outcomes
    assert (status, error, result) == (Status.COMPLETED, None, None)
    assert replace(progress, last_steps=()) == Progress(3, 3, 0, "three")


def test_the_latest_ended_steps_are_kept_with_their_times(
    report: Reporter, writer: Recorder, clock: Clock
) -> None:
    report.step("one")
    clock.now += 2
    report.step("two")
    assert list(writer.written[-1].last_steps) == [Step(1, "one", 2.0, failed=False)]
    report.step_failed("no such row")
    clock.now += 0.5
    report.step("three")
    assert writer.written[-1].last_steps[-1] == Step(2, "two", 0.5, failed=True)
    for number in range(4, 50_000):
        report.step(f"{number} " + "x" * 10_000)
    report.finish(Status.COMPLETED)
    progress = writer.outcomes[0][1]
    assert [step.number for step in progress.last_steps] == list(range(49_980, 50_000))
    assert len(progress.columns()["last_steps"]) < 20 * 300


def test_a_step_that_broke_has_not_ended(report: Reporter, writer: Recorder, clock: Clock) -> None:
    report.step("one")
    clock.now += 1
    report.step("two")
    report.finish(Status.FAILED, "broken")
    assert [step.description for step in writer.outcomes[0][1].last_steps] == ["one"]


def test_quick_steps_are_few_writes_and_none_is_lost(
    report: Reporter, writer: Recorder, clock: Clock
) -> None:
    report.total(30_000)
    for number in range(30_000):
        clock.now += 0.001
        report.step(f"row {number}")
    assert len(writer.written) <= 30_000 * 0.001 / reporter.WRITE_INTERVAL + 2
    clock.now += reporter.WRITE_INTERVAL
    report.beat()
    assert writer.written[-1].step_description == "row 29999"


def test_a_silent_job_still_gives_signs_of_life(
    report: Reporter, writer: Recorder, clock: Clock
) -> None:
    report.step("long")
    count = len(writer.written)
    clock.now += reporter.HEARTBEAT_INTERVAL / 2
    report.beat()
    assert len(writer.written) == count
    clock.now += reporter.HEARTBEAT_INTERVAL / 2
    report.beat()
    assert len(writer.written) == count + 1


def test_the_heart_beats_by_itself(writer: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "WRITE_INTERVAL", 0.01)
    monkeypatch.setattr(reporter, "HEARTBEAT_INTERVAL", 0.01)
    with Reporter(writer):
        deadline = time.monotonic() + 5
        while len(writer.written) < 4:
            assert time.monotonic() < deadline, "the heart does not beat"
            time.sleep(0.01)


def test_without_a_heartbeat_every_step_goes_to_the_writer_and_no_thread_starts(
    writer: Recorder, clock: Clock
) -> None:
    with Reporter(writer, clock, heartbeat=False) as report:
        for number in range(5):
            report.step(f"row {number}")
        assert "heartbeat" not in {thread.name for thread in threading.enumerate()}
    assert [p.step_description for p in writer.written] == ["", *(f"row {n}" for n in range(5))]
    assert report.finish(Status.COMPLETED) is Status.COMPLETED


def test_without_a_heartbeat_a_long_step_learns_of_a_cancel_and_writes_what_was_left_out(
    writer: Recorder, clock: Clock
) -> None:
    with Reporter(writer, clock, heartbeat=False) as report:
        report.step("one")
        written = len(writer.written)
        assert not report.cancelled
        assert len(writer.written) == written, "not more often than a heartbeat"
        writer.cancel_requested = True
        clock.now += reporter.HEARTBEAT_INTERVAL
        assert report.cancelled
        assert writer.written[written:] == [writer.written[written - 1]]


def test_cancel_is_raised_at_the_next_step(
    report: Reporter, writer: Recorder, clock: Clock
) -> None:
    report.step("one")
    assert not report.cancelled
    writer.cancel_requested = True
    clock.now += 1
    report.beat()
    assert report.cancelled
    with pytest.raises(OperationCancelled):
        report.step("two")


def test_cancel_passes_through_an_except_exception(writer: Recorder) -> None:
    assert not issubclass(OperationCancelled, Exception)
    assert not issubclass(OperationLost, Exception)


def test_more_steps_than_announced_move_the_total(
    report: Reporter, writer: Recorder, clock: Clock
) -> None:
    report.total(1)
    for name in ("one", "two", "three"):
        clock.now += 1
        report.step(name)
        assert writer.written[-1].total_steps is not None
        assert writer.written[-1].current_step < writer.written[-1].total_steps
    report.finish(Status.COMPLETED)
    assert replace(writer.outcomes[0][1], last_steps=()) == Progress(3, 3, 0, "three")


@pytest.mark.parametrize("steps", [0, -1])
def test_a_total_below_one_is_refused(report: Reporter, steps: int) -> None:
    with pytest.raises(ValueError, match="at least 1 step"):
        report.total(steps)


def test_failed_steps_are_counted_once_and_named(report: Reporter, writer: Recorder) -> None:
    report.step("one")
    report.step_failed("no such row")
    report.step_failed("nor such column")
    report.step("two")
    report.step_failed(ValueError("bad\nvalue"))
    report.finish(Status.COMPLETED, result="{}")
    status, progress, error, result = writer.outcomes[0]
    assert status is Status.PARTIAL
    assert (progress.current_step, progress.failed_steps) == (2, 2)
    assert error is not None
    assert error.startswith("Step 1, one: no such row\nStep 1, one: nor such column\nStep 2, two: ")
    assert result == "{}"


def test_the_outcome_is_tried_again(
    report: Reporter, writer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def come_back(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            writer.error = None

    monkeypatch.setattr(time, "sleep", come_back)
    writer.error = BackendUnavailable("no route")
    report.finish(Status.COMPLETED)
    assert waits == list(reporter.FINISH_DELAYS[:2])
    assert len(writer.outcomes) == 1


def test_the_outcome_is_given_up_after_the_last_try(
    report: Reporter, writer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    writer.error = BackendUnavailable("no route")
    with pytest.raises(BackendUnavailable):
        report.finish(Status.COMPLETED)


def test_a_lost_operation_stops_the_job_and_writes_no_outcome(
    writer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    writer.error = OperationLost()
    run_job("succeed", "fast", writer)
    assert writer.written == []
    assert writer.outcomes == []


@pytest.mark.parametrize(
    ("job", "status", "last_line"),
    [
        ("succeed", Status.COMPLETED, None),
        ("partial", Status.PARTIAL, "Step 5, Step number 5: ValueError: row 5 has no *amount*"),
        ("fail", Status.FAILED, "RuntimeError: the **third** step broke :red[badly]"),
        (
            "no_such_job",
            Status.FAILED,
            "LookupError: There is no job 'no_such_job'; the jobs are succeed, fail, partial,"
            " endless, rows, die, many, odd_text, unfit, chatter.",
        ),
        (
            "unfit",
            Status.FAILED,
            "TypeError: The job 'unfit' returned what JSON cannot hold:"
            " Object of type set is not JSON serializable.",
        ),
    ],
)
def test_every_end_of_a_job_is_stored(
    writer: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    job: str,
    status: Status,
    last_line: str | None,
) -> None:
    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    run_job(job, "fast", writer)
    assert len(writer.outcomes) == 1
    stored, _, error, _ = writer.outcomes[0]
    assert stored is status
    assert (error.strip().splitlines()[-1] if error else None) == last_line


def test_a_jobs_module_that_cannot_be_imported_is_a_failure(
    writer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS_MODULE", "no_such_module")
    run_job("succeed", "fast", writer)
    status, _, error, _ = writer.outcomes[0]
    assert status is Status.FAILED
    assert error is not None
    assert "ModuleNotFoundError" in error


@pytest.mark.parametrize("result", [[1], "text", 5, {"a": float("nan")}, {"a": object()}])
def test_only_json_objects_are_results(
    writer: Recorder, monkeypatch: pytest.MonkeyPatch, result: Any
) -> None:
    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    monkeypatch.setattr("tests.jobs.JOBS", {"odd": lambda report, subject: result})
    run_job("odd", "fast", writer)
    status, _, error, _ = writer.outcomes[0]
    assert status is Status.FAILED
    assert error is not None
    assert "The job 'odd' returned" in error


class Panic(BaseException):
    """As the ones of native libraries: no Exception."""


@pytest.mark.parametrize("error", [Panic("native"), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_a_job_raises_it_has_an_end(
    writer: Recorder, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def panic(report: Reporter, subject: str) -> None:
        raise error

    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    monkeypatch.setattr("tests.jobs.JOBS", {"panic": panic})
    assert run_job("panic", "fast", writer) is Status.FAILED


def test_a_job_that_returns_because_it_was_told_to_stop_has_not_completed(
    writer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def polite(report: Reporter, subject: str) -> dict[str, Any]:
        return {"stopped": report.cancelled}

    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    monkeypatch.setattr("tests.jobs.JOBS", {"polite": polite})
    writer.cancel_requested = True
    assert run_job("polite", "fast", writer) is Status.CANCELLED
    writer.error = OperationLost()
    assert run_job("polite", "fast", writer) is None
    writer.cancel_requested, writer.error = False, None
    assert run_job("polite", "fast", writer) is Status.COMPLETED


def test_an_outcome_that_is_refused_becomes_a_failure_with_the_reason(writer: Recorder) -> None:
    class Picky(Recorder):
        def finish(
            self, status: Status, progress: Progress, error: str | None, result: str | None
        ) -> None:
            if status is Status.COMPLETED:
                raise BackendRejected("value out of range")
            super().finish(status, progress, error, result)

    picky = Picky()
    assert Reporter(picky).finish(Status.COMPLETED, result="{}") is Status.FAILED
    assert picky.outcomes[0][2] == "The outcome could not be stored: value out of range"


def test_text_that_stores_refuse_is_mended(
    report: Reporter, writer: Recorder, clock: Clock
) -> None:
    clock.now += 1
    report.step("a\0b \udce4")
    assert writer.written[-1].step_description == "a�b ?"
    report.step_failed("c\0d \udce4")
    report.finish(Status.COMPLETED)
    assert writer.outcomes[0][2] == "Step 1, a�b ?: c�d ?"


def test_while_the_backend_is_away_only_the_heartbeat_waits_for_it(
    report: Reporter, writer: Recorder, clock: Clock
) -> None:
    writer.error = BackendUnavailable("no route")
    report.step("one")
    writer.error = None
    for number in range(10):
        clock.now += 1
        report.step(f"step {number}")
    assert writer.written == []
    report.beat()
    assert len(writer.written) == 1
    clock.now += 1
    report.step("and so on")
    assert len(writer.written) == 2


def test_a_job_that_exits_is_a_failure(writer: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(report: Reporter, subject: str) -> None:
        raise SystemExit(3)

    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    monkeypatch.setattr("tests.jobs.JOBS", {"leave": leave})
    run_job("leave", "fast", writer)
    assert writer.outcomes[0][0] is Status.FAILED
