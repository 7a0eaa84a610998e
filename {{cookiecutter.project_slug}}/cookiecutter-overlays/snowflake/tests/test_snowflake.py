"""What only Snowflake can get wrong: the deployed files, and the calls of the procedure."""

import ast
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import jobs
from progress.backend import runner, store
from progress.backend.account import Account, QueryState
from progress.backend.connection import ProgressConnection
from progress.operation import Status
from progress.settings import ROOT
from tests.conftest import wait_for_end, wait_until

Started = Callable[..., str]


def artifacts(entity: str) -> list[str]:
    """Return the files and folders that snowflake.yml deploys with a procedure or an app."""
    text = (ROOT / "snowflake.yml").read_text("utf-8")
    block = re.split(r"^  (\w+):$", text, flags=re.MULTILINE)
    (own,) = [block[i + 1] for i in range(1, len(block), 2) if block[i] == entity]
    return re.findall(r"^      - ([\w./]+)$", own, flags=re.MULTILINE)


def imported(file: Path) -> set[str]:
    """Return the files and folders at the top of this project that a module imports."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    names = {module.partition(".")[0] for module in modules} - {""}
    return {own for name in names for own in (name, f"{name}.py") if (ROOT / own).exists()}


@pytest.mark.parametrize("entity", ["app", "run_operation"])
def test_all_artifacts_exist(entity: str) -> None:
    assert [name for name in artifacts(entity) if not (ROOT / name).exists()] == []
    assert {"jobs.py", "progress", "settings.toml"} <= set(artifacts(entity))


def test_everything_that_the_app_imports_is_deployed() -> None:
    deployed = set(artifacts("app"))
    assert {"streamlit_app.py", "app_pages", "pyproject.toml"} <= deployed
    modules = [
        file
        for artifact in map(ROOT.joinpath, deployed)
        for file in ([artifact] if artifact.is_file() else artifact.rglob("*.py"))
        if file.suffix == ".py"
    ]
    for module in modules:
        assert imported(module) <= deployed, f"{module.relative_to(ROOT)} imports more"
    assert "progress" in set().union(*map(imported, modules)), "the imports were found"


@pytest.mark.parametrize("with_folder", [False, True])
def test_the_procedure_finds_its_files_in_the_archives_of_snowflake(
    tmp_path: Path, with_folder: bool
) -> None:
    archives = tmp_path / "imports"
    archives.mkdir()
    for name in artifacts("run_operation"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, archives)
        elif with_folder:
            shutil.make_archive(str(archives / name), "zip", ROOT, name)
        else:
            shutil.make_archive(str(archives / name), "zip", ROOT / name)
    for name in ("empty", "tmp"):
        (tmp_path / name).mkdir()
    script = (
        "import sys; from pathlib import Path\n"
        "folder = sys._xoptions['snowflake_import_directory']\n"
        "sys.path += [str(file) for file in Path(folder).glob('*.zip')]\n"
        "sys.path.insert(0, folder)\n"
        "import procedures; procedures.unpack(); procedures.unpack()\n"
        "import jobs; import progress.backend.store; print(len(jobs.subjects()), *jobs.JOBS)\n"
        "from progress.settings import load_settings; load_settings()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-X", f"snowflake_import_directory={archives}", "-c", script],
        cwd=tmp_path / "empty",
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == ""
    assert ended.stdout == f"{len(jobs.subjects())} {' '.join(jobs.JOBS)}\n"


def wait_for_query(account: Account, operation_id: str) -> QueryState:
    """Return how the query of an operation's call ended."""
    (query_id,) = store.query_ids(account.execute, [operation_id])[operation_id]
    deadline = time.monotonic() + 30
    while (state := account.query_state(query_id)[0]) is QueryState.RUNNING:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return state


def test_the_procedure_runs_a_job_once(connection: ProgressConnection, started: Started) -> None:
    operation_id = started("succeed", "steady")
    wait_until(connection, operation_id, lambda operation: operation.current_step >= 1)
    account = connection._instance
    (answer,) = account.execute(runner.CALL, (operation_id, "fail", "fast"))
    assert list(answer.values()) == ["ignored"]
    assert wait_for_end(connection, operation_id).status is Status.COMPLETED
    assert wait_for_query(account, operation_id) is QueryState.SUCCEEDED


def test_a_cancelled_query_ends_as_cancelled_in_the_middle_of_a_step(
    connection: ProgressConnection, started: Started
) -> None:
    operation_id = started("endless", "steady")
    wait_until(connection, operation_id, lambda operation: operation.current_step >= 1)
    connection.cancel(operation_id)
    operation = wait_for_end(connection, operation_id)
    assert (operation.status, operation.error) == (Status.CANCELLED, None)
    assert operation.cancel_requested
    assert wait_for_query(connection._instance, operation_id) is QueryState.FAILED
