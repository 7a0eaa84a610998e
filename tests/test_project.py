"""Each baked project does what its README says: its own commands, in its own environment.

These are the slow tests. They install a project's dependencies and run its tests, in the browser
too, together with the deep tests of tests/app.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import BACKENDS, ENVIRONMENT, FOLDER, ROOT, Bake, BakedProject
from deep_tests import add_deep_tests

UV = os.environ.get("UV", "uv")
MAKE = ["env", "-u", "VIRTUAL_ENV", "make", f"UV={UV}"]

# The projects: one for each backend, and one for the answers that no backend decides.
PROJECTS = {backend: {"progress_backend": backend} for backend in BACKENDS}
# Tests of Snowflake's pages then wait for half as long as with the default of 2s.
PROJECTS["snowflake"]["poll_interval"] = "1s"
# The folder of this project is named like its most important dependency.
PROJECTS["no live feed"] = {"live_feed": "no", "project_slug": "streamlit"}

# With xdist, a process begins with two neighbours: all these pairs take about as long.
RUNS = [
    ("test", "postgres"),
    ("test-browser", "api"),
    ("test", "sqlite"),
    ("test", "no live feed"),
    ("test-browser", "sqlite"),
    ("test-browser", "snowflake"),
    ("test", "snowflake"),
    ("test-browser", "postgres"),
    ("test-browser-rest", "sqlite"),
    ("test", "api"),
]
assert {name for _, name in RUNS} == set(PROJECTS)

# Tests that are the same with every backend, and need no more of it than the conformance suite
# and test_live.py cover: they run with the default one.
SAME = [
    *("test_feed_page.py", "test_fragments.py", "test_jobs.py"),
    *("browser/test_board.py", "browser/test_feed.py"),
    # These are about the page and its session.
    "browser/test_live.py::test_a_page_without_interaction_stops_polling",
    "browser/test_live.py::test_coming_back_to_the_page_resumes",
    "browser/test_live.py::test_a_reload_and_a_second_tab_go_on_following",
    "browser/test_live.py::test_a_double_click_starts_one_operation",
    # These are about the arguments of the command line, most of them refused.
    "app/test_command.py::test_text_stays_text_and_the_rest_is_json",
    "app/test_command.py::test_what_is_wrong_is_one_line",
    "app/test_command.py::test_a_file_that_is_too_large_is_refused",
    "app/test_command.py::test_an_error_in_the_jobs_is_one_line",
]
# These take minutes with the local server of Snowflake, which translates every statement.
SLOW = ["test_board.py", "test_pages.py"]
LEFT_OUT = {"postgres": SAME, "snowflake": SAME + SLOW, "api": SAME}
# Without the feed these are, byte for byte, what the default project has.
LEFT_OUT["no live feed"] = ["test_backend.py", "test_jobs.py", "test_sqlite.py"]

# The browser tests with the default backend take longest, so they run in two parts: these files,
# which have servers of their own or wait a lot, are the second part.
REST = ["test_access", "test_edit", "test_jobs", "test_login", "test_slow_jobs"]


@pytest.fixture
def project(request: pytest.FixtureRequest, bake: Bake, name: str) -> Iterator[BakedProject]:
    """A project with the deep tests, in a folder for this test only: tests run in parallel.

    Not in a folder of pytest's: the servers of some backends run as other users, which pytest
    keeps out.
    """
    parent = ROOT / "build" / re.sub(r"\W+", "-", request.node.name).strip("-")
    shutil.rmtree(parent, ignore_errors=True)
    # These imitate Windows, too: on Linux the local Postgres then needs a path without spaces.
    is_plain = request.node.name == "test_make[test-postgres]"
    copied = bake(**PROJECTS[name]).copy(parent if is_plain else parent / FOLDER)
    if name in BACKENDS:
        add_deep_tests(copied.path, name)
    yield copied
    shutil.rmtree(parent, ignore_errors=True)


@pytest.mark.parametrize(("target", "name"), RUNS)
def test_make(project: BakedProject, name: str, target: str) -> None:
    if (target, name) == ("test", "api"):
        # Whatever the service of a user is, the tests run with the reference service.
        (project.path / SERVICE).write_text(profile_of_readme(project), "utf-8")
    left_out = [f"tests/{test}" for test in LEFT_OUT.get(name, [])]
    rest = {f"tests/browser/app/{file}.py" for file in REST}
    if target == "test-browser-rest":
        folder = project.path / "tests" / "browser"
        found = {str(path.relative_to(project.path)) for path in folder.rglob("test_*.py")}
        left_out += sorted(found - rest)
    elif (target, name) == ("test-browser", "sqlite"):
        left_out += sorted(rest)
    for file, _, test in (left.partition("::") for left in left_out):
        assert f"def {test}" in project.read(file)
    options = " ".join(f"--deselect={left}" for left in left_out)
    result = project.run(*MAKE, target.removesuffix("-rest"), PYTEST_ADDOPTS=options)
    print(result.stdout[-20_000:], result.stderr[-3000:])
    assert result.returncode == 0


BENCHMARKS = ["clock_jobs", "compare", "empty_page", "host", "poll", "serve", "start"]


def test_make_lint(bake: Bake, tmp_path: Path) -> None:
    # One after the other in one environment: mypy caches what it has learnt of its libraries.
    folders = {"UV_PROJECT_ENVIRONMENT": "venv", "MYPY_CACHE_DIR": "mypy"}
    variables = {name: str(tmp_path / folder) for name, folder in folders.items()}

    def check(project: BakedProject, *command: str, **more: str) -> None:
        result = project.run(*command, **variables, **more)
        assert result.returncode == 0, f"{project}:\n{result.stdout}{result.stderr}"

    # Every name of the standard library that is used is there on Windows.
    windows = "--config-file= --explicit-package-bases --platform win32 --ignore-missing-imports"
    windows += " --no-site-packages --cache-dir"

    def lint(project: BakedProject) -> None:
        check(project, *MAKE, "lint")
        command = [UV, "run", "--all-groups", "mypy", *windows.split(), str(tmp_path / "win32")]
        check(project, *command, "dev", "progress")

    for name, answers in PROJECTS.items():
        project = bake(**answers).copy(tmp_path / name)
        if name in BACKENDS:
            add_deep_tests(project.path, name)
        lint(project)
        if name == "sqlite":  # the benchmarks use the modules of a project
            benchmarks = ROOT / "benchmarks"
            files = [str(benchmarks / f"{name}.py") for name in BENCHMARKS]
            search = f"{benchmarks}{os.pathsep}{project.path}"
            others = "--disable-error-code=import-not-found"  # modules of other backends
            command = [UV, "run", "--all-groups", "mypy", others, *files]
            check(project, *command, MYPYPATH=search)
        if name == "api":
            (project.path / SERVICE).write_text(profile_of_readme(project), "utf-8")
            lint(project)


SERVICE = "progress/backend/service.py"


def profile_of_readme(project: BakedProject) -> str:
    """Return the lines for service.py that the README shows."""
    (lines,) = re.findall(r"```python\n(  from progress.*?)  ```", project.read("README.md"), re.S)
    return textwrap.dedent(lines)


@pytest.mark.parametrize("name", ["api"])
def test_make_dev_does_not_serve_a_profile_without_its_service(project: BakedProject) -> None:
    (project.path / SERVICE).write_text(profile_of_readme(project), "utf-8")
    result = project.run(*MAKE, "dev", PORT=str(free_port()), PROGRESS_API_URL="")
    assert result.returncode != 0
    assert "is not for the reference service, and no other is configured: set url" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["api"])
def test_the_prefect_profile_with_a_real_server(project: BakedProject) -> None:
    # Prefect 3.8 does not start with later FastAPIs.
    packages = ["--with", "prefect>=3.4,<4", "--with", "fastapi<0.150"]
    # As a module: the script of pytest does not find these in a folder with spaces.
    command = ["env", "-u", "VIRTUAL_ENV", UV, "run", *packages, "python", "-m", "pytest"]
    result = project.run(*command, "tests/app/with_prefect.py")
    print(result.stdout[-6000:], result.stderr[-3000:])
    assert result.returncode == 0
    assert "skipped" not in result.stdout


def free_port() -> int:
    """Return a port that is free, and that no other test gets when it asks for any."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def answers(port: int) -> bool:
    """Tell whether an app answers on a port."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).close()
    except OSError:
        return False
    return True


# Each backend is ended with one of the signals.
ENDINGS = [
    (backend, signal.SIGTERM if number % 2 == 0 else signal.SIGINT)
    for number, backend in enumerate(BACKENDS)
]


@pytest.mark.parametrize(("backend", "ending"), ENDINGS)
def test_demo_serves_and_ends_everything_that_it_started(
    template: Path, backend: str, ending: signal.Signals
) -> None:
    port = free_port()
    # Not in pytest's folder: the path of a socket has at most about 100 characters, and a server
    # may run as another user, whom pytest keeps out.
    parent = Path(tempfile.mkdtemp())
    temporary = parent / "tmp"
    temporary.mkdir()
    clone = shutil.copytree(template, parent / FOLDER, symlinks=True)
    demo = subprocess.Popen(
        [*MAKE, "demo", f"BACKEND={backend}"],
        cwd=clone,
        env=ENVIRONMENT | {"PORT": str(port), "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    folder = clone / "build" / f"demo-{backend}"
    try:
        deadline = time.monotonic() + 600
        while not answers(port):
            assert demo.poll() is None, "make demo ended"
            assert time.monotonic() < deadline, "make demo does not serve"
            time.sleep(0.2)
        assert processes_in(folder)
        # Ctrl-C in a terminal goes to every process there, SIGTERM only to the first.
        os.killpg(demo.pid, ending) if ending is signal.SIGINT else demo.terminate()
        demo.wait(120)
        deadline = time.monotonic() + 60
        while left := processes_in(folder):
            assert time.monotonic() < deadline, f"still running: {left}"
            time.sleep(0.2)
        assert not answers(port)
        # Apart from cookiecutter's hooks, uv's locks, and the user's one runtime folder.
        known = re.compile(r"tmp\w+\.py|uv-\w+\.lock|runtime-\d+")
        remaining = [name for name in os.listdir(temporary) if not known.fullmatch(name)]
        assert remaining == []
    finally:
        for pid in processes_in(folder):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(parent)


def processes_in(folder: Path) -> dict[int, str]:
    """Return the processes with this working directory or one below it."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or belongs to another user
            if (process / "cwd").readlink().is_relative_to(folder):
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
    return found


@pytest.mark.parametrize("name", BACKENDS[:1])
def test_an_invalid_port_is_refused_in_one_line(project: BakedProject) -> None:
    result = project.run(*MAKE, "dev", PORT="80.5")
    assert result.returncode != 0
    assert "PORT=80.5 is not a port. Use a number from 1 to 65535, such as 8501." in result.stderr
    assert "Traceback" not in result.stderr
