"""What operations have on disk besides their rows: logs and files."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from progress.contract import BackendRejected, BackendUnavailable
from progress.operation import Log, LogLine
from progress.supervisor import MAX_LINE
from progress.text import reason_of

MAX_SIZE = 1_000_000
"""Bytes of each of the two files. When one is full, the older file is removed."""
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
            new = path.with_suffix(".new")
            new.write_bytes(content)
            new.replace(path)
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

    def remove(self, operation_id: str) -> None:
        """Remove the log and the files of an operation."""
        self.log(operation_id).remove()
        shutil.rmtree(self._path(operation_id, "").parent, ignore_errors=True)

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
        text = "".join(
            f"{line.at.isoformat(timespec='milliseconds')} {line.text}\n" for line in lines
        )
        try:
            if self._path.exists() and self._path.stat().st_size > MAX_SIZE:
                self._start_next_file()
            with open(self._path, "ab", opener=_private) as file:
                file.write(text.encode())
        except OSError as error:
            raise BackendUnavailable(f"The log cannot be written: {reason_of(error)}") from error

    def read(self, limit: int) -> Log:
        """Return at most `limit` of the latest lines."""
        room = limit * (MAX_LINE + 40)
        lines = _last_lines(self._path, room)
        if len(lines) < limit:
            lines = _last_lines(self._older, room) + lines
        return Log(tuple(lines[-limit:]), _dropped(self._path))

    def remove(self) -> None:
        """Remove the files."""
        self._older.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _start_next_file(self) -> None:
        dropped = _dropped(self._path) + len(_last_lines(self._older, 2 * MAX_SIZE))
        self._path.replace(self._older)
        if dropped:
            self._path.write_bytes(_DROPPED + b"%d\n" % dropped)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _dropped(path: Path) -> int:
    """Return how many lines had been removed when a file was begun."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        first = file.readline(100)
        if first.startswith(_DROPPED):
            return int(first.removeprefix(_DROPPED))
    return 0


def _last_lines(path: Path, room: int) -> list[LogLine]:
    """Return the lines in the last `room` bytes of a file."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(max(path.stat().st_size - room, 0))
        found = map(_parse, file.read().decode(errors="replace").split("\n"))
        return [line for line in found if line is not None]
    return []


def _parse(text: str) -> LogLine | None:
    time, _, line = text.partition(" ")
    try:
        return LogLine(datetime.fromisoformat(time), line)
    except ValueError:
        return None  # a part of a line, or the number of the removed lines


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
