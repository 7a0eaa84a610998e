"""Jobs with parameters, a log, files and limits, besides those of tests/jobs.py."""

import asyncio
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from progress.job import Job, Jobs, Upload
from progress.reporter import Reporter
from tests import jobs


class Parameters(BaseModel):
    """Of the job `given`."""

    day: date
    text: str = "default"


def given(report: Reporter, parameters: Parameters) -> dict[str, Any]:
    return {"notes": [f"{parameters.day.year} {parameters.text}"]}


def talk(report: Reporter, subject: str) -> None:
    print("printed Größe 😀")
    sys.stdout.buffer.write(b"bytes \xff\n")
    print("to stderr", file=sys.stderr)
    logging.getLogger("mine").info("logged")
    report.log("two\nlines\0")
    thread = threading.Thread(target=print, args=("of a thread",))
    thread.start()
    thread.join()
    print("x" * 3000)
    print("no end", end="")


def chatter(report: Reporter, subject: str) -> None:
    for number in range(50_000):
        print(f"line {number}")


def flood(report: Reporter, subject: str) -> None:
    """Print for some seconds, and die."""
    for number in range(40):
        for _ in range(100):
            print(f"round {number}")
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


def early(report: Reporter, subject: str) -> None:
    report.step("First")
    report.result({"notes": ["early"]})
    report.result({"metrics": {"Rows": 2}})
    time.sleep(0.5 if subject == "killed" else 4)
    if subject == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("late")


def asleep(report: Reporter, subject: str) -> None:
    report.step("Asleep")
    print("good night")
    time.sleep(300)


def flaky(report: Reporter, subject: str) -> dict[str, Any]:
    marker = Path(tempfile.gettempdir(), subject)
    report.step("Trying")
    if not marker.exists():
        marker.touch()
        raise RuntimeError("not yet")
    return {"notes": ["at last"]}


def keeper(report: Reporter, subject: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report; DROP.txt")
        path.write_bytes(b"old")
        report.file(path, "Größe '.txt")
        path.write_bytes(b"\x00new" * 1000)
        report.file(path, "Größe '.txt")
    return {"table": [{"row": number, "text": "x" * 100} for number in range(50_000)]}


def uploaded(report: Reporter, path: Path) -> dict[str, Any]:
    return {"notes": [f"{path.suffix} {path.read_text('utf-8')}"]}


async def loops(report: Reporter, subject: str) -> dict[str, Any]:
    for outer in report.track(range(4), "Outer"):
        for inner in report.track(range(5_000), "Inner"):
            report.metric("rows", outer * 5_000 + inner)
        await asyncio.sleep(0.3)
    return {"notes": ["All well."]}


JOBS: Jobs = {
    **jobs.JOBS,
    "given": Job(given, subjects=None, parameters=Parameters),
    "talk": talk,
    "chatter": chatter,
    "flood": flood,
    "early": early,
    "asleep": Job(asleep, time_limit="8s"),
    "flaky": Job(flaky, retries=2, retry_delay="0.1s"),
    "keeper": keeper,
    "uploaded": Job(uploaded, subjects=Upload(("txt",))),
    "loops": loops,
}


def subjects() -> list[str]:
    return jobs.subjects()
