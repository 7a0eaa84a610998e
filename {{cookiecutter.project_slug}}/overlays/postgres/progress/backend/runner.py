"""A worker: takes operations from the queue and runs their jobs.

Start as many as you like, on any number of hosts: `make worker`. SIGTERM makes a worker give its
jobs back to the queue, at their next step, and end.

WORKER_CONCURRENCY (default 1) is how many jobs it runs at a time, each in a thread: more is for
jobs that wait for others most of the time. A job that kills its worker takes its neighbours along.
WORKER_LOST_AFTER (default 30) is after how many seconds without a sign of life a worker counts as
lost, and its jobs go to others. The same value for all workers.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import psycopg
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException, JobAborted
from procrastinate.jobs import Job
from procrastinate.jobs import Status as JobStatus

from progress.backend.database import (
    OperationWriter,
    Pool,
    begin,
    execute,
    open_pool,
    required_dsn,
    with_limits,
)
from progress.contract import BackendError, BackendRejected, BackendUnavailable
from progress.operation import Status
from progress.reporter import run_job

log = logging.getLogger("worker")

QUEUE = "operations"
PICK_UP_EVERY = 0.2
"""Seconds between two looks into the queue.

Not LISTEN/NOTIFY: the worker would end its jobs when the listening connection breaks.
"""
MAX_ATTEMPTS = 3
"""How often an operation is begun before it is declared failed."""
LOST = f"The worker was lost while it ran the job, {MAX_ATTEMPTS} times."
OUTAGE = 600.0
"""Seconds that a worker waits for a database that is away before it starts anew."""

stopping = threading.Event()
"""Set when this worker is to end."""


class GivenBack(Exception):
    """The worker ends before the job does: another one is to run it."""


class RunAgain(BaseRetryStrategy):
    """Jobs go back to the queue when their worker ends, or could not store the outcome."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return when to run the job again, or None to let it end."""
        unstored = isinstance(exception, BackendUnavailable) and job.attempts < MAX_ATTEMPTS
        if unstored or isinstance(exception, GivenBack):
            return RetryDecision(retry_in={"seconds": 0})
        return None


app = App(connector=PsycopgConnector())  # `work` gives it the configured database


@app.task(name="run_operation", queue=QUEUE, pass_context=True, retry=RunAgain())
def run_operation(context: JobContext, operation_id: str) -> None:
    """Run the job of an operation, unless it has ended or belongs to another job by now."""
    assert context.job.id is not None
    pool: Pool = context.additional_context["pool"]
    taken = begin(pool, operation_id, context.job.id)
    if taken is None:
        return
    job, subject, attempt = taken
    writer = OperationWriter(pool, operation_id, attempt, stopping.is_set)
    status = run_job(job, subject, writer)
    if status is None and stopping.is_set():
        writer.give_back()
        raise GivenBack
    if status is Status.CANCELLED:
        raise JobAborted


async def recover_forever(pool: Pool, lost_after: float) -> None:
    """Give the operations of lost workers to others, in every worker, for as long as it runs.

    A task of the queue would wait behind long jobs; here it does not.
    """
    wait = lost_after / 3
    while True:
        await asyncio.sleep(wait)
        wait = lost_after / 3
        began = time.monotonic()
        try:
            stalled = await app.job_manager.get_stalled_jobs(
                queue=QUEUE, seconds_since_heartbeat=lost_after
            )
            if time.monotonic() - began > 1:
                # The database was away, so everybody's last sign of life is old.
                wait = lost_after
                continue
            for job in stalled:
                assert job.id is not None
                log.warning("The worker of job %s is lost", job.id)
                await asyncio.to_thread(recover, pool, job.id)
                await app.job_manager.finish_job_by_id_async(
                    job_id=job.id, status=JobStatus.FAILED, delete_job=False
                )
            for queue_job in await asyncio.to_thread(ended_jobs, pool):
                log.warning("Job %s ended without a word about its operation", queue_job)
                await asyncio.to_thread(recover, pool, queue_job)
        except (BackendError, ConnectorException) as error:
            log.warning("No look for lost workers for %s s: %s", lost_after, error)
            wait = lost_after


def ended_jobs(pool: Pool) -> list[int]:
    """Return the jobs that are no longer in the queue while their operations have not ended.

    That is certain: the end of an operation is stored before the end of its job.
    """
    rows = execute(
        pool,
        "SELECT queue_job FROM operations LEFT JOIN procrastinate_jobs ON id = queue_job"
        " WHERE operations.status IN ('queued', 'in_progress')"
        " AND coalesce(procrastinate_jobs.status NOT IN ('todo', 'doing'), true)",
        {},
    )
    return [row["queue_job"] for row in rows]


def recover(pool: Pool, queue_job: int) -> None:
    """Give the operation of a lost job to a new one, up to the limit."""
    execute(
        pool,
        "SELECT recover_operation(%(queue_job)s, %(max_attempts)s, %(error)s)",
        {"queue_job": queue_job, "max_attempts": MAX_ATTEMPTS, "error": LOST},
    )


async def work(dsn: str, concurrency: int, lost_after: float) -> None:
    """Take jobs until a signal comes, however often the database goes away."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(concurrency + 2))
    this = asyncio.current_task()
    assert this is not None
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop, this)
    with closing(open_pool(dsn, concurrency + 1)) as pool:
        while not stopping.is_set():
            try:
                await asyncio.to_thread(execute, pool, "SELECT 1", {})
                connector = PsycopgConnector(conninfo=with_limits(dsn), timeout=OUTAGE)
                with app.replace_connector(connector):
                    async with app.open_async():
                        await take_jobs(pool, concurrency, lost_after)
            except (BackendError, ConnectorException, psycopg.OperationalError) as error:
                log.warning("The database is away, next try in 2 s: %s", error.__cause__ or error)
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(2)
            except asyncio.CancelledError:
                return  # `stop` asked for it.


async def take_jobs(pool: Pool, concurrency: int, lost_after: float) -> None:
    """Take jobs until cancelled, or until the database is away for too long."""
    recovery = asyncio.create_task(recover_forever(pool, lost_after))
    print("worker: ready", flush=True)
    try:
        await app.run_worker_async(
            queues=[QUEUE],
            concurrency=concurrency,
            additional_context={"pool": pool},
            listen_notify=False,
            fetch_job_polling_interval=PICK_UP_EVERY,
            update_heartbeat_interval=lost_after / 5,
            stalled_worker_timeout=lost_after,
            delete_jobs="successful",
            install_signal_handlers=False,
        )
    finally:
        recovery.cancel()


def stop(task: "asyncio.Task[None]") -> None:
    """End the worker once its jobs have given themselves back."""
    if not stopping.is_set():
        stopping.set()
        task.cancel()


def main() -> str | None:
    """Work until a signal comes; return what stood in the way, in one line."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level="INFO")
    try:
        concurrency = number("WORKER_CONCURRENCY", 1, 1, 100)
        lost_after = number("WORKER_LOST_AFTER", 30, 1, 3600)
        dsn = required_dsn()
    except (ValueError, BackendRejected) as error:
        return str(error)
    asyncio.run(work(dsn, concurrency, lost_after))
    return None


def number(name: str, default: int, least: int, most: int) -> int:
    """Return the number that a variable holds.

    Raises:
        ValueError: It holds none, or one that is out of range.
    """
    value = os.environ.get(name) or str(default)
    if not value.isdecimal() or not least <= int(value) <= most:
        raise ValueError(f"{name}={value} is not a number from {least} to {most}.")
    return int(value)


if __name__ == "__main__":
    sys.exit(main())
