"""What `make doctor` checks of the disk that has the SQLite file."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from dev.doctor import Check
from progress.backend.connection import ProgressConnection

MIN_FREE = 100_000_000
"""Bytes that must be free on the disk."""
MOUNTS = Path("/proc/self/mounts")  # of Linux
# Between machines, or between a machine and its guest: SQLite's locks do not work there.
SHARED = {"9p", "drvfs", "v9fs", "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre"}
SHARED |= {"glusterfs", "gpfs", "beegfs", "vboxsf", "prl_fs", "vmhgfs", "virtiofs", "fakeowner"}


def checks(connection: ProgressConnection, is_connected: bool) -> Iterator[Check]:
    """Yield the checks of the disk, also if the file cannot be opened."""
    path = connection._instance.path
    folder = next(parent for parent in path.parents if parent.exists())
    kind = file_system(folder)
    local = f"{path} is on {kind or 'a disk whose kind is not known on this system'}"
    if kind in SHARED or kind.startswith("fuse."):
        remedy = "set PROGRESS_DATABASE to a file on a local disk"
        local += f", which several machines may share. SQLite's locks fail there: {remedy}"
        yield Check("file system", False, f"{local}, in WSL below /home.")
    else:
        yield Check("file system", True, local)
    free = shutil.disk_usage(folder).free
    room = f"{free / 1e6:,.0f} MB are free in {folder}"
    if free < MIN_FREE:
        yield Check("disk", False, f"{room}: make room for at least {MIN_FREE / 1e6:.0f} MB.")
    else:
        yield Check("disk", True, room)


def file_system(folder: Path) -> str:
    """Return the type of the file system of a folder, like "ext4"; "" if it is unknown."""
    if not MOUNTS.exists():
        return ""
    found = folder.resolve()
    types = {}
    for line in MOUNTS.read_text("utf-8", "surrogateescape").splitlines():
        _, place, kind, *_ = line.split(" ")
        # A space is written as \040. The last mount at a place hides the others.
        types[Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), place))] = kind
    return next((types[place] for place in (found, *found.parents) if place in types), "")
