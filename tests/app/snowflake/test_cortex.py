"""The sample job that asks Cortex. Delete this file with samples/."""

from pathlib import Path

import pytest

from dev.local_server import FakeSnowflake
from progress.backend.connection import ProgressConnection
from progress.operation import Operation, new_operation_id
from samples.cortex import BATCH
from tests.conftest import OWNER, wait_for_end


def ended(app: ProgressConnection, subject: str) -> Operation:
    """Run the job on a subject and return what became of it."""
    operation_id = new_operation_id()
    app.start(operation_id, "score_sentiment", subject, OWNER)
    return wait_for_end(app, operation_id)


def test_the_cortex_job_takes_a_step_for_each_batch(data_folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOBS_MODULE", "jobs")
        with FakeSnowflake(data_folder / "cortex") as running:
            app = ProgressConnection("progress", **running.options)
            operation = ended(app, "call_en_20250924_001_billing.txt")
            unknown = ended(app, "no such file")
            app.reset()
    assert operation.error is None
    assert operation.result is not None
    lines = operation.result["metrics"]["Lines"]
    assert operation.total_steps == operation.current_step == -(-lines // BATCH) + 1
    assert sum(row["Lines"] for row in operation.result["table"]) == lines
    assert [row["line"] for row in operation.result["chart"]] == list(range(1, lines + 1))
    assert operation.result["notes"][0].startswith("(Not by Cortex: the first words.)")
    assert unknown.error is not None
    assert "TRANSCRIPT_LINES has no line of 'no such file'" in unknown.error
