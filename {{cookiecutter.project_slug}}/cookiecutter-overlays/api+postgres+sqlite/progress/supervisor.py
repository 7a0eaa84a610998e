"""Runs a job in a process of its own: reads its output, ends it, and says how it ended.

The process may do anything: hold its interpreter for minutes, start others, be killed. The thread
that waits for it here is not affected.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import TypeVar, cast

from progress.contract import BackendError, BackendUnavailable, ProgressWriter
from progress.execution import run_job
from progress.operation import LogLine, Operation, Options, Status
from progress.processes import OWN_GROUP
from progress.settings import ROOT
from progress.text import sanitize, truncate

Value = TypeVar("Value")
log = logging.getLogger(__name__)

CHECK_INTERVAL = 0.2
"""Seconds between two checks of a process, and between two writes of its log."""
STOP_TIMEOUT = 3.0
"""Seconds that a process has to end after SIGTERM."""
MAX_LINE = 2_000
"""Characters of a line of a log."""
MAX_WAITING = 10_000
"""Lines that wait to be written, while the backend is unavailable or a job prints too fast."""
TAIL = 40
"""Lines of the log that the reason of a death contains, as far as they fit."""
TAIL_LENGTH = 4_000
"""Characters of them."""
STEP_LENGTH = 1_000
"""Bytes of the file with the step that a job has begun."""
END_OF_OUTPUT = "\x1e\n"
"""What a job prints to have its output stored; no log line contains it."""
STORE_TIMEOUT = 1.0
"""Seconds that a job waits for it."""
RETRY_INTERVAL = 1.0
"""Seconds between two calls of a store that is unavailable."""
FORCE_STOP = "was stopped by force"
"""Why a process was stopped: a viewer asked for it."""

_ENVIRONMENT = {
    # A print never fails, whatever the locale, and arrives even if the process is killed.
    "PYTHONUNBUFFERED": "1",
    "PYTHONIOENCODING": "utf-8:backslashreplace",
    # A crash in native code prints where it happened.
    "PYTHONFAULTHANDLER": "1",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How the process of a job ended."""

    code: int
    """Its exit code; negative: the signal that killed it."""
    stopped: str = ""
    """Why it was stopped from here; "" if it ended by itself."""
    step: tuple[int, str] | None = None
    """The number and the description of the step that it had begun."""
    tail: str = ""
    """The last lines of its output."""

    @property
    def reason(self) -> str:
        """Why the job has no outcome; the last line is the reason."""
        text = f"The process of the job {self._how()}."
        if not self.tail:
            return text
        # Indented, so that the last line is the `reason` of the operation, whatever the job prints.
        return f"The last lines of its log:\n\n{textwrap.indent(self.tail, '    ')}\n\n{text}"

    @property
    def status(self) -> Status:
        """How the operation ends that has no outcome."""
        return Status.CANCELLED if self.stopped == FORCE_STOP else Status.FAILED

    def _how(self) -> str:
        if self.stopped:
            return self.stopped
        if self.code >= 0:
            return f"ended with exit code {self.code}"
        try:
            name = signal.Signals(-self.code).name
        except ValueError:
            name = f"signal {-self.code}"
        return f"was killed by {name}" + (
            ", probably because memory ran out" if name == "SIGKILL" else ""
        )


def when_available(call: Callable[[], Value], stopping: threading.Event) -> Value:
    """Return what a call of a store returns, as soon as the store is available.

    Raises:
        BackendUnavailable: It is not, and this process must stop.
    """
    while True:
        try:
            return call()
        except BackendUnavailable as error:
            log.warning("Next try in %s s: %s", RETRY_INTERVAL, error)
            if stopping.wait(RETRY_INTERVAL):
                raise


def run_process(
    command: Sequence[str],
    options: Options,
    write_log: Callable[[list[LogLine]], None],
    stop_reason: Callable[[], str],
) -> Ending:
    """Run a job in a process, and wait for its end.

    Args:
        command: The command. It gets the path of the step file as one more argument.
        options: Those of the operation.
        write_log: Stores lines of the log; may raise BackendError, and is then called again.
        stop_reason: Called every CHECK_INTERVAL. Once it returns text, as "was stopped", the
            process must end.

    Raises:
        OSError: The process cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="job-", ignore_cleanup_errors=True) as folder:
        step = Path(folder, "step")
        process = subprocess.Popen(
            [*command, str(step)],
            cwd=ROOT,
            # The folder is removed however the process ends: the copy of an upload is in it.
            env=os.environ | _ENVIRONMENT | {"JOB_FOLDER": folder},
            # It ends when this process does: see `Supervisor`.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            # Its children are ended with it, and Ctrl-C in a terminal does not reach it.
            **OWN_GROUP,
        )
        confirm = cast("TextIOWrapper", process.stdin)
        output = _Output(cast("TextIOWrapper", process.stdout), write_log, confirm)
        with confirm:
            stopped = _wait(process, options.time_limit, stop_reason, output)
        output.close()
        return Ending(process.returncode, stopped, _read_step(step), output.tail())


def _wait(
    process: "subprocess.Popen[str]",
    time_limit: float,
    stop_reason: Callable[[], str],
    output: "_Output",
) -> str:
    """Wait for the end of a process; return why it was stopped, or ""."""
    began, stopped, kill_at = time.monotonic(), "", float("inf")
    while True:
        with suppress(subprocess.TimeoutExpired):
            if process.wait(CHECK_INTERVAL) or stopped:
                _signal_group(process, "SIGKILL")  # its children may not have ended
            return stopped
        output.flush()
        if not stopped:
            stopped = stop_reason()
            if not stopped and time_limit and time.monotonic() - began > time_limit:
                stopped = f"was stopped: it ran longer than its time limit of {time_limit:g} s"
            if stopped:
                kill_at = time.monotonic() + STOP_TIMEOUT
                _signal_group(process, "SIGTERM")
        elif time.monotonic() > kill_at:
            _signal_group(process, "SIGKILL")


def _signal_group(process: "subprocess.Popen[str]", name: str) -> None:
    with suppress(OSError):  # it has ended
        if sys.platform == "win32":  # it has neither these signals nor groups
            process.kill()
        else:
            os.killpg(process.pid, getattr(signal, name))


class _Output:
    """What a process prints: the lines get a time as they arrive, and are written in blocks."""

    def __init__(
        self,
        pipe: TextIOWrapper,
        write_log: Callable[[list[LogLine]], None],
        confirm: TextIOWrapper,
    ) -> None:
        pipe.reconfigure(newline="")
        self._pipe = pipe
        self._write_log = write_log
        self._confirm = confirm
        self._write_lock = threading.Lock()  # one write at a time: the lines keep their order
        self._waiting: list[LogLine] = []
        self._missing = 0  # how many lines were removed because too many waited
        self._lock = threading.Lock()
        self._last: deque[str] = deque(maxlen=TAIL)
        self._reader = threading.Thread(target=self._read, name="output", daemon=True)
        self._reader.start()

    def flush(self) -> None:
        """Write the lines that have arrived."""
        with self._write_lock:
            with self._lock:
                lines, missing = self._waiting[-MAX_WAITING:], self._missing
                missing += len(self._waiting) - len(lines)
                self._waiting, self._missing = [], 0
            if not lines:
                return
            note = LogLine(lines[0].at, f"… {missing:,} lines are missing: too many waited …")
            try:
                self._write_log([note, *lines] if missing else lines)
            except BackendError:
                with self._lock:
                    self._waiting[:0], self._missing = lines, missing

    def close(self) -> None:
        """Write the rest. A child of the job may hold the pipe open: that is not waited for."""
        self._reader.join(1.0)
        self.flush()

    def tail(self) -> str:
        """Return the last lines."""
        lines = "\n".join(self._last).strip()
        return lines[-TAIL_LENGTH:]

    def _read(self) -> None:
        is_rest = False  # of a line that is too long
        with self._pipe:
            while line := self._pipe.readline(MAX_LINE + 10):
                if is_end := line.endswith(END_OF_OUTPUT):
                    line = line.removesuffix(END_OF_OUTPUT)
                # As in a terminal: the next line overwrites one that ends in a carriage return.
                if line and not is_rest and not line.endswith("\r"):
                    self._add(truncate(sanitize(line.rstrip("\r\n")), MAX_LINE))
                is_rest = not (is_end or line.endswith(("\r", "\n")))
                if is_end:
                    self.flush()
                    with suppress(OSError, ValueError):  # the job did not wait
                        os.write(self._confirm.fileno(), b"\n")

    def _add(self, text: str) -> None:
        with self._lock:
            self._waiting.append(LogLine(datetime.now(UTC), text))
            if len(self._waiting) > 2 * MAX_WAITING:
                del self._waiting[:MAX_WAITING]
                self._missing += MAX_WAITING
        self._last.append(text)


def _read_step(path: Path) -> tuple[int, str] | None:
    with suppress(OSError):
        number, _, description = path.read_text("utf-8", "ignore").rstrip().partition(" ")
        if number.isdecimal():
            return int(number), description
    return None


# --- in the process of the job ----------------------------------------------------------------


def run_supervised(
    operation: Operation,
    writer: ProgressWriter,
    step_file: str,
    supervisor: "Supervisor",
    fail: Callable[[str], object],
) -> None:
    """Run the job of an operation to its end.

    Args:
        operation: The operation, which this process has begun.
        writer: Where its progress goes.
        step_file: The path of the step file.
        supervisor: The process that supervises this one.
        fail: Stores a reason as the end of the operation, as far as nothing else was stored.
    """
    try:
        status = run_job(
            operation.job,
            operation.subject,
            writer,
            options=operation.options,
            on_step=StepFile(step_file).write,
            on_end=supervisor.wait_for_log,
            calls=operation.attempts - 1,
            live=operation.live.for_retry(),
        )
    except Exception as error:
        # Running it again is no help. The disk may have room for this, although not for a result.
        reason = f"The outcome could not be stored: {error}"
        when_available(lambda: fail(reason), supervisor.stopping)
        status = Status.FAILED
    if status is None and supervisor.stopping.is_set():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)  # so that the supervisor can say so
    if status not in (Status.COMPLETED, Status.PARTIAL):
        sys.exit(1)  # the supervisor ends what the job has started


class StepFile:
    """Holds the step that the job has begun: the store gets it up to 0.2 s later, which a process
    that dies may not have.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)

    def write(self, number: int, description: str) -> None:
        """Replace the step. The same length each time, so that it never has an old end."""
        text = f"{number} {description}".encode()[:STEP_LENGTH].ljust(STEP_LENGTH)
        with suppress(OSError):  # The disk is full: the job goes on.
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, text)


class Supervisor:
    """The process that supervises this one, which ends with it.

    Attributes:
        stopping: Set by SIGTERM: stop at the next step.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._has_stored = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: self.stopping.set())
        self._pipe = os.dup(sys.stdin.fileno())
        self._output = os.dup(sys.stdout.fileno())  # the job may close its own
        # What the job starts must not hold the pipe open, and what reads input must find its end.
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, sys.stdin.fileno())
        os.close(null)
        threading.Thread(target=self._watch, name="supervisor", daemon=True).start()

    def wait_for_log(self) -> None:
        """Wait until it has stored what the job printed, so that the outcome comes after that."""
        os.write(self._output, END_OF_OUTPUT.encode())
        self._has_stored.wait(STORE_TIMEOUT)

    def _watch(self) -> None:
        while os.read(self._pipe, 1):
            self._has_stored.set()
        if sys.platform != "win32" and os.getpid() == os.getpgid(0):
            os.killpg(0, signal.SIGKILL)  # its children, too
        os._exit(1)
