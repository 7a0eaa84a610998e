"""A job's side: steps, heartbeat, cancel check, outcome. No Streamlit here."""

import importlib
import json
import logging
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, cast

from progress.contract import (
    BackendRejected,
    BackendUnavailable,
    OperationCancelled,
    OperationLost,
    ProgressWriter,
)
from progress.operation import LAST_STEPS, MAX_STEP_DESCRIPTION, Progress, Status, Step
from progress.text import sanitize

log = logging.getLogger(__name__)

# A job of 30,000 quick steps must not become 30,000 writes.
WRITE_INTERVAL = 0.2
"""Least seconds between two writes of progress."""
HEARTBEAT_INTERVAL = 1.0
"""Most seconds between two writes, whether or not anything moved."""
FINISH_DELAYS = (0.2, 1.0, 5.0, 15.0, 30.0)
"""Seconds between the tries to write the outcome: it is the one write that must not be lost."""


class Reporter:
    """What a job calls to say how far it is. Safe to share between threads of the job.

    Args:
        writer: Where the progress goes.
        clock: Seconds, for the pace of the writes and how long the steps take.
        heartbeat: Whether a thread writes between the steps. Without it every step goes to the
            writer, in the thread of the job; the pace is then the writer's to keep.
    """

    def __init__(
        self,
        writer: ProgressWriter,
        clock: Callable[[], float] = time.monotonic,
        heartbeat: bool = True,
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._heartbeat = heartbeat
        self._lock = threading.Lock()  # around what the job says, never held while storing it
        self._write_lock = threading.Lock()
        self._current = 0
        self._total: int | None = None
        self._description = ""
        self._in_step = False
        self._step_began = 0.0
        self._last_steps: deque[Step] = deque(maxlen=LAST_STEPS)
        self._failures: list[str] = []
        self._failed: set[int] = set()
        self._cancelled = False
        self._lost = False
        self._told_to_stop = False
        self._away = False
        self._moved = False
        self._written_at = -float("inf")
        self._done = threading.Event()
        self._heart = threading.Thread(target=self._beat_until_done, name="heartbeat", daemon=True)

    def total(self, steps: int) -> None:
        """Say how many steps there will be. It may be called again when it turns out otherwise.

        Raises:
            ValueError: `steps` is below 1.
        """
        if steps < 1:
            raise ValueError(f"total({steps!r}): a job has at least 1 step.")
        with self._lock:
            self._total = int(steps)
            self._moved = True
        self._write_if_due()

    def step(self, description: str) -> None:
        """Begin the next step; the one before it has ended.

        Raises:
            OperationCancelled: Somebody asked to cancel.
            OperationLost: The operation is no longer this worker's.
        """
        with self._lock:
            self._end_step()
            self._in_step = True
            self._step_began = self._clock()
            self._description = sanitize(str(description))
            if self._total is not None:
                # More steps than announced: the bar must not pass its end.
                self._total = max(self._total, self._current + 1)
            self._moved = True
        self._write_if_due()
        if self._lost:
            raise OperationLost
        if self._cancelled:
            raise OperationCancelled

    def step_failed(self, reason: BaseException | str) -> None:
        """Say that the step at hand failed, while the job goes on: it will end as partial."""
        with self._lock:
            text = str(reason)
            if isinstance(reason, BaseException):
                text = traceback.format_exception_only(reason)[-1].strip()
            line = f"Step {self._current + 1}, {self._description}: {text}"
            self._failures.append(sanitize(line))
            self._failed.add(self._current)
            self._moved = True

    @property
    def cancelled(self) -> bool:
        """Whether the job is to stop: for long loops inside one step. Up to 1 s old.

        A job that returns after this was True has not completed, whatever it returns.
        """
        if not self._heartbeat:
            self.beat()  # Nobody else asks, nor writes what the writer's pace left out.
        self._told_to_stop |= self._cancelled or self._lost
        return self._told_to_stop

    def settle(self) -> None:
        """Raise, if the job returned only because `cancelled` told it to stop.

        Raises:
            OperationCancelled: Somebody asked to cancel.
            OperationLost: The operation is no longer this worker's.
        """
        if self._told_to_stop:
            raise OperationLost if self._lost else OperationCancelled

    def beat(self) -> None:
        """Write what has moved since the last write, or a sign of life if one is due."""
        due = HEARTBEAT_INTERVAL if not self._moved else WRITE_INTERVAL
        if self._clock() - self._written_at >= due:
            self._write()

    def finish(self, status: Status, error: str | None = None, result: str | None = None) -> Status:
        """Store the outcome, trying for a while if the backend is away, and return it.

        Raises:
            BackendUnavailable: It was away all the time.
            BackendRejected: It refused this outcome, and even the bare fact that it did.
        """
        self._stop_heart()
        if status is Status.COMPLETED:
            self._end_step()
            if self._failures:
                status, error = Status.PARTIAL, "\n".join(self._failures)
        for delay in (*FINISH_DELAYS, None):
            try:
                self._writer.finish(status, self._progress(), error, result)
                break
            except BackendRejected as problem:
                # Better a failure that says why than an operation without an end.
                status, error = Status.FAILED, f"The outcome could not be stored: {problem}"
                self._writer.finish(status, Progress(), error, None)
                break
            except BackendUnavailable as problem:
                if delay is None:
                    raise
                log.warning("The outcome could not be stored, next try in %s s: %s", delay, problem)
                time.sleep(delay)
        return status

    def __enter__(self) -> Self:
        self._write()
        if self._heartbeat:
            self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop_heart()

    def _progress(self) -> Progress:
        return Progress(
            self._current,
            self._total,
            len(self._failed),
            self._description,
            tuple(self._last_steps),
        )

    def _end_step(self) -> None:
        if not self._in_step:
            return
        failed = self._current in self._failed
        seconds = round(self._clock() - self._step_began, 3)
        description = self._description[:MAX_STEP_DESCRIPTION]
        self._current += 1
        self._in_step = False
        self._last_steps.append(Step(self._current, description, seconds, failed))

    def _write_if_due(self) -> None:
        # While the backend is away, only the heartbeat waits for it: the work goes on.
        due = not self._away and self._clock() - self._written_at >= WRITE_INTERVAL
        if due or not self._heartbeat:
            self._write()

    def _write(self) -> None:
        with self._write_lock:
            with self._lock:
                progress = self._progress()
                self._moved = False
            try:
                self._cancelled |= self._writer.progress(progress)
                self._away = False
            except OperationLost:
                self._lost = True
            except Exception as problem:
                # Progress is not worth failing the work: the next heartbeat tries again.
                log.warning("Progress could not be stored: %s", problem)
                self._moved = self._away = True
            self._written_at = self._clock()

    def _beat_until_done(self) -> None:
        while not self._done.wait(WRITE_INTERVAL):
            self.beat()

    def _stop_heart(self) -> None:
        self._done.set()
        if self._heart.is_alive():
            self._heart.join()


Job = Callable[[Reporter, str], dict[str, Any] | None]
"""The user's function that does the work for one subject, and returns what the page shows."""


class JobsModule(Protocol):
    """What jobs.py holds."""

    JOBS: dict[str, Job]

    def subjects(self) -> list[str]:
        """Return what the page offers to work on."""


def jobs_module() -> JobsModule:
    """Return jobs.py, or the module that JOBS_MODULE names: the tests bring jobs of their own."""
    return cast(JobsModule, importlib.import_module(os.environ.get("JOBS_MODULE", "jobs")))


def run_job(
    name: str, subject: str, writer: ProgressWriter, heartbeat: bool = True
) -> Status | None:
    """Run a job to its end and store the outcome, whatever it is.

    Args:
        name: The job, one of `JOBS`.
        subject: What it works on.
        writer: Where its progress goes.
        heartbeat: Whether a thread writes between the steps: see `Reporter`.

    Returns:
        The terminal status, or None if the operation is no longer this worker's.
    """
    with Reporter(writer, heartbeat=heartbeat) as report:
        try:
            jobs = jobs_module().JOBS
            if name not in jobs:
                raise LookupError(f"There is no job {name!r}; the jobs are {', '.join(jobs)}.")
            value = jobs[name](report, subject)
            report.settle()
            result = _as_json(name, value)
        except OperationCancelled:
            return report.finish(Status.CANCELLED)
        except OperationLost:
            log.warning("The operation is no longer this worker's: stopping.")
            return None
        except BaseException:
            # SystemExit and the panics of native libraries, too: an operation needs an end.
            return report.finish(Status.FAILED, error=sanitize(traceback.format_exc()))
        return report.finish(Status.COMPLETED, result=result)


def _as_json(name: str, result: dict[str, Any] | None) -> str | None:
    if result is None:
        return None
    if not isinstance(result, dict):
        raise TypeError(f"The job {name!r} returned {type(result).__name__}; return a dict.")
    try:
        return sanitize(json.dumps(result, allow_nan=False, ensure_ascii=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"The job {name!r} returned what JSON cannot hold: {error}.") from None
