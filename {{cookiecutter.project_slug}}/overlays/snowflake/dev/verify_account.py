"""Try the configured account: `make verify-account`. It takes some minutes of a warehouse.

It makes a schema PROGRESS_VERIFICATION in the configured database, deploys the tables and the
procedure with the jobs of the tests into it, runs the conformance suite (tests/test_backend.py)
through the real connection, prints what it found, and drops the schema. The role needs CREATE
SCHEMA on the database: use the owner's role, not the app's.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dev.local_server import create_tables
from progress.backend.account import Account, configured_options
from progress.contract import BackendError
from progress.settings import ROOT

SCHEMA = "PROGRESS_VERIFICATION"
CREATE = "CREATE SCHEMA PROGRESS_VERIFICATION"
DROP = "DROP SCHEMA PROGRESS_VERIFICATION"
BUNDLE = ("procedures.py", "jobs.py", "settings.toml", "progress", "samples", "tests")
LOOK = """
SELECT CURRENT_VERSION() AS VERSION, CURRENT_ACCOUNT_NAME() AS ACCOUNT, CURRENT_ROLE() AS ROLE,
    CURRENT_WAREHOUSE() AS WAREHOUSE, CURRENT_DATABASE() AS DATABASE
"""
PROCEDURE = """
CREATE PROCEDURE RUN_OPERATION(OPERATION_ID VARCHAR, JOB VARCHAR, SUBJECT VARCHAR)
RETURNS VARCHAR LANGUAGE PYTHON RUNTIME_VERSION = '3.11' PACKAGES = ('snowflake-snowpark-python')
IMPORTS = ('@CODE/bundle.zip') HANDLER = 'tests.procedure.run_operation' EXECUTE AS OWNER
"""


class Executes(Protocol):
    """What runs statements: an Account."""

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run a statement and return its rows."""

    def close(self) -> None:
        """End the session."""


def verify(connect: Callable[[Mapping[str, Any]], Executes], options: Mapping[str, Any]) -> int:
    """Deploy, run the suite, tidy up; return 0 if everything passed.

    Args:
        connect: Opens an account by its options.
        options: Those of the account to verify.

    Raises:
        BackendError: Snowflake refused a step, which was printed before.
    """
    account = connect(options)
    (found,) = account.execute(LOOK.strip())
    for name, value in found.items():
        print(f"{name}: {value}")
    if not found["warehouse"] or not found["database"]:
        print("Set warehouse and database under [connections.snowflake].")
        return 1
    print("making a schema for the time")
    account.execute(CREATE)
    # A connection that breaks and comes back must come back to this schema, not to the app's.
    inside = {**options, "schema": SCHEMA}
    there = connect(inside)
    try:
        print("making the tables")
        create_tables(there.execute)
        print("uploading the project")
        with tempfile.TemporaryDirectory() as folder:
            there.execute("CREATE STAGE CODE")
            # PUT takes no parameters; the path is ours.
            upload = (
                "PUT 'file://" + pack(Path(folder)).as_posix() + "' @CODE AUTO_COMPRESS = FALSE"
            )
            there.execute(upload)
        print("making the procedure")
        there.execute(PROCEDURE.strip())
        failed = run_suite(inside)
    finally:
        account.execute(DROP)
        there.close()
        account.close()
    print("The conformance suite failed: see above." if failed else "The conformance suite passed.")
    return failed


def pack(folder: Path) -> Path:
    """Make one archive of what the procedure and the jobs of the tests need."""
    bundle = folder / "bundle.zip"
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in BUNDLE:
            path = ROOT / name
            for file in [path] if path.is_file() else sorted(path.rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, file.relative_to(ROOT))
    return bundle


def run_suite(options: Mapping[str, Any]) -> int:
    """Run the conformance suite against the account, in the schema of the options."""
    command = [sys.executable, "-m", "pytest", "tests/test_backend.py", "-v", "--durations=5"]
    environment = os.environ | {"PROGRESS_CONNECTION": json.dumps(dict(options))}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main() -> int | str:
    """Verify the configured account; return what stood in the way, in one line."""
    try:
        options = configured_options()
        if options is None:
            return (
                "No account is configured. Set [connections.snowflake] in .streamlit/secrets.toml:"
                " see .streamlit/secrets.toml.example."
            )
        # Snowflake takes its time to make a procedure.
        return verify(lambda wanted: Account(wanted, timeout=300), options)
    except BackendError as error:
        return f"The account could not be verified: {error}"


if __name__ == "__main__":
    sys.exit(main())
