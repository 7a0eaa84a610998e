"""What a job can have besides steps: parameters, early results, a log, files and limits."""

import json
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from dev.local_server import FakeSnowflake
from progress.backend import recovery, store
from progress.backend.account import MAX_TIME_LIMIT, Account
from progress.backend.connection import ProgressConnection
from progress.backend.output import captured
from progress.contract import BackendError, BackendRejected
from progress.operation import (
    NO_LIVE,
    NO_OPTIONS,
    Bar,
    Live,
    LogLine,
    Options,
    Progress,
    Query,
    Status,
    new_operation_id,
)
from progress.results import TABLE_FILE, TABLE_ROWS
from tests.app.conftest import Statements, claimed, queued, start
from tests.conftest import OWNER, wait_for_end, wait_until


def test_the_job_gets_the_stored_parameters(operations: ProgressConnection) -> None:
    text = "O'Brien; DROP TABLE \" % ? 😀\0\n"
    operation_id = start(operations, "given", "", day="2026-02-03", text=text)
    ended = wait_for_end(operations, operation_id)
    assert ended.options.parameters == {"day": "2026-02-03", "text": text}
    assert ended.result == {"notes": [f"2026 {text}"]}
    (row,) = operations.recent(Query(OWNER))
    assert (row.options, row.live) == (NO_OPTIONS, NO_LIVE)


def test_the_procedure_refuses_invalid_parameters(operations: ProgressConnection) -> None:
    ended = wait_for_end(operations, start(operations, "given", "", day="never"))
    assert ended.status is Status.FAILED
    assert "day: Input should be a valid date" in str(ended.error)


@pytest.mark.parametrize("ending", ["raised", "killed"])
def test_a_result_so_far_is_shown_and_survives_a_failure(
    operations: ProgressConnection, ending: str
) -> None:
    result = {"notes": ["early"], "metrics": {"Rows": 2}}
    operation_id = start(operations, "early", ending)
    running = wait_until(operations, operation_id, lambda operation: operation.result == result)
    assert running.status is Status.IN_PROGRESS
    ended = wait_for_end(operations, operation_id)
    assert (ended.status, ended.result) == (Status.FAILED, result)


def test_of_the_results_the_latest_until_the_end_counts(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = claimed(database)
    writer = store.OperationWriter(database.execute, operation_id, database, lambda: 0.0)
    for number in range(store.BURST + 5):  # the last are kept for the next write
        writer.result(json.dumps({"number": number}))
    writer.finish(Status.FAILED, Progress(), "no", None)
    database.execute(  # from a writer at the same time
        "INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, STATUS, RESULT)"
        """ SELECT ?, DATEADD(second, 1, SYSDATE()), 'in_progress', '{"number": -1}'""",
        (operation_id,),
    )
    assert operations.read([operation_id])[operation_id].result == {"number": store.BURST + 4}


def test_loops_and_metrics_are_shown_in_few_events(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = start(operations, "loops")
    running = wait_until(operations, operation_id, lambda operation: len(operation.live.bars) == 2)
    assert running.live.bars[0].description == "Outer"
    ended = wait_for_end(operations, operation_id)
    assert ended.status is Status.COMPLETED
    assert ended.live == Live(metrics={"rows": 19_999})
    (row,) = database.execute(
        "SELECT COUNT(*) AS EVENTS FROM OPERATION_EVENTS WHERE OPERATION_ID = ?", (operation_id,)
    )
    seconds = (ended.finished_at - ended.created_at).total_seconds()  # type: ignore[operator]
    assert row["events"] < store.BURST + seconds + 5


def test_a_retry_is_counted_and_shown(operations: ProgressConnection) -> None:
    ended = wait_for_end(operations, start(operations, "flaky", new_operation_id()))
    assert (ended.status, ended.result) == (Status.COMPLETED, {"notes": ["at last"]})
    assert (ended.live.retries, ended.live.retry_reason) == (1, "RuntimeError: not yet")


# --- limits ----------------------------------------------------------------------------------


def test_a_job_that_runs_longer_than_its_time_limit_fails(
    operations: ProgressConnection,
) -> None:
    operation_id = start(operations, "asleep")
    ended = wait_for_end(operations, operation_id)
    assert (ended.status, ended.step_description) == (Status.FAILED, "Asleep")
    assert "ran longer than its time limit. Statement reached its statement or" in str(ended.error)
    (line,) = operations.logs([operation_id], 10)[operation_id].lines
    assert line.text == "good night"


def test_a_poll_that_calls_the_procedure_passes_the_time_limit(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    options = Options(time_limit=3.5)
    assert store.create(database.execute, operation_id, "asleep", "", OWNER, "", options)
    monkeypatch.setattr(recovery, "START_TIMEOUT", 0.1)
    monkeypatch.setattr(recovery, "CHECK_INTERVAL", 0.1)
    wait_until(operations, operation_id, lambda operation: bool(operations.recent(Query(OWNER))))
    assert "timeout of 4 second(s)" in str(wait_for_end(operations, operation_id).error)


@pytest.mark.parametrize(
    ("limit", "sent"), [(0.0, None), (0.2, "1"), (90.0, "90"), (1e9, str(MAX_TIME_LIMIT))]
)
def test_the_time_limit_is_that_of_the_statement(
    database: Account, monkeypatch: pytest.MonkeyPatch, limit: float, sent: str | None
) -> None:
    from snowflake.connector.cursor import SnowflakeCursor

    seen: list[object] = []
    monkeypatch.setattr(
        SnowflakeCursor, "execute_async", lambda *arguments, **named: seen.append(named)
    )
    database.execute_async("SELECT 1", (), limit)
    assert seen == [
        {
            "_statement_params": sent and {"STATEMENT_TIMEOUT_IN_SECONDS": sent},
            "_no_retry": True,
        }
    ]


def test_nothing_is_stronger_than_a_cancel(operations: ProgressConnection) -> None:
    assert "force_stop" not in operations.features


# --- the log ---------------------------------------------------------------------------------


def test_what_a_job_prints_and_logs_is_its_log(operations: ProgressConnection) -> None:
    operation_id, other = start(operations, "talk"), start(operations, "broken")
    ended = wait_for_end(operations, operation_id)
    assert ended.status is Status.COMPLETED, ended.error
    wait_for_end(operations, other)
    found = operations.logs([operation_id, other, "x\0", new_operation_id()], 100)
    assert list(found) == [operation_id], "those without a line are missing"
    log = found[operation_id]
    assert log.dropped == 0
    assert [line.text for line in log.lines[:-2]] == [
        "printed Größe 😀",
        "bytes �",
        "to stderr",
        "INFO mine: logged",
        "two",
        "lines�",
        "of a thread",
    ]
    assert len(log.lines[-2].text) == store.MAX_LINE
    assert log.lines[-1].text == "no end"
    times = [line.at for line in log.lines]
    assert times == sorted(times)
    assert abs(times[0] - datetime.now(UTC)) < timedelta(minutes=1)
    assert operations.logs([operation_id], 2)[operation_id].lines == log.lines[-2:]
    assert operations.logs([], 2) == {}


def test_a_log_is_one_statement(
    operations: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [start(operations, "talk") for _ in range(2)]
    for operation_id in ids:
        wait_for_end(operations, operation_id)
    statements = Statements(monkeypatch)
    assert set(operations.logs(ids, 3)) == set(ids)
    assert statements.executed == [store._LOGS]


def test_of_a_flood_of_lines_the_newest_are_kept(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = start(operations, "chatter")
    wait_for_end(operations, operation_id)
    log = operations.logs([operation_id], 100_000)[operation_id]
    assert len(log.lines) + log.dropped == 50_000
    assert store.MAX_BLOCK <= len(log.lines) <= store.MAX_LINES
    assert [line.text for line in log.lines[-3:]] == [f"line {49_997 + i}" for i in range(3)]


def test_the_log_of_a_killed_procedure_has_what_was_stored_before(
    operations: ProgressConnection,
) -> None:
    operation_id = start(operations, "flood")
    assert wait_for_end(operations, operation_id).status is Status.FAILED
    log = operations.logs([operation_id], 1)[operation_id]
    assert int(log.lines[-1].text.removeprefix("round ")) > 20


class Lines:
    """Takes the place of the session: notes the blocks of lines."""

    def __init__(self) -> None:
        self.blocks: list[list[list[object]]] = []
        self.failing = False
        self.now = 0.0

    def execute(self, statement: str, parameters: Sequence[object]) -> list[dict[str, int]]:
        if statement == store._ADD_LINES:
            if self.failing:
                raise BackendError("not now")
            self.blocks.append(json.loads(str(parameters[1])))
        return [{"number of rows inserted": 1}]


@pytest.fixture
def written() -> Lines:
    return Lines()


@pytest.fixture
def writer(written: Lines) -> store.OperationWriter:
    return store.OperationWriter(written.execute, "x", cast(Any, None), lambda: written.now)


def line(number: int) -> LogLine:
    return LogLine(datetime.now(UTC), str(number))


def test_lines_are_written_in_blocks(writer: store.OperationWriter, written: Lines) -> None:
    for number in range(10_000):
        written.now += 0.001
        writer.log([line(number)])
    assert store.BURST + 8 <= len(written.blocks) <= store.BURST + 10
    written.now += 2
    before = len(written.blocks)
    writer.progress(Progress())
    assert len(written.blocks) == before + 1, "a step writes what was kept"
    assert written.blocks[-1][-1][0] == 10_000


def test_a_long_log_goes_on_with_few_lines(writer: store.OperationWriter, written: Lines) -> None:
    for number in range(15):
        written.now += 1
        writer.log([line(number)] * store.MAX_BLOCK)
    assert [len(block) for block in written.blocks] == [store.MAX_BLOCK] * 10 + [
        store.LATE_BLOCK
    ] * 5
    assert written.blocks[-1][-1][0] == 15 * store.MAX_BLOCK, "the newest"


def test_lines_that_could_not_be_written_are_written_later(
    writer: store.OperationWriter, written: Lines
) -> None:
    written.failing = True
    for number in range(3):
        writer.log([line(number)])
    written.failing = False
    writer.log([line(3)])
    writer.finish(Status.COMPLETED, Progress(), None, None)
    assert [[text for _, _, text in block] for block in written.blocks] == [["0", "1", "2", "3"]]


def test_a_statement_that_logs_does_not_write_the_log(
    writer: store.OperationWriter, written: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = written.execute

    def logging_execute(*arguments: object) -> object:
        print("a line of the statement")
        return execute(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(writer, "_execute", logging_execute)
    with captured(writer.log):
        print("one")
        print("two")
    writer.write_log()
    texts = [text for block in written.blocks for _, _, text in block]
    assert texts[:3] == ["one", "a line of the statement", "two"]


# --- files -----------------------------------------------------------------------------------


def test_a_file_that_a_job_keeps_can_be_read(
    operations: ProgressConnection, server: FakeSnowflake
) -> None:
    operation_id = start(operations, "keeper")
    ended = wait_for_end(operations, operation_id)
    assert ended.status is Status.COMPLETED, ended.error
    assert ended.result is not None
    assert [file["name"] for file in ended.result["files"]] == ["Größe '.txt", TABLE_FILE]
    assert ended.result[TABLE_ROWS] == 50_000
    other = ProgressConnection("progress", **server.options)
    assert other.read_file(operation_id, "Größe '.txt") == b"\x00new" * 1000
    assert len(other.read_file(operation_id, TABLE_FILE).splitlines()) == 50_001
    for unknown in ((operation_id, "x"), (new_operation_id(), TABLE_FILE)):
        with pytest.raises(BackendRejected, match="There is no file"):
            other.read_file(*unknown)
    other.reset()


def test_the_job_gets_an_uploaded_file(operations: ProgressConnection) -> None:
    upload = new_operation_id()
    operations.save_file(upload, "O'Brien.txt", b"old")
    operations.save_file(upload, "O'Brien.txt", "Größe".encode())
    operation_id = new_operation_id()
    operations.start(operation_id, "uploaded", "O'Brien.txt", OWNER, options=Options(upload=upload))
    assert wait_for_end(operations, operation_id).result == {"notes": [".txt Größe"]}


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b gzip?", bytes(range(256)) * 100_000])
def test_files_are_stored_unchanged(
    operations: ProgressConnection,
    content: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (folder := tmp_path / "Temp of O'Brien 50%").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    operations.save_file("a", "b.gz", content)
    assert operations.read_file("a", "b.gz") == content


def test_polls_do_not_wait_for_a_file(operations: ProgressConnection, database: Account) -> None:
    operation_id = queued(database)
    operations.read([operation_id])
    poll = threading.Thread(target=operations.read, args=([operation_id],), daemon=True)
    with operations._files._lock:  # as during an upload
        poll.start()
        poll.join(20)
        assert not poll.is_alive()


# --- an earlier version ----------------------------------------------------------------------


def test_the_new_procedure_runs_what_an_earlier_app_created(
    operations: ProgressConnection, database: Account
) -> None:
    operation_id = new_operation_id()
    database.execute(
        "INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, STATUS, JOB, SUBJECT, OWNER)"
        " SELECT ?, SYSDATE(), 'queued', 'succeed', 'fast', 'o'",
        (operation_id,),
    )
    database.execute_async("CALL RUN_OPERATION(?, ?, ?)", (operation_id, "succeed", "fast"))
    ended = wait_for_end(operations, operation_id)
    assert (ended.status, ended.options) == (Status.COMPLETED, NO_OPTIONS)
    assert ended.problem is None


def test_what_is_live_is_kept_by_the_recovery(
    operations: ProgressConnection, database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "CHECK_INTERVAL", 0.0)
    monkeypatch.setattr(recovery, "UNKNOWN_TIMEOUT", 0.0)
    operation_id = claimed(database)
    live = Live((Bar("Rows", 1, 2),), {"rows": 5})
    writer = store.OperationWriter(database.execute, operation_id, database)
    writer.progress(replace(Progress(1, 2, 0, "one"), live=live))
    ended = operations.read([operation_id])[operation_id]
    assert (ended.status, ended.live) == (Status.FAILED, live)
