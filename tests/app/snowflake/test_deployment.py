"""What is deployed to Snowflake, by its own tools: snowflake.yml, schema.sql, verify_account."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import expressions

import procedures
from dev import verify_account
from progress.settings import ROOT
from tests.test_snowflake import artifacts

CLI = "snowflake-cli==3.30.*"
CONFIGURED = ["snowflake.yml", "requirements.txt"]


@pytest.fixture(scope="module")
def tool() -> list[str]:
    """The Snowflake CLI, in an environment of its own: it pins other versions than the project."""
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv is not None, "uv is not installed: make installs it"
    command = [uv, "tool", "run", "--quiet", "--from", CLI, "snow"]
    fetched = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    assert fetched.returncode == 0, f"{CLI} cannot be installed: {fetched.stderr}"
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
    """A copy of what is deployed for the procedure, and nothing else."""
    for name in CONFIGURED + artifacts("run_operation"):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path


BUILD = ("snowpark", "build", "--skip-dependencies")


def test_the_snowflake_cli_accepts_the_project_and_builds_the_procedure(
    snow: Snow, project: Path
) -> None:
    built = snow(*BUILD)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "Build done." in built.stdout
    folders = [name for name in artifacts("run_operation") if (project / name).is_dir()]
    assert {file.stem for file in project.glob("*.zip")} == set(folders)


def test_the_snowflake_cli_refuses_an_invalid_runtime(snow: Snow, project: Path) -> None:
    """It reads snowflake.yml: an error in it is found."""
    file = project / "snowflake.yml"
    file.write_text(file.read_text("utf-8").replace("SYSTEM$ST_CONTAINER", "NO$SUCH"), "utf-8")
    built = snow(*BUILD)
    assert built.returncode != 0
    assert "runtime_name" in built.stdout + built.stderr


def with_dependencies(names: set[str]) -> set[str]:
    """Return these packages and all that they bring, by what is installed."""
    found: set[str] = set()
    while names:
        found |= names
        required = [line for name in names for line in metadata.requires(name) or []]
        names = {
            match[0].lower()
            for line in required
            if ";" not in line and (match := re.match(r"[\w-]+", line))
        } - found
    return found


def test_requirements_txt_brings_the_packages_of_the_app_too() -> None:
    """Streamlit Community Cloud prefers it to pyproject.toml, and brings Streamlit itself."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    named = {line for line in lines if line and not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {re.split(r"[^\w-]", line)[0] for line in project["dependencies"]}
    assert "snowflake-connector-python" in needed
    only_of_the_command_line = {"rich"}
    assert needed - with_dependencies(named | {"streamlit"}) == only_of_the_command_line


def test_the_procedure_needs_no_streamlit() -> None:
    script = (
        "import sys, procedures, jobs, progress.backend.output, progress.reporter\n"
        "sys.exit('streamlit' in sys.modules or 'snowflake.connector' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_the_packages_of_the_procedure_are_those_that_it_imports() -> None:
    script = (
        "import sys, procedures, jobs, progress.backend.output, progress.reporter\n"
        "print(*{name.partition('.')[0] for name in sys.modules} & {'pydantic', 'rich', 'yaml'})"
    )
    imported = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert packages == [*imported.stdout.split(), "snowflake-snowpark-python"]
    assert re.findall(r"PACKAGES = \((.*)\)", verify_account.PROCEDURE) == [
        ", ".join(f"'{package}'" for package in packages)
    ]


# Statements that sqlglot cannot parse are compared by their first words.
UNKNOWN_TO_SQLGLOT = (
    "CREATE ROLE IF NOT EXISTS ",
    "CREATE COMPUTE POOL IF NOT EXISTS ",
    "GRANT ROLE ",
    "GRANT DATABASE ROLE SNOWFLAKE.",
    "GRANT USAGE ON COMPUTE POOL ",
)


def test_every_statement_of_the_schema_can_be_parsed() -> None:
    text = (ROOT / "schema.sql").read_text("utf-8")
    statements = sqlglot.parse(text, dialect="snowflake")
    assert len(statements) > 20
    for statement in statements:
        assert statement is not None
        if isinstance(statement, expressions.Command):
            text = statement.sql(dialect="snowflake", comments=False)
            assert text.startswith(UNKNOWN_TO_SQLGLOT), text


def test_the_names_of_objects_are_the_same_in_all_files() -> None:
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
    """An account that records the statements, and their schema."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, str]] = []

    def connect(self, options: Mapping[str, Any]) -> "Session":
        return Session(options["schema"], self.statements)


@dataclass
class Session:
    schema: str
    statements: list[tuple[str, str]]

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        self.statements.append((self.schema, statement))
        return [{"version": "9.0", "role": "R", "warehouse": "W", "database": "D", "account": "A"}]

    def close(self) -> None:
        self.statements.append((self.schema, "closed"))


def test_the_verification_deploys_into_a_schema_of_its_own_and_drops_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder()
    suites: list[Mapping[str, Any]] = []

    def run_suite(options: Mapping[str, Any]) -> int:
        suites.append(options)
        return 0

    monkeypatch.setattr(verify_account, "run_suite", run_suite)
    given = {"account": "a", "schema": "APP"}
    assert verify_account.verify(recorder.connect, given) == 0  # type: ignore[arg-type]
    schema = verify_account.SCHEMA
    assert suites == [{"account": "a", "schema": schema}]
    outside = [statement for name, statement in recorder.statements if name == "APP"]
    assert outside[0].startswith("SELECT")
    assert outside[1:] == [f"CREATE SCHEMA {schema}", f"DROP SCHEMA {schema}", "closed"]
    inside = [statement for name, statement in recorder.statements if name == schema]
    for created in ("CREATE TABLE", "CREATE STAGE IF NOT EXISTS OPERATION_FILES"):
        assert any(statement.startswith(created) for statement in inside)
    assert any(statement.startswith("PUT 'file://") for statement in inside)
    (procedure,) = [s for s in inside if "PROCEDURE RUN_OPERATION" in s]
    assert "HANDLER = 'tests.procedure.run_operation'" in procedure
    assert inside[-1] == "closed"
    assert "The conformance suite passed." in capsys.readouterr().out


def test_the_verification_without_an_account_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify_account, "configured_options", lambda: None)
    assert str(verify_account.main()).startswith("No account is configured.")
