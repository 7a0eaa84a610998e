"""cookiecutter over a project that exists: what is kept, what is replaced, what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BACKENDS, BakedProject, Cookiecutter, write_files

REPLACE = ["--overwrite-if-exists"]
SKIP = [*REPLACE, "--skip-if-file-exists"]

# Rendered, common Python, from overlays (Python, too), and of the live feed.
EDITED = ["settings.toml", "jobs.py", "LICENSE", "compose.yaml", "dev/local_server.py", "feeds.py"]
MINE = dict.fromkeys(EDITED, "mine\n") | {
    "notes/mine.txt": "mine\n",
    "overlays/mine.py": "mine\n",
}


def files(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder with their content."""
    names = BakedProject(folder, {}).files()
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("licence", ["MIT", "none"])
def test_no_existing_file_is_replaced_with_skip(
    cookiecutter: Cookiecutter, tmp_path: Path, backend: str, licence: str
) -> None:
    answers = {"progress_backend": backend, "licence": licence, "project_slug": "mine"}
    fresh, existing = tmp_path / "fresh", tmp_path / "existing"
    assert cookiecutter(fresh, answers).returncode == 0
    write_files(existing / "mine", MINE)
    result = cookiecutter(existing, answers, options=SKIP)
    assert (result.returncode, result.stderr) == (0, "")
    mine = {name: text.encode() for name, text in MINE.items()}
    assert files(existing / "mine") == files(fresh / "mine") | mine


def test_files_of_the_template_are_replaced_without_skip(
    cookiecutter: Cookiecutter, tmp_path: Path
) -> None:
    fresh, existing = tmp_path / "fresh", tmp_path / "existing"
    assert cookiecutter(fresh, {"project_slug": "mine"}).returncode == 0
    write_files(existing / "mine", MINE)
    assert cookiecutter(existing, {"project_slug": "mine"}, options=REPLACE).returncode == 0
    mine = {name: text.encode() for name, text in MINE.items()}
    assert files(existing / "mine") == mine | files(fresh / "mine")


@pytest.mark.parametrize("options", [REPLACE, SKIP])
def test_a_folder_named_like_that_of_the_overlays_is_kept(
    cookiecutter: Cookiecutter, tmp_path: Path, options: list[str]
) -> None:
    mine = {"cookiecutter-overlays/mine.txt": "mine\n", "jobs.py": "mine\n"}
    write_files(tmp_path / "mine", mine)
    result = cookiecutter(tmp_path, {"project_slug": "mine"}, options=options)
    assert result.returncode != 0
    assert result.stderr.splitlines()[0] == (
        "cookiecutter-overlays: the project has its own, and this template needs the name."
        " Rename yours"
    )
    assert files(tmp_path / "mine") == {name: text.encode() for name, text in mine.items()}


@pytest.mark.parametrize("options", [REPLACE, SKIP])
def test_a_project_made_without_hooks_is_finished_by_another_run(
    cookiecutter: Cookiecutter, tmp_path: Path, options: list[str]
) -> None:
    fresh, again = tmp_path / "fresh", tmp_path / "again"
    assert cookiecutter(fresh, {}).returncode == 0
    assert cookiecutter(again, {}, options=["--accept-hooks", "no"]).returncode == 0
    dev = [sys.executable, "-B", "-m", "dev"]
    done = subprocess.run(
        dev, cwd=again / "live-progress", capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "dev/local_server.py is missing: cookiecutter ran without the template's"
    )
    assert cookiecutter(again, {}, options=options).returncode == 0
    assert files(again / "live-progress") == files(fresh / "live-progress")
