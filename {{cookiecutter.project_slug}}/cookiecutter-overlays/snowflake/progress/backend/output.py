"""What a job prints in a procedure: print, stderr and logging, as lines of its log."""

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

from progress.backend.store import MAX_LINE
from progress.operation import LogLine

WriteLog = Callable[[Sequence[LogLine]], None]


class _Lines(io.RawIOBase):
    """Passes bytes on as lines, each with the time when it ended."""

    def __init__(self, write_log: WriteLog) -> None:
        self._write_log = write_log
        self._rest = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        if len(self._rest) > 4 * MAX_LINE:  # the end of the line may never come
            lines, self._rest = [*lines, self._rest], b""
        now = datetime.now(UTC)
        if lines:
            texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
            self._write_log([LogLine(now, text) for text in texts])
        return len(data)

    def end(self) -> None:
        """Pass on the last line, and ignore what a handler of the job still writes."""
        if self._rest:
            self.write(b"\n")
        self._write_log = lambda lines: None


@contextmanager
def captured(write_log: WriteLog) -> Iterator[None]:
    """Pass what is printed and logged in this block on as lines."""
    lines = _Lines(write_log)
    # A print never fails, whatever it prints, and is not buffered. (A raw stream is buffer enough.)
    raw = cast(BinaryIO, lines)
    stream = io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    # These log every statement.
    logging.getLogger("snowflake").setLevel(logging.WARNING)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        with redirect_stdout(stream), redirect_stderr(stream):
            yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        lines.end()
