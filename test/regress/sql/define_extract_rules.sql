-- What an extraction says about pages, errors, watermarks, intervals and items: what is
-- accepted and how it is kept, what is refused and what the hint says is allowed.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
-- What becomes of a declaration: what is kept of it, or the error.
CREATE FUNCTION pg_temp.declared(arguments text, kept text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	m text; d text; h text;
BEGIN
	EXECUTE format('SELECT etl.add_extract(''der'', ''der_raw.p'', ''der_api'', %s)', arguments);
	RETURN (SELECT coalesce(definition #>> string_to_array(kept, ','), '(not kept)') FROM etl.tasks WHERE pipeline = 'der' AND task = 'der_raw.p');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n\t', SQLSTATE || ' ' || m, nullif(d, ''), nullif(h, ''));
END
$$;
CREATE FUNCTION pg_temp.declared_as(argument text, kept text, VARIADIC texts text[]) RETURNS SETOF text
LANGUAGE sql AS $$ SELECT t || E'\n\t' || pg_temp.declared(format(argument, t), kept) FROM unnest(texts) WITH ORDINALITY u(t, n) ORDER BY n $$;
SELECT etl.create_pipeline('der');
CREATE SERVER der_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://api.example.com');
CREATE SCHEMA der_raw;
CREATE VIEW der_raw.shops AS SELECT 1 AS shop_id, 'one' AS name;
\pset format unaligned
\pset tuples_only
\set ECHO all

--
-- Pagination
--
SELECT pg_temp.declared_as('pagination => %L', 'pagination',
	'{"type": "auto"}', '{"type": "offset"}', '{"type": "offset", "size": 50, "total": "$.meta.total", "parallel": false}',
	'{"type": "page_number", "total_pages_header": "X-Total-Pages"}', '{"type": "page_number", "total_header": "x_total", "has_more": "$.more"}',
	'{"type": "cursor", "cursor": "$.next"}', '{"type": "cursor", "header": "X-Next", "parameter": "after", "size_parameter": "limit", "size": 10}',
	'{"type": "cursor", "last_record": "$.id", "body_parameter": "$.query.after"}', '{"type": "next_url"}', '{"type": "next_url", "url": "$[\"@odata.nextLink\"]"}');
SELECT pg_temp.declared_as('pagination => %L', 'pagination',
	'{"type": null}', '{"type": "auto", "cursor": "$.next"}', '{"type": "cursor"}', '{"type": "cursor", "cursor": "$.next", "header": "X-Next"}', '{"type": "cursor", "cursor": null}',
	'{"type": "cursor", "cursor": "next"}', '{"type": "cursor", "cursor": "$"}', '{"type": "cursor", "last_record": "$"}', '{"type": "cursor", "cursor": "$.a[*].b"}', '{"type": "cursor", "cursor": "$.a[0]"}',
	'{"type": "cursor", "cursor": 1}', '{"type": "cursor", "header": "X Next"}', '{"type": "cursor", "cursor": "$.next", "size_parameter": "limit"}',
	'{"type": "next_url", "url": ""}', '{"type": "next_url", "url": "$"}', '{"type": "page_number", "total": "$.total", "total_header": "X-Total"}',
	'{"type": "page_number", "total_pages": "$.pages", "total_pages_header": "X-Pages"}', '{"type": "page_number", "parallel": "no"}', '{"type": "page_number", "size": null}',
	'{"type": "offset", "total_pages": "$.pages"}', '{"type": "offset", "size": 0}', '{"type": "offset", "max_pages": 10000000000}', '{"type": "offset", "start": "0"}', '{"type": "link_header", "total": "$.a[*]"}');

--
-- Answers that are not simply a page
--
SELECT pg_temp.declared_as('on_status => %L', 'rules', '{}', '{"404": "absent"}', '{"5xx": "retry", "4xx": "fail", "404": "ignore", "503": "rate_limited"}');
SELECT pg_temp.declared_as('on_status => %L', 'rules', '[]', '"404"', '{"404": "skip"}', '{"404": null}', '{"404": ["ignore"]}', '{"40": "ignore"}', '{"600": "ignore"}', '{"4XX": "ignore"}', '{"": "ignore"}', '{"4*": "ignore"}');
SELECT pg_temp.declared_as('error_rules => %L', 'rules', '[]', '[{"status": 409, "action": "retry"}]', '[{"status": ["409", "5xx", 410], "action": "retry"}, {"contains": "x", "action": "ignore"}]',
	'[{"path": "$.error", "action": "fail", "message": "it says no"}]', '[{"status": 200, "path": "$.ok", "equals": false, "action": "stop_pagination"}]',
	'[{"path": "$.code", "equals": 1.50, "contains": "1", "action": "refresh_auth"}]');
SELECT pg_temp.declared('on_status => ''{"404": "absent"}'', error_rules => ''[{"status": 404, "contains": "gone", "action": "fail"}]''', 'rules');
SELECT pg_temp.declared_as('error_rules => %L', 'rules', '{}', '"fail"', '["fail"]', '[null]', '[{}]', '[{"action": "fail"}]', '[{"status": 404}]', '[{"status": 404, "action": "skip"}]', '[{"status": 404, "action": null}]',
	'[{"status": null, "action": "ignore"}]', '[{"status": [], "action": "ignore"}]', '[{"status": [null], "action": "ignore"}]', '[{"status": {"a": 1}, "action": "ignore"}]', '[{"status": true, "action": "ignore"}]',
	'[{"status": 404.5, "action": "ignore"}]', '[{"status": 99, "action": "ignore"}]', '[{"status": [404, "6xx"], "action": "ignore"}]', '[{"status": 404, "action": "ignore", "when": "now"}]',
	'[{"equals": 1, "action": "fail"}]', '[{"path": "$.a", "equals": null, "action": "fail"}]', '[{"path": "$.a", "equals": [1], "action": "fail"}]', '[{"path": 1, "action": "fail"}]', '[{"path": "error", "action": "fail"}]',
	'[{"path": "$", "action": "fail"}]', '[{"path": "$.a[*]", "action": "fail"}]', '[{"contains": "", "action": "fail"}]', '[{"contains": 1, "action": "fail"}]', '[{"contains": "x", "action": "fail", "message": 1}]');

--
-- Watermarks
--
SELECT pg_temp.declared_as('watermark => %L, query => ''{"since": "{watermark}"}''', 'watermark',
	'{"cursor": "$.updated_at", "start": "2024-01-01"}', '{"cursor": "$.id", "start": 0, "type": "number", "lag": 10, "on_missing": "skip"}', '{"cursor": "$.key", "start": "", "type": "text", "on_missing": "load"}',
	'{"cursor": "$.updated_at", "start": "2024-01-01T00:00:00+02:00", "lag": "3 hours"}');
SELECT pg_temp.declared('watermark => ''{"cursor": "$.at", "start": "2024-01-01", "item": ["shop_id"]}'', for_each => ''der_raw.shops'', path => ''/{shop_id}?since={watermark}''', 'watermark');
SELECT pg_temp.declared_as('watermark => %L', 'watermark', '[]', '"x"', '{}', '{"cursor": "$.at"}', '{"cursor": "at", "start": "2024-01-01"}', '{"cursor": "$", "start": "2024-01-01"}', '{"cursor": null, "start": "2024-01-01"}',
	'{"cursor": "$.at", "start": null}', '{"cursor": "$.at", "start": {}}', '{"cursor": "$.at", "start": "soon"}', '{"cursor": "$.at", "start": "now"}', '{"cursor": "$.at", "start": "yesterday 12:00"}', '{"cursor": "$.at", "start": "infinity"}', '{"cursor": "$.at", "start": 0}',
	'{"cursor": "$.at", "start": "x", "type": "number"}', '{"cursor": "$.at", "start": "NaN", "type": "number"}', '{"cursor": "$.at", "start": "2024-01-01", "type": "date"}', '{"cursor": "$.at", "start": "2024-01-01", "type": null}',
	'{"cursor": "$.at", "start": "2024-01-01", "lag": "long"}', '{"cursor": "$.at", "start": "2024-01-01", "lag": "-1 hour"}', '{"cursor": "$.at", "start": 0, "type": "number", "lag": "3 hours"}', '{"cursor": "$.at", "start": 0, "type": "number", "lag": -1}',
	'{"cursor": "$.at", "start": "a", "type": "text", "lag": "1"}', '{"cursor": "$.at", "start": "2024-01-01", "on_missing": "ignore"}', '{"cursor": "$.at", "start": "2024-01-01", "on_missing": null}',
	'{"cursor": "$.at", "start": "2024-01-01", "item": "shop_id"}', '{"cursor": "$.at", "start": "2024-01-01", "item": ["shop_id"]}', '{"cursor": "$.at", "start": "2024-01-01", "end": "2025-01-01"}');
SELECT pg_temp.declared('watermark => ''{"cursor": "$.at", "start": "2024-01-01", "item": ["nosuch"]}'', for_each => ''der_raw.shops''', 'watermark');
SELECT pg_temp.declared('watermark => ''{"cursor": "$.at", "start": "2024-01-01"}'', reads => ''current'', record_time => ''$.at''', 'watermark');
SELECT pg_temp.declared('watermark => ''{"cursor": "$.at", "start": "2024-01-01"}'', record_time => ''$.at''', 'watermark');
SELECT pg_temp.declared('query => ''{"since": "{watermark}"}''', 'query');

--
-- Intervals
--
SELECT pg_temp.declared('reads => ''current'', record_time => ''$.updated_at''', 'reads'), pg_temp.declared('record_time => ''$.updated_at''', 'record_time'),
	pg_temp.declared('recheck => ''7 days'', on_status => ''{"404": "absent"}''', 'recheck'), pg_temp.declared('retain => ''400 days''', 'retain');
SELECT pg_temp.declared_as('reads => %s', 'reads', 'NULL', '''present''', '''current''');
SELECT pg_temp.declared_as('record_time => %L', 'record_time', '', 'updated_at', '$', '$.a[*]');
SELECT pg_temp.declared_as('on_status => ''{"404": "absent"}'', recheck => %L', 'recheck', '0', '-1 day', '2 years');
SELECT pg_temp.declared_as('recheck => ''1 day'', on_status => %L', 'recheck', '{}', '{"404": "ignore"}');
SELECT pg_temp.declared_as('retain => %L', 'retain', '0', '59 minutes', '-1 year');

--
-- Items and requests
--
SELECT pg_temp.declared('for_each => ''der_raw.shops'', on_item_error => ''skip''', 'on_item_error');
SELECT pg_temp.declared_as('for_each => ''der_raw.shops'', on_item_error => %s', 'on_item_error', 'NULL', '''ignore''');
SELECT pg_temp.declared('on_item_error => ''skip''', 'on_item_error');
SELECT pg_temp.declared_as('method => %s', 'method', '''GET''', '''POST''', '''PUT''', '''post''', 'NULL');
SELECT pg_temp.declared('body => ''{"a": 1}''', 'body');
SELECT pg_temp.declared_as('options => %L', 'options', '{"conditional": false}', '{"conditional": "no"}', '{"conditional": null}', '{"unconditional": true}', '[]');

\pset format aligned
\pset tuples_only off
SELECT etl.drop_pipeline('der', drop_data => true);
DROP SCHEMA der_raw CASCADE;
DROP SERVER der_api;
