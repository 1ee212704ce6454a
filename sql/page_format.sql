-- How the answers of a source are read: format, charset, compression.  src/extract/page/page.c
-- reads them so.

CREATE FUNCTION etl._check_charset(charset text) RETURNS void
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'etl_check_charset';
COMMENT ON FUNCTION etl._check_charset(text) IS 'raises for a charset that cannot be converted to UTF-8, naming some that can';

CREATE FUNCTION etl._reads_zstd() RETURNS boolean
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'etl_reads_zstd';
COMMENT ON FUNCTION etl._reads_zstd() IS 'whether the library was built with libzstd';

-- Trying a body without asking for it; max_size as the server's max_body_size.
CREATE FUNCTION etl._read_page(body bytea, decode jsonb, records text DEFAULT '$[*]', content_type text DEFAULT '', max_size bigint DEFAULT 268435456,
	OUT record_number integer, OUT record bytea, OUT received bytea, OUT byte_offset bigint, OUT reason text) RETURNS SETOF record
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'etl_read_page';
COMMENT ON FUNCTION etl._read_page(bytea, jsonb, text, text, bigint) IS
	'the records of a body as an extraction would find them: their JSON, their bytes as received, and why one is none';

-- The rules of COPY, and that delimiters are ASCII: they are looked for in UTF-8.
CREATE FUNCTION etl._check_csv_options(csv jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	result jsonb := '{"delimiter": ",", "quote": "\"", "null": ""}';
	entry record;
	problem text;
	has_columns boolean := csv ? 'columns';
BEGIN
	PERFORM etl._check_option_names('option "csv"', csv, '{header,delimiter,quote,escape,"null",columns}');
	FOR entry IN SELECT e.key AS name, e.value, jsonb_typeof(e.value) AS type, e.value #>> '{}' AS text FROM jsonb_each(csv) e LOOP
		problem := CASE entry.name
			WHEN 'header' THEN CASE WHEN entry.type <> 'boolean' AND entry.value <> '"match"' THEN
				'It is true: there is a header, which names the columns unless "columns" does; false: there is none; or "match": the header must be as "columns" says.' END
			WHEN 'null' THEN CASE WHEN entry.type <> 'string' OR entry.text ~ '[\r\n]' THEN 'It is the text that stands for NULL where it is not quoted, without line breaks.' END
			WHEN 'columns' THEN CASE
				WHEN entry.type <> 'array' OR entry.value = '[]' OR jsonb_path_exists(entry.value, '$[*] ? (@.type() != "string" || @ == "")')
					THEN 'It is a list of names, such as ["id", "name"].'
				WHEN (SELECT count(DISTINCT c) < count(*) FROM jsonb_array_elements_text(entry.value) c) THEN 'Each column has a name of its own.' END
			ELSE CASE WHEN entry.type <> 'string' OR entry.text !~ '^[\x01-\x7f]$' OR entry.text ~ '[\r\n]' THEN 'It is one ASCII character, and no line break.' END
			END;
		IF problem IS NOT NULL THEN
			RAISE EXCEPTION 'invalid entry "%" in option "csv": %', entry.name, entry.value
				USING ERRCODE = 'invalid_parameter_value', HINT = problem;
		END IF;
	END LOOP;
	result := result || csv;
	result := jsonb_build_object('escape', result -> 'quote', 'header', CASE WHEN has_columns THEN '"match"' ELSE 'true' END::jsonb) || result;
	problem := CASE
		WHEN result -> 'delimiter' = result -> 'quote' THEN 'The entries "delimiter" and "quote" must differ.'
		WHEN strpos(result ->> 'null', result ->> 'delimiter') > 0 THEN 'The entry "delimiter" must not be in "null".'
		WHEN strpos(result ->> 'null', result ->> 'quote') > 0 THEN 'The entry "quote" must not be in "null".'
		WHEN NOT has_columns AND result -> 'header' <> 'true' THEN 'The entry "columns" is needed where a header does not name the columns.'
		END;
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION 'invalid option "csv": %', csv
			USING ERRCODE = 'invalid_parameter_value', HINT = problem;
	END IF;
	RETURN result;
END
$$;
COMMENT ON FUNCTION etl._check_csv_options(jsonb) IS 'checks the options of format csv and fills their defaults';

CREATE FUNCTION etl._check_format(format text, records text, options jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	charset jsonb := options -> 'charset';
	compression jsonb := options -> 'compression';
	result jsonb;
BEGIN
	IF format IS NULL OR format NOT IN ('json', 'ndjson', 'csv') THEN
		RAISE EXCEPTION 'invalid format "%"', format
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Formats are: json, ndjson, csv.';
	ELSIF format <> 'json' AND records <> '$[*]' THEN
		RAISE EXCEPTION 'format % has no path to records', format
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('It is: %s', records),
				  HINT = CASE format WHEN 'csv' THEN 'Each row is a record' ELSE 'Each line is a record' END || '; leave records out.';
	ELSIF options ? 'csv' AND format <> 'csv' THEN
		RAISE EXCEPTION 'option "csv" needs format csv'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Declare the task with format => ''csv''.';
	ELSIF options ? 'charset' AND jsonb_typeof(charset) <> 'string' THEN
		RAISE EXCEPTION 'invalid option "charset": %', charset
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the name of a charset, such as "windows-1252".';
	ELSIF options ? 'compression' AND NOT coalesce(compression #>> '{}' IN ('auto', 'none', 'gzip', 'zstd'), false) THEN
		RAISE EXCEPTION 'invalid option "compression": %', compression
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'auto (the default): gzip and zstd are known by their first bytes; none: never decompress; gzip, zstd: anything else is an error.';
	ELSIF compression = '"zstd"' AND NOT etl._reads_zstd() THEN
		RAISE EXCEPTION 'zstd is not supported by this build of etl'
			USING ERRCODE = 'feature_not_supported', HINT = 'Build etl again where pkg-config finds libzstd.';
	END IF;
	PERFORM etl._check_charset(charset #>> '{}') WHERE charset IS NOT NULL;
	result := jsonb_strip_nulls(jsonb_build_object('format', nullif(format, 'json'), 'charset', charset, 'compression', nullif(compression, '"auto"'),
		'csv', CASE WHEN format = 'csv' THEN etl._check_csv_options(coalesce(options -> 'csv', '{}')) END));
	RETURN nullif(result, '{}');
END
$$;
COMMENT ON FUNCTION etl._check_format(text, text, jsonb) IS 'checks how pages are to be read and fills defaults; NULL for JSON as it comes';

CREATE FUNCTION etl._check_format_pagination(format text, pagination jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	entry text;
BEGIN
	IF format = 'json' THEN
		RETURN;
	END IF;
	SELECT k INTO entry FROM jsonb_object_keys(pagination) k WHERE k IN ('cursor', 'url', 'has_more', 'total', 'total_pages') ORDER BY k LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'entry "%" in pagination is a path into a page, which format % has none of', entry, format
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'A page in format ndjson or csv has records and nothing else; what leads on has to be in a header, in the last record, or counted.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_format_pagination(text, jsonb) IS 'raises for a pagination that reads in the page what its format cannot hold';
