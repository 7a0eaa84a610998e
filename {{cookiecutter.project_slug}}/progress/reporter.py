"""A job's side: what it reports, when that is written, and how it ends. No Streamlit here.

`run_job` runs a job of jobs.py. The job calls its `Reporter`, which keeps what it says in a
`ProgressLog`. A `PacedWriter` writes the newest state of the log to the backend: in the job's
thread at a step, and in a thread of its own between the steps.
"""

import importlib
import logging
import math
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn, Protocol, cast

from progress.contract import (
    BackendUnavailable,
    OperationCancelled,
    OperationLost,
    ProgressWriter,
)
from progress.operation import LAST_STEPS, MAX_STEP_DESCRIPTION, Progress, Status, Step
from progress.results import to_json
from progress.text import as_line, safe_repr, sanitize, truncate, truncate_middle

log = logging.getLogger(__name__)

MAX_STEPS = 10**15
"""The highest total: every backend can store it, and a float holds it exactly."""
# A job of 30,000 quick steps must not become 30,000 writes.
WRITE_INTERVAL = 0.2
"""Shortest time in seconds between two writes of progress."""
HEARTBEAT_INTERVAL = 1.0
"""Longest time in seconds between two writes, even if nothing has changed."""
MAX_FAILURE = 2_000
"""Characters of a line about a failure, and of each part of a traceback."""
MAX_FAILURES = 30_000
"""Characters of all lines about failures."""
MAX_TRACEBACK = 15_000
"""Characters of a traceback."""
FINISH_DELAYS = (0.2, 1.0, 5.0, 15.0, 30.0)
"""Seconds between the attempts to write the outcome: it is the write that must not be lost."""
MAX_REFUSALS = 3
"""Attempts to write the outcome to a backend that takes heartbeats: it refuses the outcome."""

OTHER_PROCESS = (
    "`report` cannot be used in another process. Let the function of the process return what it"
    " did, and call `report` in the job."
)


class FailureList:
    """Lines about failures: the first and the last of them, however many there are."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._last: deque[str] = deque()
        self._added = self._first_size = self._last_size = 0

    def add(self, line: str) -> None:
        """Add a line. Once half of the room is taken, it replaces older lines than the first."""
        line = as_line(line, MAX_FAILURE)  # several lines would be counted, and cut, as several
        self._added += 1
        if not self._last and self._first_size + len(line) <= MAX_FAILURES // 2:
            self._first.append(line)
            self._first_size += len(line) + 1
            return
        self._last.append(line)
        self._last_size += len(line) + 1
        while self._last_size > MAX_FAILURES // 2:
            self._last_size -= len(self._last.popleft()) + 1

    def text(self) -> str:
        """Return the lines, and in the middle how many are missing."""
        missing = self._added - len(self._first) - len(self._last)
        middle = [f"… {missing:,} more failures …"] if missing else []
        return "\n".join([*self._first, *middle, *self._last])


class ProgressLog:
    """What a job has reported. A change replaces `progress`, which itself never changes.

    Args:
        on_step: Called with the number and the description of each step that starts.
    """

    def __init__(self, on_step: Callable[[int, str], None] = lambda number, text: None) -> None:
        self.progress = Progress()
        self._on_step = on_step
        self._step_started: float | None = None  # None between two steps
        self._failures = FailureList()
        self._has_failed = False  # the current step
        self._lock = threading.Lock()

    def set_total(self, steps: int) -> None:
        """Set the number of steps, or that of the ended steps if these are more."""
        with self._lock:
            steps = max(steps, self.progress.current_step)
            self.progress = replace(self.progress, total_steps=steps)

    def start_step(self, description: str) -> None:
        """End the current step and start the next."""
        with self._lock:
            ended = self._progress_after_step()
            total = ended.total_steps
            if total is not None:
                # More steps than announced: the bar must not pass its end.
                total = max(total, ended.current_step + 1)
            self.progress = replace(ended, total_steps=total, step_description=description)
            self._step_started, self._has_failed = time.monotonic(), False
            self._on_step(ended.current_step + 1, description)

    def end_step(self) -> None:
        """End the current step."""
        with self._lock:
            self.progress = self._progress_after_step()
            self._step_started = None

    def fail_step(self, reason: str) -> None:
        """Note that the current step failed. It may fail several times, and counts once."""
        with self._lock:
            if self._step_started is None:
                self._failures.add(f"Before the first step: {reason}")
                return
            if not self._has_failed:
                self._has_failed = True
                failed_steps = self.progress.failed_steps + 1
                self.progress = replace(self.progress, failed_steps=failed_steps)
            number, description = self.progress.current_step + 1, self.progress.step_description
            self._failures.add(f"Step {number}, {truncate(description)}: {reason}")

    def failures(self) -> str:
        """Return the lines about the failures, the first and the last; "" if no step failed."""
        with self._lock:
            return self._failures.text()

    def _progress_after_step(self) -> Progress:
        if self._step_started is None:
            return self.progress
        number = self.progress.current_step + 1
        description = self.progress.step_description[:MAX_STEP_DESCRIPTION]
        seconds = round(time.monotonic() - self._step_started, 3)
        step = Step(number, description, seconds, self._has_failed)
        last_steps = (*self.progress.last_steps, step)[-LAST_STEPS:]
        return replace(self.progress, current_step=number, last_steps=last_steps)


class PacedWriter:
    """Writes the newest progress of a log, not too often and not too seldom.

    Args:
        writer: Where the progress goes.
        progress_log: What the job has reported.
        heartbeat: Whether a thread writes between the steps. Without it every step goes to
            `writer`, in the job's thread, and `writer` limits how often it stores something.

    Attributes:
        stop_signal: The exception that must end the job; None while it may go on.
    """

    def __init__(
        self, writer: ProgressWriter, progress_log: ProgressLog, heartbeat: bool = True
    ) -> None:
        self.stop_signal: type[OperationCancelled | OperationLost] | None = None
        self._stored: Progress | None = progress_log.progress  # None if the last write failed
        self._written_at = -float("inf")
        self._writer = writer
        self._log = progress_log
        self._has_heartbeat = heartbeat
        self._lock = threading.Lock()  # one write at a time, so that the newest is the last

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Write now, and keep writing, in a thread, until the block ends."""
        self.write()
        ended = threading.Event()

        def beat_until_ended() -> None:
            while not ended.wait(WRITE_INTERVAL):
                self.beat()

        thread = threading.Thread(target=beat_until_ended, name="heartbeat", daemon=True)
        if self._has_heartbeat:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            if self._has_heartbeat:
                thread.join()

    def beat(self) -> None:
        """Write what has changed since the last write, or a heartbeat if one is due."""
        has_changed = self._log.progress is not self._stored
        if self._is_due(WRITE_INTERVAL if has_changed else HEARTBEAT_INTERVAL):
            self.write()

    def write_change(self) -> None:
        """Write a change, or leave it to the heartbeat if the last write was just now, or failed.

        So while the backend is unavailable only the heartbeat waits for it, and the job goes on.
        """
        is_due = self._stored is not None and self._is_due(WRITE_INTERVAL)
        if is_due or not self._has_heartbeat:
            self.write()

    def check(self) -> None:
        """Bring `stop_signal` up to date within a step: without a heartbeat nothing else does."""
        if not self._has_heartbeat:
            self.beat()

    def write(self) -> None:
        """Write the progress, and learn whether the job must stop."""
        with self._lock:
            progress = self._log.progress
            stored: Progress | None = progress
            try:
                if self._writer.progress(progress) and self.stop_signal is None:
                    self.stop_signal = OperationCancelled
            except OperationLost:
                self.stop_signal = OperationLost
            except Exception as error:
                # Progress is not worth failing the job: the next heartbeat tries again.
                log.warning("Progress could not be stored: %s", error)
                stored = None
            self._stored, self._written_at = stored, time.monotonic()

    def finish(self, status: Status, error: str | None = None, result: str | None = None) -> Status:
        """Store the outcome and return its status: failed if the backend refuses it.

        A backend refuses it if it says so, or takes a heartbeat and is unavailable for the outcome
        (the disk is full), MAX_REFUSALS times.

        Raises:
            BackendUnavailable: The backend was unavailable at each of several attempts.
            Exception: The backend refused the failure, too.
        """
        outcome = (status, self._log.progress, error, result)
        delays, refusals, was_refused = iter(FINISH_DELAYS), 0, False
        while True:
            try:
                self._writer.finish(*outcome)
                return outcome[0]
            except BackendUnavailable as unavailable:
                problem: Exception = unavailable
                # A writer without heartbeats may skip this one, and a lost operation has none.
                self.write()
                has_stored = self._stored is not None and self.stop_signal is not OperationLost
                refusals = refusals + 1 if has_stored and self._has_heartbeat else 0
                if refusals < MAX_REFUSALS:
                    delay = next(delays, None)
                    if delay is None:
                        raise
                    log.warning("The outcome was not stored, next try in %s s: %s", delay, problem)
                    time.sleep(delay)
                    continue
            except Exception as refused:
                problem = refused
            # The same values would be refused again. Better a failure with a reason than an
            # operation that never ends.
            if was_refused:
                raise problem
            refusals, was_refused = 0, True
            log.error("The outcome was refused", exc_info=problem)
            reason = truncate(sanitize(f"The outcome could not be stored: {problem}"))
            outcome = (Status.FAILED, self._stored or Progress(), reason, None)

    def _is_due(self, interval: float) -> bool:
        return time.monotonic() - self._written_at >= interval


class Reporter:
    """What a job calls to report its progress. Threads of the job may share it."""

    def __init__(self, progress_log: ProgressLog, writer: PacedWriter) -> None:
        self._log = progress_log
        self._writer = writer
        self._told_to_stop = False
        self._process = os.getpid()

    def __reduce__(self) -> NoReturn:
        """Refuse to be sent to another process."""
        raise TypeError(OTHER_PROCESS)

    def total(self, steps: int) -> None:
        """Set the number of steps. Call it again when the number changes.

        Raises:
            ValueError: `steps` is not a number from 0 to MAX_STEPS.
        """
        self._check_process()
        try:
            number = math.floor(steps)
        except (TypeError, ValueError, OverflowError):  # text, NaN, infinity
            number = -1
        if not 0 <= number <= MAX_STEPS:
            raise ValueError(
                f"total({safe_repr(steps, 80)}): the number of steps is a whole number"
                f" from 0 to {MAX_STEPS:,}."
            )
        self._log.set_total(number)
        self._writer.write_change()

    def step(self, description: str) -> None:
        """Start the next step; the previous one has ended.

        Raises:
            OperationCancelled: Somebody asked to cancel.
            OperationLost: The operation no longer belongs to this worker.
        """
        self._check_process()
        self._log.start_step(sanitize(str(description)))
        self._writer.write_change()
        if self._writer.stop_signal is not None:
            self._told_to_stop = True
            raise self._writer.stop_signal

    def step_failed(self, reason: BaseException | str) -> None:
        """Report that the current step failed. The job goes on, and will end as partial."""
        self._check_process()
        if isinstance(reason, BaseException):
            # Not the lines before it, the code of a SyntaxError, nor the notes after it.
            lines = traceback.format_exception_only(reason)
            text = next(line for line in lines if not line.startswith(" ")).strip()
        else:
            text = str(reason)
        self._log.fail_step(sanitize(truncate(text, MAX_FAILURE)))

    @property
    def cancelled(self) -> bool:
        """Whether the job must stop: for long loops inside a step. Up to 1 s old.

        A job for which this was True ends as cancelled, whatever it returns or raises.
        Without a heartbeat thread this also writes what has changed.
        """
        self._check_process()
        self._writer.check()
        self._told_to_stop = self._writer.stop_signal is not None
        return self._told_to_stop

    def raise_if_told_to_stop(self) -> None:
        """Raise if `step` has raised, or `cancelled` was True. For `run_job`.

        Raises:
            OperationCancelled: Somebody asked to cancel.
            OperationLost: The operation no longer belongs to this worker.
        """
        if self._told_to_stop and self._writer.stop_signal is not None:
            raise self._writer.stop_signal

    def _check_process(self) -> None:
        # A process that was forked has a copy: no heartbeat, and the file of the database open.
        if os.getpid() != self._process:
            raise RuntimeError(OTHER_PROCESS)


Job = Callable[[Reporter, str], dict[str, Any] | None]
"""A function of jobs.py: it does the work for one subject, and returns what the page shows."""


class JobsModule(Protocol):
    """What jobs.py contains."""

    JOBS: dict[str, Job]

    def subjects(self) -> list[str]:
        """Return the subjects that the page offers."""


def jobs_module() -> JobsModule:
    """Return jobs.py, or the module that JOBS_MODULE names: the tests have their own jobs."""
    return cast(JobsModule, importlib.import_module(os.environ.get("JOBS_MODULE", "jobs")))


def run_job(
    name: str,
    subject: str,
    writer: ProgressWriter,
    heartbeat: bool = True,
    on_step: Callable[[int, str], None] = lambda number, text: None,
) -> Status | None:
    """Run a job to its end and store the outcome, whatever it is.

    Args:
        name: The job, a key of `JOBS`.
        subject: What the job works on.
        writer: Where its progress goes.
        heartbeat: Whether a thread writes between the steps: see `PacedWriter`.
        on_step: See `ProgressLog`. It is called without a delay, also if the writer is unavailable.

    Returns:
        The terminal status; None if the operation no longer belongs to this worker.
    """
    progress_log = ProgressLog(on_step)
    paced_writer = PacedWriter(writer, progress_log, heartbeat)
    report = Reporter(progress_log, paced_writer)
    result: str | None = None
    problem: str | None = None
    try:
        with paced_writer.heartbeat():
            jobs = jobs_module().JOBS
            if name not in jobs:
                raise LookupError(f"There is no job {name!r}; the jobs are {', '.join(jobs)}.")
            try:
                # It may have been cancelled while it was queued.
                value = None if report.cancelled else jobs[name](report, subject)
            finally:
                # A job may catch what `step` raises, and then return or raise anything.
                report.raise_if_told_to_stop()
            if value is not None:
                result, problem = to_json(value)
    except OperationCancelled as cancelled:
        if isinstance(cancelled.__context__, Exception):
            log.warning("The cancelled job ended with an error.", exc_info=cancelled.__context__)
        return paced_writer.finish(Status.CANCELLED, progress_log.failures() or None)
    except OperationLost:
        log.warning("The operation no longer belongs to this worker: the job stops.")
        return None
    except BaseException as error:
        # Also SystemExit and panics of native libraries: every operation needs an outcome.
        problem = _traceback(error)
    failures = progress_log.failures()
    if problem is not None:
        return paced_writer.finish(
            Status.FAILED, "\n".join(filter(None, (failures, problem))), result
        )
    progress_log.end_step()
    if failures:
        return paced_writer.finish(Status.PARTIAL, failures, result)
    return paced_writer.finish(Status.COMPLETED, result=result)


def _traceback(error: BaseException) -> str:
    # Each part is a frame or a message. Of a long message the beginning is kept.
    parts = (truncate(part.rstrip(), MAX_FAILURE) for part in traceback.format_exception(error))
    return truncate_middle(sanitize("\n".join(parts)), MAX_TRACEBACK)
