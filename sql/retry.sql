-- Doing a run that has ended again: from where it failed (etl.retry), or what it had done
-- as if it had not (etl.clear).  Both queue a new run of the same interval; the old one and
-- what it found out stay as they are.

-- The run and the pipeline as it is today; raises while that interval is under way.
CREATE FUNCTION etl._ended_run(run bigint, OUT r etl.run, OUT p etl.pipeline)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	r := etl._operated_run(run);
	IF r.state IN ('queued', 'running') THEN
		RAISE EXCEPTION 'run % has not ended', run
			USING ERRCODE = 'object_in_use', DETAIL = format('Its state is %s.', r.state),
				  HINT = format('Wait for it: SELECT etl.wait(%1$s); or stop it: SELECT etl.cancel(%1$s);', run);
	ELSIF r.trigger = 'feed' THEN
		RAISE EXCEPTION 'run % was fed by hand', run
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'etl.feed and etl.transform do it again; etl.trigger asks the source.';
	END IF;
	p := etl._runnable_pipeline(r.pipeline);
END
$$;
COMMENT ON FUNCTION etl._ended_run(bigint) IS 'a run that the acting role may have done again, and its pipeline; raises otherwise';

CREATE FUNCTION etl._check_waivers(r etl.run, waive text[], reason text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted text;
	severity text;
BEGIN
	IF waive <> '{}' AND coalesce(btrim(reason), '') = '' THEN
		RAISE EXCEPTION 'a check is not waived without a reason'
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = format('SELECT etl.retry(%s, waive => %L, reason => ''why its data may be published'');', r.run_id, waive::text);
	END IF;
	FOREACH wanted IN ARRAY waive LOOP
		SELECT t.definition ->> 'severity' INTO severity FROM etl.task t
		WHERE t.pipeline = r.pipeline AND t.task = wanted AND t.kind = 'check';
		IF NOT FOUND THEN
			RAISE EXCEPTION 'pipeline "%" has no check "%"', r.pipeline, coalesce(wanted, 'NULL')
				USING ERRCODE = 'undefined_object',
					  HINT = coalesce('Its checks of severity error are: ' || (SELECT string_agg(t.task, ', ' ORDER BY t.task) FROM etl.task t
									WHERE t.pipeline = r.pipeline AND t.kind = 'check' AND t.definition ->> 'severity' = 'error') || '.',
								'It has no check of severity error.');
		ELSIF severity <> 'error' THEN
			RAISE EXCEPTION 'check "%" is a warning already', wanted
				USING ERRCODE = 'invalid_parameter_value', HINT = 'Only checks of severity error keep a run from being published.';
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._check_waivers(etl.run, text[], text) IS 'raises unless checks can be waived: they exist, are of severity error, and there is a reason';

-- Complete loads that were not published because of the run's own failing are asked for
-- anew by another call of etl_run; who retries means to go on with them.
CREATE FUNCTION etl._keep_loads(r etl.run, tasks text[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE etl.load l SET refetch = false
	WHERE l.pipeline = r.pipeline AND l.data_interval_start = r.data_interval_start AND l.data_interval_end = r.data_interval_end
	  AND l.state = 'complete' AND l.refetch AND NOT l.task = ANY (tasks)
$$;
COMMENT ON FUNCTION etl._keep_loads(etl.run, text[]) IS 'lets the next run of an interval go on with its complete loads, but for those of some tasks';

CREATE FUNCTION etl._retry_as_owner(run bigint, waive text[], reason text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	e record := etl._ended_run(run);
	r etl.run := e.r;
	later bigint;
	new_run bigint;
BEGIN
	IF r.state = 'success' THEN
		RAISE EXCEPTION 'run % has succeeded', run
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('To do it again: SELECT etl.clear(%s);', run);
	END IF;
	SELECT max(x.run_id) INTO later FROM etl.run x
	WHERE x.pipeline = r.pipeline AND x.data_interval_start = r.data_interval_start AND x.data_interval_end = r.data_interval_end
	  AND x.run_id > r.run_id AND x.state = 'success' AND x.trigger <> 'feed';
	IF later IS NOT NULL THEN
		RAISE EXCEPTION 'the interval of run % has succeeded since', run
			USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = format('Run %s did it.', later),
				  HINT = format('To do that again: SELECT etl.clear(%s);', later);
	END IF;
	waive := coalesce(waive, '{}');
	PERFORM etl._check_waivers(r, waive, reason);
	PERFORM etl._keep_loads(r, '{}');
	-- what was rebuilt from raw is rebuilt from raw again
	new_run := etl._queue_run(e.p, r.data_interval_start, r.data_interval_end, CASE r.trigger WHEN 'reprocess' THEN r.trigger ELSE 'retry' END,
		etl._acting_role(), r.run_id, r.only_tasks);
	INSERT INTO etl.check_waiver (run_id, check_name, pipeline, owner, data_interval_start, retry_of, waived_by, reason)
	SELECT DISTINCT new_run, w, r.pipeline, r.owner, r.data_interval_start, r.run_id, etl._acting_role(), btrim(_retry_as_owner.reason) FROM unnest(waive) w;
	PERFORM etl._write_log(CASE waive WHEN '{}' THEN 'INFO' ELSE 'WARN' END, r.pipeline, new_run, NULL,
		format('%s retries run %s', etl._acting_role(), r.run_id) || CASE WHEN waive <> '{}' THEN format(' and waives %s: %s', array_to_string(waive, ', '), btrim(reason))
																		 ELSE coalesce(': ' || reason, '') END);
	RETURN new_run;
END
$$;
CREATE FUNCTION etl.retry(run bigint, waive text[] DEFAULT '{}', reason text DEFAULT NULL) RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._retry_as_owner(bigint, text[], text) IS 'does what etl.retry does, with the rights of the extension';
COMMENT ON FUNCTION etl.retry(bigint, text[], text) IS
	'queues a failed or cancelled run''s interval again, going on where it failed: what is fetched is not fetched again. waive: checks of severity error that count as warnings in the new run, with a reason. Returns the new run''s id';

-- A task and, if asked for, what comes after it.
CREATE FUNCTION etl._tasks_after(pipeline text, task text, downstream boolean) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE d AS MATERIALIZED (SELECT x.task, x.needs FROM etl._task_dependencies(_tasks_after.pipeline) x),
	reached(task) AS (
		SELECT _tasks_after.task
		UNION
		SELECT d.task FROM reached r JOIN d ON d.needs = r.task WHERE downstream)
	SELECT array_agg(r.task ORDER BY r.task) FROM reached r
$$;
COMMENT ON FUNCTION etl._tasks_after(text, text, boolean) IS 'a task of a pipeline, with what depends on it';

CREATE FUNCTION etl._clear_as_owner(run bigint, task text, downstream boolean) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	e record := etl._ended_run(run);
	r etl.run := e.r;
	wanted text := etl._task_name(r.pipeline, task);
	cleared text[];
	is_published boolean := r.state = 'success' OR r.trigger = 'reprocess';
	new_run bigint;
BEGIN
	IF task IS NULL THEN
		cleared := ARRAY(SELECT t.task FROM etl.task t WHERE t.pipeline = r.pipeline);
	ELSIF NOT EXISTS (SELECT FROM etl.task t WHERE t.pipeline = r.pipeline AND t.task = wanted) THEN
		RAISE EXCEPTION 'pipeline "%" has no task "%"', r.pipeline, task
			USING ERRCODE = 'undefined_object',
				  HINT = coalesce('Its tasks are: ' || (SELECT string_agg(t.task, ', ' ORDER BY t.position) FROM etl.task t WHERE t.pipeline = r.pipeline) || '.',
							'It has no tasks; see etl.add_extract, etl.add_load and etl.add_check.');
	ELSE
		cleared := etl._tasks_after(r.pipeline, wanted, coalesce(downstream, true));
	END IF;
	PERFORM etl._keep_loads(r, cleared);
	-- what was fetched and not published is no longer good enough
	UPDATE etl.load l SET refetch = true
	WHERE l.pipeline = r.pipeline AND l.task = ANY (cleared) AND l.data_interval_start = r.data_interval_start AND l.data_interval_end = r.data_interval_end
	  AND l.state IN ('loading', 'complete');
	-- Of a run that did not succeed nothing is published: all of it has to be done.  Of one
	-- that did, only what was cleared.
	new_run := etl._queue_run(e.p, r.data_interval_start, r.data_interval_end, 'clear', etl._acting_role(), r.run_id,
		CASE WHEN task IS NULL THEN NULL
			 WHEN is_published THEN cleared
			 WHEN r.only_tasks IS NOT NULL THEN ARRAY(SELECT DISTINCT x FROM unnest(cleared || r.only_tasks) x ORDER BY 1) END);
	PERFORM etl._write_log('INFO', r.pipeline, new_run, NULL,
		format('%s clears %s of run %s', etl._acting_role(), CASE WHEN task IS NULL THEN 'all tasks' ELSE array_to_string(cleared, ', ') END, r.run_id));
	RETURN new_run;
END
$$;
CREATE FUNCTION etl.clear(run bigint, task text DEFAULT NULL, downstream boolean DEFAULT true) RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._clear_as_owner(bigint, text, boolean) IS 'does what etl.clear does, with the rights of the extension';
COMMENT ON FUNCTION etl.clear(bigint, text, boolean) IS
	'forgets what a run that has ended did in a task, and in what depends on it, and queues its interval again to do that anew: an extract asks its source again, a load and a check are computed again. Returns the new run''s id';
