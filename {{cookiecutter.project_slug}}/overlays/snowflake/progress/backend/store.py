"""The events of operations: every statement about them is here. Both sides use it.

Progress is appended, never updated: updates of one row wait for each other in Snowflake. What an
operation is, is read from its events. The first terminal event wins, so that nothing overtakes it.
Times are `SYSDATE()`, which is UTC whatever time zone the session has.
"""

import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from progress.contract import OperationLost
from progress.operation import Operation, Progress, Query, Status
from progress.rows import count_statuses, operation_from_row
from progress.text import sanitize

Execute = Callable[[str, Sequence[Any]], list[dict[str, Any]]]
"""Runs a statement with its parameters; returns rows with names of columns in lower case."""

BURST = 20
"""Writes of progress that a job may make without a pause."""
REFILL = 1.0
"""Seconds after which it may make one more."""

_FIRST = """
INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, STATUS, JOB, SUBJECT, OWNER, RETRY_OF)
SELECT ?, SYSDATE(), 'queued', ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM OPERATION_EVENTS WHERE OPERATION_ID = ?)
"""
_READ = """
SELECT
    OPERATION_ID, STATUS, CURRENT_STEP, TOTAL_STEPS, FAILED_STEPS, STEP_DESCRIPTION,
    ERROR, RESULT, LAST_STEPS,
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
FROM (
    SELECT *, COALESCE(STATUS IN ('completed', 'partial', 'failed', 'cancelled'), FALSE) AS ENDED
    FROM OPERATION_EVENTS
    WHERE OPERATION_ID IN
        (SELECT VALUE::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))))
)
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
# The same for the operations whose first event is asked for, the newest of them, and light.
_FOUND = _READ.replace("    ERROR, RESULT, LAST_STEPS,\n", "").replace(
    "SELECT VALUE::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?)))",
    """
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
    """,
)
_RECENT = """
SELECT * FROM (FOUND)
WHERE ? = 0 OR STATUS IN (?, ?, ?, ?, ?, ?)
ORDER BY CREATED_AT DESC, OPERATION_ID DESC LIMIT ?
""".replace("FOUND", _FOUND)
_COUNTS = """
SELECT STATUS, COUNT(*) AS OPERATIONS FROM (FOUND)
WHERE ? = 0 OR STATUS IN (?, ?, ?, ?, ?, ?)
GROUP BY STATUS
""".replace("FOUND", _FOUND)
_ALL = 2**31
"""More operations than there are."""
_CANCEL = """
INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, CANCEL_REQUESTED)
SELECT ?, SYSDATE(), TRUE
WHERE EXISTS (SELECT 1 FROM OPERATION_EVENTS WHERE OPERATION_ID = ?)
AND NOT EXISTS (
    SELECT 1 FROM OPERATION_EVENTS
    WHERE OPERATION_ID = ? AND STATUS IN ('completed', 'partial', 'failed', 'cancelled')
)
"""
_KEEP_QUERY = """
INSERT INTO OPERATION_EVENTS (OPERATION_ID, WRITTEN_AT, QUERY_ID) SELECT ?, SYSDATE(), ?
"""
_QUERIES = """
SELECT OPERATION_ID, QUERY_ID FROM OPERATION_EVENTS
WHERE QUERY_ID IS NOT NULL AND OPERATION_ID IN
    (SELECT VALUE::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))))
"""
_CLAIM = """
INSERT INTO OPERATION_EVENTS
    (OPERATION_ID, WRITTEN_AT, STATUS, CLAIM, CURRENT_STEP, FAILED_STEPS, STEP_DESCRIPTION)
SELECT ?, SYSDATE(), 'in_progress', ?, 0, 0, ''
WHERE NOT EXISTS (
    SELECT 1 FROM OPERATION_EVENTS
    WHERE OPERATION_ID = ? AND (
        CLAIM IS NOT NULL OR STATUS IN ('completed', 'partial', 'failed', 'cancelled')
    )
)
"""
_FIRST_CLAIM = """
SELECT CLAIM FROM OPERATION_EVENTS WHERE OPERATION_ID = ? AND CLAIM IS NOT NULL
QUALIFY ROW_NUMBER() OVER (ORDER BY WRITTEN_AT, CLAIM) = 1
"""
_PROGRESS = """
INSERT INTO OPERATION_EVENTS
    (OPERATION_ID, WRITTEN_AT, STATUS, CURRENT_STEP, TOTAL_STEPS, FAILED_STEPS, STEP_DESCRIPTION,
     LAST_STEPS, MOVED)
SELECT ?, SYSDATE(), 'in_progress', ?, ?, ?, ?, ?, ?
WHERE NOT EXISTS (
    SELECT 1 FROM OPERATION_EVENTS
    WHERE OPERATION_ID = ? AND (
        CANCEL_REQUESTED OR STATUS IN ('completed', 'partial', 'failed', 'cancelled')
    )
)
"""
_ENDED = """
SELECT 1 FROM OPERATION_EVENTS
WHERE OPERATION_ID = ? AND STATUS IN ('completed', 'partial', 'failed', 'cancelled')
"""
_END = """
INSERT INTO OPERATION_EVENTS
    (OPERATION_ID, WRITTEN_AT, STATUS, CURRENT_STEP, TOTAL_STEPS, FAILED_STEPS, STEP_DESCRIPTION,
     LAST_STEPS, MOVED, ERROR, RESULT)
SELECT ?, SYSDATE(), ?, ?, ?, ?, ?, ?, TRUE, ?, ?
WHERE NOT EXISTS (
    SELECT 1 FROM OPERATION_EVENTS
    WHERE OPERATION_ID = ? AND STATUS IN ('completed', 'partial', 'failed', 'cancelled')
)
"""


def add(
    execute: Execute, operation_id: str, job: str, subject: str, owner: str, retry_of: str = ""
) -> bool:
    """Append the first event of an operation; return False if there is one with this id."""
    texts = [sanitize(text) for text in (job, subject, owner, retry_of)]
    return _inserted(execute(_FIRST, (operation_id, *texts, operation_id)))


def read(execute: Execute, operation_ids: Sequence[str]) -> dict[str, Operation]:
    """Return the operations that exist among these, in one statement."""
    # An id from a URL may hold a NUL, which no stored id does.
    wanted = [name for name in operation_ids if "\0" not in name]
    rows = execute(_READ, (json.dumps(wanted),)) if wanted else []
    return {row["operation_id"]: _operation(row) for row in rows}


def recent(execute: Execute, query: Query) -> list[Operation]:
    """Return a page of operations, newest first, without result, error and steps."""
    # What status an operation has is known from its events only: then all are looked through.
    newest = _ALL if query.statuses else query.limit
    rows = execute(_RECENT, (*_first_event(query), newest, *_statuses(query), query.limit))
    return [_operation(row) for row in rows]


def counts(execute: Execute, query: Query) -> dict[Status, int]:
    """Return how many operations have each status; `limit` and `before` do not matter."""
    parameters = (*_first_event(replace(query, before=None)), _ALL, *_statuses(query))
    return count_statuses(
        (row["status"], row["operations"]) for row in execute(_COUNTS, parameters)
    )


def request_cancel(execute: Execute, operation_id: str) -> bool:
    """Append a request to cancel; return False if there is no such operation, or it has ended."""
    return _inserted(execute(_CANCEL, (operation_id,) * 3))


def keep_query(execute: Execute, operation_id: str, query_id: str) -> None:
    """Append the id of the query that runs the operation, for any session to ask about."""
    execute(_KEEP_QUERY, (operation_id, query_id))


def queries(execute: Execute, operation_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids of the queries that were to run each operation: one, but for bad luck."""
    found: dict[str, list[str]] = {name: [] for name in operation_ids}
    for row in execute(_QUERIES, (json.dumps(list(operation_ids)),)):
        found.setdefault(row["operation_id"], []).append(str(row["query_id"]))
    return found


def end(
    execute: Execute,
    operation_id: str,
    status: Status,
    progress: Progress,
    error: str | None = None,
    result: str | None = None,
) -> None:
    """Append the terminal event, unless there is one."""
    text = error if error is None else sanitize(error)
    columns = (operation_id, status.value, *_columns(progress), text, result)
    execute(_END, (*columns, operation_id))


def begin(execute: Execute, operation_id: str) -> bool:
    """Claim an operation for this call; return False if it has ended, or another call has it.

    Almost always one call of several gets it, and never a later one after an earlier one. Two that
    claim at the same moment may both get it: which is first goes by the times of the statements,
    and the one with the earlier time may be the later one to commit, after the other has looked.
    """
    claim = uuid.uuid4().hex
    if not _inserted(execute(_CLAIM, (operation_id, claim, operation_id))):
        return False
    # Two calls that claim at the same moment may not see each other's event.
    (first,) = execute(_FIRST_CLAIM, (operation_id,))
    return bool(first["claim"] == claim)


class OperationWriter:
    """Appends the progress of one operation: the `ProgressWriter` of this backend.

    Args:
        execute: Runs a statement in the procedure's session.
        operation_id: The operation.
        clock: Seconds, for the pace of the writes.
    """

    def __init__(
        self, execute: Execute, operation_id: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._execute = execute
        self._operation_id = operation_id
        self._clock = clock
        self._room = float(BURST)
        self._filled_at = clock()
        self._last: tuple[int, str] | None = None

    def progress(self, progress: Progress) -> bool:
        """Append how far it is; return whether somebody asked to cancel.

        A job whose steps are slow has every one of them written. One that runs through thousands
        of quick steps has one a second written: the table must not grow by each of them. What was
        left out is written by the next step, or when the job next asks for `report.cancelled`.
        """
        now = self._clock()
        self._room = min(self._room + (now - self._filled_at) / REFILL, BURST)
        self._filled_at = now
        if self._room < 1:
            return False
        self._room -= 1
        step = (progress.current_step, progress.step_description)
        parameters = (self._operation_id, *_columns(progress), step != self._last)
        if _inserted(self._execute(_PROGRESS, (*parameters, self._operation_id))):
            self._last = step
            return False
        if self._execute(_ENDED, (self._operation_id,)):
            raise OperationLost
        return True

    def finish(
        self, status: Status, progress: Progress, error: str | None, result: str | None
    ) -> None:
        """Append the terminal event, unless there is one."""
        end(self._execute, self._operation_id, status, progress, error, result)


def _operation(row: dict[str, Any]) -> Operation:
    # A late event of a job that was ended from outside says nothing about the operation.
    if row["finished_at"] and row["last_updated"]:
        row["last_updated"] = min(row["last_updated"], row["finished_at"])
    return operation_from_row(row | {"attempt": int(row["started_at"] is not None)})


def _first_event(query: Query) -> tuple[str | None, ...]:
    before_time, before_id = query.before or (datetime.max.replace(tzinfo=UTC), "")
    before = _ntz(before_time)
    since = _ntz(query.since or datetime.min.replace(tzinfo=UTC))
    return since, before, before, before_id, query.owner, query.job, query.subject


def _statuses(query: Query) -> tuple[int | str, ...]:
    asked = [status.value for status in query.statuses]
    return len(asked), *asked, *[""] * (len(Status) - len(asked))


def _ntz(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def _columns(progress: Progress) -> tuple[int, int | None, int, str, str]:
    return (
        progress.current_step,
        progress.total_steps,
        progress.failed_steps,
        sanitize(progress.step_description),
        str(progress.columns()["last_steps"]),
    )


def _inserted(rows: list[dict[str, Any]]) -> bool:
    return bool(rows[0]["number of rows inserted"])
