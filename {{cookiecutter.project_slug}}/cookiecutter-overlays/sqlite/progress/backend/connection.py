"""The SQLite backend: operations in one file, each job in a process on this machine."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamlit.connections import BaseConnection

from progress.backend import runner
from progress.backend.store import OperationStore
from progress.contract import Backend, Feature, check_start
from progress.operation import NO_OPTIONS, Log, Operation, Options, Query, Status
from progress.settings import ROOT


class ProgressConnection(BaseConnection[OperationStore], Backend):
    """Starts operations and reads their progress. Open it with
    `st.connection("progress", type=ProgressConnection)`.

    PROGRESS_DATABASE names the file, or else `path` under `[connections.progress]` in
    .streamlit/secrets.toml; the default is .local/progress.db. Safe to share between threads.
    """

    def _connect(self, **kwargs: Any) -> OperationStore:
        path = (
            kwargs.get("path")
            or os.environ.get("PROGRESS_DATABASE")
            or self._secrets.get("path")
            or ".local/progress.db"
        )
        return OperationStore(ROOT / Path(path))

    features: frozenset[Feature] = frozenset({"force_stop", "logs", "files", "uploads"})

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
        store = self._instance
        if store.insert(operation_id, job, subject, owner, retry_of, options):
            runner.launch(store.path)

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        operations = self._instance.read(operation_ids)
        runner.recover(self._instance, operations.values())
        return operations

    def recent(self, query: Query) -> list[Operation]:
        operations = self._instance.recent(query)
        runner.recover(self._instance, operations)
        return operations

    def counts(self, query: Query) -> dict[Status, int]:
        return self._instance.counts(query)

    def cancel(self, operation_id: str) -> None:
        self._instance.request_cancel(operation_id)

    def force_stop(self, operation_id: str) -> None:
        self._instance.request_force_stop(operation_id)

    def logs(self, operation_ids: Sequence[str], limit: int) -> dict[str, Log]:
        return self._instance.files.logs(operation_ids, limit)

    def save_file(self, operation_id: str, name: str, content: bytes) -> None:
        self._instance.files.save(operation_id, name, content)

    def read_file(self, operation_id: str, name: str) -> bytes:
        return self._instance.files.read(operation_id, name)

    def reset(self) -> None:
        """Close the file; the next call opens it. Streamlit calls this when secrets change."""
        if self._raw_instance is not None:
            self._raw_instance.close()
        super().reset()
