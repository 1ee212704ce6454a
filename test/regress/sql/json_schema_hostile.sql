-- Schemas and documents made to hang or crash: each ends in an answer or an error.
\set VERBOSITY terse
SET client_min_messages = warning;
SET statement_timeout = '60s';

-- references that lead back to themselves on the same value
SELECT etl.is_valid_json('{"$ref": "#"}', '1');
SELECT etl.is_valid_json('{"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"not": {"$ref": "#"}}]}}}', '{"a": 1}');
SELECT etl.is_valid_json('{"$dynamicAnchor": "x", "allOf": [{"$dynamicRef": "#x"}]}', '[]');
SELECT etl.is_valid_json('{"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveAnchor": true, "$recursiveRef": "#"}', '[]');
-- in a tree they are fine
SELECT etl.is_valid_json('{"properties": {"a": {"$ref": "#"}}, "items": {"$ref": "#"}, "additionalProperties": false}', '{"a": [{"a": []}, [[[{}]]]]}');

-- branches that double with every level
CREATE FUNCTION pg_temp.doubling(levels int, keyword text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('$ref', '#/$defs/0', '$defs', jsonb_object_agg(level, CASE WHEN level = levels THEN '{"type": "string"}'
		ELSE jsonb_build_object(keyword, jsonb_build_array(jsonb_build_object('$ref', '#/$defs/' || level + 1), jsonb_build_object('$ref', '#/$defs/' || level + 1))) END))
	FROM generate_series(0, levels) level
$$;
SELECT etl.is_valid_json(pg_temp.doubling(60, 'allOf'), '"a"');
SELECT etl.is_valid_json(pg_temp.doubling(60, 'anyOf'), '1');
SELECT count(*) FROM etl.validate_json(pg_temp.doubling(60, 'allOf'), '1');
SELECT etl.is_valid_json(pg_temp.doubling(8, 'oneOf'), '"a"') AS few_levels;

-- depth: of documents, of schemas
CREATE TEMP TABLE deep AS
SELECT (repeat('[', 1500) || repeat(']', 1500))::jsonb AS arrays, (repeat('{"a":', 1500) || '1' || repeat('}', 1500))::jsonb AS objects,
	(repeat('{"not":', 1501) || 'true' || repeat('}', 1501))::jsonb AS schema;
SELECT etl.is_valid_json('{"items": {"$ref": "#"}}', arrays) AS arrays,
	etl.is_valid_json('{"properties": {"a": {"$ref": "#"}}, "type": ["object", "number"]}', objects) AS objects,
	etl.is_valid_json(schema, '1') AS schema FROM deep;
SET max_stack_depth = '100kB';
SELECT etl.is_valid_json('{"items": {"$ref": "#"}}', arrays) FROM deep;
SELECT count(*) FROM deep, etl.validate_json('{"items": {"$ref": "#"}, "unevaluatedItems": false}', arrays);
SELECT etl.is_valid_json(schema, '1') FROM deep;
SELECT etl.is_valid_json(jsonb_build_object('const', arrays), arrays) FROM deep;
SELECT etl.is_valid_json(jsonb_build_object('pattern', repeat('(', 3000) || repeat(')', 3000)), '"a"');
RESET max_stack_depth;

-- patterns that take a backtracking engine for ever
SELECT pattern, etl.is_valid_json(jsonb_build_object('pattern', pattern), to_jsonb(repeat('a', 20000) || '!')) AS matches
FROM unnest(ARRAY['^(a+)+$', '^(a|aa)+$', '^(a|a)*$', '(x+x+)+y', '^(([a-z])+.)+[A-Z]([a-z])+$', '^(?=(a+)+$)(?=(a*)*$)b', '\b(\w+\s*)+\b$', '(?=.*(?=.*(?=.*(?=.*x))))',
	'(?<=(?<=(a+)+)a+)$', '^(a?){30}a{30}!']) pattern;
-- patterns that grow when they are compiled
SELECT etl.is_valid_json(jsonb_build_object('pattern', pattern), '"a"') FROM unnest(ARRAY['((a{100}){100}){100}']) pattern;
SELECT etl.is_valid_json(jsonb_build_object('pattern', '(?=(a{0,255}){0,255})b'), '"a"');
SELECT etl.is_valid_json(jsonb_build_object('pattern', repeat('a', 10001)), '"a"');
SELECT etl.is_valid_json(jsonb_build_object('pattern', '^' || repeat('(a|b)?', 1500) || '$'), to_jsonb(repeat('ab', 750))) AS long_pattern;
SELECT etl.is_valid_json(jsonb_build_object('pattern', repeat('[\p{L}\d]', 1000)), '"a"') AS big_sets;
-- a pattern on too much text is an error, not a wait
SELECT etl.is_valid_json('{"pattern": ".{0,5000}b"}', to_jsonb(repeat('a', 300000)));

-- numbers
SELECT etl.is_valid_json('{"multipleOf": 1e-16000}', '1e131000') AS tiny, etl.is_valid_json('{"multipleOf": 7}', '1e131000') AS huge, etl.is_valid_json('{"minLength": 1e400}', '"a"') AS long;

-- many items, many members, many values
SELECT etl.is_valid_json('{"uniqueItems": true}', (SELECT jsonb_agg(n) FROM generate_series(1, 100000) n)) AS unique_items,
	etl.is_valid_json('{"uniqueItems": true}', (SELECT jsonb_agg(n % 99999) FROM generate_series(1, 100000) n)) AS not_unique,
	etl.is_valid_json(jsonb_build_object('enum', (SELECT jsonb_agg(n) FROM generate_series(1, 100000) n)), '100000') AS in_enum,
	etl.is_valid_json(jsonb_build_object('properties', (SELECT jsonb_object_agg(n, '{"type": "number"}'::jsonb) FROM generate_series(1, 20000) n), 'additionalProperties', false),
		(SELECT jsonb_object_agg(n, n) FROM generate_series(1, 20000) n)) AS members;

-- it can be cancelled
SET statement_timeout = '300ms';
SELECT etl.is_valid_json(pg_temp.doubling(60, 'allOf'), to_jsonb(repeat('a', 20000000)));
