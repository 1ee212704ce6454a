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
	parents bigint[];
BEGIN
	SELECT * INTO STRICT r FROM etl.run x WHERE x.run_id = t.run_id;
	SELECT * INTO declared FROM etl.task x WHERE x.pipeline = r.pipeline AND x.task = t.task AND x.kind = 'extract';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'task "%" of pipeline "%" is no longer declared', t.task, r.pipeline
			USING ERRCODE = 'undefined_object', HINT = 'It was dropped while the run waited; run the interval again.';
	END IF;
	definition := declared.definition;
	-- other parents, other children: these have to be asked for anew
	parents := CASE WHEN definition ? 'for_each' THEN (SELECT array_agg(x.load_id ORDER BY x.load_id) FROM etl.load x
		WHERE x.run_id = r.run_id AND x.state IN ('complete', 'published') AND x.task = ANY (t.depends_on)) END;
	request_fingerprint := md5(coalesce(parents::text, '') || (definition - '{key,version,on_rerun,record_schema,on_invalid,options,recheck,retain,on_item_error,contract}'::text[])::text);
	SELECT * INTO existing FROM etl.load l
	WHERE l.pipeline = r.pipeline AND l.owner = r.owner AND l.task = t.task AND l.data_interval_start = r.data_interval_start
	  AND l.data_interval_end = r.data_interval_end AND l.state IN ('loading', 'complete')
	ORDER BY l.load_id DESC LIMIT 1;
	IF FOUND AND (existing.fingerprint <> request_fingerprint OR existing.refetch OR existing.state = 'loading' AND existing.routed_from IS NOT NULL
			-- which runs a fetch of the present serves is decided anew for each run
			OR existing.state = 'loading' AND existing.routes IS NOT NULL AND existing.run_id <> r.run_id) THEN
		UPDATE etl.load l SET state = 'abandoned' WHERE l.load_id = existing.load_id
			OR l.routed_from = existing.load_id AND l.state = 'loading';
		DELETE FROM etl.routed_slice s USING etl.load x WHERE x.load_id = s.load_id AND x.routed_from = existing.load_id;
		DELETE FROM etl.slice_watermark s WHERE s.load_id = existing.load_id;
		PERFORM etl._log('INFO', r.pipeline, r.run_id, t.task,
			CASE WHEN existing.routed_from IS NOT NULL THEN format('load %s is abandoned: the fetch that should have filled it, load %s, did not end', existing.load_id, existing.routed_from)
				 WHEN existing.routes IS NOT NULL THEN format('load %s is abandoned: the present is fetched as a whole', existing.load_id)
				 WHEN existing.refetch THEN format('load %s is abandoned: it could not be published or resumed, the source is asked again', existing.load_id)
				 ELSE format('load %s is abandoned: the definition of the task changed, or what its for_each is read from', existing.load_id) END);
		existing := NULL;
	END IF;
	is_new := existing.load_id IS NULL;
	IF is_new THEN
		INSERT INTO etl.load AS l (pipeline, owner, task, target_schema, target_name, data_interval_start, data_interval_end, run_id, fingerprint, definition_digest)
		VALUES (r.pipeline, r.owner, t.task, declared.target_schema, declared.target_name, r.data_interval_start, r.data_interval_end, r.run_id, request_fingerprint,
			md5((definition - '{recheck,retain,on_item_error}'::text[])::text))
		RETURNING l.* INTO existing;
		load_id := existing.load_id;
		IF definition ->> 'reads' = 'current' THEN
			PERFORM etl._plan_routes(existing);
		END IF;
		existing := NULL;
	ELSE
		load_id := existing.load_id;
		UPDATE etl.load l SET run_id = r.run_id WHERE l.load_id = existing.load_id;
		PERFORM etl._log('INFO', r.pipeline, r.run_id, t.task,
			CASE WHEN existing.routed_from IS NOT NULL THEN format('load %s was fetched together with load %s', load_id, existing.routed_from)
				 ELSE format('load %s is resumed', load_id) END,
			jsonb_build_object('load_id', load_id, 'slices', (SELECT count(*) FROM etl.slice s WHERE s.load_id = existing.load_id)));
	END IF;
	is_complete := coalesce(existing.state = 'complete', false);
END
$$;
COMMENT ON FUNCTION etl._open_load(bigint, integer) IS 'the unfinished load of the attempt''s interval, or a new one';

CREATE FUNCTION etl._begin_extract(task_run_id bigint, attempt integer,
	OUT load_id bigint, OUT is_complete boolean, OUT server text, OUT records text, OUT key text[],
	OUT record_schema jsonb, OUT on_invalid text, OUT rules jsonb, OUT skip_failed_items boolean, OUT has_validators boolean,
	OUT next_slice integer, OUT item_count integer, OUT bytes bigint, OUT partition_key bigint, OUT raw_schema name, OUT raw_table name,
	OUT data_interval_start timestamptz, OUT data_interval_end timestamptz, OUT routes_records boolean, OUT decode jsonb, OUT is_graphql boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	opened record;
BEGIN
	opened := etl._open_load(task_run_id, attempt);
	load_id := opened.load_id;
	is_complete := opened.is_complete;
	IF opened.is_new AND opened.definition ? 'for_each' THEN
		PERFORM etl._set_load_items(task_run_id, attempt, load_id, etl._read_items(task_run_id, attempt, load_id, opened.definition ->> 'for_each'));
	END IF;
	IF opened.is_new AND opened.definition ? 'retain' THEN
		PERFORM etl._give_shared_partition(task_run_id, attempt, load_id, (opened.definition ->> 'retain')::interval);
	END IF;
	server := opened.definition ->> 'server';
	records := opened.definition ->> 'records';
	record_schema := opened.definition -> 'record_schema';
	on_invalid := opened.definition ->> 'on_invalid';
	rules := opened.definition -> 'rules';
	routes_records := opened.definition ?| '{watermark,record_time}';
	decode := opened.definition -> 'decode';
	is_graphql := etl._is_graphql_body(coalesce(opened.definition -> 'body', 'null'));
	skip_failed_items := coalesce(opened.definition ->> 'on_item_error' = 'skip', false);
	SELECT array_agg(k ORDER BY o) INTO key FROM jsonb_array_elements_text(opened.definition -> 'key') WITH ORDINALITY e(k, o);
	SELECT p.* INTO has_validators, next_slice, item_count, bytes, partition_key, raw_schema, raw_table, data_interval_start, data_interval_end
	FROM etl._load_position(task_run_id, attempt, load_id) p;
	-- what a watermark or a fetch of the present leaves out of a page differs from load to load
	has_validators := has_validators AND coalesce((opened.definition #>> '{options,conditional}')::boolean, true)
		AND NOT opened.definition ? 'watermark' AND opened.definition ->> 'reads' IS NULL;
END
$$;
COMMENT ON FUNCTION etl._begin_extract(bigint, integer) IS 'opens or resumes the load of an attempt and tells the worker what to fetch';

CREATE FUNCTION etl._load_position(task_run_id bigint, attempt integer, load_id bigint,
	OUT has_validators boolean, OUT next_slice integer, OUT item_count integer, OUT bytes bigint, OUT partition_key bigint,
	OUT raw_schema name, OUT raw_table name, OUT data_interval_start timestamptz, OUT data_interval_end timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
BEGIN
	has_validators := EXISTS (SELECT FROM etl.load x JOIN etl.slice s USING (load_id)
		WHERE x.pipeline = l.pipeline AND x.task = l.task AND x.owner = l.owner AND x.state = 'published'
		  AND x.definition_digest = l.definition_digest AND s.request_key IS NOT NULL);
	SELECT coalesce(max(s.slice) + 1, 0) INTO next_slice FROM etl.slice s WHERE s.load_id = l.load_id;
	item_count := coalesce(l.item_count, 1);
	bytes := (SELECT coalesce(sum(s.bytes), 0) FROM etl.slice s WHERE s.load_id = l.load_id);
	partition_key := l.partition_key;
	raw_schema := l.target_schema;
	raw_table := l.target_name;
	data_interval_start := l.data_interval_start;
	data_interval_end := l.data_interval_end;
END
$$;
COMMENT ON FUNCTION etl._load_position(bigint, integer, bigint) IS 'how far a load has got, and where its rows go';

CREATE FUNCTION etl._load_pagination(load_id bigint) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(l.pagination, t.definition -> 'pagination')
	FROM etl.load l JOIN etl.task t USING (pipeline, task) WHERE l.load_id = _load_pagination.load_id AND l.owner = session_user
$$;
COMMENT ON FUNCTION etl._load_pagination(bigint) IS 'the pagination of a load: as declared, or what "auto" turned out to be';

CREATE FUNCTION etl._keep_pagination(task_run_id bigint, attempt integer, load_id bigint, type text, path text, parameter text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
	detected jsonb;
BEGIN
	SELECT jsonb_strip_nulls(t.definition -> 'pagination' || jsonb_build_object('type', type, 'parameter', parameter,
			CASE type WHEN 'next_url' THEN 'url' ELSE 'cursor' END, path)) INTO detected
	FROM etl.task t WHERE t.pipeline = l.pipeline AND t.task = l.task;
	UPDATE etl.load x SET pagination = detected WHERE x.load_id = l.load_id;
	PERFORM etl._log(CASE type WHEN 'none' THEN 'WARN' ELSE 'INFO' END, l.pipeline, l.run_id, l.task,
		CASE type WHEN 'none' THEN 'pagination "auto": no page leads on in any known way; each is taken for the only one of its item'
			 ELSE format('pagination "auto" is of type %s', type) END, detected);
END
$$;
COMMENT ON FUNCTION etl._keep_pagination(bigint, integer, bigint, text, text, text) IS 'keeps what pagination "auto" has turned out to be, so that the load is resumed by it';

-- Arrays, an element a slice: one call for all of a transaction.
CREATE FUNCTION etl._commit_slices(task_run_id bigint, attempt integer, load_id bigint, slice integer[], item integer[],
	page integer[], page_count integer[], page_size integer[], request text[], status integer[], attempts integer[], next_cursor jsonb[],
	body_digest bigint[], bytes bigint[], fetched bigint[], loaded bigint[], quarantined bigint[], skipped bigint[], etag text[], last_modified text[],
	request_key text[], absent boolean[], held_loads bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
	l etl.load;
	violated text;
BEGIN
	SELECT * INTO l FROM etl.load x WHERE x.load_id = _commit_slices.load_id AND x.run_id = t.run_id AND x.task = t.task AND x.state = 'loading';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'load % is not being loaded by attempt % of task run %', load_id, attempt, task_run_id
			USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	INSERT INTO etl.slice AS s (load_id, slice, item, page, page_count, page_size, request, status, attempts, next_cursor, body_digest, bytes,
		fetched, loaded, quarantined, skipped, etag, last_modified, request_key)
	SELECT _commit_slices.load_id, u.*
	FROM unnest(slice, item, page, page_count, page_size, request, status, attempts, next_cursor, body_digest, bytes,
		fetched, loaded, quarantined, skipped, etag, last_modified, request_key) u;
	IF held_loads IS NOT NULL THEN
		PERFORM etl._check_held_loads(l, held_loads);
	END IF;
	UPDATE etl.load x SET absent = true WHERE x.load_id = l.load_id AND NOT x.absent AND true = ANY (_commit_slices.absent);
EXCEPTION WHEN unique_violation THEN
	GET STACKED DIAGNOSTICS violated = CONSTRAINT_NAME;
	IF violated <> 'slice_cursor' THEN
		RAISE;
	END IF;
	-- of which of them, only a call with one can tell
	RAISE EXCEPTION 'pagination goes in a circle: the page after % has been fetched already', request[1]
		USING ERRCODE = 'fdw_error',
			  HINT = 'The source names a page twice; check the pagination of the task, or set max_pages.';
END
$$;
COMMENT ON FUNCTION etl._commit_slices(bigint, integer, bigint, integer[], integer[], integer[], integer[], integer[], text[], integer[], integer[], jsonb[],
	bigint[], bigint[], bigint[], bigint[], bigint[], bigint[], text[], text[], text[], boolean[], bigint[]) IS
	'records slices with their cursors and counts, in the transaction that wrote their rows; held_loads: whose rows were taken for pages that have not changed';

-- What a load has got is the sum of its slices, and written down when it is complete: the
-- caller that waits for a run holds a snapshot, so that a row which is updated with each
-- page leaves as many dead versions to walk through as there are pages.
CREATE FUNCTION etl._count_load(task_run_id bigint, attempt integer, load_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
BEGIN
	UPDATE etl.load x SET requests = n.requests, bytes = n.bytes, fetched = n.fetched, loaded = n.loaded, quarantined = n.quarantined,
		skipped = n.skipped, not_modified = n.not_modified, failed_items = (SELECT count(*) FROM etl.item_error e WHERE e.load_id = l.load_id)
	FROM (SELECT count(*) AS requests, coalesce(sum(s.bytes), 0) AS bytes, coalesce(sum(s.fetched), 0) AS fetched, coalesce(sum(s.loaded), 0) AS loaded,
				 coalesce(sum(s.quarantined), 0) AS quarantined, coalesce(sum(s.skipped), 0) AS skipped, count(*) FILTER (WHERE s.status = 304) AS not_modified
		  FROM etl.slice s WHERE s.load_id = l.load_id) n
	WHERE x.load_id = l.load_id;
	UPDATE etl.load x SET fetched = n.records, loaded = n.records
	FROM (SELECT s.load_id, sum(s.records) AS records FROM etl.load y JOIN etl.routed_slice s USING (load_id)
		  WHERE y.routed_from = l.load_id AND y.state = 'loading' GROUP BY s.load_id) n
	WHERE x.load_id = n.load_id;
	DELETE FROM etl.routed_slice s USING etl.load x WHERE x.load_id = s.load_id AND x.routed_from = l.load_id;
	PERFORM etl._settle_watermarks(l);
END
$$;
COMMENT ON FUNCTION etl._count_load(bigint, integer, bigint) IS 'writes down what a load, and those routed from it, have got: before it is complete';

CREATE FUNCTION etl._quarantine(task_run_id bigint, attempt integer, load_id bigint, slice integer, record_numbers integer[],
	byte_offsets bigint[], records bytea[], reason_codes text[], reasons text[], documents jsonb[], request text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
BEGIN
	PERFORM etl._fence_load(task_run_id, attempt, load_id);
	INSERT INTO etl.quarantined_record (load_id, pipeline, task, slice, record_number, byte_offset, record, reason_code, reason, document, request)
	SELECT load_id, r.pipeline, t.task, slice, u.*, request
	FROM etl.run r, unnest(record_numbers, byte_offsets, records, reason_codes, reasons, documents) u
	WHERE r.run_id = t.run_id;
END
$$;
COMMENT ON FUNCTION etl._quarantine(bigint, integer, bigint, integer, integer[], bigint[], bytea[], text[], text[], jsonb[], text) IS
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
	UPDATE etl.load x SET state = 'complete', completed_at = clock_timestamp() WHERE x.routed_from = l.load_id AND x.state = 'loading';
	UPDATE etl.task_run x SET state = 'success', ended_at = clock_timestamp(), overdue_at = NULL, requests = l.requests, bytes = l.bytes,
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

CREATE FUNCTION etl._json_as_jsonb(record bytea) RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'etl_json_as_jsonb';
COMMENT ON FUNCTION etl._json_as_jsonb(bytea) IS 'what an extraction makes of the bytes of a record; raises the reason it would be quarantined with';
