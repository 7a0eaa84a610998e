"""What goes to Snowflake: snowflake.yml, the files of the procedure, schema.sql."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import procedures
from dev import verify_account
from progress.settings import ROOT

CLI = "snowflake-cli==3.30.*"
DEPLOYED = ["procedures.py", "jobs.py", "settings.toml", "snowflake.yml", "requirements.txt"]


@pytest.fixture(scope="module")
def tool() -> list[str]:
    """The Snowflake CLI, in an environment of its own: it pins other versions than we do."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    command = [uv, "tool", "run", "--quiet", "--from", CLI, "snow"]
    if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"{CLI} cannot be installed here")
    return command


Snow = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def snow(tool: list[str], project: Path) -> Snow:
    """A function that runs the Snowflake CLI in the project, without the user's configuration."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*tool, *arguments],
            cwd=project,
            env=os.environ | {"SNOWFLAKE_HOME": str(project / "home")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what is deployed."""
    for name in DEPLOYED:
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("progress", "samples"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "home").mkdir()
    return tmp_path


BUILD = ("snowpark", "build", "--skip-dependencies")


def test_the_snowflake_cli_accepts_the_project_and_builds_the_procedure(
    snow: Snow, project: Path
) -> None:
    built = snow(*BUILD)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "Build done." in built.stdout
    assert {file.name for file in project.glob("*.zip")} == {"progress.zip", "samples.zip"}


def test_the_snowflake_cli_refuses_a_runtime_that_is_none(snow: Snow, project: Path) -> None:
    """It does read snowflake.yml: a mistake in it is found."""
    file = project / "snowflake.yml"
    file.write_text(file.read_text("utf-8").replace("SYSTEM$ST_CONTAINER", "NO$SUCH"), "utf-8")
    built = snow(*BUILD)
    assert built.returncode != 0
    assert "runtime_name" in built.stdout + built.stderr


@pytest.mark.parametrize("with_folder", [False, True])
def test_the_procedure_finds_its_files_as_snowflake_lays_them(
    project: Path, tmp_path: Path, with_folder: bool
) -> None:
    imported = tmp_path / "imported"
    imported.mkdir()
    for name in ("procedures.py", "jobs.py"):
        shutil.copy(project / name, imported)
    for folder in ("progress", "samples"):
        if with_folder:
            shutil.make_archive(str(imported / folder), "zip", project, folder)
        else:
            shutil.make_archive(str(imported / folder), "zip", project / folder)
    (tmp_path / "tmp").mkdir()
    script = (
        "import sys; from pathlib import Path\n"
        "folder = sys._xoptions['snowflake_import_directory']\n"
        "sys.path += [str(file) for file in Path(folder).glob('*.zip')]\n"
        "sys.path.insert(0, folder)\n"
        "import procedures; procedures.unpack(); procedures.unpack()\n"
        "import jobs; from progress.events import begin; print(len(jobs.subjects()), *jobs.JOBS)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-X", f"snowflake_import_directory={imported}", "-c", script],
        cwd=tmp_path / "home",
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == ""
    assert ended.stdout == "5 analyze_transcription score_sentiment\n"


def test_the_procedure_needs_no_streamlit() -> None:
    script = (
        "import sys, procedures, jobs, progress.events, progress.reporter\n"
        "sys.exit('streamlit' in sys.modules or 'snowflake.connector' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_everything_that_the_app_imports_is_deployed_with_it() -> None:
    lines = (ROOT / "snowflake.yml").read_text("utf-8").split("  app:")[1].splitlines()
    artifacts = {line.strip()[2:] for line in lines if line.strip().startswith("- ")}
    assert {"streamlit_app.py", "settings.toml", "jobs.py", "pyproject.toml"} <= artifacts
    assert {"progress", "samples", "views"} <= artifacts
    assert all((ROOT / artifact).exists() for artifact in artifacts)


def test_the_procedure_is_the_same_everywhere() -> None:
    schema = (ROOT / "schema.sql").read_text("utf-8")
    yml = (ROOT / "snowflake.yml").read_text("utf-8")
    name = re.search(r"CREATE DATABASE IF NOT EXISTS (\w+);", schema)
    assert name is not None
    assert f"database: {name[1]} }}" in yml
    example = tomllib.loads((ROOT / ".streamlit" / "secrets.toml.example").read_text("utf-8"))
    options = example["connections"]["snowflake"]
    for object_name in (options["role"], options["warehouse"], options["database"]):
        assert object_name in schema
    assert "handler: procedures.run_operation" in yml
    assert callable(procedures.run_operation)


class Recorder:
    """An account that keeps what it is told."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        self.statements.append(statement)
        return [{"version": "9.0", "role": "R", "warehouse": "W", "database": "D", "account": "A"}]


def test_the_verification_deploys_into_a_schema_of_its_own_and_drops_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(verify_account, "run_suite", lambda options: 0)
    assert verify_account.verify(recorder, {"account": "a", "schema": "APP"}) == 0
    schema = verify_account.SCHEMA
    said = recorder.statements
    assert said[0].startswith("SELECT")
    assert any(statement.startswith(f"CREATE SCHEMA {schema}") for statement in said)
    assert any(statement.startswith("PUT 'file://") for statement in said)
    (procedure,) = [s for s in said if "PROCEDURE RUN_OPERATION" in s]
    assert "HANDLER = 'tests.procedure.run_operation'" in procedure
    assert said[-1] == f"DROP SCHEMA {schema}"
    assert "The conformance suite passed." in capsys.readouterr().out


def test_the_verification_without_an_account_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify_account, "configured_options", lambda: None)
    assert str(verify_account.main()).startswith("No account is configured.")
