"""What `make doctor` checks of Postgres: the schema, the role of the login, the workers."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import psycopg
from procrastinate.schema import SchemaManager

from dev.doctor import Check
from progress.backend.connection import ProgressConnection
from progress.backend.database import (
    Pool,
    connection_error,
    execute,
    open_pool,
    required_dsn,
    schema_name,
    with_limits,
)
from progress.operation import Operation

CATALOG = """
SELECT current_user AS login,
    ARRAY(SELECT attname::text FROM pg_attribute
        WHERE attrelid = to_regclass('operations') AND attnum > 0 AND NOT attisdropped) AS columns,
    substring(obj_description(to_regclass('procrastinate_jobs'), 'pg_class')
        FROM 'migration: (.*)') AS migration,
    (SELECT coalesce(bool_and(has_function_privilege(oid, 'EXECUTE')), false) FROM pg_proc
        WHERE pronamespace = to_regnamespace(%(schema)s)
        AND proname IN ('start_operation', 'cancel_operation')) AS may_start,
    has_table_privilege('operations', 'UPDATE') AS may_work,
    coalesce(has_table_privilege(to_regclass('procrastinate_workers'), 'SELECT'), false)
        AS sees_workers
"""
WORKERS = """
SELECT count(*) AS alive FROM procrastinate_workers
WHERE last_heartbeat > clock_timestamp() - interval '30 s'
"""
# What a login of the app can see of the workers: the operations.
ACTIVE = """
SELECT coalesce(max(heartbeat_at) > clock_timestamp() - interval '30 s', false) AS alive,
    coalesce(min(created_at) FILTER (WHERE status = 'queued')
        < clock_timestamp() - interval '30 s', false) AS waiting
FROM operations WHERE status IN ('queued', 'in_progress')
"""


def checks(connection: ProgressConnection, is_connected: bool) -> Iterator[Check]:
    """Yield the checks of the server. Without a connection, why there is none."""
    if not is_connected:
        try:
            psycopg.connect(with_limits(required_dsn())).close()
        except psycopg.OperationalError as error:
            yield Check("server", False, str(connection_error(error)))
        return
    with closing(open_pool(required_dsn(), 1)) as pool:
        (found,) = execute(pool, CATALOG, {"schema": schema_name()})
        yield schema_version(found["columns"], found["migration"])
        yield rights(found["login"], found["may_start"], found["may_work"])
        yield workers(pool, found["sees_workers"])


NO_COLUMNS = {"read_at", "problem", "queue_position"}
"""Fields of an operation that are no columns."""


def schema_version(columns: list[str], migration: str | None) -> Check:
    """Check that `make schema` of this version has been applied."""
    expected = {field.name for field in fields(Operation)} - NO_COLUMNS | {"queue_job"}
    newest = max(path.stem for path in Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    if missing := sorted(expected - set(columns)):
        found = f"operations has no {', '.join(missing)}"
    elif (migration or "") < newest:
        found = f"the queue has the migration {migration}, not {newest}"
    else:
        return Check("schema", True, f"{schema_name()}, with the migration {newest} of the queue")
    remedy = "run `make schema`, then restart the app and the workers"
    return Check("schema", False, f"{schema_name()} is of an earlier version, {found}: {remedy}.")


def rights(login: str, may_start: bool, may_work: bool) -> Check:
    """Check that the login can do what the app does, or what a worker does."""
    able = ["start and cancel operations"] * may_start + ["run jobs"] * may_work
    if not able:
        remedy = f"GRANT progress_web TO {login} for the app, progress_worker for a worker"
        return Check("rights", False, f"{login} may only read: {remedy}.")
    return Check("rights", True, f"{login} may {' and '.join(able)}")


def workers(pool: Pool, sees_workers: bool) -> Check:
    """Check that a worker is alive, as far as this login can see."""
    if sees_workers:
        alive = execute(pool, WORKERS, {})[0]["alive"]
        if alive:
            return Check("workers", True, f"{alive} alive")
        return Check("workers", False, "None is alive: start one with `make worker`.")
    (active,) = execute(pool, ACTIVE, {})
    if active["waiting"] and not active["alive"]:
        found = "An operation has been queued for more than 30 s, and no other has a heartbeat"
        return Check("workers", False, f"{found}: start one with `make worker`.")
    unknown = "not visible to this login, and no operation waits for one"
    return Check("workers", True, "one has a heartbeat" if active["alive"] else unknown)
