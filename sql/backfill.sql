-- Backfills: many intervals of a pipeline, a few at a time, as one object with progress.
--
-- The request lists its intervals; the coordinator queues the next ones as others end, so
-- that a backfill outlives its caller, its coordinator and the server.

-- A date, or a time without a zone, is one of the pipeline's timezone, not the session's.
CREATE FUNCTION etl._instant_in(value text, timezone text) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
BEGIN
	PERFORM set_config('timezone', timezone, true);		-- until the function ends
	RETURN value::timestamptz;
EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow THEN
	RAISE EXCEPTION '%', SQLERRM
		USING ERRCODE = SQLSTATE, HINT = 'Write a date, for example date ''2026-11-01'', or a time.';
END
$$;
COMMENT ON FUNCTION etl._instant_in(text, text) IS 'a time as written; in a timezone, unless it names its own';

CREATE FUNCTION etl._intervals_between(p etl.pipeline, since timestamptz, until timestamptz)
RETURNS TABLE (data_interval_start timestamptz, data_interval_end timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT * FROM (
		SELECT t, lead(t) OVER (ORDER BY t) FROM (
			SELECT s.t FROM etl.schedule_ticks(p.schedule, p.timezone, since, until, 100000) s(t)
			UNION SELECT n.t FROM etl.next_ticks(p.schedule, p.timezone, until - interval '1 microsecond', 1) n(t)) ticks
		WHERE p.schedule IS NOT NULL
		UNION ALL
		SELECT d AT TIME ZONE p.timezone, (d + interval '1 day') AT TIME ZONE p.timezone
		FROM generate_series(date_trunc('day', since AT TIME ZONE p.timezone), until AT TIME ZONE p.timezone, interval '1 day') d
		WHERE p.schedule IS NULL) i(s, e)
	WHERE s >= since AND s < until AND e IS NOT NULL
	ORDER BY 1
$$;
COMMENT ON FUNCTION etl._intervals_between(etl.pipeline, timestamptz, timestamptz) IS 'the intervals of a pipeline that start between two instants: of its schedule, or days';

CREATE TYPE etl.backfill_result AS (backfill_id bigint, data_interval_start timestamptz, data_interval_end timestamptz, last_state text);
COMMENT ON TYPE etl.backfill_result IS 'a row an interval, as etl.backfill returns them: last_state is what was there before';

CREATE FUNCTION etl._check_backfill(p etl.pipeline, since timestamptz, until timestamptz, rerun text, reverse boolean, max_active integer) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	other etl.backfill_request;
BEGIN
	IF since IS NULL OR until IS NULL OR NOT isfinite(since) OR NOT isfinite(until) OR since >= until THEN
		RAISE EXCEPTION 'since must be before until'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Intervals that start at since or later and before until are run, for example date ''2026-11-01'', date ''2026-12-01''.';
	ELSIF rerun IS NULL OR rerun NOT IN ('none', 'failed', 'all') THEN
		RAISE EXCEPTION 'invalid rerun "%"', coalesce(rerun, 'NULL')
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'none: intervals that were never run; failed: also those whose last run failed or was cancelled; all: every interval.';
	ELSIF max_active IS NULL OR max_active < 1 THEN
		RAISE EXCEPTION 'invalid max_active %', coalesce(max_active::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'How many runs of the backfill may be queued or running at once: 1 or more.';
	END IF;
	IF reverse AND p.depends_on_past THEN
		RAISE EXCEPTION 'pipeline "%" depends on its past and cannot be filled in reverse', p.pipeline
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave out reverse: each interval waits until the one before has succeeded.';
	END IF;
	SELECT * INTO other FROM etl.backfill_request b
	WHERE b.pipeline = p.pipeline AND b.state = 'running' AND b.since < _check_backfill.until AND b.until > _check_backfill.since LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'backfill % of pipeline "%" runs some of these intervals', other.backfill_id, p.pipeline
			USING ERRCODE = 'object_in_use', DETAIL = format('It covers %s to %s; see etl.backfills.', other.since, other.until),
				  HINT = format('Wait until it has ended, or SELECT etl.cancel_backfill(%s);', other.backfill_id);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_backfill(etl.pipeline, timestamptz, timestamptz, text, boolean, integer) IS 'raises for what is wrong with a backfill';

CREATE FUNCTION etl._request_backfill_as_owner(pipeline text, since timestamptz, until timestamptz, rerun text, reverse boolean, max_active integer, dry_run boolean)
RETURNS etl.backfill_result[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._runnable_pipeline(pipeline);
	wanted etl.backfill_result[];
	found_all bigint;
	found_open bigint;
	new_backfill bigint;
BEGIN
	IF NOT coalesce(dry_run, false) THEN
		PERFORM FROM etl.pipeline x WHERE x.pipeline = p.pipeline FOR UPDATE;		-- backfills of a pipeline are asked for one by one
	END IF;
	PERFORM etl._check_backfill(p, since, until, rerun, reverse, max_active);
	BEGIN
		WITH i AS MATERIALIZED (
			SELECT x.data_interval_start AS s, x.data_interval_end AS e, x.data_interval_end <= etl._now() AS is_over,
				   coalesce((SELECT r.state FROM etl.run r WHERE r.pipeline = p.pipeline AND r.data_interval_start = x.data_interval_start
							 AND r.data_interval_end = x.data_interval_end AND r.state <> 'skipped' ORDER BY r.run_id DESC LIMIT 1),
						CASE WHEN etl._succeeded_long_ago(p.pipeline, x.data_interval_start, x.data_interval_end) THEN 'success' ELSE 'never run' END) AS last_state
			FROM etl._intervals_between(p, since, until) x)
		SELECT array_agg((NULL, i.s, i.e, i.last_state)::etl.backfill_result ORDER BY CASE WHEN reverse THEN -extract(epoch FROM i.s) ELSE extract(epoch FROM i.s) END)
				 FILTER (WHERE i.is_over AND (rerun = 'all' OR i.last_state = 'never run' OR rerun = 'failed' AND i.last_state IN ('failed', 'cancelled'))),
			   count(*), count(*) FILTER (WHERE NOT i.is_over)
		INTO wanted, found_all, found_open FROM i;
	EXCEPTION WHEN program_limit_exceeded THEN
		RAISE EXCEPTION 'pipeline "%" has more than 100000 intervals between % and %', p.pipeline, since, until
			USING ERRCODE = 'program_limit_exceeded', HINT = 'Fill a shorter range, and the next one after it; or longer intervals, by etl.trigger.';
	END;
	IF found_open > 0 THEN
		RAISE NOTICE '% left out: not over yet', CASE found_open WHEN 1 THEN '1 interval is' ELSE found_open || ' intervals are' END;
	END IF;
	IF wanted IS NULL THEN
		RAISE NOTICE 'nothing to do for pipeline "%"', p.pipeline
			USING DETAIL = format('It has %s complete intervals between %s and %s.', found_all - found_open, since, until),
				  HINT = CASE WHEN found_all = found_open THEN 'Intervals that start in between, and are over, are run.'
									WHEN rerun = 'none' THEN 'All of them have been run: rerun => ''failed'' does those again that failed, rerun => ''all'' every one.'
									WHEN rerun = 'failed' THEN 'All of them have succeeded: rerun => ''all'' does them again.' END;
		RETURN '{}';
	END IF;
	IF coalesce(dry_run, false) THEN
		RETURN wanted;
	END IF;
	INSERT INTO etl.backfill_request (pipeline, owner, since, until, rerun, reverse, max_active, requested_by)
	VALUES (p.pipeline, p.owner, since, until, rerun, coalesce(reverse, false), max_active, etl._acting_role())
	RETURNING backfill_id INTO new_backfill;
	INSERT INTO etl.backfill_interval (backfill_id, position, data_interval_start, data_interval_end)
	SELECT new_backfill, w.n, w.data_interval_start, w.data_interval_end FROM unnest(wanted) WITH ORDINALITY w(b, data_interval_start, data_interval_end, s, n);
	PERFORM etl._wake_coordinator_on_commit();
	RETURN ARRAY(SELECT (new_backfill, w.data_interval_start, w.data_interval_end, w.s)::etl.backfill_result
				 FROM unnest(wanted) WITH ORDINALITY w(b, data_interval_start, data_interval_end, s, n) ORDER BY w.n);
END
$$;
CREATE FUNCTION etl._request_backfill(pipeline text, since timestamptz, until timestamptz, rerun text, reverse boolean, max_active integer, dry_run boolean)
RETURNS etl.backfill_result[] LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._request_backfill_as_owner(text, timestamptz, timestamptz, text, boolean, integer, boolean) IS 'does what etl._request_backfill does, with the rights of the extension';
COMMENT ON FUNCTION etl._request_backfill(text, timestamptz, timestamptz, text, boolean, integer, boolean) IS 'what etl.backfill does, once it knows which instants are meant';

-- Polymorphic, so that a date can be told from an instant: each is read as what it is.
CREATE FUNCTION etl.backfill(pipeline text, since anycompatible, until anycompatible, rerun text DEFAULT 'none', reverse boolean DEFAULT false,
	max_active integer DEFAULT 1, dry_run boolean DEFAULT false) RETURNS SETOF etl.backfill_result
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	zone text := (SELECT p.timezone FROM etl.pipelines p WHERE p.pipeline = backfill.pipeline);
	first_instant timestamptz;
	last_instant timestamptz;
BEGIN
	IF pg_typeof(since) = 'timestamptz'::regtype THEN
		first_instant := since;
		last_instant := until;
	ELSIF pg_typeof(since) IN ('date', 'timestamp', 'text', 'varchar') THEN
		first_instant := etl._instant_in(since::text, coalesce(zone, 'UTC'));
		last_instant := etl._instant_in(until::text, coalesce(zone, 'UTC'));
	ELSE
		RAISE EXCEPTION 'since and until are of type %', pg_typeof(since)
			USING ERRCODE = 'datatype_mismatch', HINT = 'They are dates, which begin at midnight in the pipeline''s timezone, or of type timestamptz.';
	END IF;
	RETURN QUERY SELECT * FROM unnest(etl._request_backfill(pipeline, first_instant, last_instant, rerun, reverse, max_active, dry_run));
END
$$;
COMMENT ON FUNCTION etl.backfill(text, anycompatible, anycompatible, text, boolean, integer, boolean) IS
	'runs the intervals of a pipeline that start from since until just before until, at most max_active at once; returns them at once, and etl.backfills shows how they fare. rerun: none (only what was never run), failed, all. dry_run: tells what would run';

-- The coordinator's part: at each wake, cheap when there is no backfill.

-- An interval in the hands of another transaction or run is another wake's business.
CREATE FUNCTION etl._queue_backfill_interval(b etl.backfill_request, p etl.pipeline, i etl.backfill_interval) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms'
AS $$
DECLARE
	new_run etl.run;
BEGIN
	-- it was run meanwhile, or is under way: that is as good
	SELECT * INTO new_run FROM etl.run r
	WHERE r.pipeline = b.pipeline AND r.data_interval_start = i.data_interval_start AND r.data_interval_end = i.data_interval_end
	  AND (r.state IN ('queued', 'running') OR r.state = 'success' AND r.queued_at > b.requested_at)
	ORDER BY r.run_id DESC LIMIT 1;
	IF NOT FOUND THEN
		INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by, priority)
		VALUES (p.pipeline, p.owner, i.data_interval_start, i.data_interval_end, (i.data_interval_start AT TIME ZONE p.timezone)::date,
			p.timezone, 'backfill', b.requested_by, p.priority)
		ON CONFLICT DO NOTHING
		RETURNING * INTO new_run;
		IF NOT FOUND THEN
			RETURN false;		-- a run of another interval with the same start is active
		END IF;
		PERFORM etl._warn_of_overlap(new_run);
	END IF;
	UPDATE etl.backfill_interval x SET run_id = new_run.run_id, state = 'active' WHERE x.backfill_id = i.backfill_id AND x.position = i.position;
	RETURN true;
EXCEPTION WHEN lock_not_available THEN
	RETURN false;
END
$$;
COMMENT ON FUNCTION etl._queue_backfill_interval(etl.backfill_request, etl.pipeline, etl.backfill_interval) IS
	'queues an interval of a backfill, or takes the run it has; false: not now';

CREATE FUNCTION etl._end_backfill(b etl.backfill_request, new_state text, problem text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE etl.backfill_interval i SET state = 'cancelled' WHERE i.backfill_id = b.backfill_id AND i.state IN ('waiting', 'active');
	UPDATE etl.backfill_request x SET state = new_state, problem = _end_backfill.problem, ended_at = clock_timestamp() WHERE x.backfill_id = b.backfill_id;
END
$$;
COMMENT ON FUNCTION etl._end_backfill(etl.backfill_request, text, text) IS 'ends a backfill; intervals that still waited are cancelled';

CREATE FUNCTION etl._advance_backfills() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	b etl.backfill_request;
	p etl.pipeline;
	i etl.backfill_interval;
	room bigint;
BEGIN
	IF NOT EXISTS (SELECT FROM etl.backfill_request x WHERE x.state = 'running') OR etl._is_copy() THEN
		RETURN;
	END IF;
	UPDATE etl.backfill_interval x SET state = coalesce((SELECT r.state FROM etl.run r WHERE r.run_id = x.run_id), 'cancelled')
	FROM etl.backfill_request y
	WHERE y.state = 'running' AND x.backfill_id = y.backfill_id AND x.state = 'active'
	  AND NOT EXISTS (SELECT FROM etl.run r WHERE r.run_id = x.run_id AND r.state IN ('queued', 'running'));
	FOR b IN SELECT * FROM etl.backfill_request x WHERE x.state = 'running' ORDER BY x.backfill_id FOR UPDATE SKIP LOCKED LOOP
		SELECT * INTO p FROM etl.pipeline x WHERE x.pipeline = b.pipeline;
		IF NOT FOUND THEN
			PERFORM etl._end_backfill(b, 'failed', 'the pipeline was dropped');
			CONTINUE;
		END IF;
		IF b.cancelled_by IS NULL AND NOT p.paused THEN
			-- A source that is read as it is now is asked once for all intervals that wait
			-- their turn: see etl._plan_routes.
			room := CASE WHEN EXISTS (SELECT FROM etl.task t WHERE t.pipeline = b.pipeline AND t.definition ->> 'reads' = 'current') THEN NULL
						 ELSE b.max_active - (SELECT count(*) FROM etl.backfill_interval x WHERE x.backfill_id = b.backfill_id AND x.state = 'active') END;
			IF room IS NULL OR room > 0 THEN
				FOR i IN SELECT * FROM etl.backfill_interval x WHERE x.backfill_id = b.backfill_id AND x.state = 'waiting' ORDER BY x.position LIMIT room LOOP
					EXIT WHEN NOT etl._queue_backfill_interval(b, p, i);
				END LOOP;
			END IF;
			UPDATE etl.backfill_request x SET started_at = clock_timestamp() WHERE x.backfill_id = b.backfill_id AND x.started_at IS NULL;
		END IF;
		IF NOT EXISTS (SELECT FROM etl.backfill_interval x WHERE x.backfill_id = b.backfill_id AND x.state = 'active')
		   AND NOT EXISTS (SELECT FROM etl.backfill_interval x WHERE x.backfill_id = b.backfill_id AND x.state = 'waiting') THEN
			-- what has failed and was put right meanwhile, by etl.retry say
			UPDATE etl.backfill_interval x SET state = 'success', run_id = r.run_id
			FROM etl.run r
			WHERE x.backfill_id = b.backfill_id AND x.state IN ('failed', 'cancelled') AND b.cancelled_by IS NULL
			  AND r.pipeline = b.pipeline AND r.data_interval_start = x.data_interval_start AND r.data_interval_end = x.data_interval_end
			  AND r.state = 'success' AND r.queued_at > b.requested_at;
			PERFORM etl._end_backfill(b, CASE WHEN b.cancelled_by IS NOT NULL THEN 'cancelled'
											  WHEN EXISTS (SELECT FROM etl.backfill_interval x WHERE x.backfill_id = b.backfill_id AND x.state IN ('failed', 'cancelled')) THEN 'failed'
											  ELSE 'success' END, NULL);
		END IF;
	END LOOP;
END
$$;
-- Those that nobody will wake the coordinator for: a run has ended that is not noted yet, or
-- an interval could be queued and was not, as another transaction has it in hand.
CREATE FUNCTION etl._active_backfills() RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT count(*)::integer FROM etl.backfill_request b LEFT JOIN etl.pipeline p USING (pipeline)
	CROSS JOIN LATERAL (
		SELECT count(*) AS active, count(*) FILTER (WHERE r.run_id IS NULL) AS ended,
			   EXISTS (SELECT FROM etl.backfill_interval w WHERE w.backfill_id = b.backfill_id AND w.state = 'waiting') AS has_waiting
		FROM etl.backfill_interval i LEFT JOIN etl.run r ON r.run_id = i.run_id AND r.state IN ('queued', 'running')
		WHERE i.backfill_id = b.backfill_id AND i.state = 'active') i
	WHERE b.state = 'running' AND NOT etl._is_copy()
	  AND (i.ended > 0 OR i.active = 0 AND NOT i.has_waiting OR i.has_waiting AND i.active < b.max_active AND p.paused IS NOT TRUE)
$$;
COMMENT ON FUNCTION etl._active_backfills() IS 'backfills that the coordinator has to stay for';
COMMENT ON FUNCTION etl._advance_backfills() IS 'notes which runs of backfills have ended, queues the next ones, ends backfills that are done';

CREATE FUNCTION etl._cancel_backfill_as_owner(backfill bigint, reason text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	b etl.backfill_request;
BEGIN
	-- a statement of its own: the row as it is after the coordinator has let go of it
	PERFORM FROM etl.backfill_request x WHERE x.backfill_id = backfill FOR UPDATE;
	SELECT * INTO b FROM etl.backfill_request x WHERE x.backfill_id = backfill;
	IF NOT FOUND OR NOT (etl._may_operate(b.owner, etl._acting_role()) OR etl._is_member('etl_reader', etl._acting_role())) THEN
		RAISE EXCEPTION 'backfill % does not exist', coalesce(backfill::text, 'NULL')
			USING ERRCODE = 'undefined_object', HINT = 'etl.backfills lists the backfills you may see.';
	ELSIF NOT etl._may_operate(b.owner, etl._acting_role()) THEN
		RAISE EXCEPTION 'permission denied for backfill % of pipeline "%"', backfill, b.pipeline
			USING ERRCODE = 'insufficient_privilege', DETAIL = format('It belongs to role "%s".', b.owner),
				  HINT = 'Only its owner, members of the owner''s role or of etl_operator, and superusers may run, pause or cancel it.';
	ELSIF b.state <> 'running' THEN
		RAISE EXCEPTION 'backfill % is not active', backfill
			USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = format('Its state is %s.', b.state),
				  HINT = 'Only backfills in state running can be cancelled; etl.backfills lists them.';
	END IF;
	reason := coalesce(reason, format('backfill %s was cancelled by %s', backfill, etl._acting_role()));
	UPDATE etl.backfill_request x SET cancelled_by = etl._acting_role(), cancel_reason = reason WHERE x.backfill_id = backfill;
	UPDATE etl.backfill_interval i SET state = 'cancelled' WHERE i.backfill_id = backfill AND i.state = 'waiting';
	-- runs that were under way before it belong to somebody else
	INSERT INTO etl.cancel_request (run_id, requested_by, reason)
	SELECT r.run_id, etl._acting_role(), _cancel_backfill_as_owner.reason FROM etl.backfill_interval i JOIN etl.run r USING (run_id)
	WHERE i.backfill_id = backfill AND i.state = 'active' AND r.trigger = 'backfill' AND r.state IN ('queued', 'running')
	ON CONFLICT DO NOTHING;
	PERFORM etl._wake_coordinator_on_commit();
	IF NOT EXISTS (SELECT FROM etl.backfill_interval i WHERE i.backfill_id = backfill AND i.state = 'active') THEN
		PERFORM etl._end_backfill(b, 'cancelled', NULL);
		RETURN 'cancelled';
	END IF;
	RETURN 'cancelling';
END
$$;
CREATE FUNCTION etl.cancel_backfill(backfill bigint, reason text DEFAULT NULL) RETURNS text
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._cancel_backfill_as_owner(bigint, text) IS 'does what etl.cancel_backfill does, with the rights of the extension';
COMMENT ON FUNCTION etl.cancel_backfill(bigint, text) IS 'cancels a backfill: its runs under way, and the intervals that wait; what is done stays';
