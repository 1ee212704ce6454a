-- What a run would do, before it does.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA expl;
CREATE SERVER expl_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:9/api');
SELECT etl.create_pipeline('expl');
SELECT etl.add_extract('expl', 'expl.raw_orders', 'expl_api', path => '/orders', query => '{"since": "{data_interval_start}", "limit": "200"}', records => '$.data[*]',
	pagination => '{"type": "cursor", "cursor": "$.next", "parameter": "after"}', key => '{$.id}', version => '$.updated_at', record_schema => '{"type": "object"}');
CREATE VIEW expl.some_orders AS SELECT payload ->> 'id' AS id FROM expl.vl_raw_orders;
SELECT etl.add_extract('expl', 'expl.raw_lines', 'expl_api', path => '/orders/{id}/lines', for_each => 'expl.some_orders', on_rerun => 'append');
CREATE VIEW expl.txf_customers AS SELECT DISTINCT (payload ->> 'customer_id')::bigint AS customer_id, payload ->> 'city' AS city FROM expl.vr_raw_orders WHERE data_interval_start = etl.data_interval_start();
CREATE VIEW expl.txf_orders AS SELECT (payload ->> 'id')::bigint AS order_id, (payload ->> 'customer_id')::bigint AS customer_id, (payload ->> 'at')::date AS ordered_on FROM expl.vl_raw_orders;
SELECT etl.add_load('expl', 'expl.customers', 'scd2', key => '{customer_id}', deletes => 'close', source_kind => 'snapshot');
SELECT etl.add_load('expl', 'expl.orders', 'incremental', key => '{order_id}', on_schema_change => 'sync',
	options => '{"lookups": {"customer_key": {"dimension": "expl.customers", "key": ["customer_id"], "as_of": "ordered_on"}}}');
CREATE TABLE expl.other (id bigint);
CREATE VIEW expl.txf_lines AS SELECT (payload ->> 'order_id')::bigint AS order_id, (payload ->> 'n')::integer AS n FROM expl.vr_raw_lines;
SELECT etl.add_load('expl', 'expl.lines', 'incremental', key => '{order_id,n}', parent => 'expl.orders', parent_key => '{order_id}');
CREATE VIEW expl.txf_days AS SELECT etl.run_date() AS day, id FROM expl.other;
SELECT etl.add_load('expl', 'expl.days', 'partition', partition_by => 'day');
SELECT etl.add_load('expl', 'expl.all_days', 'full', source => 'expl.txf_days');
SELECT etl.add_check('expl', 'expl.orders', 'not_null', '{"columns": ["order_id"]}', filter => 'order_id > 0', mostly => 0.9);
\x on
SELECT ordinal, task, kind, because, does, constraints, statement ~ 'FROM expl\.' AS has_statement FROM etl.explain('expl');
\x off
-- what the planner expects, of the interval that is asked about
INSERT INTO expl.other SELECT generate_series(1, 500);
ANALYZE expl.other;
SELECT task, estimated_rows FROM etl.explain('expl', '2024-01-01T00:00:00Z') WHERE task IN ('expl.days', 'expl.all_days');
-- nothing has happened, and nothing stays set
SELECT (SELECT count(*) FROM etl.runs WHERE pipeline = 'expl'), (SELECT count(*) FROM expl.days), etl.data_interval_start() IS NULL AS outside_a_run;
SELECT pg_temp.refusal($$SELECT etl.explain('nothing')$$);
SELECT etl.drop_pipeline('expl', drop_data => true);
DROP SERVER expl_api;
DROP SCHEMA expl CASCADE;
