"""The Postgres backend: operations in a table, jobs on the workers of a Procrastinate queue."""

from collections.abc import Sequence
from typing import Any

from streamlit.connections import BaseConnection

from progress.backend import store
from progress.backend.database import Pool, open_pool, required_dsn
from progress.contract import Backend, Feature, check_start
from progress.operation import NO_OPTIONS, Log, Operation, Options, Query, Status

POOL_SIZE = 4
"""Connections of each server process. One shared poll at a time, starts and cancels: 4 suffice."""


class ProgressConnection(BaseConnection[Pool], Backend):
    """Starts operations and reads their progress. Open it with
    `st.connection("progress", type=ProgressConnection)`.

    The connection string is DATABASE_URL, or else `dsn` under `[connections.progress]` in
    .streamlit/secrets.toml. Safe to share between threads.
    """

    def _connect(self, **kwargs: Any) -> Pool:
        return open_pool(kwargs.get("dsn") or required_dsn(), POOL_SIZE)

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
        store.start(self._instance, operation_id, job, subject, owner, retry_of, options)

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        return store.read(self._instance, operation_ids)

    def recent(self, query: Query) -> list[Operation]:
        return store.recent(self._instance, query)

    def counts(self, query: Query) -> dict[Status, int]:
        return store.counts(self._instance, query)

    def cancel(self, operation_id: str) -> None:
        store.request_cancel(self._instance, operation_id)

    def force_stop(self, operation_id: str) -> None:
        store.request_force_stop(self._instance, operation_id)

    def logs(self, operation_ids: Sequence[str], limit: int) -> dict[str, Log]:
        return store.logs(self._instance, operation_ids, limit)

    def save_file(self, operation_id: str, name: str, content: bytes) -> None:
        store.save_file(self._instance, operation_id, name, content)

    def read_file(self, operation_id: str, name: str) -> bytes:
        return store.read_file(self._instance, operation_id, name)

    def reset(self) -> None:
        """Close the pool; the next call opens another. Streamlit calls this when secrets change."""
        if self._raw_instance is not None:
            self._raw_instance.close()
        super().reset()
