"""What the tests share: the template as a clone has it, and the projects baked from it."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest
from hypothesis import settings
from pytest_cookies.plugin import Cookies  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "{{cookiecutter.project_slug}}"
CONTEXT: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text("utf-8"))
FOLDER = Path("My Projects", "Größe 日本")
"""A path that a user may have, and that programs split or cannot decode."""
BACKENDS: list[str] = CONTEXT["progress_backend"]
LICENCES: list[str] = CONTEXT["licence"]

# A test must not fail because the machine is busy.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

Completed: TypeAlias = subprocess.CompletedProcess[str]

# The tests of a project start a hundred processes. Without compiled files, which many build
# machines turn off, each of them would compile Streamlit again.
ENVIRONMENT = dict(os.environ)
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the slow tests, so that they do not run alone at the end."""
    items.sort(key=lambda item: item.path.name != "test_project.py")


@dataclass(frozen=True)
class BakedProject:
    """A project baked from the template. Tests share it: write only into a `copy`."""

    path: Path
    answers: Mapping[str, str]

    def run(self, *args: str, **env: str) -> Completed:
        """Run a command in the project, with these environment variables added."""
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
"""Returns the project for these answers (the others are the defaults), baked once for all tests."""


@dataclass(frozen=True)
class Cookiecutter:
    """The command `cookiecutter`, for tests of what a user sees on the terminal.

    It has its own home: the user's settings and replay files are neither read nor written.
    """

    template: Path
    home: Path

    def __call__(
        self,
        output: Path,
        answers: Mapping[str, str] | None = None,
        typed: str = "",
        stdout: int = subprocess.PIPE,
        options: Sequence[str] = (),
        prompt: bool = False,
    ) -> Completed:
        """Run the command.

        Args:
            output: The parent folder of the project.
            answers: The answers on the command line. None: there are none, and it prompts.
            typed: What the user types at the prompts.
            stdout: Where stdout goes, if not into the result.
            options: More options.
            prompt: Whether it prompts with the given answers as the defaults.
        """
        given = [f"{name}={value}" for name, value in (answers or {}).items()]
        flags = [] if answers is None or prompt else ["--no-input"]
        flags += ["--config-file", str(self.home / "config.yaml"), "--output-dir", str(output)]
        env = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
        env |= {"HOME": str(self.home), "TMPDIR": str(self.home), "PYTHONUTF8": "1"}
        return subprocess.run(
            [sys.executable, "-m", "cookiecutter", *flags, *options, str(self.template), *given],
            input=typed,
            env=env,
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as a clone has it: without the files that git ignores."""
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


def commit_all(folder: Path) -> None:
    """Commit everything in a folder, which becomes a git repository if it is none."""
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for command in (["init"], ["add", "--all"], [*identity, "commit", "--message", "all"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Path:
    """A git repository with the template, for a test to commit to."""
    copied = shutil.copytree(template, tmp_path / "template")
    commit_all(copied)
    return copied


@pytest.fixture(scope="session")
def cookiecutter(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Cookiecutter:
    """The command `cookiecutter`, for this template."""
    home = tmp_path_factory.mktemp("home")
    (home / "config.yaml").write_text(
        f"replay_dir: {home / 'replay'}\ncookiecutters_dir: {home / 'cloned'}\n", "utf-8"
    )
    return Cookiecutter(template, home)


@pytest.fixture(scope="session")
def baked() -> dict[frozenset[tuple[str, str]], BakedProject]:
    """The projects that `bake` has made so far, by their answers."""
    return {}


@pytest.fixture
def bake(
    cookies_session: Cookies,
    template: Path,
    baked: dict[frozenset[tuple[str, str]], BakedProject],
    capfd: pytest.CaptureFixture[str],
) -> Bake:
    """See `Bake`."""

    def bake(**answers: str) -> BakedProject:
        key = frozenset(answers.items())
        if key not in baked:
            capfd.readouterr()
            result = cookies_session.bake(extra_context=answers, template=str(template))
            # The hooks are processes of their own: why they refuse is in their output only.
            assert result.exit_code == 0, f"{answers}: {result.exception}\n{capfd.readouterr().err}"
            baked[key] = BakedProject(result.project_path, answers)
        return baked[key]

    return bake


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write these files into a folder, and return the folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def imported_names(file: str, source: str) -> Iterator[str]:
    """Yield the dotted names that a file of a project imports: of `from a import b`, a and a.b."""
    folders = Path(file).parent.parts
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = [*folders[: len(folders) - node.level + 1]] if node.level else []
            origin += [node.module] if node.module else []
            yield ".".join(origin)
            yield from (".".join([*origin, name.name]) for name in node.names)


def load(path: Path) -> ModuleType:
    """Import a Python file of the template by its path, without writing a compiled file."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(path.read_text("utf-8"), path, "exec"), module.__dict__)
    return module
