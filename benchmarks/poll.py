"""What one poll of a backend costs, next to a bare lookup of the same operation: `make bench`.

Usage: uv run --directory PROJECT python poll.py BACKEND RESULTS.json

It starts the project's local server, with 10 and then 10,000 past operations where it can insert
them. Absolute figures depend on the machine; the ratios, of calls taken in turn, do not.
"""

import json
import os
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, os.getcwd())  # the project: the benchmark is not part of it
os.environ.setdefault("JOBS_MODULE", "tests.jobs")

from dev.local_server import local_server
from progress.backend.connection import ProgressConnection
from progress.operation import Operation, new_operation_id

ROUNDS, MAX_SECONDS = 2000, 8.0
"""Limits of a comparison."""

Lookup = Callable[[], object]


def bare_sqlite(path: str, operation_id: str) -> Lookup:
    """Return a lookup with the driver alone."""
    connection = sqlite3.connect(path)
    statement = "SELECT * FROM operations WHERE operation_id = ?"
    return lambda: connection.execute(statement, (operation_id,)).fetchone()


def schema_option() -> str:
    """Return the option by which a connection finds the tables of this project."""
    from progress.backend.database import schema_name

    return f"-c search_path={schema_name()}"


def bare_postgres(dsn: str, operation_id: str) -> Lookup:
    """Return a lookup with psycopg_pool alone, with its connection check."""
    from psycopg_pool import ConnectionPool

    pool = ConnectionPool(
        dsn,
        kwargs={"autocommit": True, "options": schema_option()},
        min_size=1,
        max_size=4,
        check=ConnectionPool.check_connection,
        open=True,
    )
    statement = "SELECT * FROM operations WHERE operation_id = %s"

    def lookup() -> object:
        with pool.connection() as connection:
            return connection.execute(statement, (operation_id,), prepare=True).fetchone()

    return lookup


def bare_api(url: str, token: str, operation_id: str) -> Lookup:
    """Return a GET with the client alone, over a connection that stays open."""
    import httpx2

    client = httpx2.Client(headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    address = f"{url}/operations/{operation_id}"
    return lambda: client.get(address).raise_for_status().json()


def bare_snowflake(options: str, operation_id: str) -> Lookup:
    """Return a lookup with the connector alone."""
    from snowflake import connector

    connection = connector.connect(**json.loads(options), paramstyle="qmark")
    statement = "SELECT * FROM OPERATION_EVENTS WHERE OPERATION_ID = ?"
    return lambda: connection.cursor().execute(statement, (operation_id,)).fetchall()


def bare(backend: str, variables: dict[str, str], operation_id: str) -> Lookup:
    """Return the lookup with the library alone."""
    match backend:
        case "sqlite":
            return bare_sqlite(variables["PROGRESS_DATABASE"], operation_id)
        case "postgres":
            return bare_postgres(variables["DATABASE_URL"], operation_id)
        case "api":
            token = variables["PROGRESS_API_TOKEN"]
            return bare_api(variables["PROGRESS_API_URL"], token, operation_id)
    return bare_snowflake(variables["PROGRESS_CONNECTION"], operation_id)


def medians(*calls: Lookup) -> list[float]:
    """Return the median of each call in microseconds, the calls taken in turn."""
    for call in calls:
        for _ in range(10):
            call()
    times: list[list[float]] = [[] for _ in calls]
    ends = time.monotonic() + MAX_SECONDS
    while len(times[0]) < ROUNDS and time.monotonic() < ends:
        for call, list_of_times in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            list_of_times.append(time.perf_counter() - started)
    return [statistics.median(list_of_times) * 1e6 for list_of_times in times]


def wait_for(connection: ProgressConnection, operation_id: str, started: bool) -> Operation:
    """Read an operation until a worker has started it, or until it has ended."""
    while True:
        operation = connection.read([operation_id])[operation_id]
        if operation.status.is_terminal or (started and operation.started_at is not None):
            return operation
        time.sleep(0.005)


def fill(variables: dict[str, str], rows: int) -> None:
    """Insert past operations into the store."""
    if "PROGRESS_DATABASE" in variables:
        with sqlite3.connect(variables["PROGRESS_DATABASE"]) as connection:
            connection.executemany(
                "INSERT INTO operations (operation_id, job, subject, owner, status, created_at)"
                " VALUES (?, 'j', 's', '', 'completed', '2026-01-01T00:00:00+00:00')",
                [(new_operation_id(),) for _ in range(rows)],
            )
    else:
        import psycopg

        with psycopg.connect(variables["DATABASE_URL"], options=schema_option()) as server:
            server.cursor().executemany(
                "INSERT INTO operations (operation_id, job, subject, owner, status, created_at)"
                " VALUES (%s, 'j', 's', '', 'completed', '2026-01-01')",
                [(new_operation_id(),) for _ in range(rows)],
            )
            server.execute("ANALYZE operations")


def main() -> None:
    """Measure, and write the figures."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the local server ends, too
    # Never the account or server that this machine is configured for.
    os.environ.pop("PROGRESS_CONNECTION", None)
    Path(".local").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=Path(".local").resolve()) as folder:
        started = time.perf_counter()
        with local_server(Path(folder), always=True) as variables:
            ready = time.perf_counter() - started
            os.environ |= variables
            connection = ProgressConnection("progress")
            pick_ups = []
            for _ in range(5):
                operation_id = new_operation_id()
                created = time.perf_counter()
                connection.start(operation_id, "succeed", "fast", "")
                wait_for(connection, operation_id, started=True)
                pick_ups.append(time.perf_counter() - created)
                wait_for(connection, operation_id, started=False)
            lookup = bare(sys.argv[1], variables, operation_id)
            polls = []
            for past in (10, 10_000) if sys.argv[1] in ("sqlite", "postgres") else (0,):
                if past:
                    fill(variables, past)
                alone, ours = medians(lookup, lambda: connection.read([operation_id]))
                polls.append({"past": past, "bare_us": round(alone), "poll_us": round(ours)})
            connection.reset()
    row = {
        "ready_s": round(ready, 2),
        "pick_up_ms": round(statistics.median(pick_ups) * 1000),
        "polls": polls,
    }
    print(json.dumps(row))
    Path(sys.argv[2]).write_text(json.dumps(row))


if __name__ == "__main__":
    main()
