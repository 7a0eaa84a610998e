"""The job of two pictures: it uses most of what a job can declare and report."""

import csv
import logging
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any, Literal

from progress.job import Job, Jobs
from progress.reporter import Reporter
from pydantic import BaseModel, Field

FILES = ["orders-2026-09.csv", "orders-2026-10.csv", "orders-2026-11.csv"]
ROWS = 12_400
COUNTRIES = {"Austria": 2_108, "France": 4_911, "Portugal": 1_302, "Spain": 4_079}


class Load(BaseModel):
    """The parameters."""

    since: date = date(2026, 11, 1)
    target: Literal["staging", "production"] = "staging"
    batch_size: int = Field(default=400, ge=100, le=1000, description="Rows per statement.")
    replace: bool = Field(default=True, title="Replace rows that exist")


def load_orders(report: Reporter, subject: str, parameters: Load) -> dict[str, Any]:
    """Load a file in batches, and keep a file of the rows that were left out."""
    report.total(8)
    for step in ("Connecting", "Reading the header", "Checking the rows", "Checking the numbers"):
        report.step(step)
        time.sleep(0.3)
    print(f"{subject}: {ROWS:,} rows, UTF-8, separated by semicolons")
    batches = range(0, ROWS, parameters.batch_size)
    for number, first in enumerate(report.track(batches, f"Loading into {parameters.target}")):
        for _ in report.track(range(4), f"Batch {number + 1}"):
            time.sleep(0.05)
        report.metric("Rows", first + parameters.batch_size)
        report.metric("Left out", number // 4)
        if number % 4 == 3:
            logging.warning("Row %d: no country, left out", first + 17 * number)
        else:
            print(f"Batch {number + 1}: {parameters.batch_size} rows")
    report.step("Building the index")
    time.sleep(0.3)
    report.step("Comparing the sums")
    time.sleep(0.3)
    report.step("Writing the report")
    with tempfile.TemporaryDirectory() as folder:
        left_out = Path(folder, "left-out.csv")
        with left_out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(
                [("row", "reason"), *((n * 68, "no country") for n in range(7))]
            )
        report.file(left_out)
    return {
        "table": [{"Country": country, "Orders": count} for country, count in COUNTRIES.items()],
        "notes": ["Seven rows have no country: see left-out.csv."],
    }


def check_orders(report: Reporter, subject: str) -> None:
    """Do nothing: with a second job, the page says which one it starts."""
    report.step(f"Checking {subject}")


JOBS: Jobs = {
    "load_orders": Job(
        load_orders,
        subjects=FILES,
        parameters=Load,
        time_limit="30m",
        retries=2,
        max_running=1,
    ),
    "check_orders": Job(check_orders, subjects=FILES),
}
