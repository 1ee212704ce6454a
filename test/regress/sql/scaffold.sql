-- Typed views from raw records: what is printed runs, and loads with parents stand on it.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
\pset format unaligned
\pset tuples_only on
CREATE SERVER scf_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:9');
SELECT etl.create_pipeline('scf');
SELECT etl.add_extract('scf', 'scfraw.orders', 'scf_api', key => '{$.id}');
SELECT pg_temp.refusal($$SELECT etl.scaffold('scfraw.orders')$$);
SELECT loaded FROM etl.feed('scf', 'scfraw.orders', '[
	{"id": 1, "orderedAt": "2024-01-01T10:00:00Z", "due": "2024-02-01", "paid": true, "total": 10.5, "big": 1, "scientific": 3e2, "customer": {"name": "Ann", "address": {"City": "Rome"}},
	 "any": 1, "tags": ["a", "b"], "nothing": null, "uid": "123e4567-e89b-12d3-a456-426614174000",
	 "orderLines": [{"sku": "x", "qty": 2, "id": 7, "discounts": [{"code": "d1", "value": 1}, {"code": "d2", "value": 0.5}]}, {"sku": "y", "qty": 1, "id": 8}]},
	{"id": 2, "orderedAt": "2024-01-02T10:00:00+01:00", "due": null, "paid": false, "total": 7, "big": 12345678901234567890, "scientific": 1, "customer": {"name": "Bob", "address": null},
	 "any": "text", "tags": [], "orderLines": [{"sku": "z", "qty": 3, "id": 9, "discounts": []}], "ordered at": "again", "ORDERED-AT": "and again"},
	{"id": 3, "customer": null, "orderLines": null}]', '2024-01-01T00:00:00Z');
SELECT etl.scaffold('scfraw.orders', 'scfstg') AS printed \gset
SELECT :'printed';
-- it runs as it is
:printed
\pset tuples_only off
\pset format aligned
\x on
SELECT * FROM scfstg.txf_orders ORDER BY id;
\x off
SELECT * FROM scfstg.txf_orders_order_lines ORDER BY 1, 2;
SELECT * FROM scfstg.txf_orders_order_lines_discounts ORDER BY 1, 2, 3;
SELECT * FROM scfstg.txf_orders_tags ORDER BY 1, 2;
-- and so do the loads
SELECT regexp_replace(substr(:'printed', strpos(:'printed', '-- The loads')), '^-- (The.*\n)?', '', 'ng') AS loads \gset
:loads
SELECT task, kind, inserted, updated, deleted FROM etl.transform('scf', '2024-01-01T00:00:00Z');
-- an order that has lost a line
SELECT loaded FROM etl.feed('scf', 'scfraw.orders', '[{"id": 1, "orderLines": [{"sku": "y", "qty": 1}]}, {"id": 4, "orderLines": []}]', '2024-01-02T00:00:00Z');
SELECT task, inserted, updated, deleted FROM etl.transform('scf', '2024-01-02T00:00:00Z') WHERE kind = 'load';
-- what is no array any more is no reason to fail
SELECT loaded FROM etl.feed('scf', 'scfraw.orders', '[{"id": 4, "orderLines": {"sku": "y"}, "tags": "none"}]', '2024-01-03T00:00:00Z');
SELECT count(*) FROM scfstg.txf_orders_order_lines;
SELECT etl.drop_pipeline('scf', drop_data => true);

-- Without a key a record is known by its place; records that are no objects; names that are long, taken, or none
SELECT etl.create_pipeline('scf');
SELECT etl.add_extract('scf', 'scfraw.things', 'scf_api');
SELECT loaded FROM etl.feed('scf', 'scfraw.things', format('[{"load_id": 1, "": 2, "a b": 3, "a_b": 4, "%1$s": 5, "%1$sy": 6, "ünïcödé": 7, "%2$s": [{"%1$s": [1, 2]}], "quo''te\"s": [[1], [2, 3]]}]', repeat('x', 70), repeat('long', 20))::jsonb, '2024-01-01T00:00:00Z');
SELECT etl.scaffold('scfraw.things', 'scfstg') AS printed \gset
:printed
SELECT c.relname, a.attname, format_type(a.atttypid, -1) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 WHERE relnamespace = 'scfstg'::regnamespace AND relname ~ 'things' AND relkind = 'v' ORDER BY 1, attnum;
SELECT sum(value) FROM scfstg.txf_things_quo_te_s_value;
SELECT etl.drop_pipeline('scf');
SELECT pg_temp.refusal($$SELECT etl.scaffold('etl.task')$$), pg_temp.refusal($$SELECT etl.scaffold(NULL)$$), pg_temp.refusal($$SELECT etl.scaffold('scfraw.things', 'pg_x')$$);
DROP SERVER scf_api;
DROP SCHEMA scfraw, scfstg CASCADE;
