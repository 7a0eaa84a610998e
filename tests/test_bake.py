"""Every choice makes a project with exactly the expected files, and all of them are valid."""

import ast
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import (
    BACKENDS,
    CONTEXT,
    LICENCES,
    PROJECT,
    ROOT,
    Bake,
    BakedProject,
    imported_names,
)
from cookiecutter.utils import create_env_with_context  # type: ignore[import-untyped]
from pytest_cookies.plugin import Cookies  # type: ignore[import-untyped]

EXPECTED = ROOT / "tests" / "expected_files"
COMBINATIONS = [{"progress_backend": backend} for backend in BACKENDS]
COMBINATIONS += [{"licence": licence} for licence in LICENCES]
COMBINATIONS += [{"live_feed": "no"}]


@pytest.fixture(params=COMBINATIONS, ids=lambda answers: "-".join(answers.values()))
def project(bake: Bake, request: pytest.FixtureRequest) -> BakedProject:
    """A project for every choice of the prompts, the other answers being the defaults."""
    return bake(**request.param)


def texts(project: BakedProject, *suffixes: str) -> dict[str, str]:
    """Return the text files of a project, or those that end in one of the suffixes."""
    found = {}
    for name in sorted(project.files()):
        if not suffixes or name.endswith(suffixes):
            try:
                found[name] = project.read(name)
            except UnicodeDecodeError:
                assert not suffixes, f"{name} is not UTF-8"
    return found


def test_these_tests_know_every_choice() -> None:
    choices = {name for name, value in CONTEXT.items() if isinstance(value, list | bool)}
    assert choices - {"_copy_without_render"} == set().union(*COMBINATIONS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_project_has_exactly_the_expected_files(bake: Bake, backend: str) -> None:
    listing = EXPECTED / f"{backend}.txt"
    found = sorted(bake(progress_backend=backend).files())
    if os.environ.get("UPDATE_EXPECTED"):
        listing.write_text("".join(f"{name}\n" for name in found), "utf-8")
    expected = listing.read_text("utf-8").splitlines() if listing.exists() else []
    missing = [f"- {name}" for name in expected if name not in found]
    unexpected = [f"+ {name}" for name in found if name not in expected]
    assert found == expected, "\n".join(
        [
            f"The files for {backend} are not those in {listing.relative_to(ROOT)}:",
            *missing,
            *unexpected,
            "If they should be: UPDATE_EXPECTED=1 uv run pytest tests/test_bake.py",
        ]
    )


def test_no_jinja_is_left(project: BakedProject) -> None:
    """An expression of GitHub Actions, `${{ }}`, may stand in a workflow, and in no other file."""
    for name, text in texts(project).items():
        assert not re.search(r"cookiecutter\.[a-z_]|quote\.jinja", text), name
        if not name.endswith(".py"):
            allowed = text.replace("${{", "") if name.startswith(".github/workflows/") else text
            assert not re.search(r"\{[{%#]", allowed), name


def test_every_file_can_be_read(project: BakedProject) -> None:
    parsed = 0
    for suffixes, parse in (
        ((".py",), ast.parse),
        ((".toml",), tomllib.loads),
        ((".yaml", ".yml"), lambda text: list(yaml.safe_load_all(text))),
        ((".json",), json.loads),
    ):
        for name, text in texts(project, *suffixes).items():
            try:
                parse(text)
            except Exception as error:
                pytest.fail(f"{name} cannot be read: {error}")
            parsed += 1
    assert parsed > 10


def test_every_text_file_ends_with_one_line_break(project: BakedProject) -> None:
    for name, text in texts(project).items():
        assert text == "" or re.search(r"[^\n]\n\Z", text), name
        assert not text.startswith("\n"), name


def test_the_overlays_are_gone(project: BakedProject) -> None:
    assert not (project.path / "cookiecutter-overlays").exists()
    assert project.has_file("progress/backend/connection.py")


def test_the_live_feed_is_laid_if_chosen(bake: Bake) -> None:
    overlay = PROJECT / "cookiecutter-overlays" / "live_feed"
    files = {path.relative_to(overlay).as_posix() for path in overlay.rglob("*.py")}
    with_feed, without = bake(), bake(live_feed="no")
    assert with_feed.files() - without.files() == files
    assert without.files() < with_feed.files()
    for project, pages in ((with_feed, ["run", "board", "feed"]), (without, ["run", "board"])):
        assert list(tomllib.loads(project.read("settings.toml"))["pages"]) == pages


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_the_live_feed_nothing_needs_it(bake: Bake, backend: str) -> None:
    project = bake(progress_backend=backend, live_feed="no")
    modules = {"feeds", "app_pages.feed", "progress.feed"}
    for name, text in texts(project).items():
        assert "feeds.py" not in text, name
        if name.endswith(".py"):
            assert modules.isdisjoint(imported_names(name, text)), name


@pytest.mark.parametrize("licence", LICENCES)
def test_the_licence_is_the_chosen_one(bake: Bake, licence: str) -> None:
    project = bake(licence=licence, author="Ada Lovelace")
    assert project.has_file("LICENSE") == (licence != "none")
    declared = tomllib.loads(project.read("pyproject.toml"))["project"].get("license")
    if licence != "none":
        text = project.read("LICENSE")
        words = {"MIT": "MIT License", "Apache-2.0": "Apache License", "BSD-3-Clause": "BSD 3-Cl"}
        assert words[licence] in text
        assert text.count("Copyright (c) Ada Lovelace\n") == 1
        assert declared in (licence, None)
    else:
        assert declared is None


def test_python_of_an_overlay_is_copied_as_it_is(
    cookies_session: Cookies, template: Path, tmp_path: Path
) -> None:
    changed = shutil.copytree(template, tmp_path / "template")
    python = 'print(f"{{literal}} {% no block %} {# no comment #}")\n'
    overlay = changed / "{{cookiecutter.project_slug}}" / "cookiecutter-overlays" / BACKENDS[0]
    (overlay / "dev" / "probe.py").write_text(python, "utf-8")
    result = cookies_session.bake(template=str(changed))
    assert result.exit_code == 0
    assert (result.project_path / "dev" / "probe.py").read_text("utf-8") == python


def test_common_python_is_the_same_in_the_project(bake: Bake) -> None:
    """It is rendered, as `--skip-if-file-exists` needs, so it must not have what Jinja evaluates.

    Where this fails, write `{{` in another way, or put the file into an overlay.
    """
    project = bake()
    names = [name for name in sorted(project.files()) if (PROJECT / name).is_file()]
    python = [name for name in names if name.endswith(".py")]
    assert len(python) > 30
    for name in python:
        assert not re.search(r"\{[{%#]", (PROJECT / name).read_text("utf-8")), name
    assert filecmp.cmpfiles(PROJECT, project.path, python, shallow=False) == (python, [], [])


def test_the_same_answers_make_the_same_bytes(
    bake: Bake, cookies_session: Cookies, template: Path
) -> None:
    first = bake(progress_backend=BACKENDS[0])
    result = cookies_session.bake({"progress_backend": BACKENDS[0]}, template=str(template))
    again = BakedProject(result.project_path, first.answers)
    assert again.files() == first.files()
    names = sorted(first.files())
    assert filecmp.cmpfiles(first.path, again.path, names, shallow=False) == (names, [], [])


def test_the_post_gen_hook_does_not_change_a_finished_project(bake: Bake, tmp_path: Path) -> None:
    shared = bake()
    project = shared.copy(tmp_path)
    context = {
        "project_slug": project.path.name,
        "progress_backend": BACKENDS[0],
        "live_feed": True,
        "licence": "MIT",
        "poll_interval": "0.5s",
    }
    source = (ROOT / "hooks" / "post_gen_project.py").read_text("utf-8")
    jinja = create_env_with_context({"cookiecutter": CONTEXT})
    hook = tmp_path / "hook.py"
    hook.write_text(jinja.from_string(source).render(cookiecutter=context), "utf-8")
    subprocess.run([sys.executable, str(hook)], cwd=project.path, check=True, capture_output=True)
    names = sorted(shared.files())
    assert sorted(project.files()) == names
    assert filecmp.cmpfiles(shared.path, project.path, names, shallow=False) == (names, [], [])
