"""Tables that an earlier version made are upgraded by schema.sql and used, with their events."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dev.local_server import FakeSnowflake, create_tables
from progress.backend.account import Account
from progress.backend.connection import ProgressConnection
from progress.contract import BackendRejected
from progress.operation import Query, Status, new_operation_id
from tests.conftest import OWNER, wait_for_end
from tests.jobs import STEPS

# The texts are not made from those of this version: they hold whatever it adds. Add the table of a
# release here when a later version changes it.
FIRST = """
CREATE TABLE OPERATION_EVENTS (
    OPERATION_ID VARCHAR NOT NULL,
    EVENT_NUMBER NUMBER AUTOINCREMENT,
    WRITTEN_AT TIMESTAMP_NTZ NOT NULL,
    STATUS VARCHAR,
    JOB VARCHAR,
    SUBJECT VARCHAR,
    OWNER VARCHAR,
    CLAIM VARCHAR,
    QUERY_ID VARCHAR,
    CANCEL_REQUESTED BOOLEAN,
    CURRENT_STEP NUMBER,
    TOTAL_STEPS NUMBER,
    FAILED_STEPS NUMBER,
    STEP_DESCRIPTION VARCHAR,
    MOVED BOOLEAN,
    ERROR VARCHAR,
    RESULT VARCHAR
)
"""
WITH_RETRIES = """
CREATE TABLE OPERATION_EVENTS (
    OPERATION_ID VARCHAR NOT NULL,
    EVENT_NUMBER NUMBER AUTOINCREMENT,
    WRITTEN_AT TIMESTAMP_NTZ NOT NULL,
    STATUS VARCHAR,
    JOB VARCHAR,
    SUBJECT VARCHAR,
    OWNER VARCHAR,
    RETRY_OF VARCHAR,
    CLAIM VARCHAR,
    QUERY_ID VARCHAR,
    CANCEL_REQUESTED BOOLEAN,
    CURRENT_STEP NUMBER,
    TOTAL_STEPS NUMBER,
    FAILED_STEPS NUMBER,
    STEP_DESCRIPTION VARCHAR,
    LAST_STEPS VARCHAR,
    MOVED BOOLEAN,
    ERROR VARCHAR,
    RESULT VARCHAR
)
"""
EVENTS = """
INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, STATUS, JOB, SUBJECT, OWNER, CLAIM,
    CURRENT_STEP, TOTAL_STEPS, FAILED_STEPS, STEP_DESCRIPTION, MOVED, ERROR, RESULT)
VALUES
    ('completed', '2026-01-02 03:04:01', 'queued', 'succeed', 'fast', 'somebody@example.com',
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('completed', '2026-01-02 03:04:02', 'in_progress', NULL, NULL, NULL,
        'a', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('completed', '2026-01-02 03:04:03', NULL, NULL, NULL, NULL,
        NULL, 5, 6, 0, 'Last', TRUE, NULL, NULL),
    ('completed', '2026-01-02 03:04:04', 'completed', NULL, NULL, NULL,
        NULL, 6, 6, 0, 'Last', NULL, NULL, '{"metrics": {"Steps": 6}}'),
    ('failed', '2026-01-02 03:05:01', 'queued', 'fail', 'fast', 'somebody@example.com',
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('failed', '2026-01-02 03:05:02', 'failed', NULL, NULL, NULL,
        NULL, 2, 6, 0, 'Third', NULL, 'It broke', NULL),
    ('queued', '2026-01-02 03:06:01', 'queued', 'succeed', 'fast', 'somebody@example.com',
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
"""


@pytest.fixture(params=[FIRST, WITH_RETRIES], ids=["first", "with_retries"])
def earlier(request: pytest.FixtureRequest, server: FakeSnowflake) -> Iterator[dict[str, Any]]:
    """The options of a connection to a schema with the table and the events of an earlier version.

    Procedures use the schema of their database: the fake server's own table steps aside.
    """
    account = Account(server.options)
    account.execute("ALTER TABLE OPERATION_EVENTS RENAME TO CURRENT_EVENTS")
    hour = f"{datetime.now(UTC) - timedelta(hours=2):%Y-%m-%d %H}"  # what is old may be removed
    for statement in (request.param, EVENTS.replace("2026-01-02 03", hour)):
        account.execute(statement)
    yield dict(server.options)
    account.execute("DROP TABLE OPERATION_EVENTS")
    account.execute("ALTER TABLE CURRENT_EVENTS RENAME TO OPERATION_EVENTS")
    account.close()


def test_operations_of_an_earlier_version_are_read_and_go_on(earlier: dict[str, Any]) -> None:
    account = Account(earlier)
    create_tables(account.execute)
    create_tables(account.execute)
    account.close()
    app = ProgressConnection("progress", **earlier)
    found = app.read(["completed", "failed"])
    assert all(operation.problem is None for operation in found.values())
    completed, failed = found["completed"], found["failed"]
    assert (completed.status, completed.current_step) == (Status.COMPLETED, STEPS)
    assert completed.result is not None
    assert (failed.status, failed.error) == (Status.FAILED, "It broke")

    new = new_operation_id()
    app.start(new, "succeed", "fast", OWNER, "failed")
    app.start("queued", "succeed", "fast", OWNER)  # the app had died before it called the procedure
    for operation_id in (new, "queued"):
        assert wait_for_end(app, operation_id).status == Status.COMPLETED
    page = app.recent(Query(OWNER))
    ids = [operation.operation_id for operation in page]
    assert ids == [new, "queued", "failed", "completed"]
    assert page[0].retry_of == "failed"
    assert app.counts(Query(OWNER))[Status.COMPLETED] == 3
    app.reset()


@pytest.mark.parametrize("earlier", [FIRST], indirect=True, ids=["first"])
def test_the_app_says_what_to_do_before_the_schema_is_applied(earlier: dict[str, Any]) -> None:
    app = ProgressConnection("progress", **earlier)
    with pytest.raises(
        BackendRejected, match=r"Is schema\.sql applied, .* and the role granted\?$"
    ):
        app.read(["a"])
    app.reset()
