-- Names of relations as users write them, and the names derived from them.

CREATE FUNCTION etl._parse_name(qualified_name text, OUT schema_name name, OUT relation_name name)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts text[];
BEGIN
	BEGIN
		parts := parse_ident(qualified_name);
	EXCEPTION WHEN invalid_parameter_value THEN
		parts := NULL;
	END;
	IF coalesce(cardinality(parts), 0) <> 2 THEN
		RAISE EXCEPTION 'invalid relation name "%"', coalesce(qualified_name, 'NULL')
			USING ERRCODE = 'invalid_name', HINT = 'Write schema.table, for example raw.orders or analytics.fact_orders.';
	END IF;
	-- 'txf_' and 'obs_' are the longest prefixes a derived name gets
	IF octet_length(parts[1]) > 63 OR octet_length(parts[2]) > 59 THEN
		RAISE EXCEPTION 'relation name "%" is too long', qualified_name
			USING ERRCODE = 'name_too_long',
				  DETAIL = CASE WHEN octet_length(parts[2]) > 59
					THEN format('The table name has %s bytes; with the prefixes of its views it would pass 63.', octet_length(parts[2]))
					ELSE format('The schema name has %s bytes.', octet_length(parts[1])) END,
				  HINT = 'A table name may have 59 bytes, a schema name 63.';
	END IF;
	IF parts[1] ~ '^pg_' OR parts[1] IN ('etl', 'information_schema') THEN
		RAISE EXCEPTION 'schema "%" cannot hold the tables of a pipeline', parts[1]
			USING ERRCODE = 'reserved_name', HINT = 'Use a schema of your own, such as raw, stg or analytics.';
	END IF;
	schema_name := parts[1];
	relation_name := parts[2];
END
$$;
COMMENT ON FUNCTION etl._parse_name(text) IS 'splits schema.table, checking that every derived name fits';

CREATE FUNCTION etl._full_name(schema_name name, relation_name name) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format('%I.%I', schema_name, relation_name) $$;
COMMENT ON FUNCTION etl._full_name(name, name) IS 'schema.table, quoted where needed';

CREATE FUNCTION etl._relation(schema_name name, relation_name name) RETURNS regclass
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN (SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	  WHERE n.nspname = schema_name AND c.relname = relation_name);
END
$$;
COMMENT ON FUNCTION etl._relation(name, name) IS 'the relation of that name, or NULL';

CREATE FUNCTION etl._ensure_schema(schema_name name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = schema_name) THEN
		EXECUTE format('CREATE SCHEMA %I', schema_name);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._ensure_schema(name) IS 'creates the schema a declaration names, as the one who declares';

CREATE FUNCTION etl._check_option_names(what text, options jsonb, allowed text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	unknown text;
BEGIN
	IF jsonb_typeof(options) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION '% must be a JSON object', what
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('It is: %s', coalesce(options::text, 'null'));
	END IF;
	SELECT key INTO unknown FROM jsonb_object_keys(options) key WHERE NOT key = ANY (allowed) ORDER BY key LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'unknown entry "%" in %', unknown, what
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = CASE WHEN allowed = '{}' THEN 'There are none yet.'
						 ELSE 'Allowed are: ' || (SELECT string_agg(a, ', ' ORDER BY a) FROM unnest(allowed) a) || '.' END;
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_option_names(text, jsonb, text[]) IS 'raises for an entry that is not allowed, naming those that are';
