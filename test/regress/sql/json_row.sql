-- Typed columns from a document in one pass: what ->> and a cast give, from one reading.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA jr;
CREATE TYPE jr.fields AS (id bigint, n integer, name text, amount numeric(10,2), exact numeric, ok boolean, at timestamptz, on_day date, code varchar(3), tags jsonb, parts integer[]);
SELECT * FROM etl.json_row('{"id": 9007199254740993, "n": -5, "name": "a \"b\"", "amount": 1.239, "exact": 0.10, "ok": true, "at": "2024-01-01T00:00:00+01:00", "on_day": "2024-02-29", "code": "abc", "tags": [1, {"x": null}], "parts": "{1,2}"}', NULL::jr.fields);
-- absent, null, and of another type: as text, as ->> gives it
SELECT * FROM etl.json_row('{"id": "12", "name": null, "ok": "yes", "n": 3e2}', NULL::jr.fields);
SELECT (etl.json_row(d, NULL::jr.fields)).name FROM (VALUES ('{"name": 1.50}'::jsonb), ('{"name": true}'), ('{"name": [1, 2]}'), ('{"name": {"a": "b"}}'), ('{}'), ('[]'), ('"x"'), (NULL)) v(d);
-- the same as the chain, column by column
SELECT count(*) AS differences FROM (
	SELECT jsonb_build_object('id', i, 'n', i % 7, 'name', repeat('x', i % 3000), 'amount', i / 7.0, 'exact', i / 3.0, 'ok', i % 2 = 0, 'at', timestamptz '2024-01-01Z' + i * interval '1 hour', 'tags', jsonb_build_array(i)) AS d
	FROM generate_series(1, 500) i OFFSET 0) x CROSS JOIN LATERAL (SELECT etl.json_row(d, NULL::jr.fields) AS r OFFSET 0) y
WHERE ((r).id, (r).n, (r).name, (r).amount, (r).exact, (r).ok, (r).at, (r).tags)
	IS DISTINCT FROM ((d ->> 'id')::bigint, (d ->> 'n')::integer, d ->> 'name', (d ->> 'amount')::numeric(10,2), (d ->> 'exact')::numeric, (d ->> 'ok')::boolean, (d ->> 'at')::timestamptz, d -> 'tags');
-- paths, one a column; with dots they go into objects
CREATE TYPE jr.two AS (city text, lines jsonb);
SELECT * FROM etl.json_row('{"customer": {"address": {"city": "Rome"}}, "lines": [1]}', NULL::jr.two, '{customer.address.city,lines}');
SELECT * FROM etl.json_row('{"customer": "x", "lines": null}', NULL::jr.two, '{customer.address.city,lines}');
-- a value its type does not take: an error, or null for that column alone
SELECT pg_temp.refusal(format('SELECT etl.json_row(%L, NULL::jr.fields)', d)), etl.json_row(d, NULL::jr.fields, errors => 'null')
FROM (VALUES ('{"id": 1.5, "n": 1}'::jsonb), ('{"id": 1e30, "n": 1}'), ('{"n": 3000000000, "id": 1}'), ('{"ok": "perhaps", "n": 1}'), ('{"at": "soon", "n": 1}'), ('{"on_day": "2023-02-29", "n": 1}'), ('{"code": "abcd", "n": 1}'), ('{"amount": 1e9, "n": 1}'), ('{"parts": [1], "n": 1}')) v(d);
-- in a view, over many rows, with a plan of one reading a row
CREATE TABLE jr.raw (id integer, payload jsonb);
INSERT INTO jr.raw SELECT i, jsonb_build_object('customer', jsonb_build_object('address', jsonb_build_object('city', 'c' || i % 3)), 'lines', i) FROM generate_series(1, 9) i;
CREATE VIEW jr.v AS SELECT x.id, (x.r).city, (x.r).lines::integer AS line FROM (SELECT id, etl.json_row(payload, NULL::jr.two, '{customer.address.city,lines}') AS r FROM jr.raw OFFSET 0) x;
SELECT city, sum(line) FROM jr.v GROUP BY 1 ORDER BY 1;
EXPLAIN (COSTS OFF) SELECT * FROM jr.v;
-- a table's row type; dropped columns are passed over
ALTER TABLE jr.raw ADD COLUMN extra integer;
ALTER TABLE jr.raw DROP COLUMN extra;
ALTER TABLE jr.raw ADD COLUMN other text;
ALTER TABLE jr.raw DROP COLUMN other, ADD COLUMN more text;
SELECT * FROM etl.json_row('{"payload": 1, "more": "x"}', NULL::jr.raw);
-- what is refused
SELECT pg_temp.refusal(s) FROM unnest(ARRAY[
	$$SELECT etl.json_row('{}', 1)$$, $$SELECT etl.json_row('{}', NULL::record)$$, $$SELECT etl.json_row('{}', NULL::jr.two, '{a}')$$, $$SELECT etl.json_row('{}', NULL::jr.two, '{a,b,c}')$$,
	$$SELECT etl.json_row('{}', NULL::jr.two, '{a,NULL}')$$, $$SELECT etl.json_row('{}', NULL::jr.two, '{{a,b}}')$$, $$SELECT etl.json_row('{}', NULL::jr.two, errors => 'skip')$$]) s;
DROP SCHEMA jr CASCADE;
