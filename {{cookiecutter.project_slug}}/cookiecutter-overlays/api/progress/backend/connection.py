"""The progress backend: operations that another service runs, started and read over HTTP."""

from collections.abc import Sequence
from threading import RLock
from typing import Any

from streamlit.connections import BaseConnection

from progress.backend.client import Client
from progress.backend.credentials import configuration
from progress.backend.mapping import Service, load_service
from progress.backend.remote import RemoteOperations
from progress.contract import Backend, Feature, check_start
from progress.operation import NO_OPTIONS, Log, Operation, Options, Query, Status


class ProgressConnection(BaseConnection[RemoteOperations], Backend):
    """Starts operations and reads their progress. Open it with
    `st.connection("progress", type=ProgressConnection)`.

    The service is `url` under `[connections.progress]` in .streamlit/secrets.toml. It gets `token`,
    or one from `token_file` or `token_command` (in `header`), or `username` and `password`, through
    `proxy` if there is one. Environment variables, PROGRESS_API_URL and so on, take precedence.
    With PROGRESS_API_URL no secret is used: set its credentials as variables, too.
    The requests are described in service.py. Safe to share between threads.
    """

    def __init__(self, connection_name: str, **kwargs: Any) -> None:
        self._lock = RLock()  # For opening and closing.
        super().__init__(connection_name, **kwargs)

    @property
    def _instance(self) -> RemoteOperations:
        with self._lock:
            return super()._instance

    def _connect(self, service: Service | None = None, **kwargs: Any) -> RemoteOperations:
        service = service or load_service()
        service.check()
        return RemoteOperations(service, Client(configuration(self._secrets, kwargs)))

    @property
    def features(self) -> frozenset[Feature]:
        return self._instance.features

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
        remote = self._instance
        remote.client.run(remote.start(operation_id, job, subject, owner, retry_of, options))

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        remote = self._instance
        return remote.client.run(remote.read(operation_ids))

    def recent(self, query: Query) -> list[Operation]:
        remote = self._instance
        return remote.client.run(remote.recent(query))

    def counts(self, query: Query) -> dict[Status, int]:
        remote = self._instance
        return remote.client.run(remote.counts(query))

    def cancel(self, operation_id: str) -> None:
        remote = self._instance
        remote.client.run(remote.cancel(operation_id))

    def force_stop(self, operation_id: str) -> None:
        remote = self._instance
        remote.client.run(remote.force_stop(operation_id))

    def logs(self, operation_ids: Sequence[str], limit: int) -> dict[str, Log]:
        remote = self._instance
        return remote.client.run(remote.logs(operation_ids, limit))

    def save_file(self, operation_id: str, name: str, content: bytes) -> None:
        remote = self._instance
        remote.client.run(remote.save_file(operation_id, name, content))

    def read_file(self, operation_id: str, name: str) -> bytes:
        remote = self._instance
        return remote.client.run(remote.read_file(operation_id, name))

    def reset(self) -> None:
        """Close the connections; the next use opens new ones. Calls under way end unavailable."""
        with self._lock:
            if self._raw_instance is not None:
                self._raw_instance.client.close()
            super().reset()

    def close(self) -> None:
        """Close the connections. Streamlit calls this when it releases a cached connection."""
        self.reset()
