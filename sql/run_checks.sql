-- Checks by hand: as the owner, in the caller's transaction, nothing written unless asked.

-- Checks, views and procedures of a pipeline are its owner's code.  Who has more rights
-- than the owner must not lend them to it.
CREATE FUNCTION etl._acting_owner(pipeline text) RETURNS etl.pipeline
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._own_pipeline(pipeline);
BEGIN
	IF p.owner <> current_user THEN
		RAISE EXCEPTION 'only role "%" can run the code of pipeline "%"', p.owner, p.pipeline
			USING ERRCODE = 'insufficient_privilege', DETAIL = 'Views and conditions are the owner''s, and run with the rights of who calls.',
				  HINT = format('SET ROLE %I;', p.owner);
	END IF;
	RETURN p;
END
$$;
COMMENT ON FUNCTION etl._acting_owner(text) IS 'the pipeline, if the current role is its owner; an error otherwise';

CREATE FUNCTION etl._interval_from(p etl.pipeline, interval_start timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce((SELECT i.data_interval_end FROM etl.schedule_intervals(p.schedule, p.timezone, (interval_start AT TIME ZONE p.timezone)::date) i
					 WHERE i.data_interval_start = interval_start LIMIT 1),
		((interval_start AT TIME ZONE p.timezone) + interval '1 day') AT TIME ZONE p.timezone)
$$;
COMMENT ON FUNCTION etl._interval_from(etl.pipeline, timestamptz) IS 'the end of the data interval that starts then: by the schedule, else after a day';

CREATE FUNCTION etl._record_check_results_as_owner(pipeline text, results jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO etl.check_result (run_id, pipeline, check_name, target, check_type, severity, passed, failing_rows, figure, threshold, sample, attempt)
	SELECT NULL, p.pipeline, r.check_name, r.target, r.check_type, r.severity, r.passed, r.failing_rows, r.figure, r.threshold, r.sample, 0
	FROM etl._own_pipeline(pipeline) p,
		jsonb_to_recordset(results) r(check_name text, target text, check_type text, severity text, passed boolean, failing_rows bigint, figure text, threshold text, sample jsonb)
$$;
CREATE FUNCTION etl._record_check_results(pipeline text, results jsonb) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._record_check_results_as_owner(text, jsonb) IS 'does what etl._record_check_results does, with the rights of the extension';
COMMENT ON FUNCTION etl._record_check_results(text, jsonb) IS 'keeps results of checks that were run by hand';

-- The settings that _set_context makes are this function's own: they end with it.
CREATE FUNCTION etl.run_checks(pipeline text, interval_start timestamptz DEFAULT NULL, checks text[] DEFAULT NULL, record boolean DEFAULT false,
	OUT check_name text, OUT target text, OUT check_type text, OUT severity text, OUT passed boolean, OUT figure text, OUT threshold text, OUT failing_rows bigint, OUT sample jsonb)
RETURNS SETOF record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	SET etl.run_id = '' SET etl.data_interval_start = '' SET etl.data_interval_end = '' SET etl.run_date = ''
AS $$
DECLARE
	p etl.pipeline := etl._acting_owner(pipeline);
	t etl.task;
	outcome etl._check_outcome;
	unknown text;
BEGIN
	SELECT c INTO unknown FROM unnest(checks) c WHERE NOT EXISTS (SELECT FROM etl._tasks(p.pipeline) x WHERE x.kind = 'check' AND x.task = c) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'pipeline "%" has no check "%"', p.pipeline, unknown
			USING ERRCODE = 'undefined_object',
				  HINT = coalesce('Its checks are: ' || (SELECT string_agg(x.task, ', ' ORDER BY x.task) FROM etl._tasks(p.pipeline) x WHERE x.kind = 'check') || '.',
							'It has none; declare them with etl.add_check.');
	END IF;
	IF interval_start IS NOT NULL THEN
		PERFORM etl._set_context(NULL, interval_start, etl._interval_from(p, interval_start), (interval_start AT TIME ZONE p.timezone)::date);
	END IF;
	FOR t IN SELECT x.* FROM etl._task_order(p.pipeline) o JOIN etl._tasks(p.pipeline) x USING (task)
		WHERE x.kind = 'check' AND (checks IS NULL OR x.task = ANY (checks)) ORDER BY o.ordinal
	LOOP
		IF etl._relation(t.target_schema, t.target_name) IS NULL THEN
			RAISE EXCEPTION 'relation "%" of check "%" does not exist', etl._full_name(t.target_schema, t.target_name), t.task
				USING ERRCODE = 'undefined_table', HINT = 'It was there when the check was declared; make it again, or declare the pipeline without the check.';
		END IF;
		outcome := etl._run_check(p.pipeline, t.task, p.timezone, etl._relation(t.target_schema, t.target_name), t.definition, true);
		check_name := t.task;
		target := etl._full_name(t.target_schema, t.target_name);
		check_type := t.definition ->> 'check_type';
		severity := outcome.severity;
		passed := outcome.passed;
		figure := outcome.figure;
		threshold := outcome.threshold;
		failing_rows := outcome.failing_rows;
		sample := outcome.sample;
		IF record THEN
			PERFORM etl._record_check_results(p.pipeline, jsonb_build_array(jsonb_build_object('check_name', check_name, 'target', target, 'check_type', check_type,
				'severity', severity, 'passed', passed, 'figure', figure, 'threshold', threshold, 'failing_rows', failing_rows, 'sample', sample)));
		END IF;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl.run_checks(text, timestamptz, text[], boolean) IS
	'runs the checks of a pipeline by hand and returns what they found; with record => true etl.check_results keeps it';
