"""The jobs of these tests. They import little, so that their processes start soon."""

import ctypes
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from progress import reporter
from progress.job import Job, Jobs, Upload
from progress.reporter import Reporter


def end_by(report: Reporter, subject: str) -> None:
    """End the process by a signal or, if negative, with an exit code."""
    report.step("one")
    report.step("two")
    print("half done")
    number = int(subject)
    os.kill(os.getpid(), number) if number > 0 else os._exit(-number)
    while True:  # SIGTERM ends it at its next step
        report.step("two")
        time.sleep(0.1)


def die_once(report: Reporter, subject: str) -> dict[str, Any]:
    """End the process in the first attempt."""
    report.step("one")
    if not Path(subject).exists():
        Path(subject).touch()
        os._exit(7)
    return {"notes": ["second attempt"]}


def die_and_raise(report: Reporter, subject: str) -> None:
    """Note each run in a file. End the process in the first, and raise in others."""
    report.result({"notes": ["a part"]})
    with Path(subject).open("a") as runs:
        runs.write("run\n")
    if Path(subject).read_text() == "run\n":
        os._exit(7)
    raise ValueError("again")


def raise_or_die(report: Reporter, subject: str) -> None:
    """Note each run in a file. Raise in every odd one, and end the process in the others."""
    with Path(subject).open("a") as runs:
        runs.write("run\n")
    if Path(subject).read_text().count("run") % 2:
        raise ValueError("odd")
    os._exit(7)


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


def steps(report: Reporter, subject: str) -> None:
    """Run 80 steps in 8 s."""
    report.total(80)
    for number in range(80):
        report.step(f"step {number}")
        time.sleep(0.1)


def long_step(report: Reporter, subject: str) -> None:
    report.step("long")
    time.sleep(60)


def never_stored(report: Reporter, subject: str) -> None:
    """Note each run in a file. The writer of the outcome gives up soon."""
    with Path(subject).open("a") as runs:
        runs.write("run\n")
    reporter.FINISH_DELAYS = (0.0, 0.0, 0.0, 0.0, 0.0)


def end_in_an_outage(report: Reporter, subject: str) -> None:
    """Note each run in a file, and end when told so: without an outcome, or with a lost one."""
    path, _, how = subject.partition(" ")
    with Path(path).open("a") as runs:
        runs.write("run\n")
    while not Path(f"{path}.go").exists():
        time.sleep(0.05)
    if how == "dies":
        os._exit(7)
    setattr(reporter, "FINISH_DELAYS", ())  # noqa: B010  (its type has five numbers)


def with_child(report: Reporter, subject: str) -> None:
    """Start a process that outlives the job."""
    Path(subject).write_text(str(os.getpid()))
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)"])
    report.step("one")
    report.step("two")
    time.sleep(60)


def no_steps(report: Reporter, subject: str) -> None:
    pass


def print_any_bytes(report: Reporter, subject: str) -> None:
    os.write(1, b"caf\xe9 of a subprocess\n")
    time.sleep(0.5)
    print("→ still here", flush=True)


def hold_the_interpreter(report: Reporter, subject: str) -> None:
    report.step("sorting")
    ctypes.PyDLL(None).sleep(6)  # a PyDLL holds the lock of the interpreter in its calls
    report.step("sorted")


JOBS: Jobs = {
    "end_by": end_by,
    "die_once": die_once,
    "die_and_raise": die_and_raise,
    "raise_or_die": raise_or_die,
    "stubborn": stubborn,
    "talk": talk,
    "early": early,
    "read_upload": Job(read_upload, subjects=Upload()),
    "wait": wait_shortly,
    "steps": steps,
    "no_steps": no_steps,
    "long_step": long_step,
    "never_stored": never_stored,
    "with_child": with_child,
    "end_in_an_outage": end_in_an_outage,
    "bytes": print_any_bytes,
    "hold": hold_the_interpreter,
}
