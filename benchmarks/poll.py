"""What one poll of a backend costs, beside a bare lookup of the same row: `make bench`.

Usage: uv run --directory PROJECT python THIS_FILE

It starts the project's stand-in, with 10 and then 10,000 past operations, and prints a Markdown
table. Absolute figures move with the machine; the ratios, taken turn by turn, do not.
"""

import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, os.getcwd())  # the project: the benchmark is not part of it
os.environ.setdefault("JOBS_MODULE", "tests.jobs")

from dev.stand_in import stand_in
from progress.backend import ProgressConnection
from progress.operation import Operation, new_operation_id

ROUNDS = 2000


def bare_sqlite(path: str, operation_id: str) -> Callable[[], object]:
    """Return a lookup with the driver alone."""
    connection = sqlite3.connect(path)
    statement = "SELECT * FROM operations WHERE operation_id = ?"
    return lambda: connection.execute(statement, (operation_id,)).fetchone()


def bare_postgres(dsn: str, operation_id: str) -> Callable[[], object]:
    """Return a lookup with psycopg_pool alone, with its check of the connection."""
    from psycopg_pool import ConnectionPool

    pool = ConnectionPool(
        dsn,
        kwargs={"autocommit": True},
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


def medians(*calls: Callable[[], object]) -> list[float]:
    """Return the median of each call in microseconds, the calls taken in turn."""
    times: list[list[float]] = [[] for _ in calls]
    for round_number in range(ROUNDS + 100):
        for call, list_of_times in zip(calls, times, strict=True):
            began = time.perf_counter()
            call()
            if round_number >= 100:
                list_of_times.append(time.perf_counter() - began)
    return [statistics.median(list_of_times) * 1e6 for list_of_times in times]


def until(connection: ProgressConnection, operation_id: str, begun: bool) -> Operation:
    """Read an operation until a worker has begun it, or until it has ended."""
    while True:
        operation = connection.read([operation_id])[operation_id]
        if operation.status.is_terminal or (begun and operation.started_at is not None):
            return operation
        time.sleep(0.005)


def fill(variables: dict[str, str], rows: int) -> None:
    """Put past operations into the store."""
    if "PROGRESS_DATABASE" in variables:
        with sqlite3.connect(variables["PROGRESS_DATABASE"]) as connection:
            connection.executemany(
                "INSERT INTO operations (operation_id, job, subject, owner, status, created_at)"
                " VALUES (?, 'j', 's', '', 'completed', '2026-01-01T00:00:00+00:00')",
                [(new_operation_id(),) for _ in range(rows)],
            )
    else:
        import psycopg

        with psycopg.connect(variables["DATABASE_URL"]) as server:
            server.cursor().executemany(
                "INSERT INTO operations (operation_id, job, subject, owner, status, created_at)"
                " VALUES (%s, 'j', 's', '', 'completed', '2026-01-01')",
                [(new_operation_id(),) for _ in range(rows)],
            )
            server.execute("ANALYZE operations")


def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory(dir=Path(".local").resolve()) as folder:
        began = time.perf_counter()
        with stand_in(Path(folder)) as variables:
            ready = time.perf_counter() - began
            os.environ |= variables
            if not variables.keys() & {"PROGRESS_DATABASE", "DATABASE_URL"}:
                print("no bare lookup to compare a poll with")
                return
            connection = ProgressConnection("progress")
            pick_ups = []
            for _ in range(5):
                operation_id = new_operation_id()
                asked = time.perf_counter()
                connection.start(operation_id, "succeed", "fast", "")
                until(connection, operation_id, begun=True)
                pick_ups.append(time.perf_counter() - asked)
                until(connection, operation_id, begun=False)
            if "PROGRESS_DATABASE" in variables:
                bare = bare_sqlite(variables["PROGRESS_DATABASE"], operation_id)
            else:
                bare = bare_postgres(variables["DATABASE_URL"], operation_id)
            print(f"stand-in ready in {ready:.2f} s; a job begins", end=" ")
            print(f"{statistics.median(pick_ups) * 1000:.0f} ms after its start (median of 5)\n")
            print("| past operations | bare lookup, µs | one poll, µs | ratio |")
            print("|---|---|---|---|")
            for rows in (10, 10_000):
                fill(variables, rows)
                alone, ours = medians(bare, lambda: connection.read([operation_id]))
                print(f"| {rows} | {alone:.0f} | {ours:.0f} | {ours / alone:.2f} |")
            connection.reset()


if __name__ == "__main__":
    Path(".local").mkdir(exist_ok=True)
    main()
