"""What `make doctor` checks of Snowflake: rights, and what keeps the warehouse awake."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from dev.doctor import Check, attempt, without_effect
from progress.backend.account import Account, configured_options
from progress.backend.connection import ProgressConnection
from progress.operation import new_operation_id
from progress.settings import load_settings

# Each role sees only what it may use.
PROCEDURES = "SHOW PROCEDURES LIKE 'RUN_OPERATION'"
WAREHOUSES = "SHOW WAREHOUSES"
WITHOUT_EFFECT = {
    "keep": "the roles cannot delete; schema.sql has the statements for a task",
    "notifications": "no messages are sent",
    "max_running": "the queue is that of the warehouse",
}


def checks(connection: ProgressConnection, is_connected: bool) -> Iterator[Check]:
    """Yield the checks of the account."""
    yield from without_effect(WITHOUT_EFFECT)
    if not is_connected:
        return
    nothing = new_operation_id()
    yield attempt("rights", lambda: connection.cancel(nothing), "the role may insert events")
    with closing(Account(configured_options())) as account:
        yield procedure(account.execute(PROCEDURES))
        yield warehouse(account.execute(WAREHOUSES))


def procedure(found: list[dict[str, Any]]) -> Check:
    """Check that the role may call the procedure that runs the jobs."""
    if found:
        return Check("procedure", True, "the role may call RUN_OPERATION")
    remedy = "run `snow snowpark deploy`, and grant the role USAGE on the procedure"
    return Check("procedure", False, f"The role sees no procedure RUN_OPERATION: {remedy}.")


def warehouse(found: list[dict[str, Any]]) -> Check:
    """Check that the warehouse resumes, and suspends when nothing polls."""
    current = next((row for row in found if row["is_current"] == "Y"), None)
    if current is None:
        remedy = "set `warehouse` of the connection, and grant the role USAGE on it"
        return Check("warehouse", False, f"None is in use: {remedy}.")
    name, after = current["name"], int(current["auto_suspend"] or 0)
    if not after:
        remedy = f"ALTER WAREHOUSE {name} SET AUTO_SUSPEND = 60"
        return Check("warehouse", False, f"{name} never suspends, and costs all the time: {remedy}")
    if str(current["auto_resume"]).lower() != "true":
        remedy = f"ALTER WAREHOUSE {name} SET AUTO_RESUME = TRUE"
        return Check("warehouse", False, f"{name} does not resume for a poll or a job: {remedy}")
    polls = f"while a page polls every {load_settings().poll_interval:g} s, or a job runs"
    message = f"{name} ({current['size']}) is awake {polls}, and {after} s after the last statement"
    return Check("warehouse", True, message)
