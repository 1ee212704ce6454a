-- Declaring, altering and dropping pipelines.

CREATE FUNCTION etl._save_pipeline_as_owner(pipeline text, settings jsonb, replace boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._apply_settings(jsonb_populate_record(NULL::etl.pipeline, etl._default_settings()), settings);
BEGIN
	p.pipeline := pipeline;
	PERFORM etl._check_pipeline_settings(p);
	PERFORM etl._check_may_own(etl._acting_role());
	PERFORM etl._claim_instance();
	PERFORM FROM etl.pipeline x WHERE x.pipeline = _save_pipeline_as_owner.pipeline FOR UPDATE;
	IF NOT FOUND THEN
		INSERT INTO etl.pipeline (pipeline, owner) VALUES (pipeline, etl._acting_role());
		PERFORM etl._write_settings(p);
		RETURN;
	END IF;
	PERFORM etl._own_pipeline(pipeline);
	IF replace IS NOT TRUE THEN
		RAISE EXCEPTION 'pipeline "%" already exists', pipeline
			USING ERRCODE = 'duplicate_object',
				  HINT = 'Use replace => true to declare it anew, or etl.alter_pipeline to change a setting.';
	END IF;
	PERFORM etl._write_settings(p);
	UPDATE etl.pipeline x SET template = NULL, template_options = NULL, generation = x.generation + 1
	WHERE x.pipeline = _save_pipeline_as_owner.pipeline;
END
$$;
CREATE FUNCTION etl._save_pipeline(pipeline text, settings jsonb, replace boolean) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._save_pipeline_as_owner(text, jsonb, boolean) IS 'does what etl._save_pipeline does, with the rights of the extension';
COMMENT ON FUNCTION etl._save_pipeline(text, jsonb, boolean) IS 'writes a pipeline''s declaration for the acting role';

CREATE FUNCTION etl._write_settings(p etl.pipeline) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE etl.pipeline x SET schedule = p.schedule, timezone = p.timezone, retries = p.retries, retry_delay = p.retry_delay, description = p.description,
		start_date = p.start_date, end_date = p.end_date, catchup = p.catchup, jitter = p.jitter,
		max_active_runs = p.max_active_runs, priority = p.priority, pool = p.pool, overlap = p.overlap, depends_on_past = p.depends_on_past,
		after = p.after, triggered_by = p.triggered_by, run_timeout = p.run_timeout, task_timeout = p.task_timeout,
		retry_backoff = p.retry_backoff, max_retry_delay = p.max_retry_delay, retry_jitter = p.retry_jitter, max_crashes = p.max_crashes,
		deadline = p.deadline, publish = p.publish, keep_history = p.keep_history, keep_runs = p.keep_runs, altered_at = clock_timestamp()
	WHERE x.pipeline = p.pipeline;
	SELECT etl._plan_schedule(p.pipeline)
$$;
COMMENT ON FUNCTION etl._write_settings(etl.pipeline) IS 'writes checked settings of a pipeline that is there';

-- That nothing fires a schedule must not be found out by waiting.
CREATE FUNCTION etl._notice_schedule(pipeline text, schedule text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF schedule IS NOT NULL AND NOT etl._launcher_exists() THEN
		RAISE NOTICE 'the schedule of pipeline "%" defines its data intervals, but nothing fires it', pipeline
			USING HINT = format('Set shared_preload_libraries = ''etl'' and restart the server; or use pg_cron: '
				'SELECT cron.schedule(%L, ''…'', $$SELECT etl_run(current_date - 1, %L)$$);', pipeline, pipeline);
	END IF;
END
$function$;
COMMENT ON FUNCTION etl._notice_schedule(text, text) IS 'says that a schedule does not fire without the launcher';

CREATE FUNCTION etl._check_may_own(role_name name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- until PostgreSQL 17 a background worker cannot connect as a role without LOGIN
	IF NOT (SELECT rolcanlogin FROM pg_roles WHERE rolname = role_name) THEN
		RAISE EXCEPTION 'role "%" cannot own a pipeline', role_name
			USING ERRCODE = 'invalid_authorization_specification',
				  DETAIL = 'Workers connect as the owner of a pipeline, and this role has no LOGIN.',
				  HINT = format('ALTER ROLE %I LOGIN; a role without a password still cannot be used from outside.', role_name);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_may_own(name) IS 'raises unless workers can connect as the role';

CREATE FUNCTION etl.create_pipeline(pipeline text, schedule text DEFAULT NULL, timezone text DEFAULT 'UTC',
	retries integer DEFAULT 0, retry_delay interval DEFAULT '30 seconds', description text DEFAULT NULL,
	replace boolean DEFAULT false,
	start_date timestamptz DEFAULT NULL, end_date timestamptz DEFAULT NULL, catchup boolean DEFAULT false, jitter interval DEFAULT '0',
	max_active_runs integer DEFAULT 1, priority integer DEFAULT 0, pool text DEFAULT NULL, overlap text DEFAULT 'queue', depends_on_past boolean DEFAULT false,
	after text[] DEFAULT '{}', triggered_by text[] DEFAULT '{}', run_timeout interval DEFAULT NULL, task_timeout interval DEFAULT NULL,
	retry_backoff numeric DEFAULT 1, max_retry_delay interval DEFAULT NULL, retry_jitter numeric DEFAULT 0, max_crashes integer DEFAULT 3,
	deadline interval DEFAULT NULL, publish text DEFAULT 'pipeline', keep_history interval DEFAULT NULL, keep_runs integer DEFAULT NULL,
	options jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	settings jsonb := jsonb_build_object('schedule', schedule, 'timezone', timezone, 'retries', retries, 'retry_delay', retry_delay, 'description', description,
			'start_date', start_date, 'end_date', end_date, 'catchup', catchup, 'jitter', jitter, 'max_active_runs', max_active_runs,
			'priority', priority, 'pool', pool, 'overlap', overlap, 'depends_on_past', depends_on_past, 'after', after, 'triggered_by', triggered_by,
			'run_timeout', run_timeout, 'task_timeout', task_timeout, 'retry_backoff', retry_backoff, 'max_retry_delay', max_retry_delay,
			'retry_jitter', retry_jitter, 'max_crashes', max_crashes, 'deadline', deadline, 'publish', publish, 'keep_history', keep_history,
			'keep_runs', keep_runs)
		|| etl._settings_of_options(options);
BEGIN
	PERFORM etl._save_pipeline(pipeline, settings, replace);
	PERFORM etl._notice_schedule(pipeline, settings ->> 'schedule');
END
$$;
COMMENT ON FUNCTION etl.create_pipeline IS
	'declares a pipeline; with replace => true the declarations up to the commit are the whole truth: tasks not declared again go, data and history stay';

-- A run in progress, or what a crash left of one, but for the case that nobody leads it.
CREATE FUNCTION etl._check_not_running(pipeline text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	active bigint;
BEGIN
	SELECT run_id INTO active FROM etl.run r WHERE r.pipeline = _check_not_running.pipeline AND r.state IN ('queued', 'running')
		AND etl._lock_holder('coordinator', 0) IS NOT NULL LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'pipeline "%" is running', pipeline
			USING ERRCODE = 'object_in_use', DETAIL = format('Run %s is active.', active),
				  HINT = format('Wait for it, or SELECT etl.cancel(%s).', active);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_not_running(text) IS 'raises while a run of the pipeline is active';

-- Gives a pipeline to another role, its history too: the new owner's workers go on with the
-- loads of the old one's.  The tables are not given away with it, that is for their owner.
CREATE FUNCTION etl._hand_over(p etl.pipeline, new_owner name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	foreign_table record;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = new_owner) THEN
		RAISE EXCEPTION 'role "%" does not exist', new_owner
			USING ERRCODE = 'undefined_object', HINT = 'The owner of a pipeline is a role that workers can connect as.';
	ELSIF NOT etl._is_member(new_owner, etl._acting_role()) THEN
		RAISE EXCEPTION 'permission denied to give pipeline "%" to role "%"', p.pipeline, new_owner
			USING ERRCODE = 'insufficient_privilege', DETAIL = format('Role "%s" has not its rights.', etl._acting_role()),
				  HINT = 'Who has the rights of both roles can, and superusers.';
	END IF;
	PERFORM etl._check_may_own(new_owner);
	PERFORM etl._check_not_running(p.pipeline);
	SELECT c.oid::regclass AS relation, c.relowner::regrole AS owner INTO foreign_table
	FROM etl.task t
	CROSS JOIN unnest('{"",vr_,vl_,obs_,snp_,lkp_}'::text[]) x(prefix)
	JOIN pg_class c ON c.oid = etl._relation(t.target_schema, (x.prefix || t.target_name)::name)
	WHERE t.pipeline = p.pipeline AND t.kind IN ('extract', 'load') AND NOT etl._is_member(pg_get_userbyid(c.relowner), new_owner)
	ORDER BY t.position LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION '% of pipeline "%" belongs to role %', foreign_table.relation, p.pipeline, foreign_table.owner
			USING ERRCODE = 'insufficient_privilege', DETAIL = format('Workers of role "%s" could not write it.', new_owner),
				  HINT = format('REASSIGN OWNED BY %s TO %I; or ALTER TABLE … OWNER TO each of its tables.', foreign_table.owner, new_owner);
	END IF;
	UPDATE etl.pipeline x SET owner = new_owner WHERE x.pipeline = p.pipeline;
	UPDATE etl.run r SET owner = new_owner WHERE r.pipeline = p.pipeline AND r.owner = p.owner;
	UPDATE etl.load l SET owner = new_owner WHERE l.pipeline = p.pipeline AND l.owner = p.owner;
	UPDATE etl.log_entry e SET owner = new_owner WHERE e.pipeline = p.pipeline AND e.owner = p.owner;
	UPDATE etl.backfill_request b SET owner = new_owner WHERE b.pipeline = p.pipeline AND b.owner = p.owner;
	UPDATE etl.check_waiver w SET owner = new_owner WHERE w.pipeline = p.pipeline AND w.owner = p.owner;
	-- what the new owner knew of an earlier pipeline of this name would be in the way
	DELETE FROM etl.known_field f WHERE f.pipeline = p.pipeline AND f.owner = new_owner;
	UPDATE etl.known_field f SET owner = new_owner WHERE f.pipeline = p.pipeline AND f.owner = p.owner;
	DELETE FROM etl.schema_change c WHERE c.pipeline = p.pipeline AND c.owner = new_owner;
	UPDATE etl.schema_change c SET owner = new_owner WHERE c.pipeline = p.pipeline AND c.owner = p.owner;
	PERFORM etl._hand_over_statistics(p.pipeline, p.owner, new_owner);
	PERFORM etl._hand_over_notifications(p.pipeline, new_owner);
END
$$;
COMMENT ON FUNCTION etl._hand_over(etl.pipeline, name) IS 'gives a pipeline and its history to another role';

CREATE FUNCTION etl._alter_pipeline_as_owner(pipeline text, settings jsonb, owner name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._lock_own_pipeline(pipeline);
BEGIN
	PERFORM etl._hand_over(p, owner) WHERE owner <> p.owner;
	p := etl._apply_settings(p, settings);
	PERFORM etl._check_pipeline_settings(p);
	PERFORM etl._write_settings(p);
	-- what waited may start now
	PERFORM etl._wake_coordinator_on_commit() WHERE EXISTS (SELECT FROM etl.run r WHERE r.state = 'queued');
	PERFORM etl._task_order(p.pipeline) WHERE settings ? 'publish';		-- not every graph can be published as one
END
$$;
CREATE FUNCTION etl._alter_pipeline(pipeline text, settings jsonb, owner name) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._alter_pipeline_as_owner(text, jsonb, name) IS 'does what etl._alter_pipeline does, with the rights of the extension';
COMMENT ON FUNCTION etl._alter_pipeline(text, jsonb, name) IS 'changes settings of a pipeline, or its owner, for the acting role';

-- Which arguments were given is told by NULL; back to NULL, or whatever else the default
-- is, leads reset, or null in options.
CREATE FUNCTION etl.alter_pipeline(pipeline text, schedule text DEFAULT NULL, timezone text DEFAULT NULL,
	retries integer DEFAULT NULL, retry_delay interval DEFAULT NULL, description text DEFAULT NULL,
	start_date timestamptz DEFAULT NULL, end_date timestamptz DEFAULT NULL, catchup boolean DEFAULT NULL, jitter interval DEFAULT NULL,
	max_active_runs integer DEFAULT NULL, priority integer DEFAULT NULL, pool text DEFAULT NULL, overlap text DEFAULT NULL, depends_on_past boolean DEFAULT NULL,
	after text[] DEFAULT NULL, triggered_by text[] DEFAULT NULL, run_timeout interval DEFAULT NULL, task_timeout interval DEFAULT NULL,
	retry_backoff numeric DEFAULT NULL, max_retry_delay interval DEFAULT NULL, retry_jitter numeric DEFAULT NULL, max_crashes integer DEFAULT NULL,
	deadline interval DEFAULT NULL, publish text DEFAULT NULL, keep_history interval DEFAULT NULL, keep_runs integer DEFAULT NULL,
	reset text[] DEFAULT '{}', options jsonb DEFAULT '{}', owner name DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	settings jsonb := jsonb_strip_nulls(jsonb_build_object('schedule', schedule, 'timezone', timezone, 'retries', retries, 'retry_delay', retry_delay, 'description', description,
			'start_date', start_date, 'end_date', end_date, 'catchup', catchup, 'jitter', jitter, 'max_active_runs', max_active_runs,
			'priority', priority, 'pool', pool, 'overlap', overlap, 'depends_on_past', depends_on_past, 'after', after, 'triggered_by', triggered_by,
			'run_timeout', run_timeout, 'task_timeout', task_timeout, 'retry_backoff', retry_backoff, 'max_retry_delay', max_retry_delay,
			'retry_jitter', retry_jitter, 'max_crashes', max_crashes, 'deadline', deadline, 'publish', publish, 'keep_history', keep_history,
			'keep_runs', keep_runs))
		|| etl._settings_of_options(options)
		|| etl._settings_of_options((SELECT coalesce(jsonb_object_agg(r, NULL), '{}') FROM unnest(reset) r));
BEGIN
	IF settings ->> 'schedule' = 'none' THEN
		settings := settings || '{"schedule": null}';
	END IF;
	PERFORM etl._alter_pipeline(pipeline, settings, owner);
	PERFORM etl._notice_schedule(pipeline, settings ->> 'schedule');
END
$$;
COMMENT ON FUNCTION etl.alter_pipeline IS
	'changes settings of a pipeline, or its owner; what is not given stays; reset => ''{run_timeout}'' leads back to the default; schedule => ''none'' removes the schedule';

CREATE FUNCTION etl._forget_pipeline_as_owner(pipeline text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._lock_own_pipeline(pipeline);
	PERFORM etl._check_not_running(pipeline);
	DELETE FROM etl.target_state s WHERE s.pipeline = _forget_pipeline_as_owner.pipeline;
	DELETE FROM etl.watermark w WHERE w.pipeline = _forget_pipeline_as_owner.pipeline;
	DELETE FROM etl.task t WHERE t.pipeline = _forget_pipeline_as_owner.pipeline;
	DELETE FROM etl.read_grant g WHERE g.pipeline = _forget_pipeline_as_owner.pipeline;
	DELETE FROM etl.notification n WHERE n.pipeline = _forget_pipeline_as_owner.pipeline;
	DELETE FROM etl.pipeline p WHERE p.pipeline = _forget_pipeline_as_owner.pipeline;
	PERFORM etl._plan_schedule(pipeline);
END
$$;
CREATE FUNCTION etl._forget_pipeline(pipeline text) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._forget_pipeline_as_owner(text) IS 'does what etl._forget_pipeline does, with the rights of the extension';
COMMENT ON FUNCTION etl._forget_pipeline(text) IS 'deletes a pipeline''s declarations for the acting role';

-- The views a pipeline stands on besides those that declarations make: its transformations
-- and for_each views, and in its schemas what these and its checks read; readers first.
CREATE FUNCTION etl._helper_views(pipeline text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE t AS (SELECT * FROM etl._tasks(pipeline)),
	made AS (
		SELECT etl._relation(t.target_schema, (p.prefix || t.target_name)::name)::oid AS oid
		FROM t, unnest('{"",vr_,vl_}'::text[]) p(prefix) WHERE t.kind IN ('extract', 'load')),
	used(oid, depth) AS (
		SELECT r.oid, 0
		FROM t CROSS JOIN LATERAL (VALUES (to_regclass(t.definition ->> 'source')::oid), (to_regclass(t.definition ->> 'for_each')::oid),
									(CASE WHEN t.kind = 'check' THEN etl._relation(t.target_schema, t.target_name)::oid END)) r(oid)
		WHERE r.oid IS NOT NULL
		UNION
		SELECT d.refobjid, u.depth + 1
		FROM used u
		JOIN pg_rewrite w ON w.ev_class = u.oid
		JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class
		WHERE u.depth < 50)
	SELECT coalesce(array_agg(v.oid::regclass::text ORDER BY v.depth, v.oid DESC), '{}')
	FROM (SELECT u.oid, max(u.depth) AS depth FROM used u GROUP BY u.oid) v
	JOIN pg_class c ON c.oid = v.oid AND c.relkind = 'v'
	JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname IN (SELECT t.target_schema FROM t) AND NOT EXISTS (SELECT FROM made m WHERE m.oid = v.oid)
$$;
COMMENT ON FUNCTION etl._helper_views(text) IS 'the transformations of a pipeline and the views in its schemas that they and its checks read';

CREATE FUNCTION etl.drop_pipeline(pipeline text, drop_data boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task;
	dropped etl.task[];
	helpers text[];
	helper text;
	message text;
	detail text;
BEGIN
	PERFORM etl._own_pipeline(pipeline);
	helpers := etl._helper_views(pipeline);
	dropped := ARRAY(SELECT x FROM etl._tasks(pipeline) x WHERE x.kind IN ('extract', 'load') ORDER BY x.position DESC);
	PERFORM etl._forget_pipeline(pipeline);
	FOREACH t IN ARRAY dropped LOOP
		-- its triggers find no ledger to write; facts are compared anew when they are declared again
		IF drop_data THEN
			PERFORM etl._sync_lookups(t.target_schema, t.target_name, '[]');
		ELSIF etl._relation(t.target_schema, ('lkp_' || t.target_name)::name) IS NOT NULL THEN
			EXECUTE format('DROP TABLE %I.%I', t.target_schema, 'lkp_' || t.target_name);
		END IF;
	END LOOP;
	IF drop_data THEN
		BEGIN
			FOREACH helper IN ARRAY helpers LOOP
				EXECUTE format('DROP VIEW IF EXISTS %s', helper);
			END LOOP;
			FOREACH t IN ARRAY dropped LOOP
				EXECUTE format('DROP VIEW IF EXISTS %I.%I', t.target_schema, 'vl_' || t.target_name);
				EXECUTE format('DROP VIEW IF EXISTS %I.%I', t.target_schema, 'vr_' || t.target_name);
				EXECUTE format('DROP TABLE IF EXISTS %I.%I, %1$I.%3$I', t.target_schema, 'obs_' || t.target_name, 'snp_' || t.target_name);
				EXECUTE format('DROP TABLE IF EXISTS %I.%I', t.target_schema, t.target_name);
			END LOOP;
		EXCEPTION WHEN dependent_objects_still_exist THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
			RAISE EXCEPTION '%', message
				USING ERRCODE = 'dependent_objects_still_exist', DETAIL = detail,
					  HINT = 'Drop what depends on it first; nothing has been dropped.';
		END;
		PERFORM etl._forget_loads(pipeline);
	END IF;
END
$$;
COMMENT ON FUNCTION etl.drop_pipeline(text, boolean) IS
	'drops a pipeline''s declarations; with drop_data => true its tables and views too; the history of its runs stays';

CREATE FUNCTION etl._forget_loads(pipeline text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	WITH gone AS (
		DELETE FROM etl.load l WHERE l.pipeline = _forget_loads.pipeline
		  AND NOT EXISTS (SELECT FROM etl.pipeline p WHERE p.pipeline = l.pipeline)
		  AND etl._relation(l.target_schema, l.target_name) IS NULL
		RETURNING l.load_id),
	slices AS (DELETE FROM etl.slice s USING gone WHERE s.load_id = gone.load_id),
	shapes AS (DELETE FROM etl.load_shape s USING gone WHERE s.load_id = gone.load_id),
	fields AS (DELETE FROM etl.known_field f WHERE f.pipeline = _forget_loads.pipeline AND to_regclass(f.task) IS NULL
		AND NOT EXISTS (SELECT FROM etl.pipeline p WHERE p.pipeline = f.pipeline)),
	changes AS (DELETE FROM etl.schema_change c WHERE c.pipeline = _forget_loads.pipeline AND to_regclass(c.task) IS NULL
		AND NOT EXISTS (SELECT FROM etl.pipeline p WHERE p.pipeline = c.pipeline)),
	items AS (DELETE FROM etl.load_item i USING gone WHERE i.load_id = gone.load_id),
	routed AS (DELETE FROM etl.routed_slice r USING gone WHERE r.load_id = gone.load_id),
	item_errors AS (DELETE FROM etl.item_error e USING gone WHERE e.load_id = gone.load_id),
	slice_watermarks AS (DELETE FROM etl.slice_watermark w USING gone WHERE w.load_id = gone.load_id),
	watermarks AS (DELETE FROM etl.load_watermark w USING gone WHERE w.load_id = gone.load_id)
	DELETE FROM etl.quarantined_record q USING gone WHERE q.load_id = gone.load_id
$$;
COMMENT ON FUNCTION etl._forget_loads(text) IS 'clears the ledger of a dropped pipeline whose raw tables are gone';

-- At commit, a replaced pipeline consists of what was declared since: see create_pipeline.
CREATE FUNCTION etl._settle_declarations() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM etl.task t USING etl.pipeline p
	WHERE t.pipeline = p.pipeline AND p.pipeline = new.pipeline AND t.generation < p.generation;
	PERFORM etl._task_order(new.pipeline);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION etl._settle_declarations() IS 'trigger, at commit: drops tasks a replaced pipeline no longer declares and refuses circles';
CREATE CONSTRAINT TRIGGER settle_declarations AFTER UPDATE OF generation ON etl.pipeline
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (old.generation <> new.generation)
	EXECUTE FUNCTION etl._settle_declarations();
