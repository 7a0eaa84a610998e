"""A job whose steps hold the time at which they were written (JOBS_MODULE=clock_jobs)."""

import os
import random
import time
from pathlib import Path

from progress.job import Jobs
from progress.reporter import Reporter

LONGEST = 600
"""Seconds after which it ends even if the benchmark was killed."""


def clock(report: Reporter, subject: str) -> None:
    """Write the time in every step for as long as the file CLOCK_FILE exists."""
    pace = float(os.environ["STEP_SECONDS"])
    report.total(100_000)
    ends = time.monotonic() + LONGEST
    while Path(os.environ["CLOCK_FILE"]).exists() and time.monotonic() < ends:
        report.step(f"@{time.time():.4f}@")
        time.sleep(pace * random.uniform(0.7, 1.3))  # not in step with the ticks


JOBS: Jobs = {"clock": clock}


def subjects() -> list[str]:
    """Return the subjects of the page."""
    return ["time"]
