"""A project keeps up with the template, and moves to another backend, with cruft."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import commit_all


def run(folder: Path, home: Path, *command: str) -> str:
    """Run a command with a home of its own, and return what it printed."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def project(repository: Path, tmp_path: Path) -> Path:
    """A project of the default backend that cruft made, with edits of its user, in git."""
    cruft = [sys.executable, "-m", "cruft", "create", str(repository), "--no-input"]
    run(tmp_path, tmp_path, *cruft, "--extra-context", '{"project_slug": "demo"}')
    folder = tmp_path / "demo"
    jobs = folder / "jobs.py"
    jobs.write_text(jobs.read_text("utf-8") + "\n# my own work\n", "utf-8")
    settings = folder / "settings.toml"
    mine = settings.read_text("utf-8").replace('"Live Progress"', '"Mine"')
    settings.write_text(mine, "utf-8")
    uv = os.environ.get("UV", "uv")
    run(folder, tmp_path, uv, "add", "--frozen", "polars", "zstandard")
    run(folder, tmp_path, uv, "add", "--frozen", "--dev", "ipython")
    commit_all(folder)
    return folder


def test_a_fresh_project_is_up_to_date(project: Path, tmp_path: Path) -> None:
    assert "up to date" in run(project, tmp_path, sys.executable, "-m", "cruft", "check")


def test_a_project_moves_from_sqlite_to_postgres(project: Path, tmp_path: Path) -> None:
    variables = json.dumps({"progress_backend": "postgres"})
    update = ["update", "--skip-apply-ask", "--variables-to-update", variables]
    run(project, tmp_path, sys.executable, "-m", "cruft", *update)
    assert (project / "jobs.py").read_text("utf-8").endswith("# my own work\n")
    assert 'title = "Mine"' in (project / "settings.toml").read_text("utf-8")
    backend = project / "progress" / "backend"
    assert (backend / "schema.sql").is_file()
    assert "sqlite3" not in (backend / "store.py").read_text("utf-8")
    assert "procrastinate" in (backend / "runner.py").read_text("utf-8")
    assert not list(project.glob("dev/local_jobs/*.py"))
    assert "procrastinate" in (project / "pyproject.toml").read_text("utf-8")
    assert "filelock" not in (project / "pyproject.toml").read_text("utf-8")
    assert list(project.rglob("*.rej")) == []
    answers = json.loads((project / ".cruft.json").read_text("utf-8"))["context"]["cookiecutter"]
    assert answers["progress_backend"] == "postgres"
    # What differs from the template now is the user's.
    left = run(project, tmp_path, sys.executable, "-m", "cruft", "diff").splitlines()
    assert [line for line in left if re.match(r"[-+][^-+]", line)] == [
        "-# my own work",
        *('-    "polars",', '-    "zstandard",', '-    "ipython",'),
        *('-title = "Mine"', '+title = "Live Progress"'),
    ]


def test_a_project_drops_the_live_feed(project: Path, tmp_path: Path) -> None:
    update = ["update", "--skip-apply-ask", "--variables-to-update", '{"live_feed": "no"}']
    run(project, tmp_path, sys.executable, "-m", "cruft", *update)
    assert not (project / "feeds.py").exists()
    assert not (project / "app_pages" / "feed.py").exists()
    assert "[pages]" in (project / "settings.toml").read_text("utf-8")
    assert "feed = " not in (project / "settings.toml").read_text("utf-8")
    assert list(project.rglob("*.rej")) == []


def test_answers_stay_as_typed_through_an_update(repository: Path, tmp_path: Path) -> None:
    """cruft saves the answers, and renders them again for every update."""
    answers = {
        "project_name": 'It\'s "ours" & <b>theirs</b>',
        "author": "Family 👩‍👩‍👧 🚀 日本語 עברית",
        "description": "C:\\new\\table\\",
        "project_slug": "mine",
    }
    cruft = [sys.executable, "-m", "cruft"]
    context = ["--no-input", "--extra-context", json.dumps(answers)]
    run(tmp_path, tmp_path, *cruft, "create", str(repository), *context)
    project = tmp_path / "mine"
    before = tomllib.loads((project / "settings.toml").read_text("utf-8"))
    assert before["app"]["title"] == answers["project_name"]
    commit_all(project)

    settings = repository / "{{cookiecutter.project_slug}}" / "settings.toml"
    settings.write_text(settings.read_text("utf-8").replace('"15s"', '"120s"'), "utf-8")
    commit_all(repository)
    run(project, tmp_path, *cruft, "update", "--skip-apply-ask")
    after = tomllib.loads((project / "settings.toml").read_text("utf-8"))
    assert after["progress"].pop("stale_after") == "120s"
    assert before["progress"].pop("stale_after") == "15s"
    assert after == before
    run(project, tmp_path, *cruft, "check")
