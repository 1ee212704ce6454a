-- Analysts: what grant_read covers, later targets too; freshness and lineage.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE ROLE regress_rg_owner LOGIN;
CREATE ROLE regress_rg_analyst LOGIN;
CREATE ROLE regress_rg_other LOGIN;
SELECT format('GRANT CREATE ON DATABASE %I TO regress_rg_owner', current_database()) \gexec
CREATE SERVER rg FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:1');
GRANT USAGE ON FOREIGN SERVER rg TO regress_rg_owner;
SET SESSION AUTHORIZATION regress_rg_owner;
SELECT etl.create_pipeline('rg');
SELECT etl.add_extract('rg', 'rg.raw', server => 'rg', path => '/orders/{ds}', key => '{$.id}');
CREATE VIEW rg.typed AS SELECT (payload ->> 'id')::integer AS id, data_interval_start FROM rg.vl_raw;
CREATE VIEW rg.txf_orders AS SELECT id FROM rg.typed WHERE data_interval_start = etl.data_interval_start();
SELECT etl.add_load('rg', 'rg.orders', 'incremental', key => '{id}');
SELECT etl.grant_read('rg', 'regress_rg_analyst');
SELECT etl.grant_read('rg', 'regress_rg_analyst');
-- declared later, in a schema of its own
CREATE SCHEMA rg_marts;
CREATE VIEW rg_marts.txf_counts AS SELECT count(*) AS orders FROM rg.orders;
SELECT etl.add_load('rg', 'rg_marts.counts', 'full');
CREATE VIEW pg_temp.readable AS
	SELECT n.nspname || '.' || c.relname AS relation, has_table_privilege('regress_rg_analyst', c.oid, 'SELECT') AS readable
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname ~ '^rg' AND c.relkind IN ('r', 'v', 'p');
SELECT * FROM pg_temp.readable ORDER BY relation;
SELECT has_schema_privilege('regress_rg_analyst', 'rg', 'USAGE') AS rg, has_schema_privilege('regress_rg_analyst', 'rg_marts', 'USAGE') AS marts, has_schema_privilege('regress_rg_analyst', 'rg', 'CREATE') AS creates;
SELECT l FROM regexp_split_to_table(etl.pipeline_sql('rg'), '\n') l WHERE l ~ 'grant_read';
SELECT loaded FROM etl.feed('rg', 'rg.raw', '[{"id": 1}]', '2024-01-01');

-- until when data reach, and where they come from
SELECT etl.create_pipeline('rg_counts');
CREATE VIEW rg_marts.txf_days AS SELECT etl.run_date() AS day;
SELECT etl.add_load('rg_counts', 'rg_marts.days', 'partition', partition_by => 'day');
SELECT * FROM pg_temp.run('rg_counts', '2024-01-03');
SELECT * FROM pg_temp.run('rg_counts', '2024-01-02');
RESET SESSION AUTHORIZATION;
BEGIN;
SET LOCAL etl.clock = '2024-01-05 06:00+00';
SELECT target_schema, target_name, pipeline, kind, data_until, age, published_at IS NOT NULL AS published FROM etl.freshness WHERE pipeline ~ '^rg' ORDER BY 1, 2;
COMMIT;
SET SESSION AUTHORIZATION regress_rg_owner;
SELECT * FROM etl.lineage WHERE pipeline ~ '^rg' ORDER BY pipeline, task, kind, target, source;

-- an analyst sees what is about the tables he may read, and no others
SET SESSION AUTHORIZATION regress_rg_analyst;
SELECT * FROM rg_marts.counts;
SELECT target_schema, target_name FROM etl.freshness WHERE pipeline ~ '^rg' ORDER BY 1, 2;
SELECT task, kind, source, target FROM etl.lineage WHERE pipeline ~ '^rg' ORDER BY task, kind, target, source;
SELECT count(*) FROM rg.vr_raw;
SELECT count(*) FROM etl.quarantine;
SELECT etl.grant_read('rg', 'regress_rg_other');
SET SESSION AUTHORIZATION regress_rg_other;
SELECT count(*) FROM etl.freshness WHERE pipeline ~ '^rg';
SELECT count(*) FROM etl.lineage WHERE pipeline ~ '^rg';

SET SESSION AUTHORIZATION regress_rg_owner;
SELECT etl.grant_read('rg', 'regress_nosuch');
SELECT etl.revoke_read('rg', 'regress_rg_analyst');
CREATE VIEW rg_marts.txf_later AS SELECT 1 AS one;
SELECT etl.add_load('rg', 'rg_marts.later', 'full');
SELECT * FROM pg_temp.readable WHERE readable;
-- a role that has gone is no reader, and a pipeline that has gone has none
SELECT etl.grant_read('rg', 'regress_rg_other');
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_rg_other;
DROP ROLE regress_rg_other;
SET SESSION AUTHORIZATION regress_rg_owner;
SELECT etl.add_load('rg', 'rg_marts.later', 'full');
SELECT etl.grant_read('rg', 'regress_rg_analyst');
SELECT etl.drop_pipeline('rg_counts', drop_data => true);
SELECT etl.drop_pipeline('rg', drop_data => true);
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM etl.read_grant WHERE pipeline = 'rg';
DROP SCHEMA rg, rg_marts CASCADE;
DROP SERVER rg;
DROP OWNED BY regress_rg_owner, regress_rg_analyst;
DROP ROLE regress_rg_owner, regress_rg_analyst;
