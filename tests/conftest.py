"""What the tests share: the template as a user clones it, and the projects that are made of it."""

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "{{cookiecutter.project_slug}}"
CONTEXT: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text("utf-8"))
BACKENDS: list[str] = CONTEXT["progress_backend"]
LICENCES: list[str] = CONTEXT["licence"]

# A busy machine is no reason to fail.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

Completed: TypeAlias = subprocess.CompletedProcess[str]

# The tests of a project start a hundred processes. Where compiled files are turned off, as on many
# a build machine, each would compile Streamlit anew.
ENVIRONMENT = dict(os.environ)
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that no worker is left with one at the end."""
    items.sort(key=lambda item: item.path.name != "test_project.py")


@dataclass(frozen=True)
class BakedProject:
    """A project made of the template. Other tests have the same one: write only into a `copy`."""

    path: Path
    answers: Mapping[str, str]

    def run(self, *args: str, **env: str) -> Completed:
        """Run a command in the project, with these variables besides those of the shell."""
        return subprocess.run(
            args, cwd=self.path, env=ENVIRONMENT | env, capture_output=True, text=True, check=False
        )

    def files(self) -> set[str]:
        """Return the paths of all files, relative to the project, with forward slashes."""
        files = (path for path in self.path.rglob("*") if not path.is_dir())
        return {path.relative_to(self.path).as_posix() for path in files}

    def has_file(self, name: str) -> bool:
        """Tell whether the project has this file."""
        return (self.path / name).is_file()

    def read(self, name: str) -> str:
        """Return the text of a file."""
        return (self.path / name).read_text("utf-8")

    def copy(self, parent: Path) -> "BakedProject":
        """Return a copy in another folder, for a test that writes into it."""
        copied = shutil.copytree(self.path, parent / self.path.name, symlinks=True)
        return BakedProject(copied, self.answers)


Bake: TypeAlias = Callable[..., BakedProject]
"""Returns the project for these answers (the others are the defaults), made once for all tests."""


@dataclass(frozen=True)
class Cookiecutter:
    """The real command, with a home of its own: the user's settings and answers are left alone."""

    template: Path
    home: Path

    def __call__(
        self, output: Path, answers: Mapping[str, str] | None = None, typed: str = ""
    ) -> Completed:
        """Make a project in a folder.

        Args:
            output: Where the project's folder goes.
            answers: What the command line gives. None: nothing, and the prompts are shown.
            typed: What is typed at the prompts.
        """
        given = [f"{name}={value}" for name, value in (answers or {}).items()]
        flags = [] if answers is None else ["--no-input"]
        options = ["--config-file", str(self.home / "config.yaml"), "--output-dir", str(output)]
        env = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
        env |= {"HOME": str(self.home), "TMPDIR": str(self.home), "PYTHONUTF8": "1"}
        return subprocess.run(
            [sys.executable, "-m", "cookiecutter", *flags, *options, str(self.template), *given],
            input=typed,
            env=env,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as a clone has it: without what tools have left behind in this tree."""
    clone = tmp_path_factory.mktemp("template")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    return clone


@pytest.fixture(scope="session")
def cookiecutter(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Cookiecutter:
    """The command `cookiecutter`, for this template."""
    home = tmp_path_factory.mktemp("home")
    (home / "config.yaml").write_text(
        f"replay_dir: {home / 'replay'}\ncookiecutters_dir: {home / 'cloned'}\n", "utf-8"
    )
    return Cookiecutter(template, home)


@pytest.fixture(scope="session")
def bake(cookiecutter: Cookiecutter, tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """See `Bake`."""

    @functools.cache
    def made(given: frozenset[tuple[str, str]]) -> BakedProject:
        output = tmp_path_factory.mktemp("baked")
        answers = dict(given)
        result = cookiecutter(output, answers)
        assert result.returncode == 0, f"{answers} cannot be baked:\n{result.stdout}{result.stderr}"
        (path,) = output.iterdir()
        return BakedProject(path, answers)

    return lambda **answers: made(frozenset(answers.items()))


def load(path: Path) -> ModuleType:
    """Import a Python file of the template by its path, leaving no compiled one beside it."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(path.read_text("utf-8"), path, "exec"), module.__dict__)
    return module
