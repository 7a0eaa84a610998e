"""Runs a job of jobs.py to its end, and stores its outcome. No Streamlit here."""

import asyncio
import importlib
import inspect
import logging
import os
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, cast

from progress.contract import OperationCancelled, OperationLost, ProgressWriter
from progress.job import Jobs, Upload, as_job
from progress.operation import NO_LIVE, NO_OPTIONS, Live, Options, Status
from progress.reporter import MAX_FAILURE, PacedWriter, ProgressLog, Reporter
from progress.text import sanitize, truncate, truncate_middle

log = logging.getLogger(__name__)

MAX_TRACEBACK = 15_000
"""Characters of a traceback."""


class JobsModule(Protocol):
    """What jobs.py contains."""

    JOBS: Jobs

    def subjects(self) -> list[str]:
        """Return the subjects of the jobs that do not declare their own."""


def jobs_module() -> JobsModule:
    """Return jobs.py, or the module that JOBS_MODULE names: the tests have their own jobs."""
    return cast(JobsModule, importlib.import_module(os.environ.get("JOBS_MODULE", "jobs")))


def run_job(
    name: str,
    subject: str,
    writer: ProgressWriter,
    heartbeat: bool = True,
    options: Options = NO_OPTIONS,
    on_step: Callable[[int, str], None] = lambda number, text: None,
    on_end: Callable[[], None] = lambda: None,
    calls: int = 0,
    live: Live = NO_LIVE,
) -> Status | None:
    """Run a job to its end and store the outcome, whatever it is.

    Args:
        name: The job, a key of `JOBS`.
        subject: What the job works on.
        writer: Where its progress goes.
        heartbeat: Whether a thread writes between the steps: see `PacedWriter`.
        options: Its parameters, and how often it is retried.
        on_step: See `ProgressLog`. It is called without a delay, also if the writer is unavailable.
        on_end: Called before the outcome is stored.
        calls: How often processes that died have called the job's function: each was a try.
        live: The retries that they stored.

    Returns:
        The terminal status; None if the operation no longer belongs to this worker.
    """
    progress_log = ProgressLog(on_step, live)
    paced_writer = PacedWriter(writer, progress_log, heartbeat)
    report = Reporter(progress_log, paced_writer)
    status, result, problem = Status.COMPLETED, None, None
    try:
        with paced_writer.heartbeat():
            try:
                # It may have been cancelled while it was queued.
                value = None if report.cancelled else _call(report, name, subject, options, calls)
            finally:
                # A job may catch what `step` raises, and then return or raise anything.
                report.raise_if_told_to_stop()
            result, problem = report.outcome(value)
    except OperationCancelled as cancelled:
        if isinstance(cancelled.__context__, Exception):
            log.warning("The cancelled job ended with an error.", exc_info=cancelled.__context__)
        status, (result, _) = Status.CANCELLED, report.outcome(None)
    except OperationLost:
        log.warning("The operation no longer belongs to this worker: the job stops.")
        return None
    except BaseException as error:
        # Also SystemExit and panics of native libraries: every operation needs an outcome.
        problem = _traceback(error)
        with suppress(Exception):  # the traceback is worth more
            result, _ = report.outcome(None)
    failures = progress_log.failures()
    if problem is not None:
        status = Status.FAILED
    elif status == Status.COMPLETED:
        progress_log.end_step()
        status = Status.PARTIAL if failures else Status.COMPLETED
    on_end()
    reason = "\n".join(filter(None, (failures, problem))) or None
    return paced_writer.finish(status, reason, result)


def _call(report: Reporter, name: str, subject: str, options: Options, calls: int) -> object:
    """Call the function of a job, again if it raises and may be retried; return what it returns."""
    jobs = jobs_module().JOBS
    if name not in jobs:
        raise LookupError(f"There is no job {name!r}; the jobs are {', '.join(jobs)}.")
    job = as_job(jobs[name])
    parameters = job.validate(options.parameters)
    with tempfile.TemporaryDirectory(prefix="job-", dir=os.environ.get("JOB_FOLDER")) as folder:
        work_on: object = subject
        if isinstance(job.subjects, Upload):
            work_on = report.uploaded(options.upload, subject, Path(folder))
        arguments = job.arguments(report, work_on, parameters)
        for retry in range(calls, options.retries):
            try:
                return _await(job.function(*arguments))
            except Exception as error:
                log.warning("The job is retried.", exc_info=error)
                report.wait_for_retry(error, options.delay(retry))
        return _await(job.function(*arguments))


def _await(value: object) -> object:
    """Return the value, or that of the coroutine that an `async def` returned."""
    return asyncio.run(value) if inspect.iscoroutine(value) else value


def _traceback(error: BaseException) -> str:
    # Each part is a frame or a message. Of a long message the beginning is kept.
    parts = (truncate(part.rstrip(), MAX_FAILURE) for part in traceback.format_exception(error))
    return truncate_middle(sanitize("\n".join(parts)), MAX_TRACEBACK)
