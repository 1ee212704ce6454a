-- JSON Schema: every keyword by a document it accepts and one it refuses, and what is said
-- about the latter.
\set VERBOSITY default
SET client_min_messages = warning;

CREATE TEMP TABLE keyword_case (n int GENERATED ALWAYS AS IDENTITY, schema jsonb, good jsonb, bad jsonb);
INSERT INTO keyword_case (schema, good, bad) VALUES
('{"type": "integer"}', '1.0', '1.5'),
('{"type": ["string", "null"]}', 'null', '{"a": 1}'),
('{"type": "number"}', '1.5', '"1.5"'),
('{"type": "boolean"}', 'true', '0'),
('{"enum": [1, "a", {"b": [1.0]}]}', '{"b": [1]}', '{"b": [2]}'),
('{"enum": [1, 2, 3, 4, 5, 6, 7, 8, 9, {"x": null}]}', '{"x": null}', '10'),
('{"const": {"a": 1, "b": 2}}', '{"b": 2.00, "a": 1}', '{"a": 1}'),
('{"minimum": 5}', '5', '4.999999999999999999999'),
('{"maximum": 5}', '5.0', '5.000000000000000000001'),
('{"exclusiveMinimum": 5}', '5.1', '5'),
('{"exclusiveMaximum": 5}', '-7', '5'),
('{"multipleOf": 0.01}', '19.99', '19.999'),
('{"multipleOf": 123456789012345678901234567890}', '246913578024691357802469135780', '1'),
('{"minLength": 2}', '"äö"', '"ä"'),
('{"maxLength": 2}', '"😀😀"', '"abc"'),
('{"pattern": "^[A-Z]{2}-\\d+$"}', '"AB-12"', '"AB-1a"'),
('{"minItems": 1}', '[1]', '[]'),
('{"maxItems": 1}', '[1]', '[1, 2]'),
('{"uniqueItems": true}', '[1, "1", [1], {"a": 1}]', '[{"a": 1, "b": 2}, 3, {"b": 2.0, "a": 1.0}]'),
('{"items": {"type": "string"}}', '["a"]', '["a", 1, null]'),
('{"prefixItems": [{"type": "string"}, {"type": "number"}], "items": false}', '["a", 1]', '["a", "b", 3]'),
('{"contains": {"const": 1}, "minContains": 2, "maxContains": 3}', '[1, 2, 1]', '[1, 2]'),
('{"contains": {"const": 1}, "maxContains": 1}', '[1, 2]', '[1, 1]'),
('{"contains": {"const": 1}}', '[1]', '[2]'),
('{"properties": {"a": {"type": "string"}}, "required": ["a", "b"]}', '{"a": "x", "b": 1}', '{"a": 1}'),
('{"properties": {"a": true}, "patternProperties": {"^x-": {"type": "number"}}, "additionalProperties": false}', '{"a": 1, "x-y": 2}', '{"b": 1, "x-z": "2"}'),
('{"additionalProperties": {"type": "null"}}', '{"a": null}', '{"a": 1}'),
('{"propertyNames": {"maxLength": 3}}', '{"abc": 1}', '{"abcd": 1}'),
('{"minProperties": 1}', '{"a": 1}', '{}'),
('{"maxProperties": 1}', '{"a": 1}', '{"a": 1, "b": 2}'),
('{"dependentRequired": {"a": ["b", "c"]}}', '{"b": 1}', '{"a": 1, "b": 1}'),
('{"dependentSchemas": {"a": {"required": ["b"]}}}', '{"a": 1, "b": 1}', '{"a": 1}'),
('{"dependencies": {"a": ["b"], "c": {"minProperties": 2}}}', '{"a": 1, "b": 1}', '{"c": 1}'),
('{"allOf": [{"minimum": 1}, {"maximum": 3}]}', '2', '4'),
('{"anyOf": [{"type": "string"}, {"minimum": 3}]}', '3', '2'),
('{"oneOf": [{"type": "string"}, {"minimum": 3}]}', '3', '2'),
('{"oneOf": [{"type": "number"}, {"minimum": 3}]}', '2', '3'),
('{"not": {"type": "string"}}', '1', '"a"'),
('{"if": {"properties": {"kind": {"const": "a"}}}, "then": {"required": ["x"]}, "else": {"required": ["y"]}}', '{"kind": "a", "x": 1}', '{"kind": "b", "x": 1}'),
('{"$ref": "#/$defs/positive", "$defs": {"positive": {"exclusiveMinimum": 0}}}', '1', '0'),
('{"properties": {"a/b~c%d": {"$ref": "#/properties/a~1b~0c%25d/$defs/n", "$defs": {"n": {"type": "number"}}}}}', '{"a/b~c%d": 1}', '{"a/b~c%d": "1"}'),
('{"$id": "https://example.com/tree", "$dynamicAnchor": "node", "type": "object", "properties": {"children": {"items": {"$dynamicRef": "#node"}}}}', '{"children": [{"children": []}]}', '{"children": [{"children": [1]}]}'),
('{"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveAnchor": true, "properties": {"next": {"$recursiveRef": "#"}}, "additionalProperties": false}', '{"next": {"next": {}}}', '{"next": {"next": {"x": 1}}}'),
('{"$ref": "#name", "$defs": {"x": {"$anchor": "name", "type": "string"}}}', '"a"', '1'),
('{"properties": {"a": true}, "anyOf": [{"properties": {"b": true}, "required": ["b"]}, {"properties": {"c": true}}], "unevaluatedProperties": false}', '{"a": 1, "b": 1, "c": 1}', '{"a": 1, "c": 1, "d": 1}'),
('{"prefixItems": [true], "contains": {"type": "string"}, "unevaluatedItems": false}', '[1, "a", "b"]', '[1, "a", 2]'),
('{"contentEncoding": "base64", "contentMediaType": "application/json", "title": "annotations assert nothing", "type": "string"}', '"%%%"', '7'),
('true', '1', NULL),
('false', NULL, '{"a": 1}'),
('{"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"}', '1', '1.0'),
('{"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": true}', '4', '3'),
('{"$schema": "http://json-schema.org/draft-04/schema#", "id": "http://example.com/a", "items": [{"$ref": "b"}], "definitions": {"b": {"id": "b", "type": "null"}}}', '[null, 1]', '[1]'),
('{"$schema": "http://json-schema.org/draft-06/schema#", "items": [{"const": 1}], "additionalItems": {"const": 2}}', '[1, 2]', '[1, 3]'),
('{"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/a", "maximum": 1, "definitions": {"a": {"type": "integer"}}}', '7', '"7"');

-- no row: all behave
SELECT n, schema, good, etl.is_valid_json(schema, good) AS accepts_good, etl.is_valid_json(schema, bad) AS accepts_bad
FROM keyword_case
WHERE NOT etl.is_valid_json(schema, good) OR etl.is_valid_json(schema, bad)
	OR EXISTS (SELECT FROM etl.validate_json(schema, good));

SELECT n, v.* FROM keyword_case, LATERAL etl.validate_json(schema, bad) WITH ORDINALITY v ORDER BY n, ordinality;

-- a number in any notation is the same number, and small ones take a short cut: compared with numeric's own order
SELECT count(*) AS pairs,
	count(*) FILTER (WHERE etl.is_valid_json(jsonb_build_object('minimum', b), to_jsonb(a)) <> (a >= b)) AS minimum_wrong,
	count(*) FILTER (WHERE etl.is_valid_json(jsonb_build_object('exclusiveMaximum', b), to_jsonb(a)) <> (a < b)) AS maximum_wrong,
	count(*) FILTER (WHERE etl.is_valid_json(jsonb_build_object('const', b), to_jsonb(a)) <> (a = b)) AS const_wrong,
	count(*) FILTER (WHERE b > 0 AND etl.is_valid_json(jsonb_build_object('multipleOf', nullif(abs(b), 0)), to_jsonb(a)) <> (a % nullif(b, 0) = 0)) AS multiple_wrong,
	count(*) FILTER (WHERE etl.is_valid_json('{"type": "integer"}', to_jsonb(a)) <> (a = trunc(a))) AS integer_wrong
FROM unnest('{0,-0.0,1,-1,1.0,1.5,-1.5,0.0001,0.00011,-0.0001,9999,10000,10000.0001,99999999,100000000,999999999999,999999999999.9999,
	1000000000000,1000000000000.5,-999999999999.9999,12345678901234567890,12345678901234567890.1,1e30,1e-30,-1e30,0.1,0.10000,3,30000,0.5,2.50}'::numeric[]) a,
	unnest('{0,1,-1,1.5,0.0001,9999,10000,999999999999.9999,1000000000000,12345678901234567890,1e30,1e-30,0.1,3,30000,0.5,2.5}'::numeric[]) b
WHERE b <> 0 OR a <> 0;

-- formats: annotations unless asked for
SELECT format, count(*) FILTER (WHERE etl.is_valid_json(schema, value)) AS by_default,
	string_agg(value #>> '{}', ' ' ORDER BY ordinality) FILTER (WHERE etl.is_valid_json(schema, value, assert_format => true)) AS good,
	string_agg(value #>> '{}', ' ' ORDER BY ordinality) FILTER (WHERE NOT etl.is_valid_json(schema, value, true)) AS bad
FROM jsonb_each('{
	"date": ["2024-02-29", "2023-02-29", "2023-13-01"],
	"date-time": ["2026-11-19T12:00:00Z", "2026-11-19T12:00:00.5+01:00", "2026-11-19 12:00:00Z", "2026-11-19T24:00:00Z"],
	"time": ["12:00:00Z", "23:59:60Z", "12:00:60Z", "12:00:00"],
	"duration": ["P1Y2M3D", "PT5M", "P2W", "P", "P1YT", "PT1H2S"],
	"email": ["a.b@example.com", "\"a b\"@example.com", "a@[127.0.0.1]", "a@b@c.de", ".a@b.de"],
	"idn-email": ["bücher@bücher.example", "a"],
	"hostname": ["example.com", "xn--nxasmq6b.example", "-a.example", "a_b.example", "xn--X"],
	"idn-hostname": ["bücher.example", "ab-.example", "l·l.example", "a·b.example"],
	"ipv4": ["127.0.0.1", "127.0.0.01", "256.0.0.1"],
	"ipv6": ["::1", "fe80::1:2", "::ffff:1.2.3.4", "1::2::3", "fe80::1%eth0"],
	"uri": ["https://a@example.com:80/b?c#d", "urn:isbn:123", "/relative", "http://a b"],
	"uri-reference": ["/relative#x", "a:b", "1:b", "\\\\x"],
	"iri": ["http://bücher.example/ß", "//x"],
	"iri-reference": ["/ß", "\\\\ß"],
	"uri-template": ["http://x/{id}{?a,b*}", "{", "{a:0}"],
	"uuid": ["2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2eb8aa08aa9811eab4aa73b441d16380"],
	"json-pointer": ["/a~0b/~1", "a", "/~2"],
	"relative-json-pointer": ["0#", "1/a", "/a", "01"],
	"regex": ["^(a|b)\\d{2}$", "(", "\\a"],
	"unknown": ["anything"]}') f(format, texts),
	jsonb_array_elements(texts) WITH ORDINALITY v(value, ordinality),
	LATERAL (SELECT jsonb_build_object('format', format) AS schema) s
GROUP BY format ORDER BY format COLLATE "C";

-- regular expressions are ECMA-262's: a match anywhere, ASCII classes, lookaround, Unicode properties
SELECT pattern, subject FROM (VALUES
	('b', 'abc', true), ('^b', 'abc', false), ('^\w+$', 'é', false), ('^\d$', '٣', false), ('^\s$', U&'\00A0', true), ('^.$', '😀', true), ('^.$', E'\n', false),
	('^\p{Lu}\p{Ll}+$', 'Österreich', true), ('^\P{L}+$', '12', true), ('\u{1F600}', '😀', true), ('\uD83D\uDE00', '😀', true), ('^[^a]$', 'a', false),
	('^(?=.*\d)(?=.*[a-z]).{4,}$', 'abc1', true), ('^(?=.*\d)(?=.*[a-z]).{4,}$', 'abcd', false), ('^(?!foo)', 'foobar', false), ('(?<=\$)\d', 'a$1', true),
	('(?<!\$)\d', 'a$1', false), ('\bcat\b', 'a cat.', true), ('\bcat\b', 'concat', false), ('^(?<year>\d{4})$', '2026', true), ('^a{3}$', 'aaa', true),
	('^a{2,}?$', 'a', false), ('^[\w-.]+$', 'a-b.c', true), ('[]', 'a', false), ('[^]', 'a', true), ('^(?:a|b|)$', '', true), ('a{,2}', 'a{,2}', true), ('^\cJ$', E'\n', true)
	) p(pattern, subject, expected)
WHERE etl.is_valid_json(jsonb_build_object('pattern', pattern), to_jsonb(subject)) IS DISTINCT FROM expected;

-- schemas that are wrong say where and why
\set VERBOSITY terse
CREATE FUNCTION pg_temp.why(schema jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
BEGIN
	PERFORM etl.is_valid_json(schema, '1');
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN format('%s: %s (%s)', SQLSTATE, message, detail);
END
$$;
SELECT pg_temp.why(schema::jsonb) FROM unnest(ARRAY[
	'1', '{"properties": {"a": {"items": 3}}}', '{"type": "strin"}', '{"type": []}', '{"type": [1]}', '{"minimum": "1"}', '{"minLength": -1}', '{"maxItems": 1.5}',
	'{"multipleOf": 0}', '{"required": "a"}', '{"required": [1]}', '{"enum": 1}', '{"pattern": 1}', '{"pattern": "("}', '{"pattern": "[b-a]"}', '{"pattern": "a**"}',
	'{"pattern": "(a)\\1"}', '{"pattern": "\\\\p{Script=Greek}"}', '{"pattern": "\\p{Script=Greek}"}', '{"pattern": "a{10001}"}', '{"patternProperties": {"*": true}}',
	'{"allOf": []}', '{"allOf": {}}', '{"anyOf": [1]}', '{"properties": []}', '{"$ref": 1}', '{"$ref": "#/nowhere"}', '{"$ref": "#nowhere"}', '{"$ref": "other.json"}',
	'{"$ref": "http://example.com/unregistered#/a"}', '{"$schema": "http://example.com/dialect"}', '{"$schema": "http://json-schema.org/draft-03/schema#"}',
	'{"$id": 1}', '{"$id": "a#b"}', '{"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}', '{"$defs": {"a": {"$id": "x"}, "b": {"$id": "x"}}}',
	'{"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": 1}']) schema;

-- a CHECK constraint
CREATE TEMP TABLE person (document jsonb CONSTRAINT person_is_valid CHECK (etl.is_valid_json(
	'{"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}}}', document)));
INSERT INTO person VALUES ('{"name": "Ada", "age": 36}'), (NULL);
INSERT INTO person VALUES ('{"name": ""}');
INSERT INTO person VALUES ('{"age": 1}');
ALTER TABLE person ADD CONSTRAINT adult CHECK (etl.is_valid_json('{"properties": {"age": {"minimum": 18}}}', document));
SELECT * FROM person;

-- schemas of a column, more of them than the cache holds, twice
SELECT count(*) FILTER (WHERE etl.is_valid_json(jsonb_build_object('const', n % 300), to_jsonb(n % 300))) AS valid,
	count(*) FILTER (WHERE etl.is_valid_json(jsonb_build_object('const', n % 300), to_jsonb(n % 300 + 1))) AS wrong
FROM generate_series(1, 600) n;
SELECT etl.is_valid_json(NULL, '1') IS NULL AS null_schema, etl.is_valid_json('true', NULL) IS NULL AS null_document, (SELECT count(*) FROM etl.validate_json(NULL, '1')) AS rows;
SELECT proname, provolatile, proparallel, proisstrict FROM pg_proc WHERE pronamespace = 'etl'::regnamespace AND proname IN ('is_valid_json', 'validate_json') ORDER BY proname;

-- parallel workers compile for themselves
CREATE TABLE json_schema_parallel AS SELECT jsonb_build_object('id', n) AS document FROM generate_series(1, 5000) n;
ALTER TABLE json_schema_parallel SET (parallel_workers = 2);
BEGIN;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SELECT count(*) FROM json_schema_parallel WHERE etl.is_valid_json('{"properties": {"id": {"multipleOf": 5}}}', document);
COMMIT;
DROP TABLE json_schema_parallel;
