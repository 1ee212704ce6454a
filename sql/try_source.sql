-- Trying a source before anything is declared: is it there, do the credentials work, what
-- do its records look like.

CREATE FUNCTION etl._try_source(server text, method text, path text, query_names text[], query_values text[],
	header_names text[], header_values text[], body text,
	OUT url text, OUT status integer, OUT seconds double precision, OUT content_type text, OUT answer bytea, OUT problem text,
	OUT quota_limit bigint, OUT quota_remaining bigint, OUT quota_reset timestamptz, OUT pagination jsonb, OUT excerpt text)
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'etl_try_source';
COMMENT ON FUNCTION etl._try_source(text, text, text, text[], text[], text[], text[], text) IS 'makes one request to a source and tells what came of it';

CREATE FUNCTION etl.test_source(server text, path text DEFAULT '',
	OUT url text, OUT status integer, OUT is_well boolean, OUT duration interval, OUT quota_limit bigint, OUT quota_remaining bigint, OUT quota_reset timestamptz,
	OUT problem text, OUT hint text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
BEGIN
	PERFORM etl._check_source(server);
	PERFORM etl._check_path(path);
	SELECT * INTO t FROM etl._try_source(server, 'GET', coalesce(path, ''), '{}', '{}', '{}', '{}', NULL);
	url := t.url;
	status := t.status;
	duration := make_interval(secs => t.seconds);
	quota_limit := t.quota_limit;
	quota_remaining := t.quota_remaining;
	quota_reset := t.quota_reset;
	is_well := coalesce(t.status BETWEEN 200 AND 299, false) AND t.problem IS NULL;
	problem := coalesce(t.problem, CASE WHEN NOT is_well THEN concat_ws(': ', format('status %s', t.status), t.excerpt) END);
	hint := CASE
		WHEN is_well THEN NULL
		WHEN t.problem LIKE 'address%' THEN 'A superuser can list the host in etl.allowed_hosts.'
		WHEN t.problem LIKE 'tls%' THEN 'Check the certificate, or name its authority by the server''s ca_file.'
		WHEN t.problem IS NOT NULL THEN 'Check the base_url of the server, and that this machine can reach it.'
		WHEN t.status = 401 THEN format('Check the credentials of the user mapping of role "%s".', current_user)
		WHEN t.status = 403 THEN 'Check what the credentials of the user mapping are allowed to read.'
		WHEN t.status = 404 THEN 'It answers; give a path that exists to see more: etl.test_source(server, path).'
		WHEN t.status = 429 THEN format('The quota is used up%s.', coalesce(' until ' || t.quota_reset, ''))
		WHEN t.status >= 500 THEN 'The source itself is not well; try again later.'
		ELSE 'See the documentation of the source.' END;
END
$$;
COMMENT ON FUNCTION etl.test_source(text, text) IS
	'asks a source once, with the credentials of the current role: status, time, what is left of its quota, and what to do when it is not well';

-- Where the records of an answer most likely are: the largest array of objects near the top.
CREATE FUNCTION etl._guess_records(document jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE member(path, value, depth) AS (
		SELECT '$', document, 0
		UNION ALL
		SELECT m.path || CASE WHEN e.key ~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN '.' || e.key ELSE format('["%s"]', e.key) END, e.value, m.depth + 1
		FROM member m CROSS JOIN LATERAL jsonb_each(CASE jsonb_typeof(m.value) WHEN 'object' THEN m.value ELSE '{}' END) e
		WHERE m.depth < 3 AND e.key !~ '["\\[:cntrl:]]')
	SELECT coalesce((SELECT path || '[*]' FROM member
					 WHERE jsonb_typeof(value) = 'array' AND (depth = 0 OR jsonb_typeof(value -> 0) = 'object')
					 ORDER BY depth = 0 DESC, jsonb_array_length(value) DESC, depth, path LIMIT 1), '$')
$$;
COMMENT ON FUNCTION etl._guess_records(jsonb) IS 'the path to the records of an answer, guessed from its shape';

CREATE FUNCTION etl.peek(server text, path text DEFAULT '', query jsonb DEFAULT '{}', headers jsonb DEFAULT '{}', records text DEFAULT NULL,
	method text DEFAULT 'GET', body jsonb DEFAULT NULL, format text DEFAULT 'json', max_records integer DEFAULT 10, options jsonb DEFAULT '{}')
RETURNS TABLE (record_number integer, record jsonb, problem text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
	r record;
	decode jsonb;
	found_count bigint := 0;
BEGIN
	PERFORM etl._check_source(server);
	PERFORM etl._check_path(path);
	PERFORM etl._check_text_map('query', query, '{}');
	PERFORM etl._check_task_headers(headers, '{}');
	PERFORM etl._check_method(method, body);
	IF max_records IS NULL OR max_records < 1 THEN
		RAISE EXCEPTION 'max_records must be at least 1'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is how many records are shown; the default is 10.';
	END IF;
	decode := coalesce(etl._check_format(format, coalesce(records, '$[*]'), options), '{}');
	PERFORM etl._check_record_path(records) WHERE records IS NOT NULL;
	SELECT * INTO t FROM etl._try_source(server, method, coalesce(path, ''),
		coalesce((SELECT array_agg(e.key ORDER BY e.key) FROM jsonb_each_text(query) e), '{}'), coalesce((SELECT array_agg(e.value ORDER BY e.key) FROM jsonb_each_text(query) e), '{}'),
		coalesce((SELECT array_agg(e.key ORDER BY e.key) FROM jsonb_each_text(headers) e), '{}') || CASE WHEN body IS NULL THEN '{}' ELSE '{Content-Type}'::text[] END,
		coalesce((SELECT array_agg(e.value ORDER BY e.key) FROM jsonb_each_text(headers) e), '{}') || CASE WHEN body IS NULL THEN '{}' ELSE '{application/json}'::text[] END,
		body::text);
	IF t.problem IS NOT NULL OR NOT t.status BETWEEN 200 AND 299 THEN
		RAISE EXCEPTION '% %: %', method, t.url, coalesce(t.problem, 'status ' || t.status)
			USING ERRCODE = CASE WHEN t.status IN (401, 403) THEN 'invalid_authorization_specification' WHEN t.status IS NULL THEN 'connection_failure' ELSE 'fdw_error' END,
				  DETAIL = coalesce('The answer begins: ' || t.excerpt, 'There is no answer.'),
				  HINT = format('SELECT * FROM etl.test_source(%L, %L) tells more.', server, path);
	END IF;
	IF records IS NULL AND format = 'json' THEN
		BEGIN
			records := etl._guess_records(convert_from(t.answer, 'UTF8')::jsonb);
		EXCEPTION WHEN data_exception THEN
			records := '$[*]';		-- what is wrong with it is said below
		END;
	END IF;
	records := coalesce(records, '$[*]');
	FOR r IN SELECT * FROM etl._read_page(t.answer, decode, records, coalesce(t.content_type, '')) LOOP
		found_count := found_count + 1;
		CONTINUE WHEN found_count > max_records;
		record_number := r.record_number;
		record := NULL;
		problem := r.reason;
		IF r.reason IS NULL THEN
			BEGIN
				record := convert_from(r.record, 'UTF8')::jsonb;
			EXCEPTION WHEN OTHERS THEN
				problem := SQLERRM;
			END;
		END IF;
		RETURN NEXT;
	END LOOP;
	IF found_count = 0 AND format = 'json' AND NOT jsonb_path_exists(convert_from(t.answer, 'UTF8')::jsonb, regexp_replace(records, '\[\*\].*$', '')::jsonpath) THEN
		RAISE EXCEPTION 'the answer to % % has nothing at %', method, t.url, records
			USING ERRCODE = 'invalid_json_text', DETAIL = 'The answer begins: ' || t.excerpt,
				  HINT = format('Its records seem to be at %s; leave records out to have them found.', etl._guess_records(convert_from(t.answer, 'UTF8')::jsonb));
	END IF;
	RAISE NOTICE 'status % in % ms: % records, the first % are shown', t.status, round(t.seconds * 1000), found_count, least(found_count, max_records)
		USING DETAIL = concat_ws(' ', CASE WHEN format = 'json' THEN format('As records => %L.', records) END,
				CASE WHEN t.pagination IS NOT NULL THEN format('It leads on, as pagination => %L.', t.pagination) END,
				CASE WHEN t.quota_remaining IS NOT NULL THEN format('%s requests are left of the quota of %s.', t.quota_remaining, coalesce(t.quota_limit::text, 'unknown size')) END);
END
$$;
COMMENT ON FUNCTION etl.peek(text, text, jsonb, jsonb, text, text, jsonb, text, integer, jsonb) IS
	'asks a source once and shows the first records of its answer, before anything is declared; says which records path and pagination it seems to have';
