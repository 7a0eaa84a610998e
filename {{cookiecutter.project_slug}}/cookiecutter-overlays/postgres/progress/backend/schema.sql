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
    -- The job in Procrastinate's queue that runs it. Any other job is stale and must not begin it.
    queue_job        bigint
);
-- Upgrade a table of an earlier version.
ALTER TABLE operations
    ADD COLUMN IF NOT EXISTS retry_of text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS last_steps json NOT NULL DEFAULT '[]';
DROP INDEX IF EXISTS operations_by_owner;
DROP FUNCTION IF EXISTS start_operation(text, text, text, text);
DROP FUNCTION IF EXISTS recover_operation(bigint, integer, text);

CREATE INDEX IF NOT EXISTS operations_by_owner_and_time ON operations (owner, created_at DESC, operation_id DESC);
CREATE INDEX IF NOT EXISTS operations_by_time ON operations (created_at DESC, operation_id DESC);
CREATE INDEX IF NOT EXISTS operations_by_queue_job ON operations (queue_job);
CREATE INDEX IF NOT EXISTS operations_active ON operations (queue_job) WHERE status IN ('queued', 'in_progress');

-- SECURITY DEFINER: the web role needs no privileges on Procrastinate's tables. Whoever may create functions or
-- operators in this schema could have them called here with the privileges of the owner: grant CREATE to nobody.

-- Add an operation and its queue job in one transaction, once for each id.
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

-- Ask the job to stop. If no worker has started it, the operation ends here: no job would acknowledge the request.
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

CREATE OR REPLACE FUNCTION defer_operation(p_operation_id text)
RETURNS bigint LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT (procrastinate_defer_jobs_v1(ARRAY[ROW(
        'operations', 'run_operation', 0, NULL, NULL, pg_catalog.jsonb_build_object('operation_id', p_operation_id), NULL
    )::procrastinate_job_to_defer_v1]))[1];
$$;

-- The privileges of the app and the workers. For each login: GRANT progress_web TO my_app_login;
REVOKE EXECUTE ON FUNCTION start_operation, cancel_operation, requeue_operation, defer_operation FROM PUBLIC;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'progress_web') THEN
        CREATE ROLE progress_web NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'progress_worker') THEN
        CREATE ROLE progress_worker NOLOGIN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO progress_web, progress_worker', current_schema());
    GRANT SELECT ON operations TO progress_web;
    GRANT EXECUTE ON FUNCTION start_operation, cancel_operation TO progress_web;
    GRANT SELECT, UPDATE ON operations TO progress_worker;
    GRANT EXECUTE ON FUNCTION requeue_operation, defer_operation TO progress_worker;
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
