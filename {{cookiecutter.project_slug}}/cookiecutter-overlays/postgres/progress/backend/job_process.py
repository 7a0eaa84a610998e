"""The process of a job, which a worker starts and supervises.

It has a connection of its own, and imports nothing of the queue: it starts sooner so.
"""

import logging
import sys
from contextlib import closing

from progress.backend import store
from progress.backend.database import open_pool, required_dsn
from progress.operation import Status
from progress.supervisor import Supervisor, run_supervised, when_available

POOL_SIZE = 2
"""Connections: the job may store a file while its heartbeat is due."""


def main() -> None:
    """Run the job of the queue job that the worker names."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level="INFO")
    logging.getLogger("psycopg").setLevel("ERROR")  # `run_job` says it, too
    queue_job, step_file = int(sys.argv[1]), sys.argv[2]
    supervisor = Supervisor()
    with closing(open_pool(required_dsn(), POOL_SIZE)) as pool:
        taken = when_available(lambda: store.taken(pool, queue_job), supervisor.stopping)
        if taken is not None:
            is_stopping = supervisor.stopping.is_set
            run_supervised(
                taken,
                store.OperationWriter(pool, taken.operation_id, queue_job, is_stopping),
                step_file,
                supervisor,
                lambda reason: store.end(pool, queue_job, Status.FAILED, reason, None),
            )


if __name__ == "__main__":
    main()
