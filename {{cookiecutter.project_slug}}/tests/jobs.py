"""Jobs of the tests: each has another outcome. JOBS_MODULE=tests.jobs selects them.

The subject sets their speed: "fast"; "slow", so that a page that polls sees most of the steps;
"steady", so that a test that polls all the time sees them.
"""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from progress.job import Job, Jobs, Upload
from progress.reporter import Reporter
from progress.settings import load_settings

STEPS = 6
MANY = 1000
SLOW = min(max(0.8 * load_settings().poll_interval, 0.4), 1.6)
"""Seconds for each step of a slow job."""
PACES = {"slow": SLOW, "steady": 0.4}


def pace(subject: str) -> None:
    """Wait for the time of one step."""
    time.sleep(PACES.get(subject, 0.02))


def succeed(report: Reporter, subject: str) -> dict[str, Any]:
    """Run all steps."""
    report.total(STEPS)
    for number in range(1, STEPS + 1):
        report.step(f"Step number {number} of `{subject}`")
        pace(subject)
    return {"metrics": {"Steps": STEPS}, "table": [{"step": 1, "rows": 10}], "notes": ["All well."]}


def fail(report: Reporter, subject: str) -> dict[str, Any]:
    """Raise in the third step."""
    report.total(STEPS)
    for number in range(1, 4):
        report.step(f"Step number {number}")
        pace(subject)
    raise RuntimeError("the **third** step broke :red[badly]")


def broken(report: Reporter, subject: str) -> None:
    """Raise without a step."""
    raise RuntimeError("broken")


def give_up(report: Reporter, subject: str) -> None:
    """Report a result, then raise."""
    report.result({"notes": ["So far."]})
    raise RuntimeError("gave up")


def partial(report: Reporter, subject: str) -> dict[str, Any]:
    """Run all steps; two of them fail."""
    report.total(STEPS)
    for number in range(1, STEPS + 1):
        report.step(f"Step number {number}")
        pace(subject)
        if number in (2, 5):
            report.step_failed(ValueError(f"row {number} has no *amount*"))
    return {"metrics": {"Steps": STEPS - 2}}


def endless(report: Reporter, subject: str) -> None:
    """Run until cancelled, for at most five minutes, without a total."""
    print("endless began")
    number, began = 0, time.monotonic()
    while time.monotonic() - began < 300:
        number += 1
        report.step(f"Round {number}")
        pace(subject)


def rows(report: Reporter, subject: str) -> dict[str, Any]:
    """Run 30,000 steps; one of them fails. If slow, this needs at least half a minute."""
    report.total(30_000)
    for number in range(1, 30_001):
        report.step(f"Row {number} of a table with a name that is longer than a phone is wide")
        if subject == "slow":
            time.sleep(0.001)
        if number == 29_995:
            report.step_failed(ValueError("no amount"))
    return {"table": [{"row": number, "amount": number / 2} for number in range(30_000)]}


def die(report: Reporter, subject: str) -> None:
    """Kill the process in the second step, as the kernel does when memory runs out."""
    report.total(STEPS)
    report.metric("Rows", 3)
    report.step("Step number 1")
    pace(subject)
    report.step("Step number 2")
    time.sleep(1.5)  # what it said is stored
    os.kill(os.getpid(), signal.SIGKILL)


def stubborn(report: Reporter, subject: str) -> None:
    """Ignore SIGTERM and every request to stop, as does its child, for at most a minute."""
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", ignore])
    report.step("Started a child")
    report.step(f"{os.getpid()} {child.pid}")
    time.sleep(60)


def chatter(report: Reporter, subject: str) -> None:
    """Print a megabyte."""
    for _ in range(10_000):
        print("x" * 100)


def many(report: Reporter, subject: str) -> None:
    """Run many quick steps with long descriptions."""
    report.total(MANY)
    for number in range(1, MANY + 1):
        report.step(f"Step number {number} 😀 " * 40)


def odd_text(report: Reporter, subject: str) -> dict[str, Any]:
    """Report text with NUL and a lone surrogate, as from files in another encoding."""
    report.step("a\0b \udce4")
    return {"notes": ["c\0d \udce4"]}


def unfit(report: Reporter, subject: str) -> dict[str, Any]:
    """Return values that JSON cannot hold."""
    return {"metrics": {"Rows": float("nan"), "Phase": 1j}, "notes": ["All well."]}


class Size(StrEnum):
    """A choice of `Work`."""

    SMALL = "small"
    LARGE = "large"


class Work(BaseModel):
    """The parameters of `work`: a field of every kind that a form has."""

    rows: int = Field(default=3, ge=1, le=100, title="Rows", description="How many rows to make.")
    factor: float = Field(default=1.5, gt=0)
    name: str = Field(default="all", max_length=20)
    comment: str = Field(default="", json_schema_extra={"multiline": True})
    dry_run: bool = False
    size: Size = Size.SMALL
    mode: Literal["fast", "exact"] = "fast"
    columns: list[Literal["a", "b", "c"]] = ["a"]
    day: date | None = None
    at: datetime | None = None
    limit: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def check_limit(self) -> Self:
        """A rule that needs two fields."""
        if self.limit is not None and self.limit > self.rows:
            raise ValueError("limit is above rows")
        return self


def work(report: Reporter, parameters: Work) -> dict[str, Any]:
    """Return the parameters, and print to the log."""
    report.log(f"{parameters.rows} rows")
    for _ in report.track(range(parameters.rows), "Making rows"):
        pass
    report.metric("Rows", parameters.rows)
    return {"notes": [parameters.model_dump_json()]}


async def count(report: Reporter, subject: str) -> dict[str, Any]:
    """Count slowly, in an `async def`; show the table early, print and log."""
    print("→ printed")
    print("to stderr", file=sys.stderr)
    logging.getLogger("tests").warning("logged")
    report.result({"table": [{"number": 1}]})
    report.step(f"Counting {subject}")
    for number in report.track(range(20), "Numbers", total=20):
        report.metric("Last", number)
        await asyncio.sleep(0.5 if subject == "words" else 0.15)
    return {"metrics": {"Sum": 190}}


def keep(report: Reporter, path: Path) -> dict[str, Any]:
    """Keep a copy of an uploaded file."""
    text = path.read_text("utf-8")
    copy = path.with_name("copy")
    copy.write_text(text.upper(), "utf-8")
    report.file(copy, name="../copy of it.txt")
    return {"metrics": {"Characters": len(text), "Suffix": path.suffix}}


def flaky(report: Reporter, subject: str) -> None:
    """Fail, but for the third attempt of a process."""
    attempts.append(subject)
    report.total(1)
    report.step(f"Attempt {len(attempts)}")
    if len(attempts) < 3:
        raise OSError("not yet")


attempts: list[str] = []


JOBS: Jobs = {
    "succeed": succeed,
    "fail": fail,
    "partial": partial,
    "endless": endless,
    "rows": rows,
    "die": die,
    "many": many,
    "odd_text": odd_text,
    "unfit": unfit,
    "chatter": chatter,
    "broken": broken,
    "give_up": give_up,
    "stubborn": stubborn,
    "work": Job(work, subjects=None, parameters=Work),
    "count": Job(count, subjects=["lines", "words"]),
    "keep": Job(keep, subjects=Upload(types=("csv", "txt"))),
    "limited": Job(endless, time_limit="1s"),
    "flaky": Job(flaky, retries=2, retry_delay="100ms"),
    "alone": Job(endless, max_running=1),
}


def subjects() -> list[str]:
    """Return the speeds that a page offers."""
    return ["fast", "slow"]
