-- A JSON Schema that the records of a table have in common.

CREATE FUNCTION etl._infer_schema_step(state internal, document jsonb, max_depth integer, max_enum integer, min_evidence integer) RETURNS internal
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'etl_infer_schema_step';
COMMENT ON FUNCTION etl._infer_schema_step(internal, jsonb, integer, integer, integer) IS 'adds a document to the state of etl._infer_schema';
CREATE FUNCTION etl._infer_schema_final(state internal) RETURNS jsonb
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'etl_infer_schema_final';
COMMENT ON FUNCTION etl._infer_schema_final(internal) IS 'the result of etl._infer_schema';

-- In C: jsonb_each and GROUP BY take dozens of times as long; see bench/infer_schema.sh.
CREATE AGGREGATE etl._infer_schema(document jsonb, max_depth integer, max_enum integer, min_evidence integer) (
	SFUNC = etl._infer_schema_step, STYPE = internal, FINALFUNC = etl._infer_schema_final
);
COMMENT ON AGGREGATE etl._infer_schema(jsonb, integer, integer, integer) IS 'a JSON Schema that all documents satisfy; NULL for none';

-- Of a raw table its published records are read, which is what readers see of it.
CREATE FUNCTION etl.infer_schema(relation regclass, column_name text DEFAULT 'payload', sample_size integer DEFAULT 100000,
	max_depth integer DEFAULT 16, max_enum integer DEFAULT 0, min_evidence integer DEFAULT 5) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n record;
	columns text[];
	published regclass;
	result jsonb;
BEGIN
	IF relation IS NULL OR column_name IS NULL THEN
		RAISE EXCEPTION '% must not be null', CASE WHEN relation IS NULL THEN 'relation' ELSE 'column_name' END
			USING ERRCODE = 'null_value_not_allowed', HINT = 'For example etl.infer_schema(''raw.orders'').';
	ELSIF sample_size < 1 THEN
		RAISE EXCEPTION 'invalid sample_size %', sample_size
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is how many records are looked at, the latest first; null: all.';
	ELSIF max_depth IS NULL OR max_depth NOT BETWEEN 1 AND 64 THEN
		RAISE EXCEPTION 'invalid max_depth %', coalesce(max_depth::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is how deep objects and arrays are described, from 1 to 64.';
	ELSIF max_enum IS NULL OR max_enum NOT BETWEEN 0 AND 1000 THEN
		RAISE EXCEPTION 'invalid max_enum %', coalesce(max_enum::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is up to how many different strings are listed as an enum, from 1 to 1000; 0: none are.';
	ELSIF min_evidence IS NULL OR min_evidence < 1 THEN
		RAISE EXCEPTION 'invalid min_evidence %', coalesce(min_evidence::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is how many strings it takes to propose a format, at least 1.';
	END IF;
	SELECT c.relname, s.nspname, c.relkind INTO STRICT n FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE c.oid = relation;
	SELECT array_agg(a.attname::text) INTO columns FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped;
	IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = column_name AND a.attnum > 0
				   AND NOT a.attisdropped AND a.atttypid IN ('jsonb'::regtype, 'json'::regtype)) THEN
		RAISE EXCEPTION '% has no JSON column "%"', relation, column_name
			USING ERRCODE = 'undefined_column',
				  HINT = coalesce('Its JSON columns are: ' || (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a
						WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN ('jsonb'::regtype, 'json'::regtype)) || '.',
						'It has none; name a raw table, or a table or view with a column of type jsonb.');
	END IF;
	IF n.relkind = 'p' AND columns @> '{load_id,slice,record_number,payload,partition_key}' THEN
		published := etl._relation(n.nspname, ('vr_' || n.relname)::name);
	END IF;
	EXECUTE format('SELECT etl._infer_schema(d.document, $1, $2, $3) FROM (SELECT %I::jsonb AS document FROM %s%s%s) d', column_name,
		coalesce(published, relation),
		CASE WHEN sample_size IS NOT NULL AND columns @> '{load_id,slice,record_number}' THEN ' ORDER BY load_id DESC, slice DESC, record_number DESC' END,
		CASE WHEN sample_size IS NOT NULL THEN ' LIMIT ' || sample_size END)
	INTO result USING max_depth, max_enum, min_evidence;
	IF result IS NULL THEN
		RAISE EXCEPTION '% has no records', coalesce(published, relation)
			USING ERRCODE = 'no_data_found', HINT = 'Run its pipeline first; only published records are read.';
	END IF;
	RETURN result;
END
$$;
COMMENT ON FUNCTION etl.infer_schema(regclass, text, integer, integer, integer, integer) IS
	'proposes a JSON Schema from the records of a raw table, or of any table or view with a JSON column; all records looked at satisfy it';
