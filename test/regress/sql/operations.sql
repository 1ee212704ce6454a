-- What the verbs of operation refuse, and which intervals they mean.  What they do with real
-- workers is in test/t/061_operations.pl.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA ops;
CREATE VIEW ops.txf_t AS SELECT n AS id FROM generate_series(1, 3) n;
SELECT etl.create_pipeline('ops');
SELECT etl.add_load('ops', 'ops.t', 'full', key => '{id}');
SELECT etl.add_check('ops', 'ops.t', 'row_count', '{"max": 2}', name => 'at most two');
SELECT etl.add_check('ops', 'ops.t', 'row_count', '{"max": 1}', severity => 'warn', name => 'better one');

--
-- Which interval a trigger means; rolled back, so that nothing runs
--
CREATE FUNCTION pg_temp.triggered(schedule text, timezone text, clock text, arguments text DEFAULT '') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config('etl.clock', clock, true);
	PERFORM etl.alter_pipeline('ops', schedule => schedule, timezone => timezone, start_date => '2100-01-01');
	EXECUTE format('SELECT etl.trigger(''ops''%s)', arguments) INTO result;
	SELECT format('%s, %s to %s, %s', r.run_date, r.data_interval_start, r.data_interval_end, concat_ws(' ', r.state, r.trigger)) INTO result
	FROM etl.runs r WHERE r.run_id = result::bigint;
	RAISE EXCEPTION USING ERRCODE = 'ZZZZZ', MESSAGE = result;
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	RETURN SQLERRM;
WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS schedule = PG_EXCEPTION_DETAIL, timezone = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(schedule, ''), timezone);
END
$$;
-- the latest that is over; a tick belongs to what begins with it
SELECT pg_temp.triggered('@daily', 'UTC', '2024-03-10 12:00+00');
SELECT pg_temp.triggered('@daily', 'UTC', '2024-03-10 00:00+00');
SELECT pg_temp.triggered('@daily', 'UTC', '2024-03-09 23:59:59+00');
SELECT pg_temp.triggered('15 minutes', 'UTC', '2024-03-10 12:14+00');
SELECT pg_temp.triggered('1 second', 'UTC', '2024-03-10 12:14:00.5+00');
SELECT pg_temp.triggered('@monthly', 'America/New_York', '2024-03-20 12:00+00');
SELECT pg_temp.triggered('@daily', 'Europe/Berlin', '2024-04-01 00:00+00');
-- years between two ticks, eight of them around 1900
SELECT pg_temp.triggered('0 0 29 2 *', 'UTC', '2024-03-10 12:00+00');
SELECT pg_temp.triggered('0 0 29 2 *', 'UTC', '1904-03-01 12:00+00');
-- without a schedule today, as etl_run
SELECT pg_temp.triggered('none', 'Europe/Berlin', '2024-03-31 12:00+00');
SELECT pg_temp.triggered('none', 'UTC', '2024-03-31 12:00+00', ', ''2024-01-05 06:00+00''');
-- the interval that starts then, or any other
SELECT pg_temp.triggered('@daily', 'Europe/Berlin', '2024-04-01 00:00+00', ', ''2024-03-31 00:00+01''');
SELECT pg_temp.triggered('@daily', 'Europe/Berlin', '2024-04-01 00:00+00', ', ''2024-03-31 00:00+00''');
SELECT pg_temp.triggered('@daily', 'UTC', '2024-04-01 00:00+00', ', ''2024-03-31 06:00+00'', ''2024-03-31 07:00+00''');
SELECT pg_temp.triggered('@daily', 'UTC', '2024-04-01 00:00+00', ', ''2024-03-31'', ''2024-03-31''');
SELECT pg_temp.triggered('@daily', 'UTC', '2024-04-01 00:00+00', ', ''2024-03-31'', ''infinity''');
SELECT pg_temp.triggered('@daily', 'UTC', '2024-04-01 00:00+00', ', NULL, ''2024-03-31''');
SELECT etl.trigger('nosuch');
SELECT etl.trigger(NULL);
-- one run of an interval at a time
BEGIN;
SELECT etl.trigger('ops', '2024-01-01', '2024-01-02') IS NOT NULL AS queued;
SAVEPOINT s;
SELECT pg_temp.try($$SELECT etl.trigger('ops', '2024-01-01', '2024-01-02')$$);
ROLLBACK TO s;
SELECT pg_temp.try(format('SELECT etl.wait(%s)', (SELECT max(run_id) FROM etl.runs)));
ROLLBACK;
SELECT etl.pause('ops');
SELECT etl.trigger('ops');
SELECT etl.backfill('ops', date '2024-01-01', date '2024-01-03');
SELECT etl.resume('ops');

--
-- Which intervals a backfill means
--
CREATE FUNCTION pg_temp.backfilled(schedule text, timezone text, arguments text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('etl.clock', '2024-04-02 12:00+00', true), etl.alter_pipeline('ops', schedule => schedule, timezone => timezone, start_date => '2100-01-01');
	RETURN QUERY EXECUTE format('SELECT concat_ws('' '', b.backfill_id, b.data_interval_start, ''to'', b.data_interval_end, b.last_state) FROM etl.backfill(''ops'', %s, dry_run => true) b', arguments);
	PERFORM set_config('etl.clock', '', true), etl.alter_pipeline('ops', schedule => 'none', timezone => 'UTC', reset => '{start_date}');
END
$$;
-- a date, and a time without a zone, are the pipeline's; across the day with 23 hours
SELECT pg_temp.backfilled('@daily', 'Europe/Berlin', $$date '2024-03-30', date '2024-04-02'$$);
SELECT pg_temp.backfilled('@daily', 'Europe/Berlin', $$'2024-03-31', '2024-04-01'$$);
SELECT pg_temp.backfilled('@daily', 'Europe/Berlin', $$timestamp '2024-03-31 00:00', timestamp '2024-03-31 00:01'$$);
SELECT pg_temp.backfilled('none', 'Europe/Berlin', $$date '2024-03-31', date '2024-04-01'$$);
-- an instant is an instant
SELECT pg_temp.backfilled('@daily', 'Europe/Berlin', $$timestamptz '2024-03-30 23:00+00', '2024-03-31 21:59+00'$$);
SELECT pg_temp.backfilled('@daily', 'Europe/Berlin', $$'2024-03-30 23:00+00', '2024-03-31 21:59+00'$$);
SELECT pg_temp.backfilled('@daily', 'Europe/Berlin', $$date '2024-03-31', timestamptz '2024-03-31 21:59+00'$$);
-- backwards; what is not over is left out, and said to be
SELECT pg_temp.backfilled('@hourly', 'UTC', $$'2024-04-02 09:00', '2024-04-02 12:00', reverse => true$$);
SET client_min_messages = notice;
SELECT pg_temp.backfilled('@hourly', 'UTC', $$'2024-04-02 10:00', '2024-04-02 15:00'$$);
SELECT pg_temp.backfilled('@hourly', 'UTC', $$'2024-04-02 13:00', '2024-04-02 15:00'$$);
SELECT pg_temp.backfilled('@monthly', 'UTC', $$'2024-01-02', '2024-01-31'$$);
SET client_min_messages = warning;
SELECT pg_temp.refusal($$SELECT pg_temp.backfilled('1 second', 'UTC', '''2024-01-01'', ''2024-01-03''')$$);
-- refused
SELECT pg_temp.refusal(format('SELECT * FROM etl.backfill(%s)', a)) FROM unnest(ARRAY[$$'nosuch', date '2024-01-01', date '2024-01-02'$$,
	$$'ops', date '2024-01-02', date '2024-01-01'$$, $$'ops', date '2024-01-01', date '2024-01-01'$$, $$'ops', date '2024-01-01', NULL$$, $$'ops', '-infinity', date '2024-01-01'$$, $$'ops', '2024-13-01', '2024-01-01'$$,
	$$'ops', 1, 2$$, $$'ops', 'soon', 'later'$$, $$'ops', date '2024-01-01', date '2024-01-02', 'some'$$, $$'ops', date '2024-01-01', date '2024-01-02', NULL$$,
	$$'ops', date '2024-01-01', date '2024-01-02', max_active => 0$$, $$'ops', date '2024-01-01', date '2024-01-02', max_active => NULL$$]) a;
SELECT etl.alter_pipeline('ops', depends_on_past => true);
SELECT pg_temp.refusal($$SELECT * FROM etl.backfill('ops', date '2024-01-01', date '2024-01-02', reverse => true)$$);
SELECT etl.alter_pipeline('ops', depends_on_past => false);
SELECT etl.cancel_backfill(NULL);
SELECT etl.cancel_backfill(0);
-- rolled back, it never was; within the transaction it is there to be seen and cancelled
BEGIN;
SELECT count(*) FROM etl.backfill('ops', date '2024-01-01', date '2024-01-04');
SELECT pipeline, since, until, rerun, reverse, max_active, state, intervals, success, failed, cancelled, running, remaining, eta FROM etl.backfills WHERE pipeline = 'ops';
SELECT position, data_interval_start, data_interval_end, i.state, run_id FROM etl.backfill_intervals i JOIN etl.backfills b USING (backfill_id) WHERE b.pipeline = 'ops' ORDER BY position;
SELECT pg_temp.stable(pg_temp.refusal($$SELECT * FROM etl.backfill('ops', date '2024-01-03', date '2024-01-09')$$)) ~ '^55006 \| backfill \d+ of pipeline "ops" runs some of these intervals' AS refused;
SELECT etl.cancel_backfill(max(backfill_id), 'never mind') FROM etl.backfills WHERE pipeline = 'ops';
SELECT state, cancelled, remaining, cancel_reason FROM etl.backfills WHERE pipeline = 'ops';
ROLLBACK;
SELECT count(*) FROM etl.backfills WHERE pipeline = 'ops';

--
-- What can be retried and cleared
--
SELECT * FROM pg_temp.run('ops', '2024-01-01');
SELECT max(run_id) AS run FROM etl.runs \gset
SELECT regexp_replace(pg_temp.refusal(format(s, :run)), '\m' || :'run' || '\M', 'N', 'g') AS refusal FROM unnest(ARRAY['SELECT etl.retry(%s, waive => ''{at most two}'')', 'SELECT etl.retry(%s, waive => ''{at most two}'', reason => '' '')',
	'SELECT etl.retry(%s, waive => ''{better one}'', reason => ''x'')', 'SELECT etl.retry(%s, waive => ''{ops.t}'', reason => ''x'')', 'SELECT etl.retry(%s, waive => ''{NULL}'', reason => ''x'')',
	'SELECT etl.retry(0)', 'SELECT etl.retry(NULL)', 'SELECT etl.clear(NULL)', 'SELECT etl.clear(%s, ''nosuch'')', 'SELECT etl.wait(NULL)', 'SELECT etl.wait(0)', 'SELECT etl.wait(%s, ''-1 s'')',
	'SELECT * FROM etl.diagnose(0)']) s;
SELECT etl.wait(:run);
SELECT etl.wait(:run, '0');
-- the report, and the statement it ends with
SELECT section, regexp_replace(pg_temp.stable(line), '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\+00)?(?! to)', 'TIME', 'g') AS line FROM etl.diagnose(:run) WHERE section NOT IN ('run', 'next');
SELECT replace(regexp_replace(line, '\m' || :'run' || '\M', 'N', 'g'), current_user, 'me') AS line FROM etl.diagnose() WHERE section = 'next';
SELECT replace(replace(line, 'SELECT ', ''), ';', '') AS statement FROM etl.diagnose() WHERE section = 'next' AND line ~ 'waive' \gset
SELECT :statement AS retried \gset
SELECT etl.wait(:retried);
SELECT check_name, severity, passed, waived FROM etl.check_results WHERE run_id = :retried ORDER BY 1;
SELECT check_name, waived_by = current_user AND reason = 'accepted by ' || current_user AS by_me, retry_of = :run AS retry_of_it FROM etl.check_waivers WHERE run_id = :retried;
SELECT trigger, state, retry_of = :run AS retry_of_it FROM etl.runs WHERE run_id = :retried;
SELECT pg_temp.refusal(format('SELECT etl.retry(%s)', r)) ~ '^55000' AS refused FROM unnest(ARRAY[:run, :retried]) r;
-- declared anew as a warning, it is none to waive
SELECT etl.add_check('ops', 'ops.t', 'row_count', '{"max": 2}', severity => 'warn', name => 'at most two');
SELECT etl.clear(:retried, 'at most two') AS cleared \gset
SELECT etl.wait(:cleared);
SELECT task, state FROM etl.task_runs WHERE run_id = :cleared ORDER BY task;
SELECT etl.clear(:retried, 'ops.t', downstream => false) AS cleared \gset
SELECT etl.wait(:cleared);
SELECT task, state FROM etl.task_runs WHERE run_id = :cleared ORDER BY task;
-- of a pipeline that is gone
SELECT etl.drop_pipeline('ops', drop_data => true);
SELECT pg_temp.refusal(format('SELECT etl.clear(%s)', :retried));
SELECT line FROM etl.diagnose(:run) WHERE section = 'next';
DROP SCHEMA ops CASCADE;
