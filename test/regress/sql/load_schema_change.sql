-- The columns of a view change: on_schema_change => fail, append_columns, sync; decided before anything is written.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA ls;
SELECT etl.create_pipeline('ls');
CREATE TABLE ls.base AS SELECT 1 AS id, 'x'::text AS a, 1::integer AS n;
CREATE VIEW ls.txf_failing AS SELECT id, a, n FROM ls.base;
CREATE VIEW ls.txf_appending AS SELECT id, a, n FROM ls.base;
CREATE VIEW ls.txf_syncing AS SELECT id, a, n FROM ls.base WHERE etl.run_date() IS NOT NULL;
CREATE VIEW ls.txf_history AS SELECT id, a, n FROM ls.base WHERE etl.run_date() IS NOT NULL;
CREATE FUNCTION pg_temp.columns(relation regclass) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attname) FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped $$;
SELECT etl.add_load('ls', 'ls.failing', 'full', key => '{id}');
SELECT * FROM pg_temp.run('ls', '2024-01-01');

--
-- fail, the default: the statements to type are in the hint
--
CREATE OR REPLACE VIEW ls.txf_failing AS SELECT id, a, n, now()::date - now()::date AS extra FROM ls.base;
SELECT * FROM pg_temp.run('ls', '2024-01-02');
SELECT task, state, error_code FROM etl.task_runs WHERE pipeline = 'ls' AND run_id = (SELECT max(run_id) FROM etl.runs) ORDER BY task;
ALTER TABLE ls.failing ADD COLUMN extra integer;
SELECT * FROM pg_temp.run('ls', '2024-01-02');
DROP VIEW ls.txf_failing;
CREATE VIEW ls.txf_failing AS SELECT id, a, n::bigint AS n FROM ls.base;
SELECT * FROM pg_temp.run('ls', '2024-01-03');
-- once declared again, what the table has and the view has not is the table's own
ALTER TABLE ls.failing ADD COLUMN own text DEFAULT 'own';
SELECT etl.add_load('ls', 'ls.failing', 'full', key => '{id}');
SELECT * FROM pg_temp.run('ls', '2024-01-03');
SELECT * FROM ls.failing;

--
-- append_columns
--
BEGIN;
SELECT etl.create_pipeline('ls', replace => true);
SELECT etl.add_load('ls', 'ls.appending', 'full', key => '{id}', on_schema_change => 'append_columns');
COMMIT;
SELECT * FROM pg_temp.run('ls', '2024-01-01');
CREATE OR REPLACE VIEW ls.txf_appending AS SELECT id, a, n, 'new'::varchar(7) AS "New ""One" FROM ls.base;
SELECT * FROM pg_temp.run('ls', '2024-01-02');
SELECT * FROM ls.vr_appending;
SELECT message FROM etl.log WHERE pipeline = 'ls' AND message ~ 'follows' ORDER BY log_id;
-- gone: stays as it is; a narrower type fits, a wider one does not
DROP VIEW ls.txf_appending;
CREATE VIEW ls.txf_appending AS SELECT id, n::smallint AS n FROM ls.base;
SELECT * FROM pg_temp.run('ls', '2024-01-03');
SELECT * FROM ls.appending;
DROP VIEW ls.txf_appending;
CREATE VIEW ls.txf_appending AS SELECT id, n::bigint AS n FROM ls.base;
SELECT * FROM pg_temp.run('ls', '2024-01-04');

--
-- sync: and observations follow
--
CREATE ROLE regress_etl_ls_reader;
BEGIN;
SELECT etl.create_pipeline('ls', replace => true);
SELECT etl.add_load('ls', 'ls.syncing', 'incremental', key => '{id}', on_schema_change => 'sync');
COMMIT;
SELECT * FROM pg_temp.run('ls', '2024-01-01');
GRANT SELECT ON ls.vr_syncing TO regress_etl_ls_reader;
DROP VIEW ls.txf_syncing;
CREATE VIEW ls.txf_syncing AS SELECT id::bigint AS id, n::numeric AS n, true AS flag FROM ls.base WHERE etl.run_date() IS NOT NULL;
SELECT * FROM pg_temp.run('ls', '2024-01-02');
SELECT pg_temp.columns('ls.syncing'), pg_temp.columns('ls.vr_syncing'), pg_temp.columns('ls.obs_syncing');
SELECT has_table_privilege('regress_etl_ls_reader', 'ls.vr_syncing', 'SELECT') AS still_granted, obj_description('ls.vr_syncing'::regclass);
SELECT * FROM ls.syncing;
-- narrower, or another kind: not by itself
DROP VIEW ls.txf_syncing;
CREATE VIEW ls.txf_syncing AS SELECT id, a AS n, true AS flag FROM ls.base WHERE etl.run_date() IS NOT NULL;
SELECT * FROM pg_temp.run('ls', '2024-01-03');
-- something depends on what is gone
DROP VIEW ls.txf_syncing;
CREATE VIEW ls.txf_syncing AS SELECT id::bigint AS id, n::numeric AS n FROM ls.base WHERE etl.run_date() IS NOT NULL;
CREATE VIEW ls.report AS SELECT flag FROM ls.vr_syncing;
CREATE INDEX by_flag ON ls.syncing (flag);
SELECT * FROM pg_temp.run('ls', '2024-01-03');
DROP VIEW ls.report;
DROP INDEX ls.by_flag;
SELECT * FROM pg_temp.run('ls', '2024-01-03');
SELECT pg_temp.columns('ls.syncing'), pg_temp.columns('ls.obs_syncing');
-- the key is not something that can go
DROP VIEW ls.txf_syncing;
CREATE VIEW ls.txf_syncing AS SELECT n::numeric AS n FROM ls.base WHERE etl.run_date() IS NOT NULL;
SELECT * FROM pg_temp.run('ls', '2024-01-04');
SELECT substring(etl.pipeline_sql('ls') FROM 'SELECT etl.add_load.*?\);');

--
-- mode scd2: columns added later
--
BEGIN;
SELECT etl.create_pipeline('ls', replace => true);
SELECT etl.add_load('ls', 'ls.history', 'scd2', key => '{id}', on_schema_change => 'append_columns');
COMMIT;
SELECT * FROM pg_temp.run('ls', '2024-01-01');
CREATE OR REPLACE VIEW ls.txf_history AS SELECT id, a, n, 'later'::text AS late FROM ls.base WHERE etl.run_date() IS NOT NULL;
SELECT * FROM pg_temp.run('ls', '2024-01-02');
SELECT id, a, n, late, valid_from, is_current, version_number FROM ls.history ORDER BY valid_from;

SELECT etl.add_load('ls', 'ls.t', 'full', source => 'ls.txf_failing', on_schema_change => 'ignore');
SELECT etl.drop_pipeline('ls');
DROP SCHEMA ls CASCADE;
DROP ROLE regress_etl_ls_reader;
