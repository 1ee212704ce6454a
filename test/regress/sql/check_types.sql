-- Every type of check passing and failing, with filter, mostly, scope and severity; by hand
-- and in a run.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA cy;
CREATE TABLE cy.t (id integer, code varchar(4), amount numeric(10,2), low integer, high integer, at timestamptz, day date, doc jsonb, as_text text, big text);
INSERT INTO cy.t VALUES
	(1, 'AA1', 10.00, 1, 2, '2024-01-01 10:00+00', '2024-01-01', '{"id": 1}', '12', 'x'),
	(2, 'BB2', 20.00, 2, 2, '2024-01-01 12:00+00', '2024-01-01', '{"id": 2}', '13.5', 'x'),
	(3, 'CC3', 30.00, 5, 3, '2024-01-02 00:00+00', '2024-01-02', '{"id": "three"}', 'n/a', 'x'),
	(4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE cy.other (id integer);
INSERT INTO cy.other VALUES (1), (2), (3), (5);
CREATE VIEW cy.a_view AS SELECT * FROM cy.t;
SELECT etl.create_pipeline('cy');
CREATE FUNCTION pg_temp.declare(check_type text, passing jsonb, failing jsonb) RETURNS integer LANGUAGE sql AS $$
	SELECT etl.add_check('cy', 'cy.t', check_type, passing, name => check_type || ' passes'),
		   etl.add_check('cy', 'cy.t', check_type, failing, name => check_type || ' fails', severity => 'warn');
	SELECT 2
$$;
SELECT sum(pg_temp.declare(d.check_type, d.passing::jsonb, d.failing::jsonb)) FROM (VALUES
	('not_null', '{"column": "id"}', '{"columns": ["id", "code"]}'),
	('unique', '{"columns": ["day", "low"]}', '{"column": "day"}'),
	('accepted_values', '{"column": "code", "values": ["AA1", "BB2", "CC3"]}', '{"column": "id", "values": [1, 2, 4]}'),
	('relationships', '{"column": "high", "to": "cy.other", "to_columns": ["id"]}', '{"columns": ["id"], "to": "cy.other"}'),
	('between', '{"column": "amount", "min": 10, "max": "30.00"}', '{"column": "day", "max": "2024-01-01"}'),
	('matches', '{"column": "code", "pattern": "^[A-Z]{2}[0-9]$"}', '{"column": "code", "pattern": "^[AB]"}'),
	('of_type', '{"column": "amount", "type": "decimal(10, 2)"}', '{"column": "code", "type": "varchar(5)"}'),
	('castable', '{"column": "as_text", "type": "text"}', '{"column": "as_text", "type": "numeric(10,2)"}'),
	('row_count', '{"min": 4}', '{"max": 3}'),
	('row_count_between', '{"min": 1, "max": 4}', '{"min": 5, "max": 9}'),
	('row_count_equals', '{"to": "cy.other"}', '{"to": "cy.other", "to_filter": "id < 3", "tolerance": 1}'),
	('freshness', '{"column": "at", "error_after": "1000 years"}', '{"column": "day", "warn_after": "1 day", "error_after": "2 days"}'),
	('mean_between', '{"column": "amount", "min": 20, "max": 20}', '{"column": "low", "min": 2.7}'),
	('sum_between', '{"column": "amount", "max": 60}', '{"column": "amount", "max": 59.99}'),
	('min_between', '{"column": "day", "min": "2024-01-01"}', '{"column": "code", "min": "B"}'),
	('max_between', '{"column": "at", "max": "2024-01-02 00:00:00+00"}', '{"column": "amount", "max": 29}'),
	('pair_comparison', '{"columns": ["id", "amount"], "operator": "<"}', '{"columns": ["low", "high"], "operator": "<="}'),
	('expression', '{"expression": "amount = id * 10"}', '{"expression": "low <= high -- ("}'),
	('json_schema', '{"column": "doc", "schema": {"type": "object", "required": ["id"]}}', '{"column": "doc", "schema": {"properties": {"id": {"type": "integer"}}}}')) d(check_type, passing, failing);
BEGIN;
SET LOCAL etl.clock = '2024-01-03 12:00+00';
SELECT c.check_name, c.passed, c.severity, c.figure, c.threshold, c.failing_rows, (SELECT jsonb_agg(s -> 'id') FROM jsonb_array_elements(c.sample) s) AS sample
FROM etl.run_checks('cy') c ORDER BY c.check_name COLLATE "C";
SET LOCAL etl.clock = '2024-01-05 00:00+00';
SELECT c.severity, c.passed, c.figure, c.threshold FROM etl.run_checks('cy', checks => '{"freshness fails"}') c;
COMMIT;
-- nothing was written
SELECT count(*) FROM etl.check_results WHERE pipeline = 'cy';
-- every type there is was tried
SELECT t AS untried FROM unnest(etl._check_types()) t WHERE NOT EXISTS (SELECT FROM etl.tasks x WHERE x.pipeline = 'cy' AND x.task = t || ' fails');

-- filter, mostly and the size of the sample
SELECT etl.create_pipeline('cy', replace => true);
INSERT INTO cy.t (id, code, low, high, big) SELECT n, 'Z', n % 10, 5, repeat('long ', 2000) FROM generate_series(101, 200) n;
SELECT etl.add_check('cy', 'cy.t', 'between', '{"column": "low", "max": 5}', name => 'filtered', filter => 'id > 100 AND low <> 9', severity => 'warn');
SELECT etl.add_check('cy', 'cy.t', 'between', '{"column": "low", "max": 5}', name => 'mostly enough', filter => 'id > 100', mostly => 0.6);
SELECT etl.add_check('cy', 'cy.t', 'between', '{"column": "low", "max": 5}', name => 'mostly too little', filter => 'id > 100', mostly => 0.61, options => '{"sample": 2}');
SELECT etl.add_check('cy', 'cy.t', 'unique', '{"column": "code"}', name => 'mostly unique', filter => 'code IS NOT NULL', mostly => 0.03, options => '{"sample": 0}');
SELECT etl.add_check('cy', 'cy.t', 'row_count', '{"max": 100}', name => 'count filtered', filter => 'id > 100');
SELECT c.check_name, c.passed, c.figure, c.threshold, c.failing_rows, jsonb_array_length(c.sample) AS sampled FROM etl.run_checks('cy') c ORDER BY c.check_name COLLATE "C";
-- a long value of a failing row is cut
SELECT DISTINCT octet_length(s::text) < 500 AS short, s ->> 'big' ~ '…$' AS cut, s -> 'code' AS code
FROM etl.run_checks('cy', checks => '{filtered}') c, jsonb_array_elements(c.sample) s;
-- kept when asked
SELECT count(*) FROM etl.run_checks('cy', checks => '{filtered,"count filtered"}', record => true);
SELECT run_id, run_date, check_name, severity, passed, figure, threshold FROM etl.check_results WHERE pipeline = 'cy' ORDER BY check_name;
SELECT * FROM etl.run_checks('cy', checks => '{nosuch}');
-- the declaration comes back
SELECT l FROM regexp_split_to_table(etl.pipeline_sql('cy'), 'SELECT etl.add_check') WITH ORDINALITY s(l, n) WHERE l LIKE '%mostly too little%';

-- what is refused, and what would have been allowed
CREATE FUNCTION pg_temp.refused(check_type text, arguments jsonb, filter text DEFAULT NULL, mostly numeric DEFAULT NULL, scope text DEFAULT NULL, options jsonb DEFAULT '{}', target text DEFAULT 'cy.t') RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.refusal(format('SELECT etl.add_check(%L, %L, %L, %L, filter => %L, mostly => %L, scope => %L, options => %L)', 'cy', target, check_type, arguments, filter, mostly, scope, options)) $$;
\x on
SELECT pg_temp.refused('not_null', '{"column": 1}');
SELECT pg_temp.refused('not_null', '{"column": "id", "columns": ["id"]}');
SELECT pg_temp.refused('accepted_values', '{"column": "id"}');
SELECT pg_temp.refused('accepted_values', '{"column": "id", "values": []}');
SELECT pg_temp.refused('accepted_values', '{"column": "id", "values": ["x"]}');
SELECT pg_temp.refused('accepted_values', '{"column": "nosuch", "values": ["x"]}');
SELECT pg_temp.refused('between', '{"column": "id"}');
SELECT pg_temp.refused('between', '{"column": "id", "min": []}');
SELECT pg_temp.refused('between', '{"column": "day", "min": "tomorrowish"}');
SELECT pg_temp.refused('matches', '{"column": "code", "pattern": "("}');
SELECT pg_temp.refused('matches', '{"column": "code"}');
SELECT pg_temp.refused('castable', '{"column": "code", "type": "nosuch"}');
SELECT pg_temp.refused('castable', '{"column": "code", "type": "integer; DROP TABLE cy.t"}');
SELECT pg_temp.refused('row_count_equals', '{"to": "cy.nosuch"}');
SELECT pg_temp.refused('freshness', '{"column": "at"}');
SELECT pg_temp.refused('freshness', '{"column": "code", "warn_after": "1 day"}');
SELECT pg_temp.refused('freshness', '{"column": "at", "warn_after": "soon"}');
SELECT pg_temp.refused('freshness', '{"column": "at", "warn_after": "2 days", "error_after": "1 day"}');
SELECT pg_temp.refused('sum_between', '{"column": "code", "min": 1}');
SELECT pg_temp.refused('mean_between', '{"column": "amount", "min": "1"}');
SELECT pg_temp.refused('pair_comparison', '{"columns": ["id"], "operator": "<"}');
SELECT pg_temp.refused('pair_comparison', '{"columns": ["id", "low"], "operator": "~"}');
SELECT pg_temp.refused('pair_comparison', '{"columns": ["id", "doc"], "operator": "<"}');
SELECT pg_temp.refused('json_schema', '{"column": "code", "schema": {}}');
SELECT pg_temp.refused('json_schema', '{"column": "doc", "schema": {"type": "nosuch"}}');
SELECT pg_temp.refused('volume_anomaly', '{"runs": 0}');
SELECT pg_temp.refused('volume_anomaly', '{"deviations": -1}');
SELECT pg_temp.refused('expression', '{"expression": " "}');
SELECT pg_temp.refused('expression', '{"expression": "nosuch > 1"}');
SELECT pg_temp.refused('expression', '{"expression": "id + 1"}');
SELECT pg_temp.refused('expression', '{"expression": "true); DROP TABLE cy.t; SELECT (true"}');
SELECT pg_temp.refused('expression', '{"expression": "true) UNION ALL SELECT (true"}');
SELECT pg_temp.refused('not_null', '{"column": "id"}', filter => 'true) OR id IN (SELECT 1');
SELECT pg_temp.refused('not_null', '{"column": "id"}', filter => 'id /* open');
SELECT pg_temp.refused('not_null', '{"column": "id"}', mostly => 1.5);
SELECT pg_temp.refused('row_count', '{"min": 1}', mostly => 0.5);
SELECT pg_temp.refused('of_type', '{"column": "id", "type": "integer"}', filter => 'true');
SELECT pg_temp.refused('not_null', '{"column": "id"}', scope => 'day');
SELECT pg_temp.refused('not_null', '{"column": "id"}', scope => 'run', target => 'cy.a_view');
SELECT pg_temp.refused('not_null', '{"column": "id"}', scope => 'run', target => 'cy.a_view', options => '{"interval_column": "id"}');
SELECT pg_temp.refused('not_null', '{"column": "id"}', options => '{"sample": 101}');
SELECT pg_temp.refused('not_null', '{"column": "id"}', options => '{"depends_on": "x"}');
SELECT pg_temp.refused('not_null', '{"column": "id"}', options => '{"depends_on": ["cy.nosuch"]}');
\x off

-- in runs: the rows of the run alone, told by what the mode keeps
CREATE TABLE cy.input (id integer, day date, amount integer);
CREATE VIEW cy.txf_days AS SELECT * FROM cy.input WHERE day = etl.run_date();
CREATE VIEW cy.txf_latest AS SELECT id, amount FROM cy.input WHERE day = etl.run_date();
CREATE VIEW cy.txf_all AS SELECT id, sum(amount)::integer AS amount FROM cy.input GROUP BY id;
SELECT etl.create_pipeline('cy', replace => true);
SELECT etl.add_load('cy', 'cy.days', 'partition', partition_by => 'day');
SELECT etl.add_load('cy', 'cy.latest', 'incremental', key => '{id}');
SELECT etl.add_load('cy', 'cy.all', 'full', key => '{id}');
SELECT etl.add_check('cy', 'cy.' || t, 'row_count', '{"max": 0}', name => t || ' of the run', scope => 'run', severity => 'warn') FROM unnest('{days,latest,all,vr_days}'::text[]) t;
SELECT etl.add_check('cy', 'cy.days', 'row_count', '{"max": 0}', name => 'days of all', severity => 'warn');
SELECT etl.add_check('cy', 'cy.days', 'unique', '{"column": "id"}', name => 'one id a day', scope => 'run');
SELECT etl.add_check('cy', 'cy.days', 'volume_anomaly', '{"runs": 5}', name => 'volume');
SELECT etl.add_check('cy', 'cy.days', 'freshness', '{"column": "day", "warn_after": "2 days", "error_after": "5 days"}', name => 'fresh');
INSERT INTO cy.input SELECT n, date '2024-01-01' + d, 1 FROM generate_series(1, 10) n, generate_series(0, 3) d;
INSERT INTO cy.input VALUES (11, '2024-01-03', 5);
CREATE VIEW pg_temp.results AS
	SELECT check_name, severity, passed, figure, threshold FROM etl.check_results WHERE run_id = (SELECT max(run_id) FROM etl.runs WHERE pipeline = 'cy') ORDER BY check_result_id;
SELECT * FROM pg_temp.run('cy', '2024-01-01');
SELECT * FROM pg_temp.results ORDER BY check_name;
SELECT * FROM pg_temp.run('cy', '2024-01-02');
SELECT * FROM pg_temp.run('cy', '2024-01-03');
SELECT * FROM pg_temp.results ORDER BY check_name;
UPDATE cy.input SET amount = 2 WHERE day = '2024-01-04' AND id < 4;
SELECT * FROM pg_temp.run('cy', '2024-01-04');
SELECT * FROM pg_temp.results ORDER BY check_name;
-- too few rows: what came before is no guide to an outage
SELECT etl.add_check('cy', 'cy.days', 'row_count', '{"max": 100}', name => t || ' of the run', severity => 'warn') FROM unnest('{days,latest,all,vr_days}'::text[]) t;
INSERT INTO cy.input VALUES (1, '2024-01-05', 1);
SELECT * FROM pg_temp.run('cy', '2024-01-05');
SELECT * FROM pg_temp.results WHERE NOT passed ORDER BY check_name;
SELECT max(day) FROM cy.days;
-- stale data: a warning first, an error later
SELECT etl.add_check('cy', 'cy.days', 'volume_anomaly', '{}', name => 'volume', severity => 'warn');
SELECT * FROM pg_temp.run('cy', '2024-01-06');
SELECT * FROM pg_temp.results WHERE NOT passed ORDER BY check_name;
SELECT * FROM pg_temp.run('cy', '2024-01-10');
-- the same run by hand, for an interval and at large
SELECT c.check_name, c.passed, c.figure FROM etl.run_checks('cy', '2024-01-03', '{"one id a day",volume}') c ORDER BY 1;
SELECT c.check_name, c.passed, c.figure FROM etl.run_checks('cy', checks => '{"one id a day"}') c;
SELECT etl.data_interval_start();

-- the owner's conditions run with the owner's rights, or not at all
CREATE ROLE regress_cy LOGIN;
GRANT USAGE, CREATE ON SCHEMA cy TO regress_cy;
SET ROLE regress_cy;
SELECT etl.create_pipeline('cy_other');
CREATE TABLE cy.mine (id integer);
SELECT etl.add_check('cy_other', 'cy.mine', 'expression', '{"expression": "pg_catalog.set_config(''role'', ''postgres'', false) IS NOT NULL"}', name => 'escalates');
SELECT count(*) FROM etl.run_checks('cy_other');
SELECT * FROM etl.run_checks('cy');
RESET ROLE;
SELECT * FROM etl.run_checks('cy_other');
SELECT etl.drop_pipeline('cy_other');
DROP TABLE cy.mine;
REVOKE ALL ON SCHEMA cy FROM regress_cy;
DROP ROLE regress_cy;

SELECT etl.drop_pipeline('cy');
DROP SCHEMA cy CASCADE;
