"""The tests use the local server, whatever .streamlit/secrets.toml says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from progress.settings import ROOT

# One of these is for the backend of this project. No server answers at any of them.
PRODUCTION = """
[connections.progress]
path = "/dev/null/progress.db"
dsn = "postgresql://127.0.0.1:1/production"
url = "http://127.0.0.1:1"
header = "X-Production"
token = "production"

[connections.snowflake]
account = "production"
host = "127.0.0.1"
port = 1
"""
LEFT_OUT = shutil.ignore_patterns(".venv", ".local", ".tools", ".git", "*_cache", "__pycache__")


def test_the_tests_ignore_the_secrets_of_production(
    data_folder: Path, environment: dict[str, str]
) -> None:
    copy = data_folder / "configured"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    (copy / ".streamlit" / "secrets.toml").write_text(PRODUCTION, "utf-8")
    test = "tests/test_backend.py::test_a_job_runs_to_its_end"
    tested = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-q", test],
        cwd=copy,
        # As on a developer's machine: without the variables of this test run's local server.
        env={name: value for name, value in os.environ.items() if name not in environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "1 passed" in tested.stdout
