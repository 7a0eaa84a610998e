"""The commands in the docs: those that are run here as they stand, those whose work another test
does in its own way, and those with a reason why no test runs them. No other may be in a page.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT, Completed, commit_all, write_files
from test_docs import PAGES, code_blocks

URL = "https://github.com/org/cookiecutter-streamlit-progress"

# A command, or how it begins, and the tests that run it, or what it calls.
TESTED = {
    "uvx cookiecutter gh:org/cookiecutter-streamlit-progress": "test_commands.py",
    "uvx cruft create": "test_commands.py",
    "uvx cruft update": "test_commands.py",
    "cruft update": "test_commands.py",
    "cruft create": "test_commands.py",
    "for project in apps/*/": "test_commands.py",
    "uv run cookiecutter .": "test_commands.py",
    "uv run pre-commit install": "test_commands.py",
    "uvx pre-commit install": "test_commands.py",
    'uv add "streamlit[auth]"': "test_commands.py",
    "uv lock --upgrade": "test_commands.py",
    "uv add": "test_commands.py",
    "uvx --from git+https": "test_lint_command.py",
    "fragment-lint --explain": "test_fragment_lint.py",
    "uv run pytest": "test_make.py",
    "uv run python -m dev": "test_project.py",
    "uv run python -m progress": "test_command.py",
    "uv sync --extra notifications": "test_commands.py",
    "make doctor": "test_doctor.py",
    "uv run --directory build/demo python -m dev": "test_project.py",
    "uv run --group browser": "test_project.py",
    "uv run python -m samples.cortex": "test_cortex.py",
    "make demo": "test_project.py",
    "make bake": "test_project.py",
    "make dev": "test_project.py",
    "make docs": "test_commands.py",
    "make lint": "test_project.py",
    "make test": "test_project.py",
    "make test-browser": "test_project.py",
    "make release": "test_make.py",
    "make record": "test_record.py",
    "make service": "test_service.py",
    "make schema": "test_schema.py",
    "make worker": "test_workers.py",
    "make verify-account": "test_deployment.py",
    "snow snowpark build": "test_deployment.py",
}
# What no test can run, and why.
NOT_RUN = {
    "docker compose": "needs a container engine",
    "docker buildx": "needs a container engine",
    "kubectl": "needs a cluster",
    "snow": "needs an account",
    "uv tool install": "changes the user's tools; test_deployment.py runs this version",
    "make bench": "takes half an hour",
    "make screenshots": "makes the pictures of the docs",
    "make test-app": "what CI does with each backend in test_project.py",
    "make test-floor": "minutes: the workflow does it each week",
    "make test-newest": "minutes: the workflow does it each week",
    "make test-matrix": "minutes: by hand before a release",
    "export": "sets a variable",
}
COMMAND = re.compile(
    r"(?:make|uvx?(?! run$)|docker|kubectl|snow|cruft|fragment-lint|export|for \w+ in) .*"
)


def commands(page: Path) -> Iterator[str]:
    """Yield the commands of a page: lines of code blocks, and code in sentences."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    found = [line for language, block in blocks if not language for line in block.splitlines()]
    found += re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for line in found:
        # A comment may follow, after two spaces, or be a command that is the same.
        for part in re.split(r"\s{2,}|\s*# ", re.sub(r"\n\s*", " ", line).strip()):
            parts = [part] if part.startswith("for ") else part.split(" && ")
            yield from (command for command in parts if COMMAND.fullmatch(command))


def known(command: str, names: dict[str, str]) -> set[str]:
    """Return how the command begins, in these names."""
    return {name for name in names if re.match(rf"{re.escape(name)}(?![\w-])", command)}


def test_every_command_is_tested_or_named() -> None:
    listed = TESTED | NOT_RUN
    found = {command for page in PAGES for command in commands(page)}
    assert len(found) > 50
    assert [command for command in sorted(found) if not known(command, listed)] == []
    assert listed.keys() - {name for command in found for name in known(command, listed)} == set()
    names = {path.name for path in ROOT.joinpath("tests").rglob("test_*.py")}
    assert set(TESTED.values()) - names == set()


Shell = Callable[..., Completed]


@pytest.fixture
def shell(repository: Path, tmp_path: Path) -> Shell:
    """A function that runs a line as it stands, with this template in the place of GitHub's.

    `uvx` and `uv run` take the tools that run these tests.
    """
    programs = write_files(
        tmp_path / "bin",
        {
            "uvx": '#!/bin/sh\ntool=$(echo "$1" | tr - _)\nshift\n'
            f'exec {sys.executable} -m "$tool" "$@"\n',
            "cruft": f'#!/bin/sh\nexec {sys.executable} -m cruft "$@"\n',
            "home/.gitconfig": f"""
                [url "{repository}"]
                    insteadOf = {URL}.git
                    insteadOf = {URL}
                [user]
                    name = Ada
                    email = ada@example.com
                """,
        },
    )
    for name in ("uvx", "cruft"):
        (programs / name).chmod(0o755)
    uv = Path(os.environ.get("UV", "uv")).parent
    path = os.pathsep.join([str(programs), str(uv), os.environ["PATH"]])
    cache = subprocess.check_output([os.environ.get("UV", "uv"), "cache", "dir"], text=True)
    env = ENVIRONMENT | {"PATH": path, "HOME": str(programs / "home"), "PYTHONUTF8": "1"}
    env["UV_CACHE_DIR"] = cache.strip()

    def run(line: str, folder: Path = tmp_path, typed: str = "", **more: str) -> Completed:
        done = subprocess.run(
            ["bash", "-euc", line],
            cwd=folder,
            env=env | more,
            input=typed,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done

    return run


def line_of(page: str, beginning: str) -> str:
    """Return the one command of a page that begins like this, and has the most after it."""
    found = {command for command in commands(ROOT / page) if command.startswith(beginning)}
    assert found, f"{page} has no {beginning}"
    return max(found, key=len)


COOKIECUTTER = "uvx cookiecutter gh:org/cookiecutter-streamlit-progress"


def test_the_first_command_of_the_readme_prompts_and_makes_a_project(
    shell: Shell, tmp_path: Path
) -> None:
    assert line_of("README.md", "uvx cookiecutter") == COOKIECUTTER
    done = shell(COOKIECUTTER, typed="\n" * 20)
    assert "What is the app called?" in done.stdout
    assert (tmp_path / "live-progress" / "progress" / "backend" / "store.py").is_file()


def test_the_command_without_prompts_takes_the_answers(shell: Shell, tmp_path: Path) -> None:
    shell(line_of("docs/prompts.md", COOKIECUTTER))
    assert (tmp_path / "orders" / "progress" / "backend" / "schema.sql").is_file()
    assert not (tmp_path / "orders" / "feeds.py").exists()


def test_the_commands_for_an_organization_make_and_update_its_projects(
    shell: Shell, repository: Path, tmp_path: Path
) -> None:
    (defaults,) = code_blocks("adopting.md", "yaml")
    write_files(tmp_path, {"organization.yaml": defaults})
    shell(line_of("docs/adopting.md", f"{COOKIECUTTER} --config-file"), typed="Ours\n" + "\n" * 20)
    assert "Example Inc." in (tmp_path / "ours" / "pyproject.toml").read_text("utf-8")

    replays = tmp_path / "bin" / "home" / ".cookiecutter_replay"
    (replay,) = replays.iterdir()
    assert f"`~/{replay.relative_to(replays.parent)}`" in (ROOT / "docs" / "adopting.md").read_text(
        "utf-8"
    )
    elsewhere = write_files(tmp_path / "elsewhere", {"answers.json": replay.read_text("utf-8")})
    shell(line_of("docs/adopting.md", f"{COOKIECUTTER} --replay-file"), elsewhere, typed="y\n")
    for name in ("pyproject.toml", "settings.toml"):
        again = elsewhere / "ours" / name
        assert again.read_text("utf-8") == (tmp_path / "ours" / name).read_text("utf-8")

    _, program = code_blocks("adopting.md", "python")
    write_files(tmp_path, {"portal.py": program})
    shell(f"{sys.executable} portal.py")
    assert {path.name for path in (tmp_path / "apps").iterdir()} == {"billing-jobs", "support-jobs"}

    bulk = tmp_path / "bulk"
    shell(f"uvx cruft create {URL} --no-input --output-dir bulk/apps")
    shutil.copytree(bulk / "apps" / "live-progress", bulk / "apps" / "another")
    for name in ("live-progress", "another"):
        commit_all(bulk / "apps" / name)
    jobs = repository / "{{cookiecutter.project_slug}}" / "jobs.py"
    jobs.write_text(jobs.read_text("utf-8") + "# of the new version\n", "utf-8")
    commit_all(repository)
    shell(line_of("docs/adopting.md", "for project in"), bulk)
    for name in ("live-progress", "another"):
        updated = (bulk / "apps" / name / "jobs.py").read_text("utf-8")
        assert updated.endswith("# of the new version\n")


def test_the_commands_of_cruft_make_update_and_move_a_project(
    shell: Shell, repository: Path, tmp_path: Path
) -> None:
    shell(line_of("README.md", "uvx cruft create"), typed="\n" * 20)
    project = tmp_path / "live-progress"
    commit_all(project)
    settings = repository / "{{cookiecutter.project_slug}}" / "settings.toml"
    settings.write_text(settings.read_text("utf-8") + "# of the new version\n", "utf-8")
    commit_all(repository)
    shell(line_of("README.md", "uvx cruft update"), project)
    assert "# of the new version" in (project / "settings.toml").read_text("utf-8")
    commit_all(project)
    shell(line_of("docs/backends.md", "uvx cruft update --skip"), project)
    assert (project / "progress" / "backend" / "schema.sql").is_file()

    shell("uvx pre-commit install", project)
    assert (project / ".git" / "hooks" / "pre-commit").is_file()
    shell('uv add "streamlit[auth]"', project, UV_FROZEN="1")
    assert '"streamlit[auth]' in (project / "pyproject.toml").read_text("utf-8")
    shell("uv lock --upgrade", project)
    assert 'name = "authlib"' in (project / "uv.lock").read_text("utf-8")
    assert "+ apprise==" in shell("uv sync --extra notifications --dry-run", project).stderr

    app = write_files(
        tmp_path / "app", {"pyproject.toml": '[project]\nname = "app"\nversion = "1"\n'}
    )
    shell(line_of("docs/adopting.md", "uv add"), app, UV_FROZEN="1")
    assert '"filelock>=3.30,<5"' in (app / "pyproject.toml").read_text("utf-8")


def test_the_commands_in_a_clone_of_the_template(
    shell: Shell, repository: Path, tmp_path: Path
) -> None:
    tools = {"UV_PROJECT_ENVIRONMENT": sys.prefix, "UV_NO_SYNC": "1"}
    shell(line_of("README.md", "uv run cookiecutter ."), repository, **tools)
    assert (repository / "build" / "demo" / "jobs.py").is_file()
    (replay,) = (tmp_path / "bin" / "home" / ".cookiecutter_replay").iterdir()
    report = json.loads(replay.read_text("utf-8"))
    write_files(repository, {"report.json": json.dumps({"cookiecutter": report["cookiecutter"]})})
    (repository / "build" / "demo").rename(repository / "build" / "first")
    shell(line_of("CONTRIBUTING.md", "uv run cookiecutter ."), repository, **tools)
    assert (repository / "build" / "demo" / "jobs.py").is_file()
    shell("uv run pre-commit install", repository, **tools)
    assert (repository / ".git" / "hooks" / "pre-commit").is_file()
    shell("make docs", repository, **tools)
    assert (repository / "build" / "site" / "deployment.html").is_file()
    write_files(repository, {"docs/prompts.md": "# Prompts\n\n[A page](gone.md)\n"})
    with pytest.raises(AssertionError, match=r"prompts\.md:3: WARNING: .*gone\.md"):
        shell("make docs", repository, **tools)
