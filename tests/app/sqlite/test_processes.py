"""How the process of a job ends: the reason that is stored, and its output."""

import ctypes
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from progress import reporter
from progress.backend import runner
from progress.backend import store as store_module
from progress.backend.runner import Runner
from progress.backend.store import OperationStore
from progress.job import Job, Jobs, Upload
from progress.operation import Operation, Options, Status, new_operation_id
from progress.reporter import Reporter
from tests.app.test_supervisor import is_ending
from tests.test_sqlite import insert, is_running, read, wait_for_end


def end_by_signal(report: Reporter, subject: str) -> None:
    print("half done")
    os.kill(os.getpid(), int(subject))
    while True:  # SIGTERM ends it at its next step
        report.step("next")
        time.sleep(0.1)


def end_in_a_step(report: Reporter, subject: str) -> None:
    report.step("a step with a long description" * 100)
    for number in range(2, 100):
        report.step(f"step {number} of {subject}")
    os.kill(os.getpid(), 9)


def end_by_exit(report: Reporter, subject: str) -> None:
    report.step_failed("no such row")
    print("half done")
    os._exit(int(subject))


def crash(report: Reporter, subject: str) -> None:
    print("half done")
    ctypes.string_at(0)


def sleep_for_ever(report: Reporter, subject: str) -> None:
    report.step("asleep")
    time.sleep(600)


def hold_the_interpreter(report: Reporter, subject: str) -> None:
    report.step("in C")
    time.sleep(2)  # the step is stored
    re.match(r"(a+)+$", "a" * 60 + "b")


def print_any_text(report: Reporter, subject: str) -> None:
    print("→ ✅ \udce9")


def print_nothing(report: Reporter, subject: str) -> None:
    pass


def fill_the_disk(report: Reporter, subject: str) -> dict[str, Any]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    return {"notes": ["x" * 1_000_000]}


def raise_or_die(report: Reporter, subject: str) -> None:
    """Note each run in a file. Raise in every odd one, and end the process in the others."""
    with Path(subject).open("a") as runs:
        runs.write("run\n")
    if Path(subject).read_text().count("run") % 2:
        raise ValueError("odd")
    os._exit(7)


def die_with_upload(report: Reporter, subject: Path) -> None:
    print(subject)
    os.kill(os.getpid(), 9)


def leave_a_child(report: Reporter, subject: str) -> None:
    print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)
    report.step("a child runs")
    while subject == "cancelled":
        report.step("next")
        time.sleep(0.05)
    assert subject == "completed"


def never_stored(report: Reporter, subject: str) -> None:
    """Note each run in a file, and end. The writer of the outcome gives up soon."""
    with Path(subject).open("a") as runs:
        runs.write("run\n")
    time.sleep(3)
    setattr(reporter, "FINISH_DELAYS", ())  # noqa: B010  (its type has five numbers)
    store_module.BUSY_TIMEOUT = 0.2


JOBS: Jobs = {
    "end_by_signal": end_by_signal,
    "end_by_exit": end_by_exit,
    "end_in_a_step": end_in_a_step,
    "crash": crash,
    "sleep_for_ever": sleep_for_ever,
    "hold_the_interpreter": hold_the_interpreter,
    "print_any_text": print_any_text,
    "print_nothing": print_nothing,
    "die_with_upload": Job(die_with_upload, subjects=Upload()),
    "leave_a_child": leave_a_child,
    "never_stored": never_stored,
    "raise_or_die": raise_or_die,
    "fill_the_disk": fill_the_disk,
}

Run = Callable[..., Operation]


@pytest.fixture
def run(store: OperationStore, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs a job of this file in a process and returns how it ended.

    The runner is a thread of the test, so that it may break its parts.
    """
    monkeypatch.setenv("JOBS_MODULE", __name__)
    thread = threading.Thread(target=Runner(store, 2).work, daemon=True)

    def run_and_wait(job: str, subject: str = "") -> Operation:
        operation_id = insert(store, job, subject)
        if not thread.is_alive():
            thread.start()
        return wait_for_end(store, operation_id)

    return run_and_wait


@pytest.mark.parametrize(
    ("job", "subject", "ending"),
    [
        ("end_by_signal", "9", "was killed by SIGKILL, probably because memory ran out"),
        ("end_by_signal", "15", "was killed by SIGTERM"),
        ("end_by_signal", "6", "was killed by SIGABRT"),
        ("end_by_exit", "3", "ended with exit code 3"),
        ("end_by_exit", "0", "ended with exit code 0"),
        ("crash", "", "was killed by SIGSEGV"),
    ],
)
def test_the_reason_is_how_the_process_ended_with_its_last_output(
    run: Run, job: str, subject: str, ending: str
) -> None:
    operation = run(job, subject)
    assert operation.status is Status.FAILED
    assert operation.reason == f"The process of the job {ending}."
    assert operation.error is not None
    assert "\n    half done\n" in operation.error
    if job == "crash":
        assert "in string_at" in operation.error, "the traceback of faulthandler"
    if job == "end_by_exit":
        assert "Before the first step: no such row" in operation.error


def test_the_last_step_is_known_however_soon_the_process_dies(run: Run) -> None:
    operation = run("end_in_a_step", "é" * 600)
    assert operation.reason is not None
    assert operation.reason.startswith("The process of the job was killed by SIGKILL")
    assert operation.current_step == 98
    assert operation.step_description.startswith("step 99 of éé")


@pytest.mark.parametrize("job", ["sleep_for_ever", "hold_the_interpreter"])
def test_a_job_that_does_not_stop_is_cancelling_until_it_is_stopped_by_force(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    monkeypatch.setenv("JOBS_MODULE", __name__)
    monkeypatch.setattr(runner, "HEARTBEAT_TIMEOUT", 0.3)
    monkeypatch.setattr("progress.supervisor.STOP_TIMEOUT", 0.5)
    operation_id = insert(store, job)
    threading.Thread(target=Runner(store, 1).work, daemon=True).start()
    deadline = time.monotonic() + 20
    while not read(store, operation_id).step_description:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    store.request_cancel(operation_id)
    time.sleep(1.5)
    assert read(store, operation_id).is_cancelling, "its process lives"
    store.request_force_stop(operation_id)
    operation = wait_for_end(store, operation_id)
    assert operation.status is Status.CANCELLED
    assert operation.reason == "The process of the job was stopped by force."
    assert operation.step_description in ("asleep", "in C")


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_what_a_job_started_goes_on_only_if_the_job_ended_well(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch, status: Status
) -> None:
    monkeypatch.setenv("JOBS_MODULE", __name__)
    operation_id = insert(store, "leave_a_child", status.value)
    threading.Thread(target=Runner(store, 1).work, daemon=True).start()
    deadline = time.monotonic() + 20
    while not (lines := store.files.log(operation_id).read(1).lines):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if status is Status.CANCELLED:
        store.request_cancel(operation_id)
    assert wait_for_end(store, operation_id).status is status
    child = int(lines[0].text)
    if status is Status.COMPLETED:
        time.sleep(1)
        assert is_running(child)
        os.kill(child, signal.SIGKILL)
    assert is_ending(child)


def test_the_copy_of_an_upload_is_removed_although_its_job_was_killed(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS_MODULE", __name__)
    operation_id = new_operation_id()
    store.files.save(operation_id, "a.csv", b"x")
    options = Options(upload=operation_id)
    store.insert(operation_id, "die_with_upload", "a.csv", "", options=options)
    threading.Thread(target=Runner(store, 1).work, daemon=True).start()
    wait_for_end(store, operation_id)
    [line] = store.files.log(operation_id).read(1).lines
    assert line.text.endswith("upload.csv")
    assert not Path(line.text).exists()


def test_a_process_that_cannot_be_started_is_the_reason(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    operation = run("print_nothing")
    assert operation.status is Status.FAILED
    assert operation.reason == (
        "The process of the job could not be started: No such file or directory."
    )


def test_a_process_that_fails_before_the_job_begins_fails_the_operation(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("progress.supervisor.ROOT", tmp_path)  # has no `progress`
    operation = run("print_nothing")
    assert operation.reason == "The process of the job ended with exit code 1."
    assert operation.error is not None
    assert "No module named" in operation.error


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
    ],
)
def test_a_job_may_print_any_text_whatever_the_locale(
    store: OperationStore, run: Run, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    operation = run("print_any_text")
    assert (operation.status, operation.error) == (Status.COMPLETED, None)
    deadline = time.monotonic() + 30
    while not (lines := store.files.log(operation.operation_id).read(10).lines):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [line.text for line in lines] == ["→ ✅ \\udce9"]


def test_a_job_that_prints_nothing_has_no_log(store: OperationStore, run: Run) -> None:
    operation = run("print_nothing")
    assert store.files.logs([operation.operation_id], 10) == {}
    assert not list(store.files.folder.glob("*.log"))


def test_an_outcome_that_a_full_disk_cannot_hold_is_a_failure_with_the_reason(run: Run) -> None:
    began = time.monotonic()
    operation = run("fill_the_disk")
    assert time.monotonic() - began < 40
    assert operation.status is Status.FAILED
    assert operation.reason is not None
    assert operation.reason.startswith("The outcome could not be stored: progress.db: ")


def test_an_outcome_that_cannot_be_stored_fails_as_soon_as_that_can_be_stored(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JOBS_MODULE", __name__)
    runs, operation_id = tmp_path / "runs", new_operation_id()
    options = Options(retries=3, retry_delay=0.0)
    store.insert(operation_id, "never_stored", str(runs), "", options=options)
    threading.Thread(target=Runner(store, 1).work, daemon=True).start()
    deadline = time.monotonic() + 20
    while not runs.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else can write
        time.sleep(14)
        other.execute("COMMIT")
    operation = wait_for_end(store, operation_id)
    assert (operation.status, operation.attempt) == (Status.FAILED, 1)
    assert (operation.reason or "").startswith("The outcome could not be stored: ")
    assert runs.read_text() == "run\n"


def test_retries_within_a_process_and_of_a_process_count_together(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JOBS_MODULE", __name__)
    runs, operation_id = tmp_path / "runs", new_operation_id()
    options = Options(retries=2, retry_delay=0.0)
    store.insert(operation_id, "raise_or_die", str(runs), "", options=options)
    threading.Thread(target=Runner(store, 1).work, daemon=True).start()
    operation = wait_for_end(store, operation_id)
    assert runs.read_text() == "run\n" * 3
    assert (operation.reason, operation.attempts) == ("ValueError: odd", 3)
    assert operation.live.retry_reason == "The process of the job ended with exit code 7."


def test_a_job_whose_process_died_waits_for_its_retry_and_the_runner_with_it(
    store: OperationStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JOBS_MODULE", __name__)
    monkeypatch.setattr(runner, "IDLE_TIMEOUT", 0.4)
    runs, operation_id = tmp_path / "runs", new_operation_id()
    runs.write_text("run\n")
    options = Options(retries=1, retry_delay=2.0)
    store.insert(operation_id, "raise_or_die", str(runs), "", options=options)
    threading.Thread(target=Runner(store, 1).work, daemon=True).start()
    deadline = time.monotonic() + 20
    while not read(store, operation_id).live.retry_reason:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    began = time.monotonic()
    operation = wait_for_end(store, operation_id)
    assert time.monotonic() - began > 1.8
    assert (operation.reason, operation.attempt) == ("ValueError: odd", 2)
