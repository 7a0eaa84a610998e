"""Workflows, bug reports (their replay file bakes the same project), and pre-commit."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import BACKENDS, ROOT, Bake, BakedProject, Completed, Cookiecutter

OWN = ROOT / ".github" / "workflows" / "test.yml"
FRAGMENT = "import streamlit as st\n@st.fragment(run_every=1)\ndef live():\n    st.write('...')\n"


def zizmor(folder: Path) -> Completed:
    """Check workflows as `make lint` does."""
    command = [str(Path(sys.executable).with_name("zizmor")), "--quiet", "--offline", "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_workflow_of_a_project_is_safe_and_valid(bake: Bake, tmp_path: Path) -> None:
    project = bake().copy(tmp_path)
    done = zizmor(project.path)
    assert done.returncode == 0, done.stdout + done.stderr
    schema = ["--builtin-schema", "vendor.github-workflows", ".github/workflows/test.yml"]
    done = project.run(sys.executable, "-m", "check_jsonschema", *schema)
    assert done.returncode == 0, done.stdout + done.stderr

    workflow = project.path / ".github" / "workflows" / "test.yml"
    unsafe = re.sub(r"@[0-9a-f]{40}", "@v7", workflow.read_text("utf-8"))
    workflow.write_text(unsafe, "utf-8")
    assert "unpinned-uses" in zizmor(project.path).stdout


def test_actions_are_named_by_the_same_commits(bake: Bake) -> None:
    commits: dict[str, str] = {}
    for workflow in (OWN.read_text("utf-8"), bake().read(".github/workflows/test.yml")):
        used = re.findall(r"uses: ([\w./-]+)@(.*)", workflow)
        assert used
        for action, version in used:
            assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", version)
            assert commits.setdefault(action, version) == version


def test_no_job_may_write(bake: Bake) -> None:
    for text in (OWN.read_text("utf-8"), bake().read(".github/workflows/test.yml")):
        workflow = yaml.safe_load(text)
        assert workflow["permissions"] == {}
        for job in workflow["jobs"].values():
            assert job["permissions"] == {"contents": "read"}


def test_workflows_run_the_lowest_and_the_newest_python(bake: Bake) -> None:
    project = bake()
    requires = tomllib.loads(project.read("pyproject.toml"))["project"]["requires-python"]
    newest = re.search(r"^PYTHON \?= (\S+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert newest
    jobs = yaml.safe_load(OWN.read_text("utf-8"))["jobs"]
    own_jobs = yaml.safe_load(project.read(".github/workflows/test.yml"))["jobs"]
    for job in (jobs["linux"], own_jobs["test"]):
        assert job["strategy"]["matrix"]["python"] == [requires.removeprefix(">="), newest[1]]
        assert job["env"]["UV_PYTHON"] == "${{ matrix.python }}"


def test_each_week_the_lowest_versions_of_each_backend_are_tested() -> None:
    rows = yaml.safe_load(OWN.read_text("utf-8"))["jobs"]["versions"]["strategy"]["matrix"][
        "include"
    ]
    assert [row["backend"] for row in rows if row["target"] == "test-floor"] == BACKENDS


def test_the_dev_container_has_the_python_of_the_image_which_is_tested(bake: Bake) -> None:
    project = bake()
    container = json.loads(project.read(".devcontainer/devcontainer.json"))
    image = re.search(r"^FROM python:([\d.]+)-", project.read("Dockerfile"), re.MULTILINE)
    assert image
    assert container["image"].endswith(f"/python:{image[1]}")
    assert f'python: "{image[1]}" }}' in OWN.read_text("utf-8")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_replay_file_of_a_bug_report_bakes_the_same_project(
    cookiecutter: Cookiecutter, tmp_path: Path, backend: str
) -> None:
    """Without the part that has the prompts, it is also what .cruft.json keeps as `context`."""
    answers = {"project_name": 'Über "ours"', "progress_backend": backend, "live_feed": "no"}
    assert cookiecutter(tmp_path / "reporter", answers).returncode == 0
    replay = cookiecutter.home / "replay" / f"{cookiecutter.template.name}.json"
    context = json.loads(replay.read_text("utf-8"))
    reports = {"replay": context, "cruft": {"cookiecutter": context["cookiecutter"]}}
    for name, report in reports.items():
        reported = tmp_path / f"{name}.json"
        reported.write_text(json.dumps(report), "utf-8")
        # The maintainer gives no answers, and is not prompted.
        done = cookiecutter(tmp_path / name, options=["--replay-file", str(reported)])
        assert done.returncode == 0, done.stderr
        theirs, ours = (
            BakedProject(next((tmp_path / folder).iterdir()), answers)
            for folder in ("reporter", name)
        )
        assert ours.files() == theirs.files()
        assert all(ours.read(file) == theirs.read(file) for file in ours.files())


def test_the_bug_form_names_the_replay_file() -> None:
    form = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text("utf-8")
    name = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["name"]
    assert f"`~/.cookiecutter_replay/{name}.json`" in form


def pre_commit(folder: Path) -> Completed:
    """Run all hooks over all files of a folder, with the tools that run these tests."""
    for git in (["init"], ["add", "--all"]):
        subprocess.run(["git", *git], cwd=folder, check=True, capture_output=True)
    uv = Path(os.environ.get("UV", "uv")).parent
    env = os.environ | {"PATH": f"{uv}{os.pathsep}{os.environ['PATH']}", "UV_NO_SYNC": "1"}
    env |= {"UV_PROJECT_ENVIRONMENT": sys.prefix, "PRE_COMMIT_HOME": str(folder / ".git" / "pc")}
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_hooks_of_a_project_find_mistakes(bake: Bake, tmp_path: Path) -> None:
    project = bake().copy(tmp_path)
    done = pre_commit(project.path)
    assert done.returncode == 0, done.stdout + done.stderr
    (project.path / "app_pages" / "extra.py").write_text(FRAGMENT + "\nimport  os\n", "utf-8")
    done = pre_commit(project.path)
    assert done.returncode == 1
    for finding in ("F401", "ruff-format", "FC04"):
        assert finding in done.stdout


def test_the_hooks_of_the_template_find_mistakes(repository: Path) -> None:
    done = pre_commit(repository)
    assert done.returncode == 0, done.stdout + done.stderr
    (repository / "tests" / "extra.py").write_text("import  os\n", "utf-8")
    workflow = repository / ".github" / "workflows" / "test.yml"
    workflow.write_text(re.sub(r"@[0-9a-f]{40}", "@v7", workflow.read_text("utf-8")), "utf-8")
    done = pre_commit(repository)
    assert done.returncode == 1
    for finding in ("F401", "ruff-format", "unpinned-uses"):
        assert finding in done.stdout
