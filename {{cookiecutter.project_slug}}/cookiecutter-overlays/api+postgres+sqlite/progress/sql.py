"""What the SQL stores share: a Query as conditions and parameters of a SELECT. No I/O."""

from collections.abc import Mapping, Sequence
from typing import Any

from progress.operation import Query

LIST_COLUMNS = """operation_id, job, subject, owner, status, current_step, total_steps,
    failed_steps, step_description, created_at, started_at, last_updated, heartbeat_at,
    finished_at, cancel_requested, attempt, retry_of"""
"""The columns of a list: all but result, error, steps, `live` and options, which may be long."""
ACTIVE = "status NOT IN ('completed', 'partial', 'failed', 'cancelled')"
"""No terminal status. As literals: SQLite uses a partial index for nothing else."""


def conditions(query: Query, dialect: Mapping[str, str]) -> list[str]:
    """Return the conditions of what the query sets, and no others.

    A condition that may be switched off, "owner = :owner OR :owner IS NULL", would use no index.

    Args:
        query: What to find.
        dialect: The condition for each field of a Query, as this database writes it.
    """
    return [
        condition
        for field, condition in dialect.items()
        if (value := getattr(query, field)) is not None and value != frozenset()
    ]


def select(columns: str, where: Sequence[str], ending: str) -> str:
    """Return a SELECT on the operations. Every part is constant text: values are parameters."""
    return "\n".join(
        ("SELECT", columns, "FROM operations WHERE", "\n  AND ".join(where) or "TRUE", ending)
    )


def parameters(query: Query) -> dict[str, Any]:
    """Return the values for all conditions and the limit; those without a condition are unused."""
    before_time, before_id = query.before or (None, "")
    return {
        "owner": query.owner,
        "job": query.job,
        "subject": query.subject,
        "statuses": sorted(status.value for status in query.statuses),
        "since": query.since,
        "before_time": before_time,
        "before_id": before_id,
        "limit": query.limit,
    }
