"""The stored procedure that runs a job: `CALL RUN_OPERATION(operation_id, job, subject)`.

`snow snowpark deploy` puts this file with jobs.py, progress/ and samples/ on a stage.
"""

import functools
import io
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snowflake.snowpark import Session


def run_operation(session: "Session", operation_id: str, job: str, subject: str) -> str:
    """Run a job and store its outcome.

    Returns:
        The terminal status, or "ignored" if the operation has ended or another call runs it.
    """
    unpack()  # before the imports: they are in what it unpacks
    from progress.backend.output import captured
    from progress.backend.store import OperationWriter, claim, read
    from progress.execution import run_job

    def execute(statement: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
        with errors_translated():
            rows = session.sql(statement, params=list(parameters)).collect()
        return [{name.lower(): value for name, value in row.as_dict().items()} for row in rows]

    if not claim(execute, operation_id):
        return "ignored"
    options = read(execute, [operation_id])[operation_id].options
    writer = OperationWriter(execute, operation_id, StageFiles(session))
    with captured(writer.log):
        # Without a heartbeat thread, because a session is not safe to share with the job.
        # Snowflake itself knows whether the procedure is running.
        status = run_job(job, subject, writer, heartbeat=False, options=options)
    writer.write_log()
    return status.value if status else "ignored"


class StageFiles:
    """The stage OPERATION_FILES, as a procedure reads and writes it."""

    def __init__(self, session: "Session") -> None:
        self._session = session

    def upload(self, name: str, content: bytes) -> None:
        """Store a file; it replaces an equal name."""
        with errors_translated():
            self._session.file.put_stream(
                io.BytesIO(content), f"@OPERATION_FILES/{name}", auto_compress=False, overwrite=True
            )

    def download(self, name: str) -> bytes:
        """Return a file."""
        with errors_translated(), self._session.file.get_stream(f"@OPERATION_FILES/{name}") as file:
            return file.read()


@contextmanager
def errors_translated() -> Iterator[None]:
    """Raise BackendUnavailable for Snowpark's exceptions, and those of the connector."""
    from progress.contract import BackendUnavailable

    try:
        yield
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BackendUnavailable(f"Snowflake: {line}") from error


@functools.cache
def unpack() -> None:
    """Extract the project's files, so that jobs can import and open them as on any machine.

    Snowflake imports folders as zip archives, in which `open` finds no files. Once for all calls of
    a process, into a folder whose name nobody can know before.
    """
    imported = sys._xoptions.get("snowflake_import_directory")
    if not isinstance(imported, str):
        return  # not in Snowflake: the files are in place
    folder = Path(tempfile.mkdtemp())
    for file in Path(imported).iterdir():
        if file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                # The Snowflake CLI archives the files of a folder without the folder.
                is_folder = "__init__.py" in archive.namelist()
                archive.extractall(folder / file.stem if is_folder else folder)
        elif file.is_file():
            shutil.copy(file, folder)
    sys.path.insert(0, str(folder))
