-- Settings that a task may have of its own, in its options: else the pipeline's count.  And
-- what follows from them for an attempt that failed: when the next one is.

CREATE FUNCTION etl._task_setting_names() RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT '{retries,retry_delay,retry_backoff,max_retry_delay,retry_jitter,max_crashes,task_timeout}'::text[] $$;
COMMENT ON FUNCTION etl._task_setting_names() IS 'the settings of a pipeline that a task may have of its own';

CREATE FUNCTION etl._own_settings(options jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(jsonb_object_agg(o.key, o.value), '{}') FROM jsonb_each(options) o WHERE o.key = ANY (etl._task_setting_names()) $$;
COMMENT ON FUNCTION etl._own_settings(jsonb) IS 'those options of a task that are settings of its own';

-- A pipeline is asked for its attempts' settings: here with those of the task in their place.
CREATE FUNCTION etl._task_settings(p etl.pipeline, task text) RETURNS etl.pipeline
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	own jsonb;
BEGIN
	SELECT etl._own_settings(t.definition -> 'options') INTO own FROM etl.task t
	WHERE t.pipeline = p.pipeline AND t.task = _task_settings.task AND t.definition -> 'options' ?| etl._task_setting_names();
	RETURN CASE WHEN own IS NULL THEN p ELSE etl._apply_settings(p, own) END;
END
$$;
COMMENT ON FUNCTION etl._task_settings(etl.pipeline, text) IS 'a pipeline with the settings that a task has of its own in place of its own ones';

CREATE FUNCTION etl._check_task_settings(pipeline text, options jsonb, in_publication boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline;
BEGIN
	IF options ?| etl._task_setting_names() THEN
		p := etl._own_pipeline(pipeline);
		PERFORM etl._check_pipeline_settings(etl._apply_settings(p, etl._own_settings(options)));
		IF in_publication AND p.publish = 'pipeline' THEN
			RAISE NOTICE 'pipeline "%" is published as a whole, with its own settings', pipeline
				USING DETAIL = format('Those of the task do not count: %s.', (SELECT string_agg(k, ', ' ORDER BY k) FROM jsonb_object_keys(etl._own_settings(options)) k)),
					  HINT = 'They count for tasks with attempts of their own: extractions, calls with transaction => ''own'', and all tasks with publish => ''per_task''.';
		END IF;
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_task_settings(text, jsonb, boolean) IS 'raises for settings that a task cannot have';

-- The chance takes away: what max_retry_delay promises holds.
CREATE FUNCTION etl._retry_delay(s etl.pipeline, failures integer, chance double precision) RETURNS interval
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT make_interval(secs => (1 - s.retry_jitter::double precision * chance) * least(
		d.seconds * power(s.retry_backoff::double precision, greatest(failures - 1, 0)),
		coalesce(extract(epoch FROM s.max_retry_delay)::double precision, greatest(d.seconds, 86400))))
	FROM (SELECT extract(epoch FROM s.retry_delay)::double precision AS seconds) d
$$;
COMMENT ON FUNCTION etl._retry_delay(etl.pipeline, integer, double precision) IS
	'how long after the n-th failure the next attempt is: retry_delay times retry_backoff for each further one, at most max_retry_delay (a day where there is none), less a part of retry_jitter';

-- In a row: what went well in between, or failed in an orderly way, shows that the task can
-- end; with an extraction that got a page further the counting begins anew.  Over all runs
-- of the interval, as every run of a task that takes the server down may be its first; a
-- person who has put it right says so by altering or declaring the pipeline, or by etl.retry.
CREATE FUNCTION etl._crashes_in_a_row(r etl.run, task text) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH attempt AS (
		SELECT a.started_at, a.error_code = '57P02' AND a.state = 'failed' AS is_crash, EXISTS (
				SELECT FROM etl.load l JOIN etl.slice s USING (load_id)
				WHERE x.kind = 'extract' AND l.run_id = x.run_id AND l.task = x.task AND s.committed_at BETWEEN a.started_at AND coalesce(a.ended_at, 'infinity')) AS got_further
		FROM etl.run y JOIN etl.task_run x USING (run_id) JOIN etl.task_attempt a USING (task_run_id)
		WHERE y.pipeline = r.pipeline AND y.data_interval_start = r.data_interval_start AND y.data_interval_end = r.data_interval_end
		  AND x.task = _crashes_in_a_row.task AND (r.trigger <> 'retry' OR y.run_id = r.run_id)
		  AND a.state IN ('success', 'failed') AND a.started_at > coalesce((SELECT p.altered_at FROM etl.pipeline p WHERE p.pipeline = r.pipeline), '-infinity'))
	SELECT count(*)::integer FROM attempt a
	WHERE a.is_crash AND NOT EXISTS (SELECT FROM attempt b WHERE b.started_at > a.started_at AND b.got_further OR b.started_at >= a.started_at AND b.is_crash IS NOT TRUE)
$$;
COMMENT ON FUNCTION etl._crashes_in_a_row(etl.run, text) IS 'how many attempts of a task of this interval, in this run and earlier ones, have one after another lost their worker and got nowhere';

CREATE FUNCTION etl._crash_message(crashes integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN crashes <= 1 THEN 'an attempt lost its worker: the task is given up'
				ELSE format('%s attempts in a row lost their worker: the task is given up', crashes) END
$$;
COMMENT ON FUNCTION etl._crash_message(integer) IS 'the error of a task that is given up because of its crashes';

CREATE FUNCTION etl._crash_hint(pipeline text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('Something in it ends its worker or the server: the server log says what. Once that is put right, SELECT etl.alter_pipeline(%L); lets the interval be tried again.', pipeline)
$$;
COMMENT ON FUNCTION etl._crash_hint(text) IS 'what to do about a task that is given up because of its crashes';
