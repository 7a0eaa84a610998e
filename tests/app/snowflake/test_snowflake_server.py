"""The fake Snowflake server."""

import signal
import socket
import time
from pathlib import Path

import pytest

from dev.local_server import FakeSnowflake
from progress.backend.account import Account
from progress.contract import BackendRejected


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 WHERE ARRAY_CONTAINS('a'::VARIANT, PARSE_JSON(?))",
        "CREATE PROCEDURE P() RETURNS STRING LANGUAGE SQL AS 'SELECT ?'",
        "CREATE TASK T SCHEDULE = '1 minute' AS SELECT ?",
    ],
)
def test_an_unsupported_statement_fails_immediately(database: Account, statement: str) -> None:
    began = time.monotonic()
    with pytest.raises(
        BackendRejected, match=r"The fake Snowflake server cannot (run|parse) ['\"]"
    ):
        database.execute(statement, ('["a"]',))
    assert time.monotonic() - began < 40
    assert database.execute("SELECT 1 AS X") == [{"x": 1}]


def test_it_stops_with_the_process_that_started_it(data_folder: Path) -> None:
    other = FakeSnowflake(data_folder / "orphan")
    other.start()
    process = other._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) in (0, -signal.SIGTERM)
    other.stop()


def test_it_listens_on_this_machine_only(server: FakeSnowflake) -> None:
    port = server.options["port"]
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    # Another address of this machine, on which a server for all addresses would answer.
    with pytest.raises((ConnectionRefusedError, TimeoutError)):
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_it_refuses_another_password(server: FakeSnowflake) -> None:
    guessed = Account(server.options | {"password": "local"})
    with pytest.raises(BackendRejected, match="Incorrect username or password"):
        guessed.execute("SELECT 1")
    guessed.close()


@pytest.mark.parametrize("source", ["read_text('FILE')", "read_csv('FILE')", "'FILE'"])
def test_a_statement_reads_no_file(database: Account, tmp_path: Path, source: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a secret", "utf-8")
    statement = "SELECT * FROM SOURCE".replace(  # fragment-lint: ignore[FC08]
        "SOURCE", source.replace("FILE", str(secret))
    )
    with pytest.raises(BackendRejected) as caught:
        database.execute(statement)
    assert "a secret" not in str(caught.value)


def test_other_users_do_not_reach_its_data(data_folder: Path) -> None:
    with FakeSnowflake(data_folder / "private" / "snowflake"):
        modes = [
            (data_folder / "private").stat().st_mode,
            *(path.stat().st_mode for path in (data_folder / "private").iterdir()),
        ]
        assert [oct(mode & 0o777) for mode in modes] == ["0o700"] * 2
