-- {name} and {name:format} in paths, query values and headers.  Only known names; {{ and
-- }} stand for braces.  Expanding and checking share one tokenizer.

CREATE FUNCTION etl._placeholder_tokens(template text)
RETURNS TABLE (ordinal bigint, literal text, name text, format text)
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT ordinality,
		   CASE token WHEN '{{' THEN '{' WHEN '}}' THEN '}'
			    ELSE CASE WHEN token !~ '^[{}]' THEN token END END,
		   CASE WHEN token ~ '^\{[^{]' OR token = '{}' THEN split_part(substr(token, 2, length(token) - 2), ':', 1)
			    WHEN token IN ('{', '}') THEN token END,
		   CASE WHEN token ~ '^\{[^{}:]*:' THEN regexp_replace(substr(token, 2, length(token) - 2), '^[^:]*:', '') END
	FROM regexp_matches(template, '\{\{|\}\}|\{[^{}]*\}|[^{}]+|.', 'g') WITH ORDINALITY m(match, ordinality),
		 LATERAL (SELECT match[1] AS token) t
$$;
COMMENT ON FUNCTION etl._placeholder_tokens(text) IS 'splits a text into literals and {placeholders}';

CREATE FUNCTION etl._check_placeholders(what text, template text, known text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad record;
BEGIN
	SELECT * INTO bad FROM etl._placeholder_tokens(template) t
	WHERE t.name IS NOT NULL AND NOT t.name = ANY (known)
	   OR t.format IS NOT NULL AND t.name NOT IN ('data_interval_start', 'data_interval_end')
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'invalid placeholder "%" in %',
				CASE WHEN bad.name IN ('{', '}') THEN bad.name ELSE '{' || bad.name || coalesce(':' || bad.format, '') || '}' END, what
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = format('The text is: %s', template),
				  HINT = 'Allowed are ' || (SELECT string_agg('{' || k || '}', ', ') FROM unnest(known) k)
						 || '; {data_interval_start} and {data_interval_end} take a to_char format after a colon; write {{ for a brace.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_placeholders(text, text, text[]) IS 'raises for a placeholder that is not known, naming those that are';

CREATE FUNCTION etl._encode_url(value text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'etl_encode_url';
COMMENT ON FUNCTION etl._encode_url(text) IS 'percent-encodes all but RFC 3986 unreserved characters';

CREATE FUNCTION etl._expand(template text, placeholder_values jsonb, timezone text, encode boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT string_agg(coalesce(t.literal, CASE WHEN encode THEN etl._encode_url(v.value) ELSE v.value END, ''), '' ORDER BY t.ordinal)
	FROM etl._placeholder_tokens(template) t,
		 LATERAL (SELECT CASE WHEN t.format IS NOT NULL
							  THEN to_char((placeholder_values ->> t.name)::timestamptz AT TIME ZONE timezone, t.format)
							  ELSE placeholder_values ->> t.name END AS value) v
$$;
COMMENT ON FUNCTION etl._expand(text, jsonb, text, boolean) IS 'fills {placeholders}; formats are rendered in the pipeline''s timezone';
