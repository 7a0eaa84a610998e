-- The progress table and the functions around it. `make schema` applies this file in the schema that settings.toml
-- names, after Procrastinate's own schema and migrations; applying it again changes nothing. To read what it creates
-- for Procrastinate: `uv run procrastinate schema --read`.
-- The login must be allowed to create the schema and roles (or the schema and the two roles below exist already). Then
-- grant one of the roles to each login of the app and the workers.

-- The functions below search temporary tables last. Otherwise a login could hide a table behind a temporary table,
-- whose triggers would run with the privileges of the functions' owner. This lasts for the transaction of `make schema`.
SELECT set_config('search_path', current_setting('search_path') || ', pg_temp', true);

CREATE TABLE IF NOT EXISTS operations (
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
    live             json NOT NULL DEFAULT '{}',
    options          json NOT NULL DEFAULT '{}',
    force_stop       boolean NOT NULL DEFAULT false,
    -- The job in Procrastinate's queue that runs it. Any other job is stale and must not begin it.
    queue_job        bigint
);
-- Upgrade a table of an earlier version.
ALTER TABLE operations
    ADD COLUMN IF NOT EXISTS retry_of text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS last_steps json NOT NULL DEFAULT '[]',
    ADD COLUMN IF NOT EXISTS live json NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS options json NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS force_stop boolean NOT NULL DEFAULT false;
DROP INDEX IF EXISTS operations_by_owner;
DROP FUNCTION IF EXISTS start_operation(text, text, text, text);
DROP FUNCTION IF EXISTS start_operation(text, text, text, text, text);
DROP FUNCTION IF EXISTS defer_operation(text);
DROP FUNCTION IF EXISTS recover_operation(bigint, integer, text);
-- Earlier versions left these.
DELETE FROM procrastinate_jobs WHERE task_name = 'run_operation' AND status = 'cancelled';

-- What the jobs print. `number` counts the lines of an operation from 1, those that were removed included.
CREATE TABLE IF NOT EXISTS operation_log (
    operation_id text NOT NULL REFERENCES operations ON DELETE CASCADE,
    number       bigint NOT NULL,
    written_at   timestamptz NOT NULL,
    line         text NOT NULL,
    PRIMARY KEY (operation_id, number)
);

-- Uploads and what jobs keep, in parts of 1 MB. Not large objects: no foreign key or DELETE removes these, each has an
-- owner and privileges of its own, and to write one takes calls that need a transaction for all of them.
-- An upload is stored before its operation. The newest file of a name counts: the app may replace none.
CREATE TABLE IF NOT EXISTS operation_files (
    operation_id text NOT NULL,
    name         text NOT NULL,
    stored_at    timestamptz NOT NULL DEFAULT transaction_timestamp(),
    part         integer NOT NULL,
    content      bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS operation_files_by_operation ON operation_files (operation_id);

CREATE INDEX IF NOT EXISTS operations_by_owner_and_time ON operations (owner, created_at DESC, operation_id DESC);
CREATE INDEX IF NOT EXISTS operations_by_time ON operations (created_at DESC, operation_id DESC);
CREATE INDEX IF NOT EXISTS operations_by_queue_job ON operations (queue_job);
CREATE INDEX IF NOT EXISTS operations_active ON operations (queue_job) WHERE status IN ('queued', 'in_progress');
CREATE INDEX IF NOT EXISTS operations_by_upload ON operations ((options->>'upload'))
    WHERE options->>'upload' IS NOT NULL;
CREATE INDEX IF NOT EXISTS operations_by_end ON operations (finished_at) WHERE finished_at IS NOT NULL;

-- SECURITY DEFINER: the web role needs no privileges on Procrastinate's tables. Whoever may create functions or
-- operators in this schema could have them called here with the privileges of the owner: grant CREATE to nobody.

-- Add an operation and its queue job in one transaction, once for each id.
CREATE OR REPLACE FUNCTION start_operation(
    p_operation_id text, p_job text, p_subject text, p_owner text, p_retry_of text DEFAULT '',
    p_options json DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    turn integer;
BEGIN
    INSERT INTO operations (operation_id, job, subject, owner, retry_of, options)
    VALUES (p_operation_id, p_job, p_subject, p_owner, p_retry_of, p_options)
    ON CONFLICT (operation_id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- The owners take turns, however many operations one of them adds: it comes after the others of its owner, and not
    -- before what starts next. Higher turns start first. Jobs that wait for a limit, or a retry, do not count.
    turn := least(
        coalesce(
            (SELECT max(priority) FROM procrastinate_jobs
             WHERE status = 'todo' AND coalesce(scheduled_at <= clock_timestamp(), true)),
            (SELECT min(priority) FROM procrastinate_jobs WHERE status = 'doing'),
            0),
        (SELECT min(priority) - 1 FROM operations JOIN procrastinate_jobs ON id = queue_job
         WHERE owner = p_owner AND operations.status IN ('queued', 'in_progress')));
    UPDATE operations SET queue_job = defer_operation(p_operation_id, turn) WHERE operation_id = p_operation_id;
END;
$$;

-- Ask the job to stop. If no worker has started it, the operation ends here: no job would acknowledge the request.
CREATE OR REPLACE FUNCTION cancel_operation(p_operation_id text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    job_id bigint;
BEGIN
    UPDATE operations SET cancel_requested = true
    WHERE operation_id = p_operation_id AND status IN ('queued', 'in_progress')
    RETURNING queue_job INTO job_id;
    -- It removes the queue job, unless a worker has it. Nothing is to be aborted there: the worker reads the request.
    IF procrastinate_cancel_job_v1(job_id, false, true) IS NOT NULL THEN
        UPDATE operations
        SET status = 'cancelled', finished_at = clock_timestamp(), last_updated = clock_timestamp()
        WHERE operation_id = p_operation_id AND status = 'queued';
    END IF;
END;
$$;

-- End the process of a job that was asked to stop.
CREATE OR REPLACE FUNCTION force_stop_operation(p_operation_id text)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    UPDATE operations SET force_stop = true
    WHERE operation_id = p_operation_id AND status = 'in_progress' AND cancel_requested;
$$;

-- 1 for the queue job that starts next; NULL if it does not wait.
CREATE OR REPLACE FUNCTION queue_position(p_queue_job bigint)
RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT (SELECT count(*) FROM procrastinate_jobs AS other
            WHERE other.status = 'todo' AND (-other.priority, other.id) <= (-own.priority, own.id))
    FROM procrastinate_jobs AS own WHERE own.id = p_queue_job AND own.status = 'todo'
$$;

-- Begin the next attempt of an operation, and return its number; NULL if it has ended or was requeued. 0 if as many
-- operations of its job run as may: then those that wait are not tried for some seconds, so that the queue is not polled
-- for each of them.
CREATE OR REPLACE FUNCTION begin_operation(p_queue_job bigint, p_max_running integer, p_pause double precision)
RETURNS integer LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    limited text;
    number integer;
BEGIN
    -- One of which cancel was requested only ends.
    SELECT job INTO limited FROM operations
    WHERE queue_job = p_queue_job AND status = 'queued' AND NOT cancel_requested AND p_max_running > 0;
    IF limited IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext(current_schema()), hashtext(limited));
        IF (SELECT count(*) FROM operations WHERE job = limited AND status = 'in_progress') >= p_max_running THEN
            UPDATE procrastinate_jobs SET scheduled_at = clock_timestamp() + make_interval(secs => p_pause)
            FROM operations
            WHERE queue_job = id AND job = limited AND operations.status = 'queued'
              AND procrastinate_jobs.status = 'todo'
              AND coalesce(scheduled_at <= clock_timestamp() + make_interval(secs => p_pause), true);
            -- The worker retries this queue job, which must not count.
            UPDATE procrastinate_jobs SET attempts = attempts - 1 WHERE id = p_queue_job;
            RETURN 0;
        END IF;
    END IF;
    UPDATE operations SET status = 'in_progress', attempt = attempt + CASE status WHEN 'queued' THEN 1 ELSE 0 END,
        current_step = 0, total_steps = NULL, failed_steps = 0, step_description = '', last_steps = '[]', result = NULL,
        live = json_strip_nulls(json_build_object(
            'retries', live->'retries', 'retry_reason', live->'retry_reason')),
        started_at = clock_timestamp(), heartbeat_at = clock_timestamp()
    WHERE queue_job = p_queue_job AND status IN ('queued', 'in_progress') RETURNING attempt INTO number;
    RETURN number;
END;
$$;

-- Try the operations that wait for the limit of a job now: one of them has ended.
CREATE OR REPLACE FUNCTION wake_operations(p_job text, p_pause double precision)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext(current_schema()), hashtext(p_job));
    UPDATE procrastinate_jobs SET scheduled_at = NULL FROM operations
    WHERE queue_job = id AND job = p_job AND operations.status = 'queued' AND procrastinate_jobs.status = 'todo'
      AND scheduled_at <= clock_timestamp() + make_interval(secs => p_pause);
END;
$$;

-- Requeue the operation of a job whose worker is stale; after the last attempt declare it failed. It gets a new queue
-- job: if the stale worker resumes, it changes nothing.
CREATE OR REPLACE FUNCTION requeue_operation(p_queue_job bigint, p_max_attempts integer, p_error text)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE operations SET status = 'failed', error = p_error, finished_at = clock_timestamp()
    WHERE queue_job = p_queue_job AND status IN ('queued', 'in_progress') AND attempt >= p_max_attempts;
    UPDATE operations SET status = 'queued', queue_job = defer_operation(operation_id)
    WHERE queue_job = p_queue_job AND status IN ('queued', 'in_progress');
    DELETE FROM procrastinate_jobs WHERE id = p_queue_job;
END;
$$;

-- Add a queue job for an operation; without a turn, in that of the queue job before.
CREATE OR REPLACE FUNCTION defer_operation(
    p_operation_id text, p_turn integer DEFAULT NULL, p_delay double precision DEFAULT 0)
RETURNS bigint LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT (procrastinate_defer_jobs_v1(ARRAY[ROW(
        'operations', 'run_operation',
        coalesce(
            p_turn,
            (SELECT priority FROM operations JOIN procrastinate_jobs ON id = queue_job
             WHERE operation_id = p_operation_id),
            0),
        NULL, NULL, pg_catalog.jsonb_build_object('operation_id', p_operation_id),
        CASE WHEN p_delay > 0 THEN clock_timestamp() + make_interval(secs => p_delay) END
    )::procrastinate_job_to_defer_v1]))[1];
$$;

-- The privileges of the app and the workers. For each login: GRANT progress_web TO my_app_login;
REVOKE EXECUTE ON FUNCTION start_operation, cancel_operation, force_stop_operation, begin_operation,
    wake_operations, requeue_operation, defer_operation FROM PUBLIC;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'progress_web') THEN
        CREATE ROLE progress_web NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'progress_worker') THEN
        CREATE ROLE progress_worker NOLOGIN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO progress_web, progress_worker', current_schema());
    GRANT SELECT ON operations, operation_log, operation_files TO progress_web;
    GRANT INSERT (operation_id, name, part, content) ON operation_files TO progress_web;
    GRANT EXECUTE ON FUNCTION start_operation, cancel_operation, force_stop_operation TO progress_web;
    GRANT SELECT, UPDATE, DELETE ON operations TO progress_worker;
    GRANT SELECT, INSERT, DELETE ON operation_log, operation_files TO progress_worker;
    GRANT EXECUTE ON FUNCTION begin_operation, wake_operations, requeue_operation, defer_operation
        TO progress_worker;
    GRANT SELECT, INSERT, UPDATE, DELETE ON procrastinate_jobs, procrastinate_events, procrastinate_workers,
        procrastinate_periodic_defers TO progress_worker;
    GRANT USAGE ON SEQUENCE procrastinate_jobs_id_seq, procrastinate_events_id_seq,
        procrastinate_periodic_defers_id_seq TO progress_worker;
EXCEPTION WHEN insufficient_privilege THEN
    -- `make schema` prints each warning and fails.
    RAISE WARNING 'No privileges were granted to progress_web and progress_worker: %. Until an administrator creates both roles, or applies the schema, only % can use it.',
        SQLERRM, current_user;
END;
$$;
