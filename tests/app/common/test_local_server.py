"""The tests stay with the stand-in, whatever .streamlit/secrets.toml says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from progress.settings import ROOT

# One of them is for the backend of this project. None leads anywhere.
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


def test_secrets_of_production_do_not_lead_the_tests_to_it(
    data_folder: Path, environment: dict[str, str]
) -> None:
    copy = data_folder / "configured"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    (copy / ".streamlit" / "secrets.toml").write_text(PRODUCTION, "utf-8")
    test = "tests/test_backend.py::test_a_job_runs_to_its_end"
    tested = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-q", test],
        cwd=copy,
        # As on a developer's machine, without what leads this very test run to its stand-in.
        env={name: value for name, value in os.environ.items() if name not in environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "1 passed" in tested.stdout
