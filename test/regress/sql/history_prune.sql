-- What of the history goes, and what stays whatever its age; statistics, which outlive it.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
-- what the coordinator does by itself is not to come between
INSERT INTO etl.maintenance VALUES ('prune_history', now()) ON CONFLICT (task) DO UPDATE SET done_at = now();
SHOW etl.keep_history;
SHOW etl.keep_runs;
SHOW etl.keep_quarantine;
CREATE ROLE regress_hp_owner LOGIN;
CREATE ROLE regress_hp_stranger LOGIN IN ROLE etl_operator;
SELECT format('GRANT CREATE ON DATABASE %I TO regress_hp_owner', current_database()) \gexec
SET SESSION AUTHORIZATION regress_hp_owner;
CREATE SCHEMA hp;
CREATE VIEW hp.txf_t AS SELECT 1 AS id;
SELECT etl.create_pipeline('hp');
SELECT etl.add_load('hp', 'hp.t', 'full', key => '{id}');
SELECT etl.add_check('hp', 'hp.t', 'row_count', '{"min": 1}', name => 'some');
SELECT * FROM pg_temp.run('hp', '2020-01-01');
RESET SESSION AUTHORIZATION;

--
-- Runs of hours long ago, with all that is about them: run N covers hour N of 2020-02-01.
-- Run 5 is the only one that has filled hp.u; 7 was open and was not completed, 8 was
--
CREATE FUNCTION pg_temp.hour(n integer) RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2020-02-01 00:00Z' + n * interval '1 hour' $$;
INSERT INTO etl.run (run_id, pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, state, requested_by, queued_at, started_at, ended_at, interval_is_open)
SELECT -1000 + n, 'hp', 'regress_hp_owner', pg_temp.hour(n), pg_temp.hour(n + 1), '2020-02-01', 'UTC', 'schedule', CASE n % 10 WHEN 3 THEN 'failed' WHEN 4 THEN 'cancelled' ELSE 'success' END,
	current_user, pg_temp.hour(n + 1), pg_temp.hour(n + 1), pg_temp.hour(n + 1) + interval '1 minute', n IN (7, 8)
FROM generate_series(1, 40) n;
UPDATE etl.run SET data_interval_start = pg_temp.hour(8), data_interval_end = pg_temp.hour(9) WHERE run_id = -1000 + 9;
INSERT INTO etl.task_run (task_run_id, run_id, task, kind, position, state, attempt)
SELECT r.run_id * 10 + k.n, r.run_id, CASE WHEN k.n = 0 THEN 'publish' WHEN r.run_id = -995 THEN 'hp.u' ELSE 'hp.t' END, k.kind, k.n, 'success', 1
FROM etl.run r, (VALUES (0, 'publish'), (1, 'load')) k(n, kind) WHERE r.run_id < 0;
INSERT INTO etl.task_attempt (task_run_id, attempt, worker_pid, state) SELECT task_run_id, 1, 1, 'success' FROM etl.task_run WHERE run_id < 0 AND kind = 'publish';
INSERT INTO etl.check_result (run_id, pipeline, check_name, target, check_type, severity, passed, failing_rows, attempt) SELECT run_id, 'hp', 'some', 'hp.t', 'row_count', 'error', true, 0, 1 FROM etl.run WHERE run_id < 0;
INSERT INTO etl.log_entry (level, pipeline, owner, run_id, message) SELECT 'INFO', 'hp', owner, run_id, 'old' FROM etl.run WHERE run_id < 0;
INSERT INTO etl.cancel_request (run_id, requested_by) SELECT run_id, current_user FROM etl.run WHERE run_id < 0 AND state = 'cancelled';
INSERT INTO etl.log_entry (level, pipeline, owner, message, logged_at) VALUES ('WARN', 'hp', 'regress_hp_owner', 'of no run, old', '2020-01-01'), ('WARN', 'hp', 'regress_hp_owner', 'of no run, new', now());
INSERT INTO etl.check_result (pipeline, check_name, target, check_type, severity, passed, failing_rows, attempt, checked_at)
VALUES ('hp', 'some', 'hp.t', 'row_count', 'error', true, 0, 1, '2020-01-01'), ('hp', 'some', 'hp.t', 'row_count', 'error', true, 0, 1, now());
INSERT INTO etl.task (pipeline, task, kind, target_schema, target_name, definition, generation) VALUES ('hp', 'hp.u', 'load', 'hp', 'u', '{}', 1);

--
-- Loads: what readers see stays, and what leads back to it; what they do not goes with all that is about it
--
CREATE FUNCTION pg_temp.load(id bigint, state text, at timestamptz, reclaimed boolean) RETURNS void LANGUAGE sql AS $$
	INSERT INTO etl.load (load_id, pipeline, owner, task, target_schema, target_name, data_interval_start, data_interval_end, run_id, state, fingerprint, published_at, reclaimed_at, completed_at)
	VALUES (id, 'hp', 'regress_hp_owner', 'hp.raw', 'hp', 'raw', at, at + interval '1 day', 0, state, '', at, CASE WHEN reclaimed THEN at END, at);
	-- the second page can be asked for conditionally, a record of the third is in quarantine
	INSERT INTO etl.slice (load_id, slice, item, page, request, attempts, bytes, fetched, loaded, quarantined, request_key)
	SELECT id, n, n, 0, 'GET', 1, 0, (n = 2)::integer, 0, (n = 2)::integer, CASE n WHEN 1 THEN 'key' END FROM generate_series(0, 2) n;
	INSERT INTO etl.load_item SELECT id, n, '{}' FROM generate_series(0, 2) n;
	INSERT INTO etl.item_error VALUES (id, 3, 'HV000', 'gone');
	INSERT INTO etl.load_watermark (load_id, item, start_value) VALUES (id, 'null', '0');
	INSERT INTO etl.load_shape (load_id) VALUES (id);
	INSERT INTO etl.quarantined_record (quarantine_id, load_id, pipeline, task, slice, record_number, byte_offset, record, reason_code, reason, request, quarantined_at)
	VALUES (id, id, 'hp', 'hp.raw', 2, 0, 0, '', '22P02', '', '', at);
$$;
SELECT pg_temp.load(-1, 'published', '2020-01-01', false);
SELECT pg_temp.load(-2, 'published', now() - interval '300 days', false);
SELECT pg_temp.load(-3, 'superseded', '2020-01-01', true);
SELECT pg_temp.load(-4, 'superseded', '2020-01-01', false);
SELECT pg_temp.load(-5, 'abandoned', now() - interval '300 days', true);
SELECT pg_temp.load(-6, 'expired', '2020-01-01', true);
SELECT pg_temp.load(-7, 'expired', '2020-01-02', true);
SELECT pg_temp.load(-8, 'loading', '2020-01-01', false);
-- in quarantine: replayed long ago; not, and old; not, and old, but of a page that is asked for conditionally; not so old
INSERT INTO etl.quarantined_record (quarantine_id, load_id, pipeline, task, slice, record_number, byte_offset, record, reason_code, reason, request, quarantined_at, replayed_at)
VALUES (-11, -2, 'hp', 'hp.raw', 0, 0, 0, '', '22P02', '', '', '2020-01-01', '2020-01-02'), (-12, -2, 'hp', 'hp.raw', 0, 0, 0, '', '22P02', '', '', '2020-01-01', NULL),
	(-13, -2, 'hp', 'hp.raw', 1, 0, 0, '', '22P02', '', '', '2020-01-01', NULL), (-14, -2, 'hp', 'hp.raw', 0, 0, 0, '', '22P02', '', '', now() - interval '1000 days', NULL);

CREATE VIEW pg_temp.counts AS
	SELECT (SELECT count(*) FROM etl.run WHERE pipeline = 'hp') AS runs, (SELECT count(*) FROM etl.task_run WHERE run_id < 0) AS task_runs,
		   (SELECT count(*) FROM etl.task_attempt WHERE task_run_id < 0) AS attempts, (SELECT count(*) FROM etl.check_result WHERE pipeline = 'hp') AS results,
		   (SELECT count(*) FROM etl.log_entry WHERE message = 'old') AS log, (SELECT count(*) FROM etl.log_entry WHERE message ~ '^of no run') AS other_log,
		   (SELECT count(*) FROM etl.cancel_request WHERE run_id < 0) AS cancels, (SELECT count(*) FROM etl.load WHERE load_id < 0) AS loads,
		   (SELECT count(*) FROM etl.slice WHERE load_id < 0) AS slices, (SELECT count(*) FROM etl.quarantined_record WHERE quarantine_id < 0) AS quarantined;
SELECT * FROM pg_temp.counts;

--
-- Who may, and by which limits
--
SET SESSION AUTHORIZATION regress_hp_stranger;
SELECT * FROM etl.prune_history('hp');
SELECT * FROM etl.prune_history();
SET SESSION AUTHORIZATION regress_hp_owner;
SELECT * FROM etl.prune_history('hp_missing');
SELECT * FROM etl.prune_history('hp', keep_runs => -1);
SELECT * FROM etl.prune_history('hp', keep_history => '-1 day');
SELECT * FROM etl.prune_history('hp', dry_run => true);
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.counts;
SET SESSION AUTHORIZATION regress_hp_owner;
-- quarantine has a limit of its own
SELECT * FROM etl.prune_history('hp', keep_history => '1000 years');
-- by the settings; by the pipeline's own; by what is given
SELECT * FROM etl.prune_history('hp');
SELECT * FROM etl.prune_history('hp');
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.counts;
-- the last twenty, the one that filled hp.u, the one that is still open, the latest interval
SELECT array_agg(run_id + 1000 ORDER BY run_id) AS hours FROM etl.run WHERE pipeline = 'hp' AND run_id < 0;
-- that they succeeded is known all the same
SELECT i.intervals FROM etl.pruned_interval i WHERE i.pipeline = 'hp';
SELECT n, etl._succeeded_long_ago('hp', pg_temp.hour(n), pg_temp.hour(n + 1)) FROM unnest('{1,3,4,5,6,8,9,50}'::integer[]) n;
-- loads
SELECT l.load_id, l.state, l.details_pruned_at IS NOT NULL AS pruned, (SELECT array_agg(s.slice ORDER BY 1) FROM etl.slice s WHERE s.load_id = l.load_id) AS slices,
	(SELECT array_agg(i.item ORDER BY 1) FROM etl.load_item i WHERE i.load_id = l.load_id) AS items, (SELECT count(*) FROM etl.item_error e WHERE e.load_id = l.load_id) AS errors,
	(SELECT count(*) FROM etl.load_watermark w WHERE w.load_id = l.load_id) AS watermarks, (SELECT count(*) FROM etl.load_shape h WHERE h.load_id = l.load_id) AS shapes
FROM etl.load l WHERE l.load_id < 0 ORDER BY 1 DESC;
SELECT etl._rebuildable_since('hp');
SELECT quarantine_id FROM etl.quarantined_record WHERE quarantine_id < 0 ORDER BY 1 DESC;
SELECT level, message FROM etl.log WHERE pipeline = 'hp' AND message ~ 'quarantine';

-- the pipeline's own limits
SET SESSION AUTHORIZATION regress_hp_owner;
SELECT etl.alter_pipeline('hp', keep_runs => 10);
SELECT * FROM etl.prune_history();
SELECT * FROM etl.prune_history('hp', keep_runs => 3);
SELECT * FROM etl.prune_history('hp', keep_runs => 0);
RESET SESSION AUTHORIZATION;
SELECT array_agg(run_id + 1000 ORDER BY run_id) AS hours FROM etl.run WHERE pipeline = 'hp' AND run_id < 0;
-- what the coordinator does: at most every six hours, a batch a call
DELETE FROM etl.maintenance;
CREATE FUNCTION pg_temp.prune(after text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 100 LOOP
		after := etl._prune_step(after);
		EXIT WHEN after IS NULL;
	END LOOP;
END $$;
SELECT pg_temp.prune(NULL);
SELECT done_at > now() - interval '1 minute' AS noted FROM etl.maintenance WHERE task = 'prune_history';
INSERT INTO etl.run (run_id, pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, state, requested_by, queued_at, started_at, ended_at)
SELECT -2000 + n, 'hp', 'regress_hp_owner', pg_temp.hour(n), pg_temp.hour(n + 1), '2020-02-01', 'UTC', 'schedule', 'success', current_user, pg_temp.hour(n), pg_temp.hour(n), pg_temp.hour(n)
FROM generate_series(1, 250) n;
SELECT etl._prune_step(NULL) IS NULL AS not_again;
DELETE FROM etl.maintenance;
SELECT etl._prune_step('hoz') AS go_on_after;
SELECT count(*) FROM etl.run WHERE pipeline = 'hp' AND run_id < -1000;
SELECT pg_temp.prune('hoz');
SELECT count(*) FROM etl.run WHERE pipeline = 'hp' AND run_id < -1000;
-- pipelines that were dropped have a history, too; a superuser's to prune
BEGIN;
INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, state, requested_by, queued_at, ended_at)
SELECT 'hp_dropped', 'regress_hp_owner', pg_temp.hour(n), pg_temp.hour(n + 1), '2020-02-01', 'UTC', 'schedule', 'failed', current_user, pg_temp.hour(n), pg_temp.hour(n) FROM generate_series(1, 25) n;
SELECT * FROM etl.prune_history('hp_dropped', dry_run => true);
SELECT * FROM etl.prune_history() WHERE pipeline ~ '^hp';
SELECT * FROM etl.prune_history('hp_dropped', keep_runs => 0);
COMMIT;

DELETE FROM etl.run WHERE run_id < 0;
DELETE FROM etl.task_run WHERE run_id < 0;
DELETE FROM etl.task WHERE task = 'hp.u';

--
-- Statistics: counted when a run ends, and kept
--
SET SESSION AUTHORIZATION regress_hp_owner;
SELECT runs, successes, failures, cancellations, success_rate, failures_in_a_row, is_late, inserted, last_success_at IS NOT NULL AS has_success, last_failure_at IS NOT NULL AS has_failure,
	p50_duration > '0' AS took_time, p50_duration <= p99_duration AS in_order FROM etl.pipeline_statistics;
CREATE OR REPLACE VIEW hp.txf_t AS SELECT 1 / 0 AS id;
SELECT * FROM pg_temp.run('hp', '2020-03-01');
SELECT * FROM pg_temp.run('hp', '2020-03-02');
SELECT runs, successes, failures, success_rate, failures_in_a_row FROM etl.pipeline_statistics;
CREATE OR REPLACE VIEW hp.txf_t AS SELECT 2 AS id;
SELECT * FROM pg_temp.run('hp', '2020-03-03');
SELECT runs, successes, failures, success_rate, failures_in_a_row, last_success_run_id > last_failure_run_id AS well, inserted, deleted FROM etl.pipeline_statistics;
SELECT day = (now() AT TIME ZONE 'UTC')::date AS today, runs, successes, failures, inserted FROM etl.pipeline_days;
SELECT runs FROM etl.prune_history('hp', keep_runs => 0);
SELECT runs, successes, failures FROM etl.pipeline_statistics;
-- fixtures are no runs
BEGIN;
SELECT count(*) FROM etl.transform('hp', '2020-03-04 00:00Z');
SELECT runs FROM etl.pipeline_statistics;
ROLLBACK;
RESET SESSION AUTHORIZATION;
-- percentiles within a percent: a hundred runs of 1 to 100 seconds
DELETE FROM etl.pipeline_duration;
INSERT INTO etl.pipeline_duration SELECT 'hp', 'regress_hp_owner', (now() AT TIME ZONE 'UTC')::date - (n % 3), etl._duration_step(n * interval '1 second'), 1 FROM generate_series(1, 100) n
ON CONFLICT (pipeline, owner, day, step) DO UPDATE SET runs = etl.pipeline_duration.runs + 1;
SELECT abs(extract(epoch FROM p50_duration) - 50) < 0.8 AS p50, abs(extract(epoch FROM p95_duration) - 95) < 1.5 AS p95, abs(extract(epoch FROM p99_duration) - 99) < 1.5 AS p99 FROM etl.pipeline_statistics;
INSERT INTO etl.pipeline_day (pipeline, owner, day, successes) VALUES ('hp', 'regress_hp_owner', (now() AT TIME ZONE 'UTC')::date - 35, 1000);
SELECT runs FROM etl.pipeline_statistics;
SET etl.statistics_days = 36;
SELECT runs FROM etl.pipeline_statistics;
RESET etl.statistics_days;
SET SESSION AUTHORIZATION regress_hp_stranger;
SELECT count(*) FROM etl.pipeline_statistics;
RESET SESSION AUTHORIZATION;
\set ECHO none
SELECT format('REVOKE CREATE ON DATABASE %I FROM regress_hp_owner', current_database()) \gexec
\set ECHO all
DELETE FROM etl.quarantined_record WHERE quarantine_id < 0;
DELETE FROM etl.slice WHERE load_id < 0;
DELETE FROM etl.load_item WHERE load_id < 0;
DELETE FROM etl.load_watermark WHERE load_id < 0;
DELETE FROM etl.load_shape WHERE load_id < 0;
DELETE FROM etl.item_error WHERE load_id < 0;
DELETE FROM etl.load WHERE load_id < 0;
SELECT etl.drop_pipeline('hp', drop_data => true);
DROP SCHEMA hp CASCADE;
DELETE FROM etl.run WHERE pipeline ~ '^hp';
DROP OWNED BY regress_hp_owner;
DROP ROLE regress_hp_owner, regress_hp_stranger;
