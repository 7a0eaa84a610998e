"""What operations have on disk besides their rows: logs and files."""

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from progress.contract import BackendRejected, BackendUnavailable
from progress.operation import Log, LogLine
from progress.text import reason_of

MAX_SIZE = 1_000_000
"""Bytes of each of the two files. When one is full, the older file is removed."""
BLOCK = 100
"""Lines that are written at a time, after a look at the size of the file."""
CHUNK = 50_000
"""Bytes that are read at a time."""
_DROPPED = b"dropped "  # begins the first line of a file: how many lines were removed before it


class JobFiles:
    """The logs and files of all operations, in a folder.

    Names in it are hashes: an id or a name that comes from outside may be any text.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log(self, operation_id: str) -> "LogFile":
        """Return the log of an operation."""
        return LogFile(self.folder / f"{_hash(operation_id)}.log")

    def logs(self, operation_ids: Iterable[str], limit: int) -> dict[str, Log]:
        """Return the latest lines of the logs that have some."""
        logs = {name: self.log(name).read(limit) for name in operation_ids}
        return {name: log for name, log in logs.items() if log.lines}

    def save(self, operation_id: str, name: str, content: bytes) -> None:
        """Store a file; it is there whole or not at all.

        Raises:
            BackendUnavailable: It cannot be written.
        """
        path = self._path(operation_id, name)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # No other thread has this folder, and nothing of it stays if the disk is full.
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                part = Path(folder, "part")
                with open(part, "wb", opener=_private) as file:
                    file.write(content)
                part.replace(path)
        except OSError as error:
            raise BackendUnavailable(f"The file cannot be stored: {reason_of(error)}") from error

    def read(self, operation_id: str, name: str) -> bytes:
        """Return a file.

        Raises:
            BackendRejected: There is none.
            BackendUnavailable: It cannot be read.
        """
        try:
            return self._path(operation_id, name).read_bytes()
        except FileNotFoundError:
            raise BackendRejected(f"There is no file {name!r}: it may have been removed.") from None
        except OSError as error:
            raise BackendUnavailable(f"The file cannot be read: {reason_of(error)}") from error

    def remove_older(self, before: datetime, kept: Iterable[str]) -> Iterator[None]:
        """Remove the logs and files that were stored before a time, but for those of some
        operations and uploads, as far as that is allowed. Yields after each."""
        names = {_hash(operation_id) for operation_id in kept}
        for path in self.folder.glob("*.*"):
            name, _, kind = path.name.partition(".")
            if not _HASH.fullmatch(name) or name in names:
                continue
            with suppress(OSError):
                if path.stat().st_mtime < before.timestamp():
                    if kind == "files":
                        shutil.rmtree(path)
                    else:
                        path.unlink()
                    yield

    def _path(self, operation_id: str, name: str) -> Path:
        return self.folder / f"{_hash(operation_id)}.files" / _hash(name)


class LogFile:
    """Lines of text, each after its time. Only one process appends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._older = path.with_name(f"{path.name}.1")

    def append(self, lines: list[LogLine]) -> None:
        """Add lines; the oldest are removed when there are too many.

        Raises:
            BackendUnavailable: They cannot be written.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for start in range(0, len(lines), BLOCK):
                self._append(lines[start : start + BLOCK])
        except OSError as error:
            raise BackendUnavailable(f"The log cannot be written: {reason_of(error)}") from error

    def read(self, limit: int) -> Log:
        """Return at most `limit` of the latest lines.

        Raises:
            BackendUnavailable: They cannot be read.
        """
        try:
            lines = _last_lines(self._path, limit)
            if len(lines) < limit:
                lines = _last_lines(self._older, limit - len(lines)) + lines
            return Log(tuple(lines), _dropped(self._path))
        except OSError as error:
            raise BackendUnavailable(f"The log cannot be read: {reason_of(error)}") from error

    def _append(self, lines: list[LogLine]) -> None:
        if self._path.exists() and self._path.stat().st_size > MAX_SIZE:
            self._start_next_file()
        content = "".join(
            f"{line.at.isoformat(timespec='milliseconds')} {line.text}\n" for line in lines
        ).encode()
        with open(self._path, "ab", buffering=0, opener=_private) as file:
            size = file.tell()
            if file.write(content) < len(content):
                file.truncate(size)  # no half line: it is written again
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _start_next_file(self) -> None:
        dropped = _dropped(self._path) + _count_lines(self._older)
        self._path.replace(self._older)
        if dropped:
            with open(self._path, "wb", opener=_private) as file:
                file.write(_DROPPED + b"%d\n" % dropped)


_HASH = re.compile("[0-9a-f]{32}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _dropped(path: Path) -> int:
    """Return how many lines had been removed when a file was begun."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        first = file.readline(100)
        if first.startswith(_DROPPED):
            return int(first.removeprefix(_DROPPED))
    return 0


def _count_lines(path: Path) -> int:
    with suppress(FileNotFoundError):
        content = path.read_bytes()
        return content.count(b"\n") - content.startswith(_DROPPED)
    return 0


def _last_lines(path: Path, limit: int) -> list[LogLine]:
    """Return the last lines of a file, and read not much more of it."""
    content = b""
    with suppress(FileNotFoundError), path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        while position > 0 and content.count(b"\n") <= limit:
            begin = max(position - CHUNK, 0)
            file.seek(begin)
            content = file.read(position - begin) + content
            position = begin
    lines = map(_parse, content.decode(errors="replace").split("\n")[-limit - 1 :])
    return [line for line in lines if line is not None]


def _parse(text: str) -> LogLine | None:
    time, _, line = text.partition(" ")
    try:
        return LogLine(datetime.fromisoformat(time), line)
    except ValueError:
        return None  # the empty end, or the number of the removed lines


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
