-- What a worker, connected as the owner, asks for and reports besides its task's own work.

-- The next tasks for workers of this role.  A worker takes the attempt's lock before the claim
-- commits: a running attempt whose lock is free has lost its worker, always.
CREATE FUNCTION etl._next_tasks() RETURNS TABLE (task_run_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT r.task_run_id FROM etl._ready_tasks() r WHERE r.owner = session_user LIMIT 8 * (current_setting('etl.max_workers')::integer + 1) $$;
COMMENT ON FUNCTION etl._next_tasks() IS 'tasks the session''s role may work on now, the most urgent first';

CREATE FUNCTION etl._claim(task_run_id bigint,
	OUT attempt integer, OUT kind text, OUT pipeline text, OUT task text, OUT run_id bigint, OUT run_date date, OUT caller_pid integer, OUT is_own_call boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT etl._has_free_slot(task_run_id) THEN
		RETURN;
	END IF;
	UPDATE etl.task_run t SET state = 'running', attempt = t.attempt + 1, worker_pid = pg_backend_pid(),
		started_at = coalesce(t.started_at, clock_timestamp()), ended_at = NULL, next_attempt_at = NULL,
		overdue_at = clock_timestamp() + (SELECT (etl._task_settings(p, t.task)).task_timeout FROM etl.pipeline p WHERE p.pipeline = r.pipeline)
	FROM etl.run r
	WHERE t.task_run_id = _claim.task_run_id AND r.run_id = t.run_id AND r.owner = session_user AND r.state = 'running'
	  AND (t.state = 'queued' OR t.state = 'up_for_retry' AND t.next_attempt_at <= clock_timestamp()) AND t.part_of IS NULL
	  AND NOT EXISTS (SELECT FROM etl.cancel_request q WHERE q.run_id = r.run_id)
	  -- who asked for it has given it up, and the coordinator does not know yet
	  AND (r.caller_pid IS NULL OR r.request_id IS NULL OR EXISTS (SELECT FROM etl._locks_held() h WHERE h.kind = 4 AND h.id = r.request_id))
	RETURNING t.attempt, t.kind, r.pipeline, t.task, r.run_id, r.run_date, r.caller_pid
	INTO attempt, kind, pipeline, task, run_id, run_date, caller_pid;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	INSERT INTO etl.task_attempt (task_run_id, attempt, worker_pid) VALUES (_claim.task_run_id, attempt, pg_backend_pid());
	IF kind <> 'extract' THEN
		UPDATE etl.task_run t SET state = 'running', attempt = _claim.attempt, worker_pid = pg_backend_pid()
		WHERE t.run_id = _claim.run_id AND t.part_of = _claim.task_run_id AND t.state = 'queued';
	END IF;
	is_own_call := kind = 'call' AND EXISTS (SELECT FROM etl.task d WHERE d.pipeline = _claim.pipeline AND d.task = _claim.task AND d.definition ->> 'transaction' = 'own');
END
$$;
COMMENT ON FUNCTION etl._claim(bigint) IS 'takes a task: counts the attempt before it starts; NULLs when it is no longer to be had';

CREATE FUNCTION etl._fail_attempt(task_run_id bigint, attempt integer, code text, message text, detail text, hint text, evidence jsonb)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
	new_state text;
BEGIN
	new_state := etl._end_failed_attempt(t, code, message, detail, hint);
	IF t.kind = 'extract' AND new_state = 'failed' AND code IN ('HV000', '54000') THEN
		-- a circle, too many pages, a cursor the source refuses: what led there is not to be trusted
		UPDATE etl.load l SET refetch = true WHERE l.run_id = t.run_id AND l.task = t.task AND l.state = 'loading';
	ELSIF t.kind = 'extract' AND new_state = 'failed' AND code NOT LIKE '28%' AND code <> '57014' AND NOT etl._may_go_away(code) THEN
		-- resumed, and refused at once: a cursor that leads nowhere must not stick
		UPDATE etl.load l SET refetch = true
		FROM etl.task_attempt a
		WHERE l.run_id = t.run_id AND l.task = t.task AND l.state = 'loading'
		  AND a.task_run_id = t.task_run_id AND a.attempt = t.attempt AND l.started_at < a.started_at
		  AND EXISTS (SELECT FROM etl.slice s WHERE s.load_id = l.load_id)
		  AND NOT EXISTS (SELECT FROM etl.slice s WHERE s.load_id = l.load_id AND s.committed_at >= a.started_at);
	END IF;
	IF t.kind <> 'extract' THEN
		PERFORM etl._record_evidence(t, evidence, CASE new_state WHEN 'up_for_retry' THEN 'retried' ELSE new_state END);
	END IF;
	RETURN new_state;
END
$$;
COMMENT ON FUNCTION etl._fail_attempt(bigint, integer, text, text, text, text, jsonb) IS 'a worker''s report that its attempt failed, with what it had found out';
