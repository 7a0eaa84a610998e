"""A job whose steps say when they were written (JOBS_MODULE=clock_jobs)."""

import os
import random
import time
from pathlib import Path

from progress.reporter import Job, Reporter


def clock(report: Reporter, subject: str) -> None:
    """Say the time for as long as the file that CLOCK_FILE names is there."""
    pace = float(os.environ["STEP_SECONDS"])
    report.total(100_000)
    while Path(os.environ["CLOCK_FILE"]).exists():
        report.step(f"@{time.time():.4f}@")
        time.sleep(pace * random.uniform(0.7, 1.3))  # in no fixed relation to the ticks


JOBS: dict[str, Job] = {"clock": clock}


def subjects() -> list[str]:
    """Return what the page offers."""
    return ["time"]
