-- The progress table and the functions around it. `make schema` applies this file, after Procrastinate's own schema,
-- to the first schema of the search path; applying it again changes nothing. A DBA who applies it by hand does
--     uv run procrastinate schema --read | psql      -- once: it is not repeatable
--     psql -f schema.sql
-- as a login that may create tables, and roles (or creates the two roles below beforehand), and then gives each
-- login of the app and of the workers one of them. A new version of Procrastinate may bring migrations of its own
-- tables: `uv run procrastinate schema --migrations-path` names the folder that has them.

-- Temporary tables come last in what the functions below see. Otherwise a login could put one of its own in the
-- place of a table, and its triggers would run with the rights of the owner.
SELECT set_config('search_path', current_setting('search_path') || ', pg_temp', false);

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
    -- The job in Procrastinate's queue that runs it now. A job that is not this one has lost the operation.
    queue_job        bigint
);
-- A table made by an earlier version of this file lacks these.
ALTER TABLE operations
    ADD COLUMN IF NOT EXISTS retry_of text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS last_steps json NOT NULL DEFAULT '[]';
DROP INDEX IF EXISTS operations_by_owner;
DROP FUNCTION IF EXISTS start_operation(text, text, text, text);

CREATE INDEX IF NOT EXISTS operations_by_owner_and_time ON operations (owner, created_at DESC, operation_id DESC);
CREATE INDEX IF NOT EXISTS operations_by_time ON operations (created_at DESC, operation_id DESC);
CREATE INDEX IF NOT EXISTS operations_by_queue_job ON operations (queue_job);
CREATE INDEX IF NOT EXISTS operations_active ON operations (queue_job) WHERE status IN ('queued', 'in_progress');

-- The functions run with the rights of their owner, so that the web role needs no rights on Procrastinate's tables.

-- Put an operation and its job into the queue: both or neither, and once for each id.
CREATE OR REPLACE FUNCTION start_operation(
    p_operation_id text, p_job text, p_subject text, p_owner text, p_retry_of text DEFAULT '')
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO operations (operation_id, job, subject, owner, retry_of)
    VALUES (p_operation_id, p_job, p_subject, p_owner, p_retry_of)
    ON CONFLICT (operation_id) DO NOTHING;
    IF FOUND THEN
        UPDATE operations SET queue_job = defer_operation(p_operation_id) WHERE operation_id = p_operation_id;
    END IF;
END;
$$;

-- Ask the job to stop. One that no worker has begun ends here: nobody else would acknowledge it.
CREATE OR REPLACE FUNCTION cancel_operation(p_operation_id text)
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
    UPDATE operations SET status = 'cancelled', finished_at = clock_timestamp(), last_updated = clock_timestamp()
    WHERE operation_id = p_operation_id AND status = 'queued'
      AND (SELECT status FROM procrastinate_jobs WHERE id = job_id) = 'cancelled';
END;
$$;

-- Give the operation of a job whose worker is lost to a new job, up to a limit; then declare it failed. The old job
-- is never used again: a worker that comes back from the dead would end it under the hands of the next one.
CREATE OR REPLACE FUNCTION recover_operation(p_queue_job bigint, p_max_attempts integer, p_error text)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE operations SET status = 'failed', error = p_error, finished_at = clock_timestamp()
    WHERE queue_job = p_queue_job AND status IN ('queued', 'in_progress') AND attempt >= p_max_attempts;
    UPDATE operations SET status = 'queued', queue_job = defer_operation(operation_id)
    WHERE queue_job = p_queue_job AND status IN ('queued', 'in_progress');
END;
$$;

CREATE OR REPLACE FUNCTION defer_operation(p_operation_id text)
RETURNS bigint LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT (procrastinate_defer_jobs_v1(ARRAY[ROW(
        'operations', 'run_operation', 0, NULL, NULL, jsonb_build_object('operation_id', p_operation_id), NULL
    )::procrastinate_job_to_defer_v1]))[1];
$$;

-- What the app and the workers may do. Give a login one of these: GRANT progress_web TO my_app_login;
REVOKE EXECUTE ON FUNCTION start_operation, cancel_operation, recover_operation, defer_operation FROM PUBLIC;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'progress_web') THEN
        CREATE ROLE progress_web NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'progress_worker') THEN
        CREATE ROLE progress_worker NOLOGIN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO progress_web, progress_worker', current_schema());
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO progress_worker', current_schema());
    GRANT SELECT ON operations TO progress_web;
    GRANT EXECUTE ON FUNCTION start_operation, cancel_operation TO progress_web;
    GRANT SELECT, UPDATE ON operations TO progress_worker;
    GRANT EXECUTE ON FUNCTION recover_operation, defer_operation TO progress_worker;
    GRANT SELECT, INSERT, UPDATE, DELETE ON procrastinate_jobs, procrastinate_events, procrastinate_workers,
        procrastinate_periodic_defers TO progress_worker;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'The roles progress_web and progress_worker were not made: this login may not create roles.';
END;
$$;
