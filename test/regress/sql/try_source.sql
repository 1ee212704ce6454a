-- Trying a source before anything is declared: etl.peek and etl.test_source.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
\getenv api ETL_TEST_API
CREATE SERVER ts_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url :'api', rate_limit '100/minute');
CREATE SERVER ts_nowhere FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:9');
CREATE SERVER ts_refused FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://169.254.169.254');

-- the first records; where they are is found out
SELECT * FROM etl.peek('ts_api', '/pages/ts', '{"pages": 2, "per_page": 5}', max_records => 2);
SELECT record_number, record -> 'number' AS number FROM etl.peek('ts_api', '/repos/apache/airflow/issues', '{"per_page": 3}', max_records => 2);
SELECT record_number, record FROM etl.peek('ts_api', '/pages/ts', '{"per_page": 2}', records => '$.data[*]');
SELECT record_number, record ->> 'page' AS page FROM etl.peek('ts_api', '/pages/ts', records => '$');
SELECT record -> 'method' AS method, record -> 'body' AS body FROM etl.peek('ts_api', '/echo', method => 'POST', body => '{"a": 1}', records => '$');
-- a record that could not be loaded is shown with the reason
SELECT record_number, record IS NULL AS refused, problem FROM etl.peek('ts_api', '/fault/nul_escape', records => '$[*]') WHERE problem IS NOT NULL;
SELECT d, etl._guess_records(d::jsonb) FROM unnest(ARRAY['[]', '[{"a": 1}]', '{}', '{"data": [{"a": 1}], "tags": ["x", "y"]}', '{"a": {"b": {"items": [{"a": 1}]}}}',
	'{"odd name": [{"a": 1}]}', '{"a": [{"x": 1}], "b": [{"x": 1}, {"x": 2}]}', '{"n": 1}', '"text"']) d;

-- how a source is doing
SELECT pg_temp.stable(url) AS url, status, is_well, duration >= interval '0' AS duration, quota_limit, quota_remaining >= 0 AS quota, quota_reset IS NOT NULL AS reset, problem, hint
FROM etl.test_source('ts_api', '/repos/apache/airflow');
SELECT pg_temp.stable(url) AS url, status, is_well, problem, hint FROM etl.test_source('ts_api', '/nowhere');
SELECT url, status, is_well, problem ~ '^connect' AS problem, hint FROM etl.test_source('ts_nowhere');
SELECT url, status, is_well, problem ~ '^address' AS problem, hint FROM etl.test_source('ts_refused');
-- each of them counts
SELECT used > 5 AS used FROM etl.rate_budgets WHERE server = 'ts_api';

-- what goes wrong
SELECT pg_temp.try($$SELECT * FROM etl.peek('ts_api', '/nowhere')$$);
SELECT pg_temp.try($$SELECT * FROM etl.peek('ts_api', '/pages/ts', records => '$.nothing[*]')$$);
SELECT * FROM etl.peek('ts_api', 'pages');
SELECT * FROM etl.peek('ts_api', '/pages/ts', max_records => 0);
SELECT * FROM etl.peek('ts_api', '/pages/ts', format => 'xml');
SELECT * FROM etl.peek('ts_api', '/pages/ts', headers => '{"Authorization": "x"}');
SELECT * FROM etl.peek('ts_missing', '/pages/ts');
SELECT * FROM etl.test_source('ts_missing');
CREATE ROLE regress_ts_nobody;
GRANT USAGE ON FOREIGN SERVER ts_api TO regress_ts_nobody;
SET ROLE regress_ts_nobody;
SELECT * FROM etl.peek('ts_api', '/pages/ts');
SELECT * FROM etl.test_source('ts_api');
RESET ROLE;
DROP SERVER ts_api, ts_nowhere, ts_refused CASCADE;
DROP ROLE regress_ts_nobody;
