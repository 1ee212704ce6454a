-- What an extraction worker writes besides raw rows.  The worker is connected as the
-- owner of the pipeline; these functions let it write the ledger, for its own attempt only.

CREATE FUNCTION etl._holds_attempt(task_run_id bigint) RETURNS boolean
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'etl_holds_attempt';
COMMENT ON FUNCTION etl._holds_attempt(bigint) IS 'whether this process is a worker that holds the lock of the task run''s attempt';

-- Every write of a worker names its attempt.  An attempt that is no longer current has
-- been given up: whatever it still wants to write must not happen.  Only the worker that
-- holds the attempt's lock passes; the owner of a pipeline in a session of his own does not.
CREATE FUNCTION etl._fence(task_run_id bigint, attempt integer) RETURNS etl.task_run
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run;
BEGIN
	IF etl._holds_attempt(task_run_id) THEN
		SELECT x.* INTO t FROM etl.task_run x JOIN etl.run r USING (run_id)
		WHERE x.task_run_id = _fence.task_run_id AND x.attempt = _fence.attempt AND x.state = 'running'
		  AND r.owner = session_user
		FOR UPDATE OF x;
	END IF;
	IF t.task_run_id IS NULL THEN
		RAISE EXCEPTION 'attempt % of task run % is no longer current', attempt, task_run_id
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  HINT = 'These functions are called by workers, for the attempt they hold.';
	END IF;
	RETURN t;
END
$$;
-- The same for the load an attempt works on: it must be the attempt's own.
CREATE FUNCTION etl._fence_load(task_run_id bigint, attempt integer, load_id bigint) RETURNS etl.load
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
	l etl.load;
BEGIN
	SELECT * INTO l FROM etl.load x WHERE x.load_id = _fence_load.load_id AND x.run_id = t.run_id AND x.task = t.task;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'load % does not belong to attempt % of task run %', load_id, attempt, task_run_id
			USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	RETURN l;
END
$$;
COMMENT ON FUNCTION etl._fence_load(bigint, integer, bigint) IS 'the load, if it is the one a current attempt of the session''s role works on; an error otherwise';

COMMENT ON FUNCTION etl._fence(bigint, integer) IS 'the task run, if this attempt of it is current and belongs to the session''s role; an error otherwise';

CREATE FUNCTION etl._record_partition(task_run_id bigint, attempt integer, load_id bigint, partition_name name) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE etl.load l SET partition_key = l.load_id, partition_name = _record_partition.partition_name
	FROM etl._fence_load(_record_partition.task_run_id, _record_partition.attempt, _record_partition.load_id) f
	WHERE l.load_id = f.load_id AND l.state = 'loading'
$$;
COMMENT ON FUNCTION etl._record_partition(bigint, integer, bigint, name) IS 'records that a load has a partition of its own';

-- Finds the load to go on with, or opens a new one.
CREATE FUNCTION etl._open_load(task_run_id bigint, attempt integer,
	OUT load_id bigint, OUT is_new boolean, OUT is_complete boolean, OUT definition jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
	r etl.run;
	declared etl.task;
	existing etl.load;
	request_fingerprint text;
BEGIN
	SELECT * INTO STRICT r FROM etl.run x WHERE x.run_id = t.run_id;
	SELECT * INTO declared FROM etl.task x WHERE x.pipeline = r.pipeline AND x.task = t.task AND x.kind = 'extract';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'task "%" of pipeline "%" is no longer declared', t.task, r.pipeline
			USING ERRCODE = 'undefined_object', HINT = 'It was dropped while the run waited; run the interval again.';
	END IF;
	definition := declared.definition;
	request_fingerprint := md5((definition - '{key,version,on_rerun,record_schema,on_invalid,options}'::text[])::text);
	SELECT * INTO existing FROM etl.load l
	WHERE l.pipeline = r.pipeline AND l.owner = r.owner AND l.task = t.task AND l.data_interval_start = r.data_interval_start
	  AND l.data_interval_end = r.data_interval_end AND l.state IN ('loading', 'complete')
	ORDER BY l.load_id DESC LIMIT 1;
	IF FOUND AND (existing.fingerprint <> request_fingerprint OR existing.refetch) THEN
		UPDATE etl.load l SET state = 'abandoned' WHERE l.load_id = existing.load_id;
		PERFORM etl._log('INFO', r.pipeline, r.run_id, t.task,
			CASE WHEN existing.refetch THEN format('load %s is abandoned: it could not be published or resumed, the source is asked again', existing.load_id)
				 ELSE format('load %s is abandoned: the definition of the task changed', existing.load_id) END);
		existing := NULL;
	END IF;
	is_new := existing.load_id IS NULL;
	IF is_new THEN
		INSERT INTO etl.load AS l (pipeline, owner, task, target_schema, target_name, data_interval_start, data_interval_end, run_id, fingerprint)
		VALUES (r.pipeline, r.owner, t.task, declared.target_schema, declared.target_name, r.data_interval_start, r.data_interval_end, r.run_id, request_fingerprint)
		RETURNING l.load_id INTO load_id;
	ELSE
		load_id := existing.load_id;
		UPDATE etl.load l SET run_id = r.run_id WHERE l.load_id = existing.load_id;
		PERFORM etl._log('INFO', r.pipeline, r.run_id, t.task, format('load %s is resumed', load_id),
			jsonb_build_object('load_id', load_id, 'slices', (SELECT count(*) FROM etl.slice s WHERE s.load_id = existing.load_id)));
	END IF;
	is_complete := coalesce(existing.state = 'complete', false);
END
$$;
COMMENT ON FUNCTION etl._open_load(bigint, integer) IS 'the unfinished load of the attempt''s interval, or a new one';

CREATE FUNCTION etl._set_load_items(task_run_id bigint, attempt integer, load_id bigint, items jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._fence_load(task_run_id, attempt, load_id);
	UPDATE etl.load l SET items = coalesce(_set_load_items.items, '[]') WHERE l.load_id = _set_load_items.load_id;
END
$$;
COMMENT ON FUNCTION etl._set_load_items(bigint, integer, bigint, jsonb) IS 'keeps the rows of for_each as they were when the load began, so that it resumes with the same ones';

CREATE FUNCTION etl._load_position(task_run_id bigint, attempt integer, load_id bigint,
	OUT next_slice integer, OUT item integer, OUT cursor jsonb, OUT item_count integer, OUT bytes bigint, OUT partition_key bigint,
	OUT raw_schema name, OUT raw_table name, OUT data_interval_start timestamptz, OUT data_interval_end timestamptz,
	OUT last_digest bytea, OUT item_pages integer, OUT item_records bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	last_slice etl.slice;
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
BEGIN
	SELECT * INTO last_slice FROM etl.slice s WHERE s.load_id = l.load_id ORDER BY s.slice DESC LIMIT 1;
	next_slice := coalesce(last_slice.slice + 1, 0);
	-- a slice without a next cursor was the last one of its item
	item := CASE WHEN last_slice.slice IS NULL THEN 0 WHEN last_slice.next_cursor IS NULL THEN last_slice.item + 1 ELSE last_slice.item END;
	cursor := last_slice.next_cursor;
	SELECT count(*), coalesce(sum(s.fetched), 0) INTO item_pages, item_records FROM etl.slice s
	WHERE s.load_id = l.load_id AND s.item = last_slice.item AND last_slice.next_cursor IS NOT NULL;
	last_digest := CASE WHEN last_slice.next_cursor IS NOT NULL THEN last_slice.body_digest END;
	item_count := CASE WHEN l.items IS NULL THEN 1 ELSE jsonb_array_length(l.items) END;
	bytes := l.bytes;
	partition_key := l.partition_key;
	raw_schema := l.target_schema;
	raw_table := l.target_name;
	data_interval_start := l.data_interval_start;
	data_interval_end := l.data_interval_end;
END
$$;
COMMENT ON FUNCTION etl._load_position(bigint, integer, bigint) IS 'where a load goes on: its first unfinished slice';

CREATE FUNCTION etl._begin_extract(task_run_id bigint, attempt integer,
	OUT load_id bigint, OUT is_complete boolean, OUT server text, OUT records text, OUT pagination jsonb, OUT key text[],
	OUT record_schema jsonb, OUT on_invalid text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	opened record;
	items jsonb;
	n record;
BEGIN
	opened := etl._open_load(task_run_id, attempt);
	load_id := opened.load_id;
	is_complete := opened.is_complete;
	IF opened.is_new AND opened.definition ? 'for_each' THEN
		n := etl._parse_name(opened.definition ->> 'for_each');
		EXECUTE format('SELECT jsonb_agg(to_jsonb(x) ORDER BY to_jsonb(x)) FROM %I.%I x', n.schema_name, n.relation_name) INTO items;
		PERFORM etl._set_load_items(task_run_id, attempt, load_id, items);
	END IF;
	server := opened.definition ->> 'server';
	records := opened.definition ->> 'records';
	pagination := opened.definition -> 'pagination';
	record_schema := opened.definition -> 'record_schema';
	on_invalid := opened.definition ->> 'on_invalid';
	SELECT array_agg(k ORDER BY o) INTO key FROM jsonb_array_elements_text(opened.definition -> 'key') WITH ORDINALITY e(k, o);
END
$$;
COMMENT ON FUNCTION etl._begin_extract(bigint, integer) IS 'opens or resumes the load of an attempt and tells the worker what to fetch';

-- The request of one item, with its placeholders filled; the worker adds the server's base_url.
CREATE FUNCTION etl._item_request(task_run_id bigint, attempt integer, load_id bigint, item_number integer,
	OUT path text, OUT query_names text[], OUT query_values text[], OUT header_names text[], OUT header_values text[], OUT item jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
	r etl.run;
	definition jsonb;
	filled jsonb;
BEGIN
	PERFORM etl._fence_load(task_run_id, attempt, load_id);
	SELECT * INTO STRICT r FROM etl.run x WHERE x.run_id = t.run_id;
	SELECT x.definition INTO STRICT definition FROM etl.task x WHERE x.pipeline = r.pipeline AND x.task = t.task;
	SELECT l.items -> item_number INTO STRICT item FROM etl.load l WHERE l.load_id = _item_request.load_id;
	filled := coalesce(item, '{}') || jsonb_build_object(
		'ds', r.run_date,
		'data_interval_start', to_char(r.data_interval_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
		'data_interval_end', to_char(r.data_interval_end AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
		'run_id', r.run_id);
	path := etl._expand(definition ->> 'path', filled, r.timezone, true);
	SELECT array_agg(e.key ORDER BY e.key), array_agg(coalesce(etl._expand(e.value, filled, r.timezone, false), '') ORDER BY e.key)
	INTO query_names, query_values FROM jsonb_each_text(definition -> 'query') e;
	SELECT array_agg(e.key ORDER BY e.key), array_agg(coalesce(etl._expand(e.value, filled, r.timezone, false), '') ORDER BY e.key)
	INTO header_names, header_values FROM jsonb_each_text(definition -> 'headers') e;
END
$$;
COMMENT ON FUNCTION etl._item_request(bigint, integer, bigint, integer) IS 'path, query and headers of one for_each item of a load';

CREATE UNIQUE INDEX slice_cursor ON etl.slice (load_id, item, md5(next_cursor::text)) WHERE next_cursor IS NOT NULL;

CREATE FUNCTION etl._commit_slice(task_run_id bigint, attempt integer, load_id bigint, slice integer, item integer,
	request text, status integer, attempts integer, next_cursor jsonb, body_digest bytea, bytes bigint,
	fetched bigint, loaded bigint, quarantined bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	violated text;
BEGIN
	PERFORM etl._fence_load(task_run_id, attempt, load_id);
	INSERT INTO etl.slice VALUES (load_id, slice, item, request, status, attempts, next_cursor, body_digest, bytes, fetched, loaded, quarantined);
	UPDATE etl.load l SET requests = l.requests + 1, bytes = l.bytes + _commit_slice.bytes,
		fetched = l.fetched + _commit_slice.fetched, loaded = l.loaded + _commit_slice.loaded,
		quarantined = l.quarantined + _commit_slice.quarantined
	WHERE l.load_id = _commit_slice.load_id AND l.state = 'loading';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'load % is not being loaded', load_id USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
EXCEPTION WHEN unique_violation THEN
	GET STACKED DIAGNOSTICS violated = CONSTRAINT_NAME;
	IF violated <> 'slice_cursor' THEN
		RAISE;
	END IF;
	RAISE EXCEPTION 'pagination goes in a circle: the page after % has been fetched already', request
		USING ERRCODE = 'fdw_error',
			  HINT = 'The source names a page twice; check the pagination of the task, or set max_pages.';
END
$$;
COMMENT ON FUNCTION etl._commit_slice(bigint, integer, bigint, integer, integer, text, integer, integer, jsonb, bytea, bigint, bigint, bigint, bigint) IS
	'records a slice with its cursor and counts, in the transaction that wrote its rows';

CREATE FUNCTION etl._quarantine(task_run_id bigint, attempt integer, load_id bigint, slice integer, record_numbers integer[],
	byte_offsets bigint[], records bytea[], reason_codes text[], reasons text[], request text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
BEGIN
	PERFORM etl._fence_load(task_run_id, attempt, load_id);
	INSERT INTO etl.quarantined_record (load_id, pipeline, task, slice, record_number, byte_offset, record, reason_code, reason, request)
	SELECT load_id, r.pipeline, t.task, slice, u.*, request
	FROM etl.run r, unnest(record_numbers, byte_offsets, records, reason_codes, reasons) u
	WHERE r.run_id = t.run_id;
END
$$;
COMMENT ON FUNCTION etl._quarantine(bigint, integer, bigint, integer, integer[], bigint[], bytea[], text[], text[], text) IS
	'keeps rejected records with their bytes, in the transaction that wrote the rest of their page';

CREATE FUNCTION etl._warn_invalid(task_run_id bigint, attempt integer, load_id bigint, slice integer, invalid integer, sample text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
BEGIN
	PERFORM etl._log('WARN', l.pipeline, l.run_id, l.task, format('%s records of slice %s break the record_schema and were loaded', invalid, slice),
		jsonb_build_object('load_id', load_id, 'slice', slice, 'first', sample));
END
$$;
COMMENT ON FUNCTION etl._warn_invalid(bigint, integer, bigint, integer, integer, text) IS 'notes records that were loaded although they break the record_schema';

CREATE FUNCTION etl._finish_extract(task_run_id bigint, attempt integer, load_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
BEGIN
	UPDATE etl.load x SET state = 'complete', completed_at = coalesce(x.completed_at, clock_timestamp())
	WHERE x.load_id = _finish_extract.load_id AND x.state IN ('loading', 'complete') RETURNING * INTO STRICT l;
	UPDATE etl.task_run x SET state = 'success', ended_at = clock_timestamp(), requests = l.requests, bytes = l.bytes,
		fetched = l.fetched, loaded = l.loaded, quarantined = l.quarantined,
		error_code = NULL, error_message = NULL, error_detail = NULL, error_hint = NULL
	WHERE x.task_run_id = t.task_run_id;
	UPDATE etl.task_attempt a SET state = 'success', ended_at = clock_timestamp()
	WHERE a.task_run_id = t.task_run_id AND a.attempt = t.attempt;
	IF l.quarantined > 0 THEN
		PERFORM etl._log('WARN', l.pipeline, t.run_id, t.task, format('%s of %s records were quarantined', l.quarantined, l.fetched),
			jsonb_build_object('load_id', l.load_id));
	END IF;
END
$$;
COMMENT ON FUNCTION etl._finish_extract(bigint, integer, bigint) IS 'marks a load complete and its task successful';
