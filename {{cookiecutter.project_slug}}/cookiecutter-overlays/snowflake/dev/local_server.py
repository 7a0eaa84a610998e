"""The local server of `make dev` and the tests: a fake Snowflake, see dev/snowflake_server.py."""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from progress.backend.account import Account, configured_options
from progress.settings import ROOT
from samples.cortex import load_transcripts

USER = "local"
VARIABLE = "FAKE_SNOWFLAKE_PASSWORD"
ACCOUNT = "local"
DATABASE = "LOCAL_DB"
SCHEMA = "APP"
CREATED = ("CREATE TABLE", "ALTER TABLE", "CREATE STAGE")


@contextmanager
def local_server(folder: Path, always: bool = False) -> Iterator[dict[str, str]]:
    """Run a fake Snowflake server with its data in `folder`, unless an account is configured.

    Args:
        folder: Where the tables and the sample rows are stored.
        always: Ignore the account in the secrets, so that tests never reach it. An account in
            PROGRESS_CONNECTION is used all the same.

    Yields:
        The environment variables with which the app connects to the server.
    """
    given = bool(os.environ.get("PROGRESS_CONNECTION"))
    if given or (not always and configured_options() is not None):
        yield {}
        return
    with FakeSnowflake(folder.resolve() / "snowflake") as server:
        yield {"PROGRESS_CONNECTION": json.dumps(server.options)}


class FakeSnowflake:
    """A fake Snowflake server in a process of its own, which ends with the process that made it.

    Args:
        folder: Where it keeps its tables.
        module: The module that runs as the server.
    """

    def __init__(self, folder: Path, module: str = "dev.snowflake_server") -> None:
        self._folder = folder
        self._module = module
        self._password = secrets.token_hex()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port: int = listener.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._temporary: tempfile.TemporaryDirectory[str]

    @property
    def options(self) -> dict[str, Any]:
        """What `snowflake.connector.connect` needs to reach it."""
        return connection_options(self._port, self._password)

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [sys.executable, "-m", self._module, str(self._port)]
        # fakesnow leaves its temporary files.
        self._temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [*command, str(self._folder)],
            cwd=ROOT,
            env=os.environ | {VARIABLE: self._password, "TMPDIR": self._temporary.name},
            stdin=subprocess.PIPE,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError("The fake Snowflake server did not start.") from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it, and the procedures that it runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None
            self._temporary.cleanup()

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


def connection_options(port: int, password: str) -> dict[str, Any]:
    """Return what `snowflake.connector.connect` needs to connect to the server."""
    return {
        "account": ACCOUNT,
        "user": USER,
        "password": password,
        "host": "127.0.0.1",
        "port": port,
        "protocol": "http",
        "database": DATABASE,
        "schema": SCHEMA,
        # Otherwise each process tries for 0.4 s to find out in which cloud it runs.
        "platform_detection_timeout_seconds": 0.0,
    }


def create_tables(execute: Callable[[str], object]) -> None:
    """Run the statements of schema.sql that create the tables and the stage; the others need an
    administrator.
    """
    for statement in (ROOT / "schema.sql").read_text("utf-8").split(";\n"):
        lines = [line for line in statement.splitlines() if not line.startswith("--")]
        if (text := "\n".join(lines).strip()).startswith(CREATED):
            execute(text)
