"""The progress backend: operations in a SQLite file, each job in a process on this machine."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamlit.connections import BaseConnection

from local_jobs import process
from local_jobs.store import OperationStore
from progress.operation import Operation, Query, Status
from progress.settings import ROOT


class ProgressConnection(BaseConnection[OperationStore]):
    """Starts operations and reads how far they are. Open it with
    `st.connection("progress", type=ProgressConnection)`.

    The file is the variable PROGRESS_DATABASE, or `path` under `[connections.progress]` in
    .streamlit/secrets.toml, or .local/progress.db. Safe to share between threads.
    """

    def _connect(self, **kwargs: Any) -> OperationStore:
        path = (
            kwargs.get("path")
            or os.environ.get("PROGRESS_DATABASE")
            or self._secrets.get("path")
            or ".local/progress.db"
        )
        return OperationStore(ROOT / Path(path))

    def start(
        self, operation_id: str, job: str, subject: str, owner: str, retry_of: str = ""
    ) -> None:
        """Add an operation and start its job. The same id twice is one operation.

        Args:
            operation_id: Its id, made by the caller.
            job: Which job, one of `JOBS` in jobs.py.
            subject: What the job works on.
            owner: Whose it is.
            retry_of: The id of the operation that this one repeats.

        Raises:
            BackendUnavailable: It could not be stored, or no process could be started.
        """
        store = self._instance
        if store.insert(operation_id, job, subject, owner, retry_of):
            process.launch(store.path, operation_id)

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        """Return the operations that exist among these, in one statement.

        Raises:
            BackendUnavailable: The file cannot be read.
        """
        operations = self._instance.read(operation_ids)
        if process.recover(self._instance, operations.values()):
            operations = self._instance.read(operation_ids)
        return operations

    def recent(self, query: Query) -> list[Operation]:
        """Return a page of operations, newest first, without result, error and steps.

        Raises:
            BackendUnavailable: The file cannot be read.
        """
        operations = self._instance.recent(query)
        if process.recover(self._instance, operations):
            operations = self._instance.recent(query)
        return operations

    def counts(self, query: Query) -> dict[Status, int]:
        """Return how many operations have each status; `limit` and `before` do not matter.

        Raises:
            BackendUnavailable: The file cannot be read.
        """
        return self._instance.counts(query)

    def cancel(self, operation_id: str) -> None:
        """Ask the job to stop. An operation that has ended is left alone.

        Raises:
            BackendUnavailable: The request could not be stored.
        """
        self._instance.request_cancel(operation_id)

    def reset(self) -> None:
        """Close the file; the next use opens it anew. Streamlit does it when the secrets change."""
        if self._raw_instance is not None:
            self._raw_instance.close()
        super().reset()
