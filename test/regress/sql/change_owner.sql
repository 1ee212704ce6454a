-- A pipeline that changes hands, and one whose owner was renamed.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\getenv api ETL_TEST_API
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE ROLE regress_co_old LOGIN;
CREATE ROLE regress_co_new LOGIN;
CREATE ROLE regress_co_nologin;
CREATE ROLE regress_co_both LOGIN IN ROLE regress_co_old, regress_co_new;
\set ECHO none
SELECT format('GRANT CREATE ON DATABASE %I TO regress_co_old', current_database()) \gexec
SELECT format('CREATE SERVER co FOREIGN DATA WRAPPER etl_http OPTIONS (base_url %L, max_attempts ''1'')', :'api') \gexec
\set ECHO all
GRANT USAGE ON FOREIGN SERVER co TO regress_co_old, regress_co_new;
SET SESSION AUTHORIZATION regress_co_old;
CREATE SCHEMA co;
SELECT etl.create_pipeline('co');
SELECT etl.add_extract('co', 'co.raw', server => 'co', path => '/pages/co', query => '{"per_page": 3}', records => '$.data[*]');
CREATE VIEW co.txf_t AS SELECT (payload ->> 'id')::integer AS id, current_user::text AS filled_by FROM co.vr_raw;
SELECT etl.add_load('co', 'co.t', 'full', key => '{id}');
SELECT * FROM pg_temp.extract('co', '2024-01-01');
SELECT DISTINCT filled_by FROM co.t;

--
-- Who may
--
SELECT etl.alter_pipeline('co', owner => 'regress_co_new');
SELECT etl.alter_pipeline('co', owner => 'regress_co_nobody');
-- what it is already
SELECT etl.alter_pipeline('co', owner => 'regress_co_old', description => 'still here');
SET SESSION AUTHORIZATION regress_co_new;
SELECT etl.alter_pipeline('co', owner => 'regress_co_new');
RESET SESSION AUTHORIZATION;
SELECT etl.alter_pipeline('co', owner => 'regress_co_nologin');
-- the tables are their owner's to give
SET SESSION AUTHORIZATION regress_co_both;
SELECT etl.alter_pipeline('co', owner => 'regress_co_new');
RESET SESSION AUTHORIZATION;
REASSIGN OWNED BY regress_co_old TO regress_co_new;
SET SESSION AUTHORIZATION regress_co_both;
SELECT etl.alter_pipeline('co', owner => 'regress_co_new', retries => 1);
RESET SESSION AUTHORIZATION;
SELECT owner, retries, description FROM etl.pipelines WHERE pipeline = 'co';

--
-- The new owner goes on where the old one was; the old one sees no more of it
--
SET SESSION AUTHORIZATION regress_co_old;
SELECT (SELECT count(*) FROM etl.pipelines) AS pipelines, (SELECT count(*) FROM etl.runs) AS runs, (SELECT count(*) FROM etl.loads) AS loads, (SELECT count(*) FROM etl.log) AS log;
SELECT etl.pause('co');
SET SESSION AUTHORIZATION regress_co_new;
SELECT (SELECT count(*) FROM etl.pipelines) AS pipelines, (SELECT count(*) FROM etl.runs) AS runs, (SELECT count(*) FROM etl.loads) AS loads, (SELECT count(*) > 0 FROM etl.log) AS log;
SELECT * FROM pg_temp.extract('co', '2024-01-01');
SELECT DISTINCT filled_by FROM co.t;
-- what the old owner's workers wrote is removed by the new one's, a moment later
\set ECHO none
DO $$ BEGIN
	FOR i IN 1 .. 200 LOOP
		EXIT WHEN EXISTS (SELECT FROM etl.loads WHERE reclaimed_at IS NOT NULL);
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
\set ECHO all
SELECT task, state, reclaimed_at IS NOT NULL AS reclaimed FROM etl.loads ORDER BY load_id;
RESET SESSION AUTHORIZATION;

--
-- A role that is renamed takes its tables along, and its pipelines are given to it
--
ALTER ROLE regress_co_new RENAME TO regress_co_renamed;
SELECT owner, cannot_run_because FROM etl.pipelines WHERE pipeline = 'co';
SELECT * FROM pg_temp.extract('co', '2024-01-01');
SET SESSION AUTHORIZATION regress_co_renamed;
SELECT etl.alter_pipeline('co', owner => 'regress_co_renamed');
RESET SESSION AUTHORIZATION;
SELECT etl.alter_pipeline('co', owner => 'regress_co_renamed');
SET SESSION AUTHORIZATION regress_co_renamed;
SELECT * FROM pg_temp.extract('co', '2024-01-01');
SELECT DISTINCT filled_by FROM co.t;
SELECT count(*) FROM etl.runs;
RESET SESSION AUTHORIZATION;

-- all of a pipeline that has an owner changes hands: what is new here belongs into etl._hand_over, too; a pool is no pipeline's
SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'etl'::regnamespace AND c.relkind = 'r' AND a.attname = 'owner' ORDER BY 1;

SELECT etl.drop_pipeline('co', drop_data => true);
DROP SCHEMA co CASCADE;
DROP SERVER co;
\set ECHO none
SELECT format('REVOKE CREATE ON DATABASE %I FROM regress_co_old', current_database()) \gexec
DROP OWNED BY regress_co_old, regress_co_renamed;
DROP ROLE regress_co_both, regress_co_old, regress_co_renamed, regress_co_nologin;
