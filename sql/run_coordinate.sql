-- What the coordinator does at each wake: notice what ended, pass cancellations on, start
-- runs, hand out tasks, finish runs.  Liveness is a lock that is held, not a pid that exists.

CREATE FUNCTION etl._lock_kind(kind text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE kind WHEN 'coordinator' THEN 1 WHEN 'worker' THEN 2 WHEN 'attempt' THEN 3 WHEN 'caller' THEN 4 WHEN 'delivery' THEN 5 END $$;
COMMENT ON FUNCTION etl._lock_kind(text) IS 'the numbers of the advisory lock space; must agree with src/run/locks.h';

CREATE FUNCTION etl._locks_held() RETURNS TABLE (kind integer, id bigint, pid integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT (l.classid::bigint >> 24)::integer, ((l.classid::bigint & 16777215) << 32) | l.objid::bigint, l.pid
	FROM pg_locks l
	WHERE l.locktype = 'advisory' AND l.objsubid = 231 AND l.granted
	  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
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

-- Decides what becomes of an attempt that failed.
CREATE FUNCTION etl._end_failed_attempt(t etl.task_run, code text, message text, detail text, hint text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.run;
	p etl.pipeline;
	new_state text;
	retriable boolean;
BEGIN
	SELECT * INTO STRICT r FROM etl.run x WHERE x.run_id = t.run_id;
	SELECT * INTO p FROM etl.pipeline x WHERE x.pipeline = r.pipeline;
	retriable := etl._may_go_away(code);
	new_state := CASE
		WHEN code = '57014' THEN 'cancelled'
		WHEN NOT retriable OR t.attempt > coalesce(p.retries, 0) THEN 'failed'
		ELSE 'up_for_retry' END;
	UPDATE etl.task_run x SET state = new_state, ended_at = CASE WHEN new_state <> 'up_for_retry' THEN clock_timestamp() END,
		next_attempt_at = CASE WHEN new_state = 'up_for_retry' THEN clock_timestamp() + p.retry_delay END,
		error_code = code, error_message = message, error_detail = detail, error_hint = hint
	WHERE x.task_run_id = t.task_run_id;
	UPDATE etl.task_attempt a SET state = CASE new_state WHEN 'cancelled' THEN 'cancelled' ELSE 'failed' END,
		ended_at = clock_timestamp(), error_code = code, error_message = message
	WHERE a.task_run_id = t.task_run_id AND a.attempt = t.attempt;
	PERFORM etl._write_log(CASE new_state WHEN 'failed' THEN 'ERROR' ELSE 'WARN' END, r.pipeline, r.run_id, t.task,
		format('attempt %s %s: %s', t.attempt, CASE new_state WHEN 'up_for_retry' THEN format('failed and is tried again in %s', p.retry_delay) ELSE new_state END, message),
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
	-- complete but not published by this run's own failing: ask the source again next time
	IF new_state = 'failed' AND NOT etl._may_go_away(code) THEN
		UPDATE etl.load l SET refetch = true WHERE l.run_id = r.run_id AND l.state = 'complete'
		  AND EXISTS (SELECT FROM etl.task_run t WHERE t.run_id = r.run_id AND t.kind = 'publish' AND t.state = 'failed');
	END IF;
	UPDATE etl.run x SET state = new_state, ended_at = clock_timestamp(), error_task = task, error_code = code,
		error_message = message, error_detail = detail, error_hint = hint
	WHERE x.run_id = r.run_id;
	PERFORM etl._write_log(CASE new_state WHEN 'failed' THEN 'ERROR' WHEN 'cancelled' THEN 'WARN' ELSE 'INFO' END, r.pipeline, r.run_id, task,
		format('run %s of interval %s: %s', r.run_id, r.data_interval_start, new_state || coalesce(': ' || message, '')));
	PERFORM etl._wake(r.caller_pid) WHERE r.caller_pid IS NOT NULL;
END
$$;
COMMENT ON FUNCTION etl._end_run(etl.run, text, text, text, text, text, text) IS 'ends a run and wakes who waits for it';

-- An attempt whose lock nobody holds has lost its worker: terminated, or gone in a crash.
CREATE FUNCTION etl._notice_lost_attempts() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run;
BEGIN
	FOR t IN
		SELECT x.* FROM etl.run r JOIN etl.task_run x USING (run_id)
		WHERE r.state = 'running' AND x.state = 'running' AND x.kind IN ('extract', 'publish')
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
		WHERE t.kind = 'publish' AND x.run_id = t.run_id AND x.state = 'running' AND x.kind IN ('load', 'check');
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._notice_lost_attempts() IS 'ends attempts whose worker is gone';

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
			PERFORM etl._end_run(r, 'cancelled', NULL, '57014', 'the run was cancelled', q.reason,
				'Run the interval again: it goes on at the first slice that is not committed.')
			FROM etl.cancel_request q WHERE q.run_id = r.run_id;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._pass_cancellations_on() IS 'cancels what somebody asked to cancel, and what nobody waits for any more';

CREATE FUNCTION etl._start_runs() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.run;
	problem text;
	problem_detail text;
BEGIN
	-- one run of a pipeline at a time, the earliest interval first
	FOR r IN
		SELECT DISTINCT ON (x.pipeline) x.* FROM etl.run x
		WHERE x.state = 'queued'
		  AND NOT EXISTS (SELECT FROM etl.run y WHERE y.pipeline = x.pipeline AND y.state = 'running')
		ORDER BY x.pipeline, x.data_interval_start, x.run_id
	LOOP
		problem := CASE
			WHEN NOT EXISTS (SELECT FROM etl.pipeline p WHERE p.pipeline = r.pipeline) THEN 'the pipeline was dropped'
			WHEN NOT EXISTS (SELECT FROM pg_roles o WHERE o.rolname = r.owner) THEN format('its owner, role "%s", does not exist', r.owner)
			WHEN NOT (SELECT o.rolcanlogin FROM pg_roles o WHERE o.rolname = r.owner) THEN format('its owner, role "%s", cannot log in', r.owner)
			WHEN NOT has_database_privilege(r.owner, current_database(), 'CONNECT') THEN format('its owner, role "%s", may not connect to the database', r.owner)
			WHEN NOT has_database_privilege(r.owner, current_database(), 'TEMPORARY') THEN format('its owner, role "%s", may not create temporary tables in the database', r.owner)
			END;
		IF problem IS NULL THEN
			BEGIN
				INSERT INTO etl.task_run (run_id, task, kind, position, depends_on)
				SELECT r.run_id, o.task, o.kind, o.ordinal, o.depends_on FROM etl._task_order(r.pipeline) o;
				-- rebuilt from raw: nothing is fetched
				UPDATE etl.task_run t SET state = 'skipped', ended_at = clock_timestamp()
				WHERE t.run_id = r.run_id AND t.kind = 'extract' AND r.trigger = 'reprocess';
				INSERT INTO etl.task_run (run_id, task, kind, position)
				SELECT r.run_id, 'publish', 'publish', 0 WHERE EXISTS (SELECT FROM etl.task_run t WHERE t.run_id = r.run_id);
			EXCEPTION WHEN OTHERS THEN
				GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, problem_detail = PG_EXCEPTION_DETAIL;
			END;
		END IF;
		IF problem IS NOT NULL THEN
			PERFORM etl._end_run(r, 'failed', NULL, '55000', problem, nullif(problem_detail, ''), 'See etl.pipelines; put it right and run the interval again.');
			CONTINUE;
		END IF;
		UPDATE etl.run x SET state = 'running', started_at = clock_timestamp(), interval_is_open = x.data_interval_end > etl._now()
		WHERE x.run_id = r.run_id;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._start_runs() IS 'starts queued runs, at most one of each pipeline';

-- A task is ready when what it waits for has succeeded; the publication waits for every extract.
CREATE FUNCTION etl._ready_tasks() RETURNS TABLE (task_run_id bigint, run_id bigint, owner name)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT t.task_run_id, r.run_id, r.owner
	FROM etl.run r JOIN etl.task_run t USING (run_id)
	WHERE r.state = 'running' AND t.kind IN ('extract', 'publish')
	  AND (t.state = 'queued' OR t.state = 'up_for_retry' AND t.next_attempt_at <= clock_timestamp())
	  AND NOT EXISTS (SELECT FROM etl.cancel_request q WHERE q.run_id = r.run_id)
	  AND NOT EXISTS (SELECT FROM etl.task_run d WHERE d.run_id = t.run_id AND d.kind = 'extract' AND d.state NOT IN ('success', 'skipped')
					  AND (t.kind = 'publish' OR d.task = ANY (t.depends_on)))
	ORDER BY r.run_id, t.position
$$;
COMMENT ON FUNCTION etl._ready_tasks() IS 'the tasks a worker may take now';

CREATE FUNCTION etl._finish_runs() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.run;
	f etl.task_run;
BEGIN
	FOR r IN SELECT x.* FROM etl.run x WHERE x.state = 'running'
		AND NOT EXISTS (SELECT FROM etl.task_run t WHERE t.run_id = x.run_id AND t.kind IN ('extract', 'publish')
						AND (t.state IN ('running', 'up_for_retry')
							 OR t.state = 'queued' AND NOT EXISTS (SELECT FROM etl.task_run d WHERE d.run_id = x.run_id AND d.kind = 'extract' AND d.state IN ('failed', 'cancelled', 'upstream_failed'))))
	LOOP
		SELECT * INTO f FROM etl.task_run t
		WHERE t.run_id = r.run_id AND t.state IN ('failed', 'cancelled') ORDER BY (t.attempt = 0), (t.kind = 'publish'), t.ended_at, t.position LIMIT 1;
		IF NOT FOUND THEN
			PERFORM etl._end_run(r, 'success', NULL, NULL, NULL, NULL, NULL);
		ELSIF f.state = 'cancelled' THEN
			PERFORM etl._end_run(r, 'cancelled', NULL, '57014', 'the run was cancelled',
				coalesce((SELECT q.reason FROM etl.cancel_request q WHERE q.run_id = r.run_id), format('Task %s was cancelled.', f.task)),
				'Run the interval again: it goes on at the first slice that is not committed.');
		ELSE
			-- the publication carries the error; the part of it that failed is what a person asks for
			PERFORM etl._end_run(r, 'failed',
				CASE WHEN f.kind = 'publish' THEN coalesce((SELECT t.task FROM etl.task_run t WHERE t.run_id = r.run_id AND t.kind IN ('load', 'check') AND t.state = 'failed' ORDER BY t.position LIMIT 1), f.task) ELSE f.task END,
				p.error_code, p.error_message, p.error_detail, p.error_hint)
			FROM (SELECT coalesce(pub.error_code, f.error_code) AS error_code, coalesce(pub.error_message, f.error_message) AS error_message,
						 CASE WHEN pub.error_code IS NULL THEN f.error_detail ELSE pub.error_detail END AS error_detail,
						 CASE WHEN pub.error_code IS NULL THEN f.error_hint ELSE pub.error_hint END AS error_hint
				  FROM (VALUES (1)) one LEFT JOIN etl.task_run pub ON pub.run_id = r.run_id AND pub.kind = 'publish' AND pub.state = 'failed') p;
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
	PERFORM etl._finish_runs();
	PERFORM etl._start_runs();
	PERFORM etl._finish_runs();		-- of runs without tasks
	RETURN QUERY
	SELECT o.oid, count(*)::integer,
		   (SELECT array_agg(w.pid) FROM etl._locks_held() w WHERE w.kind = 2 AND w.id = o.oid::bigint
			AND NOT EXISTS (SELECT FROM etl._locks_held() a WHERE a.kind IN (3, 5) AND a.pid = w.pid))
	FROM etl._ready_tasks() t JOIN pg_roles o ON o.rolname = t.owner
	GROUP BY o.oid;
END
$$;
COMMENT ON FUNCTION etl._coordinate() IS 'one wake of the coordinator; returns how many tasks are ready for workers of each role, and which of them are idle';

CREATE FUNCTION etl._coordinator_outlook(OUT active_runs integer, OUT next_attempt_at timestamptz, OUT worker_pids integer[], OUT attempts bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT (SELECT count(*)::integer FROM etl.run WHERE state IN ('queued', 'running')),
		   (SELECT min(t.next_attempt_at) FROM etl.run r JOIN etl.task_run t USING (run_id) WHERE r.state = 'running' AND t.state = 'up_for_retry'),
		   (SELECT array_agg(h.pid) FROM etl._locks_held() h WHERE h.kind = 2),
		   (SELECT coalesce(sum(t.attempt), 0) FROM etl.run r JOIN etl.task_run t USING (run_id) WHERE r.state IN ('queued', 'running'))
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
