-- JSON Schema: documents validated as JSONB, schemas that others refer to.

CREATE TABLE etl.registered_schema (
	uri text PRIMARY KEY CHECK (uri <> '' AND strpos(uri, '#') = 0),
	schema jsonb NOT NULL,
	registered_at timestamptz NOT NULL DEFAULT now(),
	registered_by name NOT NULL DEFAULT session_user
);
COMMENT ON TABLE etl.registered_schema IS 'JSON Schemas that others may refer to; written by etl.register_schema and etl.unregister_schema';
COMMENT ON COLUMN etl.registered_schema.uri IS 'what "$ref" leads to: absolute, without fragment';
SELECT pg_catalog.pg_extension_config_dump('etl.registered_schema', '');
REVOKE ALL ON etl.registered_schema FROM PUBLIC;
GRANT SELECT ON etl.registered_schema TO PUBLIC;

CREATE FUNCTION etl._registered_schema_changed() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_registered_schema_changed';
COMMENT ON FUNCTION etl._registered_schema_changed() IS 'makes all backends compile anew what refers to registered schemas';
REVOKE ALL ON FUNCTION etl._registered_schema_changed() FROM PUBLIC;
CREATE TRIGGER registered_schema_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON etl.registered_schema
FOR EACH STATEMENT EXECUTE FUNCTION etl._registered_schema_changed();
-- also where triggers are off: what replication applies counts, too
ALTER TABLE etl.registered_schema ENABLE ALWAYS TRIGGER registered_schema_changed;

-- IMMUTABLE is a promise that holds for self-contained schemas; docs/reference/json_schema.md says what a registered one changes.
CREATE FUNCTION etl.is_valid_json(schema jsonb, document jsonb, assert_format boolean DEFAULT false) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'etl_is_valid_json';
COMMENT ON FUNCTION etl.is_valid_json(jsonb, jsonb, boolean) IS 'whether the document satisfies the JSON Schema; usable in CHECK constraints';

CREATE FUNCTION etl.validate_json(schema jsonb, document jsonb, assert_format boolean DEFAULT false)
RETURNS TABLE (instance_path text, keyword text, schema_path text, message text)
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 200 ROWS 10 AS 'MODULE_PATHNAME', 'etl_validate_json';
COMMENT ON FUNCTION etl.validate_json(jsonb, jsonb, boolean) IS 'every way in which the document breaks the JSON Schema; no row when it is valid';

-- jsonb cannot hold \u0000. Not overloads: a call with two literals would have no best candidate.
CREATE FUNCTION etl.is_valid_json_text(schema text, document text, assert_format boolean DEFAULT false) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 200 AS 'MODULE_PATHNAME', 'etl_is_valid_json_text';
COMMENT ON FUNCTION etl.is_valid_json_text(text, text, boolean) IS 'is_valid_json of JSON text, which may hold \u0000 as jsonb may not';

CREATE FUNCTION etl.validate_json_text(schema text, document text, assert_format boolean DEFAULT false)
RETURNS TABLE (instance_path text, keyword text, schema_path text, message text)
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 400 ROWS 10 AS 'MODULE_PATHNAME', 'etl_validate_json_text';
COMMENT ON FUNCTION etl.validate_json_text(text, text, boolean) IS 'validate_json of JSON text, which may hold \u0000 as jsonb may not';

CREATE FUNCTION etl._check_schema(uri text, schema jsonb) RETURNS void
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'etl_check_schema';
COMMENT ON FUNCTION etl._check_schema(text, jsonb) IS 'raises unless the JSON Schema can be registered under the URI';

CREATE FUNCTION etl.register_schema(uri text, schema jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF uri IS NULL OR schema IS NULL THEN
		RAISE EXCEPTION 'a JSON Schema is registered by its URI and its text, neither of which may be null'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM etl._check_schema(rtrim(uri, '#'), schema);
	INSERT INTO etl.registered_schema AS r (uri, schema) VALUES (rtrim(uri, '#'), schema)
	ON CONFLICT ON CONSTRAINT registered_schema_pkey DO UPDATE
		SET schema = EXCLUDED.schema, registered_at = EXCLUDED.registered_at, registered_by = EXCLUDED.registered_by
		WHERE r.schema <> EXCLUDED.schema;
END
$$;
COMMENT ON FUNCTION etl.register_schema(text, jsonb) IS 'makes a JSON Schema known under a URI that other schemas may refer to; replaces the one known before';
REVOKE ALL ON FUNCTION etl._check_schema(text, jsonb), etl.register_schema(text, jsonb) FROM PUBLIC;

CREATE FUNCTION etl.unregister_schema(uri text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM etl.registered_schema r WHERE r.uri = rtrim(unregister_schema.uri, '#');
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION etl.unregister_schema(text) IS 'forgets a registered JSON Schema; false when there was none';
REVOKE ALL ON FUNCTION etl.unregister_schema(text) FROM PUBLIC;
