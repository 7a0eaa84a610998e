"""The procedure with the jobs of the tests, which `make verify-account` deploys."""

import os
from typing import TYPE_CHECKING

import procedures

if TYPE_CHECKING:
    from snowflake.snowpark import Session


def run_operation(session: "Session", operation_id: str, job: str, subject: str) -> str:
    """Run a job of tests/jobs.py as the procedure runs a job of jobs.py."""
    os.environ["JOBS_MODULE"] = "tests.jobs"
    return procedures.run_operation(session, operation_id, job, subject)
