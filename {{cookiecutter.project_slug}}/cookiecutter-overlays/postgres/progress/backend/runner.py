"""A worker: takes operations from the queue and runs their jobs. `make worker` starts one.

Start any number of workers, on any number of hosts. Each job runs in a process of its own, which a
worker supervises: see job_process.py. On SIGTERM a worker requeues its jobs at their next step, or
after 3 s, and ends.

WORKER_CONCURRENCY (default: `max_running` in settings.toml, or else the number of processors) is
the number of jobs that run at the same time. Raise it for jobs that mostly wait.
WORKER_STALE_AFTER (default 30) is the number of seconds without a heartbeat after which an
operation is lost, and requeued. Use the same value for all workers.
"""

import asyncio
import functools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString, ParamSpec, TypeVar, cast

import psycopg
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job

from progress.backend import store
from progress.backend.database import (
    POOL_SETTINGS,
    Pool,
    QueuePool,
    backend_error,
    connection_error,
    open_pool,
    required_dsn,
    with_limits,
)
from progress.contract import BackendError, BackendRejected
from progress.edits import forget_edited_modules
from progress.execution import jobs_module
from progress.notifications import notify
from progress.operation import Operation, Status
from progress.settings import load_settings
from progress.supervisor import FORCE_STOP, Ending, run_process, when_available
from progress.text import reason_of, truncate

log = logging.getLogger("worker")

QUEUE = "operations"
QUEUE_POLL_INTERVAL = 0.2
"""Seconds between two polls of the queue.

Not LISTEN/NOTIFY: the worker would end its jobs when the listening connection breaks.
"""
LOST_CHECKS = 4
"""Checks in a row with the same heartbeat after which an operation is lost."""
UNKNOWN_JOB_TRIES = 20
"""How often an operation is requeued because a worker does not know its job.

In all for three times WORKER_STALE_AFTER: workers of an older version have been replaced by then.
"""
POOL_SIZE = 4
"""Connections of a worker besides that of the queue. Each job has its own."""
WATCH_INTERVAL = 0.3
"""Seconds between two checks whether a job must be stopped by force."""
RETENTION_INTERVAL = 3600.0
"""Seconds between two removals of old operations."""
RETENTION_PAUSE = 0.2
"""Seconds between two batches of them: others want to write."""
WORKER_STOP_TIMEOUT = 5.0
"""Seconds that the processes of jobs have to end when the worker stops. They are killed before."""
EXIT_TIMEOUT = 9.0
"""Seconds after which a worker that stops has ended in any case. `docker stop` kills after 10."""
WORKER_STOPS = "was stopped, because its worker stops"

stopping = threading.Event()
"""Set when this worker must stop."""

P = ParamSpec("P")
T = TypeVar("T")


def repeated(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Repeat a statement of Procrastinate while the database is unreachable."""

    @functools.wraps(method)
    async def repeat(*args: P.args, **kwargs: P.kwargs) -> T:
        while True:
            try:
                return await method(*args, **kwargs)
            except ConnectorException as error:
                cause = error.__cause__
                if stopping.is_set() or not isinstance(cause, psycopg.OperationalError):
                    raise
                log.warning("A statement of the queue is repeated: %s", backend_error(cause))
                await asyncio.sleep(QUEUE_POLL_INTERVAL)

    return repeat


class RepeatingConnector(PsycopgConnector):
    """Repeats statements: Procrastinate's worker ends when one fails.

    If the answer to a fetch was lost, the job does not run. It has no heartbeat, so it is requeued.
    """

    execute_query_one_async = repeated(PsycopgConnector.execute_query_one_async)
    execute_query_all_async = repeated(PsycopgConnector.execute_query_all_async)

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Run a statement without a result."""
        try:
            await repeated(super().execute_query_async)(query, **arguments)
        except ConnectorException as error:
            # The job to end has left the queue: it was requeued, or the first answer was lost.
            if not isinstance(error.__cause__, psycopg.errors.RaiseException):
                raise


class Postpone(Exception):
    """The job stays in the queue for some seconds, which are the argument."""


class PostponeStrategy(BaseRetryStrategy):
    """Requeue a job that cannot begin now."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return when to run the job again, or None to let it end."""
        if isinstance(exception, Postpone):
            return RetryDecision(retry_in={"seconds": exception.args[0]})
        return None


@dataclass
class Running:
    """The queue jobs that this worker runs."""

    queue_jobs: set[int] = field(default_factory=set)
    to_force_stop: set[int] = field(default_factory=set)
    """Those whose process must be ended."""


# Not its lines about each job, with a traceback for each that is requeued.
logging.getLogger("procrastinate").setLevel("ERROR")
app = App(connector=PsycopgConnector())  # `run_jobs` gives it the configured database


@app.task(name="run_operation", queue=QUEUE, pass_context=True, retry=PostponeStrategy())
def run_operation(context: JobContext, operation_id: str) -> None:
    """Run the job of an operation, unless that has ended or was requeued as another job."""
    queue_job = cast(int, context.job.id)
    pool: Pool = context.additional_context["pool"]
    running: Running = context.additional_context["running"]
    try:
        taken = store.taken(pool, queue_job)
        if taken is None:
            return
        if is_unknown(taken.job):
            forget_edited_modules()  # it may have been added since
        tries = 0 if taken.cancel_requested else UNKNOWN_JOB_TRIES
        if is_unknown(taken.job) and context.job.attempts < tries:
            if context.job.attempts == 0:
                log.warning("Operation %s: unknown job %r, requeued", operation_id, taken.job)
            raise Postpone(3 * context.additional_context["stale_after"] / UNKNOWN_JOB_TRIES)
        attempt = store.begin(pool, queue_job, taken.options.max_running)
        if attempt is None:
            return
        if attempt == 0:
            raise Postpone(store.LIMIT_PAUSE)
        log.info("Operation %s: %s started", operation_id, taken.job)
        running.queue_jobs.add(queue_job)
        try:
            ending = supervise(pool, queue_job, taken, running)
            # It keeps its heartbeat until then: no worker may run it again.
            store_this = functools.partial(store_ending, pool, queue_job, ending)
            how = when_available(store_this, stopping)
            is_own = when_available(lambda: store.has_queue_job(pool, queue_job), stopping)
        finally:
            running.queue_jobs.discard(queue_job)
        log.info("Operation %s: %s", operation_id, how)
        if taken.options.max_running:
            when_available(lambda: store.wake(pool, taken.job), stopping)
        if is_own:
            notify_end(pool, operation_id)
    except BackendError as error:
        # It has no queue job now, and no heartbeat: some worker will requeue it.
        log.warning("Operation %s: %s", operation_id, error)


def notify_end(pool: Pool, operation_id: str) -> None:
    """Send a message if the operation has ended."""
    operation = when_available(lambda: store.read(pool, [operation_id]), stopping).get(operation_id)
    if operation is not None and operation.status.is_terminal:
        notify(operation)


def is_unknown(job: str) -> bool:
    """Return whether jobs.py lacks a job."""
    try:
        return job not in jobs_module().JOBS
    except BaseException:
        return False  # `run_job` stores why jobs.py cannot be imported.


def supervise(pool: Pool, queue_job: int, taken: Operation, running: Running) -> Ending:
    """Run the process of a job to its end, and store its log."""

    def stop_reason() -> str:
        if queue_job in running.to_force_stop:
            return FORCE_STOP
        return WORKER_STOPS if stopping.is_set() else ""

    command = [sys.executable, "-m", "progress.backend.job_process", str(queue_job)]
    try:
        write_log = store.OperationLog(pool, queue_job).append
        return run_process(command, taken.options, write_log, stop_reason)
    except OSError as error:
        return Ending(1, f"could not be started: {reason_of(error)}")


def store_ending(pool: Pool, queue_job: int, ending: Ending) -> str:
    """Store how a process ended, unless it has stored an outcome; return what was done."""
    # A service manager may send SIGTERM to the job, too.
    if ending.stopped == WORKER_STOPS or (stopping.is_set() and not ending.stopped):
        is_requeued = store.requeue(pool, [queue_job])
        return "requeued, because this worker stops" if is_requeued else "ended"
    reason = ending.reason
    last_line, status = reason.splitlines()[-1], ending.status
    current = store.taken(pool, queue_job)
    if current is None:
        return "ended"
    if not ending.stopped and current.attempts <= current.options.retries:
        delay = current.options.delay(current.attempts - 1)
        live = current.live.for_retry(truncate(last_line))
        if store.retry(pool, queue_job, live, delay):
            return f"{last_line} Retry."
        status = Status.CANCELLED
    is_ended = store.end(pool, queue_job, status, reason, ending.step)
    return last_line if is_ended else "ended"


async def send_heartbeats(pool: Pool, running: Running, heartbeat_interval: float) -> None:
    """Store heartbeats for the jobs of this worker, and learn which must be stopped by force."""
    heartbeat_sent_at = -float("inf")
    while True:
        await asyncio.sleep(WATCH_INTERVAL)
        if queue_jobs := list(running.queue_jobs):
            with suppress(BackendError):  # a job also notices an outage, and logs it
                running.to_force_stop = await asyncio.to_thread(
                    store.to_force_stop, pool, queue_jobs
                )
                if time.monotonic() - heartbeat_sent_at > heartbeat_interval:
                    await asyncio.to_thread(store.beat, pool, queue_jobs)
                    heartbeat_sent_at = time.monotonic()


async def remove_old(pool: Pool, keep: float) -> None:
    """Remove what ended more than `keep` seconds ago, every hour, in small batches."""
    while keep < float("inf"):
        try:
            while await asyncio.to_thread(store.remove_ended, pool, keep):
                await asyncio.sleep(RETENTION_PAUSE)
        except BackendError as error:
            log.warning("Old operations could not be removed: %s", error)
        await asyncio.sleep(RETENTION_INTERVAL)


async def requeue_lost(pool: Pool, stale_after: float) -> None:
    """Requeue the operations whose heartbeat does not change. Every worker does this all the time.

    It is not a task of the queue, which would wait behind long jobs.
    """
    checks: dict[tuple[int, datetime | None], int] = {}
    while True:
        await asyncio.sleep(stale_after / (LOST_CHECKS - 1))
        try:
            heartbeats = await asyncio.to_thread(store.heartbeats, pool, QUEUE)
            checks = {heartbeat: checks.get(heartbeat, 0) + 1 for heartbeat in heartbeats}
            for (queue_job, _), count in checks.items():
                if count >= LOST_CHECKS:
                    log.warning("Job %s has no heartbeat: its operation is requeued", queue_job)
                    await asyncio.to_thread(give_up_or_requeue, pool, queue_job)
        except BackendError as error:
            # Perhaps no worker can store a heartbeat.
            checks = {}
            log.warning("The heartbeats could not be checked: %s", error)


def give_up_or_requeue(pool: Pool, queue_job: int) -> None:
    """Requeue a lost operation, or end it after its last attempt, with a message."""
    lost = store.taken(pool, queue_job)
    store.requeue_lost(pool, queue_job)
    if lost is not None:
        notify_end(pool, lost.operation_id)


async def work(dsn: str, concurrency: int, stale_after: float) -> None:
    """Run jobs until a signal arrives.

    Raises:
        BackendRejected: The database refuses what a worker does. Waiting is no help.
    """
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(concurrency + 4))
    stopped = asyncio.Event()
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        # Only Windows has the last, and it has no `loop.add_signal_handler`.
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop, stopped))
    await asyncio.to_thread(wait_for_database, dsn)
    if stopping.is_set():
        return
    with closing(open_pool(dsn, POOL_SIZE)) as pool:
        await asyncio.to_thread(store.check, pool, QUEUE)
        async with QueuePool(with_limits(dsn), open=False, **POOL_SETTINGS) as queue_pool:
            with app.replace_connector(RepeatingConnector()):
                await app.connector.open_async(queue_pool)
                await run_jobs(pool, concurrency, stale_after, stopped)


async def run_jobs(
    pool: Pool, concurrency: int, stale_after: float, stopped: asyncio.Event
) -> None:
    """Run jobs until stopped, then give them some time to reach their next step."""
    running = Running()
    background_tasks = [
        asyncio.create_task(send_heartbeats(pool, running, stale_after / 5)),
        asyncio.create_task(requeue_lost(pool, stale_after)),
        asyncio.create_task(remove_old(pool, load_settings().keep)),
    ]
    worker = asyncio.create_task(
        app.run_worker_async(
            queues=[QUEUE],
            concurrency=concurrency,
            additional_context={
                "pool": pool,
                "running": running,
                "stale_after": stale_after,
            },
            listen_notify=False,
            fetch_job_polling_interval=QUEUE_POLL_INTERVAL,
            # Seconds after which the row of a worker is removed. Operations have heartbeats of
            # their own.
            stalled_worker_timeout=24 * 3600,
            delete_jobs="always",
            install_signal_handlers=False,
        )
    )
    print("worker: ready", flush=True)
    stop_request = asyncio.create_task(stopped.wait())
    await asyncio.wait([worker, stop_request], return_when=asyncio.FIRST_COMPLETED)
    for task in background_tasks:
        task.cancel()
    if not stopping.is_set():
        try:
            await worker
        except ConnectorException as error:
            if isinstance(error.__cause__, psycopg.Error):
                raise backend_error(error.__cause__) from error
            raise
    worker.cancel()
    await asyncio.wait([worker], timeout=WORKER_STOP_TIMEOUT)
    if worker.done():
        await asyncio.gather(worker, return_exceptions=True)  # the database may be unreachable
        return
    try:
        queue_jobs = list(running.queue_jobs)
        await asyncio.to_thread(store.requeue, pool, queue_jobs)
        log.info("Operations requeued in the middle of a step: %s", len(queue_jobs))
    except BackendError as error:
        log.warning("Not requeued: %s", error)
    exit_now()


def wait_for_database(dsn: str) -> None:
    """Wait until the database can be reached, or the worker must stop.

    Raises:
        BackendRejected: The server refuses the connection. Waiting is no help.
    """
    while not stopping.is_set():
        try:
            psycopg.connect(with_limits(dsn)).close()
            return
        except psycopg.OperationalError as error:
            problem = connection_error(error)
            if isinstance(problem, BackendRejected):
                raise problem from None
            log.warning("The database is unreachable, next try in 2 s: %s", problem)
            stopping.wait(2)


def stop(stopped: asyncio.Event) -> None:
    """Stop taking jobs, and end the jobs at their next step."""
    if not stopping.is_set():
        stopping.set()
        stopped.set()
        # Whatever still waits for the database then.
        timer = threading.Timer(EXIT_TIMEOUT, exit_now)
        timer.daemon = True
        timer.start()


def exit_now() -> None:
    """End this process without waiting for its threads."""
    sys.stdout.flush()
    os._exit(0)


def main() -> str | None:
    """Work until a signal arrives; return the reason in one line if it cannot start."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level="INFO")
    try:
        concurrency = number("WORKER_CONCURRENCY", load_settings().max_running, 1, 1000)
        stale_after = number("WORKER_STALE_AFTER", 30, 1, 3600)
        dsn = required_dsn()
    except (ValueError, BackendRejected) as error:
        return str(error)
    try:
        # The default loop of Windows cannot run psycopg.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as loop:
            loop.run(work(dsn, concurrency, stale_after))
    except BackendError as error:
        return str(error)
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
