"""A worker: takes operations from the queue and runs their jobs. `make worker` starts one.

Start any number of workers, on any number of hosts. On SIGTERM a worker requeues its jobs at their
next step, and ends.

WORKER_CONCURRENCY (default 1) is the number of jobs that run at the same time, each in a thread.
Raise it for jobs that mostly wait. A job that crashes its worker also ends the other jobs in it.
WORKER_STALE_AFTER (default 30) is the number of seconds without a heartbeat after which a worker is
stale, and its jobs are requeued. Use the same value for all workers.
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

from progress.backend import store
from progress.backend.database import Pool, QueuePool, execute, open_pool, required_dsn, with_limits
from progress.contract import BackendError, BackendRejected, BackendUnavailable
from progress.operation import Status
from progress.reporter import run_job

log = logging.getLogger("worker")

QUEUE = "operations"
QUEUE_POLL_INTERVAL = 0.2
"""Seconds between two polls of the queue.

Not LISTEN/NOTIFY: the worker would end its jobs when the listening connection breaks.
"""
RECONNECT_TIMEOUT = 600.0
"""Seconds that the queue waits for an unreachable database before the worker starts over."""

stopping = threading.Event()
"""Set when this worker must stop."""


class Requeue(Exception):
    """The worker stops before the job ends: another worker must run it."""


class RequeueStrategy(BaseRetryStrategy):
    """Requeue a job when its worker stops, or when its outcome could not be stored."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return when to run the job again, or None to let it end."""
        not_stored = isinstance(exception, BackendUnavailable) and job.attempts < store.MAX_ATTEMPTS
        if not_stored or isinstance(exception, Requeue):
            return RetryDecision(retry_in={"seconds": 0})
        return None


app = App(connector=PsycopgConnector())  # `work` gives it the configured database


@app.task(name="run_operation", queue=QUEUE, pass_context=True, retry=RequeueStrategy())
def run_operation(context: JobContext, operation_id: str) -> None:
    """Run the job of an operation, unless that has ended or was requeued as another job."""
    assert context.job.id is not None
    pool: Pool = context.additional_context["pool"]
    begun = store.begin(pool, operation_id, context.job.id)
    if begun is None:
        return
    job, subject, attempt = begun
    writer = store.OperationWriter(pool, operation_id, attempt, stopping.is_set)
    status = run_job(job, subject, writer)
    if status is None and stopping.is_set():
        writer.requeue()
        raise Requeue
    if status == Status.CANCELLED:
        raise JobAborted


async def requeue_forever(pool: Pool, stale_after: float) -> None:
    """Requeue the operations of stale workers. Every worker does this for as long as it runs.

    It is not a task of the queue, which would wait behind long jobs.
    """
    wait = stale_after / 3
    while True:
        await asyncio.sleep(wait)
        wait = stale_after / 3
        began = time.monotonic()
        try:
            stalled = await app.job_manager.get_stalled_jobs(
                queue=QUEUE, seconds_since_heartbeat=stale_after
            )
            if time.monotonic() - began > 1:
                # The database was unreachable, so no worker could store a heartbeat.
                wait = stale_after
                continue
            for job in stalled:
                assert job.id is not None
                log.warning("The worker of job %s is stale", job.id)
                await app.job_manager.finish_job_by_id_async(
                    job_id=job.id, status=JobStatus.FAILED, delete_job=False
                )
            for queue_job in await asyncio.to_thread(store.orphaned_jobs, pool):
                log.warning("Requeuing the operation of job %s", queue_job)
                await asyncio.to_thread(store.requeue, pool, queue_job)
        except (BackendError, ConnectorException) as error:
            log.warning("Next check for stale workers in %s s: %s", stale_after, error)
            wait = stale_after


async def work(dsn: str, concurrency: int, stale_after: float) -> None:
    """Run jobs until a signal arrives, and reconnect whenever the database was unreachable."""
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
                connector = PsycopgConnector(
                    pool_factory=QueuePool, conninfo=with_limits(dsn), timeout=RECONNECT_TIMEOUT
                )
                with app.replace_connector(connector):
                    async with app.open_async():
                        await run_jobs(pool, concurrency, stale_after)
            except (BackendError, ConnectorException, psycopg.OperationalError) as error:
                log.warning(
                    "The database is unreachable, next try in 2 s: %s", error.__cause__ or error
                )
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(2)
            except asyncio.CancelledError:
                return  # `stop` cancelled it.


async def run_jobs(pool: Pool, concurrency: int, stale_after: float) -> None:
    """Run jobs until cancelled, or until the database was unreachable for too long."""
    requeuing = asyncio.create_task(requeue_forever(pool, stale_after))
    print("worker: ready", flush=True)
    try:
        await app.run_worker_async(
            queues=[QUEUE],
            concurrency=concurrency,
            additional_context={"pool": pool},
            listen_notify=False,
            fetch_job_polling_interval=QUEUE_POLL_INTERVAL,
            update_heartbeat_interval=stale_after / 5,
            stalled_worker_timeout=stale_after,
            delete_jobs="successful",
            install_signal_handlers=False,
        )
    finally:
        requeuing.cancel()


def stop(task: "asyncio.Task[None]") -> None:
    """End the worker as soon as its jobs are requeued."""
    if not stopping.is_set():
        stopping.set()
        task.cancel()


def main() -> str | None:
    """Work until a signal arrives; return the reason in one line if it cannot start."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level="INFO")
    try:
        concurrency = number("WORKER_CONCURRENCY", 1, 1, 100)
        stale_after = number("WORKER_STALE_AFTER", 30, 1, 3600)
        dsn = required_dsn()
    except (ValueError, BackendRejected) as error:
        return str(error)
    asyncio.run(work(dsn, concurrency, stale_after))
    return None


def number(name: str, default: int, least: int, most: int) -> int:
    """Return the whole number in an environment variable.

    Raises:
        ValueError: It is not a number, or out of range.
    """
    value = os.environ.get(name) or str(default)
    if not value.isdecimal() or not least <= int(value) <= most:
        raise ValueError(f"{name}={value} is not a number from {least} to {most}.")
    return int(value)


if __name__ == "__main__":
    sys.exit(main())
