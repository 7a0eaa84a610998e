"""Other projects use the fragment linter from this repository: as a command, or with pre-commit."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Completed, commit_all

GOOD = "import streamlit as st\nst.title('Hello')\n"
BAD = "import streamlit as st\n@st.fragment(run_every=1)\ndef live():\n    st.write('...')\n"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """The folder of a project that knows nothing of this template, with one bad file."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "good.py").write_text(GOOD)
    (folder / "bad.py").write_text(BAD)
    return folder


def run(folder: Path, *command: str | Path) -> Completed:
    """Run a command in a folder."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_command_is_installed_by_url(repository: Path, foreign: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "venv"], cwd=foreign, check=True)
    programs = foreign / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    installed = run(
        foreign, programs / "python", "-m", "pip", "install", f"git+file://{repository}"
    )
    assert installed.returncode == 0, installed.stderr

    source = (repository / "templates" / "version.jinja").read_text("utf-8")
    version = source.split('"')[1]
    done = run(foreign, programs / "fragment-lint", "--version")
    assert done.stdout == f"fragment-lint {version}\n"
    done = run(foreign, programs / "fragment-lint", "good.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = run(foreign, programs / "fragment-lint")
    assert (done.returncode, done.stderr) == (1, "1 finding in 1 of 2 files: 1 warning\n")
    (line,) = done.stdout.splitlines()
    assert line.startswith("bad.py:3:1: FC04 no-termination: ")
    done = run(foreign, programs / "fragment-lint", "gone.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gone.py: cannot be read: ")


def test_pre_commit_runs_it_by_url(
    repository: Path, foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "pre-commit"))
    commit_all(foreign)
    command = [sys.executable, "-m", "pre_commit", "try-repo", str(repository), "fragment-lint"]
    done = run(foreign, *command, "--all-files")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "bad.py:3:1: FC04 no-termination: " in done.stdout
    assert "good.py" not in done.stdout

    (foreign / "bad.py").write_text(GOOD)
    done = run(foreign, *command, "--all-files")
    assert done.returncode == 0, done.stdout + done.stderr
