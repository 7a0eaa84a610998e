"""What `make doctor` says of bad files, and of disks that the tests mount for it alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dev import backend_checks
from dev.doctor import checks
from progress.backend.connection import ProgressConnection
from progress.settings import ROOT

# A file system of another machine, as the kernel sees it: an empty folder, and no file can be made.
REMOTE = """
import ctypes, errno, os, struct, subprocess, sys, threading

fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
mount = ctypes.CDLL(None, use_errno=True).mount
if mount(b"host:", os.fsencode(sys.argv[1]), b"fuse.sshfs", 0, options):
    sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
FOLDER = struct.pack("<QII QQQQQQIII IIIIIII", *[0] * 3, 1, *[0] * 8, 0o40755, 2, *[0] * 5)
ANSWERS = {  # by the number of the request
    26: struct.pack("<IIIIHHI", 7, 31, 0, 0, 1, 1, 4096) + bytes(40),  # init
    3: FOLDER,  # getattr
    17: struct.pack("<QQQQQIIII", *[2**30] * 5, 4096, 255, 4096, 0) + bytes(24),  # statfs
}

def serve():
    while request := os.read(fuse, 1 << 20):
        number, unique = struct.unpack_from("<4xIQ", request)
        if number not in (2, 38, 42):  # forget, destroy: no answer
            answer = ANSWERS.get(number, b"")
            error = 0 if answer else -(errno.ENOENT if number == 1 else errno.ENOSYS)
            os.write(fuse, struct.pack("<IiQ", 16 + len(answer), error, unique) + answer)

threading.Thread(target=serve, daemon=True).start()
subprocess.run([sys.executable, "-m", "dev.doctor", "--json"])
os._exit(0)
"""
SMALL = """
import os, subprocess, sys

subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "none", sys.argv[1]], check=True)
os.execv(sys.executable, [sys.executable, "-m", "dev.doctor", "--json"])
"""


def on_mounted(script: str, folder: Path) -> dict[str, str]:
    """Mount a file system where no other process sees it, and run the doctor on a file in it.

    Return the messages of the lines that are not ok, by name.
    """
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount in a namespace of its own")
    folder.mkdir()
    done = subprocess.run(
        [*unshare, sys.executable, "-c", script, folder],
        cwd=ROOT,
        env=os.environ | {"PROGRESS_DATABASE": str(folder / "progress.db")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return {check["name"]: check["message"] for check in json.loads(done.stdout) if not check["ok"]}


def test_the_file_system_of_another_machine_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "remote disk"
    failed = on_mounted(REMOTE, folder)
    assert failed.keys() == {"connection", "file system"}
    found = f"{folder}/progress.db is on fuse.sshfs, which several machines may share."
    assert failed["file system"].startswith(found)
    assert "set PROGRESS_DATABASE to a file on a local disk" in failed["file system"]


@pytest.mark.parametrize(
    ("kind", "is_local"),
    [
        *((kind, False) for kind in ("9p", "drvfs", "nfs4", "cifs", "virtiofs", "fuse.sshfs")),
        *((kind, True) for kind in ("ext4", "overlay", "fuseblk")),
    ],
)
def test_the_type_of_the_last_mount_above_the_file_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_local: bool
) -> None:
    folder = tmp_path / "a disk"
    folder.mkdir()
    place = str(folder).replace(" ", "\\040")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"x / ext4 rw 0 0\nx {place} xfs rw 0 0\nx {place} {kind} rw 0 0\n", "utf-8")
    monkeypatch.setattr(backend_checks, "MOUNTS", mounts)
    connection = ProgressConnection("progress", path=str(folder / "progress.db"))
    found = {check.name: check for check in backend_checks.checks(connection, True)}
    connection.reset()
    assert found["file system"].ok == is_local
    assert f" is on {kind}" in found["file system"].message


def test_a_disk_that_is_almost_full_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    (message,) = on_mounted(SMALL, folder).values()
    assert message == f"9 MB are free in {folder}: make room for at least 100 MB."


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"not a database" * 100, "progress.db: file is not a database"), (None, "progress.db: ")],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, message: str
) -> None:
    database = tmp_path / "progress.db"
    database.mkdir() if content is None else database.write_bytes(content)
    monkeypatch.setenv("PROGRESS_DATABASE", str(database))
    failed = {check.name: check.message for check in checks() if not check.ok}
    assert failed.keys() == {"connection"}
    assert failed["connection"].startswith(message)
