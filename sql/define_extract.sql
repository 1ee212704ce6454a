-- Declaring extractions.  Everything is checked here, so that a run fails for what the
-- source does, not for what was written down.

CREATE FUNCTION etl._check_source(server text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wrapper name;
BEGIN
	IF server IS NULL THEN
		RAISE EXCEPTION 'server must not be null'
			USING ERRCODE = 'undefined_object', HINT = 'Name a server of the foreign-data wrapper etl_http.';
	END IF;
	SELECT w.fdwname INTO wrapper FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw WHERE s.srvname = server;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'server "%" does not exist', server
			USING ERRCODE = 'undefined_object',
				  HINT = format('CREATE SERVER %I FOREIGN DATA WRAPPER etl_http OPTIONS (base_url ''https://…'');', server);
	ELSIF wrapper <> 'etl_http' THEN
		RAISE EXCEPTION 'server "%" is not a source', server
			USING ERRCODE = 'wrong_object_type', DETAIL = format('Its foreign-data wrapper is "%s".', wrapper),
				  HINT = 'Sources are servers of the foreign-data wrapper etl_http.';
	ELSIF NOT has_server_privilege(server, 'USAGE') THEN
		RAISE EXCEPTION 'permission denied for server "%"', server
			USING ERRCODE = 'insufficient_privilege',
				  HINT = format('Its owner can GRANT USAGE ON FOREIGN SERVER %I TO %I.', server, current_user);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_source(text) IS 'raises unless the server is a source the current role may use';

CREATE FUNCTION etl._check_text_map(what text, map jsonb, known_placeholders text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	entry record;
BEGIN
	IF jsonb_typeof(map) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION '% must be a JSON object', what
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('It is: %s', coalesce(map::text, 'null')),
				  HINT = 'For example {"state": "all", "limit": 200}.';
	END IF;
	FOR entry IN SELECT key, value, jsonb_typeof(value) AS type FROM jsonb_each(map) LOOP
		IF entry.type NOT IN ('string', 'number', 'boolean') THEN
			RAISE EXCEPTION 'entry "%" of % must be a string, a number or a boolean', entry.key, what
				USING ERRCODE = 'invalid_parameter_value', DETAIL = format('It is: %s', entry.value);
		ELSIF entry.key = '' OR entry.key ~ '[[:cntrl:]]' OR map ->> entry.key ~ '[\r\n]' THEN
			RAISE EXCEPTION 'entry "%" of % has control characters or no name', entry.key, what
				USING ERRCODE = 'invalid_parameter_value';
		END IF;
		PERFORM etl._check_placeholders(format('entry "%s" of %s', entry.key, what), map ->> entry.key, known_placeholders);
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._check_text_map(text, jsonb, text[]) IS 'checks query parameters or headers and their placeholders';

CREATE FUNCTION etl._check_path(path text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF path !~ '^([/?]|$)' THEN
		RAISE EXCEPTION 'invalid path "%"', path
			USING ERRCODE = 'invalid_parameter_value', HINT = 'A path begins with / and is added to the base_url of the server.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_path(text) IS 'raises for a path that cannot be added to a base_url';

CREATE FUNCTION etl._check_task_headers(headers jsonb, known_placeholders text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad text;
BEGIN
	PERFORM etl._check_text_map('headers', headers, known_placeholders);
	SELECT k INTO bad FROM jsonb_object_keys(headers) k
	WHERE lower(k) IN ('authorization', 'host', 'content-length', 'transfer-encoding', 'connection', 'cookie', 'proxy-authorization') LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'header "%" cannot be set by a task', bad
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'Credentials belong to the user mapping of the server, where they are kept secret.';
	END IF;
	SELECT k INTO bad FROM jsonb_object_keys(headers) k WHERE k !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$' LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'invalid header name "%"', bad
			USING ERRCODE = 'invalid_parameter_value', HINT = 'A header name has letters, digits and hyphens, for example Accept.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_task_headers(jsonb, text[]) IS 'checks the headers of a task, and that they are not those of the connection or of credentials';

CREATE FUNCTION etl._check_method(method text, body jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF method IS NULL OR method NOT IN ('GET', 'POST') THEN
		RAISE EXCEPTION 'invalid method "%"', method
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Methods are: GET, POST.';
	ELSIF body IS NOT NULL AND method <> 'POST' THEN
		RAISE EXCEPTION 'a body needs method POST'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Declare the task with method => ''POST''.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_method(text, jsonb) IS 'raises for a method a task cannot have, or one without room for a body';

CREATE FUNCTION etl._for_each_columns(for_each text) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	relation regclass;
	n record;
BEGIN
	IF for_each IS NULL THEN
		RETURN '{}';
	END IF;
	n := etl._parse_name(for_each);
	relation := etl._relation(n.schema_name, n.relation_name);
	IF relation IS NULL THEN
		RAISE EXCEPTION 'relation "%" does not exist', for_each
			USING ERRCODE = 'undefined_table',
				  HINT = 'for_each names a view or table; each of its rows is asked for, its columns fill {name} in path, query and headers.';
	END IF;
	RETURN (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped);
END
$$;
COMMENT ON FUNCTION etl._for_each_columns(text) IS 'the columns of a for_each relation, which are placeholders';

-- What an extraction takes for its interval, and how long it keeps it.
CREATE FUNCTION etl._check_interval_settings(reads text, record_time text, recheck interval, retain interval, on_rerun text, rules jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF reads IS NULL OR reads NOT IN ('interval', 'current') THEN
		RAISE EXCEPTION 'invalid reads "%"', reads
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'interval: the source gives what belongs to an interval; current: it knows the present only, records are routed to their intervals by record_time.';
	ELSIF reads = 'current' AND record_time IS NULL THEN
		RAISE EXCEPTION 'reads "current" needs record_time'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the path to the time that says which interval a record belongs to, such as $.updated_at.';
	END IF;
	PERFORM etl.json_path_keys(record_time) WHERE record_time IS NOT NULL;
	IF recheck <= interval '0' OR recheck > interval '1 year' THEN
		RAISE EXCEPTION 'invalid recheck "%"', recheck
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is how long an absent file is asked for again, up to a year, such as ''7 days''.';
	ELSIF recheck IS NOT NULL AND NOT coalesce(jsonb_path_exists(rules, '$[*] ? (@.action == "absent")'), false) THEN
		RAISE EXCEPTION 'recheck needs a rule that says what is absent'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'For example on_status => ''{"404": "absent"}''.';
	ELSIF retain < interval '1 hour' THEN
		RAISE EXCEPTION 'invalid retain "%"', retain
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is how long raw records are kept after the end of their interval, at least an hour, such as ''400 days''.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_interval_settings(text, text, interval, interval, text, jsonb) IS 'raises for settings about intervals that a task cannot have';

CREATE FUNCTION etl._check_watermark(watermark jsonb, reads text, record_time text, for_each text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	result jsonb := '{"type": "timestamp", "lag": null, "on_missing": "fail", "item": null}' || watermark;
	problem text;
BEGIN
	IF watermark IS NULL THEN
		RETURN NULL;
	ELSIF jsonb_typeof(watermark) <> 'object' THEN
		RAISE EXCEPTION 'watermark must be a JSON object'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {"cursor": "$.updated_at", "start": "2024-01-01T00:00:00Z"}.';
	ELSIF reads = 'current' THEN
		RAISE EXCEPTION 'a watermark and reads "current" exclude each other'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Either the source is asked from where the last load ended, or its records are routed to intervals.';
	END IF;
	IF record_time IS NOT NULL THEN
		RAISE EXCEPTION 'a watermark and a record_time exclude each other'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'The watermark would pass records that record_time leaves to other intervals, and they would never be asked for again.';
	END IF;
	PERFORM etl._check_option_names('watermark', watermark, '{cursor,start,type,lag,on_missing,item}');
	problem := CASE
		WHEN jsonb_typeof(result -> 'cursor') IS DISTINCT FROM 'string' THEN 'The entry "cursor" is the path to the value that grows, such as $.updated_at.'
		WHEN coalesce(result ->> 'type', '') NOT IN ('timestamp', 'number', 'text') THEN 'The entry "type" is timestamp, number or text.'
		WHEN coalesce(jsonb_typeof(result -> 'start'), '') NOT IN ('string', 'number') THEN 'The entry "start" is the value the first load begins at.'
		WHEN jsonb_typeof(result -> 'start') = 'number' AND result ->> 'type' = 'timestamp' OR etl._watermark_value(result -> 'start', result ->> 'type') IS NULL
			THEN format('The entry "start" is of type %s, such as %s.', result ->> 'type', CASE result ->> 'type' WHEN 'number' THEN '0' ELSE '"2024-01-01T00:00:00Z"' END)
		WHEN coalesce(result ->> 'on_missing', '') NOT IN ('fail', 'load', 'skip') THEN 'The entry "on_missing" says what becomes of a record without a cursor: fail, load or skip.'
		WHEN result ->> 'type' = 'text' AND result ->> 'lag' IS NOT NULL THEN 'A cursor of type text has no lag.'
		WHEN jsonb_typeof(result -> 'item') NOT IN ('array', 'null') THEN 'The entry "item" is a list of for_each columns that a watermark is kept for.'
		WHEN jsonb_typeof(result -> 'item') = 'array' AND NOT ARRAY(SELECT jsonb_array_elements_text(result -> 'item')) <@ etl._for_each_columns(for_each)
			THEN 'The entry "item" names columns of the for_each relation: ' || coalesce(nullif(array_to_string(etl._for_each_columns(for_each), ', '), ''), 'there is none') || '.'
		END;
	IF problem IS NULL THEN
		BEGIN
			IF etl._watermark_compare(etl._watermark_less_lag(result ->> 'start', result ->> 'type', result ->> 'lag'), result ->> 'start', result ->> 'type') > 0 THEN
				problem := 'The entry "lag" is how far before the watermark the source is asked again: not less than nothing.';
			END IF;
		EXCEPTION WHEN data_exception THEN
			problem := format('The entry "lag" is %s: %s.', CASE result ->> 'type' WHEN 'number' THEN 'a number' ELSE 'an interval such as "3 hours"' END, SQLERRM);
		END;
	END IF;
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION 'invalid watermark: %', watermark
			USING ERRCODE = 'invalid_parameter_value', HINT = problem;
	END IF;
	PERFORM etl.json_path_keys(result ->> 'cursor');
	RETURN jsonb_strip_nulls(result);
END
$$;
COMMENT ON FUNCTION etl._check_watermark(jsonb, text, text, text) IS 'checks a watermark and fills its defaults';

CREATE FUNCTION etl.add_extract(pipeline text, target text, server text, path text DEFAULT '',
	query jsonb DEFAULT '{}', headers jsonb DEFAULT '{}', records text DEFAULT '$[*]', pagination jsonb DEFAULT NULL,
	key text[] DEFAULT NULL, version text DEFAULT NULL, record_schema jsonb DEFAULT NULL, on_invalid text DEFAULT 'quarantine',
	for_each text DEFAULT NULL, on_rerun text DEFAULT 'replace', depends_on text[] DEFAULT '{}',
	method text DEFAULT 'GET', body jsonb DEFAULT NULL, format text DEFAULT 'json', on_status jsonb DEFAULT '{}', error_rules jsonb DEFAULT '[]',
	watermark jsonb DEFAULT NULL, reads text DEFAULT 'interval', record_time text DEFAULT NULL, recheck interval DEFAULT NULL,
	retain interval DEFAULT NULL, on_item_error text DEFAULT 'fail', contract text DEFAULT 'evolve', options jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n record := etl._parse_name(target);
	placeholders text[] := '{ds,data_interval_start,data_interval_end,run_id}';
	pages jsonb;
	decode jsonb;
	rules jsonb;
BEGIN
	PERFORM etl._own_pipeline(pipeline);
	PERFORM etl._check_source(server);
	PERFORM etl._check_option_names('options of etl.add_extract', options, '{conditional,charset,compression,csv,pool}' || etl._task_setting_names());
	PERFORM etl._check_pool(options ->> 'pool');
	PERFORM etl._check_task_settings(pipeline, options, false);
	IF jsonb_typeof(coalesce(options -> 'conditional', 'true')) <> 'boolean' THEN
		RAISE EXCEPTION 'invalid option "conditional": %', options -> 'conditional'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is true (the default), or false: pages are asked for whether they have changed or not.';
	END IF;
	placeholders := placeholders || etl._for_each_columns(for_each) || CASE WHEN watermark IS NULL THEN '{}' ELSE '{watermark}'::text[] END;
	path := coalesce(path, '');
	PERFORM etl._check_path(path);
	PERFORM etl._check_placeholders('path', path, placeholders);
	PERFORM etl._check_text_map('query', query, placeholders);
	PERFORM etl._check_task_headers(headers, placeholders);
	IF records IS NULL THEN
		RAISE EXCEPTION 'records must not be null'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the path to the records of a page, such as $[*] or $.data[*].';
	END IF;
	PERFORM etl._check_record_path(records);
	decode := etl._check_format(format, records, options);
	pages := etl._check_pagination(pagination);
	PERFORM etl._check_format_pagination(format, pages);
	rules := etl._check_error_rules(on_status, error_rules);
	PERFORM etl._check_interval_settings(reads, record_time, recheck, retain, on_rerun, rules);
	watermark := etl._check_watermark(watermark, reads, record_time, for_each);
	PERFORM etl._check_method(method, body);
	PERFORM etl._check_body(body, placeholders) WHERE body IS NOT NULL;
	PERFORM etl._check_body_parameter(body, pages);
	IF on_item_error IS NULL OR on_item_error NOT IN ('fail', 'skip') THEN
		RAISE EXCEPTION 'invalid on_item_error "%"', on_item_error
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'fail: an item that fails fails the task; skip: it is noted in etl.item_errors and the others go on.';
	ELSIF on_item_error = 'skip' AND for_each IS NULL THEN
		RAISE EXCEPTION 'on_item_error needs for_each'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Without for_each there is one item only.';
	END IF;
	IF cardinality(key) = 0 THEN
		key := NULL;
	END IF;
	IF array_position(key, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'a path of the key is null'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'The key is a list of paths, for example {$.id}.';
	END IF;
	PERFORM etl.json_path_keys(k) FROM unnest(key || version) k WHERE k IS NOT NULL;
	IF version IS NOT NULL AND key IS NULL THEN
		RAISE EXCEPTION 'a version needs a key'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'The version says which of several records of one key is the latest; name the key.';
	END IF;
	IF on_rerun IS NULL OR on_rerun NOT IN ('replace', 'append') THEN
		RAISE EXCEPTION 'invalid on_rerun "%"', on_rerun
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'replace: a new load of an interval takes the place of the old one; append: it is added to it.';
	END IF;
	PERFORM etl.is_valid_json(record_schema, 'null') WHERE record_schema IS NOT NULL;		-- raises for a schema that is none
	IF on_invalid IS NULL OR on_invalid NOT IN ('quarantine', 'fail', 'warn') THEN
		RAISE EXCEPTION 'invalid on_invalid "%"', on_invalid
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'quarantine: a record that breaks record_schema is set aside; fail: the task fails; warn: it is loaded and the log says so.';
	END IF;
	PERFORM etl._check_contract(contract, record_schema);
	PERFORM etl._create_raw_table(n.schema_name, n.relation_name);
	PERFORM etl._create_raw_views(n.schema_name, n.relation_name, key, version);
	PERFORM etl._save_task(pipeline, etl._full_name(n.schema_name, n.relation_name), 'extract', n.schema_name, n.relation_name,
		jsonb_strip_nulls(jsonb_build_object('server', server, 'path', path, 'query', query, 'headers', headers,
			'records', records, 'pagination', pages, 'key', to_jsonb(key), 'version', version, 'for_each', for_each,
			'on_invalid', CASE WHEN record_schema IS NOT NULL THEN on_invalid END,
			'on_rerun', on_rerun, 'options', options, 'on_status', nullif(on_status, '{}'), 'error_rules', nullif(error_rules, '[]'), 'rules', rules,
			'watermark', watermark, 'reads', nullif(reads, 'interval'), 'record_time', record_time, 'recheck', recheck, 'retain', retain,
			'on_item_error', nullif(on_item_error, 'fail'), 'method', nullif(method, 'GET'), 'format', nullif(format, 'json'), 'decode', decode,
			'contract', nullif(contract, 'evolve')))
			-- not stripped of their nulls: a body and a schema may have some
			|| CASE WHEN body IS NULL THEN '{}' ELSE jsonb_build_object('body', body) END
			|| CASE WHEN record_schema IS NULL THEN '{}' ELSE jsonb_build_object('record_schema', record_schema) END, depends_on);
END
$$;
COMMENT ON FUNCTION etl.add_extract(text, text, text, text, jsonb, jsonb, text, jsonb, text[], text, jsonb, text, text, text, text[],
	text, jsonb, text, jsonb, jsonb, jsonb, text, text, interval, interval, text, text, jsonb) IS
	'declares an extraction from a server into a raw table; makes the table and its vr_ and vl_ views';
