-- Asking for runs.  The caller of etl_run cannot commit rows while it waits, so the
-- coordinator process it starts does, on its behalf and checked against its role.

CREATE FUNCTION etl._intervals_to_run(p etl.pipeline, run_date date, interval_start timestamptz, interval_end timestamptz)
RETURNS TABLE (data_interval_start timestamptz, data_interval_end timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT interval_start, interval_end WHERE interval_start IS NOT NULL
	UNION
	SELECT i.data_interval_start, i.data_interval_end FROM etl.schedule_intervals(p.schedule, p.timezone, run_date) i
	WHERE interval_start IS NULL
	UNION
	-- first
	SELECT c.data_interval_start, c.data_interval_end FROM etl._intervals_to_complete(p.pipeline, etl._now()) c WHERE interval_start IS NULL
	ORDER BY 1
$$;
COMMENT ON FUNCTION etl._intervals_to_run(etl.pipeline, date, timestamptz, timestamptz) IS 'the intervals a request covers, open ones of the past included';

-- A load is replaced whole: what lies partly outside of the new interval stays beside it.
CREATE FUNCTION etl._warn_of_overlap(r etl.run) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	SELECT etl._write_log('WARN', r.pipeline, r.run_id, NULL, format('the interval %s to %s overlaps the published one %s to %s: raw holds the records of both',
		r.data_interval_start, r.data_interval_end, l.data_interval_start, l.data_interval_end))
	FROM etl.load l JOIN etl.task t ON t.pipeline = l.pipeline AND t.task = l.task AND t.definition ->> 'on_rerun' = 'replace'
	WHERE l.pipeline = r.pipeline AND l.state = 'published'
	  AND l.data_interval_start < r.data_interval_end AND l.data_interval_end > r.data_interval_start
	  AND NOT (l.data_interval_start >= r.data_interval_start AND l.data_interval_end <= r.data_interval_end) LIMIT 1
$$;
COMMENT ON FUNCTION etl._warn_of_overlap(etl.run) IS 'logs that a run covers part of an interval that is published';

-- The runs of one pipeline.  named: the pipeline was asked for by name, so that an interval
-- which is running already is an error, not one failed run among others.
CREATE FUNCTION etl._queue_runs(request bigint, caller name, caller_pid integer, p etl.pipeline, run_date date,
	interval_start timestamptz, interval_end timestamptz, named boolean, trigger text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	i record;
	refused record;
	new_run etl.run;
BEGIN
	FOR i IN
		SELECT * FROM etl._intervals_to_run(p, run_date, interval_start, interval_end) WHERE trigger <> 'reprocess'
		UNION ALL
		SELECT * FROM etl._intervals_to_reprocess(p, interval_start, interval_end) WHERE trigger = 'reprocess'
		ORDER BY 1
	LOOP
		refused := etl._overlap(p, i.data_interval_start, request, trigger, named, caller);
		IF refused.refused IS NOT NULL AND refused.state IS NULL THEN
			RAISE EXCEPTION 'interval % of pipeline "%" is already running', i.data_interval_start AT TIME ZONE p.timezone, p.pipeline
				USING ERRCODE = 'object_in_use', DETAIL = format('Run %s is active; see etl.progress.', refused.active), HINT = refused.hint;
		END IF;
		BEGIN
			INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, state,
				request_id, caller_pid, requested_by, priority, ended_at, error_code, error_message, error_hint)
			VALUES (p.pipeline, p.owner, i.data_interval_start, i.data_interval_end, (i.data_interval_start AT TIME ZONE p.timezone)::date,
				p.timezone, _queue_runs.trigger, coalesce(refused.state, 'queued'), request, caller_pid, caller, p.priority,
				CASE WHEN refused.state IS NOT NULL THEN clock_timestamp() END, CASE WHEN refused.state IS NOT NULL THEN '55006' END, refused.refused, refused.hint)
			RETURNING * INTO new_run;
		EXCEPTION WHEN unique_violation THEN
			-- somebody has asked for it at the same moment
			RAISE EXCEPTION 'interval % of pipeline "%" is already running', i.data_interval_start AT TIME ZONE p.timezone, p.pipeline
				USING ERRCODE = 'object_in_use', HINT = 'etl.progress shows what is under way; etl.cancel ends it.';
		END;
		PERFORM etl._warn_of_overlap(new_run);
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._queue_runs(bigint, name, integer, etl.pipeline, date, timestamptz, timestamptz, boolean, text) IS 'queues the runs of one pipeline';

CREATE FUNCTION etl._submit(request bigint, caller name, caller_pid integer, run_date date, pipeline text, interval_start timestamptz, interval_end timestamptz, trigger text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline;
BEGIN
	IF etl._is_copy() THEN
		RAISE EXCEPTION 'the pipelines of this database are paused: it is a copy'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = 'They were declared in another database; this one was restored or cloned from it.',
				  HINT = 'SELECT etl.resume() if pipelines shall run here, against the same sources.';
	END IF;
	IF pipeline IS NULL AND NOT etl._is_member('etl_operator', caller)
	   AND NOT EXISTS (SELECT FROM etl.pipeline x WHERE etl._is_member(x.owner, caller)) THEN
		RAISE EXCEPTION 'permission denied to run pipelines'
			USING ERRCODE = 'insufficient_privilege', DETAIL = format('Role "%s" has the rights of no pipeline''s owner.', caller),
				  HINT = 'Declare a pipeline, or let somebody GRANT you its owner''s role or etl_operator.';
	END IF;
	IF pipeline IS NOT NULL AND NOT EXISTS (SELECT FROM etl.pipeline x WHERE x.pipeline = _submit.pipeline) THEN
		RAISE EXCEPTION 'pipeline "%" does not exist', pipeline
			USING ERRCODE = 'undefined_object',
				  HINT = coalesce('Declared pipelines are: ' || (SELECT string_agg(x.pipeline, ', ' ORDER BY x.pipeline)
								FROM etl.pipeline x WHERE etl._may_operate(x.owner, caller)) || '.',
							'Declare one with etl.create_pipeline or etl.install.');
	END IF;
	FOR p IN SELECT * FROM etl.pipeline x
		WHERE CASE WHEN _submit.pipeline IS NULL THEN NOT x.paused AND etl._may_operate(x.owner, caller)
				   ELSE x.pipeline = _submit.pipeline END
		ORDER BY x.pipeline
	LOOP
		IF NOT etl._may_operate(p.owner, caller) THEN
			RAISE EXCEPTION 'permission denied for pipeline "%"', p.pipeline
				USING ERRCODE = 'insufficient_privilege', DETAIL = format('It belongs to role "%s".', p.owner),
					  HINT = 'Only its owner, members of the owner''s role or of etl_operator, and superusers may run, pause or cancel it.';
		ELSIF p.paused THEN
			RAISE EXCEPTION 'pipeline "%" is paused', p.pipeline
				USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('SELECT etl.resume(%L);', p.pipeline);
		END IF;
		BEGIN
			PERFORM etl._queue_runs(request, caller, caller_pid, p, run_date, interval_start, interval_end, pipeline IS NOT NULL, trigger);
		EXCEPTION WHEN OTHERS THEN
			-- one bad pipeline does not keep the others from running
			IF pipeline IS NOT NULL THEN
				RAISE;
			END IF;
			INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, state,
				request_id, caller_pid, requested_by, ended_at, error_code, error_message)
			VALUES (p.pipeline, p.owner, run_date::timestamptz, (run_date + 1)::timestamptz, run_date, 'UTC', 'manual', 'failed',
				request, caller_pid, caller, clock_timestamp(), SQLSTATE, SQLERRM);
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._submit(bigint, name, integer, date, text, timestamptz, timestamptz, text) IS 'queues the runs a caller asked for, if its role may';
