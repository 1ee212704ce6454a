-- Who may do what.  Functions whose name begins with an underscore are internal: those a
-- worker or a declaration needs check the caller themselves; the rest is not callable.

REVOKE ALL ON ALL TABLES IN SCHEMA etl FROM PUBLIC;
GRANT SELECT ON etl.pipelines, etl.tasks, etl.runs, etl.task_runs, etl.task_attempts, etl.progress, etl.loads, etl.slices, etl.watermarks, etl.item_errors, etl.quarantine,
	etl.check_results, etl.log, etl.templates, etl.published_loads, etl.state_transition, etl._declared_tasks, etl.registered_schema TO PUBLIC;

REVOKE ALL ON FUNCTION
	etl._submit(bigint, name, integer, date, text, timestamptz, timestamptz, text),
	etl._queue_runs(bigint, name, integer, etl.pipeline, date, timestamptz, timestamptz, boolean, text), etl._intervals_to_reprocess(etl.pipeline, timestamptz, timestamptz), etl._repair(), etl._coordinate(), etl._coordinator_outlook(), etl._fail_ready_tasks(oid, text, text),
	etl._notice_lost_attempts(), etl._pass_cancellations_on(), etl._start_runs(), etl._finish_runs(),
	etl._end_run(etl.run, text, text, text, text, text, text),
	etl._end_failed_attempt(etl.task_run, text, text, text, text),
	etl._record_evidence(etl.task_run, jsonb, text),
	etl._plan_routes(etl.load), etl._begin_watermark(etl.load, jsonb, text, jsonb), etl._publish_watermarks(etl.load),
	etl._route_by_watermark(etl.load, jsonb, text, jsonb, jsonb[]), etl._route_by_time(etl.load, text, jsonb[]),
	etl._ready_tasks(), etl._claim_instance(), etl._wake(integer)
FROM PUBLIC;

-- Reached only through their callable faces, which note who calls: see src/rights.c.
REVOKE ALL ON FUNCTION
	etl._lock_own_pipeline(text),
	etl._own_pipeline_as_owner(text),
	etl._log_as_owner(text, text, bigint, text, text, jsonb),
	etl._save_pipeline_as_owner(text, text, text, text, integer, interval, jsonb, boolean),
	etl._alter_pipeline_as_owner(text, text, text, integer, interval, text, jsonb),
	etl._forget_pipeline_as_owner(text),
	etl._save_task_as_owner(text, text, text, name, name, jsonb, text[]),
	etl._mark_reclaimed_as_owner(bigint),
	etl._forget_target_state_as_owner(text, text),
	etl._cancel_as_owner(bigint, text),
	etl._pause_as_owner(text),
	etl._resume_as_owner(text),
	etl._set_template_as_owner(text, text, jsonb),
	etl._set_watermark_as_owner(text, text, text, jsonb)
FROM PUBLIC;
