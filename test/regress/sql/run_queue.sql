-- The queue: which run starts, what the others wait for, overlaps, triggers, timeouts.  The
-- decisions alone, in one transaction: no worker takes part, and nothing is left of it.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
-- a request, and time passes
CREATE FUNCTION pg_temp.ask(pipeline text, run_date date, trigger text DEFAULT 'manual', caller_pid integer DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM etl._submit((random() * 1e15)::bigint, current_user, caller_pid, run_date, pipeline, NULL, NULL, trigger);
	UPDATE etl.run SET queued_at = queued_at - interval '1 hour' WHERE queued_at >= now();
END
$$;
-- one wake without workers: what runs ends as told
CREATE FUNCTION pg_temp.finish(pipeline text, run_date date, state text DEFAULT 'success') RETURNS void
LANGUAGE sql AS $$
	UPDATE etl.task_run t SET state = 'running' FROM etl.run r WHERE r.run_id = t.run_id AND r.pipeline = $1 AND r.run_date = $2 AND t.state = 'queued';
	UPDATE etl.task_run t SET state = CASE WHEN $3 = 'cancelled' THEN 'cancelled' WHEN $3 = 'failed' THEN 'failed' ELSE 'success' END FROM etl.run r WHERE r.run_id = t.run_id AND r.pipeline = $1 AND r.run_date = $2 AND t.state = 'running';
	SELECT etl._end_run(r, $3, NULL, CASE WHEN $3 <> 'success' THEN '57014' END, CASE WHEN $3 <> 'success' THEN 'injected' END, NULL, NULL)
	FROM etl.run r WHERE r.pipeline = $1 AND r.run_date = $2 AND r.state = 'running';
$$;
CREATE FUNCTION pg_temp.start() RETURNS TABLE (pipeline text, run_date date, state text, waits_for text, error_message text)
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM etl._start_runs();
	RETURN QUERY SELECT r.pipeline, r.run_date, r.state, pg_temp.stable(r.waits_for), pg_temp.stable(r.error_message) FROM etl.runs r
		WHERE r.pipeline ~ '^rq' AND (r.state <> 'success') ORDER BY r.pipeline, r.run_date, r.run_id;
END
$$;
\set ECHO all
CREATE SCHEMA rq;
CREATE VIEW rq.txf_t AS SELECT 1 AS id;
SET etl.clock = '2024-06-01 12:00+00';

--
-- Priorities, max_active_runs
--
BEGIN;
SELECT etl.create_pipeline('rq_a');
SELECT etl.create_pipeline('rq_b', priority => 5);
SELECT etl.create_pipeline('rq_c', max_active_runs => 2);
SELECT etl.add_load(p, 'rq.' || p, 'full', source => 'rq.txf_t') FROM unnest('{rq_a,rq_b,rq_c}'::text[]) p;
-- the later interval is asked for first
SELECT pg_temp.ask('rq_a', '2024-01-02'), pg_temp.ask('rq_a', '2024-01-01'), pg_temp.ask('rq_b', '2024-01-01');
SELECT pg_temp.ask('rq_c', d::date) FROM generate_series(timestamp '2024-01-01', '2024-01-04', '1 day') d;
SELECT r.pipeline, r.run_date, q.place, q.room, q.starts, q.waits_for FROM etl._queue q JOIN etl.run r USING (run_id) ORDER BY r.pipeline, r.run_date;
-- one at a time: the highest priority, then who was asked for first
SELECT etl._start_runs(1);
SELECT pipeline, run_date FROM etl.runs WHERE state = 'running';
SELECT * FROM pg_temp.start();
-- in that order, too, workers take tasks
SELECT r.pipeline, r.run_date, t.task FROM etl._ready_tasks() WITH ORDINALITY x JOIN etl.task_run t USING (task_run_id) JOIN etl.run r ON r.run_id = t.run_id ORDER BY x.ordinality;
-- the place of one that ended is taken
SELECT pg_temp.finish('rq_c', '2024-01-01'), pg_temp.finish('rq_a', '2024-01-01', 'failed');
SELECT * FROM pg_temp.start();
-- a pipeline that reads on from a watermark runs once at a time whatever it says
UPDATE etl.task SET kind = 'extract', definition = definition || '{"watermark": {}}' WHERE pipeline = 'rq_c';
SELECT r.run_date, q.room FROM etl._queue q JOIN etl.run r USING (run_id) WHERE r.pipeline = 'rq_c';
-- paused, only what somebody waits for starts
SELECT pg_temp.finish('rq_a', '2024-01-02'), pg_temp.finish('rq_b', '2024-01-01');
SELECT pg_temp.ask('rq_a', '2024-01-03'), pg_temp.ask('rq_b', '2024-01-03', caller_pid => 0);
SELECT etl.pause('rq_a'), etl.pause('rq_b');
SELECT * FROM pg_temp.start() WHERE pipeline IN ('rq_a', 'rq_b');
SELECT etl._runs_about_to_start();
SELECT etl.resume('rq_a');
SELECT etl._runs_about_to_start();
ROLLBACK;

--
-- Pools
--
BEGIN;
SELECT etl.set_pool('rq_pool', 2);
SELECT etl.create_pipeline(p, pool => 'rq_pool', priority => length(p)) FROM unnest('{rq_1,rq_22,rq_333}'::text[]) p;
SELECT etl.create_pipeline('rq_free');
SELECT etl.add_load(p, 'rq.' || p, 'full', source => 'rq.txf_t') FROM unnest('{rq_1,rq_22,rq_333,rq_free}'::text[]) p;
SELECT pg_temp.ask(p, '2024-01-01') FROM unnest('{rq_1,rq_22,rq_333,rq_free}'::text[]) p;
SELECT * FROM pg_temp.start();
SELECT pool, slots, used, queued FROM etl.pools;
SELECT r.pipeline, t.task, t.pool FROM etl._ready_tasks() WITH ORDINALITY x JOIN etl.task_run t USING (task_run_id) JOIN etl.run r ON r.run_id = t.run_id ORDER BY x.ordinality;
-- what has no slot is not claimed either, whoever asks
SELECT r.pipeline, (etl._claim(t.task_run_id)).attempt FROM etl.run r JOIN etl.task_run t USING (run_id) WHERE t.kind = 'publish' AND r.pipeline ~ '^rq' ORDER BY r.pipeline;
SELECT pool, slots, used, queued FROM etl.pools;
SELECT count(*) FROM etl._ready_tasks();
SELECT pipeline, task, kind, state, activity FROM etl.progress WHERE kind = 'publish' ORDER BY pipeline;
SELECT etl.set_pool('rq_pool', 3);
SELECT r.pipeline FROM etl._ready_tasks() x JOIN etl.run r USING (run_id);
SELECT etl.set_pool('rq_pool', 0);
SELECT count(*) FROM etl._ready_tasks();
ROLLBACK;
-- a task may name its own
BEGIN;
SELECT etl.set_pool('rq_pool', 1);
CREATE SERVER rq_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://api.example');
SELECT etl.create_pipeline('rq_own');
SELECT etl.add_extract('rq_own', 'rq.raw', 'rq_api', options => '{"pool": "rq_pool"}');
SELECT etl.add_extract('rq_own', 'rq.raw2', 'rq_api');
SAVEPOINT s;
SELECT etl.add_extract('rq_own', 'rq.raw3', 'rq_api', options => '{"pool": "rq_nowhere"}');
ROLLBACK TO s;
SELECT etl.drop_pool('rq_pool');
ROLLBACK TO s;
SELECT pg_temp.ask('rq_own', '2024-01-01');
SELECT etl._start_runs();
SELECT t.task, t.pool FROM etl.task_run t JOIN etl.run r USING (run_id) WHERE r.pipeline = 'rq_own' ORDER BY t.task;
SELECT etl.pipeline_sql('rq_own') ~ $$SELECT etl.set_pool\('rq_pool', 1\)$$ AS pool_is_printed;
ROLLBACK;

--
-- Overlap
--
BEGIN;
SELECT etl.create_pipeline('rq_queue'), etl.create_pipeline('rq_skip', overlap => 'skip'), etl.create_pipeline('rq_cancel', overlap => 'cancel_previous'),
	etl.create_pipeline('rq_cancel2', overlap => 'cancel_previous', max_active_runs => 2);
SELECT etl.add_load(p, 'rq.' || p, 'full', source => 'rq.txf_t') FROM unnest('{rq_queue,rq_skip,rq_cancel,rq_cancel2}'::text[]) p;
SELECT pg_temp.ask(p, '2024-01-01', 'schedule') FROM unnest('{rq_queue,rq_skip,rq_cancel,rq_cancel2}'::text[]) p;
SELECT etl._start_runs();
SELECT pg_temp.ask(p, '2024-01-02', 'schedule') FROM unnest('{rq_queue,rq_skip,rq_cancel,rq_cancel2}'::text[]) p;
SELECT * FROM pg_temp.start();
SELECT r.pipeline, r.run_date, q.requested_by = current_user AS mine, q.reason FROM etl.cancel_request q JOIN etl.run r USING (run_id) WHERE r.pipeline LIKE 'rq%';
-- one that only waits is gone at once
SELECT pg_temp.ask(p, '2024-01-03', 'schedule') FROM unnest('{rq_queue,rq_skip,rq_cancel,rq_cancel2}'::text[]) p;
SELECT * FROM pg_temp.start();
-- what is being cancelled no longer counts; its place is free when it has ended
SELECT pg_temp.finish('rq_cancel', '2024-01-01', 'cancelled'), pg_temp.finish('rq_cancel2', '2024-01-01', 'cancelled');
SELECT * FROM pg_temp.start() WHERE pipeline ~ 'cancel' AND state IN ('queued', 'running');
-- backfills and retries wait, and are not counted; but the same interval is refused
SAVEPOINT s;
SELECT pg_temp.try($$SELECT pg_temp.ask('rq_skip', '2024-01-01', 'backfill')$$);
ROLLBACK TO s;
SELECT pg_temp.ask('rq_skip', '2024-01-04', 'backfill'), pg_temp.ask('rq_skip', '2024-01-05', 'retry');
SELECT pg_temp.finish('rq_skip', '2024-01-01');
SELECT etl._start_runs();
SELECT pg_temp.ask('rq_skip', '2024-01-06');
SELECT run_date, trigger, state FROM etl.runs WHERE pipeline = 'rq_skip' AND run_date >= '2024-01-04' ORDER BY run_date;
ROLLBACK;
-- the runs of one request do not overlap each other
BEGIN;
SELECT etl.create_pipeline('rq_hourly', schedule => '@hourly', overlap => 'skip');
SELECT pg_temp.ask('rq_hourly', '2024-01-01');
SELECT state, count(*) FROM etl.runs WHERE pipeline = 'rq_hourly' GROUP BY 1;
ROLLBACK;
-- the same interval
BEGIN;
SELECT etl.create_pipeline('rq_queue'), etl.create_pipeline('rq_skip', overlap => 'skip'), etl.create_pipeline('rq_cancel', overlap => 'cancel_previous');
SELECT etl.add_load(p, 'rq.' || p, 'full', source => 'rq.txf_t') FROM unnest('{rq_queue,rq_skip,rq_cancel}'::text[]) p;
SELECT pg_temp.ask(p, '2024-01-01') FROM unnest('{rq_queue,rq_skip,rq_cancel}'::text[]) p;
SELECT etl._start_runs();
SAVEPOINT s;
\set VERBOSITY terse
SELECT pg_temp.try($$SELECT pg_temp.ask('rq_queue', '2024-01-01')$$);
\set VERBOSITY default
ROLLBACK TO s;
SELECT pg_temp.ask(p, '2024-01-01') FROM unnest('{rq_skip,rq_cancel}'::text[]) p;
SELECT pg_temp.ask(NULL, '2024-01-01');
SELECT * FROM pg_temp.start();
-- the newer one starts when the other has ended
SELECT pg_temp.finish('rq_cancel', '2024-01-01', 'cancelled');
SELECT * FROM pg_temp.start() WHERE pipeline = 'rq_cancel';
ROLLBACK;

--
-- depends_on_past
--
BEGIN;
SELECT etl.create_pipeline('rq_past', depends_on_past => true, max_active_runs => 3);
SELECT etl.add_load('rq_past', 'rq.past', 'full', source => 'rq.txf_t');
SELECT pg_temp.ask('rq_past', d::date, 'schedule') FROM generate_series(timestamp '2024-01-01', '2024-01-03', '1 day') d;
SELECT * FROM pg_temp.start();
-- nothing that waits keeps a coordinator
SELECT etl._runs_about_to_start();
SELECT pg_temp.finish('rq_past', '2024-01-01', 'failed');
SELECT * FROM pg_temp.start();
-- it waits until that interval has succeeded, however often it takes
SELECT pg_temp.ask('rq_past', '2024-01-01', 'retry');
SELECT * FROM pg_temp.start() WHERE state IN ('queued', 'running');
SELECT pg_temp.finish('rq_past', '2024-01-01');
SELECT * FROM pg_temp.start() WHERE state IN ('queued', 'running');
SELECT pg_temp.finish('rq_past', '2024-01-02', 'cancelled');
SELECT * FROM pg_temp.start() WHERE state IN ('queued', 'running');
-- a caller waits for what is under way, not for what nobody is at
SELECT pg_temp.ask('rq_past', '2024-01-04', caller_pid => 0);
SELECT * FROM pg_temp.start() WHERE run_date >= '2024-01-03';
SELECT etl.alter_pipeline('rq_past', depends_on_past => false);
SELECT * FROM pg_temp.start() WHERE run_date >= '2024-01-03';
SELECT pg_temp.finish('rq_past', '2024-01-03', 'failed');
SELECT pg_temp.finish('rq_past', '2024-01-04', 'failed');
SELECT etl.alter_pipeline('rq_past', depends_on_past => true);
SELECT pg_temp.ask('rq_past', '2024-01-05', caller_pid => 0);
SELECT etl._start_runs();
SELECT state, error_code, pg_temp.stable(error_message) AS error_message, error_hint FROM etl.runs WHERE pipeline = 'rq_past' AND run_date = '2024-01-05';
-- rebuilding from raw waits for nobody
SELECT etl._submit(1, current_user, NULL, NULL, 'rq_past', '2024-01-06', '2024-01-07', 'manual');
UPDATE etl.run SET trigger = 'reprocess' WHERE run_date = '2024-01-06';
SELECT * FROM pg_temp.start() WHERE run_date = '2024-01-06';
ROLLBACK;

--
-- after
--
BEGIN;
SELECT etl.create_pipeline('rq_days', schedule => '@daily', max_active_runs => 10), etl.create_pipeline('rq_hours', schedule => '@hourly', max_active_runs => 100),
	etl.create_pipeline('rq_month', schedule => '@monthly', timezone => 'Europe/Berlin'), etl.create_pipeline('rq_gone');
SELECT etl.create_pipeline('rq_after', schedule => '@daily', after => '{rq_days}', max_active_runs => 10),
	etl.create_pipeline('rq_after_hours', schedule => '@daily', after => '{rq_hours}'),
	etl.create_pipeline('rq_after_month', schedule => '@daily', after => '{rq_month}'),
	etl.create_pipeline('rq_after_gone', after => '{rq_days,rq_gone}');
SELECT etl.add_load(p, 'rq.' || p, 'full', source => 'rq.txf_t') FROM unnest('{rq_days,rq_hours,rq_month,rq_after,rq_after_hours,rq_after_month,rq_after_gone}'::text[]) p;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT etl.drop_pipeline('rq_gone');
SELECT pg_temp.ask(p, '2024-01-01', 'schedule') FROM unnest('{rq_after,rq_after_hours,rq_after_month,rq_after_gone}'::text[]) p;
SELECT * FROM pg_temp.start();
-- of the same interval
SELECT pg_temp.ask('rq_days', '2024-01-01'), pg_temp.ask('rq_days', '2024-01-02');
SELECT * FROM pg_temp.start() WHERE pipeline IN ('rq_days', 'rq_after');
SELECT pg_temp.finish('rq_days', '2024-01-02');
SELECT * FROM pg_temp.start() WHERE pipeline IN ('rq_days', 'rq_after');
SELECT pg_temp.finish('rq_days', '2024-01-01', 'failed');
SELECT * FROM pg_temp.start() WHERE pipeline IN ('rq_days', 'rq_after') AND state = 'queued';
SELECT pg_temp.ask('rq_days', '2024-01-01');
SELECT etl._start_runs();
SELECT pg_temp.finish('rq_days', '2024-01-01');
SELECT * FROM pg_temp.start() WHERE pipeline IN ('rq_after', 'rq_after_gone');
-- of all intervals that lie within it
SELECT pg_temp.ask('rq_hours', '2024-01-01');
SELECT etl._start_runs();
UPDATE etl.run SET state = 'success', ended_at = clock_timestamp() WHERE pipeline = 'rq_hours' AND data_interval_start <> '2024-01-01 05:00+00';
SELECT * FROM pg_temp.start() WHERE pipeline = 'rq_after_hours';
UPDATE etl.run SET state = 'success', ended_at = clock_timestamp() WHERE pipeline = 'rq_hours' AND data_interval_start = '2024-01-01 05:00+00';
SELECT * FROM pg_temp.start() WHERE pipeline = 'rq_after_hours';
-- of the one that covers it, whatever the time zone
SELECT pg_temp.ask('rq_month', '2024-01-01');
SELECT etl._start_runs();
SELECT pg_temp.finish('rq_month', '2024-01-01');
SELECT * FROM pg_temp.start() WHERE pipeline = 'rq_after_month';
-- success of an open interval does not count for good
SELECT pg_temp.ask('rq_days', '2024-06-01');
SELECT etl._start_runs();
SELECT pg_temp.finish('rq_days', '2024-06-01');
SELECT pg_temp.ask('rq_after', '2024-06-01', 'schedule');
SET LOCAL etl.clock = '2024-06-02 00:01+00';
SELECT * FROM pg_temp.start() WHERE run_date = '2024-06-01';
SET LOCAL etl.clock = '2024-06-01 12:00+00';
UPDATE etl.run SET looked_at = looked_at - interval '6 seconds' WHERE state = 'queued';
SELECT * FROM pg_temp.start() WHERE run_date = '2024-06-01';
-- a longer run counts for the days it covers
SELECT etl._submit(1, current_user, NULL, NULL, 'rq_days', '2024-03-01', '2024-04-01', 'manual');
SELECT etl._start_runs();
SELECT pg_temp.finish('rq_days', '2024-03-01');
SELECT pg_temp.ask('rq_after', '2024-03-20', 'schedule'), pg_temp.ask('rq_after', '2024-04-01', 'schedule');
SELECT * FROM pg_temp.start() WHERE pipeline = 'rq_after' AND run_date IN ('2024-03-20', '2024-04-01');
-- not waited for: what the other pipeline never had
SELECT etl.alter_pipeline('rq_days', start_date => '2024-05-01');
UPDATE etl.run SET looked_at = looked_at - interval '6 seconds' WHERE state = 'queued';
SELECT * FROM pg_temp.start() WHERE pipeline = 'rq_after' AND run_date IN ('2024-03-20', '2024-04-01');
ROLLBACK;
-- which intervals a period touches
BEGIN;
SELECT etl.create_pipeline('rq_s', schedule => '15 6 * * *', timezone => 'Europe/Berlin');
SELECT i.* FROM etl.pipeline p, etl._intervals_touching(p, '2024-03-30 23:00+00', '2024-03-31 22:00+00') i WHERE p.pipeline = 'rq_s';
SELECT etl.alter_pipeline('rq_s', schedule => '@yearly');
SELECT i.* FROM etl.pipeline p, etl._intervals_touching(p, '2024-03-30 23:00+00', '2024-03-31 22:00+00') i WHERE p.pipeline = 'rq_s';
SELECT etl.alter_pipeline('rq_s', schedule => '1 second');
SELECT count(*), min(i.data_interval_start), max(i.data_interval_end) FROM etl.pipeline p, etl._intervals_touching(p, '2024-03-30 23:00:00.5+00', '2024-03-30 23:01+00') i WHERE p.pipeline = 'rq_s';
-- more than can be counted is a reason to wait, not an error of the coordinator
SELECT waits_for, under_way FROM etl._upstream_waits_for('rq_s', '2024-01-01', '2025-01-01');
ROLLBACK;

--
-- triggered_by
--
BEGIN;
SELECT etl.create_pipeline('rq_x', schedule => '@hourly'), etl.create_pipeline('rq_y', schedule => '@hourly'), etl.create_pipeline('rq_fresh', triggered_by => '{rq_x,rq_y}'),
	etl.create_pipeline('rq_fresher', triggered_by => '{rq_fresh}'), etl.create_pipeline('rq_paused', triggered_by => '{rq_x}'),
	etl.create_pipeline('rq_day', schedule => '@daily', after => '{rq_fresher}');
SELECT etl.add_load(p, 'rq.' || p, 'full', source => 'rq.txf_t') FROM unnest('{rq_x,rq_y,rq_fresh,rq_fresher,rq_paused}'::text[]) p;
SELECT etl.pause('rq_paused');
SELECT etl._submit(1, current_user, NULL, NULL, p, '2024-01-01 00:00+00', '2024-01-01 01:00+00', 'schedule') FROM unnest('{rq_x,rq_y}'::text[]) p;
SELECT etl._start_runs();
SELECT pg_temp.finish('rq_x', '2024-01-01');
SELECT count(*) FROM etl.runs WHERE trigger = 'upstream' AND pipeline ~ '^rq';
SELECT pg_temp.finish('rq_y', '2024-01-01');
SELECT pipeline, state, trigger, requested_by = current_user AS mine, data_interval_start, data_interval_end FROM etl.runs WHERE trigger = 'upstream' AND pipeline ~ '^rq';
SELECT etl._start_runs();
-- published anew while it is under way: once more, afterwards
SELECT etl._submit(1, current_user, NULL, NULL, 'rq_x', '2024-01-01 00:00+00', '2024-01-01 01:00+00', 'retry');
SELECT etl._start_runs();
SELECT pg_temp.finish('rq_x', '2024-01-01');
SELECT * FROM pg_temp.start() WHERE pipeline = 'rq_fresh';
SELECT pg_temp.finish('rq_fresh', '2024-01-01');
SELECT * FROM pg_temp.start() WHERE pipeline ~ 'rq_fresh';
-- a failure triggers nothing
SELECT pg_temp.finish('rq_fresher', '2024-01-01', 'failed');
SELECT count(*) FROM etl.runs WHERE trigger = 'upstream' AND pipeline ~ '^rq';
-- whoever waits for a triggered pipeline waits for the intervals of what triggers it
SELECT waits_for FROM etl._upstream_waits_for('rq_fresher', '2024-01-01 01:00+00', '2024-01-02 00:00+00');
ROLLBACK;

--
-- run_timeout
--
BEGIN;
SELECT etl.create_pipeline('rq_slow', run_timeout => '1 hour');
SELECT etl.add_load('rq_slow', 'rq.slow', 'full', source => 'rq.txf_t');
SELECT pg_temp.ask('rq_slow', '2024-01-01');
SELECT etl._start_runs();
SELECT etl._pass_cancellations_on();
SELECT (SELECT next_attempt_at FROM etl._coordinator_outlook()) - started_at AS wakes_after FROM etl.run WHERE pipeline = 'rq_slow';
UPDATE etl.run SET started_at = started_at - interval '61 minutes' WHERE pipeline = 'rq_slow';
SELECT etl._pass_cancellations_on();
SELECT state, error_task, error_code, error_message, error_hint FROM etl.runs WHERE pipeline = 'rq_slow';
SELECT task, state FROM etl.task_runs WHERE pipeline = 'rq_slow' ORDER BY 1;
ROLLBACK;

-- what is wrong with one does not keep others from starting
BEGIN;
SELECT etl.create_pipeline('rq_good'), etl.create_pipeline('rq_dropped');
SELECT etl.add_load('rq_good', 'rq.good', 'full', source => 'rq.txf_t');
SELECT pg_temp.ask('rq_good', '2024-01-01'), pg_temp.ask('rq_dropped', '2024-01-01'), pg_temp.ask('rq_dropped', '2024-01-02');
SELECT etl.drop_pipeline('rq_dropped');
SELECT * FROM pg_temp.start();
SELECT * FROM pg_temp.start();
ROLLBACK;
DROP SCHEMA rq CASCADE;
