"""Apply the schema to the configured database: `make schema`. Applying it again changes nothing."""

import sys
from pathlib import Path

import psycopg
from procrastinate.schema import SchemaManager

from progress.backend.database import required_dsn, with_limits
from progress.contract import BackendError

SCHEMA = Path(__file__).with_name("schema.sql")


def apply_schema(dsn: str) -> None:
    """Create whatever is missing, in one transaction.

    Raises:
        BackendRejected: The connection string is malformed.
        psycopg.Error: The server cannot be reached, or the login lacks a privilege.
    """
    with psycopg.connect(with_limits(dsn)) as connection:
        # If two deployments apply it at the same time, the second waits, however long that takes.
        connection.execute("SET statement_timeout = 0")
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('progress schema'))")
        if connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone() == (None,):
            # SchemaManager only reads the file here; it needs no connector for that.
            connection.execute(SchemaManager.get_schema().encode())
        connection.execute(SCHEMA.read_text("utf-8").encode())


def main() -> str | None:
    """Apply the schema; return the reason in one line if that failed."""
    try:
        apply_schema(required_dsn())
    except (BackendError, psycopg.Error) as error:
        return f"The schema was not applied: {str(error).strip()}"
    print("The schema is in place.")
    return None


if __name__ == "__main__":
    sys.exit(main())
