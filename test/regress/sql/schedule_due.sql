-- Schedules that fire: which runs are queued when, by a clock that the test sets.  All in
-- transactions that are rolled back, so that the launcher knows nothing of it.
\set ECHO none
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET etl.clock = '2026-01-01 12:00+00';
CREATE SCHEMA due;
-- Looks at a time, and has what is queued end well.
CREATE FUNCTION due.look(at text) RETURNS TABLE (p text, s text, e text)
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('etl.clock', at, false);
	PERFORM etl._queue_due_runs();
	RETURN QUERY
	WITH started AS (UPDATE etl.run r SET state = 'running', started_at = now(), interval_is_open = r.data_interval_end > etl._now() WHERE state = 'queued' RETURNING *)
	SELECT pipeline, to_char(data_interval_start, 'MM-DD HH24:MI:SS'), to_char(data_interval_end, 'MM-DD HH24:MI:SS') FROM started ORDER BY pipeline, data_interval_start;
	UPDATE etl.run SET state = 'success', ended_at = now() WHERE state = 'running';
END
$$;
SELECT coalesce(max(run_id), 0) AS last FROM etl.run \gset
CREATE VIEW due.runs AS SELECT * FROM etl.runs WHERE run_id > :last;
CREATE FUNCTION due.due(pipeline text) RETURNS text
LANGUAGE sql AS $$ SELECT to_char(s.due_at, 'YYYY-MM-DD HH24:MI:SS') FROM etl.schedule_state s WHERE s.pipeline = due.pipeline $$;
\set ECHO all

--
-- A tick ends the interval that is run: the 2nd's covers the 1st
--
BEGIN;
SELECT etl.create_pipeline('d', schedule => '0 2 * * *');
SELECT next_run_at FROM etl.pipelines WHERE pipeline = 'd';
SELECT * FROM due.look('2026-01-02 01:59:59.999+00');
SELECT * FROM due.look('2026-01-02 02:00:00+00');
SELECT * FROM due.look('2026-01-02 02:00:00+00');
SELECT run_date, trigger, requested_by = current_user AS by_owner, interval_is_open FROM due.runs;
SELECT due.due('d');
-- after downtime the latest only
SELECT * FROM due.look('2026-01-07 12:00+00');
-- or all, oldest first
SELECT etl.alter_pipeline('d', catchup => true);
SELECT * FROM due.look('2026-01-10 12:00+00');
-- paused: nothing; then by catchup
SELECT etl.pause('d');
SELECT due.due('d');
SELECT * FROM due.look('2026-01-12 12:00+00');
SELECT * FROM etl.next_runs('d');
SELECT etl.resume('d');
SELECT data_interval_start, due_at FROM etl.next_runs('d', 3);
SELECT * FROM due.look('2026-01-12 12:00+00');
SELECT etl.pause(), etl.alter_pipeline('d', catchup => false);
SELECT * FROM due.look('2026-01-14 12:00+00');
SELECT etl.resume();
SELECT * FROM due.look('2026-01-14 12:00+00');
-- another schedule begins now, but with catchup leaves nothing out
SELECT etl.alter_pipeline('d', schedule => '@hourly');
SELECT due.due('d');
SELECT * FROM due.look('2026-01-14 13:00+00');
SELECT etl.alter_pipeline('d', schedule => '*/30 * * * *', catchup => true);
SELECT * FROM due.look('2026-01-14 14:00+00');
-- declared again as it was: as if nothing had happened
SELECT etl.create_pipeline('d', schedule => '*/30 * * * *', catchup => true, replace => true);
SELECT * FROM due.look('2026-01-14 14:30+00');
SELECT etl.alter_pipeline('d', schedule => 'none');
SELECT due.due('d') IS NULL AS none, (SELECT count(*) FROM etl.schedule_state), (SELECT count(*) FROM etl.next_runs('d'));
SELECT etl.drop_pipeline('d');
ROLLBACK;

--
-- start_date and end_date: no interval starts before the one, or ends after the other
--
SET etl.clock = '2026-01-01 12:00+00';
BEGIN;
-- one that has passed: what was missed since is the latest, or all
SELECT etl.create_pipeline('latest', schedule => '@daily', start_date => '2025-12-28');
SELECT etl.create_pipeline('every', schedule => '@daily', start_date => '2025-12-28 00:00:01', end_date => '2026-01-03', catchup => true);
SELECT etl.create_pipeline('later', schedule => '@daily', start_date => '2026-01-02', end_date => '2026-01-04 23:59');
SELECT pipeline, data_interval_start, due_at FROM etl.next_runs(n => 20);
SELECT * FROM due.look('2026-01-01 12:00+00');
SELECT pipeline, due.due(pipeline) FROM etl.pipelines ORDER BY 1;
SELECT * FROM due.look('2026-01-02 12:00+00');
-- down until both have ended: the last of them that may run
SELECT * FROM due.look('2026-01-20 12:00+00');
SELECT * FROM due.look('2026-01-21 12:00+00') WHERE p <> 'latest';
SELECT pipeline, due.due(pipeline) FROM etl.pipelines ORDER BY 1;
-- extended, it goes on
SELECT etl.alter_pipeline('every', end_date => '2026-01-05');
SELECT * FROM due.look('2026-01-21 12:00+00') WHERE p = 'every';
-- a start_date that comes after the schedule, but before it has fired
SELECT etl.create_pipeline('then', schedule => '@daily', catchup => true);
SELECT due.due('then');
SELECT etl.alter_pipeline('then', start_date => '2026-01-20');
SELECT * FROM due.look('2026-01-21 12:00+00') WHERE p = 'then';
ROLLBACK;

--
-- Many missed ones come a hundred at a time
--
SET etl.clock = '2026-01-01 12:00+00';
BEGIN;
SELECT etl.create_pipeline('s', schedule => '1 second', catchup => true);
SET etl.clock = '2026-01-01 12:04+00';
SELECT etl._queue_due_runs(), due.due('s');
SELECT etl._queue_due_runs(), due.due('s');
SELECT count(*), min(s), max(e) FROM due.look('2026-01-01 12:04+00');
SELECT count(*), min(s), max(e) FROM due.look('2026-01-01 12:04+00');
SELECT count(*), min(s), max(e) FROM due.look('2026-01-01 12:04+00');
SELECT count(*), count(DISTINCT data_interval_start), min(data_interval_start), max(data_interval_end) FROM due.runs;
ROLLBACK;

--
-- What was run by hand: not again, but completed if it was open
--
SET etl.clock = '2026-01-01 12:00+00';
BEGIN;
SELECT etl.create_pipeline('h', schedule => '@daily');
INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by, state, ended_at, interval_is_open) VALUES
	('h', current_user, '2026-01-01', '2026-01-02', '2026-01-01', 'UTC', 'manual', current_user, 'success', now(), false);
SELECT * FROM due.look('2026-01-02 00:00+00');
SELECT due.due('h');
INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by, state, ended_at, interval_is_open) VALUES
	('h', current_user, '2026-01-02', '2026-01-03', '2026-01-02', 'UTC', 'manual', current_user, 'success', now(), true);
-- the 2nd was missed, with the 3rd it is completed
SELECT * FROM due.look('2026-01-04 00:00+00');
SELECT * FROM due.look('2026-01-05 00:00+00');
-- one that is active is not queued twice
INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by, state) VALUES
	('h', current_user, '2026-01-05', '2026-01-06', '2026-01-05', 'UTC', 'manual', current_user, 'queued');
SET etl.clock = '2026-01-06 00:00+00';
SELECT etl._queue_due_runs(), due.due('h');
SELECT trigger, state, error_message ~ 'already running as run' AS told FROM due.runs ORDER BY run_id DESC LIMIT 2;
ROLLBACK;

--
-- The overlap policy holds for scheduled runs
--
SET etl.clock = '2026-01-01 12:00+00';
BEGIN;
SELECT etl.create_pipeline(o, schedule => '@hourly', overlap => o) FROM unnest('{queue,skip,cancel_previous}'::text[]) o;
SET etl.clock = '2026-01-01 13:00+00';
SELECT etl._queue_due_runs();
-- of an earlier transaction, as far as anybody can tell
UPDATE etl.run SET queued_at = '2026-01-01 13:00+00';
SET etl.clock = '2026-01-01 14:00+00';
SELECT etl._queue_due_runs();
SELECT pipeline, data_interval_start, state FROM due.runs ORDER BY 1, 2;
ROLLBACK;

--
-- Jitter: later by a part of it that pipeline and tick decide, in order, within the interval
--
SET etl.clock = '2026-01-01 12:00+00';
BEGIN;
SELECT etl.create_pipeline('j' || n, schedule => '@hourly', jitter => '10 minutes') FROM generate_series(1, 20) n;
SELECT count(*), bool_and(due_at >= data_interval_end AND due_at < data_interval_end + interval '10 minutes') AS within,
	count(DISTINCT due_at - data_interval_end) > 190 AS spread, (avg(due_at - data_interval_end) BETWEEN interval '4 minutes' AND interval '6 minutes') AS evenly
FROM etl.next_runs(n => 200);
SELECT (SELECT array_agg(due_at) FROM etl.next_runs('j1')) = (SELECT array_agg(due_at) FROM etl.next_runs('j1')) AS same_again;
-- a run is due when its time has come, not before
SELECT due_at AS due FROM etl.next_runs('j1', 1) \gset
SELECT count(*) FROM due.look((timestamptz :'due' - interval '1 microsecond')::text) WHERE p = 'j1';
SELECT count(*) FROM due.look(:'due') WHERE p = 'j1';
-- longer than the interval: never beyond the next tick, so nothing is left out
SELECT etl.create_pipeline('m', schedule => '1 minute', jitter => '1 hour');
SELECT bool_and(due_at >= data_interval_end AND due_at < data_interval_end + interval '1 minute') AS within FROM etl.next_runs('m', 100);
SELECT count(*), count(DISTINCT s) FROM generate_series(timestamptz :'due', timestamptz :'due' + interval '1 hour', '5 seconds') t, due.look(t::text) WHERE p = 'm';
ROLLBACK;

--
-- Years of it: each interval once, whole, in the pipeline's time zone
--
SET etl.clock = '2023-12-31 12:00+00';
BEGIN;
SELECT etl.create_pipeline('ny', schedule => '30 2 * * *', timezone => 'America/New_York');
SELECT etl.create_pipeline('ber', schedule => '0 0,6,12,18 * * *', timezone => 'Europe/Berlin', catchup => true);
SELECT count(*) FROM generate_series(timestamptz '2024-01-01', '2026-01-01', '1 day') t, due.look(t::text);
SELECT pipeline, count(*), min(data_interval_start), max(data_interval_end), count(*) FILTER (WHERE data_interval_start <> before) AS gaps,
	min(data_interval_end - data_interval_start) AS shortest, max(data_interval_end - data_interval_start) AS longest
FROM (SELECT *, lag(data_interval_end) OVER (PARTITION BY pipeline ORDER BY data_interval_start) AS before FROM due.runs) r
GROUP BY pipeline ORDER BY pipeline;
-- the days of the change of clocks
SELECT data_interval_start AT TIME ZONE 'America/New_York' AS starts, data_interval_end AT TIME ZONE 'America/New_York' AS ends
FROM due.runs WHERE pipeline = 'ny' AND data_interval_end - data_interval_start <> interval '24 hours' ORDER BY 1;
ROLLBACK;

--
-- What is refused, and who sees what
--
SELECT etl.next_runs('missing');
SELECT etl.next_runs(n => -1);
SELECT etl.next_runs(n => NULL);
BEGIN;
SET LOCAL etl.clock = '2026-01-01 12:00+00';
SELECT etl.create_pipeline('mine', schedule => '@daily');
CREATE ROLE regress_due LOGIN;
GRANT USAGE ON SCHEMA etl TO regress_due;
SET LOCAL SESSION AUTHORIZATION regress_due;
SELECT * FROM etl.next_runs();
SAVEPOINT s;
SELECT etl.next_runs('mine');
ROLLBACK TO s;
SELECT etl.create_pipeline('yours', schedule => '@daily');
SELECT pipeline, due_at FROM etl.next_runs(n => 1);
ROLLBACK;
-- of a copy nothing is due
BEGIN;
SET LOCAL etl.clock = '2026-01-01 12:00+00';
SELECT etl.create_pipeline('c', schedule => '@daily');
SET LOCAL etl.clock = '2026-01-02 12:00+00';
SELECT etl._next_due_at() IS NOT NULL AS due;
UPDATE etl.instance SET database_oid = 1;
SELECT etl._queue_due_runs(), etl._next_due_at(), (SELECT count(*) FROM etl.next_runs()), (SELECT next_run_at FROM etl.pipelines);
SELECT etl.resume('c');
SELECT etl._queue_due_runs();
ROLLBACK;

--
-- What it needs is gone: only this pipeline has a reason not to run
--
BEGIN;
CREATE VIEW due.txf_a AS SELECT 1 AS id;
CREATE VIEW due.txf_b AS SELECT 1 AS id;
CREATE SERVER due FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:1');
SELECT etl.create_pipeline(p, schedule => '@daily') FROM unnest('{good,no_view,no_table,no_server}'::text[]) p;
SELECT etl.add_load('good', 'due.a', 'full', source => 'due.txf_a');
SELECT etl.add_load('no_view', 'due.b', 'full');
SELECT etl.add_load('no_table', 'due."C"', 'full', source => 'due.txf_a');
SELECT etl.add_extract('no_server', 'due.raw', server => 'due', path => '/');
DROP VIEW due.txf_b;
DROP TABLE due."C" CASCADE;
DROP SERVER due;
SELECT pipeline, cannot_run_because FROM etl.pipelines WHERE pipeline = 'good' OR pipeline LIKE 'no\_%' ORDER BY 1;
ROLLBACK;

\set ECHO none
DROP SCHEMA due CASCADE;
