"""The Makefiles work in folders with spaces, and install uv where it is missing."""

import os
import re
import shutil
import subprocess
from datetime import date
from pathlib import Path

import pytest
from conftest import BACKENDS, FOLDER, ROOT, Bake, Completed, commit_all, write_files


def make(folder: Path, path: Path, *targets: str) -> str:
    """Run targets where the commands in `path` are the first to be found."""
    env = os.environ | {"PATH": os.pathsep.join([str(path), "/usr/bin", "/bin"])}
    done = subprocess.run(
        ["make", *targets], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def recording_uv(tmp_path: Path) -> Path:
    """The folder of a `uv` that prints what it was called with."""
    uv = tmp_path / "My Tools" / "uv"
    uv.parent.mkdir()
    uv.write_text('#!/bin/sh\necho "uv $*"\n', "utf-8")
    uv.chmod(0o755)
    return uv.parent


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_target_of_a_project_runs_a_uv_in_a_path_with_a_space(
    bake: Bake, recording_uv: Path, tmp_path: Path, backend: str
) -> None:
    project = bake(progress_backend=backend).copy(tmp_path / FOLDER)
    targets = re.findall(r"^([a-z-]+):.*##", project.read("Makefile"), re.MULTILINE)
    targets.remove("help")
    assert {"dev", "test", "lint"} < set(targets)
    for target in targets:
        assert "uv run " in make(project.path, recording_uv, target)


@pytest.mark.parametrize(
    "target", ["bake", "lint", "test", "test-app", "test-floor", "test-newest", "bench"]
)
def test_the_targets_of_the_template_run_a_uv_in_a_path_with_a_space(
    recording_uv: Path, tmp_path: Path, target: str
) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    shutil.copy2(ROOT / "Makefile", folder)
    shutil.copy2(ROOT / "cookiecutter.json", folder)
    for name in ("demo", "floor", "newest"):  # the fake uv does not bake
        (folder / "build" / f"{name}-sqlite").mkdir(parents=True)
    assert "uv run " in make(folder, recording_uv, target)


@pytest.fixture
def fake_python(tmp_path: Path) -> Path:
    """The folder of a `python3` that makes an environment whose pip "installs" a uv."""
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    inner = "#!/bin/sh\ncp /bin/echo .tools/bin/uv\n"
    lines = [
        "#!/bin/sh",
        "mkdir .tools .tools/bin || exit 1",
        "cat > .tools/bin/python <<'END'",
        inner + "END",
    ]
    python.write_text("\n".join([*lines, "chmod +x .tools/bin/python\n"]), "utf-8")
    python.chmod(0o755)
    return python.parent


def test_uv_is_installed_where_it_is_missing(bake: Bake, fake_python: Path, tmp_path: Path) -> None:
    template = tmp_path / FOLDER / "template"
    template.mkdir(parents=True)
    shutil.copy2(ROOT / "Makefile", template)
    for folder in (bake().copy(tmp_path / FOLDER).path, template):
        assert "\nrun " in make(folder, fake_python, "lint")
        assert "\nrun " in make(folder, fake_python, "lint")  # not installed again


def release(folder: Path) -> Completed:
    """Run `make release`, also if make runs the tests."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "release"], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """The git repository of a template that can be released."""
    shutil.copy2(ROOT / "Makefile", tmp_path)
    changelog = f"# Changelog\n\n## 1.2.3 ({date.today()})\n\n## 2026-11-21\n"
    files = {
        "templates/version.jinja": '{% set version = "1.2.3" %}\n',
        "CHANGELOG.md": changelog,
    }
    commit_all(write_files(tmp_path, files))
    return tmp_path


def test_a_release_prints_the_command_and_does_not_tag(ready: Path) -> None:
    done = release(ready)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "git tag --annotate v1.2.3 --message 1.2.3 && git push origin v1.2.3\n"
    assert subprocess.check_output(["git", "tag"], cwd=ready) == b""


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("templates/version.jinja", '{% set version = "1.2" %}\n', "'1.2' is not like 1.2.3"),
        ("templates/version.jinja", "", "the version '' is not like 1.2.3"),
        ("CHANGELOG.md", "## Unreleased\n\n## 1.2.3 (2026-11-26)\n", "first section"),
        (
            "CHANGELOG.md",
            "## 1.2.3 (2020-01-01)\n",
            "first section of CHANGELOG.md is not '## 1.2.3",
        ),
    ],
)
def test_a_release_is_refused(ready: Path, file: str, text: str, message: str) -> None:
    commit_all(write_files(ready, {file: text}))
    done = release(ready)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_release_needs_a_clean_tree_and_a_version_without_a_tag(ready: Path) -> None:
    write_files(ready, {"new.py": ""})
    assert "the tree has changes: commit them" in release(ready).stderr
    (ready / "new.py").unlink()
    subprocess.run(["git", "tag", "v1.2.3"], cwd=ready, check=True)
    assert "v1.2.3 is tagged" in release(ready).stderr
