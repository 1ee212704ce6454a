-- Extractions as they are declared: what is accepted, what is made, what is refused and how.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SERVER de_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://api.example.com');
CREATE FOREIGN DATA WRAPPER regress_etl_other;
CREATE SERVER de_other FOREIGN DATA WRAPPER regress_etl_other;
SELECT etl.create_pipeline('de');

--
-- The least, and everything
--
SELECT etl.add_extract('de', 'de_raw.minimal', 'de_api');
SELECT jsonb_pretty(definition) FROM etl.tasks WHERE pipeline = 'de' AND task = 'de_raw.minimal';
CREATE VIEW de_raw.shops AS SELECT n AS shop_id, 'shop ' || n AS "Shop Name" FROM generate_series(1, 2) n;
SELECT etl.add_extract('de', 'de_raw.orders', server => 'de_api', path => '/shops/{shop_id}/orders',
	query => '{"updated_after": "{data_interval_start}", "until": "{data_interval_end:YYYY-MM-DD\"T\"HH24:MI}", "limit": 200,
			   "all": true, "day": "{ds}", "run": "{run_id}", "name": "{Shop Name}", "literal": "{{x}}"}',
	headers => '{"Accept": "application/json", "X-Shop": "{shop_id}"}',
	records => '$.data[*]', pagination => '{"type": "page_number", "size_parameter": "limit", "size": 100}',
	key => '{$.id,$.user.id}', version => '$.updated_at', for_each => 'de_raw.shops', on_rerun => 'append',
	depends_on => '{de_raw.minimal}');
SELECT jsonb_pretty(definition), depends_on FROM etl.tasks WHERE pipeline = 'de' AND task = 'de_raw.orders';

-- what was made: schema, table, partition, views; vl_ for those with a key
SELECT c.relname, c.relkind FROM pg_class c WHERE c.relnamespace = 'de_raw'::regnamespace AND c.relkind IN ('r', 'p', 'v') ORDER BY 1;
\d de_raw.orders
SELECT attname, attcompression FROM pg_attribute WHERE attrelid = 'de_raw.orders_shared'::regclass AND attname = 'payload';
SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'de_raw' AND table_name = 'vr_orders' ORDER BY ordinal_position;
SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'de_raw' AND table_name = 'vl_orders';
SELECT obj_description('de_raw.orders'::regclass), obj_description('de_raw.vr_orders'::regclass), obj_description('de_raw.vl_orders'::regclass);

-- declared again it is altered; the key decides whether there is a vl_ view
SELECT etl.add_extract('de', 'de_raw.minimal', 'de_api', key => '{$.id}');
SELECT to_regclass('de_raw.vl_minimal');
SELECT etl.add_extract('de', 'de_raw.minimal', 'de_api', path => '/other');
SELECT to_regclass('de_raw.vl_minimal');
SELECT etl.add_extract('de', 'de_raw.minimal', 'de_api', key => '{}');
SELECT definition - 'pagination' FROM etl.tasks WHERE task = 'de_raw.minimal';
SELECT count(*) FROM etl.tasks WHERE pipeline = 'de';

--
-- Placeholders
--
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => '/{nosuch}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => '/{shop_id}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => '/{shop}', for_each => 'de_raw.shops');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => '/{DS}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => '/{ ds }');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => '/{}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => '/{ds');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => '/ds}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => '/{{{ds}}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => '/{ds:YYYY}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => '/{run_id:999}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => '/{run_id:}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', query => '{"since": "{yesterday}"}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', headers => '{"X-Day": "{day}"}');
-- escapes and formats
SELECT template, etl._expand(template, '{"ds": "2024-03-31", "data_interval_start": "2024-03-31T00:30:00Z", "a b": "ä/?&", "none": null}', 'Europe/Berlin', encode)
FROM (VALUES ('{ds}', true), ('{{ds}}', true), ('{{{ds}}}', true), ('{data_interval_start}', true), ('{data_interval_start}', false),
			 ('{data_interval_start:YYYY-MM-DD HH24:MI}', false), ('{data_interval_start:HH24:MI:SS}', true), ('/x/{a b}/y', true),
			 ('/x/{a b}/y', false), ('[{none}]', true), ('', true), ('no placeholder', true), (E'two\n{ds} lines', false)) v(template, encode);

--
-- Query and headers
--
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', query => '[]');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', query => NULL);
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', query => '{"a": null}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', query => '{"a": [1, 2]}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', query => '{"": "x"}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', headers => '"x"');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', headers => '{"X-A": "one\r\nX-B: two"}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', headers => '{"X-A\n": "one"}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', headers => '{"authorization": "Bearer x"}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', headers => '{"Host": "elsewhere"}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', headers => '{"Cookie": "a=b"}');

--
-- Paths into JSON
--
SELECT p, etl._check_record_path(p) FROM unnest(ARRAY['$', '$[*]', '$.data[*]', '$.a.b[*]', '$["data set"].items[*]', '$."data set"[*]', '$[*].items[*]', '$.x-y', '$.größe[*]']) p;
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', records => '');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', records => 'data[*]');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', records => '$.data[0]');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', records => '$..id');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', records => '$.data[*] ? (@.id > 1)');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', records => '$.data[');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', records => '$["a\"b"]');
SELECT p, etl.json_path_keys(p) FROM unnest(ARRAY['$.id', '$.user.id', '$["a b"]', '$."a b".c', '$.tags[0]', '$[0]', '$["a.b"]["0"]', '$.a-b', '$.größe']) p;
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', key => '{id}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', key => '{$}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', key => '{$.tags[*]}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', key => '{$.tags[-1]}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', key => '{$.id}', version => 'updated_at');

--
-- Pagination
--
SELECT p, etl._check_pagination(p::jsonb) FROM unnest(ARRAY[NULL, '{"type": "none"}', '{"type": "link_header"}', '{"type": "link_header", "max_pages": 3}',
	'{"type": "page_number"}', '{"type": "page_number", "parameter": "p", "start": 0, "size_parameter": "n", "size": 50, "max_pages": 10}']) p;
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', pagination => '{}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', pagination => '[]');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', pagination => '"link_header"');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', pagination => '{"type": "magic"}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', pagination => '{"type": "link_header", "size": 3}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', pagination => '{"type": "page_number", "size": 0}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', pagination => '{"type": "page_number", "max_pages": "3"}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', pagination => '{"type": "page_number", "start": 1.5}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', pagination => '{"type": "page_number", "start": -1}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', pagination => '{"type": "page_number", "parameter": 1}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', pagination => '{"type": "page_number", "size_parameter": "limit"}');

--
-- Everything else that is refused
--
SELECT etl.add_extract('de_missing', 'de_raw.p', 'de_api');
SELECT etl.add_extract('de', 'de_raw.p', 'de_missing');
SELECT etl.add_extract('de', 'de_raw.p', 'de_other');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', for_each => 'de_raw.nosuch');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', for_each => 'nosuch');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', on_rerun => 'merge');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', on_rerun => NULL);
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', depends_on => '{de_raw.nosuch}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', depends_on => '{de_raw.p}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', options => '{"parallel": 4}');
CREATE TABLE de_raw.not_raw (id integer);
SELECT etl.add_extract('de', 'de_raw.not_raw', 'de_api');
SELECT etl.add_extract('de', 'de_raw.shops', 'de_api');
-- only the kind of error counts here
\set VERBOSITY sqlstate
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', records => NULL);
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', key => '{$.id,NULL}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', version => '$.updated_at');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', headers => '{"X A": "one"}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', headers => '{"X:A": "one"}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', pagination => '{"type": "page_number", "parameter": ""}');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => 'https://elsewhere.example.com/x');
SELECT etl.add_extract('de', 'de_raw.p', 'de_api', path => 'orders');
SELECT etl.add_extract('de', 'de_raw.p', NULL);
SELECT etl.add_extract('de', NULL, 'de_api');
SELECT etl.add_extract('de', repeat('s', 64) || '.n', 'de_api');
-- the partition of another raw table
SELECT etl.add_extract('de', 'de_raw.minimal_shared', 'de_api');
\set VERBOSITY default
-- of all these nothing remains
SELECT to_regclass('de_raw.p'), count(*) FROM etl.tasks WHERE task = 'de_raw.p';

--
-- Names
--
SELECT etl.add_extract('de', 'orders', 'de_api');
SELECT etl.add_extract('de', 'a.b.c', 'de_api');
SELECT etl.add_extract('de', 'de_raw.', 'de_api');
SELECT etl.add_extract('de', 'de_raw.a b', 'de_api');
SELECT etl.add_extract('de', 'pg_catalog.orders', 'de_api');
SELECT etl.add_extract('de', 'pg_temp.orders', 'de_api');
SELECT etl.add_extract('de', 'etl.orders', 'de_api');
SELECT etl.add_extract('de', 'information_schema.orders', 'de_api');
SELECT etl.add_extract('de', 'de_raw.' || repeat('n', 60), 'de_api');
SELECT etl.add_extract('de', 'de_raw."' || repeat('ä', 30) || '"', 'de_api');
-- the longest there are; 59 bytes, whatever the number of characters
SELECT etl.add_extract('de', 'de_raw.' || repeat('n', 59), 'de_api', key => '{$.id}');
SELECT etl.add_extract('de', 'de_raw."' || repeat('ä', 29) || 'x"', 'de_api', key => '{$.id}');
-- two long ones that differ at the end only do not get in each other's way
SELECT etl.add_extract('de', 'de_raw.' || repeat('n', 58) || 'm', 'de_api', key => '{$.id}');
-- folded as SQL does, unless quoted
SELECT etl.add_extract('de', 'DE_Raw.Folded', 'de_api');
SELECT etl.add_extract('de', '"De ""Raw"""."Mixed Case"', 'de_api', key => '{$.id}');
SELECT etl.add_extract('de', 'de_raw.select', 'de_api');
-- depends_on names tasks as SQL names tables
SELECT etl.add_extract('de', 'de_raw.later', 'de_api', depends_on => '{de_raw.select,DE_Raw.Folded,"\"De \"\"Raw\"\"\".\"Mixed Case\""}');
SELECT cardinality(depends_on) FROM etl.tasks WHERE task = 'de_raw.later';
SELECT task, target FROM etl.tasks WHERE pipeline = 'de' ORDER BY task COLLATE "C";
SELECT n.nspname, c.relname, octet_length(c.relname::text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname ~ '^De ' OR n.nspname = 'de_raw' AND c.relname ~ '(nnn|ä|select|folded)') AND c.relkind IN ('r', 'p', 'v')
  AND NOT c.relispartition ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C";
-- each table has a shared partition of its own
SELECT count(*), count(DISTINCT i.inhparent) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'p' AND (n.nspname ~ '^De ' OR n.nspname = 'de_raw');

SELECT etl.drop_pipeline('de', drop_data => true);
SELECT c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname ~* '^de_raw|^De ' AND c.relkind IN ('r', 'p', 'v') ORDER BY 1;
DROP SCHEMA de_raw CASCADE;
DROP SCHEMA "De ""Raw""" CASCADE;
DROP SERVER de_api;
DROP FOREIGN DATA WRAPPER regress_etl_other CASCADE;
