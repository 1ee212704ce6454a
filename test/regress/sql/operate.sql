-- Verbs of operation: etl_run and CALL etl.run and what they refuse; cancel, pause, resume.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA op;
CREATE VIEW op.txf_t AS SELECT n AS id FROM generate_series(1, 2) n;
SELECT etl.create_pipeline('op', description => 'for the operator');
SELECT etl.add_load('op', 'op.t', 'full', key => '{id}');

--
-- Running
--
SELECT pipeline, data_interval_start, data_interval_end, state, duration >= '0' AS took_time, fetched, loaded, quarantined, inserted, updated, deleted FROM etl_run('2024-01-01', 'op');
SELECT pipeline, state FROM etl_run(date '2024-01-01', pipeline => 'op');
SELECT pipeline, state FROM etl_run(run_date => '2024-01-02', pipeline => 'op');
-- today, by default
SELECT count(*), min(state) FROM etl_run(pipeline => 'op');
-- all pipelines that are not paused; in their order
CREATE VIEW op.txf_u AS SELECT 1 AS id;
SELECT etl.create_pipeline('op_a');
SELECT etl.add_load('op_a', 'op.u', 'full');
SELECT etl.create_pipeline('op_empty');
SELECT pipeline, state, inserted FROM etl_run('2024-01-05');
SELECT count(DISTINCT run_id) FROM etl.runs WHERE run_date = '2024-01-05' AND pipeline ~ '^op';

-- what is refused
SELECT etl_run('2024-01-01', 'op_missing');
SELECT etl_run(NULL, 'op');
SELECT etl_run('infinity', 'op');
SELECT etl_run('-infinity');
BEGIN;
CREATE TABLE op.written (a integer);
SELECT etl_run('2024-01-01', 'op');
ROLLBACK;
-- but a transaction that has only read may
BEGIN;
SELECT count(*) FROM op.t;
SELECT state FROM etl_run('2024-01-01', 'op');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SELECT count(*) FROM op.t;
SELECT state FROM etl_run('2024-01-01', 'op');
COMMIT;
-- a lock of the caller's own transaction that the run needs
BEGIN;
LOCK TABLE op.t IN SHARE MODE;
\set VERBOSITY terse
SELECT etl_run('2024-01-01', 'op');
\set VERBOSITY default
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT pg_temp.settle();
SELECT state FROM etl.runs WHERE pipeline = 'op' ORDER BY run_id DESC LIMIT 1;

CALL etl.run('op', '2024-01-01 00:00+00', '2024-01-02 00:00+00');
CALL etl.run('op', '2024-01-02 00:00+00', '2024-01-01 00:00+00');
CALL etl.run('op', '2024-01-01 00:00+00', '2024-01-01 00:00+00');
CALL etl.run('op', '-infinity', '2024-01-01 00:00+00');
CALL etl.run('op', NULL, '2024-01-01 00:00+00');
CALL etl.run('op_missing', '2024-01-01 00:00+00', '2024-01-02 00:00+00');
BEGIN;
CREATE TABLE op.written (a integer);
CALL etl.run('op', '2024-01-01 00:00+00', '2024-01-02 00:00+00');
ROLLBACK;

-- one that fails, among others: one error that names run, task and cause; the others have run
CREATE VIEW op.txf_broken AS SELECT 1 / n AS id FROM generate_series(0, 0) n;
SELECT etl.create_pipeline('op_b');
SELECT etl.add_load('op_b', 'op.broken', 'full');
SELECT pg_temp.try($$SELECT * FROM etl_run('2024-01-06')$$);
SELECT pipeline, state, error_task, error_code, error_message FROM etl.runs WHERE run_date = '2024-01-06' AND pipeline ~ '^op' ORDER BY pipeline;
SELECT etl.create_pipeline('op_c');
SELECT etl.add_load('op_c', 'op.broken2', 'full', source => 'op.txf_broken');
SELECT pg_temp.try($$SELECT * FROM etl_run('2024-01-07')$$);
SELECT etl.drop_pipeline('op_b');
SELECT etl.drop_pipeline('op_c');
SELECT level, task, pg_temp.stable(message) AS message FROM etl.log WHERE pipeline = 'op_b' ORDER BY log_id;

--
-- Pausing
--
SELECT etl.pause('op');
SELECT etl.pause('op');
SELECT pipeline, paused, cannot_run_because FROM etl.pipelines ORDER BY 1;
SELECT etl_run('2024-01-01', 'op');
CALL etl.run('op', '2024-01-01 00:00+00', '2024-01-02 00:00+00');
SELECT pipeline FROM etl_run('2024-01-08');
SELECT etl.pause();
SELECT pipeline FROM etl_run('2024-01-08');
SELECT etl.pause('op_missing');
-- replacing does not resume
SELECT etl.create_pipeline('op_empty', replace => true);
SELECT paused FROM etl.pipelines WHERE pipeline = 'op_empty';
SELECT etl.resume('op_missing');
SELECT etl.resume('op');
SELECT etl.resume('op');
SELECT pipeline, paused FROM etl.pipelines ORDER BY 1;
SELECT etl.resume();
SELECT count(*) FILTER (WHERE paused) AS paused FROM etl.pipelines;
SELECT state FROM etl_run('2024-01-01', 'op');

--
-- Cancelling what is not active
--
SELECT pg_temp.try(format('SELECT etl.cancel(%s)', (SELECT max(run_id) FROM etl.runs WHERE pipeline = 'op')));
SELECT etl.cancel(-1);
SELECT etl.cancel(NULL);
SELECT count(*) FROM etl.progress;

-- a run of a dropped pipeline is history
SELECT etl.drop_pipeline('op_a', drop_data => true);
SELECT etl.drop_pipeline('op_empty');
SELECT etl.drop_pipeline('op');
SELECT pipeline, count(*) FROM etl.runs WHERE pipeline ~ '^op' GROUP BY 1 ORDER BY 1;
DROP SCHEMA op CASCADE;
SELECT etl_run('2024-01-01');
