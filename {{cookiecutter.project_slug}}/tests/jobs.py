"""Jobs of the tests, one for each way in which an operation can go (JOBS_MODULE=tests.jobs).

The subject is how long they take: "fast", or "slow", which leaves time to look: a page that polls
sees most of the steps. "steady" leaves time for who reads without a page's pauses.
"""

import os
import signal
import time
from typing import Any

from progress.reporter import Job, Reporter
from progress.settings import load_settings

STEPS = 6
MANY = 1000
SLOW = min(max(0.8 * load_settings().poll_interval, 0.4), 1.6)
"""Seconds for each step of a slow job."""


PACES = {"slow": SLOW, "steady": 0.4}


def pace(subject: str) -> None:
    """Wait as long as the subject says."""
    time.sleep(PACES.get(subject, 0.02))


def succeed(report: Reporter, subject: str) -> dict[str, Any]:
    """Go through all steps."""
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


def partial(report: Reporter, subject: str) -> dict[str, Any]:
    """Go through all steps, two of which fail."""
    report.total(STEPS)
    for number in range(1, STEPS + 1):
        report.step(f"Step number {number}")
        pace(subject)
        if number in (2, 5):
            report.step_failed(ValueError(f"row {number} has no *amount*"))
    return {"metrics": {"Steps": STEPS - 2}}


def endless(report: Reporter, subject: str) -> None:
    """Go on until cancelled (or for five minutes), without a known total."""
    number, began = 0, time.monotonic()
    while time.monotonic() - began < 300:
        number += 1
        report.step(f"Round {number}")
        pace(subject)


def rows(report: Reporter, subject: str) -> dict[str, Any]:
    """Go through 30,000 steps, one of which fails; slowly, it takes half a minute or more."""
    report.total(30_000)
    for number in range(1, 30_001):
        report.step(f"Row {number} of a table with a name that is longer than a phone is wide")
        if subject == "slow":
            time.sleep(0.001)
        if number == 29_995:
            report.step_failed(ValueError("no amount"))
    return {"table": [{"row": number, "amount": number / 2} for number in range(30_000)]}


def die(report: Reporter, subject: str) -> None:
    """End without a word in the second step, as when memory runs out."""
    report.total(STEPS)
    report.step("Step number 1")
    pace(subject)
    report.step("Step number 2")
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


def chatter(report: Reporter, subject: str) -> None:
    """Print a megabyte."""
    for _ in range(10_000):
        print("x" * 100)


def many(report: Reporter, subject: str) -> None:
    """Go through many quick steps with long descriptions."""
    report.total(MANY)
    for number in range(1, MANY + 1):
        report.step(f"Step number {number} 😀 " * 40)


def odd_text(report: Reporter, subject: str) -> dict[str, Any]:
    """Say what comes from files in other encodings: a NUL, and half a character."""
    report.step("a\0b \udce4")
    return {"notes": ["c\0d \udce4"]}


def unfit(report: Reporter, subject: str) -> dict[str, Any]:
    """Return what JSON cannot hold."""
    return {"value": {1, 2}}


JOBS: dict[str, Job] = {
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
}


def subjects() -> list[str]:
    """Return how long a job may take."""
    return ["fast", "slow"]
