-- What the coordinator does at each wake: notice what ended, pass cancellations on, start
-- runs, hand out tasks, finish runs.  Liveness is a lock that is held, not a pid that exists.
--
-- What it asks at each wake, and workers at each task, goes by the partial indexes of what is
-- active (the planner's settings of these functions): plans are kept, and may have been made when nothing was.

CREATE FUNCTION etl._lock_kind(kind text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE kind WHEN 'coordinator' THEN 1 WHEN 'worker' THEN 2 WHEN 'attempt' THEN 3 WHEN 'caller' THEN 4 WHEN 'delivery' THEN 5 WHEN 'repair' THEN 6 END $$;
COMMENT ON FUNCTION etl._lock_kind(text) IS 'the numbers of the advisory lock space; must agree with src/run/locks.h';

CREATE FUNCTION etl._locks_held() RETURNS TABLE (kind integer, id bigint, pid integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT (l.classid::bigint >> 24)::integer, ((l.classid::bigint & 16777215) << 32) | l.objid::bigint, l.pid
	FROM pg_locks l
	WHERE l.locktype = 'advisory' AND l.objsubid = 231 AND l.granted
	  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
END
$$;
COMMENT ON FUNCTION etl._locks_held() IS 'the locks of coordinators, workers, attempts and waiting callers of this database';

CREATE FUNCTION etl._lock_holder(kind text, id bigint) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT h.pid FROM etl._locks_held() h WHERE h.kind = etl._lock_kind(_lock_holder.kind) AND h.id = _lock_holder.id LIMIT 1 $$;
COMMENT ON FUNCTION etl._lock_holder(text, bigint) IS 'the pid that holds one of our locks, or NULL';

CREATE FUNCTION etl._wake(pid integer) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'etl_wake';
COMMENT ON FUNCTION etl._wake(integer) IS 'wakes a process of this server when the transaction commits';

CREATE FUNCTION etl._may_go_away(code text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT code NOT IN ('57014', '53400') AND left(code, 2) IN ('08', '40', '53', '55', '57', '58') $$;
COMMENT ON FUNCTION etl._may_go_away(text) IS
	'whether an error may go away soon: connections, deadlocks, resources, locks, crashes; a wrong definition, wrong data or a long rate limit does not';

-- Decides what becomes of an attempt that failed.  A worker that was lost is counted by
-- itself: what takes its worker along is given up sooner or later, whatever the retries.
CREATE FUNCTION etl._end_failed_attempt(t etl.task_run, code text, message text, detail text, hint text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.run;
	p etl.pipeline;
	s etl.pipeline;
	timed_out boolean;
	failures integer;
	delay interval := interval '0';
	new_state text;
BEGIN
	SELECT * INTO STRICT r FROM etl.run x WHERE x.run_id = t.run_id;
	SELECT * INTO p FROM etl.pipeline x WHERE x.pipeline = r.pipeline;
	s := etl._task_settings(p, t.task);
	timed_out := code IN ('57014', '57P02') AND coalesce(t.overdue_at <= clock_timestamp(), false)
		AND NOT EXISTS (SELECT FROM etl.cancel_request q WHERE q.run_id = t.run_id);
	IF timed_out THEN
		code := '57014';
		message := format('task timed out after %s', coalesce(s.task_timeout, clock_timestamp() - t.started_at));
		detail := NULL;
		hint := 'task_timeout of the pipeline, or in the options of the task, is how long an attempt may take. An extraction goes on at the first slice that is not committed.';
	END IF;
	UPDATE etl.task_attempt a SET state = CASE WHEN code = '57014' AND NOT timed_out THEN 'cancelled' ELSE 'failed' END,
		ended_at = clock_timestamp(), error_code = code, error_message = message
	WHERE a.task_run_id = t.task_run_id AND a.attempt = t.attempt;
	IF code = '57P02' THEN
		failures := etl._crashes_in_a_row(r, t.task);
		new_state := CASE WHEN failures >= coalesce(s.max_crashes, 1) THEN 'failed' ELSE 'up_for_retry' END;
		IF failures > 1 THEN		-- the first one need not be its own fault
			delay := etl._retry_delay(s, failures - 1, random());
		END IF;
		IF new_state = 'failed' AND p.pipeline IS NOT NULL THEN
			message := etl._crash_message(failures);
			hint := etl._crash_hint(p.pipeline);
		END IF;
	ELSE
		SELECT count(*) INTO failures FROM etl.task_attempt a
		WHERE a.task_run_id = t.task_run_id AND a.state = 'failed' AND a.error_code <> '57P02' AND a.started_at >= t.started_at;
		new_state := CASE
			WHEN code = '57014' AND NOT timed_out THEN 'cancelled'
			WHEN NOT (timed_out OR etl._may_go_away(code)) OR failures > coalesce(s.retries, 0) THEN 'failed'
			ELSE 'up_for_retry' END;
		delay := etl._retry_delay(s, failures, random());
	END IF;
	UPDATE etl.task_run x SET state = new_state, ended_at = CASE WHEN new_state <> 'up_for_retry' THEN clock_timestamp() END,
		next_attempt_at = CASE WHEN new_state = 'up_for_retry' THEN clock_timestamp() + delay END, overdue_at = NULL,
		error_code = code, error_message = message, error_detail = detail, error_hint = hint
	WHERE x.task_run_id = t.task_run_id;
	PERFORM etl._write_log(CASE new_state WHEN 'failed' THEN 'ERROR' ELSE 'WARN' END, r.pipeline, r.run_id, t.task,
		format('attempt %s %s: %s', t.attempt, CASE new_state WHEN 'up_for_retry' THEN format('failed and is tried again in %s', date_trunc('milliseconds', delay)) ELSE new_state END, message),
		jsonb_strip_nulls(jsonb_build_object('sqlstate', code, 'detail', detail, 'hint', hint)));
	RETURN new_state;
END
$$;
COMMENT ON FUNCTION etl._end_failed_attempt(etl.task_run, text, text, text, text) IS 'ends a failed attempt: tried again, failed or cancelled';

CREATE FUNCTION etl._end_run(r etl.run, new_state text, task text, code text, message text, detail text, hint text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE etl.task_run t SET state = CASE new_state WHEN 'cancelled' THEN 'cancelled' WHEN 'failed' THEN CASE t.state WHEN 'queued' THEN 'upstream_failed' ELSE 'failed' END END,
		ended_at = clock_timestamp()
	WHERE t.run_id = r.run_id AND t.state IN ('queued', 'up_for_retry') AND new_state <> 'success';
	-- complete but not published by the publication's own failing: ask the source again next time
	IF new_state = 'failed' THEN
		UPDATE etl.load l SET refetch = true WHERE l.run_id = r.run_id AND l.state = 'complete'
		  AND EXISTS (SELECT FROM etl.task_run t WHERE t.run_id = r.run_id AND t.kind = 'publish' AND t.state = 'failed' AND l.task = ANY (t.depends_on)
					  AND t.error_code <> '57014' AND NOT etl._may_go_away(t.error_code));
	END IF;
	UPDATE etl.run x SET state = new_state, ended_at = clock_timestamp(), error_task = task, error_code = code,
		error_message = message, error_detail = detail, error_hint = hint
	WHERE x.run_id = r.run_id;
	PERFORM etl._write_log(CASE new_state WHEN 'failed' THEN 'ERROR' WHEN 'cancelled' THEN 'WARN' ELSE 'INFO' END, r.pipeline, r.run_id, task,
		format('run %s of interval %s: %s', r.run_id, r.data_interval_start, new_state || coalesce(': ' || message, '')));
	PERFORM etl._wake(r.caller_pid) WHERE r.caller_pid IS NOT NULL;
	IF new_state = 'success' THEN
		PERFORM etl._trigger_downstream(r);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._end_run(etl.run, text, text, text, text, text, text) IS 'ends a run and wakes who waits for it';

-- Cancelled because somebody asked, or because it took too long: that is a failure.
CREATE FUNCTION etl._end_cancelled_run(r etl.run, task text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	q etl.cancel_request;
	go_on CONSTANT text := 'Run the interval again: it goes on at the first slice that is not committed.';
BEGIN
	SELECT * INTO q FROM etl.cancel_request x WHERE x.run_id = r.run_id;
	IF q.timed_out THEN
		PERFORM etl._end_run(r, 'failed', task, '57014', q.reason, NULL, 'Raise run_timeout of the pipeline. ' || go_on);
	ELSE
		PERFORM etl._end_run(r, 'cancelled', NULL, '57014', 'the run was cancelled', coalesce(q.reason, format('Task %s was cancelled.', task)), go_on);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._end_cancelled_run(etl.run, text) IS 'ends a run whose tasks were cancelled';

-- An attempt whose lock nobody holds has lost its worker: terminated, or gone in a crash.
CREATE FUNCTION etl._notice_lost_attempts() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $$
DECLARE
	t etl.task_run;
BEGIN
	FOR t IN
		SELECT x.* FROM etl.run r JOIN etl.task_run x USING (run_id)
		WHERE r.state = 'running' AND x.state = 'running' AND x.part_of IS NULL
		  AND NOT EXISTS (SELECT FROM etl._locks_held() h WHERE h.kind = 3 AND h.id = x.task_run_id)
	LOOP
		-- The worker may have reported and let go of its lock between the two looks: look at
		-- the row again, and at the lock again.  A row that is locked is another tick's business:
		-- the coordinator never waits for what a worker's session holds.
		PERFORM FROM etl.task_run x
		WHERE x.task_run_id = t.task_run_id AND x.state = 'running' AND x.attempt = t.attempt FOR UPDATE SKIP LOCKED;
		CONTINUE WHEN NOT FOUND OR etl._lock_holder('attempt', t.task_run_id) IS NOT NULL;
		PERFORM etl._end_failed_attempt(t, '57P02', 'the worker was terminated or lost in a crash', NULL,
			'Run the interval again: it goes on at the first slice that is not committed.');
		UPDATE etl.task_run x SET state = CASE (SELECT y.state FROM etl.task_run y WHERE y.task_run_id = t.task_run_id) WHEN 'up_for_retry' THEN 'queued' ELSE 'upstream_failed' END
		WHERE x.run_id = t.run_id AND x.part_of = t.task_run_id AND x.state = 'running';
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._notice_lost_attempts() IS 'ends attempts whose worker is gone';

CREATE FUNCTION etl._time_out_runs() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO etl.cancel_request (run_id, requested_by, reason, timed_out)
	SELECT r.run_id, p.owner, format('run timed out after %s', p.run_timeout), true
	FROM etl.run r JOIN etl.pipeline p USING (pipeline)
	WHERE r.state = 'running' AND r.started_at + p.run_timeout <= clock_timestamp()
	ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION etl._time_out_runs() IS 'asks to cancel runs that have taken longer than run_timeout of their pipeline';

-- Its statement is cancelled, again and again; a worker that does not react loses its session.
CREATE FUNCTION etl._end_overdue_attempts() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $$
	SELECT CASE WHEN t.overdue_at <= clock_timestamp() - interval '10 seconds' THEN pg_terminate_backend(h.pid) ELSE pg_cancel_backend(h.pid) END
	FROM etl.run r JOIN etl.task_run t USING (run_id) JOIN etl._locks_held() h ON h.kind = 3 AND h.id = t.task_run_id
	WHERE r.state = 'running' AND t.state = 'running' AND t.overdue_at <= clock_timestamp()
$$;
COMMENT ON FUNCTION etl._end_overdue_attempts() IS 'ends attempts that have taken longer than their task_timeout';

CREATE FUNCTION etl._pass_cancellations_on() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.run;
	c record;
BEGIN
	-- a caller that no longer waits, whatever ended it, has given its runs up
	INSERT INTO etl.cancel_request (run_id, requested_by, reason)
	SELECT x.run_id, x.requested_by, 'the caller no longer waits for it'
	FROM etl.run x
	WHERE x.state IN ('queued', 'running') AND x.request_id IS NOT NULL AND x.caller_pid IS NOT NULL
	  AND NOT EXISTS (SELECT FROM etl._locks_held() h WHERE h.kind = 4 AND h.id = x.request_id)
	ON CONFLICT DO NOTHING;
	PERFORM etl._time_out_runs();
	FOR r IN SELECT x.* FROM etl.run x JOIN etl.cancel_request q USING (run_id) WHERE x.state IN ('queued', 'running')
		FOR UPDATE OF x SKIP LOCKED LOOP
		UPDATE etl.task_run t SET state = 'cancelled', ended_at = clock_timestamp()
		WHERE t.run_id = r.run_id AND t.state IN ('queued', 'up_for_retry');
		FOR c IN
			SELECT h.pid FROM etl.task_run t JOIN etl._locks_held() h ON h.kind = 3 AND h.id = t.task_run_id
			WHERE t.run_id = r.run_id AND t.state = 'running'
			  AND (SELECT q.signalled_at IS NULL OR q.signalled_at < clock_timestamp() - interval '1 second' FROM etl.cancel_request q WHERE q.run_id = r.run_id)
		LOOP
			PERFORM pg_cancel_backend(c.pid);
		END LOOP;
		UPDATE etl.cancel_request q SET signalled_at = clock_timestamp()
		WHERE q.run_id = r.run_id AND (q.signalled_at IS NULL OR q.signalled_at < clock_timestamp() - interval '1 second');
		IF NOT EXISTS (SELECT FROM etl.task_run t WHERE t.run_id = r.run_id AND t.state = 'running') THEN
			PERFORM etl._end_cancelled_run(r, NULL);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._pass_cancellations_on() IS 'cancels what somebody asked to cancel, and what nobody waits for any more';

-- A task is ready when what it waits for has succeeded, or ended if that is its rule, and
-- its pool has a slot.
CREATE FUNCTION etl._ready_tasks() RETURNS TABLE (task_run_id bigint, run_id bigint, owner name)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT c.task_run_id, c.run_id, c.owner
	FROM (
		SELECT t.task_run_id, r.run_id, r.owner, r.priority, t.position, t.pool,
			   CASE WHEN t.pool IS NOT NULL THEN row_number() OVER (PARTITION BY t.pool ORDER BY r.priority DESC, r.run_id, t.position) END AS place
		FROM etl.run r JOIN etl.task_run t USING (run_id)
		WHERE r.state = 'running' AND t.part_of IS NULL
		  AND (t.state = 'queued' OR t.state = 'up_for_retry' AND t.next_attempt_at <= clock_timestamp())
		  AND NOT EXISTS (SELECT FROM etl.cancel_request q WHERE q.run_id = r.run_id)
		  AND NOT EXISTS (SELECT FROM etl.task_run d WHERE d.run_id = t.run_id AND d.task = ANY (t.depends_on) AND d.state NOT IN ('success', 'skipped')
						  AND (t.trigger_rule = 'all_success' OR d.state IN ('queued', 'running', 'up_for_retry')))) c
	LEFT JOIN etl.pools s ON s.pool = c.pool
	WHERE s.pool IS NULL OR c.place <= s.slots - s.used
	ORDER BY c.priority DESC, c.run_id, c.position;
END
$$;
COMMENT ON FUNCTION etl._ready_tasks() IS 'the tasks a worker may take now, in the order they are to be taken';

-- What waits for a task that failed does not run, and the parts of a publication share its fate.
CREATE FUNCTION etl._fail_downstream() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM etl.run r JOIN etl.task_run d USING (run_id) WHERE r.state = 'running' AND d.state IN ('failed', 'upstream_failed', 'cancelled')) THEN
		RETURN;
	END IF;
	LOOP
		UPDATE etl.task_run t SET state = 'upstream_failed', ended_at = clock_timestamp()
		FROM etl.run r
		WHERE r.state = 'running' AND t.run_id = r.run_id AND t.state = 'queued' AND t.trigger_rule = 'all_success'
		  AND EXISTS (SELECT FROM etl.task_run d WHERE d.run_id = t.run_id AND d.state IN ('failed', 'upstream_failed', 'cancelled')
					  AND (d.task_run_id = t.part_of OR t.part_of IS NULL AND d.task = ANY (t.depends_on)));
		EXIT WHEN NOT FOUND;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._fail_downstream() IS 'ends the tasks that wait for what failed';

-- The error of a run is that of the task that failed first, cleanups last: they run after it.
CREATE FUNCTION etl._finish_runs() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
	r etl.run;
	f etl.task_run;
BEGIN
	PERFORM etl._fail_downstream();
	FOR r IN SELECT x.* FROM etl.run x WHERE x.state = 'running'
		AND NOT EXISTS (SELECT FROM etl.task_run t WHERE t.run_id = x.run_id AND t.part_of IS NULL AND t.state IN ('queued', 'running', 'up_for_retry'))
	LOOP
		SELECT * INTO f FROM etl.task_run t
		WHERE t.run_id = r.run_id AND t.part_of IS NULL AND t.state IN ('failed', 'cancelled')
		ORDER BY (t.trigger_rule = 'all_done'), (t.error_code IS NULL), t.ended_at, t.position LIMIT 1;
		IF NOT FOUND THEN
			PERFORM etl._end_run(r, 'success', NULL, NULL, NULL, NULL, NULL);
		ELSIF f.state = 'cancelled' THEN
			PERFORM etl._end_cancelled_run(r, f.task);
		ELSE
			-- the publication carries the error; the part of it that failed is what a person asks for
			PERFORM etl._end_run(r, 'failed',
				coalesce((SELECT t.task FROM etl.task_run t WHERE t.run_id = r.run_id AND t.part_of = f.task_run_id AND t.state = 'failed' ORDER BY t.position LIMIT 1), f.task),
				f.error_code, f.error_message, f.error_detail, f.error_hint);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._finish_runs() IS 'ends runs that have nothing left to do';

-- What a coordinator that is gone has left behind, before anything new is asked for.
CREATE FUNCTION etl._repair() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._notice_lost_attempts();
	PERFORM etl._finish_runs();
	PERFORM etl._pass_cancellations_on();
END
$$;
COMMENT ON FUNCTION etl._repair() IS 'ends attempts whose worker is gone, runs that have nothing left to do, and runs nobody waits for any more';

CREATE FUNCTION etl._coordinate() RETURNS TABLE (role_oid oid, ready integer, idle_pids integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._repair();
	PERFORM etl._end_overdue_attempts();
	PERFORM etl._advance_backfills();
	-- No more than keep workers busy: what each of them looks at to find a task grows with it.
	-- Runs without tasks have ended at once, and others may start in their place.
	FOR round IN 1 .. 100 LOOP
		PERFORM etl._start_runs(greatest(200 - (SELECT count(*)::integer FROM etl._ready_tasks()), 10));
		PERFORM etl._finish_runs();
		EXIT WHEN EXISTS (SELECT FROM etl._ready_tasks()) OR NOT EXISTS (SELECT FROM etl._queue q WHERE q.starts);
	END LOOP;
	-- what has ended meanwhile others may wait for: this may be the last wake
	PERFORM etl._look_at_waiting_runs();
	RETURN QUERY
	SELECT o.oid, count(*)::integer,
		   (SELECT array_agg(w.pid) FROM etl._locks_held() w WHERE w.kind = 2 AND w.id = o.oid::bigint
			AND NOT EXISTS (SELECT FROM etl._locks_held() a WHERE a.kind IN (3, 5) AND a.pid = w.pid))
	FROM etl._ready_tasks() t JOIN pg_roles o ON o.rolname = t.owner
	GROUP BY o.oid;
END
$$;
COMMENT ON FUNCTION etl._coordinate() IS 'one wake of the coordinator; returns how many tasks are ready for workers of each role, and which of them are idle';

CREATE FUNCTION etl._coordinator_outlook(OUT active_runs integer, OUT next_attempt_at timestamptz, OUT worker_pids integer[], OUT attempts bigint, OUT next_due_at timestamptz)
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT (SELECT count(*)::integer FROM etl.run WHERE state = 'running') + etl._runs_about_to_start() + etl._active_backfills(),
		   (SELECT min(e.at) FROM (
				SELECT CASE WHEN t.state = 'up_for_retry' THEN t.next_attempt_at WHEN t.overdue_at > clock_timestamp() THEN t.overdue_at END AS at
				FROM etl.run r JOIN etl.task_run t USING (run_id) WHERE r.state = 'running' AND t.state IN ('up_for_retry', 'running')
				UNION ALL
				SELECT r.started_at + p.run_timeout FROM etl.run r JOIN etl.pipeline p USING (pipeline)
				WHERE r.state = 'running' AND NOT EXISTS (SELECT FROM etl.cancel_request q WHERE q.run_id = r.run_id)
				UNION ALL
				-- more than start in one wake
				SELECT clock_timestamp() WHERE EXISTS (SELECT FROM etl._queue q WHERE q.starts)) e),
		   (SELECT array_agg(h.pid) FROM etl._locks_held() h WHERE h.kind = 2),
		   -- attempts begun, and, as runs that end take theirs along, what is written when one ends
		   (SELECT coalesce(sum(t.attempt), 0) FROM etl.run r JOIN etl.task_run t USING (run_id) WHERE r.state IN ('queued', 'running'))
			+ 1000000 * (SELECT l.last_value FROM etl.log_id_seq l),
		   etl._next_due_at()
$$;
COMMENT ON FUNCTION etl._coordinator_outlook() IS 'whether the coordinator still has something to do, when next, and which workers there are';

-- No worker could be started for a role: say so instead of trying for ever.
CREATE FUNCTION etl._fail_ready_tasks(role_oid oid, message text, hint text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT x.* FROM etl._ready_tasks() x JOIN pg_roles o ON o.rolname = x.owner WHERE o.oid = role_oid LOOP
		UPDATE etl.task_run x SET state = 'failed', ended_at = clock_timestamp(), error_code = '53000', error_message = message, error_hint = hint
		WHERE x.task_run_id = t.task_run_id AND x.state IN ('queued', 'up_for_retry');
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._fail_ready_tasks(oid, text, text) IS 'fails the ready tasks of a role for which no worker starts';
