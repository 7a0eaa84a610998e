"""The progress backend: operations as events in Snowflake, each job in a stored procedure."""

from collections.abc import Sequence
from typing import Any

from streamlit.connections import BaseConnection

from progress.backend import store
from progress.backend.account import Account, configured_options
from progress.backend.recovery import Recovery
from progress.backend.runner import call_procedure, cancel_calls
from progress.contract import Backend, check_names
from progress.operation import Operation, Query, Status


class ProgressConnection(BaseConnection[Account], Backend):
    """Starts operations and reads their progress. Open it with
    `st.connection("progress", type=ProgressConnection)`.

    The options are those of `[connections.snowflake]` in .streamlit/secrets.toml, or of the
    variable PROGRESS_CONNECTION (a JSON object), or the connector's default connection. It opens a
    connection of its own, not `st.connection("snowflake")`, and is safe to share between threads.
    """

    def _connect(self, **kwargs: Any) -> Account:
        account = Account(kwargs or configured_options())
        self._recovery = Recovery(account)
        return account

    def start(
        self, operation_id: str, job: str, subject: str, owner: str, retry_of: str = ""
    ) -> None:
        check_names(job, subject, owner)
        account = self._instance
        if store.create(account.execute, operation_id, job, subject, owner, retry_of):
            call_procedure(account, operation_id, job, subject)
            return
        # A start that failed between the event and the call is completed. If both calls arrive,
        # the second finds the claim of the first and returns: see `store.claim`.
        found = store.read(account.execute, [operation_id])[operation_id]
        if found.status != Status.QUEUED:
            return
        if not store.query_ids(account.execute, [operation_id])[operation_id]:
            call_procedure(account, operation_id, found.job, found.subject)

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        execute = self._instance.execute
        found = store.read(execute, operation_ids)
        if self._recovery.recover(found.values()):
            found = store.read(execute, operation_ids)
        return {name: self._recovery.with_heartbeat(operation) for name, operation in found.items()}

    def recent(self, query: Query) -> list[Operation]:
        execute = self._instance.execute
        found = store.recent(execute, query)
        if self._recovery.recover(found):
            found = store.recent(execute, query)
        return [self._recovery.with_heartbeat(operation) for operation in found]

    def counts(self, query: Query) -> dict[Status, int]:
        return store.counts(self._instance.execute, query)

    def cancel(self, operation_id: str) -> None:
        account = self._instance
        if not store.request_cancel(account.execute, operation_id):
            return
        cancel_calls(account, operation_id)
        self._recovery.forget(operation_id)
        self._recovery.recover(store.read(account.execute, [operation_id]).values())

    def reset(self) -> None:
        """Close the connection; the next use opens it again.

        Streamlit calls this only when `[connections.progress]` changes, which Snowflake does not
        use: after a change of `[connections.snowflake]` restart the app.
        """
        if self._raw_instance is not None:
            self._raw_instance.close()
        super().reset()
