{% set name = cookiecutter.project_slug | upper | replace("-", "_") %}
-- The objects in Snowflake, and who may do what with them. Apply it as ACCOUNTADMIN, or as a role that may
-- create databases, warehouses, roles and compute pools; again and again, it changes nothing:
--     snow sql --connection admin --filename schema.sql
-- How to get that connection, the stored procedure and the app: "From this machine to an account" in README.md.
--
-- What it costs. Every poll is a statement, and a statement keeps the warehouse awake: while somebody watches an
-- operation, an X-Small warehouse runs all the time, 1 credit an hour. It suspends AUTO_SUSPEND seconds after the
-- last statement. All who follow operations share one poll in a server process: viewers cost nothing, replicas do. The
-- board asks 1 to 4 statements an interval for each login that looks at it; where there is no login, or settings.toml
-- says `shared`, once for all. A poll interval of 2 s or more is enough for people; a longer one does not let the
-- warehouse sleep, but leaves it room for work.
-- Polls and procedures share the warehouse. It runs about 8 statements at a time, and a procedure is one for all its
-- life: where more operations run at once, polls wait behind them. Then raise its size or MAX_CLUSTER_COUNT.
-- A job appends one event a step (a burst of 20, then one a second). Every insert is a file of its own until
-- Snowflake merges them: delete what nobody looks at any more, say once a day. Neither role below may delete; let a
-- task of an administrator's do it, with the role that applied this file:
--     DELETE FROM OPERATION_EVENTS WHERE WRITTEN_AT < DATEADD(day, -90, SYSDATE());

CREATE DATABASE IF NOT EXISTS {{ name }}_DB;
CREATE SCHEMA IF NOT EXISTS {{ name }}_DB.APP;
CREATE WAREHOUSE IF NOT EXISTS {{ name }}_WH
    WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;
USE SCHEMA {{ name }}_DB.APP;

-- What happened to operations. Rows are only ever added; progress/backend/store.py says what an operation is by its events.
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
    RESULT VARCHAR
);
-- A table made by an earlier version of this file lacks these.
ALTER TABLE OPERATION_EVENTS ADD COLUMN IF NOT EXISTS RETRY_OF VARCHAR;
ALTER TABLE OPERATION_EVENTS ADD COLUMN IF NOT EXISTS LAST_STEPS VARCHAR;

-- The rows that the sample job works on with Cortex. Yours to drop.
CREATE TABLE IF NOT EXISTS TRANSCRIPT_LINES (
    TRANSCRIPT VARCHAR NOT NULL,
    LINE_NUMBER NUMBER NOT NULL,
    SAID VARCHAR NOT NULL
);

-- {{ name }}_OWNER deploys: it owns the procedure and the Streamlit app, and both run with its rights.
CREATE ROLE IF NOT EXISTS {{ name }}_OWNER;
GRANT ROLE {{ name }}_OWNER TO ROLE SYSADMIN;
GRANT USAGE ON DATABASE {{ name }}_DB TO ROLE {{ name }}_OWNER;
GRANT USAGE, CREATE PROCEDURE, CREATE STAGE, CREATE STREAMLIT ON SCHEMA {{ name }}_DB.APP TO ROLE {{ name }}_OWNER;
GRANT USAGE, MONITOR ON WAREHOUSE {{ name }}_WH TO ROLE {{ name }}_OWNER;
GRANT SELECT, INSERT ON TABLE OPERATION_EVENTS TO ROLE {{ name }}_OWNER;
GRANT SELECT, INSERT ON TABLE TRANSCRIPT_LINES TO ROLE {{ name }}_OWNER;
-- For the AI functions. Most accounts have granted it to PUBLIC.
GRANT DATABASE ROLE SNOWFLAKE.CORTEX_USER TO ROLE {{ name }}_OWNER;
-- For `make verify-account`, which works in a schema of its own and drops it.
GRANT CREATE SCHEMA ON DATABASE {{ name }}_DB TO ROLE {{ name }}_OWNER;

-- {{ name }}_APP is for an app that runs outside Snowflake. It can start, follow and cancel operations, and no more:
-- the procedure works with its owner's rights.
CREATE ROLE IF NOT EXISTS {{ name }}_APP;
GRANT ROLE {{ name }}_APP TO ROLE SYSADMIN;
GRANT USAGE ON DATABASE {{ name }}_DB TO ROLE {{ name }}_APP;
GRANT USAGE ON SCHEMA {{ name }}_DB.APP TO ROLE {{ name }}_APP;
-- MONITOR shows the queries of other users: without it, a job that another user of the app started reads as unknown
-- when it is silent, and is declared failed after a minute although it runs.
GRANT USAGE, MONITOR ON WAREHOUSE {{ name }}_WH TO ROLE {{ name }}_APP;
GRANT SELECT, INSERT ON TABLE OPERATION_EVENTS TO ROLE {{ name }}_APP;
GRANT USAGE ON FUTURE PROCEDURES IN SCHEMA {{ name }}_DB.APP TO ROLE {{ name }}_APP;
-- A user cancels calls of their own without it. Where several users serve one app, they need it for each other's:
-- GRANT OPERATE ON WAREHOUSE {{ name }}_WH TO ROLE {{ name }}_APP;

-- Only for Streamlit in Snowflake on the container runtime: where the app runs, and where it gets its packages.
CREATE COMPUTE POOL IF NOT EXISTS {{ name }}_POOL
    MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = CPU_X64_XS AUTO_SUSPEND_SECS = 300 INITIALLY_SUSPENDED = TRUE;
GRANT USAGE ON COMPUTE POOL {{ name }}_POOL TO ROLE {{ name }}_OWNER;
GRANT DATABASE ROLE SNOWFLAKE.PYPI_REPOSITORY_USER TO ROLE {{ name }}_OWNER;
