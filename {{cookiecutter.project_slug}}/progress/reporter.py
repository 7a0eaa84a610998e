"""A job's side: what it reports, and when that is written. No Streamlit here.

The job calls its `Reporter`, which keeps what it says in a `ProgressLog`. A `PacedWriter` writes
the newest state of the log to the backend: in the job's thread at a step, and in a thread of its
own between the steps.
"""

import logging
import math
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from operator import length_hint
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from progress.contract import (
    BackendError,
    BackendUnavailable,
    OperationCancelled,
    OperationLost,
    ProgressWriter,
)
from progress.operation import (
    LAST_STEPS,
    MAX_BARS,
    MAX_METRICS,
    MAX_STEP_DESCRIPTION,
    NO_LIVE,
    Bar,
    Live,
    LogLine,
    Progress,
    Status,
    Step,
)
from progress.results import FILES, add_file, merge, to_json, to_metric
from progress.text import as_line, safe_repr, sanitize, truncate

log = logging.getLogger(__name__)

MAX_STEPS = 10**15
"""The highest total: every backend can store it, and a float holds it exactly."""
# A job of 30,000 quick steps must not become 30,000 writes.
WRITE_INTERVAL = 0.2
"""Shortest time in seconds between two writes of progress."""
HEARTBEAT_INTERVAL = 1.0
"""Longest time in seconds between two writes, even if nothing has changed."""
MAX_FAILURE = 2_000
"""Characters of a line about a failure, and of each part of a traceback."""
MAX_FAILURES = 30_000
"""Characters of all lines about failures."""
FINISH_DELAYS = (0.2, 1.0, 5.0, 15.0, 30.0)
"""Seconds between the attempts to write the outcome: it is the write that must not be lost."""
MAX_REFUSALS = 3
"""Attempts to write the outcome to a backend that takes heartbeats: it refuses the outcome."""

MAX_FILE = 200_000_000
"""Bytes of a file that a job keeps."""

Item = TypeVar("Item")

OTHER_PROCESS = (
    "`report` cannot be used in another process. Let the function of the process return what it"
    " did, and call `report` in the job."
)


class FailureList:
    """Lines about failures: the first and the last of them, however many there are."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._last: deque[str] = deque()
        self._added = self._first_size = self._last_size = 0

    def add(self, line: str) -> None:
        """Add a line. Once half of the room is taken, it replaces older lines than the first."""
        self._added += 1
        if not self._last and self._first_size + len(line) <= MAX_FAILURES // 2:
            self._first.append(line)
            self._first_size += len(line) + 1
            return
        self._last.append(line)
        self._last_size += len(line) + 1
        while self._last_size > MAX_FAILURES // 2:
            self._last_size -= len(self._last.popleft()) + 1

    @property
    def is_full(self) -> bool:
        """Whether lines are replaced from now on."""
        return bool(self._last)

    def text(self) -> str:
        """Return the lines, and in the middle how many are missing."""
        missing = self._added - len(self._first) - len(self._last)
        middle = [f"… {missing:,} more failures …"] if missing else []
        return "\n".join([*self._first, *middle, *self._last])


class ProgressLog:
    """What a job has reported. A change replaces `progress`, which itself never changes.

    Args:
        on_step: Called with the number and the description of each step that starts.
        live: The retries so far.
    """

    def __init__(
        self,
        on_step: Callable[[int, str], None] = lambda number, text: None,
        live: Live = NO_LIVE,
    ) -> None:
        self.progress = Progress(live=live)
        self._on_step = on_step
        self._step_started: float | None = None  # None between two steps
        self._failures = FailureList()
        self._has_failed = False  # the current step
        self._lock = threading.Lock()

    def set_total(self, steps: int) -> None:
        """Set the number of steps, or that of the ended steps if these are more."""
        with self._lock:
            steps = max(steps, self.progress.current_step)
            self.progress = replace(self.progress, total_steps=steps)

    def start_step(self, description: str) -> None:
        """End the current step and start the next."""
        with self._lock:
            ended = self._progress_after_step()
            total = ended.total_steps
            if total is not None:
                # More steps than announced: the bar must not pass its end.
                total = max(total, ended.current_step + 1)
            live = replace(ended.live, bars=())
            self.progress = replace(
                ended, total_steps=total, step_description=description, live=live
            )
            self._step_started, self._has_failed = time.monotonic(), False
            self._on_step(ended.current_step + 1, description)

    def end_step(self) -> None:
        """End the current step."""
        with self._lock:
            self.progress = self._progress_after_step()
            self._step_started = None

    def set_bar(self, level: int, bar: Bar | None) -> None:
        """Set or remove the bar of a loop, and remove those of the loops within it."""
        with self._lock:
            live = self.progress.live
            bars = (*live.bars[:level], *([bar] if bar else []))[:MAX_BARS]
            self.progress = replace(self.progress, live=replace(live, bars=bars))

    def set_metric(self, name: str, value: float | str | None) -> None:
        """Set a figure. Above MAX_METRICS new names are ignored."""
        with self._lock:
            live = self.progress.live
            if name in live.metrics or len(live.metrics) < MAX_METRICS:
                live = replace(live, metrics={**live.metrics, name: value})
                self.progress = replace(self.progress, live=live)

    def begin_retry(self, reason: str) -> None:
        """Forget what the job has reported: it runs again."""
        with self._lock:
            live = Live(retries=self.progress.live.retries + 1, retry_reason=reason)
            self.progress = Progress(live=live)
            self._step_started, self._failures = None, FailureList()

    def fail_step(self, reason: str) -> None:
        """Note that the current step failed. It may fail several times, and counts once."""
        with self._lock:
            where = "Before the first step"
            if self._step_started is not None:
                if not self._has_failed:
                    self._has_failed = True
                    failed_steps = self.progress.failed_steps + 1
                    self.progress = replace(self.progress, failed_steps=failed_steps)
                number, description = self.progress.current_step + 1, self.progress.step_description
                where = f"Step {number}, {truncate(description)}"
            line = as_line(f"{where}: {reason}", MAX_FAILURE)
            self._failures.add(line)
            is_full = self._failures.is_full
        if not is_full:  # the log has lines of the job, too
            log.warning("%s", line)  # the process may be ended before these lines are stored

    def failures(self) -> str:
        """Return the lines about the failures, the first and the last; "" if no step failed."""
        with self._lock:
            return self._failures.text()

    def _progress_after_step(self) -> Progress:
        if self._step_started is None:
            return self.progress
        number = self.progress.current_step + 1
        description = self.progress.step_description[:MAX_STEP_DESCRIPTION]
        seconds = round(time.monotonic() - self._step_started, 3)
        step = Step(number, description, seconds, self._has_failed)
        last_steps = (*self.progress.last_steps, step)[-LAST_STEPS:]
        return replace(self.progress, current_step=number, last_steps=last_steps)


class PacedWriter:
    """Writes the newest progress of a log, not too often and not too seldom.

    Args:
        writer: Where the progress goes.
        progress_log: What the job has reported.
        heartbeat: Whether a thread writes between the steps. Without it every step goes to
            `writer`, in the job's thread, and `writer` limits how often it stores something.

    Attributes:
        stop_signal: The exception that must end the job; None while it may go on.
        writer: As it was given.
    """

    def __init__(
        self, writer: ProgressWriter, progress_log: ProgressLog, heartbeat: bool = True
    ) -> None:
        self.stop_signal: type[OperationCancelled | OperationLost] | None = None
        self.writer = writer
        self._stored: Progress | None = progress_log.progress  # None if the last write failed
        self._written_at = self._result_at = -float("inf")
        self._result: str | None = None  # None if it is written
        self._log = progress_log
        self._has_heartbeat = heartbeat
        self._lock = threading.Lock()  # one write at a time, so that the newest is the last

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Write now, and keep writing, in a thread, until the block ends."""
        self.write()
        ended = threading.Event()

        def beat_until_ended() -> None:
            while not ended.wait(WRITE_INTERVAL):
                self.beat()

        thread = threading.Thread(target=beat_until_ended, name="heartbeat", daemon=True)
        if self._has_heartbeat:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            if self._has_heartbeat:
                thread.join()

    def beat(self) -> None:
        """Write what has changed since the last write, or a heartbeat if one is due."""
        has_changed = self._log.progress is not self._stored
        if self._is_due(WRITE_INTERVAL if has_changed else HEARTBEAT_INTERVAL):
            self.write()
        self._write_due_result()

    def set_result(self, result: str) -> None:
        """Write the result so far, or leave it to the heartbeat if the last write was just now."""
        self._result = result
        self._write_due_result()

    def _write_due_result(self) -> None:
        # Without a heartbeat nothing else would write it, and `writer` limits how often it does.
        if not self._has_heartbeat or time.monotonic() - self._result_at >= WRITE_INTERVAL:
            self._write_result()

    def _write_result(self) -> None:
        with self._lock:
            result, self._result = self._result, None
            if result is not None:
                with suppress(BackendError):  # it is stored again at the end
                    self.writer.result(result)
                self._result_at = time.monotonic()

    def write_change(self) -> None:
        """Write a change, or leave it to the heartbeat if the last write was just now, or failed.

        So while the backend is unavailable only the heartbeat waits for it, and the job goes on.
        """
        is_due = self._stored is not None and self._is_due(WRITE_INTERVAL)
        if is_due or not self._has_heartbeat:
            self.write()

    def check(self) -> None:
        """Bring `stop_signal` up to date within a step: without a heartbeat nothing else does."""
        if not self._has_heartbeat:
            self.beat()

    def write(self) -> None:
        """Write the progress, and learn whether the job must stop."""
        with self._lock:
            progress = self._log.progress
            stored: Progress | None = progress
            try:
                if self.writer.progress(progress) and self.stop_signal is None:
                    self.stop_signal = OperationCancelled
            except OperationLost:
                self.stop_signal = OperationLost
            except Exception as error:
                # Progress is not worth failing the job: the next heartbeat tries again.
                log.warning("Progress could not be stored: %s", error)
                stored = None
            self._stored, self._written_at = stored, time.monotonic()

    def finish(self, status: Status, error: str | None = None, result: str | None = None) -> Status:
        """Store the outcome and return its status: failed if the backend refuses it.

        A backend refuses it if it says so, or takes a heartbeat and is unavailable for the outcome
        (the disk is full), MAX_REFUSALS times.

        Raises:
            BackendUnavailable: The backend was unavailable at each of several attempts.
            Exception: The backend refused the failure, too.
        """
        self._write_result()  # a refused outcome has none
        outcome = (status, self._log.progress, error, result)
        delays, refusals, was_refused = iter(FINISH_DELAYS), 0, False
        while True:
            try:
                self.writer.finish(*outcome)
                return outcome[0]
            except BackendUnavailable as unavailable:
                problem: Exception = unavailable
                # A writer without heartbeats may skip this one, and a lost operation has none.
                self.write()
                has_stored = self._stored is not None and self.stop_signal is not OperationLost
                refusals = refusals + 1 if has_stored and self._has_heartbeat else 0
                if refusals < MAX_REFUSALS:
                    delay = next(delays, None)
                    if delay is None:
                        raise
                    log.warning("The outcome was not stored, next try in %s s: %s", delay, problem)
                    time.sleep(delay)
                    continue
            except Exception as refused:
                problem = refused
            # The same values would be refused again. Better a failure with a reason than an
            # operation that never ends.
            if was_refused:
                raise problem
            refusals, was_refused = 0, True
            log.error("The outcome was refused", exc_info=problem)
            reason = truncate(sanitize(f"The outcome could not be stored: {problem}"))
            outcome = (Status.FAILED, self._stored or Progress(), reason, None)

    def _is_due(self, interval: float) -> bool:
        return time.monotonic() - self._written_at >= interval


class Reporter:
    """What a job calls to report its progress. Threads of the job may share it."""

    def __init__(self, progress_log: ProgressLog, writer: PacedWriter) -> None:
        self._log = progress_log
        self._writer = writer
        self._told_to_stop = False
        self._process = os.getpid()
        self._result: dict[str, Any] = {}
        self._loops = 0

    def __reduce__(self) -> NoReturn:
        """Refuse to be sent to another process."""
        raise TypeError(OTHER_PROCESS)

    def total(self, steps: int) -> None:
        """Set the number of steps. Call it again when the number changes.

        Raises:
            ValueError: `steps` is not a number from 0 to MAX_STEPS.
        """
        self._check_process()
        self._log.set_total(_whole(steps, f"total({safe_repr(steps, 80)}): the number of steps"))
        self._writer.write_change()

    def step(self, description: str) -> None:
        """Start the next step; the previous one has ended.

        Raises:
            OperationCancelled: Cancel was requested.
            OperationLost: The operation no longer belongs to this worker.
        """
        self._check_process()
        self._log.start_step(sanitize(str(description)))
        self._writer.write_change()
        self._stop_if_told()

    def step_failed(self, reason: BaseException | str) -> None:
        """Report that the current step failed. The job goes on, and will end as partial."""
        self._check_process()
        text = _message(reason) if isinstance(reason, BaseException) else str(reason)
        self._log.fail_step(sanitize(truncate(text, MAX_FAILURE)))

    def track(
        self, items: Iterable[Item], description: str, total: int | None = None
    ) -> Iterator[Item]:
        """Yield the items, and show how many of them are done, as a bar of its own.

        It starts a step with this description; within the loop over another `track` it does not.

        Args:
            items: What to loop over.
            description: What the loop does.
            total: How many items there are, if `items` has no length.

        Raises:
            ValueError: `total` is not a number from 0 to MAX_STEPS.
            OperationCancelled: Cancel was requested.
            OperationLost: The operation no longer belongs to this worker.
        """
        self._check_process()
        level, text = self._loops, sanitize(str(description))
        if total is None:
            total = length_hint(items) or None  # 0 if it is unknown
        else:
            total = _whole(total, f"track(total={safe_repr(total, 80)}): the number of items")
        if level == 0:
            self.step(text)
        self._loops += 1
        shown_at = -float("inf")
        try:
            for done, item in enumerate(items):
                # Not for each of a million items.
                if time.monotonic() - shown_at >= WRITE_INTERVAL / 2:
                    self._log.set_bar(level, Bar(text, done, total))
                    shown_at = time.monotonic()
                    self._writer.write_change()
                    self._stop_if_told()
                yield item
        finally:
            self._loops = level
            self._log.set_bar(level, None)

    def metric(self, name: str, value: object) -> None:
        """Show a figure while the job runs, and with its result. At most MAX_METRICS of them."""
        self._check_process()
        figure = to_metric(value)
        if isinstance(figure, str):
            figure = truncate(sanitize(figure), MAX_STEP_DESCRIPTION)
        self._log.set_metric(truncate(sanitize(str(name)), MAX_STEP_DESCRIPTION), figure)
        self._writer.write_change()

    def log(self, text: object) -> None:
        """Add a line to the log of the operation, as `print` does."""
        self._check_process()
        now = datetime.now(UTC)
        lines = [LogLine(now, line) for line in sanitize(str(text)).splitlines() or [""]]
        with suppress(BackendError):  # a log is not worth failing the job
            self._writer.writer.log(lines)

    def result(self, part: Mapping[str, Any]) -> None:
        """Show what there is of the result now. It also survives a failure of the job.

        Call it again for more: a key replaces the same key of before. What the job returns is
        added to it.
        """
        self._check_process()
        self._result |= part
        text, problem = to_json(self._result)
        if problem:
            log.warning("The result so far: %s", problem)
        self._writer.set_result(text)

    def file(self, path: str | os.PathLike[str], name: str = "") -> None:
        """Keep a file, which the page then offers. It replaces a file of the same name.

        Args:
            path: The file.
            name: What the page calls it; by default as it is called.

        Raises:
            OSError: It cannot be read.
            ValueError: It is larger than MAX_FILE.
            BackendError: It cannot be stored.
        """
        self._check_process()
        file = Path(path)
        if (size := file.stat().st_size) > MAX_FILE:
            raise ValueError(
                f"{file.name} has {size:,} bytes: at most {MAX_FILE:,} are kept."
                " Store it elsewhere, and return its address."
            )
        kept_name = as_line(sanitize(Path(name).name), 200) or as_line(sanitize(file.name), 200)
        self.keep(kept_name, file.read_bytes())

    def keep(self, name: str, content: bytes) -> None:
        """Keep a file of this content: see `file`."""
        self._writer.writer.save_file(name, content)
        self.result({FILES: add_file(self._result.get(FILES), name, len(content))})

    @property
    def cancelled(self) -> bool:
        """Whether the job must stop: for long loops inside a step. Up to 1 s old.

        A job for which this was True ends as cancelled, whatever it returns or raises.
        Without a heartbeat thread this also writes what has changed.
        """
        self._check_process()
        self._writer.check()
        self._told_to_stop = self._writer.stop_signal is not None
        return self._told_to_stop

    def raise_if_told_to_stop(self) -> None:
        """Raise if `step` has raised, or `cancelled` was True. For `run_job`.

        Raises:
            OperationCancelled: Cancel was requested.
            OperationLost: The operation no longer belongs to this worker.
        """
        if self._told_to_stop and self._writer.stop_signal is not None:
            raise self._writer.stop_signal

    def wait_for_retry(self, error: Exception, seconds: float) -> None:
        """Forget what the job has reported, and wait. For `run_job`.

        Raises:
            OperationCancelled: Cancel was requested.
            OperationLost: The operation no longer belongs to this worker.
        """
        self.raise_if_told_to_stop()
        self._loops = 0
        if self._result:
            self._result = {}
            self.result({})
        self._log.begin_retry(as_line(sanitize(_message(error)), MAX_FAILURE))
        self._writer.write()  # it counts, however soon the process dies
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.cancelled:
                self._stop_if_told()
            time.sleep(min(WRITE_INTERVAL, seconds))

    def uploaded(self, operation_id: str, name: str, folder: Path) -> Path:
        """Write an uploaded file to a folder, and return its path. For `run_job`.

        Only the end of its name is that of the upload: nobody has checked the rest.
        """
        suffix = "".join(c for c in Path(name).suffix if c == "." or c.isalnum())[:20]
        path = folder / f"upload{suffix}"
        path.write_bytes(self._writer.writer.read_file(operation_id, name))
        return path

    def outcome(self, value: object) -> tuple[str | None, str | None]:
        """Return as JSON what the job returned, with what it gave to `result` and `metric`, and
        why it is incomplete, if it is. For `run_job`."""
        metrics = self._log.progress.live.metrics
        reported = merge({"metrics": metrics} if metrics else {}, self._result)
        if value is None and not reported:
            return None, None
        return to_json({} if value is None else value, reported, self.keep)

    def _stop_if_told(self) -> None:
        if self._writer.stop_signal is not None:
            self._told_to_stop = True
            raise self._writer.stop_signal

    def _check_process(self) -> None:
        # A process that was forked has a copy: no heartbeat, and the file of the database open.
        if os.getpid() != self._process:
            raise RuntimeError(OTHER_PROCESS)


def _message(error: BaseException) -> str:
    """Return the kind and the message of an exception: not the lines before them, the code of a
    SyntaxError, nor the notes after them."""
    lines = traceback.format_exception_only(error)
    return next(line for line in lines if not line.startswith(" ")).strip()


def _whole(value: object, what: str) -> int:
    try:
        number = math.floor(cast(float, value))
    except (TypeError, ValueError, OverflowError):  # text, NaN, infinity
        number = -1
    if not 0 <= number <= MAX_STEPS:
        raise ValueError(f"{what} is a whole number from 0 to {MAX_STEPS:,}.")
    return number
