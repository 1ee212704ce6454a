-- What roles may do: an owner, a member of the owner's role, a stranger.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE ROLE regress_etl_owner LOGIN;
CREATE ROLE regress_etl_member LOGIN IN ROLE regress_etl_owner;
CREATE ROLE regress_etl_stranger LOGIN;
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_etl_owner', current_database()); END $$;
CREATE SERVER pr_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:9');

--
-- An ordinary role owns a pipeline and everything it needs
--
SET SESSION AUTHORIZATION regress_etl_owner;
SELECT etl.create_pipeline('pr');
CREATE SCHEMA pr;
CREATE VIEW pr.txf_t AS SELECT 1 AS id, current_user::text AS who;
SELECT etl.add_load('pr', 'pr.t', 'full', key => '{id}');
SELECT etl.add_check('pr', 'pr.t', 'unique', '{"columns": ["id"]}');
SELECT * FROM pg_temp.run('pr', '2024-01-01');
SELECT * FROM pr.t;
-- but for the server: that belongs to somebody else
SELECT etl.add_extract('pr', 'pr.raw', 'pr_api');
RESET SESSION AUTHORIZATION;
GRANT USAGE ON FOREIGN SERVER pr_api TO regress_etl_owner;
SET SESSION AUTHORIZATION regress_etl_owner;
SELECT etl.add_extract('pr', 'pr.raw', 'pr_api');
SELECT etl.create_pipeline('pr', replace => true);
SELECT etl.add_load('pr', 'pr.t', 'full', key => '{id}');
SELECT pipeline, owner, tasks, last_state FROM etl.pipelines;
SELECT count(*) FROM etl.runs;
SELECT count(*) FROM etl.task_runs;
SELECT count(*) FROM etl.check_results;
SELECT count(*) > 0 AS some FROM etl.log;
SELECT etl.pipeline_sql('pr') ~ 'add_load' AS printed;
-- the catalog itself is out of reach, and so are settings of the server
\set VERBOSITY sqlstate
SELECT * FROM etl.pipeline;
SELECT * FROM etl.run;
SELECT * FROM etl.quarantined_record;
INSERT INTO etl.task SELECT * FROM etl.task;
UPDATE etl.pipelines SET retries = 3;
DELETE FROM etl.log;
SELECT nextval('etl.run_id_seq');
SET etl.clock = '2030-01-01';
SET etl.max_workers = 99;
SHOW etl.secret_directory;
\set VERBOSITY default

--
-- A member of the owner's role acts as the owner does
--
SET SESSION AUTHORIZATION regress_etl_member;
SELECT pipeline, owner FROM etl.pipelines;
SELECT * FROM pg_temp.run('pr', '2024-01-02');
SELECT * FROM pr.t;
SELECT requested_by FROM etl.runs ORDER BY run_id;
SELECT etl.pause('pr');
SELECT etl.resume('pr');
SELECT etl.alter_pipeline('pr', description => 'by a member');
-- declaring anew does not change the owner
SET ROLE regress_etl_owner;
SELECT etl.add_load('pr', 'pr.t', 'full', key => '{id}');
RESET ROLE;
SELECT owner, description FROM etl.pipelines;

--
-- A stranger sees nothing and may do nothing
--
SET SESSION AUTHORIZATION regress_etl_stranger;
SELECT (SELECT count(*) FROM etl.pipelines) AS pipelines, (SELECT count(*) FROM etl.tasks) AS tasks, (SELECT count(*) FROM etl.runs) AS runs, (SELECT count(*) FROM etl.task_runs) AS task_runs,
	(SELECT count(*) FROM etl.task_attempts) AS attempts, (SELECT count(*) FROM etl.loads) AS loads, (SELECT count(*) FROM etl.slices) AS slices, (SELECT count(*) FROM etl.quarantine) AS quarantine,
	(SELECT count(*) FROM etl.check_results) AS check_results, (SELECT count(*) FROM etl.log) AS log, (SELECT count(*) FROM etl.progress) AS progress;
SELECT count(*) > 0 AS templates FROM etl.templates;
SELECT etl_run('2024-01-01', 'pr');
SELECT count(*) FROM etl_run('2024-01-01');
CALL etl.run('pr', '2024-01-01 00:00+00', '2024-01-02 00:00+00');
SELECT etl.create_pipeline('pr', replace => true);
SELECT etl.alter_pipeline('pr', retries => 1);
SELECT etl.drop_pipeline('pr', drop_data => true);
SELECT etl.pause('pr');
SELECT etl.resume('pr');
SELECT etl.pause();
SELECT etl.pipeline_sql('pr');
SELECT etl.add_load('pr', 'pr.t', 'full');
SELECT etl.add_check('pr', 'pr.t', 'row_count', '{"min": 0}');
SELECT etl.add_extract('pr', 'pr.raw2', 'pr_api');
-- its own pipeline needs rights on what it uses
SELECT etl.create_pipeline('pr_mine');
SELECT etl.add_extract('pr_mine', 'pr.raw', 'pr_api');
\set VERBOSITY sqlstate
SELECT etl.add_load('pr_mine', 'pr_new.t', 'full', source => 'pr.txf_t');
SELECT etl.add_load('pr_mine', 'pr.t', 'full');
\set VERBOSITY default
SELECT count(*) FROM etl.tasks;
SELECT etl.drop_pipeline('pr_mine');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.try(format('SET LOCAL ROLE regress_etl_stranger; SELECT etl.cancel(%s)', (SELECT max(run_id) FROM etl.runs WHERE pipeline = 'pr')));

--
-- The surface: what PUBLIC may call and read
--
SELECT p.oid::regprocedure AS internal_but_callable_by_public FROM pg_proc p
WHERE p.pronamespace = 'etl'::regnamespace AND p.proname ~ '^_' AND (p.prosecdef OR p.prosrc = 'etl_call_as_owner') AND has_function_privilege('regress_etl_stranger', p.oid, 'EXECUTE') ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.relname AS readable_by_public FROM pg_class c WHERE c.relnamespace = 'etl'::regnamespace AND c.relkind IN ('r', 'v', 'S') AND has_table_privilege('regress_etl_stranger', c.oid, 'SELECT') ORDER BY 1;
SELECT c.relname AS writable_by_public FROM pg_class c WHERE c.relnamespace = 'etl'::regnamespace AND c.relkind IN ('r', 'v') AND has_table_privilege('regress_etl_stranger', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') ORDER BY 1;
SELECT has_schema_privilege('regress_etl_stranger', 'etl', 'CREATE') AS can_create_in_etl;
-- functions that act for a worker do not act for anybody else
SET SESSION AUTHORIZATION regress_etl_owner;
\set VERBOSITY terse
SELECT pg_temp.try($$SELECT etl._fence(1, 1)$$);
SELECT pg_temp.try($$SELECT etl._publish_load(1, 1, 1)$$);
SELECT pg_temp.try($$SELECT etl._commit_slices(1, 1, 1, '{0}', '{0}', '{0}', '{0}', '{0}', '{x}', '{200}', '{1}', '{NULL}', '{NULL}', '{0}', '{0}', '{0}', '{0}', '{0}', '{NULL}', '{NULL}', '{NULL}', '{f}', NULL)$$);
SELECT count(*) FROM etl._next_tasks();
SELECT attempt IS NULL AS nothing_claimed FROM etl._claim(1);
SELECT etl._wake(1);
SELECT etl._coordinate();
\set VERBOSITY default
RESET SESSION AUTHORIZATION;

SELECT etl.drop_pipeline('pr', drop_data => true);
DROP SCHEMA pr CASCADE;
DROP SERVER pr_api CASCADE;
DO $$ BEGIN EXECUTE format('REVOKE CREATE ON DATABASE %I FROM regress_etl_owner', current_database()); END $$;
DROP ROLE regress_etl_member;
DROP ROLE regress_etl_owner;
DROP ROLE regress_etl_stranger;
