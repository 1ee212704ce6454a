-- The items of an extraction: the rows of for_each, kept as they were when its load began,
-- the requests they make, and those that fail alone.

CREATE FUNCTION etl._set_load_items(task_run_id bigint, attempt integer, load_id bigint, items jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._fence_load(task_run_id, attempt, load_id);
	INSERT INTO etl.load_item (load_id, item, item_values)
	SELECT _set_load_items.load_id, n - 1, x FROM jsonb_array_elements(items) WITH ORDINALITY e(x, n);
	UPDATE etl.load l SET item_count = coalesce(jsonb_array_length(items), 0) WHERE l.load_id = _set_load_items.load_id;
END
$$;
COMMENT ON FUNCTION etl._set_load_items(bigint, integer, bigint, jsonb) IS 'keeps the rows of for_each as they were when the load began, so that it resumes with the same ones';

CREATE FUNCTION etl._run_of_load(task_run_id bigint, attempt integer, load_id bigint,
	OUT run_id bigint, OUT data_interval_start timestamptz, OUT data_interval_end timestamptz, OUT run_date date, OUT parents bigint[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
BEGIN
	SELECT r.run_id, r.data_interval_start, r.data_interval_end, r.run_date,
		   ARRAY(SELECT x.load_id FROM etl.load x JOIN etl.task_run t ON t.task_run_id = _run_of_load.task_run_id
				 WHERE x.run_id = r.run_id AND x.state = 'complete' AND x.task = ANY (t.depends_on) ORDER BY x.load_id)
	INTO STRICT run_id, data_interval_start, data_interval_end, run_date, parents
	FROM etl.run r WHERE r.run_id = l.run_id;
END
$$;
COMMENT ON FUNCTION etl._run_of_load(bigint, integer, bigint) IS 'the run that a load is made by, and the complete loads of the tasks it waited for';

-- The rows of for_each.  It may read what this run has extracted and nobody can see yet:
-- that is published, read, and taken back, so that the view sees what it will once the run
-- is published, and nobody else sees anything.
CREATE FUNCTION etl._read_items(task_run_id bigint, attempt integer, load_id bigint, for_each text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n record;
	r record;
	parent bigint;
	items jsonb;
BEGIN
	SELECT * INTO r FROM etl._run_of_load(task_run_id, attempt, load_id);
	n := etl._parse_name(for_each);
	BEGIN
		PERFORM etl._set_context(r.run_id, r.data_interval_start, r.data_interval_end, r.run_date);
		FOREACH parent IN ARRAY r.parents LOOP
			PERFORM etl._publish_load(task_run_id, attempt, parent);
		END LOOP;
		EXECUTE format('SELECT jsonb_agg(to_jsonb(x) ORDER BY to_jsonb(x)) FROM %I.%I x', n.schema_name, n.relation_name) INTO items;
		RAISE EXCEPTION 'taken back' USING ERRCODE = 'ETL01';
	EXCEPTION WHEN SQLSTATE 'ETL01' THEN
		RETURN items;
	END;
END
$$;
COMMENT ON FUNCTION etl._read_items(bigint, integer, bigint, text) IS 'the rows of for_each as they will be once the run is published';

CREATE FUNCTION etl._item_values(load_id bigint, item integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT i.item_values FROM etl.load_item i WHERE i.load_id = _item_values.load_id AND i.item = _item_values.item $$;
COMMENT ON FUNCTION etl._item_values(bigint, integer) IS 'the row of for_each that an item of a load is; NULL without for_each';

-- The items from a number on, in their order, without those that are plainly finished.
CREATE FUNCTION etl._unfinished_items(l etl.load, first_item integer, begun boolean, how_many integer) RETURNS TABLE (item integer, item_values jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF l.item_count IS NULL THEN
		RETURN QUERY SELECT 0, NULL::jsonb WHERE first_item = 0;
	ELSIF NOT begun THEN
		RETURN QUERY SELECT i.item, i.item_values FROM etl.load_item i
		WHERE i.load_id = l.load_id AND i.item >= first_item ORDER BY i.item LIMIT how_many;
	ELSE
		RETURN QUERY SELECT i.item, i.item_values FROM etl.load_item i
		WHERE i.load_id = l.load_id AND i.item >= first_item
		  -- LIMIT keeps each a look into an index: a join would read all slices for a few items
		  AND (SELECT true FROM etl.item_error e WHERE e.load_id = i.load_id AND e.item = i.item LIMIT 1) IS NULL
		  AND (SELECT true FROM etl.slice s WHERE s.load_id = i.load_id AND s.item = i.item AND s.page_count = 0 AND s.next_cursor IS NULL LIMIT 1) IS NULL
		ORDER BY i.item LIMIT how_many;
	END IF;
END
$$;
COMMENT ON FUNCTION etl._unfinished_items(etl.load, integer, boolean, integer) IS 'the next items of a load that may not be finished yet, from a number on';

-- The next items that are not finished, each with its request, whose placeholders are
-- filled, and where it goes on; the worker adds the server's base_url.
CREATE FUNCTION etl._next_items(task_run_id bigint, attempt integer, load_id bigint, first_item integer, how_many integer)
RETURNS TABLE (item_number integer, path text, query_names text[], query_values text[], header_names text[], header_values text[], item jsonb,
	method text, body text, next_page integer, cursor jsonb, item_records bigint, page_count integer, page_size integer, last_digest bigint,
	missing_pages integer[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
	r etl.run;
	definition jsonb;
	common jsonb;
	filled jsonb;
	begun boolean := EXISTS (SELECT FROM etl.slice s WHERE s.load_id = l.load_id AND s.item >= first_item)
		OR EXISTS (SELECT FROM etl.item_error e WHERE e.load_id = l.load_id AND e.item >= first_item);
	last_page etl.slice;
	committed bigint;
	stopped_at integer;
	found_some boolean;
BEGIN
	SELECT * INTO STRICT r FROM etl.run x WHERE x.run_id = l.run_id;
	SELECT x.definition INTO STRICT definition FROM etl.task x WHERE x.pipeline = r.pipeline AND x.task = l.task;
	-- a fetch that serves several runs asks for all of their intervals
	SELECT jsonb_build_object(
		'ds', r.run_date,
		'data_interval_start', to_char(least(r.data_interval_start, min((x ->> 'start')::timestamptz)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
		'data_interval_end', to_char(greatest(r.data_interval_end, max((x ->> 'end')::timestamptz)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
		'run_id', r.run_id) INTO common
	FROM jsonb_array_elements(coalesce(l.routes, '[]')) x;
	LOOP
		found_some := false;
		FOR item_number, item IN SELECT * FROM etl._unfinished_items(l, first_item, begun, how_many) LOOP
			first_item := item_number + 1;
			found_some := true;
			next_page := 0;
			cursor := NULL;
			item_records := 0;
			page_count := 0;
			page_size := 0;
			last_digest := NULL;
			missing_pages := NULL;
			IF begun THEN
				SELECT * INTO last_page FROM etl.slice s WHERE s.load_id = l.load_id AND s.item = item_number ORDER BY s.page DESC LIMIT 1;
				IF FOUND THEN
					page_count := last_page.page_count;
					page_size := last_page.page_size;
					next_page := greatest(last_page.page + 1, page_count);
					last_digest := CASE WHEN last_page.page >= page_count THEN last_page.body_digest END;
					-- a page that is not the last one and leads nowhere: a rule stopped there
					SELECT count(*), sum(s.fetched + s.skipped), min(s.page) FILTER (WHERE s.next_cursor IS NULL AND s.page < last_page.page_count - 1)
					INTO committed, item_records, stopped_at FROM etl.slice s WHERE s.load_id = l.load_id AND s.item = item_number;
					cursor := CASE WHEN last_page.page >= page_count - 1 AND stopped_at IS NULL THEN last_page.next_cursor END;
					IF committed < page_count THEN
						SELECT array_agg(p.page ORDER BY p.page DESC) INTO missing_pages
						FROM (SELECT generate_series(0, coalesce(stopped_at, page_count) - 1) EXCEPT SELECT s.page FROM etl.slice s WHERE s.load_id = l.load_id AND s.item = item_number) p(page);
					END IF;
					CONTINUE WHEN cursor IS NULL AND missing_pages IS NULL;
				END IF;
			END IF;
			filled := coalesce(item, '{}') || common;
			IF definition ? 'watermark' THEN
				filled := filled || jsonb_build_object('watermark', etl._watermark_less_lag(
					(etl._begin_watermark(l, definition -> 'watermark', definition ->> 'on_rerun', etl._watermark_item(definition -> 'watermark', item))).start_value,
					definition #>> '{watermark,type}', definition #>> '{watermark,lag}'));
			END IF;
			path := etl._expand(definition ->> 'path', filled, r.timezone, true);
			SELECT array_agg(e.key ORDER BY e.key), array_agg(coalesce(etl._expand(e.value, filled, r.timezone, false), '') ORDER BY e.key)
			INTO query_names, query_values FROM jsonb_each_text(definition -> 'query') e;
			SELECT array_agg(e.key ORDER BY e.key), array_agg(coalesce(etl._expand(e.value, filled, r.timezone, false), '') ORDER BY e.key)
			INTO header_names, header_values FROM jsonb_each_text(definition -> 'headers') e;
			method := coalesce(definition ->> 'method', 'GET');
			body := etl._expand_body(definition -> 'body', filled, r.timezone)::text;
			RETURN NEXT;
			how_many := how_many - 1;
			EXIT WHEN how_many = 0;
		END LOOP;
		EXIT WHEN how_many = 0 OR NOT found_some;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._next_items(bigint, integer, bigint, integer, integer) IS 'the requests of the next unfinished for_each items of a load, and where each goes on';

CREATE FUNCTION etl._skip_item(task_run_id bigint, attempt integer, load_id bigint, item integer, code text, message text, detail text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
BEGIN
	INSERT INTO etl.item_error (load_id, item, error_code, error_message, error_detail)
	VALUES (l.load_id, _skip_item.item, code, message, detail);
	PERFORM etl._log('WARN', l.pipeline, l.run_id, l.task, format('item %s failed and is left out: %s', _skip_item.item, message),
		jsonb_strip_nulls(jsonb_build_object('load_id', l.load_id, 'item', etl._item_values(l.load_id, _skip_item.item), 'sqlstate', code, 'detail', detail)));
END
$$;
COMMENT ON FUNCTION etl._skip_item(bigint, integer, bigint, integer, text, text, text) IS 'notes that an item of for_each failed alone; what it has loaded stays';

CREATE FUNCTION etl._forget_failed_items(task_run_id bigint, attempt integer, load_id bigint,
	OUT error_code text, OUT error_message text, OUT error_detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
BEGIN
	IF l.item_count = 0 OR (SELECT count(*) FROM etl.item_error e WHERE e.load_id = l.load_id) < l.item_count THEN
		RETURN;
	END IF;
	SELECT e.error_code, e.error_message, e.error_detail INTO error_code, error_message, error_detail
	FROM etl.item_error e WHERE e.load_id = l.load_id ORDER BY e.failed_at DESC, e.item DESC LIMIT 1;
	DELETE FROM etl.item_error e WHERE e.load_id = l.load_id;
END
$$;
COMMENT ON FUNCTION etl._forget_failed_items(bigint, integer, bigint) IS
	'when every item of a load has failed: forgets it, so that they are asked again, and tells the last error; NULLs otherwise';
