-- Ready-made pipelines.  A template is a function that returns the SQL of its pipeline:
-- etl.template_sql shows it, to be kept and changed; etl.install runs it.

CREATE FUNCTION etl._template_options(template text, options jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.template;
	o record;
	given jsonb := coalesce(options, '{}');
	result jsonb := '{}';
	expected text;
BEGIN
	SELECT * INTO t FROM etl.template x WHERE x.template = _template_options.template;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'template "%" does not exist', template
			USING ERRCODE = 'undefined_object',
				  HINT = 'Templates are: ' || (SELECT string_agg(x.template, ', ' ORDER BY x.template) FROM etl.template x) || '.';
	END IF;
	PERFORM etl._check_option_names(format('options of template %s', template), given, (SELECT array_agg(k) FROM jsonb_object_keys(t.options) k));
	FOR o IN SELECT key AS name, value AS definition FROM jsonb_each(t.options) ORDER BY key LOOP
		IF NOT given ? o.name OR given -> o.name = 'null' THEN
			IF (o.definition ->> 'required')::boolean THEN
				RAISE EXCEPTION 'template "%" needs option "%"', template, o.name
					USING ERRCODE = 'invalid_parameter_value', DETAIL = format('%s: %s.', o.name, o.definition ->> 'description'),
						  HINT = format('For example {"%s": %s}. etl.templates lists all options.', o.name, coalesce(o.definition -> 'example', '"…"'));
			END IF;
			result := result || jsonb_build_object(o.name, o.definition -> 'default');
			CONTINUE;
		END IF;
		expected := CASE
			WHEN o.definition ->> 'type' = 'text' AND jsonb_typeof(given -> o.name) <> 'string' THEN 'a string'
			WHEN o.definition ->> 'type' = 'integer' AND (jsonb_typeof(given -> o.name) <> 'number' OR (given ->> o.name) !~ '^[0-9]{1,9}$'
				OR (given ->> o.name)::bigint NOT BETWEEN (o.definition ->> 'min')::bigint AND (o.definition ->> 'max')::bigint)
				THEN format('a whole number from %s to %s', o.definition ->> 'min', o.definition ->> 'max')
			WHEN o.definition ->> 'type' = 'text[]' AND (jsonb_typeof(given -> o.name) <> 'array' OR jsonb_array_length(given -> o.name) = 0
				OR EXISTS (SELECT FROM jsonb_array_elements(CASE jsonb_typeof(given -> o.name) WHEN 'array' THEN given -> o.name ELSE '[]' END) e WHERE jsonb_typeof(e) <> 'string'))
				THEN 'an array of strings, not empty' END;
		IF expected IS NULL AND o.definition ? 'pattern' AND EXISTS (
			SELECT FROM jsonb_array_elements_text(CASE jsonb_typeof(given -> o.name) WHEN 'array' THEN given -> o.name ELSE jsonb_build_array(given -> o.name) END) e
			WHERE e !~ (o.definition ->> 'pattern')) THEN
			expected := 'as in ' || (o.definition ->> 'example');
		END IF;
		IF expected IS NOT NULL THEN
			RAISE EXCEPTION 'invalid option "%" of template "%"', o.name, template
				USING ERRCODE = 'invalid_parameter_value',
					  DETAIL = CASE WHEN o.name = 'token' THEN 'Its value is not shown.' ELSE format('It is: %s', given -> o.name) END,
					  HINT = format('%s must be %s: %s.', o.name, expected, o.definition ->> 'description');
		END IF;
		result := result || jsonb_build_object(o.name, given -> o.name);
	END LOOP;
	RETURN result;
END
$$;
COMMENT ON FUNCTION etl._template_options(text, jsonb) IS 'checks a template''s options and fills their defaults';

-- SQL that makes a server and the credentials of a template.  The token itself appears
-- only where it was given inline.
CREATE FUNCTION etl._template_source(server text, options jsonb, show_secrets boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	exists_already boolean := EXISTS (SELECT FROM pg_foreign_server WHERE srvname = server);
	-- a template may take the url of a file as a whole
	base_url text := coalesce(options ->> 'base_url', substring(options ->> 'url' FROM '^https?://[^/?]+'));
	credential text := CASE WHEN options ->> 'token' IS NOT NULL THEN 'token' WHEN options ->> 'token_file' IS NOT NULL THEN 'token_file'
							WHEN options ->> 'token_env' IS NOT NULL THEN 'token_env' END;
	result text;
BEGIN
	IF num_nonnulls(options ->> 'token', options ->> 'token_file', options ->> 'token_env') > 1 THEN
		RAISE EXCEPTION 'token, token_file and token_env exclude each other'
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'token_file names a file in etl.secret_directory, token_env an environment variable of the server; token is the secret itself.';
	END IF;
	IF exists_already THEN
		result := format(E'ALTER SERVER %I OPTIONS (SET base_url %L);\n', server, base_url);
	ELSE
		result := format(E'CREATE SERVER %I FOREIGN DATA WRAPPER etl_http OPTIONS (base_url %L);\n', server, base_url);
	END IF;
	IF credential IS NOT NULL THEN
		result := result || format(E'DROP USER MAPPING IF EXISTS FOR CURRENT_USER SERVER %I;\nCREATE USER MAPPING FOR CURRENT_USER SERVER %I OPTIONS (auth ''bearer'', %I %L);\n',
			server, server, credential, CASE WHEN credential = 'token' AND NOT show_secrets THEN '…' ELSE options ->> credential END);
	END IF;
	RETURN result;
END
$$;
COMMENT ON FUNCTION etl._template_source(text, jsonb, boolean) IS 'the server and user mapping of a template, as SQL';

CREATE FUNCTION etl._template_sql(template text, options jsonb, pipeline text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	checked jsonb := etl._template_options(template, options);
	result text;
BEGIN
	PERFORM etl._check_name('pipeline', pipeline);
	EXECUTE format('SELECT etl.%I($1, $2)', '_template_' || template) INTO STRICT result USING pipeline, checked;
	RETURN result;
END
$$;
COMMENT ON FUNCTION etl._template_sql(text, jsonb, text) IS 'the pipeline of a template as SQL, its options checked';

CREATE FUNCTION etl.template_sql(template text, options jsonb DEFAULT '{}', pipeline text DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format(E'-- made by etl.template_sql(%L)\n', template)
		|| etl._template_source(coalesce(pipeline, template), etl._template_options(template, options), false)
		|| etl._template_sql(template, options, coalesce(pipeline, template))
$$;
COMMENT ON FUNCTION etl.template_sql(text, jsonb, text) IS 'a template as the SQL file of its pipeline, to be kept under version control';

CREATE FUNCTION etl._set_template_as_owner(pipeline text, template text, options jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._own_pipeline(pipeline);
	UPDATE etl.pipeline p SET template = _set_template_as_owner.template, template_options = _set_template_as_owner.options WHERE p.pipeline = _set_template_as_owner.pipeline;
END
$$;
CREATE FUNCTION etl._set_template(pipeline text, template text, options jsonb) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._set_template_as_owner(text, text, jsonb) IS 'does what etl._set_template does, with the rights of the extension';
COMMENT ON FUNCTION etl._set_template(text, text, jsonb) IS 'remembers which template a pipeline was made from';

-- A template makes views by name: installed twice for one schema, the second would feed
-- the tables of the first.
CREATE FUNCTION etl._check_template_schema(template text, options jsonb, pipeline text) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted_schema text := etl._template_options(template, options) ->> 'schema';
	declaration text := etl._template_sql(template, options, pipeline);
	other record;
BEGIN
	IF EXISTS (SELECT FROM etl.pipeline p JOIN etl.task t USING (pipeline)
			   WHERE p.pipeline <> _check_template_schema.pipeline AND p.template = _check_template_schema.template
				 AND t.kind = 'load' AND t.target_schema = wanted_schema)
	THEN
		RAISE EXCEPTION 'template "%" is installed for schema "%" already', template, wanted_schema
			USING ERRCODE = 'duplicate_object', HINT = 'Choose another schema for this pipeline, for example {"schema": "analytics_2"}.';
	END IF;
	SELECT p.pipeline, t.task INTO other FROM etl.pipeline p JOIN etl.task t USING (pipeline)
	WHERE p.pipeline <> _check_template_schema.pipeline AND p.template = _check_template_schema.template AND t.kind = 'load'
	  AND position(quote_literal(t.task) IN declaration) > 0 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'template "%" is installed already, as pipeline "%"', template, other.pipeline
			USING ERRCODE = 'duplicate_object', DETAIL = format('It fills %s, and this one would too.', other.task),
				  HINT = 'This template has tables of fixed names: alter that pipeline, or keep the SQL of etl.template_sql and change the names.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_template_schema(text, jsonb, text) IS 'raises when another pipeline of the template fills the same schema';

CREATE FUNCTION etl.install(template text, options jsonb DEFAULT '{}', pipeline text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning
AS $$
DECLARE
	name text := coalesce(pipeline, template);
	message text;
	detail text;
	hint text;
BEGIN
	PERFORM etl._check_template_schema(template, options, name);
	PERFORM etl._check_name('pipeline', name);
	BEGIN
		EXECUTE etl._template_source(name, etl._template_options(template, options), true);
	EXCEPTION WHEN OTHERS THEN
		-- raised anew: the context of the original has the statement, and in it the token
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		RAISE EXCEPTION '%', message USING ERRCODE = SQLSTATE, DETAIL = detail, HINT = hint;
	END;
	EXECUTE etl._template_sql(template, options, name);
	PERFORM etl._set_template(name, template, options - 'token');
	RETURN name;
END
$$;
COMMENT ON FUNCTION etl.install(text, jsonb, text) IS 'installs a ready-made pipeline and returns its name; installing it again alters it and keeps the data';
