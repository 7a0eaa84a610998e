"""The process of a job, which a worker starts and supervises.

It has a connection of its own, and imports nothing of the queue: it starts sooner so.
"""

import logging
import sys
from contextlib import closing
from dataclasses import replace
from threading import Event

from progress.backend import store
from progress.backend.database import Pool, open_pool, required_dsn
from progress.contract import BackendUnavailable
from progress.execution import run_job
from progress.operation import Progress, Status
from progress.supervisor import StepFile, Supervisor

log = logging.getLogger("job")

POOL_SIZE = 2
"""Connections: the job may store a file while its heartbeat is due."""
RETRY_INTERVAL = 1.0
"""Seconds between two attempts to read the operation."""


def run(pool: Pool, queue_job: int, step_file: str, supervisor: Supervisor) -> None:
    """Run the job of an operation to its end."""
    taken = read(pool, queue_job, supervisor.stopping)
    if taken is None:
        return
    writer = store.OperationWriter(pool, taken.operation_id, queue_job, supervisor.stopping.is_set)
    steps = StepFile(step_file)
    # Each attempt before this one was a retry.
    options = replace(taken.options, retries=max(taken.options.retries - taken.attempt + 1, 0))
    try:
        run_job(
            taken.job,
            taken.subject,
            writer,
            options=options,
            on_step=steps.write,
            on_end=supervisor.wait_for_log,
        )
    except Exception as error:
        # Running it again is no help.
        reason = f"The outcome could not be stored: {error}"
        writer.finish(Status.FAILED, Progress(), reason, None)


def read(pool: Pool, queue_job: int, stopping: Event) -> store.Taken | None:
    """Return the operation, as soon as the database can be reached."""
    while not stopping.is_set():
        try:
            return store.taken(pool, queue_job)
        except BackendUnavailable as error:
            log.warning("The operation cannot be read: %s", error)
            stopping.wait(RETRY_INTERVAL)
    return None


def main() -> None:
    """Run the job of the queue job that the worker names."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level="INFO")
    logging.getLogger("psycopg").setLevel("ERROR")  # `run_job` says it, too
    queue_job, step_file = sys.argv[1:]
    supervisor = Supervisor()
    with closing(open_pool(required_dsn(), POOL_SIZE)) as pool:
        run(pool, int(queue_job), step_file, supervisor)


if __name__ == "__main__":
    main()
