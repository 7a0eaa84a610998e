"""Each baked project does what its README says: its own commands, in an environment of its own.

These are the slow tests, the longest first. They install a project's dependencies and run its
tests, those in the browser among them.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import BACKENDS, ENVIRONMENT, ROOT, Bake, BakedProject

MAKE = ["env", "-u", "VIRTUAL_ENV", "make", f"UV={os.environ.get('UV', 'uv')}"]

# Tests of what is the same in every project, and needs no more of a backend than the conformance
# suite and test_live.py try: they run in one project.
SAME = [
    *(f"test_{name}.py" for name in ("crowd", "feed", "fragment_contract", "heap", "jobs")),
    *(f"test_{name}.py" for name in ("operation", "overview", "poller", "reporter", "settings")),
    *(f"test_{name}.py" for name in ("text", "timeline")),
    *(f"browser/test_{name}.py" for name in ("board", "several")),
]

# A process of pytest begins with two neighbours: a long one and a shorter one.
RUNS = [
    ("test-browser", "sqlite"),
    ("test-browser", "api"),
    ("test", "snowflake"),
    ("test", "sqlite"),
    ("test", "postgres"),
    ("test-browser", "postgres"),
    ("test", "api"),
    ("test-browser", "snowflake"),
]
assert {backend for _, backend in RUNS} == set(BACKENDS)

# With Snowflake's stand-in these take minutes, as every statement is translated.
SLOW = {"snowflake": ["test_board.py", "test_pages.py"]}


@pytest.fixture
def project(request: pytest.FixtureRequest, bake: Bake, backend: str) -> Iterator[BakedProject]:
    """A project of a backend in a folder of the test's own, so that tests run side by side.

    Not in a folder of pytest's: the servers of some backends run as other users, who must get in.
    """
    parent = ROOT / "build" / re.sub(r"\W+", "-", request.node.name).strip("-")
    shutil.rmtree(parent, ignore_errors=True)
    parent.mkdir(parents=True)
    answers = {"progress_backend": backend}
    if backend == "snowflake":
        answers["poll_interval"] = "1s"  # the tests of its pages wait for half as long as with 2s
    yield bake(**answers).copy(parent)
    shutil.rmtree(parent, ignore_errors=True)


@pytest.mark.parametrize(("target", "backend"), RUNS)
def test_make(project: BakedProject, target: str) -> None:
    backend = project.answers["progress_backend"]
    left_out = [] if backend == BACKENDS[0] else SAME + SLOW.get(backend, [])
    assert all(project.has_file(f"tests/{name}") for name in left_out)
    ignored = [f"--ignore=tests/{name}" for name in left_out]
    result = project.run(*MAKE, target, PYTEST_ADDOPTS=" ".join(ignored))
    print(result.stdout[-20_000:], result.stderr[-3000:])
    assert result.returncode == 0


def test_make_lint(bake: Bake, tmp_path: Path) -> None:
    # One after the other: mypy then knows what it has found out about the same libraries.
    for backend in BACKENDS:
        project = bake(progress_backend=backend).copy(tmp_path / backend)
        result = project.run(*MAKE, "lint", MYPY_CACHE_DIR=str(tmp_path / "mypy"))
        assert result.returncode == 0, f"{backend}:\n{result.stdout}{result.stderr}"


@pytest.mark.parametrize("backend", ["api"])
def test_make_test_prefect(project: BakedProject) -> None:
    result = project.run(*MAKE, "test-prefect")
    print(result.stdout[-6000:], result.stderr[-3000:])
    assert result.returncode == 0
    assert "skipped" not in result.stdout


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Tell whether an app answers on a port."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).close()
    except OSError:
        return False
    return True


# Each backend ends in one way or the other, the default one in both.
ENDINGS = [(BACKENDS[0], signal.SIGINT)] + [
    (backend, signal.SIGTERM if number % 2 == 0 else signal.SIGINT)
    for number, backend in enumerate(BACKENDS)
]


@pytest.mark.parametrize(("backend", "ending"), ENDINGS)
def test_demo_serves_and_ends_with_all_that_it_started(
    template: Path, backend: str, ending: signal.Signals
) -> None:
    port = free_port()
    demo = subprocess.Popen(
        [*MAKE, "demo", f"BACKEND={backend}"],
        cwd=template,
        env=ENVIRONMENT | {"PORT": str(port)},
        start_new_session=True,
    )
    folder = template / "build" / f"demo-{backend}"
    try:
        deadline = time.monotonic() + 240
        while not answers(port):
            assert demo.poll() is None, "make demo ended"
            assert time.monotonic() < deadline, "make demo does not serve"
            time.sleep(0.2)
        assert processes_in(folder)
        # Ctrl-C in a terminal goes to every process there; SIGTERM to the first one alone.
        os.killpg(demo.pid, ending) if ending is signal.SIGINT else demo.terminate()
        demo.wait(30)
        deadline = time.monotonic() + 10
        while left := processes_in(folder):
            assert time.monotonic() < deadline, f"something goes on running: {left}"
            time.sleep(0.2)
        assert not answers(port)
    finally:
        for pid in processes_in(folder):
            os.kill(pid, signal.SIGKILL)


def processes_in(folder: Path) -> dict[int, str]:
    """Return the processes that work in a folder: servers, workers and databases change none."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if (process / "cwd").readlink().is_relative_to(folder):
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
    return found


@pytest.mark.parametrize("backend", BACKENDS[:1])
def test_a_port_that_is_none_is_refused_in_one_line(project: BakedProject) -> None:
    result = project.run(*MAKE, "dev", PORT="80.5")
    assert result.returncode != 0
    assert "PORT=80.5 is not a port. Choose one like PORT=8501." in result.stderr
    assert "Traceback" not in result.stderr
