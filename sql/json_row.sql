-- Typed columns from a document in one pass.

CREATE FUNCTION etl.json_row(document jsonb, row_type anyelement, paths text[] DEFAULT NULL, errors text DEFAULT 'fail') RETURNS anyelement
LANGUAGE C STABLE COST 10 AS 'MODULE_PATHNAME', 'etl_json_row';
COMMENT ON FUNCTION etl.json_row(jsonb, anyelement, text[], text) IS
	'the fields of a document as a row of a composite type, read in one pass; paths like customer.city, by default the names of the columns';
