"""The stored procedure that runs a job: `CALL RUN_OPERATION(operation_id, job, subject)`.

`snow snowpark deploy` puts this file with jobs.py, progress/ and samples/ on a stage.
"""

import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snowflake.snowpark import Session


def run_operation(session: "Session", operation_id: str, job: str, subject: str) -> str:
    """Run a job to its end and append the outcome, whatever it is.

    Returns:
        The terminal status, or "left alone" if it has ended or another call runs it.
    """
    unpack()
    from progress.backend.store import OperationWriter, begin
    from progress.contract import BackendUnavailable
    from progress.reporter import run_job

    def execute(statement: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
        try:
            rows = session.sql(statement, params=list(parameters)).collect()
        except Exception as error:
            # Snowpark has its own exceptions, and lets some of the connector through.
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BackendUnavailable(f"Snowflake: {line}") from error
        return [{name.lower(): value for name, value in row.as_dict().items()} for row in rows]

    if not begin(execute, operation_id):
        return "left alone"
    # No thread beside the job: a session is the job's while it runs. Snowflake itself knows
    # whether the procedure lives, so no heartbeat is needed.
    status = run_job(job, subject, OperationWriter(execute, operation_id), heartbeat=False)
    return status.value if status else "left alone"


def unpack() -> None:
    """Lay out the project as it is on a developer's machine, so that jobs can open their files.

    Snowflake imports folders as zip archives, where `open` finds nothing.
    """
    imported = sys._xoptions.get("snowflake_import_directory")
    if not isinstance(imported, str):
        return  # Not in Snowflake: the files are where they belong.
    folder = Path(tempfile.gettempdir()) / f"app-{os.getpid()}"
    if not folder.exists():
        whole = Path(tempfile.mkdtemp())
        for file in Path(imported).iterdir():
            if file.suffix == ".zip":
                with zipfile.ZipFile(file) as archive:
                    # The Snowflake CLI archives what is in a folder, without the folder.
                    is_folder = "__init__.py" in archive.namelist()
                    archive.extractall(whole / file.stem if is_folder else whole)
            elif file.is_file():
                shutil.copy(file, whole)
        whole.rename(folder)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
