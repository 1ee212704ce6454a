-- Bodies of POST requests: placeholders in their strings, GraphQL, a place for the cursor.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SERVER rb_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://api.example.com');
SELECT etl.create_pipeline('rb');
CREATE SCHEMA rb_raw;
CREATE VIEW rb_raw.shops AS SELECT 7 AS shop_id, 'x "y" \ z' AS "Shop Name", 1.50 AS rate, true AS open, NULL::text AS nothing, '{a,b}'::text[] AS tags;

--
-- Filling
--
CREATE FUNCTION pg_temp.filled(body jsonb) RETURNS jsonb
LANGUAGE sql AS $$
	SELECT etl._expand_body(body, (SELECT to_jsonb(s) FROM rb_raw.shops s) || '{"ds": "2024-03-31", "data_interval_start": "2024-03-31T00:30:00Z", "run_id": 12}', 'Europe/Berlin')
$$;
-- one placeholder is its value, with its type; more than one, or one with a format, are text
SELECT pg_temp.filled('{"a": "{shop_id}", "b": "{rate}", "c": "{open}", "d": "{nothing}", "e": "{tags}", "f": "{Shop Name}", "g": "{run_id}", "h": "{ds}"}');
SELECT pg_temp.filled('{"a": "{shop_id}{run_id}", "b": "no. {shop_id}", "c": "{open}?", "d": "<{nothing}>", "e": "{tags}!", "f": "{data_interval_start:YYYY/MM/DD HH24}", "g": " {shop_id}"}');
-- braces; what is no string; member names; deep down
SELECT pg_temp.filled('{"a": "{{ds}}", "b": "{{{ds}}}", "c": "{{", "{ds}": 1, "d": [1.50, null, true, {"e": [["{ds}"], []], "f": {}}]}');
SELECT pg_temp.filled('["{shop_id}", {"big": 123456789012345678901234567890, "query": {"match": {"day": "{ds}"}}}]');
-- GraphQL keeps its braces, wherever a query is
SELECT pg_temp.filled('{"query": "query { viewer { login } }", "variables": {"since": "{ds}", "first": "{shop_id}", "after": null}}');
SELECT pg_temp.filled('[{"query": "{ a {ds} }", "operationName": "{ds}"}, {"inner": {"query": "mutation M($a: Int = 1) @x { b(c: {d: $a}) { {ds} } }"}}]');
-- other query languages do not have any
SELECT pg_temp.filled('{"query": "SELECT * FROM t WHERE day = ''{ds}''"}');
SELECT pg_temp.filled('{"query": "created:>{ds}"}'), pg_temp.filled('{"query": "{ds}"}'), pg_temp.filled('{"query": "{ds} {run_id}"}'), pg_temp.filled('{"text": "{{ a {{ ds }} }}"}');
-- what is a document and what is not
SELECT document, etl._is_graphql(document) FROM unnest(ARRAY['{ viewer { login } }', E'# shop\n  query Q($a: [Int!]!) {\n\ta(x: $a)\n}', 'query{a}', 'query Q{a}', 'subscription @live { a }', 'mutation ($x: In) { y }',
	'fragment F on User { login } query { viewer { ...F } }', E'{a{b}} # end', '{ viewer }', '{ds}', 'query', 'query: {ds}', 'query the {ds} table', 'querying { a }', 'mutation {', '', '{a {b', '{{ds}}']) document;

--
-- Declaring
--
SELECT etl.add_extract('rb', 'rb_raw.search', 'rb_api', path => '/search', method => 'POST', for_each => 'rb_raw.shops', records => '$.hits[*]',
	body => '{"shop": "{shop_id}", "since": "{data_interval_start}", "keep": null, "page": 0, "braces": "{{}}"}', pagination => '{"type": "page_number", "start": 0, "body_parameter": "$.page"}');
SELECT etl.add_extract('rb', 'rb_raw.issues', 'rb_api', path => '/graphql', method => 'POST', records => '$.data.issues.nodes[*]',
	body => '{"query": "query($after: String) { issues(after: $after) { nodes { id } pageInfo { endCursor hasNextPage } } }", "variables": {"after": null}}',
	pagination => '{"type": "cursor", "cursor": "$.data.issues.pageInfo.endCursor", "has_more": "$.data.issues.pageInfo.hasNextPage", "body_parameter": "$.variables.after"}');
SELECT task, definition -> 'method' AS method, definition -> 'body' AS body, definition -> 'pagination' AS pagination FROM etl.tasks WHERE pipeline = 'rb' ORDER BY task;
-- a POST without a body, and a GET without
SELECT etl.add_extract('rb', 'rb_raw.empty', 'rb_api', method => 'POST');

SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', method => 'PUT');
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', body => '{}');
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', method => 'POST', body => '"text"');
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', method => 'POST', body => 'null');
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', method => 'POST', body => '{"a": ["x", {"b c": "{nosuch}"}]}');
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', method => 'POST', body => '{"a": "{ds"}');
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', method => 'POST', body => '{"a": "{run_id:999}"}');
-- nothing but one pair of braces is a placeholder
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', method => 'POST', body => '{"query": "{ viewer }"}');
-- a string of a document cannot be filled
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', method => 'POST', body => '{"query": "query { search(query: \"created:>{ds}\") { nodes { id } } }"}');
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', method => 'POST', body => '{"query": "query { a(b: \"{x}\", c: \"\\\"{data_interval_start:YYYY}\") { d } }"}');
SELECT etl.add_extract('rb', 'rb_raw.braces', 'rb_api', method => 'POST', body => '{"query": "query { a(b: \"{x}\") { ds {ds} } }"}');
-- where the cursor goes
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', pagination => '{"type": "page_number", "body_parameter": "$.page"}');
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', method => 'POST', body => '{"a": {}}', pagination => '{"type": "page_number", "body_parameter": "$.page"}');
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', method => 'POST', body => '{"a": {}}', pagination => '{"type": "page_number", "body_parameter": "$.a"}');
SELECT etl.add_extract('rb', 'rb_raw.p', 'rb_api', method => 'POST', body => '{"a": true}', pagination => '{"type": "page_number", "body_parameter": "$.a"}');

SELECT etl.drop_pipeline('rb', drop_data => true);
DROP SCHEMA rb_raw CASCADE;
DROP SERVER rb_api;
