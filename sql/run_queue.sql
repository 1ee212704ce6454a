-- The queue: what becomes of a run that is asked for while others are active, what a queued
-- run waits for, and which ones start now.  What has to wait holds no worker, no connection
-- and no coordinator: a run that another keeps from starting is looked at again when that
-- one has ended.

-- ------------------------------------------------------------------ asking

-- Runs that fire by themselves overlap; what a person asks for on top, or in great number,
-- waits its turn.
CREATE FUNCTION etl._may_overlap(trigger text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT trigger IN ('schedule', 'manual', 'upstream') $$;
COMMENT ON FUNCTION etl._may_overlap(text) IS 'whether runs of this trigger are subject to the overlap policy of their pipeline';

-- The newest is kept, so that what was asked for last is what is done.  Running ones are
-- asked to end; their place is free when they have.
CREATE FUNCTION etl._cancel_previous(runs etl.run[], caller name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.run;
	reason CONSTANT text := 'A newer run takes its place: overlap of the pipeline is cancel_previous.';
BEGIN
	FOREACH r IN ARRAY runs LOOP
		-- it may have started, or ended, since it was looked for
		SELECT * INTO r FROM etl.run x WHERE x.run_id = r.run_id AND x.state IN ('queued', 'running') FOR UPDATE;
		CONTINUE WHEN NOT FOUND;
		INSERT INTO etl.cancel_request (run_id, requested_by, reason) VALUES (r.run_id, caller, reason) ON CONFLICT DO NOTHING;
		PERFORM etl._end_cancelled_run(r, NULL) WHERE r.state = 'queued';
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._cancel_previous(etl.run[], name) IS 'makes room for a newer run';

-- What becomes of a run that is about to be queued.  refused: why it is not; then state is
-- how it ends at once, or NULL if the caller is told by an error, and active is in its way.
CREATE FUNCTION etl._overlap(p etl.pipeline, interval_start timestamptz, request bigint, trigger text, named boolean, caller name,
	OUT active bigint, OUT state text, OUT refused text, OUT hint text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	same etl.run;
	others etl.run[];
	policy text := CASE WHEN etl._may_overlap(trigger) THEN p.overlap ELSE 'queue' END;
BEGIN
	SELECT * INTO same FROM etl.run r
	WHERE r.pipeline = p.pipeline AND r.data_interval_start = interval_start AND r.state IN ('queued', 'running') ORDER BY (r.state = 'queued') DESC LIMIT 1;
	-- earlier ones, not those of the same request
	others := ARRAY(SELECT r FROM etl.run r
		WHERE r.pipeline = p.pipeline AND r.state IN ('queued', 'running') AND etl._may_overlap(r.trigger) AND r.run_id IS DISTINCT FROM same.run_id
		  AND (r.request_id IS DISTINCT FROM request OR r.queued_at < now())
		  AND NOT EXISTS (SELECT FROM etl.cancel_request q WHERE q.run_id = r.run_id)
		ORDER BY r.run_id);
	IF policy = 'cancel_previous' THEN
		PERFORM etl._cancel_previous(others[:cardinality(others) + 1 - p.max_active_runs], caller) WHERE cardinality(others) >= p.max_active_runs;
		PERFORM etl._cancel_previous(ARRAY[same], caller) WHERE same.run_id IS NOT NULL;
	ELSIF same.run_id IS NOT NULL AND NOT (policy = 'queue' AND trigger = 'upstream' AND same.state = 'running') THEN
		active := same.run_id;
		refused := format('the interval is already running as run %s', active);
		hint := format('Wait for it, or SELECT etl.cancel(%s).', active);
		state := CASE WHEN policy = 'skip' OR trigger IN ('schedule', 'upstream') THEN 'skipped' WHEN NOT named THEN 'failed' END;
	ELSIF policy = 'skip' AND cardinality(others) >= p.max_active_runs THEN
		active := others[1].run_id;
		refused := format('run %s of interval %s is still active', active, others[1].data_interval_start AT TIME ZONE p.timezone);
		hint := 'Runs of this pipeline do not overlap: overlap is skip.';
		state := 'skipped';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._overlap(etl.pipeline, timestamptz, bigint, text, boolean, name) IS 'whether a run may be queued while others of its pipeline are active; makes room for it if need be';

-- ------------------------------------------------------------------ waiting for others

-- The intervals of a pipeline that a period touches: of an hourly one the 24 of a day, of a
-- monthly one the month a day is in.
CREATE FUNCTION etl._intervals_touching(p etl.pipeline, since timestamptz, until timestamptz)
RETURNS TABLE (data_interval_start timestamptz, data_interval_end timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	schedule text := coalesce(p.schedule, '@daily');
	ticks timestamptz[] := ARRAY(SELECT etl.schedule_ticks(schedule, p.timezone, since, until, 1000000));
	span interval;
BEGIN
	IF ticks[1] IS DISTINCT FROM since THEN
		-- the last tick before: nearby first, as there may be one every second
		FOREACH span IN ARRAY '{1 hour,1 day,32 days,367 days,5 years}'::interval[] LOOP
			ticks := ARRAY(SELECT max(t) FROM etl.schedule_ticks(schedule, p.timezone, since - span, since, 1000000) t HAVING count(*) > 0) || ticks;
			EXIT WHEN ticks[1] < since;
		END LOOP;
	END IF;
	ticks := ticks || ARRAY(SELECT etl.next_ticks(schedule, p.timezone, coalesce(ticks[cardinality(ticks)], since), 1));
	RETURN QUERY SELECT ticks[n], ticks[n + 1] FROM generate_series(1, cardinality(ticks) - 1) n
		WHERE (p.start_date IS NULL OR ticks[n] >= p.start_date) AND (p.end_date IS NULL OR ticks[n + 1] <= p.end_date);
END
$$;
COMMENT ON FUNCTION etl._intervals_touching(etl.pipeline, timestamptz, timestamptz) IS 'the data intervals of a pipeline, by its schedule, that overlap a period';

-- What has become of an interval: its latest run, or the latest that covers it.
CREATE FUNCTION etl._latest_run(pipeline text, interval_start timestamptz, interval_end timestamptz) RETURNS SETOF etl.run
LANGUAGE sql STABLE ROWS 1 SET search_path = pg_catalog, pg_temp
AS $$
	(SELECT r.* FROM etl.run r WHERE r.pipeline = _latest_run.pipeline AND r.data_interval_start = interval_start AND r.state <> 'skipped'
	   AND r.data_interval_end >= interval_end
	 ORDER BY r.run_id DESC LIMIT 1)
	UNION ALL
	(SELECT r.* FROM etl.run r WHERE r.pipeline = _latest_run.pipeline AND r.data_interval_start < interval_start AND r.data_interval_end >= interval_end AND r.state <> 'skipped'
	 ORDER BY r.data_interval_start DESC, r.run_id DESC LIMIT 1)
	LIMIT 1
$$;
COMMENT ON FUNCTION etl._latest_run(text, timestamptz, timestamptz) IS 'the latest run of an interval of a pipeline, or of one that covers it; no row if there is none';

CREATE FUNCTION etl._run_in_words(r etl.run) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('run %s of pipeline "%s", interval %s, %s', r.run_id, r.pipeline, r.data_interval_start AT TIME ZONE r.timezone,
		CASE WHEN r.state = 'success' THEN 'was run before it was over' WHEN r.state = 'queued' THEN 'is queued' WHEN r.state = 'running' THEN 'is running'
			 WHEN r.state = 'failed' THEN 'failed' ELSE 'was cancelled' END)
$$;
COMMENT ON FUNCTION etl._run_in_words(etl.run) IS 'a run that another waits for, and why it has to';

-- Success does not count if the interval was open then and is over now: it is to be completed.
CREATE FUNCTION etl._has_succeeded(r etl.run) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT r.state = 'success' AND NOT (r.interval_is_open AND r.data_interval_end <= etl._now()) $$;
COMMENT ON FUNCTION etl._has_succeeded(etl.run) IS 'whether a run has published its interval for good';

-- Whose schedule cuts time for a pipeline: its own, or that of what triggers it.
CREATE FUNCTION etl._source_of_intervals(pipeline text) RETURNS etl.pipeline
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline;
	next text := pipeline;
BEGIN
	FOR depth IN 1 .. 100 LOOP
		SELECT * INTO p FROM etl.pipeline x WHERE x.pipeline = next;
		EXIT WHEN NOT FOUND OR p.triggered_by = '{}';
		next := p.triggered_by[1];
	END LOOP;
	RETURN p;
END
$$;
COMMENT ON FUNCTION etl._source_of_intervals(text) IS 'the pipeline whose schedule decides the data intervals of a pipeline';

CREATE FUNCTION etl._upstream_waits_for(upstream text, since timestamptz, until timestamptz, OUT waits_for text, OUT under_way boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u etl.pipeline := etl._source_of_intervals(upstream);
BEGIN
	under_way := false;
	IF NOT EXISTS (SELECT FROM etl.pipeline x WHERE x.pipeline = upstream) THEN
		waits_for := format('pipeline "%s" does not exist', upstream);
		RETURN;
	END IF;
	SELECT CASE WHEN r.run_id IS NOT NULL THEN etl._run_in_words(r) ELSE format('pipeline "%s" has not run interval %s', upstream, i.data_interval_start AT TIME ZONE u.timezone) END,
		   bool_and(coalesce(r.state IN ('queued', 'running'), false)) OVER ()
	INTO waits_for, under_way
	FROM etl._intervals_touching(u, since, until) i
	LEFT JOIN LATERAL etl._latest_run(upstream, i.data_interval_start, i.data_interval_end) r ON true
	WHERE CASE WHEN r.run_id IS NULL THEN NOT etl._succeeded_long_ago(upstream, i.data_interval_start, i.data_interval_end) ELSE NOT etl._has_succeeded(r) END
	ORDER BY i.data_interval_start LIMIT 1;
EXCEPTION WHEN OTHERS THEN
	-- a schedule with too many ticks, say, keeps this run waiting, not the coordinator
	waits_for := format('pipeline "%s": %s', upstream, SQLERRM);
	under_way := false;
END
$$;
COMMENT ON FUNCTION etl._upstream_waits_for(text, timestamptz, timestamptz) IS
	'which run of another pipeline, of an interval that touches this one, has not succeeded yet; under_way: all that is missing is active';

CREATE FUNCTION etl._waits_for(r etl.run, p etl.pipeline, OUT waits_for text, OUT under_way boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	before etl.run;
	upstream text;
BEGIN
	under_way := true;
	IF r.trigger = 'reprocess' THEN
		RETURN;		-- from raw that is there
	END IF;
	IF p.depends_on_past THEN
		SELECT * INTO before FROM etl.run x
		WHERE x.pipeline = r.pipeline AND x.data_interval_start < r.data_interval_start AND x.state <> 'skipped'
		ORDER BY x.data_interval_start DESC, x.run_id DESC LIMIT 1;
		IF FOUND AND NOT etl._has_succeeded(before) THEN
			waits_for := etl._run_in_words(before);
			under_way := before.state IN ('queued', 'running');
			RETURN;
		END IF;
	END IF;
	FOREACH upstream IN ARRAY p.after LOOP
		SELECT * INTO waits_for, under_way FROM etl._upstream_waits_for(upstream, r.data_interval_start, r.data_interval_end);
		EXIT WHEN waits_for IS NOT NULL;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._waits_for(etl.run, etl.pipeline) IS 'the run of another interval or pipeline that keeps one from starting; NULL: none';

-- A run that waits is looked at again when something has ended that it may wait for, when
-- its pipeline was altered, and now and then in any case.
CREATE FUNCTION etl._look_at_waiting_runs() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	x record;
BEGIN
	FOR x IN
		SELECT r AS run, w.*
		FROM etl.run r JOIN etl.pipeline p USING (pipeline) CROSS JOIN LATERAL etl._waits_for(r, p) w
		WHERE r.state = 'queued' AND (p.depends_on_past OR p.after <> '{}' OR r.waits_for IS NOT NULL)
		  AND (r.looked_at IS NULL OR r.looked_at < clock_timestamp() - interval '5 seconds' OR r.looked_at < p.altered_at
			   OR EXISTS (SELECT FROM unnest(p.after || p.pipeline) u JOIN etl.run e ON e.pipeline = u AND e.ended_at >= r.looked_at))
		ORDER BY r.data_interval_start, r.run_id
	LOOP
		PERFORM etl._keep_waiting(x.run, x.waits_for, x.under_way);
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._look_at_waiting_runs() IS 'notes for queued runs which other run keeps them from starting';

-- Who waits in a session is not kept waiting for what nobody is at.
CREATE FUNCTION etl._keep_waiting(r etl.run, waits_for text, under_way boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF waits_for IS NOT NULL AND r.caller_pid IS NOT NULL AND NOT under_way THEN
		PERFORM etl._end_run(r, 'failed', NULL, '55000', 'what it waits for is not under way: ' || waits_for, NULL,
			'Run that first. Scheduled runs, and those of etl.backfill, wait until it has succeeded.');
	ELSE
		UPDATE etl.run x SET waits_for = _keep_waiting.waits_for, looked_at = clock_timestamp() WHERE x.run_id = r.run_id;
	END IF;
END
$$;
COMMENT ON FUNCTION etl._keep_waiting(etl.run, text, boolean) IS 'notes what a queued run waits for; fails it if its caller would wait in vain';

-- ------------------------------------------------------------------ starting

-- Queued runs and how each one stands.  place: among those of its pipeline that nothing but
-- the pipeline's own limit keeps from starting.  What one run leaves for the next in a
-- source, a watermark, or records of other intervals, two at a time cannot read.
CREATE VIEW etl._queue AS
	SELECT q.run_id, q.pipeline, q.priority, q.place, q.room, q.may_start AND q.place <= q.room AS starts,
		   CASE WHEN q.is_cancelled THEN 'it is being cancelled'
				WHEN q.is_paused THEN 'the pipeline is paused'
				WHEN q.same_interval IS NOT NULL THEN pg_catalog.format('run %s of this interval is running', q.same_interval)
				WHEN q.waits_for IS NOT NULL THEN q.waits_for
				WHEN q.place > q.room THEN pg_catalog.format('max_active_runs of the pipeline: place %s in its queue', q.place - GREATEST(q.room, 0)) END AS waits_for
	FROM (
		SELECT x.*, pg_catalog.row_number() OVER (PARTITION BY x.pipeline, x.may_start ORDER BY x.priority DESC, x.data_interval_start, x.run_id) AS place
		FROM (
			SELECT r.run_id, r.pipeline, r.priority, r.data_interval_start, r.waits_for, s.is_cancelled, s.is_paused, s.same_interval,
				   NOT s.is_cancelled AND NOT s.is_paused AND s.same_interval IS NULL AND r.waits_for IS NULL AS may_start,
				   CASE WHEN p.max_active_runs > 1 AND NOT EXISTS (SELECT FROM etl.task t WHERE t.pipeline = p.pipeline AND t.kind = 'extract'
								AND (t.definition ? 'watermark' OR t.definition ? 'record_time')) THEN p.max_active_runs ELSE 1 END - COALESCE(a.running, 0) AS room
			FROM etl.run r
			LEFT JOIN etl.pipeline p USING (pipeline)
			LEFT JOIN (SELECT y.pipeline, pg_catalog.count(*) AS running FROM etl.run y WHERE y.state = 'running' GROUP BY y.pipeline) a ON a.pipeline = r.pipeline
			CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM etl.cancel_request c WHERE c.run_id = r.run_id) AS is_cancelled,
									   (COALESCE(p.paused, false) OR (SELECT etl._is_copy())) AND r.caller_pid IS NULL AS is_paused,
									   (SELECT y.run_id FROM etl.run y WHERE y.pipeline = r.pipeline AND y.data_interval_start = r.data_interval_start AND y.state = 'running') AS same_interval) s
			WHERE r.state = 'queued') x) q;
COMMENT ON VIEW etl._queue IS 'queued runs: which ones start now, and what the others wait for';

-- For the coordinator, which ends when nothing runs and nothing is about to.
CREATE FUNCTION etl._runs_about_to_start() RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT count(*)::integer FROM etl._queue q JOIN etl.run r USING (run_id)
	WHERE q.starts OR r.caller_pid IS NOT NULL OR EXISTS (SELECT FROM etl.cancel_request c WHERE c.run_id = q.run_id)
$$;
COMMENT ON FUNCTION etl._runs_about_to_start() IS 'queued runs the coordinator has to stay for: those that can start, that somebody waits for, or that are being cancelled';

CREATE FUNCTION etl._owner_problem(owner name) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
		WHEN o.rolname IS NULL THEN format('its owner, role "%s", does not exist', owner)
		WHEN NOT o.rolcanlogin THEN format('its owner, role "%s", cannot log in', owner)
		WHEN NOT has_database_privilege(o.oid, current_database(), 'CONNECT') THEN format('its owner, role "%s", may not connect to the database', owner)
		WHEN NOT has_database_privilege(o.oid, current_database(), 'TEMPORARY') THEN format('its owner, role "%s", may not create temporary tables in the database', owner)
		END
	FROM (VALUES (1)) one LEFT JOIN pg_roles o ON o.rolname = owner
$$;
COMMENT ON FUNCTION etl._owner_problem(name) IS 'why workers cannot connect as a role; NULL if they can';

CREATE FUNCTION etl._start_run(r etl.run) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	problem text := CASE WHEN NOT EXISTS (SELECT FROM etl.pipeline p WHERE p.pipeline = r.pipeline) THEN 'the pipeline was dropped' ELSE etl._owner_problem(r.owner) END;
	problem_detail text;
BEGIN
	IF problem IS NULL THEN
		BEGIN
			PERFORM etl._plan_run(r);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, problem_detail = PG_EXCEPTION_DETAIL;
		END;
	END IF;
	IF problem IS NOT NULL THEN
		PERFORM etl._end_run(r, 'failed', NULL, '55000', problem, nullif(problem_detail, ''), 'See etl.pipelines; put it right and run the interval again.');
	ELSE
		UPDATE etl.run x SET state = 'running', started_at = clock_timestamp(), waits_for = NULL, interval_is_open = x.data_interval_end > etl._now()
		WHERE x.run_id = r.run_id;
	END IF;
END
$$;
COMMENT ON FUNCTION etl._start_run(etl.run) IS 'starts one run, or fails it with the reason why it cannot start';

-- At most so many at a time, so that workers begin with the first while the others start.
CREATE FUNCTION etl._start_runs(at_a_time integer DEFAULT 200) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	chosen bigint[];
	x record;
	r etl.run;
BEGIN
	PERFORM etl._look_at_waiting_runs();
	chosen := ARRAY(SELECT q.run_id FROM etl._queue q WHERE q.starts ORDER BY q.priority DESC, q.run_id LIMIT at_a_time);
	-- what these wait for may have been started again since they were looked at
	FOR x IN
		SELECT y AS run, w.*
		FROM etl.run y JOIN etl.pipeline p USING (pipeline) CROSS JOIN LATERAL etl._waits_for(y, p) w
		WHERE y.run_id = ANY (chosen) AND (p.depends_on_past OR p.after <> '{}') AND w.waits_for IS NOT NULL
	LOOP
		PERFORM etl._keep_waiting(x.run, x.waits_for, x.under_way);
		chosen := array_remove(chosen, (x.run).run_id);
	END LOOP;
	IF chosen = '{}' THEN
		RETURN;
	END IF;
	BEGIN
		PERFORM etl._plan_run(y) FROM unnest(chosen) WITH ORDINALITY c(run_id, n) JOIN etl.run y USING (run_id) ORDER BY c.n;
		IF EXISTS (SELECT FROM (SELECT DISTINCT y.owner FROM etl.run y WHERE y.run_id = ANY (chosen)) o WHERE etl._owner_problem(o.owner) IS NOT NULL)
		   OR EXISTS (SELECT FROM etl.run y WHERE y.run_id = ANY (chosen) AND NOT EXISTS (SELECT FROM etl.pipeline p WHERE p.pipeline = y.pipeline)) THEN
			RAISE EXCEPTION 'not all of these runs can start' USING ERRCODE = 'object_not_in_prerequisite_state';
		END IF;
		UPDATE etl.run y SET state = 'running', started_at = clock_timestamp(), waits_for = NULL, interval_is_open = y.data_interval_end > etl._now()
		WHERE y.run_id = ANY (chosen);
	EXCEPTION WHEN OTHERS THEN
		-- one by one: what is wrong with one does not keep the others from starting
		FOR r IN SELECT y.* FROM unnest(chosen) WITH ORDINALITY c(run_id, n) JOIN etl.run y USING (run_id) ORDER BY c.n LOOP
			PERFORM etl._start_run(r);
		END LOOP;
	END;
END
$$;
COMMENT ON FUNCTION etl._start_runs(integer) IS 'starts queued runs that may start now, those of higher priority first';

-- ------------------------------------------------------------------ triggered by others

-- A run has published its interval: pipelines triggered by it run the same one, when all that
-- trigger them have published it.
CREATE FUNCTION etl._trigger_downstream(r etl.run) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline;
BEGIN
	FOR p IN SELECT * FROM etl.pipeline x WHERE x.triggered_by <> '{}' AND r.pipeline = ANY (x.triggered_by) AND NOT x.paused ORDER BY x.pipeline LOOP
		CONTINUE WHEN etl._is_copy() OR EXISTS (
			SELECT FROM unnest(p.triggered_by) u CROSS JOIN LATERAL etl._upstream_waits_for(u, r.data_interval_start, r.data_interval_end) w
			WHERE w.waits_for IS NOT NULL AND u <> r.pipeline);
		BEGIN
			PERFORM etl._queue_runs(NULL, p.owner, NULL, p, NULL, r.data_interval_start, r.data_interval_end, false, 'upstream');
		EXCEPTION WHEN OTHERS THEN
			-- the publication has happened all the same
			PERFORM etl._write_log('ERROR', p.pipeline, NULL, NULL, format('could not be triggered by run %s of pipeline "%s": %s', r.run_id, r.pipeline, SQLERRM));
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._trigger_downstream(etl.run) IS 'queues runs of the pipelines that a publication triggers';
