-- How a task declares that one page leads to the next.  src/extract/page/pagination.c follows it.

CREATE FUNCTION etl._check_pagination(pagination jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	result jsonb := coalesce(pagination, '{"type": "none"}');
	-- what each type takes besides max_pages, and the defaults
	types CONSTANT jsonb := '{
		"none":			{},
		"auto":			{},
		"link_header":	{"has_more": null, "total": null},
		"page_number":	{"parameter": "page", "start": 1, "size_parameter": null, "size": null, "has_more": null, "total": null, "total_header": null,
						 "total_pages": null, "total_pages_header": null, "body_parameter": null, "parallel": null},
		"offset":		{"parameter": "offset", "start": 0, "size_parameter": "limit", "size": 100, "has_more": null, "total": null, "total_header": null,
						 "body_parameter": null, "parallel": null},
		"cursor":		{"parameter": "cursor", "cursor": null, "header": null, "last_record": null, "size_parameter": null, "size": null, "has_more": null, "total": null,
						 "body_parameter": null},
		"next_url":		{"url": "$.next", "size_parameter": null, "size": null, "has_more": null, "total": null}
	}';
	-- entries that are paths to one value of the page, or of the request's body
	paths CONSTANT text[] := '{cursor,url,has_more,total,total_pages,last_record,body_parameter}';
	kind text := result ->> 'type';
	entry record;
	problem text;
BEGIN
	IF kind IS NULL OR NOT types ? kind THEN
		RAISE EXCEPTION 'invalid pagination: %', result
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'The entry "type" is one of none, auto, link_header, page_number, offset, cursor, next_url.';
	END IF;
	PERFORM etl._check_option_names(format('pagination of type %s', kind), result,
		(SELECT '{type,max_pages}'::text[] || coalesce(array_agg(k ORDER BY k), '{}') FROM jsonb_object_keys(types -> kind) k));
	FOR entry IN SELECT e.key AS name, e.value, jsonb_typeof(e.value) AS type, e.value #>> '{}' AS text FROM jsonb_each(result) e LOOP
		problem := CASE
			WHEN entry.name IN ('start', 'size', 'max_pages') AND (entry.type <> 'number' OR entry.text !~ '^[0-9]{1,9}$'
				OR entry.name <> 'start' AND entry.text::bigint = 0) THEN 'It is a whole number, such as 100.'
			WHEN entry.name IN ('parameter', 'size_parameter') AND (entry.type <> 'string' OR entry.text = '') THEN 'It is the name of a query parameter.'
			WHEN entry.name IN ('header', 'total_header', 'total_pages_header') AND (entry.type <> 'string' OR entry.text !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$') THEN 'It is the name of a header.'
			WHEN entry.name = 'parallel' AND entry.type <> 'boolean' THEN 'It is true (the default) or false: pages are asked for one after another.'
			WHEN entry.name = ANY (paths) AND entry.type <> 'string' THEN 'It is a JSON path to a value of the page, such as $.next.'
			END;
		IF problem IS NOT NULL THEN
			RAISE EXCEPTION 'invalid entry "%" in pagination: %', entry.name, entry.value
				USING ERRCODE = 'invalid_parameter_value', HINT = problem;
		END IF;
		IF entry.name = ANY (paths) THEN
			PERFORM etl._check_record_path(entry.text);
			IF entry.text = '$' OR entry.text LIKE '%[*]%' THEN
				RAISE EXCEPTION 'invalid entry "%" in pagination: %', entry.name, entry.value
					USING ERRCODE = 'invalid_parameter_value', HINT = 'It is a path to one value of an object, such as $.next, without [*].';
			END IF;
		END IF;
	END LOOP;
	IF kind = 'cursor' AND num_nonnulls(result ->> 'cursor', result ->> 'header', result ->> 'last_record') <> 1 THEN
		RAISE EXCEPTION 'pagination of type cursor needs one of "cursor", "header" and "last_record"'
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'Say where the cursor is: "cursor": "$.next" in the body, "header": "x-next-cursor", or "last_record": "$.id" in the last record of a page.';
	END IF;
	IF num_nonnulls(result ->> 'total', result ->> 'total_header') > 1 OR num_nonnulls(result ->> 'total_pages', result ->> 'total_pages_header') > 1 THEN
		RAISE EXCEPTION 'pagination names a total twice'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is either in the body or in a header.';
	END IF;
	IF kind <> 'offset' AND result ? 'size_parameter' AND NOT result ? 'size' THEN
		RAISE EXCEPTION 'pagination has a size_parameter but no size'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Say how many records a page has, for example "size": 100.';
	END IF;
	-- a parameter in the body takes the place of the one in the query
	RETURN jsonb_strip_nulls((types -> kind) - CASE WHEN result ? 'body_parameter' AND NOT result ? 'parameter' THEN 'parameter' ELSE '' END) || result;
END
$$;
COMMENT ON FUNCTION etl._check_pagination(jsonb) IS 'checks a pagination and fills its defaults';
