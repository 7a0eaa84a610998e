"""Logs and files of operations on disk."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from streamlit.runtime.secrets import AttrDict

from progress.backend import files
from progress.backend.connection import ProgressConnection
from progress.backend.files import JobFiles
from progress.contract import BackendRejected, BackendUnavailable
from progress.operation import LogLine

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def lines(first: int, last: int, text: str = "line") -> list[LogLine]:
    return [LogLine(T0 + timedelta(seconds=n), f"{text} {n}") for n in range(first, last)]


@pytest.fixture
def kept(tmp_path: Path) -> JobFiles:
    folder = tmp_path / "progress.jobs"
    folder.mkdir(mode=0o700)
    return JobFiles(folder)


@pytest.mark.parametrize(
    ("secrets", "variable", "expected"),
    [
        ({}, "", ".local/progress.db"),
        ({"path": "secret/file.db"}, "", "secret/file.db"),
        ({"path": "secret/file.db"}, "variable.db", "variable.db"),
        ({}, "variable.db", "variable.db"),
    ],
)
def test_the_database_is_where_the_variable_or_else_the_secrets_say(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    secrets: dict[str, str],
    variable: str,
    expected: str,
) -> None:
    monkeypatch.setattr("progress.backend.connection.ROOT", tmp_path)
    monkeypatch.setattr(ProgressConnection, "_secrets", AttrDict(secrets))
    monkeypatch.setenv("PROGRESS_DATABASE", variable)
    connection = ProgressConnection("progress")
    connection.read([])
    connection.reset()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.db")] == [expected]


def test_the_latest_lines_are_read_with_their_times(kept: JobFiles) -> None:
    log = kept.log("a1")
    assert log.read(10).lines == ()
    log.append(lines(0, 3))
    log.append([LogLine(T0, ""), LogLine(T0, "2026 → é")])
    found = log.read(4)
    assert found.lines == (*lines(1, 3), LogLine(T0, ""), LogLine(T0, "2026 → é"))
    assert found.dropped == 0
    assert kept.logs(["a1", "other"], 1) == {"a1": log.read(1)}


@pytest.mark.parametrize("block", [1, 150, 5_000])
def test_the_oldest_lines_are_dropped_and_counted_and_the_size_is_limited(
    kept: JobFiles, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(files, "MAX_SIZE", 50_000)
    log = kept.log("a1")
    for first in range(0, 5_000, block):
        log.append(lines(first, min(first + block, 5_000)))
    found = log.read(10_000)
    assert found.dropped > 0
    assert found.dropped + len(found.lines) == 5_000
    assert list(found.lines) == lines(found.dropped, 5_000), "in order, without a gap"
    assert sum(path.stat().st_size for path in kept.folder.iterdir()) < 2 * 60_000
    assert log.read(1_200).lines == found.lines[-1_200:], "of both files"


def test_there_is_no_gap_between_the_two_files_whatever_the_lines(
    kept: JobFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_SIZE", 200_000)
    log = kept.log("a1")
    log.append(lines(0, 300, "😀" * 1000))
    found = log.read(60).lines
    assert list(found) == lines(240, 300, "😀" * 1000)


def test_a_tail_reads_little(kept: JobFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    log = kept.log("a1")
    log.append(lines(0, 20_000))
    size = next(kept.folder.iterdir()).stat().st_size
    assert size > 500_000
    read: list[int] = []
    opened = Path.open

    def count(self: Path, *args: Any) -> Any:
        file = opened(self, *args)
        real = file.read

        class Counting:
            def __getattr__(self, name: str) -> Any:
                return getattr(file, name)

            def read(self, size: int) -> bytes:
                read.append(size)
                return bytes(real(size))

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *error: object) -> None:
                file.close()

        return Counting()

    monkeypatch.setattr(Path, "open", count)
    assert len(log.read(50).lines) == 50
    assert 0 < sum(read) <= 2 * files.CHUNK


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the disk be full when a file has so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_no_half_line_and_no_half_file(kept: JobFiles) -> None:
    log = kept.log("a1")
    log.append(lines(0, 10))
    size = next(kept.folder.iterdir()).stat().st_size
    with largest_file(size + 35):
        with pytest.raises(BackendUnavailable, match=r"^The log cannot be written: "):
            log.append(lines(10, 20))
        with pytest.raises(BackendUnavailable, match=r"^The file cannot be stored: "):
            kept.save("a1", "a", b"x" * 10_000)
    log.append(lines(10, 20))
    assert list(log.read(100).lines) == lines(0, 20)
    assert [path.name for path in kept.folder.glob("*.files/*")] == []


def test_a_file_is_stored_whole_replaced_and_removed(kept: JobFiles) -> None:
    names = ["a.csv", "../../a.csv", "", "x" * 10_000, "\0/\udce4", ".."]
    for number, name in enumerate(names):
        kept.save("../a1", name, b"old")
        kept.save("../a1", name, b"%d" % number)
    assert [kept.read("../a1", name) for name in names] == [b"%d" % n for n in range(6)]
    kept.save("other", "a.csv", b"other")
    kept.log("../a1").append(lines(0, 1))
    for path in kept.folder.iterdir():
        os.utime(path, (0, 0))
    assert list(kept.remove_older(T0, ["other"])) == [None, None]
    for name in names:
        with pytest.raises(BackendRejected, match="There is no file"):
            kept.read("../a1", name)
    assert kept.read("other", "a.csv") == b"other"
    assert [path.name.partition(".")[2] for path in kept.folder.iterdir()] == ["files"]
    assert {path.name for path in kept.folder.parent.iterdir()} == {"progress.jobs"}


def test_two_threads_may_store_the_same_name(kept: JobFiles) -> None:
    contents = [bytes([number]) * 1_000_000 for number in range(8)]
    threads = [threading.Thread(target=kept.save, args=("a1", "a", each)) for each in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept.read("a1", "a") in contents
    [folder] = kept.folder.iterdir()
    assert len(list(folder.iterdir())) == 1


def test_other_users_of_the_machine_do_not_read_them(
    kept: JobFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_SIZE", 1_000)
    old = os.umask(0)
    try:
        kept.save("a1", "a", b"secret")
        for number in range(10):
            kept.log("a1").append(lines(100 * number, 100 * number + 100))
    finally:
        os.umask(old)
    found = list(kept.folder.rglob("*"))
    assert len(found) == 4
    for path in found:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_what_cannot_be_written_or_read_is_unavailable_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = JobFiles(tmp_path / "file" / "x")
    for call in (
        lambda: kept.save("a1", "a", b""),
        lambda: kept.read("a1", "a"),
        lambda: kept.log("a1").append(lines(0, 1)),
        lambda: kept.log("a1").read(1),
    ):
        with pytest.raises(BackendUnavailable) as caught:
            call()
        assert str(caught.value).endswith(": Not a directory")
    assert list(kept.remove_older(T0, [])) == []
