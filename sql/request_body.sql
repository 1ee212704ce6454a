-- Bodies of POST requests: JSON whose strings may have {placeholders}.

-- A GraphQL document has braces of its own.  Nothing but one pair of braces is a
-- placeholder: such a document can be written query { … }.
CREATE FUNCTION etl._is_graphql(document text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(document ~ '^[\s,]*(#[^\n]*\n[\s,]*)*(\{[^{}]*\w[^{}]*\{|(query|mutation|subscription)(\s+[_A-Za-z]\w*)?\s*[({@]|fragment\s+\w+\s+on\s+\w)'
		AND document ~ '\}[\s,]*(#[^\n]*[\s,]*)*$', false)
$$;
COMMENT ON FUNCTION etl._is_graphql(text) IS 'whether a text is a GraphQL document, whose braces are its own';

CREATE FUNCTION etl._is_graphql_body(body jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE jsonb_typeof(body)
		WHEN 'object' THEN jsonb_typeof(body -> 'query') IS NOT DISTINCT FROM 'string' AND etl._is_graphql(body ->> 'query')
		WHEN 'array' THEN EXISTS (SELECT FROM jsonb_array_elements(body) e WHERE jsonb_typeof(e -> 'query') = 'string' AND etl._is_graphql(e ->> 'query'))
		ELSE false END
$$;
COMMENT ON FUNCTION etl._is_graphql_body(jsonb) IS 'whether a body is a GraphQL request, or a list of them';

-- All strings of a body, where they are, and whether they are sent as they stand.
CREATE FUNCTION etl._body_strings(body jsonb) RETURNS TABLE (location text, string text, is_graphql boolean)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE node AS (
		SELECT '$' AS location, NULL::text AS name, _body_strings.body AS value
		UNION ALL
		SELECT n.location || c.step, c.name, c.value
		FROM node n, LATERAL (
			SELECT '.' || e.key AS step, e.key AS name, e.value
			FROM jsonb_each(CASE jsonb_typeof(n.value) WHEN 'object' THEN n.value ELSE '{}' END) e
			UNION ALL
			SELECT format('[%s]', e.ordinality - 1), NULL, e.value
			FROM jsonb_array_elements(CASE jsonb_typeof(n.value) WHEN 'array' THEN n.value ELSE '[]' END) WITH ORDINALITY e) c
	)
	SELECT n.location, n.value #>> '{}', n.name IS NOT DISTINCT FROM 'query' AND etl._is_graphql(n.value #>> '{}')
	FROM node n WHERE jsonb_typeof(n.value) = 'string'
$$;
COMMENT ON FUNCTION etl._body_strings(jsonb) IS 'the strings of a body with their paths; GraphQL documents have no placeholders';

CREATE FUNCTION etl._check_body(body jsonb, placeholders text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	entry record;
	unfilled text;
BEGIN
	IF jsonb_typeof(body) NOT IN ('object', 'array') THEN
		RAISE EXCEPTION 'body must be a JSON object or array'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('It is: %s', body),
				  HINT = 'For example {"since": "{data_interval_start}", "limit": 200}.';
	END IF;
	FOR entry IN SELECT * FROM etl._body_strings(body) LOOP
		IF NOT entry.is_graphql THEN
			PERFORM etl._check_placeholders('body at ' || entry.location, entry.string, placeholders);
			CONTINUE;
		END IF;
		-- in a string of the document it can only be meant as a placeholder
		SELECT m.match[1] INTO unfilled
		FROM regexp_matches(entry.string, '"(?:[^"\\]|\\.)*"', 'g') s(literal), LATERAL regexp_matches(s.literal[1], '\{([^{}:]+)(?::[^{}]*)?\}', 'g') m(match)
		WHERE m.match[1] = ANY (placeholders) LIMIT 1;
		IF FOUND THEN
			RAISE EXCEPTION 'placeholder "{%}" in the GraphQL document of body at %', unfilled, entry.location
				USING ERRCODE = 'invalid_parameter_value', DETAIL = 'A GraphQL document is sent as it stands, with its braces.',
					  HINT = format('Make it a variable: "query": "query($value: String) { … $value … }", "variables": {"value": "{%s}"}.', unfilled);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._check_body(jsonb, text[]) IS 'raises for a body that is no JSON object or array, or has placeholders that are not known';

-- What one page's request differs by from the next one's is put into the body's text, where
-- a value already is: see src/extract/page/body_template.c.
CREATE FUNCTION etl._check_body_parameter(body jsonb, pagination jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	path text := pagination ->> 'body_parameter';
	value jsonb;
BEGIN
	IF path IS NULL THEN
		RETURN;
	ELSIF body IS NULL THEN
		RAISE EXCEPTION 'pagination has a body_parameter, but the request has no body'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the body, with method => ''POST''.';
	END IF;
	value := body #> etl.json_path_keys(path);
	IF value IS NULL OR jsonb_typeof(value) NOT IN ('null', 'string', 'number') THEN
		RAISE EXCEPTION 'body has no value at the body_parameter %', path
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'Give the value of the first page: null, a string or a number. Those of the pages after it are put in its place.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_body_parameter(jsonb, jsonb) IS 'raises unless the body has the value that pagination puts others in the place of';

CREATE FUNCTION etl._expand_string(template text, placeholder_values jsonb, timezone text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	-- one placeholder and nothing else stands for the value, with its type
	SELECT CASE WHEN count(*) = 1 AND min(t.name) IS NOT NULL AND min(t.format) IS NULL
		THEN coalesce(placeholder_values -> min(t.name), 'null')
		ELSE to_jsonb(coalesce(etl._expand(template, placeholder_values, timezone, false), '')) END
	FROM etl._placeholder_tokens(template) t
$$;
COMMENT ON FUNCTION etl._expand_string(text, jsonb, text) IS 'a string of a body with its placeholders filled; what is one placeholder becomes its value';

CREATE FUNCTION etl._expand_body(body jsonb, placeholder_values jsonb, timezone text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN CASE jsonb_typeof(body)
		WHEN 'object' THEN (
			SELECT coalesce(jsonb_object_agg(e.key,
				CASE WHEN e.key = 'query' AND jsonb_typeof(e.value) = 'string' AND etl._is_graphql(e.value #>> '{}') THEN e.value
					 ELSE etl._expand_body(e.value, placeholder_values, timezone) END), '{}')
			FROM jsonb_each(body) e)
		WHEN 'array' THEN (
			SELECT coalesce(jsonb_agg(etl._expand_body(e.value, placeholder_values, timezone) ORDER BY e.ordinality), '[]')
			FROM jsonb_array_elements(body) WITH ORDINALITY e)
		WHEN 'string' THEN etl._expand_string(body #>> '{}', placeholder_values, timezone)
		ELSE body END;
END
$$;
COMMENT ON FUNCTION etl._expand_body(jsonb, jsonb, text) IS 'fills the placeholders in the strings of a body; member names and GraphQL documents stay as they are';
