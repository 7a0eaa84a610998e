"""`python -m dev` needs nothing that Windows lacks. tests/app/windows.py hides it."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from progress.settings import ROOT
from tests.app import windows

# Neither the secrets of this machine nor the local server of other tests.
VARIABLES = ("PROGRESS_DATABASE", "DATABASE_URL", "PROGRESS_API_URL", "PROGRESS_CONNECTION")
START = """
import sys
sys.path.append({root!r})
from tests.app.windows import hide_what_windows_lacks
hide_what_windows_lacks()
"""


def processes_with(path: Path) -> set[str]:
    """Return the commands of all processes whose environment names a path."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if bytes(path) in process.joinpath("environ").read_bytes():
                command = process.joinpath("cmdline").read_bytes()
                found.add(command.replace(b"\0", b" ").decode() + process.name)
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_dev_serves_and_ends_with_what_windows_has(tmp_path: Path, data_folder: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(START.format(root=str(ROOT)), "utf-8")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    dev = subprocess.Popen(
        [sys.executable, "-m", "dev"],
        cwd=ROOT,
        env=environment | {"PORT": port, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until_served(dev, port)
        assert processes_with(tmp_path)
        assert_ends(dev)
    finally:
        dev.kill()
        dev.communicate()
    assert not processes_with(tmp_path)


def wait_until_served(dev: "subprocess.Popen[str]", port: str) -> None:
    address = f"http://127.0.0.1:{port}/_stcore/health"
    deadline = time.monotonic() + 90
    while True:
        try:
            assert urlopen(address, timeout=5).read() == b"ok"
            break
        except OSError:
            assert dev.poll() is None, dev.stderr and dev.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.2)


def assert_ends(dev: "subprocess.Popen[str]") -> None:
    os.killpg(dev.pid, windows.SIGBREAK)  # Ctrl-Break reaches the whole group
    _, printed = dev.communicate(timeout=40)
    assert dev.returncode == 0, printed
    assert printed.startswith(
        "win32 is not tested. Where something fails, use Linux, macOS or WSL."
    )
    assert "Traceback" not in printed
