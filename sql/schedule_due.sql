-- Schedules that fire: what each pipeline is due for next, kept where one look at an index
-- tells, and queueing what is due.
--
-- All of it goes by etl._now().  A tick ends the interval that is run then: the daily run of
-- the 21st covers the 20th.

CREATE TABLE etl.schedule_state (
	pipeline			text PRIMARY KEY,
	schedule			text NOT NULL,
	timezone			text NOT NULL,
	start_date			timestamptz,
	last_tick			timestamptz NOT NULL,
	has_fired			boolean NOT NULL DEFAULT false,
	data_interval_start timestamptz,
	data_interval_end	timestamptz,
	due_at				timestamptz
);
COMMENT ON TABLE etl.schedule_state IS 'what the schedule of each pipeline has queued, and what it queues next';
COMMENT ON COLUMN etl.schedule_state.schedule IS 'what this was worked out from, as timezone and start_date: a change begins anew';
COMMENT ON COLUMN etl.schedule_state.last_tick IS 'intervals that end up to here are queued, or given up';
COMMENT ON COLUMN etl.schedule_state.due_at IS 'when the next interval is due: its end and the jitter; NULL: paused, or there is none';
-- One look tells when a database has something to do, however many pipelines there are.
CREATE INDEX schedule_state_due ON etl.schedule_state (due_at);
-- Intervals that were run before they were over, and wait to be completed.
CREATE INDEX run_open_interval ON etl.run (pipeline, data_interval_end) WHERE interval_is_open AND state = 'success';

CREATE FUNCTION etl._next_interval(pipeline text, schedule text, timezone text, after timestamptz, start_date timestamptz, end_date timestamptz, jitter interval)
RETURNS TABLE (data_interval_start timestamptz, data_interval_end timestamptz, due_at timestamptz)
LANGUAGE C STABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'etl_next_interval';
COMMENT ON FUNCTION etl._next_interval(text, text, text, timestamptz, timestamptz, timestamptz, interval) IS
	'the first interval of a schedule that ends after an instant, and when it is due; no row if there is none';

CREATE FUNCTION etl._due_intervals(pipeline text, schedule text, timezone text, after timestamptz, start_date timestamptz, end_date timestamptz, jitter interval,
	now timestamptz, catchup boolean, most integer)
RETURNS TABLE (data_interval_start timestamptz, data_interval_end timestamptz, due_at timestamptz)
LANGUAGE C STABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'etl_due_intervals';
COMMENT ON FUNCTION etl._due_intervals(text, text, text, timestamptz, timestamptz, timestamptz, interval, timestamptz, boolean, integer) IS
	'the intervals of a schedule that end after an instant and are due: the last, or with catchup the first so many';

CREATE FUNCTION etl._launcher_exists() RETURNS boolean
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'etl_launcher_exists';
COMMENT ON FUNCTION etl._launcher_exists() IS 'whether the library is preloaded, so that schedules fire';

CREATE FUNCTION etl._wake_scheduler_on_commit() RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_wake_scheduler_on_commit';
COMMENT ON FUNCTION etl._wake_scheduler_on_commit() IS 'has the launcher look at schedules when the transaction commits';

-- A new schedule begins now, or at a start_date that has passed: from there on intervals
-- count as missed.  So does one that is changed, but with catchup nothing is left out.
CREATE FUNCTION etl._plan_schedule(pipeline text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	p etl.pipeline;
	s etl.schedule_state;
	now timestamptz := etl._now();
BEGIN
	PERFORM etl._wake_scheduler_on_commit();
	SELECT * INTO p FROM etl.pipeline x WHERE x.pipeline = _plan_schedule.pipeline;
	IF p.schedule IS NULL THEN
		DELETE FROM etl.schedule_state x WHERE x.pipeline = _plan_schedule.pipeline;
		RETURN;
	END IF;
	SELECT * INTO s FROM etl.schedule_state x WHERE x.pipeline = p.pipeline FOR UPDATE;
	IF s.pipeline IS NULL OR NOT s.has_fired AND (s.schedule, s.timezone, s.start_date) IS DISTINCT FROM (p.schedule, p.timezone, p.start_date) THEN
		s.last_tick := least(p.start_date - interval '1 microsecond', now);
		s.has_fired := false;
	ELSIF (s.schedule, s.timezone) IS DISTINCT FROM (p.schedule, p.timezone) AND NOT p.catchup THEN
		s.last_tick := greatest(s.last_tick, now);
	END IF;
	INSERT INTO etl.schedule_state (pipeline, schedule, timezone, start_date, last_tick, has_fired, data_interval_start, data_interval_end, due_at)
	SELECT p.pipeline, p.schedule, p.timezone, p.start_date, s.last_tick, s.has_fired, i.data_interval_start, i.data_interval_end,
		   CASE WHEN NOT p.paused THEN i.due_at END
	FROM (VALUES (1)) one LEFT JOIN etl._next_interval(p.pipeline, p.schedule, p.timezone, s.last_tick, p.start_date, p.end_date, p.jitter) i ON true
	ON CONFLICT (pipeline) DO UPDATE SET schedule = excluded.schedule, timezone = excluded.timezone, start_date = excluded.start_date,
		last_tick = excluded.last_tick, has_fired = excluded.has_fired,
		data_interval_start = excluded.data_interval_start, data_interval_end = excluded.data_interval_end, due_at = excluded.due_at;
END
$$;
COMMENT ON FUNCTION etl._plan_schedule(text) IS 'works out when a pipeline is due next, after its declaration has changed';

-- What an earlier run of an interval has left to be done: it was not over then, or the source
-- had nothing yet.
CREATE FUNCTION etl._intervals_to_complete(pipeline text, now timestamptz)
RETURNS TABLE (data_interval_start timestamptz, data_interval_end timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	-- intervals that were run before they were over, and are over now
	SELECT r.data_interval_start, r.data_interval_end
	FROM etl.run r
	WHERE r.pipeline = _intervals_to_complete.pipeline AND r.interval_is_open AND r.state = 'success' AND r.data_interval_end <= now
	  AND NOT EXISTS (SELECT FROM etl.run x WHERE x.pipeline = r.pipeline AND x.data_interval_start = r.data_interval_start
					  AND x.run_id > r.run_id AND x.state = 'success')
	UNION
	-- what was absent may have come since
	SELECT l.data_interval_start, l.data_interval_end
	FROM etl.pipeline p JOIN etl.task t USING (pipeline) JOIN etl.load l USING (pipeline, task)
	WHERE p.pipeline = _intervals_to_complete.pipeline AND t.definition ? 'recheck' AND l.owner = p.owner AND l.state = 'published' AND l.absent
	  AND l.data_interval_end > now - (t.definition ->> 'recheck')::interval
$$;
COMMENT ON FUNCTION etl._intervals_to_complete(text, timestamptz) IS 'intervals to be run again with the next ones: they were open, or the source had nothing yet';

-- All that is due now, in one statement: a thousand pipelines may be due at the same second.
-- A state that somebody is about to change is left to the look that follows his commit.
-- What is missed for long is queued a hundred at a time: more when these have been run.
CREATE FUNCTION etl._queue_due_runs() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	now timestamptz := etl._now();
	queued bigint;
	contested text[];
	starts timestamptz[];
	ends timestamptz[];
BEGIN
	IF NOT EXISTS (SELECT FROM etl.schedule_state s WHERE s.due_at <= now) OR etl._is_copy() THEN
		RETURN 0;
	END IF;
	WITH state AS MATERIALIZED (
		SELECT s.* FROM etl.schedule_state s WHERE s.due_at <= now ORDER BY s.due_at FOR UPDATE SKIP LOCKED),
	due AS MATERIALIZED (	-- not those that were altered between this snapshot and the lock
		SELECT p.*, s.last_tick FROM state s JOIN etl.pipeline p USING (pipeline, schedule, timezone) WHERE NOT p.paused),
	ticks AS MATERIALIZED (
		SELECT d.pipeline, d.owner, d.timezone, i.data_interval_start, i.data_interval_end
		FROM due d
		CROSS JOIN LATERAL etl._due_intervals(d.pipeline, d.schedule, d.timezone, d.last_tick, d.start_date, d.end_date, d.jitter, now, d.catchup,
			CASE WHEN d.catchup THEN 100 - (SELECT count(*)::integer FROM etl.run r WHERE r.pipeline = d.pipeline AND r.state = 'queued') ELSE 1 END) i),
	done AS (
		UPDATE etl.schedule_state s SET last_tick = coalesce(t.last_tick, s.last_tick), has_fired = s.has_fired OR t.last_tick IS NOT NULL,
			data_interval_start = n.data_interval_start, data_interval_end = n.data_interval_end, due_at = n.due_at
		FROM due d
		LEFT JOIN (SELECT x.pipeline, max(x.data_interval_end) AS last_tick FROM ticks x GROUP BY x.pipeline) t USING (pipeline)
		LEFT JOIN LATERAL etl._next_interval(d.pipeline, d.schedule, d.timezone, coalesce(t.last_tick, d.last_tick), d.start_date, d.end_date, d.jitter) n ON true
		WHERE s.pipeline = d.pipeline),
	intervals AS MATERIALIZED (
		SELECT t.pipeline, t.data_interval_start, t.data_interval_end FROM ticks t
		-- somebody has been quicker
		WHERE NOT EXISTS (SELECT FROM etl.run r WHERE r.pipeline = t.pipeline AND r.data_interval_start = t.data_interval_start
						  AND r.data_interval_end = t.data_interval_end AND r.state = 'success' AND NOT r.interval_is_open)
		UNION
		SELECT t.pipeline, c.data_interval_start, c.data_interval_end
		FROM (SELECT DISTINCT x.pipeline FROM ticks x) t CROSS JOIN LATERAL etl._intervals_to_complete(t.pipeline, now) c),
	runs AS MATERIALIZED (	-- contested: the overlap policy decides
		SELECT i.*, EXISTS (SELECT FROM etl.run r WHERE r.pipeline = i.pipeline AND r.state IN ('queued', 'running')
							AND (d.overlap <> 'queue' OR r.data_interval_start = i.data_interval_start)) AS contested
		FROM intervals i JOIN due d USING (pipeline)),
	uncontested AS (
		INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by, priority)
		SELECT r.pipeline, d.owner, r.data_interval_start, r.data_interval_end, (r.data_interval_start AT TIME ZONE d.timezone)::date, d.timezone, 'schedule', d.owner, d.priority
		FROM runs r JOIN due d USING (pipeline) WHERE NOT r.contested
		ORDER BY r.data_interval_start, r.pipeline
		RETURNING run_id)
	SELECT (SELECT count(*) FROM uncontested), array_agg(r.pipeline ORDER BY r.data_interval_start, r.pipeline),
		   array_agg(r.data_interval_start ORDER BY r.data_interval_start, r.pipeline), array_agg(r.data_interval_end ORDER BY r.data_interval_start, r.pipeline)
	INTO queued, contested, starts, ends
	FROM runs r WHERE r.contested;
	FOR n IN 1 .. coalesce(cardinality(contested), 0) LOOP
		PERFORM etl._queue_runs(NULL, x.owner, NULL, x, NULL, starts[n], ends[n], false, 'schedule') FROM etl.pipeline x WHERE x.pipeline = contested[n];
	END LOOP;
	RETURN queued + coalesce(cardinality(contested), 0);
END
$$;
COMMENT ON FUNCTION etl._queue_due_runs() IS 'queues the runs that schedules are due for; returns how many, those the overlap policy refused included';

-- With a clock that stands still nothing becomes due by waiting.
CREATE FUNCTION etl._next_due_at() RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN coalesce(current_setting('etl.clock', true), '') = '' THEN s.due_at
				WHEN s.due_at <= etl._now() THEN clock_timestamp() END
	FROM (SELECT min(x.due_at) AS due_at FROM etl.schedule_state x) s
	WHERE s.due_at IS NOT NULL AND NOT etl._is_copy()
$$;
COMMENT ON FUNCTION etl._next_due_at() IS 'when, by the system''s clock, the next scheduled run is due; NULL: never, unless something changes';

-- A view, so that who calls etl.next_runs sees what he may see, and no more.
CREATE VIEW etl._schedules WITH (security_barrier) AS
	SELECT p.pipeline, p.schedule, p.timezone, s.last_tick, p.start_date, p.end_date, p.jitter, p.catchup, s.due_at
	FROM etl.schedule_state s JOIN etl.pipeline p USING (pipeline)
	WHERE etl._may_see(p.owner) AND NOT etl._is_copy();
COMMENT ON VIEW etl._schedules IS 'the schedules behind etl.next_runs';

-- A composite type, because a result column may not be named like a parameter.
CREATE TYPE etl.next_run AS (pipeline text, data_interval_start timestamptz, data_interval_end timestamptz, due_at timestamptz);
COMMENT ON TYPE etl.next_run IS 'a run that a schedule will start, as etl.next_runs returns them';

CREATE FUNCTION etl.next_runs(pipeline text DEFAULT NULL, n integer DEFAULT 10) RETURNS SETOF etl.next_run
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	now timestamptz := etl._now();
BEGIN
	IF n IS NULL OR n < 0 THEN
		RAISE EXCEPTION 'invalid number of runs: %', n
			USING ERRCODE = 'invalid_parameter_value', HINT = 'n is how many runs to show, 0 or more.';
	END IF;
	IF next_runs.pipeline IS NOT NULL AND NOT EXISTS (SELECT FROM etl.pipelines p WHERE p.pipeline = next_runs.pipeline) THEN
		RAISE EXCEPTION 'pipeline "%" does not exist', pipeline
			USING ERRCODE = 'undefined_object', HINT = 'The view etl.pipelines lists those you may see.';
	END IF;
	RETURN QUERY
	WITH RECURSIVE s AS MATERIALIZED (
		SELECT * FROM etl._schedules x WHERE (next_runs.pipeline IS NULL OR x.pipeline = next_runs.pipeline) AND x.due_at IS NOT NULL),
	missed AS MATERIALIZED (
		SELECT s.pipeline, i.* FROM s CROSS JOIN LATERAL
			etl._due_intervals(s.pipeline, s.schedule, s.timezone, s.last_tick, s.start_date, s.end_date, s.jitter, now, s.catchup, n) i),
	coming AS (
		SELECT s.pipeline, i.*, 1 AS number FROM s
		LEFT JOIN (SELECT m.pipeline, max(m.data_interval_end) AS last_tick FROM missed m GROUP BY m.pipeline) m USING (pipeline)
		CROSS JOIN LATERAL etl._next_interval(s.pipeline, s.schedule, s.timezone, coalesce(m.last_tick, s.last_tick), s.start_date, s.end_date, s.jitter) i
		UNION ALL
		SELECT s.pipeline, i.*, c.number + 1 FROM coming c JOIN s USING (pipeline)
		CROSS JOIN LATERAL etl._next_interval(s.pipeline, s.schedule, s.timezone, c.data_interval_end, s.start_date, s.end_date, s.jitter) i
		WHERE c.number < n)
	SELECT x.pipeline, x.data_interval_start, x.data_interval_end, x.due_at
	FROM (SELECT * FROM missed UNION ALL SELECT c.pipeline, c.data_interval_start, c.data_interval_end, c.due_at FROM coming c) x
	ORDER BY x.due_at, x.pipeline LIMIT n;
END
$$;
COMMENT ON FUNCTION etl.next_runs(text, integer) IS 'the next n runs that schedules will start, of one pipeline or of all you may see, and when; nothing of paused ones';

SELECT pg_catalog.pg_extension_config_dump('etl.schedule_state', '');
