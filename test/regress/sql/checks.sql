-- Checks in a run: each type passing and failing, both severities, what is kept as evidence.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA ck;
CREATE TABLE ck.input (id integer, ref integer, value text);
CREATE VIEW ck.txf_t AS SELECT * FROM ck.input;
CREATE TABLE ck.other (id integer PRIMARY KEY, a integer, b text);
INSERT INTO ck.other VALUES (1, 1, 'x'), (2, 2, 'y');
SELECT etl.create_pipeline('ck');
SELECT etl.add_load('ck', 'ck.t', 'full');
SELECT etl.add_check('ck', 'ck.t', 'not_null', '{"columns": ["id", "value"]}', name => 'ck_not_null');
SELECT etl.add_check('ck', 'ck.t', 'unique', '{"columns": ["id"]}', name => 'ck_unique');
SELECT etl.add_check('ck', 'ck.t', 'unique', '{"columns": ["id", "value"]}', name => 'ck_unique_two');
SELECT etl.add_check('ck', 'ck.t', 'relationships', '{"columns": ["ref"], "to": "ck.other", "to_columns": ["id"]}', name => 'ck_ref');
SELECT etl.add_check('ck', 'ck.t', 'relationships', '{"columns": ["ref", "value"], "to": "ck.other", "to_columns": ["a", "b"]}', name => 'ck_ref_two', severity => 'warn');
SELECT etl.add_check('ck', 'ck.t', 'row_count', '{"min": 1, "max": 3}', name => 'ck_count');
CREATE VIEW pg_temp.results AS
	SELECT run_date, check_name, check_type, severity, passed, failing_rows, figure, threshold, sample FROM etl.check_results
	WHERE run_id = (SELECT max(run_id) FROM etl.runs WHERE pipeline = 'ck');
CREATE VIEW pg_temp.states AS
	SELECT task, kind, state, attempt, inserted, deleted, error_code, error_message FROM etl.task_runs
	WHERE run_id = (SELECT max(run_id) FROM etl.runs WHERE pipeline = 'ck');

-- all pass; nulls are neither duplicates nor broken references
INSERT INTO ck.input VALUES (1, 1, 'x'), (2, NULL, 'y');
SELECT * FROM pg_temp.run('ck', '2024-01-01');
SELECT * FROM pg_temp.results ORDER BY check_name;
SELECT * FROM pg_temp.states ORDER BY kind, task;

-- each of severity error on its own: readers keep the last good data
INSERT INTO ck.input VALUES (NULL, NULL, NULL);
SELECT * FROM pg_temp.run('ck', '2024-01-02');
SELECT * FROM ck.vr_t ORDER BY id;
SELECT * FROM pg_temp.results ORDER BY check_name;
SELECT * FROM pg_temp.states ORDER BY kind, task;
SELECT state, error_task, error_code, error_message, error_detail, error_hint FROM etl.runs WHERE pipeline = 'ck' ORDER BY run_id DESC LIMIT 1;
DELETE FROM ck.input WHERE id IS NULL;
INSERT INTO ck.input VALUES (1, NULL, 'again');
SELECT * FROM pg_temp.run('ck', '2024-01-02');
SELECT check_name, figure, threshold, sample FROM pg_temp.results WHERE NOT passed ORDER BY check_name;
UPDATE ck.input SET id = 3, ref = 9 WHERE value = 'again';
SELECT * FROM pg_temp.run('ck', '2024-01-02');
SELECT check_name, severity, figure, threshold, sample FROM pg_temp.results WHERE NOT passed ORDER BY check_name;
UPDATE ck.input SET ref = NULL WHERE id = 3;
INSERT INTO ck.input VALUES (4, NULL, 'one too many');
SELECT * FROM pg_temp.run('ck', '2024-01-02');
SELECT check_name, figure, threshold, sample FROM pg_temp.results WHERE NOT passed ORDER BY check_name;
TRUNCATE ck.input;
SELECT * FROM pg_temp.run('ck', '2024-01-02');
-- several at once are told in one error
INSERT INTO ck.input SELECT 1, 7, NULL FROM generate_series(1, 7);
SELECT * FROM pg_temp.run('ck', '2024-01-02');
-- a sample is five rows
SELECT check_name, failing_rows, jsonb_array_length(sample), sample -> 0 AS first FROM pg_temp.results WHERE NOT passed ORDER BY check_name;
SELECT * FROM ck.t ORDER BY id;

-- severity warn: recorded, logged and published all the same
TRUNCATE ck.input;
INSERT INTO ck.input VALUES (1, 1, 'y'), (2, 2, 'y');
SELECT * FROM pg_temp.run('ck', '2024-01-03');
SELECT check_name, severity, passed, failing_rows, sample FROM pg_temp.results WHERE NOT passed;
SELECT state FROM pg_temp.states WHERE task = 'ck_ref_two';
SELECT level, task, pg_temp.stable(message) AS message FROM etl.log WHERE run_id = (SELECT max(run_id) FROM etl.runs WHERE pipeline = 'ck') ORDER BY log_id;
SELECT * FROM ck.t ORDER BY id;

-- the history of a check
SELECT run_date, passed, figure FROM etl.check_results WHERE pipeline = 'ck' AND check_name = 'ck_count' ORDER BY check_result_id;

-- a column "n", names that need quotes, a view as target
CREATE TABLE ck."Odd" (n integer, "A ""b""" text);
INSERT INTO ck."Odd" VALUES (1, NULL), (1, 'x'), (1, 'x');
CREATE VIEW ck.odd_view AS SELECT * FROM ck."Odd" WHERE n = etl.run_id();
BEGIN;
SELECT etl.create_pipeline('ck', replace => true);
SELECT etl.add_check('ck', 'ck."Odd"', 'unique', '{"columns": ["A \"b\"", "n"]}', severity => 'warn');
SELECT etl.add_check('ck', 'ck."Odd"', 'not_null', '{"columns": ["A \"b\""]}', severity => 'warn');
SELECT etl.add_check('ck', 'ck.odd_view', 'row_count', '{"max": 0}', severity => 'warn');
COMMIT;
SELECT * FROM pg_temp.run('ck', '2024-01-01');
SELECT check_name, passed, figure, sample FROM pg_temp.results ORDER BY check_name COLLATE "C";
-- what is checked has gone
DROP VIEW ck.odd_view;
\set VERBOSITY sqlstate
SELECT * FROM pg_temp.run('ck', '2024-01-01');

SELECT etl.drop_pipeline('ck');
DROP SCHEMA ck CASCADE;
