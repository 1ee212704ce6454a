-- JSON Schema of text: \u0000, which jsonb cannot hold, and everything else as of jsonb.
SET client_min_messages = warning;

-- every keyword that looks into strings
CREATE TEMP TABLE nul_case (n int GENERATED ALWAYS AS IDENTITY, schema text, good text, bad text);
INSERT INTO nul_case (schema, good, bad) VALUES
(E'{"const": "hello\\u0000there"}', E'"hello\\u0000there"', '"hellothere"'),
(E'{"enum": ["hello\\u0000there"]}', E'"hello\\u0000there"', E'"hello\\u0000"'),
(E'{"enum": [1, 2, 3, 4, 5, 6, 7, 8, {"a\\u0000": 0}]}', E'{"a\\u0000": 0.0}', '{"a": 0}'),
(E'{"minLength": 3, "maxLength": 3}', E'"ä\\u0000😀"', E'"a\\u0000"'),
(E'{"pattern": "^a\\u0000b$"}', E'"a\\u0000b"', '"ab"'),
(E'{"pattern": "^a\\\\0\\\\x00\\\\u0000\\\\cA?$"}', E'"a\\u0000\\u0000\\u0000"', E'"a\\u0000\\u0000"'),
(E'{"pattern": "^[^\\u0000]*$"}', '"ab"', E'"ab\\u0000"'),
(E'{"pattern": "(?<=\\\\0)b\\\\b"}', E'"a\\u0000b"', E'"\\u0000a b"'),
(E'{"uniqueItems": true}', E'["\\u0000", "\\u0000\\u0000", ""]', E'["a\\u0000", "a\\u0000"]'),
(E'{"properties": {"a\\u0000b": {"type": "string"}}}', E'{"a\\u0000b": "", "a": 1}', E'{"a\\u0000b": 1}'),
(E'{"required": ["a\\u0000b"]}', E'{"a\\u0000b": 1}', '{"a": 1}'),
(E'{"properties": {"a": true}, "additionalProperties": false}', '{"a": 1}', E'{"a\\u0000": 1}'),
(E'{"patternProperties": {"^\\u0000": {"type": "null"}}, "unevaluatedProperties": false}', E'{"\\u0000a": null}', E'{"\\u0000a": null, "a\\u0000": null}'),
(E'{"propertyNames": {"maxLength": 2}}', E'{"a\\u0000": 1}', E'{"a\\u0000b": 1}'),
(E'{"dependentRequired": {"a\\u0000": ["b\\u0000"]}}', E'{"a\\u0000": 1, "b\\u0000": 1}', E'{"a\\u0000": 1, "b": 1}'),
(E'{"$ref": "#/$defs/a%00b", "$defs": {"a\\u0000b": {"type": "string"}, "a": true}}', '""', '1'),
(E'{"type\\u0000": "string", "typ\\u0000e": "string", "minimum": 1}', '1', '0'),
(E'{"format": "json-pointer"}', E'"/a\\u0000b"', E'"a\\u0000"'),
(E'{"format": "ipv4"}', '"192.0.2.1"', E'"192.0.2.1\\u0000"'),
(E'{"format": "date"}', '"2026-11-21"', E'"2026-11-21\\u0000"'),
(E'{"format": "duration"}', '"P1Y"', E'"P1\\u0000"'),
(E'{"format": "email"}', '"a@example.com"', E'"a\\u0000@example.com"'),
(E'{"format": "regex"}', E'"\\u0000"', E'"\\u0000["');
SELECT n, schema, etl.is_valid_json_text(schema, good, true) AS good, etl.is_valid_json_text(schema, bad, true) AS bad FROM nul_case ORDER BY n;
SELECT n, v.* FROM nul_case, etl.validate_json_text(schema, bad, true) v ORDER BY n, v.instance_path COLLATE "C";
SELECT count(*) AS violations_of_good FROM nul_case, etl.validate_json_text(schema, good, true);

-- an identifier cannot hold it
CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	EXECUTE command;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ' ' || SQLERRM || ' / ' || detail;
END
$$;
SELECT schema, pg_temp.attempt(format('SELECT etl.is_valid_json_text(%L, %L)', schema, '1')) AS said FROM unnest(ARRAY[
	E'{"$ref": "#/a\\u0000"}', E'{"$id": "http://example.com/\\u0000"}', E'{"$anchor": "a\\u0000"}', E'{"$dynamicAnchor": "a\\u0000"}', E'{"$schema": "\\u0000"}',
	E'{"$ref": "#a%00", "$defs": {"a": {"$anchor": "a"}}}', E'{"pattern": "\\u0000("}', E'{"type": "string\\u0000"}', E'{"required": [{"a\\u0000": [1, "\\u0000", null]}]}']) schema;

-- the text is read as jsonb reads it, and refused as there
SELECT document, pg_temp.attempt(format('SELECT %L::jsonb', document)) = pg_temp.attempt(format('SELECT etl.is_valid_json_text(''true'', %L)', document)) AS as_jsonb,
	left(pg_temp.attempt(format('SELECT etl.is_valid_json_text(''true'', %L)', document)), 8) AS said
FROM unnest(ARRAY['', ' ', '{', '{"a"', '{"a" 1}', '{"a": 1,}', '{"a": 1 "b": 2}', '{1: 2}', '{,}', '[', '[1', '[1 2]', '[1,]', '[,]', ']', '1 2', '{"a": 1}}', 'tru', '01', '1.', '-', '"', E'"\\x"',
	E'"\\u00g0"', E'"\\ud83d"', E'"\\ud83d\\n"', E'"\\ud83dx"', E'"\\ude00"', E'"\\ud83d\\ud83d"', E'"\n"', '1e200000', 'NaN',
	'[]', '{}', '[[[]], {"": ""}]', '{"b": 1, "a": 2, "b": 3}', E'"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\uD83D\\uDE00"', '-1.50e+3', ' [ null , true , false ] ']) document;
SELECT etl.is_valid_json_text('{"const": {"a": 2, "b": 3}}', '{"b": 1, "a": 2, "b": 3}') AS last_of_a_name,
	etl.is_valid_json_text(E'{"const": "\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\uD83D\\uDE00"}', E'"\\"\\\\/\\u0008\\u000c\\u000a\\u000D\\u0009ä😀"') AS escapes;
SELECT pg_temp.attempt(format('SELECT etl.is_valid_json_text(''true'', %L)', repeat('[', 100000))) LIKE '54001%' AS nested_too_deep;
SELECT etl.is_valid_json_text(NULL, '1') IS NULL AS null_schema, etl.is_valid_json_text('true', NULL) IS NULL AS null_document;

-- a variable of PL/pgSQL holds another schema at each call
CREATE FUNCTION pg_temp.each(schemas text[], OUT by_text boolean[], OUT by_jsonb boolean[]) LANGUAGE plpgsql AS $$
DECLARE
	schema text;
BEGIN
	FOREACH schema IN ARRAY schemas LOOP
		by_text := by_text || etl.is_valid_json_text(schema, '1');
		by_jsonb := by_jsonb || etl.is_valid_json(schema::jsonb, '1');
	END LOOP;
END
$$;
SELECT * FROM pg_temp.each(ARRAY['{"const": 1}', '{"const": 2}', '{"type": "string"}', 'true']);

-- in a constraint, and as whom everybody is
CREATE TEMP TABLE note (document json CHECK (etl.is_valid_json_text('{"type": "object", "required": ["a"]}', document::text)));
INSERT INTO note VALUES (E'{"a": "\\u0000"}');
INSERT INTO note VALUES (E'{"b": "\\u0000"}');
SET ROLE pg_read_all_data;
SELECT etl.is_valid_json_text(E'"\\u0000" ', '1');
RESET ROLE;
