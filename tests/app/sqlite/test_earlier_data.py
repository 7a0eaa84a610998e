"""A file that an earlier version wrote is opened by this one: see also the other backends' tests.

The tables are texts, not made from those of this version: they hold whatever columns it adds. Add
the table of a release here when a later version changes it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from progress.backend.connection import ProgressConnection
from progress.operation import Query, Status, new_operation_id
from tests.conftest import OWNER, wait_for_end
from tests.jobs import STEPS

FIRST = """
CREATE TABLE operations (
    operation_id     TEXT PRIMARY KEY,
    job              TEXT NOT NULL,
    subject          TEXT NOT NULL,
    owner            TEXT NOT NULL,
    status           TEXT NOT NULL DEFAULT 'queued',
    current_step     INTEGER NOT NULL DEFAULT 0,
    total_steps      INTEGER,
    failed_steps     INTEGER NOT NULL DEFAULT 0,
    step_description TEXT NOT NULL DEFAULT '',
    created_at       TEXT NOT NULL,
    started_at       TEXT,
    last_updated     TEXT,
    heartbeat_at     TEXT,
    finished_at      TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    error            TEXT,
    result           TEXT,
    attempt          INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX operations_by_owner ON operations (owner, created_at DESC);
"""
WITH_RETRIES = """
CREATE TABLE operations (
    operation_id     TEXT PRIMARY KEY,
    job              TEXT NOT NULL,
    subject          TEXT NOT NULL,
    owner            TEXT NOT NULL,
    status           TEXT NOT NULL DEFAULT 'queued',
    current_step     INTEGER NOT NULL DEFAULT 0,
    total_steps      INTEGER,
    failed_steps     INTEGER NOT NULL DEFAULT 0,
    step_description TEXT NOT NULL DEFAULT '',
    created_at       TEXT NOT NULL,
    started_at       TEXT,
    last_updated     TEXT,
    heartbeat_at     TEXT,
    finished_at      TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    error            TEXT,
    result           TEXT,
    attempt          INTEGER NOT NULL DEFAULT 0,
    retry_of         TEXT NOT NULL DEFAULT '',
    last_steps       TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX operations_of_owner
    ON operations (owner, created_at DESC, operation_id DESC, status, job, subject);
CREATE INDEX operations_of_all
    ON operations (created_at DESC, operation_id DESC, status, job, subject);
CREATE INDEX statuses_of_owner ON operations (owner, status, created_at, job, subject);
CREATE INDEX statuses_of_all ON operations (status, created_at, job, subject);
CREATE INDEX active_of_owner ON operations (owner, created_at DESC, operation_id DESC)
    WHERE status NOT IN ('completed', 'partial', 'failed', 'cancelled');
CREATE INDEX active_of_all ON operations (created_at DESC, operation_id DESC)
    WHERE status NOT IN ('completed', 'partial', 'failed', 'cancelled');
INSERT INTO operations (operation_id, job, subject, owner, status, created_at, retry_of, last_steps)
VALUES ('retry', 'succeed', 'fast', 'somebody@example.com', 'cancelled',
    '2026-01-02T03:04:04.678+00:00', 'failed', '[]');
"""
ROWS = """
INSERT INTO operations (operation_id, job, subject, owner, status, current_step, total_steps,
    step_description, created_at, started_at, last_updated, heartbeat_at, finished_at, error,
    result, attempt)
VALUES
    ('completed', 'succeed', 'fast', 'somebody@example.com', 'completed', 6, 6, 'Last',
        '2026-01-02T03:04:01.678+00:00', '2026-01-02T03:04:02.678+00:00',
        '2026-01-02T03:04:09.678+00:00', '2026-01-02T03:04:09.678+00:00',
        '2026-01-02T03:04:09.678+00:00', NULL, '{"metrics": {"Steps": 6}}', 1),
    ('failed', 'fail', 'fast', 'somebody@example.com', 'failed', 2, 6, 'Third',
        '2026-01-02T03:04:02.678+00:00', '2026-01-02T03:04:03.678+00:00',
        '2026-01-02T03:04:09.678+00:00', '2026-01-02T03:04:09.678+00:00',
        '2026-01-02T03:04:09.678+00:00', 'It broke', NULL, 1),
    ('running', 'endless', 'slow', 'somebody@example.com', 'in_progress', 3, NULL, 'Fourth',
        '2026-01-02T03:04:03.678+00:00', '2026-01-02T03:04:04.678+00:00',
        '2026-01-02T03:04:09.678+00:00', '2026-01-02T03:04:09.678+00:00', NULL, NULL, NULL, 1),
    ('queued', 'succeed', 'fast', 'somebody@example.com', 'queued', 0, NULL, '',
        '2026-01-02T03:04:05.678+00:00', NULL, NULL, NULL, NULL, NULL, NULL, 0);
"""


@pytest.fixture(params=[FIRST, WITH_RETRIES], ids=["first", "with_retries"])
def app(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProgressConnection]:
    """The app of this version with the file of an earlier one."""
    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    path = tmp_path / "progress.db"
    with closing(sqlite3.connect(path)) as earlier:
        hour = f"{datetime.now(UTC) - timedelta(hours=2):%Y-%m-%dT%H}"  # what is old may be removed
        for script in (request.param, ROWS):
            earlier.executescript(script.replace("2026-01-02T03", hour))
    opened = ProgressConnection("progress", path=str(path))
    yield opened
    opened.reset()


def test_operations_of_an_earlier_version_are_read_and_go_on(app: ProgressConnection) -> None:
    """Its server has ended: what ran has no process, and what was queued is started."""
    found = app.read(["completed", "failed"])
    assert all(operation.problem is None for operation in found.values())
    completed, failed = found["completed"], found["failed"]
    assert (completed.status, completed.current_step) == (Status.COMPLETED, STEPS)
    assert completed.result is not None
    assert (failed.status, failed.error) == (Status.FAILED, "It broke")

    assert wait_for_end(app, "running").status == Status.FAILED
    queued = wait_for_end(app, "queued")
    assert (queued.status, queued.current_step) == (Status.COMPLETED, STEPS)

    new = new_operation_id()
    app.start(new, "succeed", "fast", OWNER, "failed")
    assert wait_for_end(app, new).status == Status.COMPLETED
    page = app.recent(Query(OWNER))
    assert [operation.operation_id for operation in page if operation.operation_id != "retry"] == [
        *(new, "queued", "running", "failed", "completed")
    ]
    assert page[0].retry_of == "failed"
    counts = app.counts(Query(OWNER))
    assert (counts[Status.COMPLETED], counts[Status.FAILED]) == (3, 2)
