-- Asking for a run and not waiting: what is queued here is seen by the coordinator, which
-- is woken, or started, when the transaction commits.

-- For functions that run with the rights of the extension.
CREATE FUNCTION etl._operated_run(run bigint) RETURNS etl.run
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.run;
BEGIN
	SELECT * INTO r FROM etl.run x WHERE x.run_id = run;
	IF NOT FOUND OR NOT (etl._may_operate(r.owner, etl._acting_role()) OR etl._is_member('etl_reader', etl._acting_role())) THEN
		RAISE EXCEPTION 'run % does not exist', run
			USING ERRCODE = 'undefined_object', HINT = 'etl.runs lists the runs you may see.';
	ELSIF NOT etl._may_operate(r.owner, etl._acting_role()) THEN
		RAISE EXCEPTION 'permission denied for run % of pipeline "%"', run, r.pipeline
			USING ERRCODE = 'insufficient_privilege', DETAIL = format('It belongs to role "%s".', r.owner),
				  HINT = 'Only its owner, members of the owner''s role or of etl_operator, and superusers may run, pause or cancel it.';
	END IF;
	RETURN r;
END
$$;
COMMENT ON FUNCTION etl._operated_run(bigint) IS 'the run, if the acting role may operate it; for functions that run with the rights of the extension';

CREATE FUNCTION etl._runnable_pipeline(pipeline text) RETURNS etl.pipeline
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._operated_pipeline(pipeline);
BEGIN
	IF etl._is_copy() THEN
		RAISE EXCEPTION 'the pipelines of this database are paused: it is a copy'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = 'They were declared in another database; this one was restored or cloned from it.',
				  HINT = 'SELECT etl.resume() if pipelines shall run here, against the same sources.';
	ELSIF p.paused THEN
		RAISE EXCEPTION 'pipeline "%" is paused', p.pipeline
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('SELECT etl.resume(%L);', p.pipeline);
	END IF;
	RETURN p;
END
$$;
COMMENT ON FUNCTION etl._runnable_pipeline(text) IS 'the pipeline, if the acting role may run it and it is not paused; for functions that run with the rights of the extension';

-- Looks back as far as it takes: a second, or the years between two 29ths of February.
CREATE FUNCTION etl._latest_complete_interval(p etl.pipeline, OUT data_interval_start timestamptz, OUT data_interval_end timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	at timestamptz := etl._now();
	seconds double precision := 120;
	ticks timestamptz[];
BEGIN
	LOOP
		SELECT array_agg(t ORDER BY t DESC) INTO ticks
		FROM etl.schedule_ticks(p.schedule, p.timezone, at - make_interval(secs => seconds), at + interval '1 microsecond') t;
		EXIT WHEN cardinality(ticks) > 1 OR seconds > 1e9;
		seconds := 2 * seconds;
	END LOOP;
	data_interval_start := ticks[2];
	data_interval_end := ticks[1];
END
$$;
COMMENT ON FUNCTION etl._latest_complete_interval(etl.pipeline) IS 'the last interval of a schedule that is over';

CREATE FUNCTION etl._interval_to_trigger(p etl.pipeline, interval_start timestamptz, interval_end timestamptz,
	OUT data_interval_start timestamptz, OUT data_interval_end timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF interval_start IS NULL AND interval_end IS NOT NULL THEN
		RAISE EXCEPTION 'interval_end needs an interval_start'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Without both, the latest complete interval of the schedule is run.';
	ELSIF interval_start >= interval_end OR NOT isfinite(interval_start) OR NOT isfinite(interval_end) THEN
		RAISE EXCEPTION 'interval_start must be before interval_end'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'A data interval is half-open: from interval_start until just before interval_end.';
	ELSIF interval_end IS NOT NULL THEN
		data_interval_start := interval_start;
		data_interval_end := interval_end;
	ELSIF p.schedule IS NULL THEN
		data_interval_start := coalesce(interval_start, date_trunc('day', etl._now() AT TIME ZONE p.timezone) AT TIME ZONE p.timezone);
		data_interval_end := (data_interval_start AT TIME ZONE p.timezone + interval '1 day') AT TIME ZONE p.timezone;
	ELSIF interval_start IS NULL THEN
		SELECT i.* INTO data_interval_start, data_interval_end FROM etl._latest_complete_interval(p) i;
		IF data_interval_start IS NULL THEN
			RAISE EXCEPTION 'pipeline "%" has no complete interval yet', p.pipeline
				USING ERRCODE = 'no_data_found', DETAIL = format('Its schedule is %s.', p.schedule),
					  HINT = 'Give interval_start and interval_end.';
		END IF;
	ELSE
		IF NOT EXISTS (SELECT FROM etl.schedule_ticks(p.schedule, p.timezone, interval_start, interval_start + interval '1 microsecond')) THEN
			RAISE EXCEPTION 'no interval of pipeline "%" starts at %', p.pipeline, interval_start
				USING ERRCODE = 'invalid_parameter_value',
					  DETAIL = format('Its schedule is %s; the next one starts at %s.', p.schedule,
						(SELECT t FROM etl.next_ticks(p.schedule, p.timezone, interval_start, 1) t)),
					  HINT = 'Give interval_end too, for an interval of your own choice.';
		END IF;
		data_interval_start := interval_start;
		data_interval_end := (SELECT t FROM etl.next_ticks(p.schedule, p.timezone, interval_start, 1) t);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._interval_to_trigger(etl.pipeline, timestamptz, timestamptz) IS 'the interval that etl.trigger runs';

-- A run that nobody waits for.  One that waits for another transaction's of the same
-- interval does so at the unique index.
CREATE FUNCTION etl._queue_run(p etl.pipeline, data_interval_start timestamptz, data_interval_end timestamptz, trigger text,
	requested_by name, retry_of bigint DEFAULT NULL, only_tasks text[] DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	new_run etl.run;
	refused record := etl._overlap(p, data_interval_start, NULL, trigger, true, requested_by);
BEGIN
	IF refused.refused IS NULL THEN
		INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by, priority, retry_of, only_tasks)
		VALUES (p.pipeline, p.owner, data_interval_start, data_interval_end, (data_interval_start AT TIME ZONE p.timezone)::date,
			p.timezone, trigger, requested_by, p.priority, retry_of, only_tasks)
		ON CONFLICT DO NOTHING
		RETURNING * INTO new_run;
	END IF;
	IF new_run.run_id IS NULL THEN
		RAISE EXCEPTION 'interval % of pipeline "%" cannot be run now', data_interval_start AT TIME ZONE p.timezone, p.pipeline
			USING ERRCODE = 'object_in_use', DETAIL = coalesce(upper(left(refused.refused, 1)) || substr(refused.refused, 2), 'It has been asked for') || '.',
				  HINT = coalesce(refused.hint, 'Another session has asked for it just now; see etl.progress.');
	END IF;
	PERFORM etl._warn_of_overlap(new_run);
	PERFORM etl._wake_coordinator_on_commit();
	RETURN new_run.run_id;
END
$$;
COMMENT ON FUNCTION etl._queue_run(etl.pipeline, timestamptz, timestamptz, text, name, bigint, text[]) IS 'queues one run that nobody waits for; raises 55006 when its interval is running';

CREATE FUNCTION etl._trigger_as_owner(pipeline text, interval_start timestamptz, interval_end timestamptz) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._runnable_pipeline(pipeline);
	i record := etl._interval_to_trigger(p, interval_start, interval_end);
BEGIN
	RETURN etl._queue_run(p, i.data_interval_start, i.data_interval_end, 'manual', etl._acting_role());
END
$$;
CREATE FUNCTION etl.trigger(pipeline text, interval_start timestamptz DEFAULT NULL, interval_end timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._trigger_as_owner(text, timestamptz, timestamptz) IS 'does what etl.trigger does, with the rights of the extension';
COMMENT ON FUNCTION etl.trigger(text, timestamptz, timestamptz) IS
	'queues a run and returns its id at once; it starts when this transaction commits. Default: the latest complete interval, or today without a schedule';
