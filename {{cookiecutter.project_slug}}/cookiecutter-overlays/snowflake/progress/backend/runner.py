"""Runs jobs in Snowflake: calls the stored procedure of procedures.py, and cancels its calls."""

import logging

from progress.backend import store
from progress.backend.account import Account
from progress.contract import BackendRejected
from progress.operation import Options, Progress, Status

log = logging.getLogger(__name__)

CALL = "CALL RUN_OPERATION(?, ?, ?)"
CANCEL_QUERY = "SELECT SYSTEM$CANCEL_QUERY(?)"


def call_procedure(
    account: Account, operation_id: str, job: str, subject: str, options: Options
) -> None:
    """Call the procedure without waiting for it, and store its query id with the operation.

    The procedure itself reads its options. If Snowflake refuses the call, the operation has failed:
    its page shows the reason.
    """
    try:
        arguments = (operation_id, job, subject)
        query_id = account.execute_async(CALL, arguments, options.time_limit)
    except BackendRejected as error:
        store.finish(account.execute, operation_id, Status.FAILED, Progress(), str(error))
        return
    store.add_query(account.execute, operation_id, query_id)


def cancel_calls(account: Account, operation_id: str) -> None:
    """Cancel the queries of an operation's calls, in the middle of a step."""
    for query_id in store.query_ids(account.execute, [operation_id])[operation_id]:
        try:
            account.execute(CANCEL_QUERY, (query_id,))
        except BackendRejected as error:
            # The job reads the request at its next step.
            log.warning("The procedure could not be cancelled: %s", error)
