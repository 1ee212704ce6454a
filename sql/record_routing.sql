-- Which load each record of a page belongs to, when that is not simply the one it was
-- fetched for: by its time, or by the watermark.  Asked for a page at a time, within the
-- transaction that writes its rows.

CREATE FUNCTION etl._record_time(value jsonb) RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'etl_record_time';
COMMENT ON FUNCTION etl._record_time(jsonb) IS 'a string as timestamptz reads it, a number as seconds or milliseconds since 1970; NULL for anything else';

CREATE TYPE etl._route AS (record_number integer, action text, load_id bigint, reason text);
COMMENT ON TYPE etl._route IS 'what becomes of a record that does not simply belong to its load: skip, quarantine or another load';

-- What a record is left out for is known from where the load began; how far the load got is
-- noted a page at a time and summed up when it is complete (etl._settle_watermarks).
CREATE FUNCTION etl._route_by_watermark(l etl.load, watermark jsonb, on_rerun text, item jsonb, payloads jsonb[]) RETURNS SETOF etl._route
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	w etl.load_watermark := etl._begin_watermark(l, watermark, on_rerun, etl._watermark_item(watermark, item));
	type CONSTANT text := watermark ->> 'type';
	on_missing CONSTANT text := watermark ->> 'on_missing';
	floor CONSTANT text := etl._watermark_less_lag(w.start_value, type, watermark ->> 'lag');
	wanting integer;
	routes etl._route[];
	loaded text[];
	loaded_digests text[];
	highest text;
	floor_of_highest text;
BEGIN
	WITH r AS MATERIALIZED (
		SELECT (p.n - 1)::integer AS n, etl._watermark_value(p.payload #> etl.json_path_keys(watermark ->> 'cursor'), type) AS value, md5(p.payload::text) AS digest
		FROM unnest(payloads) WITH ORDINALITY p(payload, n)
	), judged AS MATERIALIZED (
		SELECT r.n, r.value, r.digest, CASE
			WHEN r.value IS NULL THEN CASE on_missing WHEN 'skip' THEN 'no cursor' END
			WHEN etl._watermark_compare(r.value, floor, type) < 0 THEN 'below the watermark'
			WHEN etl._watermark_compare(r.value, w.ceiling, type) > 0 THEN 'in a later load'
			WHEN etl._watermark_compare(r.value, w.start_value, type) <= 0 AND r.digest IN (SELECT unnest(w.start_seen)) THEN 'loaded before'
			END AS reason
		FROM r)
	SELECT min(j.n) FILTER (WHERE j.value IS NULL AND on_missing = 'fail'),
		   array_agg((j.n, 'skip', NULL, j.reason)::etl._route ORDER BY j.n) FILTER (WHERE j.reason IS NOT NULL),
		   array_agg(j.value ORDER BY j.n) FILTER (WHERE j.reason IS NULL AND j.value IS NOT NULL),
		   array_agg(j.digest ORDER BY j.n) FILTER (WHERE j.reason IS NULL AND j.value IS NOT NULL)
	INTO wanting, routes, loaded, loaded_digests FROM judged j;
	IF wanting IS NOT NULL THEN
		RAISE EXCEPTION 'record % has no value of type % at %', wanting + 1, type, watermark ->> 'cursor'
			USING ERRCODE = 'not_null_violation', DETAIL = format('The record begins: %s', left(payloads[wanting + 1]::text, 200)),
				  HINT = 'The watermark of the task reads it there; "on_missing" says what becomes of such records: fail, load or skip.';
	END IF;
	IF loaded IS NOT NULL THEN
		highest := etl._highest_watermark(loaded, type);
		floor_of_highest := etl._watermark_less_lag(highest, type, watermark ->> 'lag');
		-- what is below will not be sent again
		INSERT INTO etl.slice_watermark (load_id, item, value, digests, digest_values)
		SELECT l.load_id, w.item, highest, array_agg(x.digest), array_agg(x.value)
		FROM unnest(loaded, loaded_digests) x(value, digest) WHERE etl._watermark_compare(x.value, floor_of_highest, type) >= 0;
	END IF;
	RETURN QUERY SELECT * FROM unnest(routes);
END
$$;
COMMENT ON FUNCTION etl._route_by_watermark(etl.load, jsonb, text, jsonb, jsonb[]) IS
	'leaves out records that were loaded before, and notes how far the others take the load';

-- The load that a fetch puts a record of a time into: its own, or one for which it fetches along.
CREATE FUNCTION etl._load_of_time(l etl.load, at timestamptz) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT l.load_id WHERE at >= l.data_interval_start AND at < l.data_interval_end
	UNION ALL
	SELECT (x ->> 'load_id')::bigint FROM jsonb_array_elements(l.routes) x
	WHERE at >= (x ->> 'start')::timestamptz AND at < (x ->> 'end')::timestamptz
	LIMIT 1
$$;
COMMENT ON FUNCTION etl._load_of_time(etl.load, timestamptz) IS 'the load that a record of a time belongs to, of those that a fetch fills; NULL: none';

CREATE FUNCTION etl._route_by_time(l etl.load, record_time text, payloads jsonb[]) RETURNS SETOF etl._route
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT ((p.n - 1)::integer,
			CASE WHEN t.at IS NULL THEN 'quarantine' WHEN o.load_id IS NULL THEN 'skip' ELSE 'load' END,
			o.load_id,
			CASE WHEN t.at IS NULL THEN format('the record has no time at %s', record_time)
				 WHEN o.load_id IS NULL THEN 'of another interval' END)::etl._route
	FROM unnest(payloads) WITH ORDINALITY p(payload, n)
	CROSS JOIN LATERAL (SELECT etl._record_time(p.payload #> etl.json_path_keys(record_time)) AS at) t
	LEFT JOIN LATERAL etl._load_of_time(l, t.at) o(load_id) ON true
	WHERE o.load_id IS DISTINCT FROM l.load_id
$$;
COMMENT ON FUNCTION etl._route_by_time(etl.load, text, jsonb[]) IS 'the load of each record by its time, where it is not the one it was fetched for';

CREATE FUNCTION etl._route_records(task_run_id bigint, attempt integer, load_id bigint, item_number integer, payloads jsonb[])
RETURNS SETOF etl._route
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
	d jsonb;
BEGIN
	SELECT t.definition INTO STRICT d FROM etl.task t WHERE t.pipeline = l.pipeline AND t.task = l.task;
	IF d ? 'watermark' THEN
		RETURN QUERY SELECT * FROM etl._route_by_watermark(l, d -> 'watermark', d ->> 'on_rerun', etl._item_values(l.load_id, item_number), payloads);
	END IF;
	IF d ? 'record_time' THEN
		RETURN QUERY SELECT * FROM etl._route_by_time(l, d ->> 'record_time', payloads);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._route_records(bigint, integer, bigint, integer, jsonb[]) IS 'the records of a page that are not simply rows of the load they were fetched for';

-- reads "current": one fetch serves every run of the pipeline that waits for its turn.
-- Which ones is decided when the load begins.
CREATE FUNCTION etl._plan_routes(l etl.load) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.run;
	routed bigint;
	planned jsonb := '[]';
BEGIN
	FOR r IN SELECT * FROM etl.run x WHERE x.pipeline = l.pipeline AND x.owner = l.owner AND x.state = 'queued'
		AND NOT EXISTS (SELECT FROM etl.cancel_request q WHERE q.run_id = x.run_id)
		ORDER BY x.data_interval_start
	LOOP
		-- an earlier fetch that nobody published is as good as none
		UPDATE etl.load x SET state = 'abandoned'
		WHERE x.pipeline = l.pipeline AND x.task = l.task AND x.state IN ('loading', 'complete')
		  AND x.data_interval_start = r.data_interval_start AND x.data_interval_end = r.data_interval_end;
		INSERT INTO etl.load AS x (pipeline, owner, task, target_schema, target_name, data_interval_start, data_interval_end, run_id,
			fingerprint, definition_digest, routed_from)
		VALUES (l.pipeline, l.owner, l.task, l.target_schema, l.target_name, r.data_interval_start, r.data_interval_end, r.run_id,
			l.fingerprint, l.definition_digest, l.load_id)
		RETURNING x.load_id INTO routed;
		planned := planned || jsonb_build_object('load_id', routed, 'start', r.data_interval_start, 'end', r.data_interval_end);
	END LOOP;
	UPDATE etl.load x SET routes = planned WHERE x.load_id = l.load_id;
END
$$;
COMMENT ON FUNCTION etl._plan_routes(etl.load) IS 'opens loads for the intervals whose records a fetch of the present will take along';

CREATE FUNCTION etl._count_routed(task_run_id bigint, attempt integer, load_id bigint, routed_load bigint, slice integer, records bigint,
	OUT data_interval_start timestamptz, OUT data_interval_end timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
BEGIN
	SELECT x.data_interval_start, x.data_interval_end INTO data_interval_start, data_interval_end FROM etl.load x
	WHERE x.load_id = routed_load AND x.routed_from = l.load_id AND x.state = 'loading';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'load % is not routed from load %', routed_load, load_id
			USING ERRCODE = 'lock_not_available', HINT = 'Its interval was run by itself meanwhile; the next attempt leaves it alone.';
	END IF;
	INSERT INTO etl.routed_slice (load_id, slice, records) VALUES (routed_load, slice, records);
END
$$;
COMMENT ON FUNCTION etl._count_routed(bigint, integer, bigint, bigint, integer, bigint) IS 'counts records that a fetch brought for another interval''s load, and tells that interval';
