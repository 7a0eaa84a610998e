"""The events of an operation, and the procedure that writes them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest
from snowflake.snowpark.exceptions import SnowparkSQLException

import procedures
from dev.local_server import FakeSnowflake, create_tables
from progress import reporter
from progress.backend import store
from progress.backend.account import Account
from progress.backend.connection import ProgressConnection
from progress.contract import BackendRejected, OperationLost
from progress.operation import Progress, Query, Status, new_operation_id
from tests.app.conftest import claimed, queued
from tests.conftest import OWNER, pages, wait_for_end
from tests.jobs import STEPS

# --- claims ----------------------------------------------------------------------------------


def test_of_two_claims_at_the_same_time_the_first_wins(database: Account) -> None:
    operation_id = queued(database)

    def execute(statement: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
        rows = database.execute(statement, parameters)
        if statement == store._CLAIM:
            database.execute(
                "INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, STATUS, CLAIM)"
                " SELECT ?, DATEADD(second, -1, SYSDATE()), 'in_progress', 'of another call'",
                (operation_id,),
            )
        return rows

    assert not store.claim(execute, operation_id)


def test_a_later_call_inserts_no_claim(database: Account) -> None:
    operation_id = claimed(database)
    assert not store.claim(database.execute, operation_id)
    (row,) = database.execute(
        "SELECT COUNT(CLAIM) AS CLAIMS FROM OPERATION_EVENTS WHERE OPERATION_ID = ?",
        (operation_id,),
    )
    assert row == {"claims": 1}


# --- writes of a job -------------------------------------------------------------------------


@dataclass
class Session:
    """A procedure's session in which some statements fail once."""

    account: Account
    failing: list[str]

    def sql(self, statement: str, params: list[Any]) -> "Session":
        self.statement, self.params = statement, params
        return self

    def collect(self) -> list["Row"]:
        if self.statement in self.failing:
            self.failing.remove(self.statement)
            raise SnowparkSQLException("000625: too many wait\nfor the lock", error_code="1304")
        return [Row(row) for row in self.account.execute(self.statement, self.params)]


@dataclass
class Row:
    values: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {name.upper(): value for name, value in self.values.items()}


@pytest.mark.parametrize("failing", [store._ADD_PROGRESS, store._FINISH])
def test_a_write_that_fails_once_does_not_end_the_job(
    database: Account, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    monkeypatch.setattr(reporter, "FINISH_DELAYS", (0.1,))
    operation_id = queued(database)
    session = Session(database, [failing])
    answer = procedures.run_operation(cast(Any, session), operation_id, "succeed", "fast")
    assert answer == "completed"
    assert session.failing == []
    operation = store.read(database.execute, [operation_id])[operation_id]
    assert (operation.status, operation.current_step) == (Status.COMPLETED, STEPS)


def test_a_job_that_was_declared_failed_is_told_so_and_writes_nothing(
    database: Account,
) -> None:
    operation_id = claimed(database)
    writer = store.OperationWriter(database.execute, operation_id, database)
    assert writer.progress(Progress(1, 6, 0, "a")) is False
    store.finish(database.execute, operation_id, Status.FAILED, Progress(1, 6), "no")
    with pytest.raises(OperationLost):
        writer.progress(Progress(2, 6, 0, "b"))
    writer.finish(Status.COMPLETED, Progress(6, 6), None, "{}")
    operation = store.read(database.execute, [operation_id])[operation_id]
    assert (operation.status, operation.error) == (Status.FAILED, "no")
    assert not store.claim(database.execute, operation_id)


def test_thousands_of_quick_steps_are_few_events() -> None:
    now = 0.0
    written: list[Sequence[Any]] = []

    def execute(statement: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
        written.append(parameters)
        return [{"number of rows inserted": 1}]

    writer = store.OperationWriter(execute, "x", cast(Any, None), lambda: now)
    for step in range(10_000):
        now += 0.001
        writer.progress(Progress(step, 10_000, 0, f"step {step}"))
    assert store.BURST + 8 <= len(written) <= store.BURST + 10
    now += 60
    slow = len(written)
    for step in range(10):
        now += 1.5
        writer.progress(Progress(step, 10, 0, f"slow {step}"))
    assert len(written) == slow + 10, "every slow step is written"


def test_a_nul_in_a_text_is_replaced(operations: ProgressConnection, database: Account) -> None:
    operation_id = new_operation_id()
    operations.start(operation_id, "fail", "a\0b", OWNER)
    operation = wait_for_end(operations, operation_id)
    assert (operation.subject, operation.status) == ("a�b", Status.FAILED)
    other = claimed(database)
    writer = store.OperationWriter(database.execute, other, database)
    writer.progress(Progress(1, 6, 0, "a\0b"))
    writer.finish(Status.FAILED, Progress(1, 6, 0, "a\0b"), "c\0d", json.dumps({"e": "f\0g"}))
    ended = operations.read([other])[other]
    assert (ended.step_description, ended.error) == ("a�b", "c�d")
    assert ended.result == {"e": "f\0g"}


# --- reads -----------------------------------------------------------------------------------


def test_the_first_terminal_event_wins(operations: ProgressConnection, database: Account) -> None:
    operation_id = claimed(database)
    execute = database.execute
    store.finish(execute, operation_id, Status.FAILED, Progress(2, 6), "no")
    ended = operations.read([operation_id])[operation_id]
    # Past the conditions of the statements, as from two writers at the same time.
    for status, step in (("in_progress", 3), ("completed", 6)):
        execute(
            "INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, STATUS, CURRENT_STEP,"
            " TOTAL_STEPS, MOVED) SELECT ?, SYSDATE(), ?, ?, 6, TRUE",
            (operation_id, status, step),
        )
    after = operations.read([operation_id])[operation_id]
    assert (after.status, after.error, after.current_step) == (Status.FAILED, "no", 2)
    assert after.finished_at == ended.finished_at == after.last_updated


def test_invalid_events_written_by_hand_are_read(
    operations: ProgressConnection, database: Account
) -> None:
    database.execute(
        "INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, STATUS, CURRENT_STEP,"
        " TOTAL_STEPS, STEP_DESCRIPTION, RESULT)"
        " SELECT 'x', SYSDATE(), 'banana', 30, 18, REPEAT('y', 100000), '[1]'"
    )
    database.execute(
        "INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT) SELECT 'y', SYSDATE()"
    )
    found = operations.read(["x", "y"])
    assert found["x"].problem is not None
    assert "status 'banana'" in found["x"].problem
    assert "current_step 30 is above total_steps 18" in found["x"].problem
    assert len(found["x"].step_description) == 500
    assert found["y"].problem is not None


def test_operations_created_at_the_same_time_are_paged_by_their_ids(
    operations: ProgressConnection, database: Account
) -> None:
    ids = sorted((new_operation_id() for _ in range(25)), reverse=True)
    for operation_id in ids:
        database.execute(
            "INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, STATUS, JOB, SUBJECT, OWNER)"
            " SELECT ?, '2026-01-02 03:04:05.678901'::TIMESTAMP_NTZ, 'queued', '', '', 'me'",
            (operation_id,),
        )
        store.finish(database.execute, operation_id, Status.CANCELLED, Progress())
    cancelled = frozenset({Status.CANCELLED})
    found = pages(operations.recent, Query("me", statuses=cancelled, limit=10))
    assert [operation.operation_id for page in found for operation in page] == ids


def test_a_table_of_an_earlier_version_gets_the_new_columns(server: FakeSnowflake) -> None:
    options = server.options | {"schema": "EARLIER"}
    earlier = Account(options)
    create_tables(earlier.execute)
    earlier.execute("DROP TABLE OPERATION_LOG")
    for statement in (
        "ALTER TABLE OPERATION_EVENTS DROP COLUMN RETRY_OF",
        "ALTER TABLE OPERATION_EVENTS DROP COLUMN LAST_STEPS",
        "ALTER TABLE OPERATION_EVENTS DROP COLUMN LIVE",
        "ALTER TABLE OPERATION_EVENTS DROP COLUMN OPTIONS",
    ):
        earlier.execute(statement)
    app = ProgressConnection("progress", **options)
    for read in (app.read, lambda ids: app.logs(ids, 9)):
        with pytest.raises(
            BackendRejected, match=r"Is schema\.sql applied, .* and the role granted"
        ):
            read(["a"])
    earlier.execute(
        "INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, STATUS, RESULT)"
        """ SELECT 'old', SYSDATE(), 'completed', '{"notes": ["old"]}'"""
    )
    create_tables(earlier.execute)
    assert app.read(["a"]) == {}
    old = app.read(["old"])["old"]
    assert (old.result, old.problem) == ({"notes": ["old"]}, None)
    assert app.logs(["old"], 9) == {}
    assert store.create(earlier.execute, "a", "j", "s", "o", "b")
    assert app.read(["a"])["a"].retry_of == "b"
    app.reset()
    earlier.close()
