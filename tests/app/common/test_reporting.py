"""What a job reports besides its steps: loops, figures, the log, results, files; and retries."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from progress import reporter
from progress.contract import BackendUnavailable, OperationCancelled
from progress.execution import run_job
from progress.job import Job, Upload
from progress.operation import (
    MAX_METRICS,
    MAX_RETRY_DELAY,
    NO_OPTIONS,
    Bar,
    Live,
    LogLine,
    Options,
    Status,
)
from progress.reporter import PacedWriter, ProgressLog, Reporter
from tests.app.test_reporter import Clock, Recorder, clock, paced, progress_log, report, writer

__all__ = ["clock", "paced", "progress_log", "report", "writer"]

Run = Callable[..., Status | None]


@pytest.fixture
def run(writer: Recorder, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs a job of the test to its end."""

    def run(job: Any, options: Options = NO_OPTIONS, subject: str = "fast") -> Status | None:
        monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
        monkeypatch.setattr("tests.jobs.JOBS", {"job": job})
        return run_job("job", subject, writer, options=options)

    return run


def outcome(writer: Recorder) -> tuple[Status, str | None, Any]:
    [(status, _, error, result)] = writer.outcomes
    return status, error, None if result is None else json.loads(result)


# Loops


def test_a_loop_is_a_step_with_a_bar(
    report: Reporter, progress_log: ProgressLog, writer: Recorder, clock: Clock
) -> None:
    seen = []
    for item in report.track("abc", "Reading"):
        seen.append((item, *progress_log.progress.live.bars))
        clock.now += 1
    assert seen == [
        ("a", Bar("Reading", 0, 3)),
        ("b", Bar("Reading", 1, 3)),
        ("c", Bar("Reading", 2, 3)),
    ]
    assert progress_log.progress.live.bars == ()
    assert (progress_log.progress.current_step, progress_log.progress.step_description) == (
        0,
        "Reading",
    )
    assert [bar.done for p in writer.written for bar in p.live.bars] == [1, 2]
    report.step("next")
    assert progress_log.progress.current_step == 1


class NoLength:
    """Says that it has a length, and has none, as some data sets do."""

    def __len__(self) -> int:
        raise TypeError("unknown length")

    def __iter__(self) -> Iterator[int]:
        return iter([1])


@pytest.mark.parametrize(
    ("items", "total", "shown"),
    [
        ([1], None, 1),
        ({"a": 1}, None, 1),
        (iter([1]), None, 1),
        ((number for number in [1]), None, None),
        ((number for number in [1]), 7, 7),
        (NoLength(), None, None),
        ([1], 5.0, 5),
    ],
)
def test_the_total_of_a_loop_is_its_length_if_that_is_known(
    report: Reporter, progress_log: ProgressLog, items: Any, total: Any, shown: int | None
) -> None:
    for _ in report.track(items, "Loop", total=total):
        bar: Bar = progress_log.progress.live.bars[0]
        assert bar.total == shown
        assert type(bar.total) in (int, type(None)), "JSON holds it"


@pytest.mark.parametrize("total", [-1, float("nan"), "many", 10**30])
def test_a_total_of_a_loop_that_is_no_number_of_items_is_refused(
    report: Reporter, total: Any
) -> None:
    with pytest.raises(ValueError, match=r"^track\(total=.*\): the number of items is a whole num"):
        list(report.track([1], "Loop", total=total))


def test_loops_within_loops_have_bars_and_are_no_steps(
    report: Reporter, progress_log: ProgressLog
) -> None:
    def loop(level: int) -> None:
        for _ in report.track([1, 2], f"level {level}"):
            bars = progress_log.progress.live.bars
            assert [bar.description for bar in bars] == ["level 0", "level 1", "level 2"][
                : level + 1
            ]
            if level < 4:
                loop(level + 1)

    loop(0)
    assert progress_log.progress.live.bars == ()
    for _ in report.track([1], "another"):
        assert progress_log.progress.current_step == 1


@pytest.mark.parametrize("how", ["break", "raise", "return"])
def test_a_loop_that_is_abandoned_leaves_no_bar(
    report: Reporter, progress_log: ProgressLog, how: str
) -> None:
    def job() -> None:
        for _ in report.track([1, 2], "outer"):
            for _ in report.track([1, 2], "inner"):
                if how == "break":
                    break
                if how == "raise":
                    raise ValueError
                return
            assert [bar.description for bar in progress_log.progress.live.bars] == ["outer"]

    with suppress(ValueError):
        job()
    assert list(progress_log.progress.live.bars) == []
    for _ in report.track([1], "next"):
        assert progress_log.progress.step_description == "next"
        assert "description='next'" in str(progress_log.progress.live.bars)


def test_a_new_step_ends_the_bars(report: Reporter, progress_log: ProgressLog) -> None:
    loop = iter(report.track([1, 2], "Loop"))
    next(loop)
    report.step("next")
    assert progress_log.progress.live.bars == ()


def test_a_quick_loop_is_few_changes(
    report: Reporter, progress_log: ProgressLog, writer: Recorder, clock: Clock
) -> None:
    changes = 0
    last = progress_log.progress
    for _ in report.track(range(30_000), "Rows"):
        clock.now += 0.001
        changes += progress_log.progress is not last
        last = progress_log.progress
    assert changes <= 30_000 * 0.001 / (reporter.WRITE_INTERVAL / 2) + 2
    assert len(writer.written) <= 30_000 * 0.001 / reporter.WRITE_INTERVAL + 3


def test_a_cancel_is_raised_within_a_loop(run: Run, writer: Recorder, clock: Clock) -> None:
    done: list[int] = []

    def job(report: Reporter, subject: str) -> None:
        for number in report.track(range(1000), "Rows"):
            done.append(number)
            writer.cancel_requested = number >= 3
            clock.now += 1
        pytest.fail("it goes on")

    assert run(job) is Status.CANCELLED
    assert 4 <= len(done) <= 5
    assert writer.outcomes[0][1].live.bars == ()


# Figures


def test_figures_are_written_while_the_job_runs_and_are_in_the_result(
    run: Run, writer: Recorder, clock: Clock
) -> None:
    def job(report: Reporter, subject: str) -> dict[str, Any]:
        report.step("one")
        report.metric("Rows", 3)
        clock.now += 1
        report.metric("Rows", 4)
        report.metric("a\0", "b\0\udce4" + "x" * 1000)
        report.metric("NaN", float("nan"))
        report.metric("Infinite", float("inf"))
        report.metric("Odd", [1])
        return {"metrics": {"Sum": 5, "Odd": 6}}

    assert run(job) is Status.COMPLETED
    assert writer.written[-1].live.metrics == {"Rows": 4}
    result = outcome(writer)[2]
    text = result["metrics"].pop("a\ufffd")
    assert result == {"metrics": {"Rows": 4, "NaN": None, "Infinite": None, "Odd": 6, "Sum": 5}}
    assert text.startswith("b\ufffd?xxx")
    assert len(text) == 200


def test_of_many_figures_the_first_are_kept_and_go_on(
    report: Reporter, progress_log: ProgressLog
) -> None:
    for number in range(100):
        report.metric(f"m{number}", number)
    report.metric("m0", "changed")
    metrics = progress_log.progress.live.metrics
    assert len(metrics) == MAX_METRICS
    assert metrics["m0"] == "changed"


# The log


def test_a_log_line_has_its_time_and_is_never_worth_a_failure(
    report: Reporter, writer: Recorder
) -> None:
    report.log("one\ntwo\0")
    report.log({"a": 1})
    report.log("")
    assert [line.text for line in writer.lines] == ["one", "two\ufffd", "{'a': 1}", ""]
    assert all(line.at.utcoffset() is not None for line in writer.lines)
    writer.error = BackendUnavailable("no route")
    report.log("lost")


# Results


def test_a_result_is_stored_early_and_again_and_merged_with_what_is_returned(
    run: Run, writer: Recorder
) -> None:
    def job(report: Reporter, subject: str) -> dict[str, Any]:
        report.result({"table": [{"a": 1}], "notes": ["so far"]})
        report.result({"notes": ["all"]})
        return {"metrics": {"Rows": 1}}

    assert run(job) is Status.COMPLETED
    assert list(map(json.loads, writer.results)) == [
        {"table": [{"a": 1}], "notes": ["so far"]},
        {"table": [{"a": 1}], "notes": ["all"]},
    ]
    assert outcome(writer)[2] == {
        "table": [{"a": 1}],
        "notes": ["all"],
        "metrics": {"Rows": 1},
    }


@pytest.mark.parametrize(
    ("ending", "status"),
    [(ValueError("bad"), Status.FAILED), (OperationCancelled(), Status.CANCELLED)],
)
def test_a_result_and_figures_outlive_the_end_of_the_job_even_if_they_could_not_be_stored_then(
    run: Run, writer: Recorder, ending: BaseException, status: Status
) -> None:
    def job(report: Reporter, subject: str) -> None:
        writer.error = BackendUnavailable("no route")
        report.result({"notes": ["so far"]})
        report.metric("Rows", 3)
        writer.error = None
        raise ending

    assert run(job) is status
    assert writer.results == []
    assert outcome(writer)[2] == {"notes": ["so far"], "metrics": {"Rows": 3}}


def test_a_job_that_reported_a_result_may_return_nothing(run: Run, writer: Recorder) -> None:
    assert run(lambda report, subject: report.result({"a": 1})) is Status.COMPLETED
    assert outcome(writer)[2] == {"a": 1}


def test_a_result_so_far_that_is_too_large_does_not_fail_the_job(
    run: Run, writer: Recorder
) -> None:
    def job(report: Reporter, subject: str) -> None:
        report.result({"notes": ["x" * 6_000_000], "a": 1})
        report.result({"notes": ["short"]})

    assert run(job) is Status.COMPLETED
    assert json.loads(writer.results[0]) == {"a": 1}
    assert outcome(writer)[2] == {"notes": ["short"], "a": 1}


def test_a_large_table_is_a_file_with_the_others(
    run: Run, writer: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a")

    def job(report: Reporter, subject: str) -> dict[str, Any]:
        report.file(tmp_path / "a.txt")
        return {"table": [{"a": "x" * 1000}] * 6000, "files": "odd"}

    assert run(job) is Status.COMPLETED
    files = outcome(writer)[2]["files"]
    assert [file["name"] for file in files] == ["a.txt", "table.csv"]
    assert {file["name"]: file["size"] for file in files} == {
        name: len(content) for name, content in writer.files.items()
    }


def test_a_large_table_so_far_is_shown_in_part_and_is_a_file_when_the_job_ends(
    run: Run, writer: Recorder
) -> None:
    def job(report: Reporter, subject: str) -> None:
        report.result({"table": [{"a": "x" * 1000}] * 6000})
        raise RuntimeError("broken")

    assert run(job) is Status.FAILED
    so_far, result = json.loads(writer.results[0]), outcome(writer)[2]
    assert 1_000 < len(so_far["table"]) == len(result["table"]) < 6_000
    assert so_far["table_rows"] == result["table_rows"] == 6_000
    assert "files" not in so_far
    assert [file["name"] for file in result["files"]] == [*writer.files] == ["table.csv"]


# Files


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("", "report of it.csv"),
        ("other.csv", "other.csv"),
        ("../../etc/passwd", "passwd"),
        ("/", "report of it.csv"),
        ("a\0\u202eb\n.csv", "a\ufffdb .csv"),
        ("x" * 1000, "x" * 199 + "…"),
    ],
)
def test_a_file_has_a_name_and_no_folder(
    report: Reporter, writer: Recorder, tmp_path: Path, name: str, kept: str
) -> None:
    path = tmp_path / "report of it.csv"
    path.write_bytes(b"1,2\n")
    report.file(path, name)
    assert writer.files == {kept: b"1,2\n"}
    assert json.loads(writer.results[-1]) == {"files": [{"name": kept, "size": 4}]}


def test_a_file_of_the_same_name_is_replaced(
    report: Reporter, writer: Recorder, paced: PacedWriter, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    report.result({"files": "odd"})
    for content in (b"old", b"newer"):
        path.write_bytes(content)
        report.file(os.fspath(path))
    clock.now += reporter.WRITE_INTERVAL
    paced.beat()
    assert writer.files == {"a": b"newer"}
    assert json.loads(writer.results[-1]) == {"files": [{"name": "a", "size": 5}]}


def test_a_file_that_is_too_large_missing_or_not_stored_raises(
    report: Reporter, writer: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(b"12345")
    monkeypatch.setattr(reporter, "MAX_FILE", 4)
    with pytest.raises(ValueError, match=r"^large.bin has 5 bytes: at most 4 are kept\. Store it"):
        report.file(path)
    with pytest.raises(FileNotFoundError):
        report.file(tmp_path / "missing")
    monkeypatch.setattr(reporter, "MAX_FILE", 5)
    writer.error = BackendUnavailable("no route")
    with pytest.raises(BackendUnavailable):
        report.file(path)
    assert (writer.files, writer.results) == ({}, [])


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a b.csv", ".csv"),
        ("x.tar.gz", ".gz"),
        ("none", ""),
        ("../../x.p\0y/..", ""),
        ("x.$(rm)é", ".rmé"),
        ("x." + "y" * 100, "." + "y" * 19),
    ],
)
def test_an_uploaded_file_is_the_subject_and_only_its_extension_is_kept(
    run: Run, writer: Recorder, name: str, suffix: str
) -> None:
    paths: list[Path] = []

    def job(report: Reporter, path: Path) -> dict[str, Any]:
        paths.append(path)
        return {"notes": [path.read_text()]}

    writer.files[name] = b"content"
    assert run(Job(job, subjects=Upload()), Options(upload="u1"), name) is Status.COMPLETED
    assert outcome(writer)[2] == {"notes": ["content"]}
    assert paths[0].name == f"upload{suffix}"
    assert not paths[0].parent.exists(), "it is removed with the job"


def test_an_uploaded_file_that_is_gone_is_a_failure_that_is_not_retried(
    run: Run, writer: Recorder
) -> None:
    job = Job(lambda report, path: None, subjects=Upload())
    assert run(job, Options(upload="u1", retries=3), "gone") is Status.FAILED
    assert (outcome(writer)[1] or "").endswith("There is no file 'gone' of u1.")


# Retries


def attempts_of(
    run: Run, errors: list[BaseException], options: Options, calls: list[int]
) -> Status | None:
    def job(report: Reporter, subject: str) -> None:
        calls.append(len(calls) + 1)
        report.total(3)
        report.step(f"attempt {len(calls)}")
        if errors:
            report.metric("Old", 1)
            report.result({"old": 1})
            report.step_failed(f"row of attempt {len(calls)}")
            raise errors.pop(0)

    return run(job, options)


def test_an_error_is_retried_and_what_was_reported_before_is_forgotten(
    run: Run, writer: Recorder
) -> None:
    calls: list[int] = []
    errors: list[BaseException] = [OSError("not\nyet"), ValueError("nor\nnow")]
    errors[-1].add_note("a note")
    assert attempts_of(run, errors, Options(retries=2, retry_delay=0.0), calls) is Status.COMPLETED
    assert calls == [1, 2, 3]
    assert json.loads(writer.results[-1]) == {}, "what page shows of the earlier attempt"
    [(_, progress, error, result)] = writer.outcomes
    assert (error, result) == (None, None)
    assert (progress.current_step, progress.total_steps, progress.failed_steps) == (1, 3, 0)
    assert progress.live == Live(retries=2, retry_reason="ValueError: nor now")


def test_the_last_error_is_the_failure(run: Run, writer: Recorder) -> None:
    calls: list[int] = []
    errors: list[BaseException] = [OSError(f"error {number}") for number in range(9)]
    assert attempts_of(run, errors, Options(retries=2, retry_delay=0.0), calls) is Status.FAILED
    assert calls == [1, 2, 3]
    _, error, result = outcome(writer)
    assert (error or "").startswith("Step 1, attempt 3: row of attempt 3\nTraceback")
    assert (error or "").endswith("OSError: error 2")
    assert "row of attempt 1" not in (error or "")
    assert result == {"old": 1, "metrics": {"Old": 1}}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SystemExit(3), Status.FAILED),
        (KeyboardInterrupt(), Status.FAILED),
        (OperationCancelled(), Status.CANCELLED),
    ],
)
def test_what_is_no_error_is_not_retried(run: Run, error: BaseException, status: Status) -> None:
    calls: list[int] = []
    assert attempts_of(run, [error], Options(retries=5, retry_delay=0.0), calls) is status
    assert calls == [1]


def test_invalid_parameters_are_not_retried(run: Run, writer: Recorder) -> None:
    from tests.jobs import Work, work

    job = Job(work, subjects=None, parameters=Work)
    assert run(job, Options({"rows": 1000}, retries=5)) is Status.FAILED
    assert (outcome(writer)[1] or "").endswith(
        "ParameterErrors: rows: Input should be less than or equal to 100"
    )
    assert writer.outcomes[0][1].live.retries == 0


def test_the_pause_doubles_up_to_a_day(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(
        Reporter, "wait_for_retry", lambda self, error, seconds: pauses.append(seconds)
    )
    calls: list[int] = []
    errors: list[BaseException] = [OSError() for _ in range(1100)]
    attempts_of(run, errors, Options(retries=1100), calls)
    assert len(calls) == 1101
    assert pauses[:4] == [5.0, 10.0, 20.0, 40.0]
    assert pauses[-1] == max(pauses) == MAX_RETRY_DELAY


def test_a_cancel_ends_the_pause(run: Run, writer: Recorder) -> None:
    def job(report: Reporter, subject: str) -> None:
        writer.cancel_requested = True
        raise OSError

    began = time.monotonic()
    assert run(job, Options(retries=1, retry_delay=60.0)) is Status.CANCELLED
    assert time.monotonic() - began < 40


def test_a_job_that_raises_because_it_was_told_to_stop_is_not_retried(
    run: Run, writer: Recorder
) -> None:
    calls: list[bool] = []

    def job(report: Reporter, subject: str) -> None:
        writer.cancel_requested = True
        deadline = time.monotonic() + 60
        while not report.cancelled:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        calls.append(True)
        raise ValueError("while cleaning up")

    assert run(job, Options(retries=5, retry_delay=0.0)) is Status.CANCELLED
    assert calls == [True]


# async def


def test_a_job_may_be_async(run: Run, writer: Recorder) -> None:
    async def job(report: Reporter, subject: str) -> dict[str, Any]:
        for _ in report.track(range(3), "Waiting"):
            await asyncio.sleep(0)
        return {"notes": [subject]}

    assert run(job) is Status.COMPLETED
    assert outcome(writer)[2] == {"notes": ["fast"]}


def test_an_async_job_is_retried_and_cancelled_also_in_its_tasks(
    run: Run, writer: Recorder, clock: Clock
) -> None:
    calls: list[int] = []

    async def part(report: Reporter) -> None:
        for number in range(100):
            clock.now += 1
            report.step(f"step {number}")
            await asyncio.sleep(0)
        pytest.fail("it goes on")

    async def job(report: Reporter, subject: str) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise OSError
        writer.cancel_requested = True
        async with asyncio.TaskGroup() as group:
            group.create_task(part(report))

    assert run(job, Options(retries=1, retry_delay=0.0)) is Status.CANCELLED
    assert calls == [1, 1]


@pytest.mark.parametrize(
    "use",
    [
        lambda report: list(report.track([1], "x")),
        lambda report: report.metric("x", 1),
        lambda report: report.log("x"),
        lambda report: report.result({}),
        lambda report: report.file("x"),
    ],
)
def test_another_process_cannot_use_the_reporter(
    report: Reporter, use: Callable[[Reporter], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    report._loops = 1  # of the process that was forked
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="cannot be used in another process"):
        use(report)


def test_the_writer_gets_lines_of_a_log(writer: Recorder, progress_log: ProgressLog) -> None:
    Reporter(progress_log, PacedWriter(writer, progress_log)).log("x")
    assert isinstance(writer.lines[0], LogLine)


def test_thousands_of_results_are_few_writes_and_the_last_one_is_stored(
    report: Reporter, writer: Recorder, paced: PacedWriter, clock: Clock
) -> None:
    for number in range(1000):
        report.result({"n": number})
    assert [json.loads(text) for text in writer.results] == [{"n": 0}]
    clock.now += reporter.WRITE_INTERVAL
    paced.beat()
    paced.beat()
    assert [json.loads(text) for text in writer.results] == [{"n": 0}, {"n": 999}]
    report.result({"n": 1000})
    paced.finish(Status.FAILED, "an outcome without a result")
    assert json.loads(writer.results[-1]) == {"n": 1000}
    assert len(writer.results) == 3
