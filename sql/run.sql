-- Running and waiting.  etl_run is the only function outside schema etl.

-- A composite type, because a result column may not be named like a parameter.
CREATE TYPE etl.run_result AS (
	run_id bigint, pipeline text, data_interval_start timestamptz, data_interval_end timestamptz, state text, duration interval,
	fetched bigint, loaded bigint, quarantined bigint, inserted bigint, updated bigint, deleted bigint);
COMMENT ON TYPE etl.run_result IS 'a row a run, as etl_run returns them';

CREATE FUNCTION @extschema@.etl_run(run_date date DEFAULT current_date, pipeline text DEFAULT NULL)
RETURNS SETOF etl.run_result
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'etl_run';
COMMENT ON FUNCTION @extschema@.etl_run(date, text) IS
	'runs the data intervals that start on a date, of one pipeline or of all that are not paused; waits, shows progress and returns a row a run';

CREATE FUNCTION etl.reprocess(pipeline text, since timestamptz, until timestamptz)
RETURNS SETOF etl.run_result
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'etl_reprocess';
COMMENT ON FUNCTION etl.reprocess(text, timestamptz, timestamptz) IS
	'rebuilds the tables of a pipeline from raw, interval by interval, without a request: its loads and checks again; waits and returns a row a run';

CREATE PROCEDURE etl.run(pipeline text, interval_start timestamptz, interval_end timestamptz)
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_run_procedure';
COMMENT ON PROCEDURE etl.run(text, timestamptz, timestamptz) IS
	'runs one data interval of a pipeline and waits for it without holding a snapshot: commits before it waits';

CREATE FUNCTION etl._request_status(request bigint, OUT active integer, OUT activity text, OUT coordinator_pid integer, OUT blocked_by_caller text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r record;
BEGIN
	SELECT count(*) FILTER (WHERE x.state IN ('queued', 'running')) INTO active FROM etl.run x WHERE x.request_id = request;
	coordinator_pid := etl._lock_holder('coordinator', 0);
	SELECT string_agg(a.query, '; ' ORDER BY x.run_id) INTO activity
	FROM etl.run x
	JOIN etl.task_run t USING (run_id)
	JOIN etl._locks_held() h ON h.kind = 3 AND h.id = t.task_run_id
	JOIN pg_stat_activity a ON a.pid = h.pid
	WHERE x.request_id = request AND t.state = 'running';
	activity := concat_ws('; ', activity, (
		SELECT string_agg(format('%s %s %s: attempt %s failed (%s), the next one is at %s', x.pipeline, x.run_date, t.task, t.attempt, t.error_message,
								 date_trunc('second', t.next_attempt_at)), '; ' ORDER BY t.task_run_id)
		FROM etl.run x JOIN etl.task_run t USING (run_id)
		WHERE x.request_id = request AND t.state = 'up_for_retry'), (
		SELECT string_agg(format('%s %s waits: %s', x.pipeline, x.run_date, q.waits_for), '; ' ORDER BY x.run_id)
		FROM etl.run x JOIN etl._queue q USING (run_id)
		WHERE x.request_id = request AND x.waits_for IS NOT NULL), (
		SELECT string_agg(format('%s %s waits for a worker: none could be started, max_worker_processes may be used up', x.pipeline, x.run_date), '; ' ORDER BY x.run_id)
		FROM etl.run x
		WHERE x.request_id = request AND x.state = 'running' AND x.started_at < clock_timestamp() - interval '5 seconds'
		  AND EXISTS (SELECT FROM etl._ready_tasks() y WHERE y.run_id = x.run_id)
		  AND NOT EXISTS (SELECT FROM etl._locks_held() h WHERE h.kind = 2)));
	-- whoever a worker of ours waits for, through others that wait too: is it this session?
	WITH RECURSIVE waiting(worker, pid) AS (
		SELECT DISTINCT h.pid, h.pid FROM etl._locks_held() h JOIN pg_stat_activity a ON a.pid = h.pid AND a.wait_event_type = 'Lock'
		WHERE h.kind = 1 OR h.kind = 3 AND h.id IN (SELECT t.task_run_id FROM etl.run x JOIN etl.task_run t USING (run_id)
													WHERE x.request_id = request AND t.state = 'running')
		UNION
		SELECT w.worker, b.pid FROM waiting w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) b(pid))
	SELECT w.worker, (SELECT string_agg(DISTINCT coalesce(l.relation::regclass::text, l.locktype), ', ') FROM pg_locks l WHERE l.pid = w.worker AND NOT l.granted) AS lock
	INTO r FROM waiting w WHERE w.pid = pg_backend_pid() LIMIT 1;
	IF FOUND THEN
		-- cancelled while it waits: once the caller's error lets go of the lock, it would go on
		PERFORM pg_cancel_backend(r.worker) FROM etl._locks_held() h WHERE h.pid = r.worker AND h.kind = etl._lock_kind('attempt');
		blocked_by_caller := format('Process %s waits for %s, which this session has locked.', r.worker, coalesce(r.lock, 'a lock'));
	END IF;
END
$$;
COMMENT ON FUNCTION etl._request_status(bigint) IS 'what a waiting caller needs to know: runs still active, what they do, and whether it blocks them itself';

CREATE FUNCTION etl._request_results(request bigint)
RETURNS SETOF etl.run_result
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT r.run_id, r.pipeline, r.data_interval_start, r.data_interval_end, r.state, r.ended_at - r.started_at,
		   coalesce(sum(t.fetched), 0)::bigint, coalesce(sum(t.loaded), 0)::bigint, coalesce(sum(t.quarantined), 0)::bigint,
		   coalesce(sum(t.inserted), 0)::bigint, coalesce(sum(t.updated), 0)::bigint, coalesce(sum(t.deleted), 0)::bigint
	FROM etl.run r LEFT JOIN etl.task_run t USING (run_id)
	WHERE r.request_id = request		-- 56 random bits: who knows it, asked for it
	GROUP BY r.run_id ORDER BY r.pipeline, r.data_interval_start, r.run_id
$$;
COMMENT ON FUNCTION etl._request_results(bigint) IS 'a row a run of a request, for its caller';

CREATE FUNCTION etl._request_failure(request bigint, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	failed integer;
	total integer;
	f etl.run;
BEGIN
	SELECT count(*) FILTER (WHERE r.state NOT IN ('success', 'skipped')), count(*),
		   string_agg(format('run %s of pipeline "%s" (%s) %s: %s%s', r.run_id, r.pipeline, r.run_date,
				r.state || coalesce(' in task ' || r.error_task, ''), r.error_message, coalesce(' - ' || r.error_detail, '')), E'\n' ORDER BY r.run_id)
			FILTER (WHERE r.state NOT IN ('success', 'skipped'))
	INTO failed, total, detail FROM etl.run r WHERE r.request_id = request;
	IF failed = 0 THEN
		detail := NULL;
		RETURN;
	END IF;
	SELECT * INTO f FROM etl.run r WHERE r.request_id = request AND r.state NOT IN ('success', 'skipped') ORDER BY r.run_id LIMIT 1;
	IF failed = 1 THEN
		code := coalesce(f.error_code, 'P0001');
		message := format('run %s of pipeline "%s" (%s) %s: %s', f.run_id, f.pipeline, f.run_date,
						  f.state || coalesce(' in task ' || f.error_task, ''), f.error_message);
		detail := f.error_detail;
		hint := f.error_hint;
		RETURN;
	END IF;
	code := CASE WHEN NOT EXISTS (SELECT FROM etl.run r WHERE r.request_id = request AND r.state NOT IN ('success', 'skipped', 'cancelled')) THEN '57014' ELSE 'P0001' END;
	message := format('%s of %s runs failed', failed, total);
	hint := 'etl.runs and etl.log tell more.';
END
$$;
COMMENT ON FUNCTION etl._request_failure(bigint) IS 'one error that names run, task and cause of each failure of a request; NULLs when there is none';
