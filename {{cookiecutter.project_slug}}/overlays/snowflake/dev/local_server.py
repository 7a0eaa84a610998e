"""The stand-in for the Snowflake account: a server on this machine. See dev/snowflake_server.py."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dev.snowflake_server import connection_options
from progress.backend.account import Account, configured_options
from progress.settings import ROOT
from samples.cortex import load_transcripts


@contextmanager
def local_server(folder: Path, always: bool = False) -> Iterator[dict[str, str]]:
    """Provide a server that keeps its data in `folder`, with the tables and the sample rows.

    Where an account is configured, that is used as it is, and nothing is started; but if `always`,
    as for tests, only an account of PROGRESS_CONNECTION, never that of the secrets.

    Yields:
        The environment variables that lead the app to it.
    """
    named = bool(os.environ.get("PROGRESS_CONNECTION"))
    if named or (not always and configured_options() is not None):
        yield {}
        return
    with SnowflakeServer(folder.resolve() / "snowflake") as server:
        yield {"PROGRESS_CONNECTION": json.dumps(server.options)}


class SnowflakeServer:
    """The server, in a process of its own. It ends with the process that started it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port: int = listener.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What `snowflake.connector.connect` needs to reach it."""
        return connection_options(self._port)

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [sys.executable, "-m", "dev.snowflake_server", str(self._port)]
        self._process = subprocess.Popen(
            [*command, str(self._folder)], cwd=ROOT, stdin=subprocess.PIPE
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError("The stand-in for Snowflake did not start.") from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End it, and the procedures that it runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        account = Account(self.options)
        create_tables(account.execute)
        load_transcripts(account.execute)
        account.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def create_tables(execute: Callable[[str], object]) -> None:
    """Run those statements of schema.sql that are about tables: the rest is an administrator's."""
    for statement in (ROOT / "schema.sql").read_text("utf-8").split(";\n"):
        lines = [line for line in statement.splitlines() if not line.startswith("--")]
        if (text := "\n".join(lines).strip()).startswith(("CREATE TABLE", "ALTER TABLE")):
            execute(text)
