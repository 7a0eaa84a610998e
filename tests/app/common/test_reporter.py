"""A job's side, with a writer that records and a clock that the test moves."""

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from multiprocessing import get_context
from typing import Any

import pytest

from progress import execution, reporter
from progress.contract import BackendRejected, BackendUnavailable, OperationCancelled, OperationLost
from progress.execution import run_job
from progress.job import JobFunction
from progress.operation import LogLine, Operation, Progress, Status, Step
from progress.reporter import PacedWriter, ProgressLog, Reporter
from progress.rows import operation_from_row
from tests.jobs import JOBS

Run = Callable[[JobFunction], Status | None]


@dataclass
class Recorder:
    """A writer that keeps what it receives, unless it has an error to raise."""

    written: list[Progress] = field(default_factory=list)
    outcomes: list[tuple[Status, Progress, str | None, str | None]] = field(default_factory=list)
    cancel_requested: bool = False
    error: BaseException | None = None
    results: list[str] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

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

    def result(self, result: str) -> None:
        if self.error is not None:
            raise self.error
        self.results.append(result)

    def log(self, lines: Sequence[LogLine]) -> None:
        if self.error is not None:
            raise self.error
        self.lines.extend(lines)

    def save_file(self, name: str, content: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.files[name] = content

    def read_file(self, operation_id: str, name: str) -> bytes:
        if name not in self.files:
            raise BackendRejected(f"There is no file {name!r} of {operation_id}.")
        return self.files[name]


class Clock:
    """Seconds that pass when the test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def writer() -> Recorder:
    return Recorder()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def progress_log() -> ProgressLog:
    return ProgressLog()


@pytest.fixture
def paced(writer: Recorder, clock: Clock, progress_log: ProgressLog) -> PacedWriter:
    """A paced writer whose heartbeats come from the test."""
    return PacedWriter(writer, progress_log)


@pytest.fixture
def report(progress_log: ProgressLog, paced: PacedWriter) -> Reporter:
    return Reporter(progress_log, paced)


@pytest.fixture
def run(writer: Recorder, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs a job of the test to its end."""

    def run(job: JobFunction) -> Status | None:
        monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
        monkeypatch.setattr("tests.jobs.JOBS", {"job": job})
        return run_job("job", "fast", writer)

    return run


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Threads take turns so often that each missing lock shows."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def read(error: str | None) -> Operation:
    """Return a failed operation as a page reads it."""
    return operation_from_row({"operation_id": "a1", "status": "failed", "error": error})


# Steps


def test_a_step_counts_when_it_has_ended(run: Run, writer: Recorder, clock: Clock) -> None:
    def job(report: Reporter, subject: str) -> None:
        report.total(3)
        for name in ("one", "two", "three"):
            clock.now += 1
            report.step(name)

    assert run(job) is Status.COMPLETED
    assert [(p.current_step, p.step_description) for p in writer.written] == [
        (0, ""),
        (0, "one"),
        (1, "two"),
        (2, "three"),
    ]
    [(status, progress, error, result)] = writer.outcomes
    assert (status, error, result) == (Status.COMPLETED, None, None)
    assert replace(progress, last_steps=()) == Progress(3, 3, 0, "three")


def test_the_latest_ended_steps_are_kept_with_their_durations(
    report: Reporter, progress_log: ProgressLog, writer: Recorder, clock: Clock
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
    progress_log.end_step()
    progress = progress_log.progress
    assert [step.number for step in progress.last_steps] == list(range(49_980, 50_000))
    assert len(progress.columns()["last_steps"]) < 20 * 300


def test_a_step_that_raised_has_not_ended(run: Run, writer: Recorder) -> None:
    def job(report: Reporter, subject: str) -> None:
        report.step("one")
        report.step("two")
        raise ValueError

    assert run(job) is Status.FAILED
    progress = writer.outcomes[0][1]
    assert progress.current_step == 1
    assert [step.description for step in progress.last_steps] == ["one"]


def test_more_steps_than_announced_raise_the_total(
    report: Reporter, progress_log: ProgressLog, writer: Recorder, clock: Clock
) -> None:
    report.total(1)
    for name in ("one", "two", "three"):
        clock.now += 1
        report.step(name)
        assert writer.written[-1].total_steps is not None
        assert writer.written[-1].current_step < writer.written[-1].total_steps
    for _ in range(2):
        progress_log.end_step()
    assert replace(progress_log.progress, last_steps=()) == Progress(3, 3, 0, "three")


@pytest.mark.parametrize("steps", [0, -0.0, 3, 3.7, True, Decimal(3), 10**15])
def test_a_total_is_a_number_of_steps(
    report: Reporter, progress_log: ProgressLog, steps: Any
) -> None:
    report.total(steps)
    assert progress_log.progress.total_steps == int(steps)
    assert type(progress_log.progress.total_steps) is int


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        (-1, "-1"),
        ("3", "'3'"),
        (None, "None"),
        ([1, 2], "[1, 2]"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (10**30, "1" + "0" * 30),
        pytest.param(10**5000, "<int>", id="5,000 digits"),
    ],
)
def test_another_total_is_refused_in_one_line(report: Reporter, steps: Any, shown: str) -> None:
    with pytest.raises(ValueError, match="total") as refused:
        report.total(steps)
    assert str(refused.value) == (
        f"total({shown}): the number of steps is a whole number from 0 to 1,000,000,000,000,000."
    )


def test_a_job_without_anything_to_do_completes(run: Run, writer: Recorder) -> None:
    def job(report: Reporter, subject: str) -> dict[str, Any]:
        batches: list[str] = []
        report.total(len(batches))
        for batch in batches:
            report.step(batch)
        return {"metrics": {"Batches": len(batches)}}

    assert run(job) is Status.COMPLETED
    [(_, progress, _, result)] = writer.outcomes
    assert (progress.current_step, progress.total_steps) == (0, 0)
    assert result == '{"metrics": {"Batches": 0}}'


def test_a_total_below_the_ended_steps_is_raised_to_them(
    report: Reporter, progress_log: ProgressLog
) -> None:
    for name in ("one", "two", "three"):
        report.step(name)
    report.total(0)
    assert progress_log.progress.total_steps == 2


def test_failed_steps_are_counted_once_and_named(run: Run, writer: Recorder) -> None:
    def job(report: Reporter, subject: str) -> dict[str, Any]:
        report.step("one")
        report.step_failed("no such row")
        report.step_failed("nor such column")
        report.step("two")
        report.step_failed(ValueError("bad\nvalue"))
        return {}

    assert run(job) is Status.PARTIAL
    [(_, progress, error, result)] = writer.outcomes
    assert (progress.current_step, progress.failed_steps) == (2, 2)
    assert error is not None
    assert error.startswith("Step 1, one: no such row\nStep 1, one: nor such column\nStep 2, two: ")
    assert result == "{}"


def noted() -> ValueError:
    error = ValueError("real cause")
    error.add_note("a note")
    return error


class NoText(Exception):
    """An exception whose text cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError("str fails")


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("no such row", "no such row"),
        (ValueError("no such row"), "ValueError: no such row"),
        (ValueError(), "ValueError"),
        (noted(), "ValueError: real cause"),
        (
            ExceptionGroup("three at once", [ValueError("a"), TypeError("b")]),
            "ExceptionGroup: three at once (2 sub-exceptions)",
        ),
        (SyntaxError("bad", ("jobs.py", 3, 1, "x = (")), "SyntaxError: bad"),
        (NoText(), f"{__name__}.NoText: <exception str() failed>"),
        (ValueError("m" * 10_000_000), f"ValueError: {'m' * 100}"),
    ],
)
def test_the_reason_of_a_failed_step_names_the_exception(
    report: Reporter, progress_log: ProgressLog, reason: BaseException | str, line: str
) -> None:
    report.step("one")
    report.step_failed(reason)
    assert progress_log.failures().startswith(f"Step 1, one: {line}")
    assert len(progress_log.failures()) <= max(len(f"Step 1, one: {line}"), reporter.MAX_FAILURE)


def test_a_failure_before_the_first_step_is_no_failed_step(run: Run, writer: Recorder) -> None:
    def job(report: Reporter, subject: str) -> None:
        report.step_failed("no settings, the defaults are used")
        report.step("one")

    assert run(job) is Status.PARTIAL
    [(_, progress, error, _)] = writer.outcomes
    assert error == "Before the first step: no settings, the defaults are used"
    assert (progress.current_step, progress.failed_steps) == (1, 0)
    assert [step.failed for step in progress.last_steps] == [False]


@pytest.mark.parametrize("ending", [RuntimeError("then all broke"), OperationCancelled()])
def test_the_reasons_of_failed_steps_are_kept_however_the_job_ends(
    run: Run, writer: Recorder, ending: BaseException
) -> None:
    def job(report: Reporter, subject: str) -> None:
        for number in (1, 2):
            report.step("row")
            report.step_failed(f"row {number} is bad")
        raise ending

    assert run(job) is not Status.PARTIAL
    [(status, _, error, _)] = writer.outcomes
    lines = (error or "").splitlines()
    assert lines[:2] == ["Step 1, row: row 1 is bad", "Step 2, row: row 2 is bad"]
    if status is Status.FAILED:
        assert lines[2] == "Traceback (most recent call last):"
        assert read(error).reason == "RuntimeError: then all broke"
    else:
        assert lines[2:] == []


def test_of_many_failures_the_first_and_the_last_are_kept_with_the_count(
    run: Run, writer: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    def job(report: Reporter, subject: str) -> None:
        for number in range(1, 100_001):
            report.step(f"row {number}")
            report.step_failed(f"row {number}: bad amount")
        raise RuntimeError("m" * 10_000_000)

    assert run(job) is Status.FAILED
    error = writer.outcomes[0][2] or ""
    operation = read(error)
    assert 100 < len(caplog.records) < 1_000, "the first are in the log, and leave it room"
    assert caplog.messages[0] == "Step 1, row 1: row 1: bad amount"
    assert operation.error == error, "it is stored no longer than it is read"
    assert (operation.reason or "").startswith("RuntimeError: mmm")
    numbers = [int(number) for number in re.findall("row ([0-9]+): bad amount", error)]
    [missing] = re.findall("… ([0-9,]+) more failures …", error)
    count = len(numbers)
    first = next(place for place, number in enumerate(numbers, 1) if number != place) - 1
    assert first > 100
    assert numbers == [*range(1, first + 1), *range(100_001 - (count - first), 100_001)]
    assert count - first > 100
    assert count + int(missing.replace(",", "")) == 100_000


def test_a_failure_is_one_line_so_that_lines_are_failures(run: Run, writer: Recorder) -> None:
    def job(report: Reporter, subject: str) -> None:
        for number in range(1, 4_001):
            report.step(f"row {number}")
            report.step_failed(ValueError(f"2 problems\n  amount {number} is missing\n\n  no date"))

    assert run(job) is Status.PARTIAL
    [(_, progress, error, _)] = writer.outcomes
    assert progress.failed_steps == 4_000
    lines = (error or "").splitlines()
    whole = "Step {0}, row {0}: ValueError: 2 problems amount {0} is missing no date"
    assert (lines[0], lines[-1]) == (whole.format(1), whole.format(4_000))
    [missing] = re.findall("… ([0-9,]+) more failures …", error or "")
    assert len(lines) - 1 + int(missing.replace(",", "")) == 4_000


def chained() -> None:
    try:
        raise KeyError("k" * 10_000_000)
    except KeyError:
        raise NoText from None


def deep(levels: int) -> None:
    if levels:
        try:
            deep(levels - 1)
        except ValueError as error:
            raise ValueError(f"level {levels} " + "\nm" * 10_000) from error
    raise ValueError("level 0")


def several() -> None:
    errors = [ValueError(f"{number} {'m' * 10_000}") for number in range(50)]
    raise ExceptionGroup("three at once", errors)


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        (chained, f"{__name__}.NoText: <exception str() failed>"),
        (lambda: deep(40), "ValueError: level 40 "),
        (several, "ExceptionGroup: three at once (50 sub-exceptions)"),
    ],
)
def test_the_reason_of_a_failed_job_names_the_exception(
    run: Run, writer: Recorder, fail: Callable[[], None], reason: str
) -> None:
    assert run(lambda report, subject: fail()) is Status.FAILED
    error = writer.outcomes[0][2] or ""
    assert read(error).reason == reason
    assert len(error) <= execution.MAX_TRACEBACK


def test_text_that_databases_refuse_is_sanitized(
    report: Reporter, progress_log: ProgressLog, writer: Recorder
) -> None:
    report.step("a\0b \udce4")
    assert writer.written[-1].step_description == "a�b ?"
    report.step_failed("c\0d \udce4")
    assert progress_log.failures() == "Step 1, a�b ?: c�d ?"


def test_so_is_the_text_of_an_exception(run: Run, writer: Recorder) -> None:
    def job(report: Reporter, subject: str) -> None:
        raise ValueError("a\0b \udce4")

    run(job)
    assert str(writer.outcomes[0][2]).endswith("ValueError: a�b ?")


def test_threads_of_a_job_may_share_the_reporter(
    run: Run, writer: Recorder, frequent_switches: None
) -> None:
    def job(report: Reporter, subject: str) -> None:
        def work() -> None:
            for number in range(500):
                report.step(f"row {number}")
                report.step_failed("bad")

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert run(job) is Status.PARTIAL
    [(_, progress, error, _)] = writer.outcomes
    assert progress.current_step == 4000
    assert [step.number for step in progress.last_steps] == list(range(3981, 4001))
    assert error is not None
    [missing] = re.findall("… ([0-9,]+) more failures …", error)
    assert len(error.splitlines()) - 1 + int(missing.replace(",", "")) == 4000


# When progress is written


def test_a_reporter_that_is_sent_to_another_process_names_the_remedy(
    run: Run, writer: Recorder
) -> None:
    def job(report: Reporter, subject: str) -> None:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(print, report).result()

    assert run(job) is Status.FAILED
    assert read(writer.outcomes[0][2]).reason == f"TypeError: {reporter.OTHER_PROCESS}"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    "use",
    [
        lambda report: report.total(3),
        lambda report: report.step("one"),
        lambda report: report.step_failed("bad"),
        lambda report: report.cancelled,
    ],
)
def test_a_forked_process_cannot_use_the_reporter(
    report: Reporter, use: Callable[[Reporter], object]
) -> None:
    fork = get_context("fork")
    here, there = fork.Pipe()

    def child() -> None:
        try:
            use(report)
        except RuntimeError as error:
            there.send(str(error))
        there.close()

    process = fork.Process(target=child)
    process.start()
    there.close()
    assert here.recv() == reporter.OTHER_PROCESS
    process.join()


def test_quick_steps_are_few_writes_and_the_last_is_written(
    report: Reporter, paced: PacedWriter, writer: Recorder, clock: Clock
) -> None:
    for number in range(30_050):
        clock.now += 0.001
        report.step(f"row {number}")
    assert len(writer.written) <= 30_050 * 0.001 / reporter.WRITE_INTERVAL + 2
    assert writer.written[-1].step_description != "row 30049"
    clock.now += reporter.WRITE_INTERVAL
    paced.beat()
    assert writer.written[-1].step_description == "row 30049"


def test_during_a_long_step_heartbeats_are_written(
    report: Reporter, paced: PacedWriter, writer: Recorder, clock: Clock
) -> None:
    report.step("long")
    count = len(writer.written)
    clock.now += reporter.HEARTBEAT_INTERVAL / 2
    paced.beat()
    assert len(writer.written) == count
    clock.now += reporter.HEARTBEAT_INTERVAL / 2
    paced.beat()
    assert len(writer.written) == count + 1


def test_a_thread_writes_the_heartbeats(
    run: Run, writer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "WRITE_INTERVAL", 0.01)
    monkeypatch.setattr(reporter, "HEARTBEAT_INTERVAL", 0.01)

    def job(report: Reporter, subject: str) -> None:
        deadline = time.monotonic() + 60
        while len(writer.written) < 4:
            assert time.monotonic() < deadline, "no heartbeats"
            time.sleep(0.01)

    assert run(job) is Status.COMPLETED
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_without_a_heartbeat_every_step_goes_to_the_writer_and_no_thread_starts(
    writer: Recorder, clock: Clock, progress_log: ProgressLog
) -> None:
    paced = PacedWriter(writer, progress_log, heartbeat=False)
    report = Reporter(progress_log, paced)
    with paced.heartbeat():
        for number in range(5):
            report.step(f"row {number}")
        assert "heartbeat" not in {thread.name for thread in threading.enumerate()}
    assert [p.step_description for p in writer.written] == ["", *(f"row {n}" for n in range(5))]


def test_without_a_heartbeat_a_long_step_writes_and_learns_of_a_cancel(
    writer: Recorder, clock: Clock, progress_log: ProgressLog
) -> None:
    report = Reporter(progress_log, PacedWriter(writer, progress_log, heartbeat=False))
    report.step("one")
    written = len(writer.written)
    assert not report.cancelled
    assert len(writer.written) == written, "not more often than a heartbeat"
    writer.cancel_requested = True
    clock.now += reporter.HEARTBEAT_INTERVAL
    assert report.cancelled
    assert writer.written[written:] == [writer.written[written - 1]]


def test_while_the_backend_is_unavailable_only_the_heartbeat_waits_for_it(
    report: Reporter, paced: PacedWriter, writer: Recorder, clock: Clock
) -> None:
    writer.error = BackendUnavailable("no route")
    report.step("one")
    writer.error = None
    for number in range(10):
        clock.now += 1
        report.step(f"step {number}")
    assert writer.written == []
    paced.beat()
    assert len(writer.written) == 1
    clock.now += 1
    report.step("and so on")
    assert len(writer.written) == 2


# Cancelled and lost


def test_cancel_is_raised_at_the_next_step(
    report: Reporter, paced: PacedWriter, writer: Recorder, clock: Clock
) -> None:
    report.step("one")
    assert not report.cancelled
    writer.cancel_requested = True
    clock.now += 1
    paced.beat()
    assert report.cancelled
    with pytest.raises(OperationCancelled):
        report.step("two")


def test_except_exception_does_not_catch_a_cancel() -> None:
    assert not issubclass(OperationCancelled, Exception)
    assert not issubclass(OperationLost, Exception)


@pytest.mark.parametrize(("error", "status"), [(None, Status.CANCELLED), (OperationLost(), None)])
def test_a_job_that_returns_because_it_was_told_to_stop_has_not_completed(
    run: Run,
    writer: Recorder,
    clock: Clock,
    error: BaseException | None,
    status: Status | None,
) -> None:
    def polite(report: Reporter, subject: str) -> dict[str, Any]:
        writer.cancel_requested, writer.error = True, error
        clock.now += 1
        report.total(5)
        stopped = {"stopped": report.cancelled}
        writer.error = None
        return stopped

    assert run(polite) is status
    assert len(writer.outcomes) == (status is not None)


@pytest.mark.parametrize("ending", [None, ValueError("while cleaning up"), SystemExit(1)])
def test_a_job_that_catches_the_cancel_ends_as_cancelled(
    run: Run, writer: Recorder, clock: Clock, ending: BaseException | None
) -> None:
    def stubborn(report: Reporter, subject: str) -> dict[str, Any]:
        writer.cancel_requested = True
        for number in range(5):
            clock.now += 1
            with suppress(BaseException):
                report.step(f"round {number}")
        if ending is not None:
            raise ending
        return {"rounds": 5}

    assert run(stubborn) is Status.CANCELLED
    [(_, _, error, result)] = writer.outcomes
    assert (error, result) == (None, None)


def test_a_cancel_that_one_thread_catches_ends_the_job_as_cancelled(
    run: Run, writer: Recorder, clock: Clock
) -> None:
    def job(report: Reporter, subject: str) -> dict[str, Any]:
        def work() -> None:
            with suppress(OperationCancelled):
                report.step("row")

        writer.cancel_requested = True
        clock.now += 1
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return {}

    assert run(job) is Status.CANCELLED


def test_a_job_that_did_not_see_the_cancel_has_completed(run: Run, writer: Recorder) -> None:
    def job(report: Reporter, subject: str) -> dict[str, Any]:
        writer.cancel_requested = True
        return {}

    assert run(job) is Status.COMPLETED


def test_a_job_that_was_cancelled_while_it_was_queued_does_not_begin(
    run: Run, writer: Recorder
) -> None:
    begun: list[str] = []
    writer.cancel_requested = True
    assert run(lambda report, subject: begun.append(subject)) is Status.CANCELLED
    assert begun == []


def test_a_lost_operation_stops_the_job_and_writes_no_outcome(run: Run, writer: Recorder) -> None:
    steps: list[str] = []

    def job(report: Reporter, subject: str) -> None:
        for name in ("one", "two"):
            report.step(name)
            steps.append(name)

    writer.error = OperationLost()
    assert run(job) is None
    assert steps == []
    assert writer.written == []
    assert writer.outcomes == []


def test_an_operation_that_is_cancelled_and_then_lost_is_lost(
    report: Reporter, paced: PacedWriter, writer: Recorder, clock: Clock
) -> None:
    writer.cancel_requested = True
    paced.write()
    writer.error = OperationLost()
    paced.write()
    writer.error = None
    paced.write()
    with pytest.raises(OperationLost):
        report.step("one")


# The outcome


@pytest.mark.parametrize(
    ("job", "status", "last_line"),
    [
        ("succeed", Status.COMPLETED, None),
        ("partial", Status.PARTIAL, "Step 5, Step number 5: ValueError: row 5 has no *amount*"),
        ("fail", Status.FAILED, "RuntimeError: the **third** step broke :red[badly]"),
        (
            "no_such_job",
            Status.FAILED,
            f"LookupError: There is no job 'no_such_job'; the jobs are {', '.join(JOBS)}.",
        ),
        ("unfit", Status.COMPLETED, None),
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
    assert run_job(job, "fast", writer) is status
    assert len(writer.outcomes) == 1
    stored, _, error, _ = writer.outcomes[0]
    assert stored is status
    assert (error.strip().splitlines()[-1] if error else None) == last_line


def test_a_jobs_module_that_cannot_be_imported_is_a_failure(
    writer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS_MODULE", "no_such_module")
    assert run_job("succeed", "fast", writer) is Status.FAILED
    error = writer.outcomes[0][2]
    assert error is not None
    assert "ModuleNotFoundError" in error


@pytest.mark.parametrize("value", [[1], "text", 5])
def test_a_result_that_is_no_dict_is_kept_and_the_job_has_failed(
    run: Run, writer: Recorder, value: Any
) -> None:
    assert run(lambda report, subject: value) is Status.FAILED
    [(_, _, error, result)] = writer.outcomes
    assert error == f"The job returned {type(value).__name__}; return a dict."
    assert json.loads(result or "") == {"value": value}


def test_a_result_that_is_too_large_is_named_with_its_size_and_the_job_has_failed(
    run: Run, writer: Recorder
) -> None:
    def job(report: Reporter, subject: str) -> dict[str, Any]:
        report.step("one")
        report.step_failed("no such row")
        return {"table": ["x" * 1000] * 6000, "metrics": {"Rows": 6000}, "notes": ["All well."]}

    assert run(job) is Status.FAILED
    [(_, _, error, result)] = writer.outcomes
    assert error == (
        "Step 1, one: no such row\n"
        "The result has 6.0 MB of JSON; at most 5.0 MB are stored. Missing: table."
    )
    assert json.loads(result or "") == {"metrics": {"Rows": 6000}, "notes": ["All well."]}


class Panic(BaseException):
    """As native libraries raise them: not an Exception."""


@pytest.mark.parametrize(
    "error", [Panic("native"), KeyboardInterrupt(), GeneratorExit(), SystemExit(3)]
)
def test_whatever_a_job_raises_is_stored_as_a_failure(
    run: Run, writer: Recorder, error: BaseException
) -> None:
    def job(report: Reporter, subject: str) -> None:
        raise error

    assert run(job) is Status.FAILED
    assert writer.outcomes[0][0] is Status.FAILED


def test_the_outcome_is_written_again_after_an_error(
    paced: PacedWriter, writer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []

    def sleep(seconds: float) -> None:
        delays.append(seconds)
        if len(delays) == 2:
            writer.error = None

    monkeypatch.setattr(time, "sleep", sleep)
    writer.error = BackendUnavailable("no route")
    paced.finish(Status.COMPLETED)
    assert delays == list(reporter.FINISH_DELAYS[:2])
    assert len(writer.outcomes) == 1


def test_after_the_last_attempt_the_error_is_raised(
    paced: PacedWriter, writer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    writer.error = BackendUnavailable("no route")
    with pytest.raises(BackendUnavailable):
        paced.finish(Status.COMPLETED)


@pytest.mark.parametrize(
    "refusal",
    [BackendRejected("too large"), OverflowError("too large"), ValueError("too large")],
)
def test_an_outcome_that_is_refused_becomes_a_failure_with_the_reason_immediately(
    progress_log: ProgressLog, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    class Picky(Recorder):
        def finish(
            self, status: Status, progress: Progress, error: str | None, result: str | None
        ) -> None:
            if status is Status.COMPLETED:
                raise refusal
            super().finish(status, progress, error, result)

    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits"))
    picky = Picky()
    paced = PacedWriter(picky, progress_log)
    assert paced.finish(Status.COMPLETED, result="{}") is Status.FAILED
    assert picky.outcomes[0][2] == "The outcome could not be stored: too large"


@pytest.mark.parametrize("has_heartbeat", [True, False])
def test_a_heartbeat_that_is_not_stored_does_not_show_that_an_outcome_is_refused(
    progress_log: ProgressLog, monkeypatch: pytest.MonkeyPatch, has_heartbeat: bool
) -> None:
    class Skipping(Recorder):
        """A writer that needs no connection to skip a progress, or to know that it is lost."""

        def progress(self, progress: Progress) -> bool:
            if has_heartbeat:
                raise OperationLost
            return False

    delays: list[float] = []
    monkeypatch.setattr(time, "sleep", delays.append)
    away = Skipping(error=BackendUnavailable("no route"))
    with pytest.raises(BackendUnavailable):
        PacedWriter(away, progress_log, has_heartbeat).finish(Status.COMPLETED)
    assert delays == list(reporter.FINISH_DELAYS)


@dataclass
class Full(Recorder):
    """A writer on a full disk: it takes what is as small as a heartbeat, unless it is away."""

    is_away: Callable[[], bool] = lambda: False

    def progress(self, progress: Progress) -> bool:
        if self.is_away():
            raise BackendUnavailable("no route")
        return super().progress(progress)

    def finish(
        self, status: Status, progress: Progress, error: str | None, result: str | None
    ) -> None:
        if self.is_away() or result is not None:
            raise BackendUnavailable("the disk is full")
        super().finish(status, progress, error, result)


def test_an_outcome_is_refused_if_only_heartbeats_can_be_stored(
    progress_log: ProgressLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []
    monkeypatch.setattr(time, "sleep", delays.append)
    progress_log.start_step("one")
    full = Full()
    paced = PacedWriter(full, progress_log)
    assert paced.finish(Status.COMPLETED, result="{}") is Status.FAILED
    assert sum(delays) < 3
    reason = "The outcome could not be stored: the disk is full"
    assert full.outcomes == [(Status.FAILED, Progress(step_description="one"), reason, None)]


def test_a_backend_that_is_away_now_and_then_does_not_refuse_the_outcome(
    progress_log: ProgressLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []
    monkeypatch.setattr(time, "sleep", delays.append)
    away = Full(is_away=lambda: len(delays) % 2 == 1)
    with pytest.raises(BackendUnavailable):
        PacedWriter(away, progress_log).finish(Status.COMPLETED, result="{}")
    assert delays == list(reporter.FINISH_DELAYS), "it is tried as long as any other outcome"


def test_the_failure_after_a_refused_outcome_is_written_again_after_an_error(
    progress_log: ProgressLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [BackendRejected("too large"), BackendUnavailable("no route")]

    class Unlucky(Recorder):
        def finish(
            self, status: Status, progress: Progress, error: str | None, result: str | None
        ) -> None:
            if errors:
                raise errors.pop(0)
            super().finish(status, progress, error, result)

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    unlucky = Unlucky()
    assert PacedWriter(unlucky, progress_log).finish(Status.COMPLETED) is Status.FAILED
    assert unlucky.outcomes[0][2] == "The outcome could not be stored: too large"


def test_a_backend_that_refuses_everything_ends_the_worker(
    paced: PacedWriter, writer: Recorder
) -> None:
    writer.error = OverflowError("too large")
    with pytest.raises(OverflowError):
        paced.finish(Status.COMPLETED)
