"""Verify the configured account: `make verify-account`. It uses a warehouse for some minutes.

It creates a schema PROGRESS_VERIFICATION in the configured database, deploys the tables and the
procedure with the jobs of the tests into it, runs the conformance suite (tests/test_backend.py)
through the real connection, and drops the schema. The role needs CREATE SCHEMA on the database:
use the owner's role, not the app's.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dev.local_server import create_tables
from progress.backend.account import Account, configured_options, local_file
from progress.contract import BackendError
from progress.settings import ROOT

SCHEMA = "PROGRESS_VERIFICATION"
CREATE = "CREATE SCHEMA PROGRESS_VERIFICATION"
DROP = "DROP SCHEMA PROGRESS_VERIFICATION"
BUNDLE = ("procedures.py", "jobs.py", "settings.toml", "progress", "samples", "tests")
SHOW_SESSION = """
SELECT CURRENT_VERSION() AS VERSION, CURRENT_ACCOUNT_NAME() AS ACCOUNT, CURRENT_ROLE() AS ROLE,
    CURRENT_WAREHOUSE() AS WAREHOUSE, CURRENT_DATABASE() AS DATABASE
"""
PROCEDURE = """
CREATE PROCEDURE RUN_OPERATION(OPERATION_ID VARCHAR, JOB VARCHAR, SUBJECT VARCHAR)
RETURNS VARCHAR LANGUAGE PYTHON RUNTIME_VERSION = '3.11'
PACKAGES = ('pydantic', 'snowflake-snowpark-python')
IMPORTS = ('@CODE/bundle.zip') HANDLER = 'tests.procedure.run_operation' EXECUTE AS OWNER
"""


def verify(connect: Callable[[Mapping[str, Any]], Account], options: Mapping[str, Any]) -> int:
    """Deploy, run the suite and drop the schema; return 0 if all tests passed.

    Args:
        connect: Opens a connection with some options.
        options: The options of the account to verify.

    Raises:
        BackendError: Snowflake refused a step, the last one printed.
    """
    account = connect(options)
    (found,) = account.execute(SHOW_SESSION.strip())
    for name, value in found.items():
        print(f"{name}: {value}")
    if not found["warehouse"] or not found["database"]:
        print("Set warehouse and database under [connections.snowflake].")
        return 1
    print("Creating a temporary schema")
    account.execute(CREATE)
    # A connection of its own, which uses this schema again when it reconnects.
    inside = {**options, "schema": SCHEMA}
    verified = connect(inside)
    try:
        print("Creating the tables")
        create_tables(verified.execute)
        print("Uploading the project")
        with tempfile.TemporaryDirectory() as folder:
            verified.execute("CREATE STAGE CODE")
            bundle = local_file(pack(Path(folder)))
            verified.execute("PUT " + bundle + " @CODE AUTO_COMPRESS = FALSE")
        print("Creating the procedure")
        verified.execute(PROCEDURE.strip())
        failed = run_suite(inside)
    finally:
        account.execute(DROP)
        verified.close()
        account.close()
    print("The conformance suite failed: see above." if failed else "The conformance suite passed.")
    return failed


def pack(folder: Path) -> Path:
    """Write one archive with the files that the procedure and the jobs of the tests need."""
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
    """Verify the configured account; return the exit code, or the reason in one line."""
    try:
        options = configured_options()
        if options is None:
            return (
                "No account is configured. Set [connections.snowflake] in .streamlit/secrets.toml:"
                " see .streamlit/secrets.toml.example."
            )
        # Creating a procedure takes Snowflake longer than other statements.
        return verify(lambda wanted: Account(wanted, timeout=300), options)
    except BackendError as error:
        return f"The account could not be verified: {error}"


if __name__ == "__main__":
    sys.exit(main())
