"""Apply the schema to the configured database: `make schema`. Applying it again changes nothing."""

import sys
from pathlib import Path

import psycopg
from procrastinate.schema import SchemaManager
from psycopg import sql

from progress.backend.database import CONNECTION, required_dsn, schema_name, with_limits
from progress.contract import BackendError, BackendRejected

SCHEMA = Path(__file__).with_name("schema.sql")

# The last migration of Procrastinate that is in its tables. `make schema` keeps its name in the
# comment of a table; earlier versions of this project did not, so each migration is known by what
# it added.
_LAST_MIGRATION = """
SELECT coalesce(
    substring(obj_description('procrastinate_jobs'::regclass) FROM 'migration: (.*)'),
    CASE
        WHEN to_regproc('procrastinate_retry_job_v2') IS NOT NULL THEN '03.04.00_99'
        WHEN (SELECT prosrc FROM pg_proc WHERE oid = to_regproc('procrastinate_fetch_job_v2'))
            LIKE '%other_jobs.priority%' THEN '03.03.00_99'
        WHEN to_regtype('procrastinate_job_to_defer_v1') IS NOT NULL THEN '03.02.00_99'
        WHEN to_regclass('procrastinate_workers') IS NOT NULL THEN '03.01.00_99'
        WHEN to_regproc('procrastinate_fetch_job_v1') IS NOT NULL THEN '03.00.00_99'
    END)
"""


def apply_schema(dsn: str) -> tuple[list[str], list[str]]:
    """Create and upgrade whatever is missing, in one transaction.

    Returns:
        What was done, and what was not because the login lacks a privilege.

    Raises:
        BackendRejected: The connection string is malformed, or the database is not suitable.
        psycopg.Error: The server cannot be reached, or the login lacks a privilege.
    """
    schema = schema_name()
    done: list[str] = []
    not_done: list[str] = []

    def note_warning(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            not_done.append(str(notice.message_primary))

    with psycopg.connect(with_limits(dsn), **CONNECTION) as connection:
        connection.add_notice_handler(note_warning)
        # Settings of this transaction only: a pooler passes the connection on. If two deployments
        # apply the schema at the same time, the second waits, however long that takes.
        connection.execute("SELECT set_config('statement_timeout', '0', true)")
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('progress schema'))")
        _require_utf8(connection)
        if not _exists(connection, schema):
            _refuse_earlier_tables(connection, schema)
            _create(connection, schema)
            done.append(f"Created the schema {schema}.")
        _refuse_public_create(connection, schema)
        connection.execute("SELECT set_config('search_path', %s, true)", [schema])
        done += _update_queue(connection)
        connection.execute(SCHEMA.read_text("utf-8").encode())
    return done, not_done


def _row(connection: psycopg.Connection, query: bytes, *parameters: str) -> tuple[object, ...]:
    return connection.execute(query, parameters or None).fetchone() or ()


def _require_utf8(connection: psycopg.Connection) -> None:
    database, encoding = _row(
        connection, b"SELECT current_database(), current_setting('server_encoding')"
    )
    if encoding != "UTF8":
        raise BackendRejected(
            f"The database {database} has the encoding {encoding}, which cannot hold every text."
            " Use another: CREATE DATABASE progress ENCODING 'UTF8' TEMPLATE template0."
        )


def _exists(connection: psycopg.Connection, schema: str) -> bool:
    return bool(_row(connection, b"SELECT 1 FROM pg_namespace WHERE nspname = %s", schema))


def _refuse_earlier_tables(connection: psycopg.Connection, schema: str) -> None:
    """Raise if an earlier version of this project has used the first schema of the search path."""
    earlier = _row(
        connection,
        b"SELECT relnamespace::regnamespace::text FROM pg_class JOIN pg_attribute"
        b" ON attrelid = pg_class.oid AND attname = 'queue_job'"
        b" WHERE pg_class.oid = to_regclass('operations')",
    )
    if earlier:
        raise BackendRejected(
            f"The schema {earlier[0]} has operations of an earlier version, or of another project."
            f' To use them set schema = "{earlier[0]}" under [postgres] in settings.toml.'
            f" To begin without them: CREATE SCHEMA {schema}."
        )


def _create(connection: psycopg.Connection, schema: str) -> None:
    may_create = b"SELECT has_database_privilege(current_database(), 'CREATE'), current_user"
    allowed, login = _row(connection, may_create)
    if not allowed:
        raise BackendRejected(
            f"The login {login} may not create the schema {schema}."
            f" As an administrator: CREATE SCHEMA {schema} AUTHORIZATION {login}."
        )
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))


def _refuse_public_create(connection: psycopg.Connection, schema: str) -> None:
    # A function that any login adds there could run with the privileges of the schema's owner.
    if _row(connection, b"SELECT has_schema_privilege('public', %s, 'CREATE')", schema) == (True,):
        raise BackendRejected(
            f"Every login may create functions in the schema {schema}, and could so gain the"
            f" privileges of its owner. First: REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC."
        )


def _update_queue(connection: psycopg.Connection) -> list[str]:
    """Create or migrate the tables of Procrastinate; return what was done."""
    migrations = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    newest = migrations[-1].stem
    if _row(connection, b"SELECT to_regclass('procrastinate_jobs')") == (None,):
        connection.execute(SchemaManager.get_schema().encode())
        _remember(connection, newest)
        return ["Created the tables of the queue."]
    (last,) = _row(connection, _LAST_MIGRATION.encode())
    if last is None:
        raise BackendRejected(
            "The tables of Procrastinate are older than its version 3. Apply its migrations up to"
            " 3.0 first: `uv run procrastinate schema --migrations-path` prints their folder."
        )
    missing = [path for path in migrations if path.stem > str(last)]
    for path in missing:
        connection.execute(path.read_bytes())
    if last != newest:
        _remember(connection, newest)
    return [f"Applied the migration {path.stem} of Procrastinate." for path in missing]


def _remember(connection: psycopg.Connection, migration: str) -> None:
    comment = sql.SQL("COMMENT ON TABLE procrastinate_jobs IS {}")
    connection.execute(comment.format(sql.Literal(f"migration: {migration}")))


def main() -> str | None:
    """Apply the schema and say what was done; return what was not done, and why."""
    try:
        done, not_done = apply_schema(required_dsn())
    except BackendError as error:
        return f"The schema was not applied: {error}"
    except psycopg.Error as error:
        reason = error.diag.message_primary or str(error).strip().splitlines()[0]
        return f"The schema was not applied: {reason}"
    for line in done:
        print(line)
    if not_done:
        return "\n".join(f"Not done: {line}" for line in not_done)
    print(f"The schema {schema_name()} is in place.")
    return None


if __name__ == "__main__":
    sys.exit(main())
