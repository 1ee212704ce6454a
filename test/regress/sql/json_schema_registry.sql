-- Schemas registered under a URI, and what refers to them.
SET client_min_messages = warning;

SELECT etl.register_schema('https://example.com/address', '{"$schema": "https://json-schema.org/draft/2020-12/schema",
	"type": "object", "required": ["city"], "properties": {"city": {"$ref": "name"}}, "$defs": {"zip": {"$anchor": "zip", "pattern": "^\\d{5}$"}}}');
-- "name" is not registered yet: no matter until somebody uses it
SELECT etl.is_valid_json('{"$ref": "https://example.com/address"}', '{"city": "Bonn"}');
SELECT etl.register_schema('https://example.com/name#', '{"type": "string", "minLength": 2}');
SELECT etl.is_valid_json('{"$ref": "https://example.com/address"}', '{"city": "Bonn"}') AS bonn,
	etl.is_valid_json('{"$ref": "https://example.com/address"}', '{"city": "B"}') AS b,
	etl.is_valid_json('{"$ref": "https://example.com/address#zip"}', '"53111"') AS by_anchor,
	etl.is_valid_json('{"$ref": "https://example.com/address#/$defs/zip"}', '"x"') AS by_pointer;
SELECT * FROM etl.validate_json('{"properties": {"home": {"$ref": "https://example.com/address"}}}', '{"home": {"city": "B"}}');

-- a change is seen at once, by the same constant too, and taken back with its transaction
CREATE TABLE json_schema_place (document jsonb CHECK (etl.is_valid_json('{"$ref": "https://example.com/name"}', document)));
INSERT INTO json_schema_place VALUES ('"ab"');
INSERT INTO json_schema_place VALUES ('"a"');
BEGIN;
SELECT etl.register_schema('https://example.com/name', '{"type": "string", "maxLength": 1}');
INSERT INTO json_schema_place VALUES ('"a"');
SELECT etl.is_valid_json('{"$ref": "https://example.com/address"}', '{"city": "B"}');
ROLLBACK;
SELECT etl.is_valid_json('{"$ref": "https://example.com/address"}', '{"city": "B"}');
DO $$
BEGIN
	FOR round IN 1..3 LOOP
		PERFORM etl.register_schema('https://example.com/counter', jsonb_build_object('const', round));
		IF NOT etl.is_valid_json('{"$ref": "https://example.com/counter"}', to_jsonb(round)) THEN
			RAISE EXCEPTION 'round % still sees an older schema', round;
		END IF;
	END LOOP;
END
$$;
SELECT etl.unregister_schema('https://example.com/name') AS known, etl.unregister_schema('https://example.com/name') AS twice;
INSERT INTO json_schema_place VALUES ('"ab"');
DROP TABLE json_schema_place;

-- the dialect of a registered schema without "$schema" is that of the schema that refers to it
SELECT etl.register_schema('urn:example:tuple', '{"items": [{"type": "string"}]}');
SELECT etl.is_valid_json('{"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "urn:example:tuple"}', '[1]');
SELECT etl.is_valid_json('{"$ref": "urn:example:tuple"}', '[1]');

-- a metaschema that leaves the vocabulary of assertions out, and one that asserts formats
SELECT etl.register_schema('https://example.com/lenient', '{"$schema": "https://json-schema.org/draft/2020-12/schema",
	"$vocabulary": {"https://json-schema.org/draft/2020-12/vocab/core": true, "https://json-schema.org/draft/2020-12/vocab/applicator": true}}');
SELECT etl.register_schema('https://example.com/strict', '{"$schema": "https://json-schema.org/draft/2020-12/schema",
	"$vocabulary": {"https://json-schema.org/draft/2020-12/vocab/core": true, "https://json-schema.org/draft/2020-12/vocab/format-assertion": true}}');
SELECT etl.register_schema('https://example.com/alien', '{"$schema": "https://json-schema.org/draft/2020-12/schema", "$vocabulary": {"https://example.com/vocab": true}}');
SELECT etl.is_valid_json('{"$schema": "https://example.com/lenient", "minimum": 5}', '1') AS minimum_ignored,
	etl.is_valid_json('{"$schema": "https://example.com/strict", "format": "ipv4"}', '"x"') AS format_ignored;
SELECT etl.is_valid_json('{"$schema": "https://example.com/alien"}', '1');

-- the metaschemas are there: a schema can be a document
SELECT d.uri, etl.is_valid_json(jsonb_build_object('$ref', d.uri), '{"minLength": 1}') AS good, etl.is_valid_json(jsonb_build_object('$ref', d.uri), '{"minLength": -1}') AS bad
FROM unnest(ARRAY['http://json-schema.org/draft-04/schema#', 'http://json-schema.org/draft-06/schema#', 'http://json-schema.org/draft-07/schema#',
	'https://json-schema.org/draft/2019-09/schema', 'https://json-schema.org/draft/2020-12/schema']) d(uri);

-- what cannot be registered
SELECT etl.register_schema('', 'true');
SELECT etl.register_schema('https://example.com/a#b', 'true');
SELECT etl.register_schema('https://example.com/wrong', '{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "nothing"}');
SELECT etl.register_schema('https://example.com/wrong', '7');
SELECT etl.register_schema('http://json-schema.org/draft-07/schema#', 'true');
SELECT etl.register_schema('https://example.com/null', NULL);

-- everybody reads, not everybody registers
CREATE ROLE regress_json_schema;
SET ROLE regress_json_schema;
SELECT etl.is_valid_json('{"$ref": "https://example.com/counter"}', '3');
SELECT count(*) FROM etl.registered_schema WHERE uri = 'urn:example:tuple';
SELECT etl.register_schema('urn:example:mine', 'true');
SELECT etl.unregister_schema('urn:example:tuple');
INSERT INTO etl.registered_schema (uri, schema) VALUES ('urn:example:mine', 'true');
RESET ROLE;
GRANT EXECUTE ON FUNCTION etl.register_schema(text, jsonb), etl.unregister_schema(text) TO regress_json_schema;
SET ROLE regress_json_schema;
SELECT etl.register_schema('urn:example:mine', 'true');
RESET ROLE;
SELECT uri, schema FROM etl.registered_schema WHERE uri LIKE 'urn:example:%' ORDER BY uri;
SELECT count(*) AS dumped FROM pg_extension WHERE 'etl.registered_schema'::regclass = ANY (extconfig);
DROP OWNED BY regress_json_schema;
DROP ROLE regress_json_schema;

SELECT count(etl.unregister_schema(uri)) FROM etl.registered_schema WHERE uri LIKE 'https://example.com/%' OR uri LIKE 'urn:example:%';
