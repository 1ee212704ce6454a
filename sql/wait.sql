-- Waiting for a run that somebody has queued.

CREATE FUNCTION etl._run_status_as_owner(run bigint, OUT state text, OUT written_here boolean, OUT is_ready boolean, OUT is_led boolean, OUT blocked_by text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.run;
BEGIN
	SELECT * INTO r FROM etl.run x WHERE x.run_id = run;
	IF NOT FOUND OR NOT (etl._may_operate(r.owner, etl._acting_role()) OR etl._is_member('etl_reader', etl._acting_role())) THEN
		RETURN;
	END IF;
	state := r.state;
	written_here := (SELECT etl._written_here(x.xmin) FROM etl.run x WHERE x.run_id = run);
	is_ready := state = 'running' OR NOT etl._is_copy() AND EXISTS (SELECT FROM etl.pipeline p WHERE p.pipeline = r.pipeline AND NOT p.paused);
	is_led := etl._lock_holder('coordinator', 0) IS NOT NULL;
	-- whoever a worker of the run, or the coordinator, waits for, through others that wait too: is it this session?
	WITH RECURSIVE waiting(worker, pid) AS (
		SELECT DISTINCT h.pid, h.pid FROM etl._locks_held() h JOIN pg_stat_activity a ON a.pid = h.pid AND a.wait_event_type = 'Lock'
		WHERE h.kind = etl._lock_kind('coordinator')
		   OR h.kind = etl._lock_kind('attempt') AND h.id IN (SELECT t.task_run_id FROM etl.task_run t WHERE t.run_id = run AND t.state = 'running')
		UNION
		SELECT w.worker, b.pid FROM waiting w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) b(pid))
	SELECT format('Process %s waits for %s, which this session has locked.', w.worker,
				  coalesce((SELECT string_agg(DISTINCT coalesce(l.relation::regclass::text, l.locktype), ', ') FROM pg_locks l WHERE l.pid = w.worker AND NOT l.granted), 'a lock'))
	INTO blocked_by FROM waiting w WHERE w.pid = pg_backend_pid() LIMIT 1;
END
$$;
CREATE FUNCTION etl._run_status(run bigint, OUT state text, OUT written_here boolean, OUT is_ready boolean, OUT is_led boolean, OUT blocked_by text)
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._run_status_as_owner(bigint) IS 'does what etl._run_status does, with the rights of the extension';
COMMENT ON FUNCTION etl._run_status(bigint) IS 'what a session needs to know that waits for a run; nulls for one it may not see';

CREATE FUNCTION etl.wait(run bigint, timeout interval DEFAULT NULL) RETURNS text
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'etl_wait';
COMMENT ON FUNCTION etl.wait(bigint, interval) IS
	'waits until a run has ended and returns its state: success, failed or cancelled; 57014 when it has not within timeout, and the run goes on';
