"""`make doctor`: each line that fails, with its fault made in a copy of the project."""

import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dev.doctor import base_path
from progress.settings import ROOT

LEFT_OUT = shutil.ignore_patterns(".venv", ".local", ".tools", ".git", "*_cache", "__pycache__")
SECRET = "hush-4711"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project, where a test makes its fault."""
    copy = tmp_path / "project"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    return copy


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


def run(project: Path, *arguments: str, option: str = "-B", path: str = "") -> tuple[int, str]:
    """Run the doctor of a project; return its exit status and its output."""
    environment = {name: value for name, value in os.environ.items() if name != "PROGRESS_DATABASE"}
    environment |= {"HOME": str(project.parent), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, option, "-m", "dev.doctor", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert SECRET not in done.stdout
    return done.returncode, done.stdout


def failures(project: Path, **options: str) -> dict[str, str]:
    """Run the doctor; return the messages of the lines that are not ok, by name."""
    status, output = run(project, "--json", **options)
    checks = json.loads(output)
    failed = {check["name"]: check["message"] for check in checks if not check["ok"]}
    assert status == bool(failed)
    assert not any("\n" in check["message"] for check in checks)
    return failed


def test_a_new_project_is_ok_and_each_line_says_what_was_found(project: Path) -> None:
    status, output = run(project)
    lines = output.splitlines()
    names = "python, dependencies, settings, secrets, login, base path, connection, poll latency,"
    names += " reads, file system, disk"
    assert [line.removeprefix("ok    ").partition(": ")[0] for line in lines] == names.split(", ")
    assert status == 0
    assert "poll_interval is 0.5 s" in output
    assert "7,200 an hour" in output


def test_what_is_not_as_pyproject_says_is_named(project: Path) -> None:
    edit(project / "pyproject.toml", 'requires-python = ">=3.11"', 'requires-python = ">=3.99"')
    more = 'dependencies = ["no-such-package", "nothing; python_version < \'3\'",'
    edit(project / "pyproject.toml", "dependencies = [", more)
    edit(project / "pyproject.toml", '"filelock>=', '"filelock>=99,>=')
    failed = failures(project)
    assert failed.keys() == {"python", "dependencies"}
    assert failed["python"].endswith("but this project requires >=3.99: install it.")
    packages, _, remedy = failed["dependencies"].rpartition(": ")
    missing, old = packages.split("; ")
    assert missing == "no-such-package is required, nothing is installed"
    assert old.startswith("filelock")
    assert remedy == "run `uv sync`."


def test_a_python_without_the_packages_is_told_how_to_get_them(project: Path) -> None:
    failed = failures(project, option="-S")
    assert failed == {"dependencies": "Nothing is installed: run `uv sync`, then `uv run`."}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('poll_interval = "0.5s"', 'poll_interval = "soon"', "poll_interval: 'soon' is not a dur"),
        (
            "[pages]",
            '[pages]\nextra = { title = "x", icon = "x" }',
            "app_pages/extra.py is missing",
        ),
    ],
)
def test_settings_that_are_wrong_are_one_line(
    project: Path, old: str, new: str, message: str
) -> None:
    edit(project / "settings.toml", old, new)
    failed = failures(project)
    assert failed.keys() == {"settings"}
    assert message in failed["settings"]


def write_secrets(folder: Path, text: str) -> None:
    (folder / ".streamlit").mkdir(exist_ok=True)
    (folder / ".streamlit" / "secrets.toml").write_text(text, "utf-8")


@pytest.mark.parametrize("text", [f"a = 1\npassword = {SECRET}", f'"{SECRET}'])
def test_secrets_that_are_not_toml_are_one_line_without_them(project: Path, text: str) -> None:
    write_secrets(project, text)
    failed = failures(project)
    assert failed.keys() == {"secrets"}
    assert failed["secrets"].startswith(".streamlit/secrets.toml cannot be read: not TOML at ")


def test_secrets_that_git_tracks_are_named(project: Path) -> None:
    write_secrets(project, f'[connections.progress]\npassword = "{SECRET}"')
    assert failures(project) == {}
    git = shutil.which("git") or ""
    for command in (["init", "-q"], ["add", "--force", ".streamlit/secrets.toml"]):
        subprocess.run([git, *command], cwd=project, check=True)
    failed = failures(project)
    assert failed.keys() == {"secrets"}
    assert "`git rm --cached .streamlit/secrets.toml`" in failed["secrets"]


def test_a_login_that_cannot_work_is_named(project: Path, tmp_path: Path) -> None:
    edit(project / "settings.toml", 'login = "none"', 'login = "required"')
    required = "settings.toml requires a login: add [auth] to .streamlit/secrets.toml."
    assert failures(project) == {"login": required}
    write_secrets(project, 'auth = "no table"')
    assert failures(project) == {"login": required}
    auth = f'[auth]\ncookie_secret = "{SECRET}"\nredirect_uri = "https://a.example/'
    write_secrets(project, f'{auth}oauth2callback"')
    assert failures(project) == {}
    hide = 'import sys; sys.modules["authlib"] = None'
    (tmp_path / "sitecustomize.py").write_text(hide, "utf-8")
    without = failures(project, path=str(tmp_path))
    assert without == {"login": '[auth] needs Authlib: run `uv add "streamlit[auth]"`.'}
    edit(project / ".streamlit" / "config.toml", "[server]", '[server]\nbaseUrlPath = "team/app"')
    returns = "redirect_uri under [auth] must end with /team/app/oauth2callback."
    assert failures(project)["base path"].endswith(returns)
    write_secrets(project, f'{auth}team/app/oauth2callback"')
    assert failures(project) == {}
    # Where Streamlit looks first: a container has them there.
    (project / ".streamlit" / "secrets.toml").rename(tmp_path / "secrets.toml")
    assert failures(project) == {"login": required}
    write_secrets(tmp_path, (tmp_path / "secrets.toml").read_text("utf-8"))
    assert failures(project) == {}


def test_an_app_at_another_base_path_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMLIT_SERVER_BASE_URL_PATH", "team")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        port = str(server.server_address[1])
        monkeypatch.setenv("STREAMLIT_SERVER_PORT", port)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        found = base_path()
        assert not found.ok
        assert f"on port {port} answers /team/_stcore/health 404: restart the" in found.message
        (tmp_path / "team" / "_stcore").mkdir(parents=True)
        (tmp_path / "team" / "_stcore" / "health").write_text("ok")
        assert base_path() == ("base path", True, f"the app answers at /team/ on port {port}")
        server.shutdown()
    assert base_path() == ("base path", True, f"/team/ on port {port}, where no app runs now")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("STREAMLIT_SERVER_BASE_URL_PATH", "https://a.example/x y", "write it like team/app"),
        ("STREAMLIT_SERVER_PORT", "eighty", "The port is unknown"),
    ],
)
def test_a_base_path_or_port_that_is_none_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    found = base_path()
    assert not found.ok
    assert message in found.message
