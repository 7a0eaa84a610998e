"""The heartbeats of a worker, in a process of their own.

A job may hold the interpreter of its worker for minutes in a call into C: a large sort,
`json.loads`. No other thread of the worker runs then, but the worker lives.
"""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import IO, cast

from progress.backend import store
from progress.backend.database import open_pool, required_dsn
from progress.contract import BackendError
from progress.settings import ROOT


class Heartbeat:
    """A process that stores heartbeats for the queue jobs that this worker runs.

    Args:
        interval: Seconds between two heartbeats.
    """

    def __init__(self, interval: float) -> None:
        self.queue_jobs: set[int] = set()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(os.getpid()), str(interval)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
        )

    @contextmanager
    def of(self, queue_job: int) -> Iterator[None]:
        """Store heartbeats for a job until the block ends."""
        self._change({queue_job})
        try:
            yield
        finally:
            self._change({queue_job})

    def _change(self, queue_job: set[int]) -> None:
        with self._lock:
            self.queue_jobs ^= queue_job
            pipe = cast("IO[bytes]", self._process.stdin)
            # Without the process the job still stores a heartbeat with its progress.
            with suppress(BrokenPipeError):
                pipe.write(json.dumps(list(self.queue_jobs)).encode() + b"\n")
                pipe.flush()


def beat(worker: int, interval: float) -> None:
    """Store heartbeats for the jobs on the standard input until the worker has ended."""
    queue_jobs: list[int] = []
    with closing(open_pool(required_dsn(), 1)) as pool:
        # A process that a job has forked may hold the pipe open.
        while os.getppid() == worker:
            if select.select([sys.stdin], [], [], interval)[0]:
                lines = os.read(sys.stdin.fileno(), 65536).splitlines()
                if not lines:
                    return
                queue_jobs = json.loads(lines[-1])
            elif queue_jobs:
                # The worker also notices an outage, and logs it.
                with suppress(BackendError):
                    store.beat(pool, queue_jobs)


if __name__ == "__main__":
    # The worker ends its jobs first.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable()
    beat(int(sys.argv[1]), float(sys.argv[2]))
