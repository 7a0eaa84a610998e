"""The jobs of test_job_processes.py. They import little, so that their processes start soon."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from progress.job import Job, Jobs, Upload
from progress.reporter import Reporter


def end_by(report: Reporter, subject: str) -> None:
    """End the process by a signal or, if negative, with an exit code."""
    report.step("one")
    report.step("two")
    print("half done")
    number = int(subject)
    os.kill(os.getpid(), number) if number > 0 else os._exit(-number)


def die_once(report: Reporter, subject: str) -> dict[str, Any]:
    """End the process in the first attempt."""
    report.step("one")
    if not Path(subject).exists():
        Path(subject).touch()
        os._exit(7)
    return {"notes": ["second attempt"]}


def stubborn(report: Reporter, subject: str) -> None:
    """Start a process, and ignore cancel."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(subject).write_text(str(child.pid))
    report.step("one")
    report.step("two")
    time.sleep(60)


def talk(report: Reporter, subject: str) -> None:
    """Write to the log in every way, and end in the middle of it."""
    print("printed")
    print("to stderr: é", file=sys.stderr)
    logging.getLogger("mine").info("logged")
    report.log("reported\nin two lines")
    os.write(1, b"no line end")
    os.kill(os.getpid(), 9)


def early(report: Reporter, subject: str) -> None:
    """Give a part of the result and a file, and fail."""
    report.result({"notes": ["early"]})
    for content in ("first", "second"):
        Path(subject).write_text(content)
        report.file(subject)
    raise ValueError("too bad")


def read_upload(report: Reporter, subject: Path) -> dict[str, Any]:
    return {"notes": [str(len(subject.read_bytes())), subject.suffix]}


def wait_shortly(report: Reporter, subject: str) -> None:
    report.step("waiting")
    time.sleep(float(subject))


JOBS: Jobs = {
    "end_by": end_by,
    "die_once": die_once,
    "stubborn": stubborn,
    "talk": talk,
    "early": early,
    "read_upload": Job(read_upload, subjects=Upload()),
    "wait": wait_shortly,
}
