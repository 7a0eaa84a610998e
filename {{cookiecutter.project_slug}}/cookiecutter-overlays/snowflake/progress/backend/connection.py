"""The progress backend: operations as events in Snowflake, each job in a stored procedure."""

from collections.abc import Sequence
from typing import Any

from streamlit.connections import BaseConnection

from progress.backend import store
from progress.backend.account import Account, configured_options
from progress.backend.recovery import Recovery
from progress.backend.runner import call_procedure, cancel_calls
from progress.contract import Backend, Feature, check_start
from progress.operation import NO_OPTIONS, Log, Operation, Options, Query, Status


class ProgressConnection(BaseConnection[Account], Backend):
    """Starts operations and reads their progress. Open it with
    `st.connection("progress", type=ProgressConnection)`.

    The options are those of `[connections.snowflake]` in .streamlit/secrets.toml, or of the
    variable PROGRESS_CONNECTION (a JSON object), or the connector's default connection. It opens a
    connection of its own, not `st.connection("snowflake")`, and is safe to share between threads.
    """

    def _connect(self, **kwargs: Any) -> Account:
        options = kwargs or configured_options()
        account = Account(options)
        self._recovery = Recovery(account)
        # Of its own, so that polls do not wait for a large file. It opens when first used.
        self._files = Account(options)
        return account

    # Not force_stop: cancel already cancels the query, in the middle of a step.
    features: frozenset[Feature] = frozenset({"logs", "files", "uploads"})

    def start(
        self,
        operation_id: str,
        job: str,
        subject: str,
        owner: str,
        retry_of: str = "",
        options: Options = NO_OPTIONS,
    ) -> None:
        check_start(job, subject, owner, options)
        account = self._instance
        if store.create(account.execute, operation_id, job, subject, owner, retry_of, options):
            call_procedure(account, operation_id, job, subject, options)
            return
        # A start that failed between the event and the call is completed. If both calls arrive,
        # the second finds the claim of the first and returns: see `store.claim`.
        found = store.read(account.execute, [operation_id])[operation_id]
        if found.status != Status.QUEUED:
            return
        if not store.query_ids(account.execute, [operation_id])[operation_id]:
            call_procedure(account, operation_id, found.job, found.subject, found.options)

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

    def force_stop(self, operation_id: str) -> None:
        self.cancel(operation_id)

    def logs(self, operation_ids: Sequence[str], limit: int) -> dict[str, Log]:
        return store.logs(self._instance.execute, operation_ids, limit)

    def save_file(self, operation_id: str, name: str, content: bytes) -> None:
        _ = self._instance  # connects
        self._files.upload(store.file_name(operation_id, name), content)

    def read_file(self, operation_id: str, name: str) -> bytes:
        _ = self._instance
        return store.read_file(self._files, operation_id, name)

    def reset(self) -> None:
        """Close the connection; the next use opens it again.

        Streamlit calls this only when `[connections.progress]` changes, which Snowflake does not
        use: after a change of `[connections.snowflake]` restart the app.
        """
        if self._raw_instance is not None:
            self._raw_instance.close()
            self._files.close()
        super().reset()
