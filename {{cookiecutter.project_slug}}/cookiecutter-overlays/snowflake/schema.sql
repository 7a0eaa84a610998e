{% set name = cookiecutter.project_slug | upper | replace("-", "_") %}
-- The objects in Snowflake and their privileges. Apply it as ACCOUNTADMIN, or with a role that can create databases,
-- warehouses, roles and compute pools. It can be applied again: what exists stays as it is.
--     snow sql --connection admin --filename schema.sql
-- For that connection, the stored procedure and the app see "Deploy to a Snowflake account" in README.md.
--
-- Costs. Every poll is a statement, and statements keep the warehouse awake: while a page tracks an operation, an
-- X-Small warehouse runs all the time, at 1 credit an hour. It suspends AUTO_SUSPEND seconds after the last statement.
-- All viewers of a server process share one poll per interval: viewers cost nothing, replicas do. The board runs 1 to 4
-- statements per interval for each login that has it open; without a login, or with `shared` in settings.toml, for all
-- viewers together. A poll interval of 2 s is enough for people; a longer one does not let the warehouse suspend.
-- Polls and procedures share the warehouse. It runs about 8 statements at a time, and each running procedure is one of
-- them: with more operations at the same time, polls are queued. Then raise its size or MAX_CLUSTER_COUNT.
-- A job inserts one event for each step, and one block of lines for its log (a burst of 20, then one a second). Every
-- insert is a file of its own until Snowflake merges them: delete old rows, for example once a day. The two roles below
-- cannot delete; use a task of the role that applied this file. (`keep` in settings.toml does not apply here.)
--     DELETE FROM OPERATION_EVENTS WHERE WRITTEN_AT < DATEADD(day, -90, SYSDATE());
--     DELETE FROM OPERATION_LOG WHERE WRITTEN_AT < DATEADD(day, -90, SYSDATE());
-- Files stay on the stage: LIST @OPERATION_FILES shows their age, REMOVE @OPERATION_FILES/NAME removes one.

CREATE DATABASE IF NOT EXISTS {{ name }}_DB;
CREATE SCHEMA IF NOT EXISTS {{ name }}_DB.APP;
CREATE WAREHOUSE IF NOT EXISTS {{ name }}_WH
    WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;
USE SCHEMA {{ name }}_DB.APP;

-- The events of operations, only inserted. progress/backend/store.py says how an operation is read from its events.
CREATE TABLE IF NOT EXISTS OPERATION_EVENTS (
    OPERATION_ID VARCHAR NOT NULL,
    EVENT_NUMBER NUMBER AUTOINCREMENT,
    WRITTEN_AT TIMESTAMP_NTZ NOT NULL,
    STATUS VARCHAR,
    JOB VARCHAR,
    SUBJECT VARCHAR,
    OWNER VARCHAR,
    RETRY_OF VARCHAR,
    CLAIM VARCHAR,
    QUERY_ID VARCHAR,
    CANCEL_REQUESTED BOOLEAN,
    CURRENT_STEP NUMBER,
    TOTAL_STEPS NUMBER,
    FAILED_STEPS NUMBER,
    STEP_DESCRIPTION VARCHAR,
    LAST_STEPS VARCHAR,
    MOVED BOOLEAN,
    ERROR VARCHAR,
    RESULT VARCHAR,
    LIVE VARCHAR,
    OPTIONS VARCHAR
);
-- Tables created by an earlier version of this file do not have these columns.
ALTER TABLE OPERATION_EVENTS ADD COLUMN IF NOT EXISTS RETRY_OF VARCHAR;
ALTER TABLE OPERATION_EVENTS ADD COLUMN IF NOT EXISTS LAST_STEPS VARCHAR;
ALTER TABLE OPERATION_EVENTS ADD COLUMN IF NOT EXISTS LIVE VARCHAR;
ALTER TABLE OPERATION_EVENTS ADD COLUMN IF NOT EXISTS OPTIONS VARCHAR;

-- The logs of operations, only inserted. The numbers count the lines that were not stored, too.
CREATE TABLE IF NOT EXISTS OPERATION_LOG (
    OPERATION_ID VARCHAR NOT NULL,
    LINE_NUMBER NUMBER NOT NULL,
    WRITTEN_AT TIMESTAMP_NTZ NOT NULL,
    TEXT VARCHAR NOT NULL
);

-- The files of operations: uploads, and what jobs keep. Their names are hashes.
CREATE STAGE IF NOT EXISTS OPERATION_FILES ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE');

-- The rows of the Cortex sample job. Drop the table if you do not need it.
CREATE TABLE IF NOT EXISTS TRANSCRIPT_LINES (
    TRANSCRIPT VARCHAR NOT NULL,
    LINE_NUMBER NUMBER NOT NULL,
    SAID VARCHAR NOT NULL
);

-- {{ name }}_OWNER deploys: it owns the procedure and the Streamlit app, which run with its rights.
CREATE ROLE IF NOT EXISTS {{ name }}_OWNER;
GRANT ROLE {{ name }}_OWNER TO ROLE SYSADMIN;
GRANT USAGE ON DATABASE {{ name }}_DB TO ROLE {{ name }}_OWNER;
GRANT USAGE, CREATE PROCEDURE, CREATE STAGE, CREATE STREAMLIT ON SCHEMA {{ name }}_DB.APP TO ROLE {{ name }}_OWNER;
GRANT USAGE, MONITOR ON WAREHOUSE {{ name }}_WH TO ROLE {{ name }}_OWNER;
GRANT SELECT, INSERT ON TABLE OPERATION_EVENTS TO ROLE {{ name }}_OWNER;
GRANT SELECT, INSERT ON TABLE OPERATION_LOG TO ROLE {{ name }}_OWNER;
GRANT READ, WRITE ON STAGE OPERATION_FILES TO ROLE {{ name }}_OWNER;
GRANT SELECT, INSERT ON TABLE TRANSCRIPT_LINES TO ROLE {{ name }}_OWNER;
-- For the AI functions. Most accounts have granted it to PUBLIC.
GRANT DATABASE ROLE SNOWFLAKE.CORTEX_USER TO ROLE {{ name }}_OWNER;
-- For `make verify-account`, which creates a temporary schema.
GRANT CREATE SCHEMA ON DATABASE {{ name }}_DB TO ROLE {{ name }}_OWNER;

-- {{ name }}_APP is for an app that runs outside Snowflake. It can start, read and cancel operations, store files for
-- them, and nothing else: the procedure runs with its owner's rights. USAGE on the procedure is granted when it exists:
-- see "Deploy to a Snowflake account" in README.md.
CREATE ROLE IF NOT EXISTS {{ name }}_APP;
GRANT ROLE {{ name }}_APP TO ROLE SYSADMIN;
GRANT USAGE ON DATABASE {{ name }}_DB TO ROLE {{ name }}_APP;
GRANT USAGE ON SCHEMA {{ name }}_DB.APP TO ROLE {{ name }}_APP;
-- MONITOR shows the queries of other users. Without it, the state of a job that another user of the app started is
-- unknown, and the job is declared failed after a minute without an event, although it runs.
GRANT USAGE, MONITOR ON WAREHOUSE {{ name }}_WH TO ROLE {{ name }}_APP;
GRANT SELECT, INSERT ON TABLE OPERATION_EVENTS TO ROLE {{ name }}_APP;
GRANT SELECT ON TABLE OPERATION_LOG TO ROLE {{ name }}_APP;
GRANT READ, WRITE ON STAGE OPERATION_FILES TO ROLE {{ name }}_APP;
-- Users can cancel their own calls without it. If several users serve one app, they need it for each other's calls:
-- GRANT OPERATE ON WAREHOUSE {{ name }}_WH TO ROLE {{ name }}_APP;

-- Only for Streamlit in Snowflake on the container runtime: its compute pool and its packages.
CREATE COMPUTE POOL IF NOT EXISTS {{ name }}_POOL
    MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = CPU_X64_XS AUTO_SUSPEND_SECS = 300 INITIALLY_SUSPENDED = TRUE;
GRANT USAGE ON COMPUTE POOL {{ name }}_POOL TO ROLE {{ name }}_OWNER;
GRANT DATABASE ROLE SNOWFLAKE.PYPI_REPOSITORY_USER TO ROLE {{ name }}_OWNER;
