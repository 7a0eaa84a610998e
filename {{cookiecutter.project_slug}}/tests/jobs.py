"""Jobs of the tests: each has another outcome. JOBS_MODULE=tests.jobs selects them.

The subject sets their speed: "fast"; "slow", so that a page that polls sees most of the steps;
"steady", so that a test that polls all the time sees them.
"""

import os
import signal
import time
from typing import Any

from progress.job import Jobs
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
}


def subjects() -> list[str]:
    """Return the speeds that a page offers."""
    return ["fast", "slow"]
