-- Loads and checks as they are declared: what is accepted, what is made, what is refused and how.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
SELECT etl.create_pipeline('dl');
CREATE SCHEMA dl;
CREATE VIEW dl.txf_facts AS
	SELECT 1::bigint AS id, 'x'::text AS name, 1.5::numeric(10,2) AS amount, date '2024-01-01' AS day, '2024-01-01'::timestamp AS local_at, timestamptz '2024-01-01 00:00+00' AS at, '{}'::jsonb AS doc;

--
-- What is made when it is missing
--
SELECT etl.add_load('dl', 'dl.facts', 'full', key => '{id}');
\d dl.facts
\d dl.vr_facts
SELECT obj_description('dl.vr_facts'::regclass);
SELECT jsonb_pretty(definition), kind, depends_on FROM etl.tasks WHERE task = 'dl.facts';
-- without a key there is no primary key; a schema is made as well
SELECT etl.add_load('dl', 'dl_new.facts', 'full', source => 'dl.txf_facts');
\d dl_new.facts
-- a key of several columns, in its own order
SELECT etl.add_load('dl', 'dl_new.two', 'incremental', source => 'dl.txf_facts', key => '{name,id}');
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'dl_new.two'::regclass AND contype = 'p';

-- everything said
SELECT etl.add_load('dl', 'dl_new.everything', mode => 'incremental', key => '{id}', source => 'dl.txf_facts', version => 'at',
	source_kind => 'changes', depends_on => '{dl.facts}', options => '{"order_free": false, "touch": ["local_at"]}');
SELECT jsonb_pretty(definition), depends_on FROM etl.tasks WHERE task = 'dl_new.everything';
-- declared again it is altered
SELECT etl.add_load('dl', 'dl_new.everything', mode => 'partition', partition_by => 'at', source => 'dl.txf_facts');
SELECT definition, depends_on FROM etl.tasks WHERE task = 'dl_new.everything';

-- a target that is there already is taken as it is
CREATE TABLE dl.mine (id bigint PRIMARY KEY, extra text DEFAULT 'e', name varchar(5), loaded_at timestamptz);
CREATE VIEW dl.txf_mine AS SELECT 1 AS id, 'n' AS name;
SELECT etl.add_load('dl', 'dl.mine', 'full', key => '{id}', options => '{"touch": ["loaded_at"]}');
SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'dl' AND table_name = 'vr_mine';

-- a view that asks for the data interval: what each interval said is kept
CREATE VIEW dl.txf_seen AS SELECT 1 AS id, etl.data_interval_start() AS seen_at;
SELECT etl.add_load('dl', 'dl.seen', 'incremental', key => '{id}');
\d dl.obs_seen
SELECT obj_description('dl.obs_seen'::regclass);
-- unless the intervals are said never to share a key
CREATE VIEW dl.txf_once AS SELECT 1 AS id, etl.run_date() AS day;
SELECT etl.add_load('dl', 'dl.once', 'incremental', key => '{id}', options => '{"order_free": false}');
SELECT to_regclass('dl.obs_once');
-- the view has got a column more: the table first, then all is well
CREATE OR REPLACE VIEW dl.txf_seen AS SELECT 1 AS id, etl.data_interval_start() AS seen_at, 'new' AS note;
SELECT etl.add_load('dl', 'dl.seen', 'incremental', key => '{id}');
ALTER TABLE dl.seen ADD COLUMN note text;
SELECT etl.add_load('dl', 'dl.seen', 'incremental', key => '{id}');
SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'dl' AND table_name = 'obs_seen';
SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'dl' AND table_name = 'vr_seen';

--
-- What is refused
--
SELECT etl.add_load('dl_missing', 'dl.t', 'full', source => 'dl.txf_facts');
SELECT etl.add_load('dl', 'dl.t', 'full');
SELECT etl.add_load('dl', 'dl.t', 'full', source => 'dl.nosuch');
SELECT etl.add_load('dl', 'dl.t', 'full', source => 'nosuch');
SELECT etl.add_load('dl', 'dl.t', 'merge', source => 'dl.txf_facts');
SELECT etl.add_load('dl', 'dl.t', NULL, source => 'dl.txf_facts');
SELECT etl.add_load('dl', 'dl.t', 'incremental', source => 'dl.txf_facts');
SELECT etl.add_load('dl', 'dl.t', 'incremental', source => 'dl.txf_facts', key => '{}');
SELECT etl.add_load('dl', 'dl.t', 'incremental', source => 'dl.txf_facts', key => '{id,nosuch}');
SELECT etl.add_load('dl', 'dl.t', 'full', source => 'dl.txf_facts', key => '{ID}');
SELECT etl.add_load('dl', 'dl.t', 'incremental', source => 'dl.txf_facts', key => '{id}', version => 'nosuch');
SELECT etl.add_load('dl', 'dl.t', 'partition', source => 'dl.txf_facts');
SELECT etl.add_load('dl', 'dl.t', 'partition', source => 'dl.txf_facts', partition_by => 'nosuch');
SELECT etl.add_load('dl', 'dl.t', 'partition', source => 'dl.txf_facts', partition_by => 'name');
SELECT etl.add_load('dl', 'dl.t', 'full', source => 'dl.txf_facts', source_kind => 'delta');
SELECT etl.add_load('dl', 'dl.t', 'full', source => 'dl.txf_facts', options => '{"tuch": ["name"]}');
SELECT etl.add_load('dl', 'dl.t', 'full', source => 'dl.txf_facts', options => '{"touch": ["nosuch"]}');
SELECT etl.add_load('dl', 'dl.t', 'incremental', source => 'dl.txf_facts', key => '{id}', options => '{"order_free": 1}');
SELECT etl.add_load('dl', 'dl.t', 'full', source => 'dl.txf_facts', depends_on => '{nosuch}');
SELECT etl.add_load('dl', 'dl.t', 'full', source => 'dl.txf_facts', options => '[]');
SELECT to_regclass('dl.t');
-- the target cannot hold what the view gives
CREATE TABLE dl.narrow (id bigint, name text GENERATED ALWAYS AS ('g') STORED);
SELECT etl.add_load('dl', 'dl.narrow', 'full', source => 'dl.txf_facts');
SELECT etl.add_load('dl', 'dl.txf_facts', 'full', source => 'dl.txf_mine');
CREATE VIEW dl.a_view AS SELECT 1 AS id, 'n' AS name;
SELECT etl.add_load('dl', 'dl.a_view', 'full', source => 'dl.txf_mine');
CREATE VIEW dl.txf_twice AS SELECT 1 AS id, point '(1,2)' AS p;
SELECT etl.add_load('dl', 'dl.twice', 'full', key => '{p}');
-- a raw table is filled by an extraction, not by a load as well
CREATE SERVER dl_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:9');
SELECT etl.add_extract('dl', 'dl.orders', 'dl_api');
CREATE VIEW dl.txf_orders AS SELECT * FROM dl.orders;
SELECT etl.add_load('dl', 'dl.orders', 'full');
-- only the kind of error counts here
\set VERBOSITY sqlstate
SELECT etl.add_load('dl', NULL, 'full', source => 'dl.txf_facts');
SELECT etl.add_load('dl', 'dl.t', 'full', source => 'dl.txf_facts', options => '{"touch": "name"}');
SELECT etl.add_load('dl', 'dl.t', 'full', source => 'dl.txf_facts', options => '{"touch": [1]}');
SELECT etl.add_load('dl', 'dl.t', 'incremental', source => 'dl.txf_facts', key => '{id}', options => '{"order_free": "maybe"}');
SELECT etl.add_load('dl', 'dl.t', 'full', source => 'dl.txf_facts', key => '{id,id}');
SELECT etl.add_load('dl', 'dl.t', 'full', source => 'dl.txf_facts', key => '{id,NULL}');
\set VERBOSITY default
SELECT to_regclass('dl.t');

--
-- Names
--
CREATE SCHEMA "Dl Mixed";
CREATE VIEW "Dl Mixed"."txf_Order Lines" AS SELECT 1 AS "Order Id", 'x' AS "select", 2 AS "Qu""ote";
SELECT etl.add_load('dl', '"Dl Mixed"."Order Lines"', 'incremental', key => '{Order Id}');
SELECT definition FROM etl.tasks WHERE task = '"Dl Mixed"."Order Lines"';
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns FROM pg_attribute WHERE attrelid = '"Dl Mixed"."vr_Order Lines"'::regclass AND attnum > 0;
DO $$ BEGIN EXECUTE format('CREATE VIEW dl.%I AS SELECT 1 AS id, etl.run_date() AS d', 'txf_' || repeat('n', 59)); END $$;
SELECT etl.add_load('dl', 'dl.' || repeat('n', 59), 'incremental', key => '{id}');
SELECT etl.add_load('dl', 'dl.' || repeat('n', 60), 'full', source => 'dl.txf_facts');
SELECT etl.add_load('dl', 'etl.t', 'full', source => 'dl.txf_facts');
SELECT relname FROM pg_class WHERE relname ~ 'nnnn' AND relnamespace = 'dl'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1;

--
-- Checks
--
SELECT etl.add_check('dl', 'dl.facts', 'not_null', '{"columns": ["id", "name"]}');
SELECT etl.add_check('dl', 'dl.facts', 'unique', '{"columns": ["id"]}', name => 'one_row_a_fact', severity => 'warn');
SELECT etl.add_check('dl', 'dl.mine', 'relationships', '{"columns": ["id"], "to": "dl.facts"}');
SELECT etl.add_check('dl', 'dl.mine', 'relationships', '{"columns": ["id"], "to": "dl.facts", "to_columns": ["id"]}', name => 'mine_facts');
SELECT etl.add_check('dl', 'dl.facts', 'row_count', '{"min": 1, "max": 10}');
SELECT task, target, definition, depends_on FROM etl.tasks WHERE kind = 'check' ORDER BY task;
-- any table or view can be checked
SELECT etl.add_check('dl', 'dl.a_view', 'row_count', '{"min": 0}');

SELECT etl.add_check('dl', 'dl.nosuch', 'row_count', '{"min": 1}');
SELECT etl.add_check('dl', 'dl.facts', 'freshness', '{}');
SELECT etl.add_check('dl', 'dl.facts', NULL, '{}');
SELECT etl.add_check('dl', 'dl.facts', 'unique');
SELECT etl.add_check('dl', 'dl.facts', 'unique', '{"columns": []}');
SELECT etl.add_check('dl', 'dl.facts', 'unique', '{"columns": "id"}');
SELECT etl.add_check('dl', 'dl.facts', 'unique', '{"columns": ["nosuch"]}');
SELECT etl.add_check('dl', 'dl.facts', 'unique', '{"column": ["id"]}');
SELECT etl.add_check('dl', 'dl.facts', 'unique', '[]');
SELECT etl.add_check('dl', 'dl.facts', 'unique', NULL);
SELECT etl.add_check('dl', 'dl.facts', 'relationships', '{"columns": ["id"]}');
SELECT etl.add_check('dl', 'dl.facts', 'relationships', '{"columns": ["id"], "to": "dl.nosuch"}');
SELECT etl.add_check('dl', 'dl.facts', 'relationships', '{"columns": ["id", "name"], "to": "dl.mine", "to_columns": ["id"]}');
SELECT etl.add_check('dl', 'dl.facts', 'relationships', '{"columns": ["day"], "to": "dl.mine"}');
SELECT etl.add_check('dl', 'dl.facts', 'row_count', '{}');
SELECT etl.add_check('dl', 'dl.facts', 'row_count', '{"min": "1"}');
SELECT etl.add_check('dl', 'dl.facts', 'row_count', '{"min": -1}');
SELECT etl.add_check('dl', 'dl.facts', 'row_count', '{"max": 1.5}');
SELECT etl.add_check('dl', 'dl.facts', 'row_count', '{"min": 1}', severity => 'fatal');
SELECT etl.add_check('dl', 'dl.facts', 'row_count', '{"min": 1}', severity => NULL);
SELECT etl.add_check('dl', 'dl.facts', 'row_count', '{"min": 1}', options => '{"scope": "run"}');
\set VERBOSITY sqlstate
SELECT etl.add_check('dl', 'dl.facts', 'row_count', '{"min": 3, "max": 2}');
SELECT etl.add_check('dl', 'dl.facts', 'row_count', '{"min": 1}', name => '');
SELECT etl.add_check('dl', 'dl.facts', 'relationships', '{"columns": ["name"], "to": "dl.mine", "to_columns": ["id"]}');
\set VERBOSITY default

DROP SCHEMA dl, dl_new, "Dl Mixed" CASCADE;
SELECT etl.drop_pipeline('dl');
DROP SERVER dl_api;
