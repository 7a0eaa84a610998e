"""Every SQL statement about operations. Both the app and the stored procedure use it.

An operation is a series of events: rows of OPERATION_EVENTS that are inserted and never updated,
because in Snowflake updates of a table wait for each other.

- The first event has the status `queued`, and the job, subject, owner and options.
- Each call of the procedure inserts a claim. The first claim runs the job; later calls return.
- The job inserts its progress, with the status `in_progress`, and one terminal event at its end.
- The app inserts the query id of each call, and requests to cancel.

An operation is read from all of its events: the first says when it was created, a claim when it
started, and so on. Its status and steps are those of one event: the first terminal event, else the
latest event with a status; its result is the latest until this event. The first terminal event
wins, so that it is final without a lock: what a job writes after it was declared failed changes
nothing. Times are SYSDATE(): UTC.

Its log is in rows of OPERATION_LOG, which are only inserted, too: several lines at a time.
"""

import hashlib
import itertools
import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from progress.contract import BackendError, BackendRejected, OperationLost
from progress.operation import (
    NO_OPTIONS,
    Log,
    LogLine,
    Operation,
    Options,
    Progress,
    Query,
    Status,
)
from progress.rows import count_statuses, operation_from_row
from progress.text import sanitize, truncate

Execute = Callable[[str, Sequence[Any]], list[dict[str, Any]]]
"""Runs a statement with its parameters; returns rows with column names in lower case."""

BURST = 20
"""Progress events, and blocks of its log, that a job may insert without a pause."""
REFILL = 1.0
"""Seconds after which it may insert one more."""
MAX_LINE = 2_000
"""Characters of a line of a log."""
MAX_BLOCK = 1_000
"""Lines of a log that are inserted together; of more, the newest."""
MAX_LINES = 10_000
"""Lines of a log after which a block has only the newest LATE_BLOCK lines."""
LATE_BLOCK = 10


class Files(Protocol):
    """The stage OPERATION_FILES."""

    def upload(self, name: str, content: bytes) -> None:
        """Store a file; it replaces an equal name."""

    def download(self, name: str) -> bytes | None:
        """Return a file; None if there is none."""


# --- statements: joined from constants, while values are always parameters -------------------


def _sql(*parts: str) -> str:
    """Return the parts as one statement."""
    return "\n".join(parts)


_TERMINAL = "STATUS IN ('" + "', '".join(s for s in Status if s.is_terminal) + "')"


def _no_event(condition: str) -> str:
    """Return the condition that no event of an operation fulfils another condition."""
    return _sql(
        "NOT EXISTS (SELECT 1 FROM OPERATION_EVENTS WHERE OPERATION_ID = ? AND (", condition, "))"
    )


_SELECT = """
SELECT
    OPERATION_ID, STATUS, CURRENT_STEP, TOTAL_STEPS, FAILED_STEPS, STEP_DESCRIPTION,
    MAX(JOB) OVER (PARTITION BY OPERATION_ID) AS JOB,
    MAX(SUBJECT) OVER (PARTITION BY OPERATION_ID) AS SUBJECT,
    MAX(OWNER) OVER (PARTITION BY OPERATION_ID) AS OWNER,
    MAX(RETRY_OF) OVER (PARTITION BY OPERATION_ID) AS RETRY_OF,
    MIN(WRITTEN_AT) OVER (PARTITION BY OPERATION_ID) AS CREATED_AT,
    MIN(IFF(CLAIM IS NULL, NULL, WRITTEN_AT)) OVER (PARTITION BY OPERATION_ID) AS STARTED_AT,
    MAX(IFF(MOVED, WRITTEN_AT, NULL)) OVER (PARTITION BY OPERATION_ID) AS LAST_UPDATED,
    MAX(IFF(STATUS = 'in_progress', WRITTEN_AT, NULL)) OVER (PARTITION BY OPERATION_ID)
        AS HEARTBEAT_AT,
    MIN(IFF(ENDED, WRITTEN_AT, NULL)) OVER (PARTITION BY OPERATION_ID) AS FINISHED_AT,
    MAX(IFF(CANCEL_REQUESTED, 1, 0)) OVER (PARTITION BY OPERATION_ID) AS CANCEL_REQUESTED,
    SYSDATE() AS READ_AT
"""
_DETAILS = """
    , ERROR, LAST_STEPS, LIVE, MAX(OPTIONS) OVER (PARTITION BY OPERATION_ID) AS OPTIONS,
    LAST_VALUE(RESULT IGNORE NULLS) OVER (
        PARTITION BY OPERATION_ID ORDER BY WRITTEN_AT, EVENT_NUMBER
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS RESULT
"""
# Of each operation one event: the first terminal event, else the latest event with a status.
_QUALIFY = """
QUALIFY ROW_NUMBER() OVER (
    PARTITION BY OPERATION_ID
    ORDER BY
        IFF(ENDED, 0, IFF(STATUS IS NULL, 2, 1)),
        IFF(ENDED, WRITTEN_AT, NULL),
        IFF(ENDED, EVENT_NUMBER, NULL),
        WRITTEN_AT DESC,
        EVENT_NUMBER DESC
) = 1
"""


def _operations(columns: str, operation_ids: str) -> str:
    """Return the statement that reads the operations whose ids a subquery selects."""
    return _sql(
        columns,
        "FROM (SELECT *, COALESCE(",
        _TERMINAL,
        ", FALSE) AS ENDED FROM OPERATION_EVENTS WHERE OPERATION_ID IN (",
        operation_ids,
        "))",
        _QUALIFY,
    )


_GIVEN_IDS = "SELECT VALUE::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?)))"
# The newest operations whose first event matches a query.
_MATCHING_IDS = """
SELECT OPERATION_ID FROM OPERATION_EVENTS
WHERE STATUS = 'queued' AND WRITTEN_AT >= TO_TIMESTAMP_NTZ(?)
    AND (
        WRITTEN_AT < TO_TIMESTAMP_NTZ(?)
        OR (WRITTEN_AT = TO_TIMESTAMP_NTZ(?) AND OPERATION_ID < ?)
    )
    AND OWNER = COALESCE(?, OWNER)
    AND JOB = COALESCE(?, JOB)
    AND SUBJECT = COALESCE(?, SUBJECT)
GROUP BY OPERATION_ID
QUALIFY ROW_NUMBER() OVER (ORDER BY MIN(WRITTEN_AT) DESC, OPERATION_ID DESC) <= ?
"""
_MATCHING = _sql(
    "FROM (",
    _operations(_SELECT, _MATCHING_IDS),
    ") WHERE ? = 0 OR STATUS IN (?, ?, ?, ?, ?, ?)",
)
_NO_LIMIT = 2**31

_READ = _operations(_SELECT + _DETAILS, _GIVEN_IDS)
_RECENT = _sql("SELECT *", _MATCHING, "ORDER BY CREATED_AT DESC, OPERATION_ID DESC LIMIT ?")
_COUNTS = _sql("SELECT STATUS, COUNT(*) AS OPERATIONS", _MATCHING, "GROUP BY STATUS")
_QUERY_IDS = _sql(
    "SELECT OPERATION_ID, QUERY_ID FROM OPERATION_EVENTS",
    "WHERE QUERY_ID IS NOT NULL AND OPERATION_ID IN (",
    _GIVEN_IDS,
    ")",
)
_FIRST_CLAIM = """
SELECT CLAIM FROM OPERATION_EVENTS WHERE OPERATION_ID = ? AND CLAIM IS NOT NULL
QUALIFY ROW_NUMBER() OVER (ORDER BY WRITTEN_AT, CLAIM) = 1
"""
_HAS_ENDED = _sql("SELECT 1 FROM OPERATION_EVENTS WHERE OPERATION_ID = ? AND", _TERMINAL)

_CREATE = _sql(
    """
    INSERT INTO OPERATION_EVENTS
        (OPERATION_ID, WRITTEN_AT, STATUS, JOB, SUBJECT, OWNER, RETRY_OF, OPTIONS)
    SELECT ?, SYSDATE(), 'queued', ?, ?, ?, ?, ?
    WHERE
    """,
    _no_event("TRUE"),
)
_REQUEST_CANCEL = _sql(
    """
    INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, CANCEL_REQUESTED)
    SELECT ?, SYSDATE(), TRUE
    WHERE EXISTS (SELECT 1 FROM OPERATION_EVENTS WHERE OPERATION_ID = ?)
    AND
    """,
    _no_event(_TERMINAL),
)
_ADD_QUERY = """
INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, QUERY_ID) SELECT ?, SYSDATE(), ?
"""
_CLAIM = _sql(
    """
    INSERT INTO OPERATION_EVENTS
        (OPERATION_ID, WRITTEN_AT, STATUS, CLAIM, CURRENT_STEP, FAILED_STEPS, STEP_DESCRIPTION)
    SELECT ?, SYSDATE(), 'in_progress', ?, 0, 0, ''
    WHERE
    """,
    _no_event("CLAIM IS NOT NULL OR " + _TERMINAL),
)
_ADD_PROGRESS = _sql(
    """
    INSERT INTO OPERATION_EVENTS
        (OPERATION_ID, WRITTEN_AT, STATUS, CURRENT_STEP, TOTAL_STEPS, FAILED_STEPS,
         STEP_DESCRIPTION, LAST_STEPS, LIVE, MOVED, RESULT)
    SELECT ?, SYSDATE(), 'in_progress', ?, ?, ?, ?, ?, ?, ?, ?
    WHERE
    """,
    _no_event("CANCEL_REQUESTED OR " + _TERMINAL),
)
_FINISH = _sql(
    """
    INSERT INTO OPERATION_EVENTS
        (OPERATION_ID, WRITTEN_AT, STATUS, CURRENT_STEP, TOTAL_STEPS, FAILED_STEPS,
         STEP_DESCRIPTION, LAST_STEPS, LIVE, MOVED, ERROR, RESULT)
    SELECT ?, SYSDATE(), ?, ?, ?, ?, ?, ?, ?, TRUE, ?, ?
    WHERE
    """,
    _no_event(_TERMINAL),
)
_ADD_LINES = """
INSERT INTO OPERATION_LOG (OPERATION_ID, LINE_NUMBER, WRITTEN_AT, TEXT)
SELECT ?, VALUE[0]::NUMBER, VALUE[1]::TIMESTAMP_NTZ, VALUE[2]::VARCHAR
FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?)))
"""
_LOGS = _sql(
    """
    SELECT OPERATION_ID, WRITTEN_AT, TEXT,
        MAX(LINE_NUMBER) OVER (PARTITION BY OPERATION_ID) AS WRITTEN,
        COUNT(*) OVER (PARTITION BY OPERATION_ID) AS STORED
    FROM OPERATION_LOG WHERE OPERATION_ID IN (
    """,
    _GIVEN_IDS,
    """
    )
    QUALIFY ROW_NUMBER() OVER (PARTITION BY OPERATION_ID ORDER BY LINE_NUMBER DESC) <= ?
    ORDER BY OPERATION_ID, LINE_NUMBER
    """,
)


# --- the app's side --------------------------------------------------------------------------


def create(
    execute: Execute,
    operation_id: str,
    job: str,
    subject: str,
    owner: str,
    retry_of: str = "",
    options: Options = NO_OPTIONS,
) -> bool:
    """Insert the first event of an operation; return False if the id exists."""
    texts = [sanitize(text) for text in (job, subject, owner, retry_of, options.text())]
    return _inserted(execute(_CREATE, (operation_id, *texts, operation_id)))


def read(execute: Execute, operation_ids: Sequence[str]) -> dict[str, Operation]:
    """Return the operations that exist among these, in one statement."""
    # No stored id has a NUL, and a statement with one may fail.
    valid = [operation_id for operation_id in operation_ids if "\0" not in operation_id]
    rows = execute(_READ, (json.dumps(valid),)) if valid else []
    return {row["operation_id"]: _operation(row) for row in rows}


def recent(execute: Execute, query: Query) -> list[Operation]:
    """Return a page of operations, newest first, without result, error and steps."""
    # A status is known only after all events of an operation are read: with a choice of statuses
    # the limit therefore applies at the end.
    newest = _NO_LIMIT if query.statuses else query.limit
    parameters = (*_matching(query), newest, *_of_statuses(query), query.limit)
    return [_operation(row) for row in execute(_RECENT, parameters)]


def counts(execute: Execute, query: Query) -> dict[Status, int]:
    """Return how many operations have each status; `limit` and `before` do not matter."""
    parameters = (*_matching(replace(query, before=None)), _NO_LIMIT, *_of_statuses(query))
    return count_statuses(
        (row["status"], row["operations"]) for row in execute(_COUNTS, parameters)
    )


def request_cancel(execute: Execute, operation_id: str) -> bool:
    """Insert a request to cancel; return False if the operation has ended or does not exist."""
    return _inserted(execute(_REQUEST_CANCEL, (operation_id,) * 3))


def add_query(execute: Execute, operation_id: str, query_id: str) -> None:
    """Insert the query id of a call, so that every session can read its state and cancel it."""
    execute(_ADD_QUERY, (operation_id, query_id))


def query_ids(execute: Execute, operation_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the query ids of the calls of each operation: usually one."""
    found: dict[str, list[str]] = {operation_id: [] for operation_id in operation_ids}
    for row in execute(_QUERY_IDS, (json.dumps(list(operation_ids)),)):
        found.setdefault(row["operation_id"], []).append(str(row["query_id"]))
    return found


def logs(execute: Execute, operation_ids: Sequence[str], limit: int) -> dict[str, Log]:
    """Return the latest lines of the logs that have some, in one statement."""
    valid = [operation_id for operation_id in operation_ids if "\0" not in operation_id]
    lines: dict[str, list[LogLine]] = {}
    dropped: dict[str, int] = {}
    for row in execute(_LOGS, (json.dumps(valid), limit)) if valid else []:
        operation_id = row["operation_id"]
        line = LogLine(row["written_at"].replace(tzinfo=UTC), row["text"])
        lines.setdefault(operation_id, []).append(line)
        dropped[operation_id] = row["written"] - row["stored"]
    return {name: Log(tuple(found), dropped[name]) for name, found in lines.items()}


def file_name(operation_id: str, name: str) -> str:
    """Return the name on the stage of a file of an operation.

    Hashes, because it is part of a statement, and an id or a name from outside may be any text.
    """
    return "-".join(hashlib.sha256(text.encode()).hexdigest()[:32] for text in (operation_id, name))


def read_file(files: Files, operation_id: str, name: str) -> bytes:
    """Return a file of an operation.

    Raises:
        BackendRejected: There is none.
    """
    content = files.download(file_name(operation_id, name))
    if content is None:
        raise BackendRejected(f"There is no file {name!r}: it may have been removed.")
    return content


# --- the procedure's side --------------------------------------------------------------------


def claim(execute: Execute, operation_id: str) -> bool:
    """Claim an operation for this call; return False if it has ended or has a claim.

    Two calls that claim at the very same moment may both get True: SYSDATE() is the time of the
    statement, so the earlier claim may be committed after the other call read the first claim.
    """
    own = uuid.uuid4().hex
    if not _inserted(execute(_CLAIM, (operation_id, own, operation_id))):
        return False
    # Two calls that insert at the same time do not see each other's event.
    (first,) = execute(_FIRST_CLAIM, (operation_id,))
    return bool(first["claim"] == own)


def finish(
    execute: Execute,
    operation_id: str,
    status: Status,
    progress: Progress,
    error: str | None = None,
    result: str | None = None,
) -> None:
    """Insert the terminal event, unless there is one."""
    text = error if error is None else sanitize(error)
    columns = (operation_id, status.value, *_columns(progress), text, result)
    execute(_FINISH, (*columns, operation_id))


class OperationWriter:
    """Inserts the progress of one operation: the `ProgressWriter` of this backend.

    Args:
        execute: Runs a statement in the procedure's session.
        operation_id: The operation.
        files: The files of all operations.
        clock: Seconds, for the rate of the writes.
    """

    def __init__(
        self,
        execute: Execute,
        operation_id: str,
        files: Files,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._execute = execute
        self._operation_id = operation_id
        self._files = files
        self._rate, self._log_rate = _Rate(clock), _Rate(clock)
        self._progress = Progress()  # the latest
        self._result: str | None = None  # None if it is written
        self._last_step: tuple[int, str] | None = None
        self._numbers = itertools.count(1)
        self._lines: deque[tuple[int, str, str]] = deque(maxlen=MAX_BLOCK)  # not yet inserted
        self._stored_lines = 0
        self._is_writing_log = False
        self._thread = threading.get_ident()

    def progress(self, progress: Progress) -> bool:
        """Insert the progress; return whether a cancel was requested.

        The rate is limited: every slow step is written, but of thousands of quick steps only one a
        second, so that the table does not grow with each. A skipped step is written with the next
        one, or when the job reads `report.cancelled`.
        """
        self._progress = progress
        self.log([])
        if not self._rate.take() or self._insert():
            return False
        if self._execute(_HAS_ENDED, (self._operation_id,)):
            raise OperationLost
        return True

    def finish(
        self, status: Status, progress: Progress, error: str | None, result: str | None
    ) -> None:
        """Insert the terminal event, unless there is one."""
        self.write_log()
        result = self._result if result is None else result
        finish(self._execute, self._operation_id, status, progress, error, result)

    def result(self, result: str) -> None:
        """Insert the result with the latest progress, or keep it for the next write."""
        self._result = result
        if self._rate.take():
            self._insert()

    def log(self, lines: Sequence[LogLine]) -> None:
        """Insert lines, or keep them for the next write.

        Only in the thread of the procedure: a session is not safe to share.
        """
        for line in lines:
            text = truncate(sanitize(line.text), MAX_LINE)
            self._lines.append((next(self._numbers), _ntz(line.at), text))
        is_own_thread = threading.get_ident() == self._thread
        if self._lines and is_own_thread and self._log_rate.take():
            self.write_log()

    def write_log(self) -> None:
        """Insert the lines that were kept. An error is ignored: the next write tries again."""
        if not self._lines or self._is_writing_log:  # the statement itself may log something
            return
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        block = lines[-(MAX_BLOCK if self._stored_lines < MAX_LINES else LATE_BLOCK) :]
        self._is_writing_log = True
        try:
            self._execute(_ADD_LINES, (self._operation_id, json.dumps(block, ensure_ascii=False)))
            self._stored_lines += len(block)
        except BackendError:
            room = MAX_BLOCK - len(self._lines)
            self._lines.extendleft(reversed(lines[-room:] if room else []))
        finally:
            self._is_writing_log = False

    def save_file(self, name: str, content: bytes) -> None:
        """Store a file with the operation."""
        self._files.upload(file_name(self._operation_id, name), content)

    def read_file(self, operation_id: str, name: str) -> bytes:
        """Return a file of any operation."""
        return read_file(self._files, operation_id, name)

    def _insert(self) -> bool:
        """Insert the latest progress; return False if a cancel was requested, or it has ended."""
        step = (self._progress.current_step, self._progress.step_description)
        result = self._result
        values = (*_columns(self._progress), step != self._last_step, result)
        rows = self._execute(_ADD_PROGRESS, (self._operation_id, *values, self._operation_id))
        if not _inserted(rows):
            return False
        self._last_step = step
        if self._result is result:
            self._result = None
        return True


class _Rate:
    """A token bucket: BURST writes without a pause, then one every REFILL seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens = float(BURST)
        self._refilled_at = clock()

    def take(self) -> bool:
        """Take a token; return False if there is none."""
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._refilled_at) / REFILL, BURST)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


# --- parameters and rows ---------------------------------------------------------------------


def _operation(row: dict[str, Any]) -> Operation:
    # Events after the terminal event do not count.
    if row["finished_at"] and row["last_updated"]:
        row["last_updated"] = min(row["last_updated"], row["finished_at"])
    return operation_from_row(row | {"attempt": int(row["started_at"] is not None)})


def _matching(query: Query) -> tuple[str | None, ...]:
    before_time, before_id = query.before or (datetime.max.replace(tzinfo=UTC), "")
    before = _ntz(before_time)
    since = _ntz(query.since or datetime.min.replace(tzinfo=UTC))
    return since, before, before, before_id, query.owner, query.job, query.subject


def _of_statuses(query: Query) -> tuple[int | str, ...]:
    statuses = [status.value for status in query.statuses]
    return len(statuses), *statuses, *[""] * (len(Status) - len(statuses))


def _ntz(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def _columns(progress: Progress) -> tuple[int, int | None, int, str, str, str]:
    columns = progress.columns()
    return (
        progress.current_step,
        progress.total_steps,
        progress.failed_steps,
        sanitize(progress.step_description),
        columns["last_steps"],
        columns["live"],
    )


def _inserted(rows: list[dict[str, Any]]) -> bool:
    return bool(rows[0]["number of rows inserted"])
