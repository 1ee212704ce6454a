-- A pipeline in the caller's own transaction, for tests with fixtures: records go into raw
-- as an extraction's would, loads and checks run as in a publication.  The test ends with
-- ROLLBACK; committed, what was fed is a published load of the interval.

-- The ledger's part of a feed: the load that takes the interval's place.
CREATE FUNCTION etl._feed_load_as_owner(pipeline text, task text, interval_start timestamptz, interval_end timestamptz, loaded bigint, quarantined bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._own_pipeline(pipeline);
	t etl.task;
	l etl.load;
	fed_run bigint;
BEGIN
	SELECT x.* INTO STRICT t FROM etl._tasks(p.pipeline) x WHERE x.task = _feed_load_as_owner.task AND x.kind = 'extract';
	INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, state, requested_by, started_at, ended_at)
	VALUES (p.pipeline, p.owner, interval_start, interval_end, (interval_start AT TIME ZONE p.timezone)::date, p.timezone, 'feed', 'success', etl._acting_role(), clock_timestamp(), clock_timestamp())
	RETURNING run_id INTO fed_run;
	INSERT INTO etl.load (pipeline, owner, task, target_schema, target_name, data_interval_start, data_interval_end, run_id, state, fingerprint,
		fetched, loaded, quarantined, completed_at, published_at)
	VALUES (p.pipeline, p.owner, t.task, t.target_schema, t.target_name, interval_start, interval_end, fed_run, 'published', 'feed',
		loaded + quarantined, loaded, quarantined, clock_timestamp(), clock_timestamp())
	RETURNING * INTO l;
	IF t.definition ->> 'on_rerun' = 'replace' THEN
		UPDATE etl.load x SET state = 'superseded', superseded_at = clock_timestamp(), superseded_by = l.load_id, superseded_xid = pg_current_xact_id()
		WHERE x.pipeline = l.pipeline AND x.owner = l.owner AND x.task = l.task AND x.state = 'published' AND x.load_id <> l.load_id
		  AND x.data_interval_start >= l.data_interval_start AND x.data_interval_end <= l.data_interval_end
		  -- fed in one transaction, items and pages add up
		  AND NOT (x.fingerprint = 'feed' AND x.xmin = pg_current_xact_id()::xid);
	END IF;
	RETURN l.load_id;
END
$$;
CREATE FUNCTION etl._feed_load(pipeline text, task text, interval_start timestamptz, interval_end timestamptz, loaded bigint, quarantined bigint) RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._feed_load_as_owner(text, text, timestamptz, timestamptz, bigint, bigint) IS 'does what etl._feed_load does, with the rights of the extension';
COMMENT ON FUNCTION etl._feed_load(text, text, timestamptz, timestamptz, bigint, bigint) IS 'writes the ledger of records that are fed';

CREATE FUNCTION etl._feed_quarantine_as_owner(pipeline text, load_id bigint, record_number integer, record jsonb, reason_code text, reason text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO etl.quarantined_record (load_id, pipeline, task, slice, record_number, byte_offset, record, reason_code, reason, request)
	SELECT l.load_id, l.pipeline, l.task, 0, record_number, 0, convert_to(record::text, 'UTF8'), reason_code, reason, 'etl.feed'
	FROM etl._own_pipeline(pipeline) p JOIN etl.load l ON l.pipeline = p.pipeline AND l.load_id = _feed_quarantine_as_owner.load_id AND l.fingerprint = 'feed'
$$;
CREATE FUNCTION etl._feed_quarantine(pipeline text, load_id bigint, record_number integer, record jsonb, reason_code text, reason text) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._feed_quarantine_as_owner(text, bigint, integer, jsonb, text, text) IS 'does what etl._feed_quarantine does, with the rights of the extension';
COMMENT ON FUNCTION etl._feed_quarantine(text, bigint, integer, jsonb, text, text) IS 'keeps a fed record that an extraction would have rejected';

CREATE FUNCTION etl.feed(pipeline text, target text, records jsonb, interval_start timestamptz, item jsonb DEFAULT NULL,
	OUT load_id bigint, OUT fetched bigint, OUT loaded bigint, OUT quarantined bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._acting_owner(pipeline);
	n record := etl._parse_name(target);
	t etl.task;
	interval_end timestamptz := etl._interval_from(p, interval_start);
	rejected jsonb := '[]';
	accepted jsonb := '[]';
	r record;
	problem record;
BEGIN
	SELECT x.* INTO t FROM etl._tasks(p.pipeline) x WHERE x.kind = 'extract' AND x.target_schema = n.schema_name AND x.target_name = n.relation_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'pipeline "%" does not extract into %', p.pipeline, target
			USING ERRCODE = 'undefined_object',
				  HINT = coalesce('Its raw tables are: ' || (SELECT string_agg(x.task, ', ' ORDER BY x.task) FROM etl._tasks(p.pipeline) x WHERE x.kind = 'extract') || '.',
							'It extracts nothing; INSERT into the tables its views read, and call etl.transform.');
	ELSIF jsonb_typeof(records) IS DISTINCT FROM 'array' THEN
		RAISE EXCEPTION 'records must be a JSON array'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'As the source gives them, one element a record: [{"id": 1}, {"id": 2}].';
	ELSIF interval_start IS NULL THEN
		RAISE EXCEPTION 'interval_start must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'It is the start of the data interval the records are of, such as ''2024-01-01T00:00:00Z''.';
	END IF;
	FOR r IN SELECT e.record, (e.o - 1)::integer AS record_number FROM jsonb_array_elements(records) WITH ORDINALITY e(record, o) LOOP
		SELECT x.code, x.reason INTO problem FROM (
			SELECT '23502' AS code, format('the key %s is missing or null', k) AS reason, 1 AS rank
			FROM jsonb_array_elements_text(coalesce(t.definition -> 'key', '[]')) k WHERE coalesce(r.record #> etl.json_path_keys(k), 'null') = 'null'
			UNION ALL
			SELECT '23514', format('%s: %s', v.instance_path, v.message), 2
			FROM etl.validate_json(t.definition -> 'record_schema', r.record) v WHERE t.definition ->> 'on_invalid' <> 'warn'
			ORDER BY rank LIMIT 1) x;
		IF NOT FOUND THEN
			accepted := accepted || jsonb_build_array(jsonb_build_object('record_number', r.record_number, 'record', r.record));
		ELSIF problem.code = '23514' AND t.definition ->> 'on_invalid' = 'fail' THEN
			RAISE EXCEPTION 'record % breaks the record_schema of %', r.record_number, t.task
				USING ERRCODE = 'check_violation', DETAIL = problem.reason, HINT = 'The task is declared with on_invalid => ''fail''.';
		ELSE
			rejected := rejected || jsonb_build_array(to_jsonb(problem) || jsonb_build_object('record_number', r.record_number, 'record', r.record));
		END IF;
	END LOOP;
	loaded := jsonb_array_length(accepted);
	quarantined := jsonb_array_length(rejected);
	fetched := loaded + quarantined;
	load_id := etl._feed_load(p.pipeline, t.task, interval_start, interval_end, loaded, quarantined);
	EXECUTE format('INSERT INTO %I.%I (load_id, partition_key, data_interval_start, data_interval_end, slice, record_number, item, payload, fetched_at)
		SELECT $1, 0, $2, $3, 0, (e ->> ''record_number'')::integer, $4, e -> ''record'', statement_timestamp() FROM jsonb_array_elements($5) e', t.target_schema, t.target_name)
	USING load_id, interval_start, interval_end, item, accepted;
	PERFORM etl._feed_quarantine(p.pipeline, load_id, (e ->> 'record_number')::integer, e -> 'record', e ->> 'code', e ->> 'reason') FROM jsonb_array_elements(rejected) e;
END
$$;
COMMENT ON FUNCTION etl.feed(text, text, jsonb, timestamptz, jsonb) IS
	'puts records into a raw table as an extraction would, in the caller''s transaction: fixtures of a test';

CREATE FUNCTION etl._advance_target_as_owner(pipeline text, task text, interval_start timestamptz) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO etl.target_state AS s SELECT p.pipeline, task, interval_start FROM etl._own_pipeline(pipeline) p
	ON CONFLICT ON CONSTRAINT target_state_pkey DO UPDATE SET latest_interval = greatest(s.latest_interval, excluded.latest_interval)
$$;
CREATE FUNCTION etl._advance_target(pipeline text, task text, interval_start timestamptz) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._advance_target_as_owner(text, text, timestamptz) IS 'does what etl._advance_target does, with the rights of the extension';
COMMENT ON FUNCTION etl._advance_target(text, text, timestamptz) IS 'notes the latest interval a target has been filled for';

CREATE FUNCTION etl._latest_interval_as_owner(pipeline text, task text) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT s.latest_interval FROM etl._own_pipeline(pipeline) p JOIN etl.target_state s ON s.pipeline = p.pipeline AND s.task = _latest_interval_as_owner.task
$$;
CREATE FUNCTION etl._latest_interval(pipeline text, task text) RETURNS timestamptz
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._latest_interval_as_owner(text, text) IS 'does what etl._latest_interval does, with the rights of the extension';
COMMENT ON FUNCTION etl._latest_interval(text, text) IS 'the latest interval a target has been filled for';

-- Failing checks are rows, not errors: a test wants to see them.
CREATE FUNCTION etl.transform(pipeline text, interval_start timestamptz,
	OUT task text, OUT kind text, OUT passed boolean, OUT inserted bigint, OUT updated bigint, OUT deleted bigint, OUT unchanged bigint, OUT severity text, OUT figure text, OUT threshold text, OUT failing_rows bigint, OUT sample jsonb)
RETURNS SETOF record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	SET etl.run_id = '' SET etl.data_interval_start = '' SET etl.data_interval_end = '' SET etl.run_date = ''
	SET client_min_messages = warning		-- of temporary tables that are not there
AS $$
DECLARE
	p etl.pipeline := etl._acting_owner(pipeline);
	t etl.task;
	counts etl._load_counts;
	outcome etl._check_outcome;
BEGIN
	IF interval_start IS NULL THEN
		RAISE EXCEPTION 'interval_start must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'It is the start of the data interval to transform, such as ''2024-01-01T00:00:00Z''.';
	END IF;
	PERFORM etl._set_context(NULL, interval_start, etl._interval_from(p, interval_start), (interval_start AT TIME ZONE p.timezone)::date);
	FOR t IN SELECT x.* FROM etl._task_order(p.pipeline) o JOIN etl._tasks(p.pipeline) x USING (task) WHERE x.kind IN ('load', 'check', 'call') ORDER BY o.ordinal LOOP
		-- a procedure that commits would take the test with it
		CONTINUE WHEN t.definition ->> 'transaction' = 'own';
		task := t.task;
		kind := t.kind;
		counts := NULL;
		outcome := NULL;
		passed := NULL;
		IF t.kind = 'load' THEN
			counts := etl._load_target(p.pipeline, t.task, p.timezone, t.definition, etl._relation(t.target_schema, t.target_name), etl._latest_interval(p.pipeline, t.task));
			PERFORM etl._advance_target(p.pipeline, t.task, interval_start);
		ELSIF t.kind = 'call' THEN
			PERFORM etl._call(etl._full_name(t.target_schema, t.target_name), t.definition, p.timezone);
		ELSIF etl._relation(t.target_schema, t.target_name) IS NULL THEN
			RAISE EXCEPTION 'relation "%" of check "%" does not exist', etl._full_name(t.target_schema, t.target_name), t.task
				USING ERRCODE = 'undefined_table', HINT = 'It was there when the check was declared; make it again, or declare the pipeline without the check.';
		ELSE
			outcome := etl._run_check(p.pipeline, t.task, p.timezone, etl._relation(t.target_schema, t.target_name), t.definition, false);
			passed := outcome.passed;
		END IF;
		inserted := counts.inserted;
		updated := counts.updated;
		deleted := counts.deleted;
		unchanged := counts.unchanged;
		severity := outcome.severity;
		figure := outcome.figure;
		threshold := outcome.threshold;
		failing_rows := outcome.failing_rows;
		sample := outcome.sample;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl.transform(text, timestamptz) IS
	'runs the loads, calls and checks of a pipeline for one data interval in the caller''s transaction; a row a task, failing checks included';
