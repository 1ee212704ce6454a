-- The settings of a pipeline: their names, defaults and limits.  They travel as one jsonb
-- document named like the columns of etl.pipeline, so that a new one is a column, a line
-- in the defaults, and a parameter.

CREATE FUNCTION etl._default_settings() RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT '{"schedule": null, "timezone": "UTC", "retries": 0, "retry_delay": "30 seconds", "description": null,
		"start_date": null, "end_date": null, "catchup": false, "jitter": "0",
		"max_active_runs": 1, "priority": 0, "pool": null, "overlap": "queue", "depends_on_past": false, "after": [], "triggered_by": [],
		"run_timeout": null, "task_timeout": null, "retry_backoff": 1, "max_retry_delay": null, "retry_jitter": 0, "max_crashes": 3,
		"deadline": null, "publish": "pipeline", "keep_history": null, "keep_runs": null}'::jsonb
$$;
COMMENT ON FUNCTION etl._default_settings() IS 'every setting a pipeline has, with its default; must agree with etl.create_pipeline';

CREATE FUNCTION etl._settings(p etl.pipeline) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_object_agg(s.key, s.value) FROM jsonb_each(to_jsonb(p)) s WHERE etl._default_settings() ? s.key
$$;
COMMENT ON FUNCTION etl._settings(etl.pipeline) IS 'the settings of a pipeline as a document';

CREATE FUNCTION etl._other_settings(p etl.pipeline) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(jsonb_object_agg(s.key, s.value), '{}')
	FROM jsonb_each(etl._settings(p)) s
	JOIN jsonb_each(etl._settings(jsonb_populate_record(NULL::etl.pipeline, etl._default_settings()))) d USING (key)
	WHERE s.value <> d.value AND s.key NOT IN ('schedule', 'timezone', 'retries', 'retry_delay', 'description')
$$;
COMMENT ON FUNCTION etl._other_settings(etl.pipeline) IS 'the settings of a pipeline that are not their default, but for those every declaration shows';

-- A document from a file: null is the default, not NULL.
CREATE FUNCTION etl._settings_of_options(options jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._check_option_names('options of a pipeline', options, ARRAY(SELECT jsonb_object_keys(etl._default_settings())));
	RETURN (SELECT coalesce(jsonb_object_agg(o.key, CASE o.value WHEN 'null' THEN etl._default_settings() -> o.key ELSE o.value END), '{}')
			FROM jsonb_each(options) o);
END
$$;
COMMENT ON FUNCTION etl._settings_of_options(jsonb) IS 'settings given as a document: their names checked, null replaced by the default';

-- One by one, so that the error names the setting.
CREATE FUNCTION etl._apply_settings(p etl.pipeline, settings jsonb) RETURNS etl.pipeline
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record;
	message text;
BEGIN
	FOR s IN SELECT e.key, e.value, (SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
									 WHERE a.attrelid = 'etl.pipeline'::regclass AND a.attname = e.key) AS type
			 FROM jsonb_each(settings) e WHERE etl._default_settings() ? e.key ORDER BY e.key COLLATE "C"
	LOOP
		BEGIN
			p := jsonb_populate_record(p, jsonb_build_object(s.key, s.value));
		EXCEPTION WHEN data_exception THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
			RAISE EXCEPTION 'invalid %: %', s.key, s.value
				USING ERRCODE = 'invalid_parameter_value', DETAIL = message, HINT = format('It is of type %s.', s.type);
		END;
	END LOOP;
	RETURN p;
END
$$;
COMMENT ON FUNCTION etl._apply_settings(etl.pipeline, jsonb) IS 'a pipeline with settings changed';

CREATE FUNCTION etl._check_name(what text, name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF name IS NULL OR name !~ '^[a-z_][a-z0-9_]*$' OR octet_length(name) > 63 THEN
		RAISE EXCEPTION 'invalid % name "%"', what, coalesce(name, 'NULL')
			USING ERRCODE = 'invalid_name',
				  HINT = 'A name has up to 63 lower-case letters, digits and underscores and does not start with a digit.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_name(text, text) IS 'raises for a name that pipelines and pools cannot have';

CREATE FUNCTION etl._check_setting(name text, value text, is_valid boolean, hint text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF is_valid IS NOT TRUE THEN
		RAISE EXCEPTION 'invalid %: %', name, value
			USING ERRCODE = 'invalid_parameter_value', HINT = hint;
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_setting(text, text, boolean, text) IS 'raises unless a setting is valid';

CREATE FUNCTION etl._check_pipeline_settings(p etl.pipeline) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	zero CONSTANT interval := interval '0';
BEGIN
	PERFORM etl._check_name('pipeline', p.pipeline);
	PERFORM etl.check_schedule(p.schedule, p.timezone) WHERE p.schedule IS NOT NULL;
	-- the view reads every file there is: 40 ms
	IF p.timezone IS DISTINCT FROM 'UTC' AND NOT EXISTS (SELECT FROM etl.pipeline x WHERE x.timezone = p.timezone)
	   AND NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = p.timezone) THEN
		RAISE EXCEPTION 'unrecognized time zone "%"', p.timezone
			USING ERRCODE = 'invalid_parameter_value', HINT = 'The view pg_timezone_names lists those that are known.';
	END IF;
	IF p.retries IS NULL OR p.retries NOT BETWEEN 0 AND 100 THEN
		RAISE EXCEPTION 'invalid number of retries: %', p.retries
			USING ERRCODE = 'invalid_parameter_value', HINT = 'retries is the number of attempts after the first, 0 to 100.';
	END IF;
	PERFORM etl._check_setting('retry_delay', p.retry_delay::text, p.retry_delay >= zero, 'retry_delay is an interval of zero or more, for example ''5 minutes''.');
	PERFORM etl._check_setting('retry_backoff', p.retry_backoff::text, p.retry_backoff BETWEEN 1 AND 100,
		'retry_backoff is what the delay is multiplied by for each further attempt, 1 to 100.');
	PERFORM etl._check_setting('max_retry_delay', p.max_retry_delay::text, p.max_retry_delay IS NULL OR p.max_retry_delay >= zero, 'max_retry_delay is an interval of zero or more.');
	PERFORM etl._check_setting('retry_jitter', p.retry_jitter::text, p.retry_jitter BETWEEN 0 AND 1,
		'retry_jitter is the fraction of a delay that is left to chance, 0 to 1.');
	PERFORM etl._check_setting('max_crashes', p.max_crashes::text, p.max_crashes BETWEEN 1 AND 100, 'max_crashes is a number of attempts, 1 to 100.');
	PERFORM etl._check_setting('start_date', p.start_date::text, p.start_date IS NULL OR isfinite(p.start_date), 'start_date is an instant, for example ''2026-01-01''; leave it away for none.');
	PERFORM etl._check_setting('end_date', p.end_date::text, p.end_date IS NULL OR isfinite(p.end_date) AND p.end_date > coalesce(p.start_date, '-infinity'),
		'end_date is an instant after start_date; leave it away for none.');
	PERFORM etl._check_setting('catchup', p.catchup::text, p.catchup IS NOT NULL, 'catchup is true or false.');
	PERFORM etl._check_setting('jitter', p.jitter::text, p.jitter BETWEEN zero AND interval '1 day', 'jitter is an interval of zero to one day.');
	PERFORM etl._check_setting('max_active_runs', p.max_active_runs::text, p.max_active_runs BETWEEN 1 AND 1000, 'max_active_runs is a number of runs, 1 to 1000.');
	PERFORM etl._check_setting('priority', p.priority::text, p.priority IS NOT NULL, 'priority is an integer; runs of a higher one start first.');
	PERFORM etl._check_setting('overlap', p.overlap, p.overlap IN ('skip', 'queue', 'cancel_previous'), 'Allowed are: cancel_previous, queue, skip.');
	PERFORM etl._check_setting('publish', p.publish, p.publish IN ('pipeline', 'per_task'), 'Allowed are: per_task, pipeline.');
	PERFORM etl._check_setting('depends_on_past', p.depends_on_past::text, p.depends_on_past IS NOT NULL, 'depends_on_past is true or false.');
	PERFORM etl._check_setting(s.name, s.value::text, s.value IS NULL OR s.value > zero, format('%s is an interval of more than zero; leave it away for none.', s.name))
	FROM (VALUES ('run_timeout', p.run_timeout), ('task_timeout', p.task_timeout), ('deadline', p.deadline), ('keep_history', p.keep_history)) s(name, value);
	PERFORM etl._check_setting('keep_runs', p.keep_runs::text, p.keep_runs IS NULL OR p.keep_runs >= 1, 'keep_runs is a number of runs, 1 or more; leave it away for etl.keep_runs.');
	PERFORM etl._check_setting(s.name, s.value::text, s.value IS NOT NULL AND array_position(s.value, NULL) IS NULL AND NOT p.pipeline = ANY (s.value),
		format('%s lists names of other pipelines.', s.name))
	FROM (VALUES ('after', p.after), ('triggered_by', p.triggered_by)) s(name, value);
	IF p.triggered_by <> '{}' AND p.schedule IS NOT NULL THEN
		RAISE EXCEPTION 'pipeline "%" has a schedule and is triggered by others', p.pipeline
			USING ERRCODE = 'invalid_parameter_value', DETAIL = 'What triggers it decides its data intervals, too.',
				  HINT = 'Leave the schedule or triggered_by away; with after => … a scheduled pipeline waits for others.';
	END IF;
	PERFORM etl._check_pool(p.pool);
END
$$;
COMMENT ON FUNCTION etl._check_pipeline_settings(etl.pipeline) IS 'raises for settings a pipeline cannot have';

-- At commit, so that pipelines that refer to each other may be declared in any order.  Not
-- for inserted rows: a dump restores what was left of dropped pipelines.
CREATE FUNCTION etl._check_upstream_pipelines() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline;
	missing text;
	circle text[];
BEGIN
	SELECT * INTO p FROM etl.pipeline x WHERE x.pipeline = new.pipeline;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	SELECT u INTO missing FROM unnest(p.after || p.triggered_by) u WHERE NOT EXISTS (SELECT FROM etl.pipeline x WHERE x.pipeline = u) ORDER BY u LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'pipeline "%", which pipeline "%" waits for, does not exist', missing, p.pipeline
			USING ERRCODE = 'undefined_object', HINT = 'Declare it in the same transaction, before or after; the view etl.pipelines lists those there are.';
	END IF;
	-- two declarations at the same time must not close a circle between them
	PERFORM pg_advisory_xact_lock(hashtext('etl.pipeline.after'));
	WITH RECURSIVE upstream(pipeline, path) AS (
		SELECT u, ARRAY[p.pipeline, u] FROM unnest(p.after || p.triggered_by) u
		UNION ALL
		SELECT u, s.path || u FROM upstream s JOIN etl.pipeline x ON x.pipeline = s.pipeline, unnest(x.after || x.triggered_by) u
		WHERE s.pipeline <> p.pipeline AND NOT u = ANY (s.path[2:]))
	SELECT s.path INTO circle FROM upstream s WHERE s.pipeline = p.pipeline ORDER BY cardinality(s.path), s.path LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'pipelines wait for each other in a circle: %', array_to_string(circle, ' → ')
			USING ERRCODE = 'invalid_object_definition', HINT = 'Take one of them out of after or triggered_by.';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION etl._check_upstream_pipelines() IS 'trigger, at commit: what a pipeline waits for exists, and does not wait for it';
CREATE CONSTRAINT TRIGGER check_upstream_pipelines AFTER UPDATE OF after, triggered_by ON etl.pipeline
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.after <> '{}' OR new.triggered_by <> '{}')
	EXECUTE FUNCTION etl._check_upstream_pipelines();
