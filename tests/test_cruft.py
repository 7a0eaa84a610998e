"""A project keeps up with the template, and moves to another backend, with cruft."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]


def run(folder: Path, home: Path, *command: str) -> str:
    """Run a command with a home of its own, and return what it printed."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A project of the default backend that cruft made, with an edit of its user, in git."""
    if not (template / ".git").exists():
        run(template, tmp_path, "git", "init", "--quiet")
        run(template, tmp_path, *GIT, "add", "--all")
        run(template, tmp_path, *GIT, "commit", "--quiet", "--message", "template")
    cruft = [sys.executable, "-m", "cruft", "create", str(template), "--no-input"]
    run(tmp_path, tmp_path, *cruft, "--extra-context", '{"project_slug": "demo"}')
    folder = tmp_path / "demo"
    jobs = folder / "jobs.py"
    jobs.write_text(jobs.read_text("utf-8") + "\n# my own work\n", "utf-8")
    settings = folder / "settings.toml"
    mine = settings.read_text("utf-8").replace('"Live Progress"', '"Mine"')
    settings.write_text(mine, "utf-8")
    run(folder, tmp_path, "git", "init", "--quiet")
    run(folder, tmp_path, *GIT, "add", "--all")
    run(folder, tmp_path, *GIT, "commit", "--quiet", "--message", "project")
    return folder


def test_a_fresh_project_is_up_to_date(project: Path, tmp_path: Path) -> None:
    assert "up to date" in run(project, tmp_path, sys.executable, "-m", "cruft", "check")


def test_a_project_moves_from_sqlite_to_postgres(project: Path, tmp_path: Path) -> None:
    variables = json.dumps({"progress_backend": "postgres"})
    update = ["update", "--skip-apply-ask", "--variables-to-update", variables]
    run(project, tmp_path, sys.executable, "-m", "cruft", *update)
    assert (project / "jobs.py").read_text("utf-8").endswith("# my own work\n")
    assert 'title = "Mine"' in (project / "settings.toml").read_text("utf-8")
    assert (project / "worker.py").is_file()
    assert (project / "schema.sql").is_file()
    assert not list(project.glob("local_jobs/*.py"))
    assert "Postgres" in (project / "progress" / "backend.py").read_text("utf-8")
    assert "procrastinate" in (project / "pyproject.toml").read_text("utf-8")
    assert "filelock" not in (project / "pyproject.toml").read_text("utf-8")
    assert list(project.rglob("*.rej")) == []
    answers = json.loads((project / ".cruft.json").read_text("utf-8"))["context"]["cookiecutter"]
    assert answers["progress_backend"] == "postgres"
