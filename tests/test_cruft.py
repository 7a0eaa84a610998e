"""A project keeps up with the template, and moves to another backend, with cruft."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from itertools import permutations
from pathlib import Path
from typing import TypeAlias

import pytest
from conftest import BACKENDS, CONTEXT, ROOT, BakedProject, commit_all

CRUFT = [sys.executable, "-m", "cruft"]


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


# What a user changes in files of theirs: a text, and the one that replaces it.
EDITS = {
    "jobs.py": ("SAMPLES = Path(", "# my own work\nSAMPLES = Path("),
    "app_pages/run.py": ("import streamlit as st\n", "import streamlit as st\n# my own page\n"),
    "settings.toml": ("shared = false", "shared = true"),
}


def edit(project: Path) -> None:
    """Make the edits, and commit them."""
    for name, (before, after) in EDITS.items():
        text = (project / name).read_text("utf-8")
        assert text.count(before) == 1
        (project / name).write_text(text.replace(before, after), "utf-8")
    commit_all(project)


def contents(project: Path) -> dict[str, bytes]:
    """Return the files of a project, without what cruft and git keep there."""
    names = BakedProject(project, {}).files() - {".cruft.json"}
    return {name: (project / name).read_bytes() for name in names if not name.startswith(".git/")}


Made: TypeAlias = Callable[[Mapping[str, str]], Path]


@pytest.fixture(scope="module")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Returns the project that cruft makes with these answers, made once. Tests copy it."""
    home = tmp_path_factory.mktemp("cruft")
    repository = shutil.copytree(template, home / "template")
    commit_all(repository)

    @functools.cache
    def create(*answers: tuple[str, str]) -> Path:
        folder = home / "-".join(answer for _, answer in answers)
        folder.mkdir()
        context = dict(answers) | {"project_slug": "demo", "poll_interval": "1s"}
        options = ["--no-input", "--extra-context", json.dumps(context)]
        run(folder, home, *CRUFT, "create", str(repository), *options)
        return folder / "demo"

    return lambda answers: create(*answers.items())


# Each backend to each other, and the live feed on and off.
CHANGES = [
    ({"progress_backend": old}, {"progress_backend": new})
    for old, new in permutations(BACKENDS, 2)
    if (old, new) != ("sqlite", "postgres")  # see test_a_project_moves_from_sqlite_to_postgres
]
CHANGES += [({"live_feed": old}, {"live_feed": new}) for old, new in permutations(["yes", "no"])]


@pytest.mark.parametrize(("old", "new"), CHANGES, ids=lambda answers: next(iter(answers.values())))
def test_after_a_changed_answer_a_project_is_as_if_made_with_it(
    made: Made, tmp_path: Path, old: dict[str, str], new: dict[str, str]
) -> None:
    """So its tests pass: test_project.py runs them for a project that was made with the answer."""
    expected = contents(made(new))
    for name, (before, after) in EDITS.items():
        expected[name] = expected[name].replace(before.encode(), after.encode())
    project = shutil.copytree(made(old), tmp_path / "demo")
    edit(project)
    update = ["update", "--skip-apply-ask", "--variables-to-update", json.dumps(new)]
    run(project, tmp_path, *CRUFT, *update)
    found = contents(project)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


# What projects were made with. `cruft update` renders their answers with the newest template.
PROMPTS = {
    *("project_name", "project_slug", "description", "author", "progress_backend"),
    *("poll_interval", "operation", "live_feed", "licence"),
}
CHOICES = {
    "progress_backend": {"sqlite", "postgres", "snowflake", "api"},
    "licence": {"MIT", "Apache-2.0", "BSD-3-Clause", "none"},
}


def test_no_prompt_and_no_choice_of_a_release_is_gone() -> None:
    assert PROMPTS - CONTEXT.keys() == set()
    for prompt, choices in CHOICES.items():
        assert choices - set(CONTEXT[prompt]) == set()


def earlier_versions() -> list[str]:
    """Return the tag, or the last commit of the day, of each section of CHANGELOG.md but the first.

    A version without a tag is not released yet. A clone without its history has none. The other
    tests here make their versions themselves.
    """

    def git(*command: str) -> list[str]:
        return subprocess.check_output(["git", *command], cwd=ROOT, encoding="utf-8").split()

    found = []
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    for heading in re.findall(r"^## (.*)$", changelog, re.MULTILINE)[1:]:
        name = heading.split()[0]
        is_day = re.fullmatch(r"\d{4}-\d\d-\d\d", name)
        last = ["log", "-1", "--format=%h", f"--until={name} 23:59:59 +0000"]
        found += git(*last) if is_day else git("tag", "--list", f"v{name}")
    return found


@pytest.fixture(scope="module", params=earlier_versions())
def two_versions(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A git repository with an earlier version and this one, and the commit of the earlier one."""
    repository = tmp_path_factory.mktemp("versions") / "template"
    repository.mkdir()
    archive = subprocess.check_output(["git", "archive", request.param], cwd=ROOT)
    subprocess.run(["tar", "--extract"], cwd=repository, input=archive, check=True)
    commit_all(repository)
    earlier = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=repository, text=True)
    for path in repository.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(template, repository, dirs_exist_ok=True)
    commit_all(repository)
    return repository, earlier.strip()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_project_of_each_version_is_updated(
    two_versions: tuple[Path, str], made: Made, tmp_path: Path, backend: str
) -> None:
    repository, earlier = two_versions
    context = {"progress_backend": backend, "project_slug": "demo", "poll_interval": "1s"}
    options = ["--no-input", "--checkout", earlier, "--extra-context", json.dumps(context)]
    run(tmp_path, tmp_path, *CRUFT, "create", str(repository), *options)
    project = tmp_path / "demo"
    commit_all(project)
    expected = contents(made({"progress_backend": backend}))
    # A line next to one that the template changes would be a conflict.
    edits = EDITS | {"settings.toml": ('"Live Progress"', '"Mine"')}
    for name, (before, after) in edits.items():
        path = project / name
        if not path.is_file():  # it has another name now: a user has to move such edits
            continue
        text = path.read_text("utf-8")
        assert text.count(before) == 1
        path.write_text(text.replace(before, after), "utf-8")
        expected[name] = expected[name].replace(before.encode(), after.encode())
    commit_all(project)
    run(project, tmp_path, *CRUFT, "update", "--skip-apply-ask")
    found = contents(project)
    assert [name for name in found if name.endswith(".rej")] == []
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


def test_an_update_brings_code_pictures_and_the_version(repository: Path, tmp_path: Path) -> None:
    rendered = repository / "{{cookiecutter.project_slug}}"
    picture = rendered / "app_pages" / "logo.png"
    shutil.copy2(ROOT / "docs" / "pictures" / "running.png", picture)
    commit_all(repository)
    context = ["--no-input", "--extra-context", '{"project_slug": "demo"}']
    run(tmp_path, tmp_path, *CRUFT, "create", str(repository), *context)
    project = tmp_path / "demo"
    commit_all(project)
    edit(project)

    shutil.copy2(ROOT / "docs" / "pictures" / "board.png", picture)
    for name in EDITS:
        text = (rendered / name).read_text("utf-8")
        text = text.replace('stale_after = "15s"', 'stale_after = "120s"')
        (rendered / name).write_text(f"{text}# of the new version\n", "utf-8")
    version = repository / "templates" / "version.jinja"
    version.write_text('{% set version = "7.8.9" %}\n', "utf-8")
    commit_all(repository)
    run(project, tmp_path, *CRUFT, "update", "--skip-apply-ask")

    assert (project / "app_pages" / "logo.png").read_bytes() == picture.read_bytes()
    for name, (_, after) in EDITS.items():
        text = (project / name).read_text("utf-8")
        assert after in text
        assert text.endswith("# of the new version\n")
    assert 'stale_after = "120s"' in (project / "settings.toml").read_text("utf-8")
    assert "Made with version 7.8.9 of" in (project / "README.md").read_text("utf-8")
    assert list(project.rglob("*.rej")) == []


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
