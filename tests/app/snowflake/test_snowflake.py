"""What only Snowflake can get wrong, on a stand-in of this module's own that the tests stop."""

import json
import re
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
import streamlit as st
from snowflake import connector
from snowflake.snowpark.exceptions import SnowparkSQLException
from streamlit.testing.v1 import AppTest

import procedures
from dev.local_server import SnowflakeServer, create_tables
from progress import reporter
from progress.backend import account
from progress.backend import connection as backend
from progress.backend import store as events
from progress.backend.account import Account, QueryState, configured_options
from progress.backend.connection import ProgressConnection
from progress.contract import BackendRejected, BackendUnavailable, OperationLost
from progress.operation import Operation, Progress, Query, Status, Step, new_operation_id
from progress.session import live
from progress.settings import ROOT
from tests.conftest import pages, wait_for_end, wait_until
from tests.jobs import STEPS

OWNER = "somebody@example.com"
WORD = "The procedure ended without a word."


@pytest.fixture(scope="module")
def server(data_folder: Path) -> Iterator[SnowflakeServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOBS_MODULE", "tests.jobs")
        with SnowflakeServer(data_folder / "own") as running:
            yield running


@pytest.fixture
def database(server: SnowflakeServer) -> Iterator[Account]:
    opened = Account(server.options)
    yield opened
    opened.execute("DELETE FROM OPERATION_EVENTS")
    opened.close()


@pytest.fixture
def operations(database: Account, server: SnowflakeServer) -> Iterator[ProgressConnection]:
    """The app's connection to this module's server."""
    opened = ProgressConnection("progress", **server.options)
    yield opened
    opened.reset()


def start(operations: ProgressConnection, job: str, subject: str = "steady") -> str:
    operation_id = new_operation_id()
    operations.start(operation_id, job, subject, OWNER)
    return operation_id


def wait_for_step(operations: ProgressConnection, operation_id: str, step: int) -> Operation:
    return wait_until(
        operations, operation_id, lambda operation: operation.current_step >= step, 40
    )


def queued(database: Account, job: str = "succeed", subject: str = "fast") -> str:
    """An operation that is stored, and whose procedure was not called."""
    operation_id = new_operation_id()
    assert events.add(database.execute, operation_id, job, subject, OWNER)
    return operation_id


def begun(database: Account, query_id: str | None = None) -> str:
    """An operation whose procedure claimed it, and no longer runs."""
    operation_id = queued(database)
    events.keep_query(database.execute, operation_id, query_id or new_query_id())
    assert events.begin(database.execute, operation_id)
    return operation_id


def queries(database: Account, operation_id: str) -> list[str]:
    return events.queries(database.execute, [operation_id])[operation_id]


def new_query_id() -> str:
    return "01b2c3d4-0000-0000-0000-" + new_operation_id()[:12]


# --- starting ------------------------------------------------------------------------------


def test_the_query_is_kept_with_the_operation_for_every_session(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = start(operations, "succeed", "fast")
    (query_id,) = queries(database, operation_id)
    wait_for_end(operations, operation_id)
    deadline = time.monotonic() + 10
    while database.query_state(query_id)[0] is QueryState.ALIVE:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert database.query_state(query_id) == (QueryState.SUCCEEDED, "")


def test_a_start_that_broke_before_the_call_is_completed_by_the_next_try(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = queued(database)
    operations.start(operation_id, "fail", "other", OWNER)
    operation = wait_for_end(operations, operation_id)
    assert (operation.status, operation.job, operation.subject) == ("completed", "succeed", "fast")


def test_an_operation_that_was_never_called_is_called_by_who_reads_it(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = queued(database)
    assert operations.read([operation_id])[operation_id].status is Status.QUEUED
    assert queries(database, operation_id) == []
    monkeypatch.setattr(backend, "START_PATIENCE", 0.1)
    monkeypatch.setattr(backend, "CHECK_INTERVAL", 0.1)
    assert wait_for_end(operations, operation_id).status is Status.COMPLETED


def test_an_operation_that_is_called_twice_runs_once(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = queued(database, subject="steady")
    calls = [
        database.execute_async(backend.CALL, (operation_id, "succeed", "steady")) for _ in range(3)
    ]
    operation = wait_for_end(operations, operation_id)
    assert operation.status is Status.COMPLETED
    (row,) = database.execute(
        "SELECT COUNT(*) AS EVENTS FROM OPERATION_EVENTS"
        " WHERE OPERATION_ID = ? AND STEP_DESCRIPTION = 'Step number 6 of `steady`'",
        (operation_id,),
    )
    assert row == {"events": 2}, "the step, and the end"
    for query_id in calls:
        assert database.query_state(query_id)[0] is not QueryState.UNKNOWN


def test_of_two_claims_at_the_same_moment_the_first_runs(database: Account) -> None:
    operation_id = queued(database)

    def execute(statement: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
        rows = database.execute(statement, parameters)
        if "CLAIM, CURRENT_STEP" in statement:
            database.execute(
                "INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, STATUS, CLAIM)"
                " SELECT ?, DATEADD(second, -1, SYSDATE()), 'in_progress', 'of another call'",
                (operation_id,),
            )
        return rows

    assert not events.begin(execute, operation_id)


def test_a_call_that_comes_later_leaves_no_claim(database: Account) -> None:
    operation_id = begun(database)
    assert not events.begin(database.execute, operation_id)
    (row,) = database.execute(
        "SELECT COUNT(CLAIM) AS CLAIMS FROM OPERATION_EVENTS WHERE OPERATION_ID = ?",
        (operation_id,),
    )
    assert row == {"claims": 1}


@dataclass
class Session:
    """A procedure's session, of which some statements fail once."""

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


@pytest.mark.parametrize("failing", [events._PROGRESS, events._END])
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
    operation = events.read(database.execute, [operation_id])[operation_id]
    assert (operation.status, operation.current_step) == (Status.COMPLETED, STEPS)


def test_a_procedure_that_cannot_be_called_fails_the_operation_with_the_reason(
    operations: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "CALL", "CALL NOT_DEPLOYED(?, ?, ?)")
    operation_id = start(operations, "succeed")
    operation = operations.read([operation_id])[operation_id]
    assert operation.status is Status.FAILED
    assert operation.error == "Snowflake: Unknown function NOT_DEPLOYED."


# --- procedures that end without a word -----------------------------------------------------


def test_a_killed_procedure_is_failed_with_the_message_of_snowflake(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = start(operations, "endless")
    wait_for_step(operations, operation_id, 1)
    (query_id,) = queries(database, operation_id)
    # As an administrator would, in Snowsight: nobody asked for it on the page.
    database.execute(backend.CANCEL_QUERY, (query_id,))
    operation = wait_for_end(operations, operation_id)
    assert operation.status is Status.FAILED
    assert operation.error == f"{WORD} SQL execution canceled"
    assert operation.current_step >= 1
    assert operation.step_description.startswith("Round")


def test_a_query_that_snowflake_does_not_know_is_not_asked_about_for_ever(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "CHECK_INTERVAL", 0.0)
    operation_id = begun(database)
    assert operations.read([operation_id])[operation_id].status is Status.IN_PROGRESS
    monkeypatch.setattr(backend, "UNKNOWN_PATIENCE", 0.0)
    operation = operations.read([operation_id])[operation_id]
    assert operation.status is Status.FAILED
    assert operation.error is not None
    assert operation.error.startswith(f"{WORD} Snowflake does not know its query 01b2c3d4-")


ALIVE, ENDED, SUCCEEDED, UNKNOWN = QueryState


@pytest.mark.parametrize(
    ("states", "status", "cancelled"),
    [
        ([SUCCEEDED, ALIVE], Status.IN_PROGRESS, Status.IN_PROGRESS),
        ([ALIVE, ENDED], Status.IN_PROGRESS, Status.IN_PROGRESS),
        # The query that runs was not kept, or cannot be seen: the one kept found it at work.
        ([SUCCEEDED], Status.IN_PROGRESS, Status.CANCELLED),
        ([UNKNOWN, SUCCEEDED], Status.IN_PROGRESS, Status.CANCELLED),
        ([SUCCEEDED, ENDED], Status.FAILED, Status.CANCELLED),
        ([UNKNOWN, ENDED], Status.FAILED, Status.CANCELLED),
        ([UNKNOWN, UNKNOWN], Status.FAILED, Status.CANCELLED),
    ],
)
def test_what_several_calls_of_one_operation_say(
    operations: ProgressConnection,
    database: Account,
    monkeypatch: pytest.MonkeyPatch,
    states: list[QueryState],
    status: Status,
    cancelled: Status,
) -> None:
    monkeypatch.setattr(backend, "CHECK_INTERVAL", 0.0)
    monkeypatch.setattr(backend, "UNKNOWN_PATIENCE", 0.0)
    operation_id = begun(database)
    said = {new_query_id(): state for state in states}
    database.execute("DELETE FROM OPERATION_EVENTS WHERE QUERY_ID IS NOT NULL")
    for query_id in said:
        events.keep_query(database.execute, operation_id, query_id)
    monkeypatch.setattr(Account, "query_state", lambda self, name: (said[name], ""))
    for _ in range(2):
        assert operations.read([operation_id])[operation_id].status is status
    if not status.is_terminal:
        operations.cancel(operation_id)
        assert operations.read([operation_id])[operation_id].status is cancelled


def test_an_operation_whose_query_was_not_kept_is_shown_as_it_is_and_not_called_again(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "START_PATIENCE", 0.0)
    monkeypatch.setattr(backend, "_silence", lambda operation: 61.0)
    operation_id = queued(database)
    assert events.begin(database.execute, operation_id)
    time.sleep(0.2)
    said: list[str] = []
    execute = Account.execute

    def counted(self: Account, statement: str, parameters: Sequence[Any] = ()) -> Any:
        said.append(statement)
        return execute(self, statement, parameters)

    monkeypatch.setattr(Account, "execute", counted)
    monkeypatch.setattr(backend, "CHECK_INTERVAL", 60.0)
    monkeypatch.setattr(Account, "execute_async", lambda *rest: pytest.fail("it was called"))
    for _ in range(3):
        operation = operations.read([operation_id])[operation_id]
        assert operation.status is Status.IN_PROGRESS
        assert operation.heartbeat_age > 0.1
    assert said == [events._READ, events._QUERIES, events._READ, events._READ]
    operations.cancel(operation_id)
    assert operations.read([operation_id])[operation_id].status is Status.CANCELLED


def test_one_operation_that_cannot_be_looked_after_does_not_hide_the_others(
    operations: ProgressConnection,
    database: Account,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(backend, "CHECK_INTERVAL", 0.0)
    monkeypatch.setattr(backend, "UNKNOWN_PATIENCE", 0.0)
    bad, good = new_query_id(), new_query_id()
    ids = [begun(database, query_id) for query_id in (bad, good)]

    def query_state(self: Account, query_id: str) -> tuple[QueryState, str]:
        if query_id == bad:
            raise BackendUnavailable("no route")
        return QueryState.ENDED, "killed"

    monkeypatch.setattr(Account, "query_state", query_state)
    found = operations.read(ids)
    assert [found[name].status for name in ids] == [Status.IN_PROGRESS, Status.FAILED]
    assert f"Operation {ids[0]} could not be looked after: no route" in caplog.text


@pytest.mark.parametrize("query_id", ["", "x", "../../../session", "ü" * 36, "'; DROP", "0" * 5000])
def test_a_query_id_that_is_none_is_not_asked_about(database: Account, query_id: str) -> None:
    began = time.monotonic()
    assert database.query_state(query_id) == (QueryState.UNKNOWN, "")
    assert time.monotonic() - began < 1


def test_a_silent_procedure_that_runs_is_neither_failed_nor_quiet(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "CHECK_INTERVAL", 0.2)
    monkeypatch.setattr(Account, "query_state", lambda self, query_id: (QueryState.ALIVE, ""))
    operation_id = begun(database)
    time.sleep(0.5)
    operation = operations.read([operation_id])[operation_id]
    assert operation.status is Status.IN_PROGRESS
    assert operation.heartbeat_age == 0


def test_a_poll_is_one_statement(
    operations: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [start(operations, "endless") for _ in range(2)]
    for operation_id in ids:
        wait_for_step(operations, operation_id, 1)
    statements: list[str] = []
    asked: list[str] = []
    execute, query_state = Account.execute, Account.query_state

    def counted(self: Account, statement: str, parameters: Sequence[Any] = ()) -> Any:
        statements.append(statement)
        return execute(self, statement, parameters)

    def counted_state(self: Account, query_id: str) -> Any:
        asked.append(query_id)
        return query_state(self, query_id)

    monkeypatch.setattr(Account, "execute", counted)
    monkeypatch.setattr(Account, "query_state", counted_state)
    for _ in range(4):
        operations._checked.clear()
        found = operations.read(ids)
    assert {operation.status for operation in found.values()} == {Status.IN_PROGRESS}
    assert len(statements) == 4
    assert asked == []
    for operation_id in ids:
        operations.cancel(operation_id)


# --- cancel --------------------------------------------------------------------------------


def test_cancel_ends_a_job_in_the_middle_of_a_step(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = start(operations, "endless")
    wait_for_step(operations, operation_id, 1)
    operations.cancel(operation_id)
    operation = operations.read([operation_id])[operation_id]
    assert (operation.status, operation.error) == (Status.CANCELLED, None)
    assert operation.cancel_requested
    (query_id,) = queries(database, operation_id)
    assert database.query_state(query_id) == (QueryState.ENDED, "SQL execution canceled")


def test_cancel_without_the_right_to_end_the_query_is_left_to_the_job(
    operations: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = start(operations, "endless")
    wait_for_step(operations, operation_id, 1)
    monkeypatch.setattr(backend, "CANCEL_QUERY", "SELECT NOT_ALLOWED(?)")
    operations.cancel(operation_id)
    assert operations.read([operation_id])[operation_id].cancel_requested
    assert wait_for_end(operations, operation_id).status is Status.CANCELLED


def test_cancel_of_an_operation_that_was_never_called_ends_it(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = queued(database)
    operations.cancel(operation_id)
    assert operations.read([operation_id])[operation_id].status is Status.CANCELLED
    operations.start(operation_id, "succeed", "fast", OWNER)
    assert queries(database, operation_id) == []


# --- events --------------------------------------------------------------------------------


def test_the_first_terminal_event_wins_whatever_comes_later(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = begun(database)
    execute = database.execute
    events.end(execute, operation_id, Status.FAILED, Progress(2, 6), "no")
    ended = operations.read([operation_id])[operation_id]
    # Past the guards in the statements, as two writers at the same moment would be.
    for status, step in (("in_progress", 3), ("completed", 6)):
        execute(
            "INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, STATUS, CURRENT_STEP,"
            " TOTAL_STEPS, MOVED) SELECT ?, SYSDATE(), ?, ?, 6, TRUE",
            (operation_id, status, step),
        )
    after = operations.read([operation_id])[operation_id]
    assert (after.status, after.error, after.current_step) == (Status.FAILED, "no", 2)
    assert after.finished_at == ended.finished_at == after.last_updated


def test_a_job_that_was_ended_from_outside_learns_it_and_writes_nothing(
    database: Account,
) -> None:
    operation_id = begun(database)
    writer = events.OperationWriter(database.execute, operation_id)
    assert writer.progress(Progress(1, 6, 0, "a")) is False
    events.end(database.execute, operation_id, Status.FAILED, Progress(1, 6), "no")
    with pytest.raises(OperationLost):
        writer.progress(Progress(2, 6, 0, "b"))
    writer.finish(Status.COMPLETED, Progress(6, 6), None, "{}")
    operation = events.read(database.execute, [operation_id])[operation_id]
    assert (operation.status, operation.error) == (Status.FAILED, "no")
    assert not events.begin(database.execute, operation_id)


def test_thousands_of_quick_steps_are_few_events() -> None:
    now = 0.0
    written: list[Sequence[Any]] = []

    def execute(statement: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
        written.append(parameters)
        return [{"number of rows inserted": 1}]

    writer = events.OperationWriter(execute, "x", lambda: now)
    for step in range(10_000):
        now += 0.001
        writer.progress(Progress(step, 10_000, 0, f"step {step}"))
    assert events.BURST + 8 <= len(written) <= events.BURST + 10
    now += 60
    slow = len(written)
    for step in range(10):
        now += 1.5
        writer.progress(Progress(step, 10, 0, f"slow {step}"))
    assert len(written) == slow + 10, "every slow step is seen"


def test_nonsense_written_by_hand_is_read(
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


def test_operations_of_the_same_moment_are_paged_by_their_ids(
    operations: ProgressConnection, database: Account
) -> None:
    ids = sorted((new_operation_id() for _ in range(25)), reverse=True)
    for operation_id in ids:
        database.execute(
            "INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, STATUS, JOB, SUBJECT, OWNER)"
            " SELECT ?, '2026-01-02 03:04:05.678901'::TIMESTAMP_NTZ, 'queued', '', '', 'me'",
            (operation_id,),
        )
        events.end(database.execute, operation_id, Status.CANCELLED, Progress())
    cancelled = frozenset({Status.CANCELLED})
    found = pages(operations.recent, Query("me", statuses=cancelled, limit=10))
    assert [operation.operation_id for page in found for operation in page] == ids


def test_recent_and_counts_are_one_statement_each(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = begun(database)
    events.end(database.execute, operation_id, Status.COMPLETED, Progress(6, 6))
    statements: list[str] = []
    execute = Account.execute

    def counted(self: Account, statement: str, parameters: Sequence[Any] = ()) -> Any:
        statements.append(statement)
        return execute(self, statement, parameters)

    monkeypatch.setattr(Account, "execute", counted)
    assert [row.operation_id for row in operations.recent(Query(OWNER))] == [operation_id]
    assert operations.counts(Query(OWNER)) == {Status.COMPLETED: 1}
    assert len(statements) == 2


def test_an_operation_that_recent_finds_dead_keeps_its_steps(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "CHECK_INTERVAL", 0.2)
    monkeypatch.setattr(Account, "query_state", lambda self, query_id: (QueryState.ENDED, ""))
    operation_id = begun(database)
    step = Step(1, "one", 0.5, failed=True)
    writer = events.OperationWriter(database.execute, operation_id)
    writer.progress(Progress(1, 6, 1, "two", (step,)))
    time.sleep(0.5)
    (row,) = operations.recent(Query(OWNER))
    assert (row.status, row.last_steps) == (Status.FAILED, ())
    assert operations.read([operation_id])[operation_id].last_steps == (step,)


def test_a_table_of_an_earlier_version_gets_the_new_columns(server: SnowflakeServer) -> None:
    options = server.options | {"schema": "EARLIER"}
    there = Account(options)
    create_tables(there.execute)
    there.execute("ALTER TABLE OPERATION_EVENTS DROP COLUMN RETRY_OF")
    there.execute("ALTER TABLE OPERATION_EVENTS DROP COLUMN LAST_STEPS")
    app = ProgressConnection("progress", **options)
    with pytest.raises(BackendRejected, match=r"Is schema\.sql applied, and the role granted\?$"):
        app.read(["a"])
    create_tables(there.execute)
    assert app.read(["a"]) == {}
    assert events.add(there.execute, "a", "j", "s", "o", "b")
    assert app.read(["a"])["a"].retry_of == "b"
    app.reset()
    there.close()


def test_a_nul_in_a_text_does_no_harm(operations: ProgressConnection, database: Account) -> None:
    operation_id = new_operation_id()
    operations.start(operation_id, "fail", "a\0b", OWNER)
    operation = wait_for_end(operations, operation_id)
    assert (operation.subject, operation.status) == ("a�b", Status.FAILED)
    other = begun(database)
    writer = events.OperationWriter(database.execute, other)
    writer.progress(Progress(1, 6, 0, "a\0b"))
    writer.finish(Status.FAILED, Progress(1, 6, 0, "a\0b"), "c\0d", json.dumps({"e": "f\0g"}))
    ended = operations.read([other])[other]
    assert (ended.step_description, ended.error) == ("a�b", "c�d")
    assert ended.result == {"e": "f\0g"}


# --- threads, and the server away -----------------------------------------------------------


def test_threads_that_share_a_connection_get_their_own_rows(
    operations: ProgressConnection,
) -> None:
    ids = [start(operations, "succeed", str(number)) for number in range(4)]
    wrong: list[Any] = []

    def look(number: int) -> None:
        for _ in range(15):
            found = operations.read([ids[number]])
            if [(o.operation_id, o.subject) for o in found.values()] != [
                (ids[number], str(number))
            ]:
                wrong.append(found)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    for operation_id in ids:
        wait_for_end(operations, operation_id)


def test_threads_take_turns(database: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[int] = []
    most: list[int] = []

    def slow(connection: object, query_id: str) -> tuple[QueryState, str]:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return QueryState.ALIVE, ""

    monkeypatch.setattr(account, "_query_state", slow)
    threads = [threading.Thread(target=database.query_state, args=("x",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


def test_two_viewers_with_connections_of_their_own_see_the_same_and_either_cancels(
    operations: ProgressConnection, server: SnowflakeServer
) -> None:
    other = ProgressConnection("progress", **server.options)
    operation_id = start(operations, "endless")
    wait_for_step(other, operation_id, 1)
    other.cancel(operation_id)
    assert wait_for_end(operations, operation_id).status is Status.CANCELLED
    assert wait_for_end(other, operation_id).status is Status.CANCELLED
    other.reset()


@pytest.mark.parametrize("ending", [SnowflakeServer.stop, SnowflakeServer.kill])
def test_a_restart_of_the_server_in_the_middle(
    server: SnowflakeServer,
    operations: ProgressConnection,
    ending: Callable[[SnowflakeServer], None],
) -> None:
    done = start(operations, "succeed", "fast")
    wait_for_end(operations, done)
    operation_id = start(operations, "endless")
    wait_for_step(operations, operation_id, 1)
    ending(server)
    began = time.monotonic()
    with pytest.raises(BackendUnavailable, match=r"Snowflake cannot be reached: [^\n]{1,100}$"):
        operations.read([operation_id])
    assert time.monotonic() - began < 10
    server.start()
    assert operations.read([done])[done].result is not None, "the data is still there"
    operation = wait_for_end(operations, operation_id)
    assert operation.status is Status.FAILED
    assert operation.error == f"{WORD} The stand-in for Snowflake was stopped."
    again = start(operations, "succeed", "fast")
    assert wait_for_end(operations, again).current_step == STEPS


def test_a_session_that_has_run_out_is_renewed_without_a_word(
    server: SnowflakeServer, operations: ProgressConnection
) -> None:
    assert operations.read(["a"]) == {}
    server.stop()
    server.start()
    assert operations.read(["a"]) == {}


# --- configuration -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "geheim"}, "Incorrect username or password was specified."),
        ({"account": "wrong"}, "No such account: check `account`."),
        ({"private_key_file": "/no/such/geheim.p8"}, "The options of the connection are of no use"),
        ({"port": "geheim"}, "The options of the connection are of no use"),
    ],
)
def test_a_wrong_login_is_one_line_without_secrets_and_is_not_tried_again(
    server: SnowflakeServer,
    wrong: dict[str, Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = ProgressConnection("progress", **(server.options | wrong))
    with pytest.raises(BackendRejected) as caught:
        refused.read(["a"])
    assert said in str(caught.value)
    assert "Check [connections.snowflake] in .streamlit/secrets.toml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "geheim" not in str(caught.value)
    logins: list[object] = []
    monkeypatch.setattr(account, "_connect", logins.append)
    for _ in range(3):
        with pytest.raises(BackendRejected, match=re.escape(said)) as again:
            refused.recent(Query(""))
        assert again.value is not caught.value, "its traceback would grow with every raise"
    assert logins == [], "Snowflake locks a user whose logins fail"
    refused.reset()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "geheim"}, "Incorrect username or password was specified."),
        ({"account": "wrong"}, "No such account: check `account`."),
    ],
)
def test_a_wrong_login_is_one_clear_line_on_the_pages(
    server: SnowflakeServer, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("PROGRESS_CONNECTION", json.dumps(server.options | wrong))
    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    live.backend().reset()
    run = AppTest.from_file(str(ROOT / "app_pages" / "run.py"), default_timeout=30).run()
    run.button(key="start").click().run()
    board = AppTest.from_file(str(ROOT / "app_pages" / "board.py"), default_timeout=30).run()
    for page in (run, board):
        assert not page.exception
        (line,) = {element.value for element in page.text if said in element.value}
        assert line.endswith("in .streamlit/secrets.toml, then restart.")
        assert "\n" not in line
    live.backend().reset()
    st.cache_resource.clear()


def test_nobody_there_is_one_line_soon(server: SnowflakeServer) -> None:
    away = ProgressConnection("progress", **(server.options | {"port": 1}))
    began = time.monotonic()
    with pytest.raises(BackendUnavailable, match=r"^Snowflake cannot be reached"):
        away.read(["a"])
    assert time.monotonic() - began < 15


class Refusing(BaseHTTPRequestHandler):
    """Passes the login to the stand-in, and answers statements with an HTTP error."""

    stand_in = ""
    status = 404

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "login-request" in self.path:
            request = urllib.request.Request(self.stand_in + self.path, body, dict(self.headers))
            with urllib.request.urlopen(request) as answer:
                status, body = answer.status, answer.read()
        else:
            status, body = self.status, b"<html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("status", [401, 404])
def test_an_http_error_in_the_place_of_an_answer_is_one_line_and_a_new_login(
    server: SnowflakeServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(Refusing, "status", status)
    monkeypatch.setattr(Refusing, "stand_in", f"http://127.0.0.1:{server.options['port']}")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as gateway:
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        refused = Account(server.options | {"port": gateway.server_port})
        for act in (refused.execute, refused.execute_async):
            with pytest.raises(BackendUnavailable, match=r"^Snowflake cannot be reached: no p"):
                act("SELECT 1")
            assert refused._connection is None
        gateway.shutdown()


@pytest.mark.parametrize("number", [604, 625, 630])
def test_what_took_too_long_is_worth_another_try(number: int) -> None:
    error = account._named(connector.ProgrammingError(msg="canceled", errno=number))
    assert isinstance(error, BackendUnavailable)


def test_the_connector_is_as_patient_as_the_statement_may_be_long(
    server: SnowflakeServer,
) -> None:
    patient = Account(server.options, timeout=300)
    assert (patient._opened().network_timeout or 0) > 300
    patient.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 WHERE ARRAY_CONTAINS('a'::VARIANT, PARSE_JSON(?))",
        "CREATE PROCEDURE P() RETURNS STRING LANGUAGE SQL AS 'SELECT ?'",
        "CREATE TASK T SCHEDULE = '1 minute' AS SELECT ?",
    ],
)
def test_what_the_stand_in_cannot_do_fails_at_once_and_says_so(
    database: Account, statement: str
) -> None:
    began = time.monotonic()
    with pytest.raises(BackendRejected, match=r"The stand-in for Snowflake cannot (do|read) '?"):
        database.execute(statement, ('["a"]',))
    assert time.monotonic() - began < 3
    assert database.execute("SELECT 1 AS X") == [{"x": 1}]


def test_a_missing_table_says_what_to_do(server: SnowflakeServer) -> None:
    empty = ProgressConnection("progress", **(server.options | {"schema": "EMPTY"}))
    with pytest.raises(BackendRejected, match=r"Is schema\.sql applied, and the role granted\?$"):
        empty.read(["a"])
    empty.reset()


def test_options_come_from_the_variable_or_the_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(account, "ROOT", tmp_path)
    monkeypatch.delenv("PROGRESS_CONNECTION", raising=False)
    assert configured_options() is None
    (tmp_path / ".streamlit").mkdir()
    secrets = tmp_path / ".streamlit" / "secrets.toml"
    secrets.write_text('[connections.snowflake]\naccount = "a"\n', "utf-8")
    assert configured_options() == {"account": "a"}
    monkeypatch.setenv("PROGRESS_CONNECTION", '{"account": "b"}')
    assert configured_options() == {"account": "b"}
    monkeypatch.setenv("PROGRESS_CONNECTION", "[1")
    with pytest.raises(BackendRejected, match="PROGRESS_CONNECTION is not a JSON object"):
        configured_options()
    monkeypatch.delenv("PROGRESS_CONNECTION")
    secrets.write_text("[connections", "utf-8")
    with pytest.raises(BackendRejected, match=r"secrets\.toml is not TOML"):
        configured_options()


# --- the stand-in itself --------------------------------------------------------------------


def test_the_stand_in_ends_with_who_started_it(data_folder: Path) -> None:
    other = SnowflakeServer(data_folder / "orphan")
    other.start()
    process = other._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) in (0, -signal.SIGTERM)


def test_the_stand_in_listens_on_this_machine_only(server: SnowflakeServer) -> None:
    port = server.options["port"]
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    # Another address of this machine, where a server for all addresses would answer, too.
    with pytest.raises((ConnectionRefusedError, TimeoutError)):
        socket.create_connection(("127.0.0.2", port), timeout=5)
