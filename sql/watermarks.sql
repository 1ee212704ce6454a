-- Watermarks: how far a source has been read, for sources that are asked "what is new
-- since".  A load notes how far it got together with its rows; that counts from when it is
-- published, as its rows do.  See docs/decisions/0008-watermarks.md.

CREATE FUNCTION etl._watermark_less_lag(value text, type text, lag text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	at timestamp;
BEGIN
	CASE type
	WHEN 'timestamp' THEN
		at := (value::timestamptz - coalesce(lag::interval, interval '0')) AT TIME ZONE 'UTC';
		RETURN to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS') || CASE WHEN at = date_trunc('second', at) THEN '' ELSE to_char(at, '.US') END || 'Z';
	WHEN 'number' THEN
		RETURN (value::numeric - coalesce(lag::numeric, 0))::text;
	ELSE
		RETURN value;
	END CASE;
END
$$;
COMMENT ON FUNCTION etl._watermark_less_lag(text, text, text) IS 'the value that {watermark} stands for: the watermark minus its lag';

-- A value of a record, spelt so that it can be kept; NULL for one that is not of the type.
CREATE FUNCTION etl._watermark_value(value jsonb, type text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE type
		WHEN 'timestamp' THEN to_char(etl._record_time(value) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
		WHEN 'number' THEN CASE WHEN jsonb_typeof(value) = 'number' OR value #>> '{}' ~ '^-?[0-9]+(\.[0-9]+)?$' THEN value #>> '{}' END
		ELSE CASE WHEN jsonb_typeof(value) IN ('string', 'number') THEN value #>> '{}' END END
$$;
COMMENT ON FUNCTION etl._watermark_value(jsonb, text) IS 'a record''s cursor as a watermark is kept; NULL when it has none';

CREATE FUNCTION etl._watermark_compare(a text, b text, type text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE type
		WHEN 'timestamp' THEN sign(extract(epoch FROM a::timestamptz) - extract(epoch FROM b::timestamptz))::integer
		WHEN 'number' THEN sign(a::numeric - b::numeric)::integer
		ELSE CASE WHEN a COLLATE "C" < b COLLATE "C" THEN -1 WHEN a = b THEN 0 ELSE 1 END END
$$;
COMMENT ON FUNCTION etl._watermark_compare(text, text, text) IS '-1, 0 or 1 as one watermark is below, at or above another';

-- Which watermark an item of for_each has: the columns it is kept for.
CREATE FUNCTION etl._watermark_item(watermark jsonb, item jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(CASE WHEN watermark ? 'item' THEN (SELECT jsonb_object_agg(c, item -> c) FROM jsonb_array_elements_text(watermark -> 'item') c)
						 ELSE item END, 'null')
$$;
COMMENT ON FUNCTION etl._watermark_item(jsonb, jsonb) IS 'the item that a watermark is kept for: the row of for_each, or those columns of it that the task names';

-- Where a load begins, decided once for each item and kept with the load: at the
-- watermark, or, when it replaces a published load of its interval, where that one began.
CREATE FUNCTION etl._begin_watermark(l etl.load, watermark jsonb, on_rerun text, item jsonb) RETURNS etl.load_watermark
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	w etl.load_watermark;
	now_at etl.watermark;
	replaced etl.load_watermark;
BEGIN
	SELECT * INTO w FROM etl.load_watermark x WHERE x.load_id = l.load_id AND x.item = _begin_watermark.item;
	IF FOUND THEN
		RETURN w;
	END IF;
	SELECT * INTO now_at FROM etl.watermark x WHERE x.pipeline = l.pipeline AND x.task = l.task AND x.item = _begin_watermark.item;
	IF on_rerun = 'replace' THEN
		SELECT x.* INTO replaced FROM etl.load p JOIN etl.load_watermark x USING (load_id)
		WHERE p.pipeline = l.pipeline AND p.task = l.task AND p.owner = l.owner AND p.state = 'published' AND x.item = _begin_watermark.item
		  AND p.data_interval_start >= l.data_interval_start AND p.data_interval_end <= l.data_interval_end
		ORDER BY p.load_id LIMIT 1;
	END IF;
	w.load_id := l.load_id;
	w.item := item;
	IF replaced.load_id IS NOT NULL THEN
		w.start_value := replaced.start_value;
		w.start_seen := replaced.start_seen;
		-- what later loads have, they keep
		w.ceiling := (SELECT max(p.value) FROM (
				SELECT x.value FROM etl.load p JOIN etl.load_watermark x USING (load_id)
				WHERE p.pipeline = l.pipeline AND p.task = l.task AND p.owner = l.owner AND p.state = 'published' AND x.item = _begin_watermark.item
				  AND p.data_interval_start >= l.data_interval_start AND p.data_interval_end <= l.data_interval_end
				ORDER BY p.load_id DESC LIMIT 1) p
			WHERE etl._watermark_compare(p.value, now_at.value, watermark ->> 'type') < 0);
	ELSE
		w.start_value := coalesce(now_at.value, watermark ->> 'start');
		w.start_seen := coalesce(now_at.seen, '{}');
	END IF;
	w.value := NULL;
	w.seen := w.start_seen;
	INSERT INTO etl.load_watermark SELECT w.*;
	RETURN w;
END
$$;
COMMENT ON FUNCTION etl._begin_watermark(etl.load, jsonb, text, jsonb) IS 'where a load begins for one item';

CREATE FUNCTION etl._highest_watermark(candidates text[], type text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT v FROM unnest(candidates) v
	ORDER BY CASE WHEN type = 'timestamp' THEN v::timestamptz END DESC, CASE WHEN type = 'number' THEN v::numeric END DESC, v COLLATE "C" DESC LIMIT 1
$$;
COMMENT ON FUNCTION etl._highest_watermark(text[], text) IS 'the highest of some values of a type';

-- Records at the watermark, or within its lag, that were loaded before are told by a digest;
-- so many are remembered.
CREATE FUNCTION etl._remembered_digests() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$ SELECT 10000 $$;
COMMENT ON FUNCTION etl._remembered_digests() IS 'how many records at a watermark are remembered, to tell those that are sent again';

-- How far a load has got for one item, from what its pages have noted.
CREATE FUNCTION etl._settle_watermark(w etl.load_watermark, watermark jsonb, OUT value text, OUT seen text[], OUT forgotten bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	type CONSTANT text := watermark ->> 'type';
	-- what came late is below: remembered, it moves nothing back
	reached CONSTANT text := etl._watermark_value(to_jsonb(w.start_value), type);
	floor text;
BEGIN
	value := etl._highest_watermark((SELECT array_agg(s.value) FROM etl.slice_watermark s WHERE s.load_id = w.load_id AND s.item = w.item) || reached, type);
	floor := etl._watermark_less_lag(value, type, watermark ->> 'lag');
	SELECT array_agg(d.digest) FILTER (WHERE d.n <= etl._remembered_digests()), count(*) - etl._remembered_digests() INTO seen, forgotten
	FROM (SELECT x.digest, row_number() OVER (ORDER BY min(x.part)) AS n
		  FROM (SELECT 1 AS part, u.digest FROM etl.slice_watermark s CROSS JOIN LATERAL unnest(s.digests, s.digest_values) u(digest, value)
				WHERE s.load_id = w.load_id AND s.item = w.item AND etl._watermark_compare(u.value, floor, type) >= 0
				UNION ALL
				SELECT 2, u FROM unnest(w.start_seen) u WHERE value = reached OR watermark ->> 'lag' IS NOT NULL) x
		  GROUP BY x.digest) d;
	seen := coalesce(seen, '{}');
END
$$;
COMMENT ON FUNCTION etl._settle_watermark(etl.load_watermark, jsonb) IS 'the watermark that a load has reached for one item, and what is remembered at it';

CREATE FUNCTION etl._settle_watermarks(l etl.load) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	watermark jsonb := (SELECT t.definition -> 'watermark' FROM etl.task t WHERE t.pipeline = l.pipeline AND t.task = l.task);
	w etl.load_watermark;
	settled record;
BEGIN
	IF watermark IS NULL THEN
		RETURN;
	END IF;
	FOR w IN SELECT x.* FROM etl.load_watermark x WHERE x.load_id = l.load_id AND x.item IN (SELECT s.item FROM etl.slice_watermark s WHERE s.load_id = l.load_id) LOOP
		settled := etl._settle_watermark(w, watermark);
		UPDATE etl.load_watermark x SET value = settled.value, seen = settled.seen WHERE x.load_id = w.load_id AND x.item = w.item;
		IF settled.forgotten > 0 THEN
			PERFORM etl._log('WARN', l.pipeline, l.run_id, l.task, format('%s records at the watermark or within its lag are too many to be remembered: sent again, they are loaded again', settled.forgotten),
				jsonb_strip_nulls(jsonb_build_object('load_id', l.load_id, 'item', nullif(w.item, 'null'), 'watermark', settled.value)));
		END IF;
	END LOOP;
	DELETE FROM etl.slice_watermark s WHERE s.load_id = l.load_id;
END
$$;
COMMENT ON FUNCTION etl._settle_watermarks(etl.load) IS 'sums up how far a complete load has got';

-- At publication what a load has read counts.
CREATE FUNCTION etl._publish_watermarks(l etl.load) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO etl.watermark AS w (pipeline, task, item, value, seen, load_id)
	SELECT l.pipeline, l.task, x.item, x.value, x.seen, l.load_id
	FROM etl.load_watermark x WHERE x.load_id = l.load_id AND x.value IS NOT NULL
	ON CONFLICT ON CONSTRAINT watermark_pkey DO UPDATE
	SET value = excluded.value, seen = excluded.seen, load_id = excluded.load_id, updated_at = clock_timestamp()
	WHERE etl._watermark_compare(excluded.value, w.value,
		(SELECT t.definition #>> '{watermark,type}' FROM etl.task t WHERE t.pipeline = w.pipeline AND t.task = w.task)) >= 0
$$;
COMMENT ON FUNCTION etl._publish_watermarks(etl.load) IS 'moves the watermarks of a task on to where a load that is published has got; never back';

CREATE FUNCTION etl._set_watermark_as_owner(pipeline text, target text, value text, item jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._lock_own_pipeline(pipeline);
	declared etl.task;
	normal text;
BEGIN
	SELECT * INTO declared FROM etl.task t WHERE t.pipeline = p.pipeline AND t.task = etl._task_name(p.pipeline, target);
	IF declared.definition -> 'watermark' IS NULL THEN
		RAISE EXCEPTION 'task "%" of pipeline "%" has no watermark', target, p.pipeline
			USING ERRCODE = 'undefined_object',
				  HINT = coalesce('Tasks with one are: ' || (SELECT string_agg(t.task, ', ' ORDER BY t.task) FROM etl.task t
																WHERE t.pipeline = p.pipeline AND t.definition ? 'watermark') || '.',
							'Declare it with etl.add_extract(…, watermark => …).');
	END IF;
	item := etl._watermark_item(declared.definition -> 'watermark', item);
	IF value IS NULL THEN
		DELETE FROM etl.watermark w WHERE w.pipeline = p.pipeline AND w.task = declared.task AND w.item = _set_watermark_as_owner.item;
		RETURN;
	END IF;
	normal := etl._watermark_value(to_jsonb(value), declared.definition #>> '{watermark,type}');
	IF normal IS NULL THEN
		RAISE EXCEPTION 'invalid watermark "%"', value
			USING ERRCODE = 'invalid_parameter_value', HINT = format('It must be of type %s.', declared.definition #>> '{watermark,type}');
	END IF;
	INSERT INTO etl.watermark AS w (pipeline, task, item, value) VALUES (p.pipeline, declared.task, item, normal)
	ON CONFLICT ON CONSTRAINT watermark_pkey DO UPDATE SET value = excluded.value, seen = '{}', load_id = NULL, updated_at = clock_timestamp();
END
$$;
CREATE FUNCTION etl.set_watermark(pipeline text, target text, value text, item jsonb DEFAULT NULL) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._set_watermark_as_owner(text, text, text, jsonb) IS 'does what etl.set_watermark does, with the rights of the extension';
COMMENT ON FUNCTION etl.set_watermark(text, text, text, jsonb) IS
	'sets where the next load of a task begins; NULL: at the start value. item: the row of for_each whose watermark it is';
