-- A JSON Schema proposed from documents: what it says, and that all of them satisfy it.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA inf;
CREATE TABLE inf.docs (payload jsonb, other json);
-- documents as a table, their schema without "$schema"
CREATE FUNCTION pg_temp.inferred(documents text, arguments text DEFAULT '') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	schema jsonb;
	broken bigint;
BEGIN
	TRUNCATE inf.docs;
	INSERT INTO inf.docs SELECT d FROM jsonb_array_elements(documents::jsonb) d;
	EXECUTE format('SELECT etl.infer_schema(''inf.docs''%s)', arguments) INTO schema;
	SELECT count(*) INTO broken FROM inf.docs WHERE NOT etl.is_valid_json(schema, payload, true);
	RETURN concat(CASE WHEN broken > 0 THEN broken || ' documents are not valid: ' END, schema - '$schema');
END
$$;
SELECT pg_temp.inferred('[{}]');
SELECT etl.infer_schema('inf.docs');

--
-- Types
--
SELECT d, pg_temp.inferred(d) FROM unnest('{[null],"[1, 2.0, -3e2]","[1, 1.5]","[0.1]","[123456789012345678901234567890]",[true],"[\"a\", null]","[1, \"a\", null, true, [], {}, 2.5]","[[], []]"}'::text[]) d;
-- required: present in all, null or not; in the order of names
SELECT pg_temp.inferred('[{"b": 1, "a": null, "sometimes": 1, "long name": 1}, {"a": 2, "b": 3, "long name": "x"}]');
-- objects in objects; each level has its own required
SELECT pg_temp.inferred('[{"a": {"b": {"c": 1, "d": 1}}}, {"a": {"b": {"c": 2}}}, {"a": null}, {"a": {}}]');
-- elements of arrays are merged, also across arrays
SELECT pg_temp.inferred('[{"a": [{"x": 1, "y": 1}, {"x": null}]}, {"a": []}, {"a": [{"x": 2, "y": "z"}, "text"]}]');
SELECT pg_temp.inferred('[[[1, 2], [3.5]], [[]]]');
-- an object here, something else there
SELECT pg_temp.inferred('[{"a": {"x": 1}}, {"a": [{"x": 1}]}, {"a": "x"}]');
-- names that need care
SELECT pg_temp.inferred('[{"": 1, "a\"b": 2, "$ref": "x", "ü": {"\\": null}, "properties": {"type": "x"}}]');

--
-- Formats: all strings have it, and there are enough of them
--
SELECT f, pg_temp.inferred(format('[%s]', array_to_string(array_fill(to_json(v)::text, ARRAY[5]), ',')))
FROM (VALUES ('date', '2024-02-29'), ('date-time', '2024-01-01T00:00:00Z'), ('uuid', '123e4567-e89b-12d3-a456-426614174000'), ('email', 'a.b@example.org'), ('uri', 'https://example.org/?a=b'),
	('no date', '2024-02-30'), ('a colon', 'key:value'), ('empty', ''), ('a time', '12:00:00')) x(f, v);
SELECT pg_temp.inferred('["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]') AS too_few, pg_temp.inferred('["2024-01-01", "2024-01-02"]', ', min_evidence => 2') AS enough,
	pg_temp.inferred('["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "n/a"]') AS not_all, pg_temp.inferred('["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", null, 1]') AS only_strings_count;

--
-- Enums: asked for, few and short, seen often
--
SELECT pg_temp.inferred('["b", "a", "b", "a", "a", "b", "b", "a", "a", "b"]') AS not_asked_for, pg_temp.inferred('["b", "a", "b", "a", "a", "b", "b", "a", "a", "b"]', ', max_enum => 2') AS asked_for,
	pg_temp.inferred('["b", "a", "b", "a", "a", "b", "b", "a", "a", "b"]', ', max_enum => 1') AS too_many, pg_temp.inferred('["b", "a", "b", "a"]', ', max_enum => 9') AS seldom,
	pg_temp.inferred('["a", "a", null, "a", "ab", "a", "ab", "", "", "ab"]', ', max_enum => 9, min_evidence => 2') AS with_null, pg_temp.inferred('["a", "a", 1]', ', max_enum => 9, min_evidence => 1') AS other_types,
	pg_temp.inferred(format('["%s", "a"]', repeat('x', 65)), ', max_enum => 9, min_evidence => 1') AS too_long, pg_temp.inferred('["2024-01-01", "2024-01-01"]', ', max_enum => 9, min_evidence => 1') AS rather_than_a_format;

--
-- Bounds
--
SELECT pg_temp.inferred('[{"a": {"b": {"c": [1]}}}]', ', max_depth => 1') AS one, pg_temp.inferred('[{"a": {"b": {"c": [1]}}}]', ', max_depth => 2') AS two, pg_temp.inferred('[{"a": {"b": {"c": [1]}}}]', ', max_depth => 3') AS three,
	pg_temp.inferred('[{"a": {"b": {"c": [1]}}}]', ', max_depth => 4') AS four;
SELECT pg_temp.inferred('[' || repeat('[', 1000) || repeat(']', 1000) || ']', ', max_depth => 3');
-- keyed by data: names that say nothing
SELECT pg_temp.inferred((SELECT jsonb_agg(jsonb_build_object('by id', jsonb_build_object('id ' || i, i), 'n', i))::text FROM generate_series(1, 1001) i));
-- the sample: the latest records of a raw table, the first ones of any other
SELECT etl.infer_schema('inf.docs', sample_size => 1) #> '{properties,by id}' AS one, etl.infer_schema('inf.docs', sample_size => NULL) #> '{properties,by id}' AS all;

--
-- All documents are valid, whatever they are
--
CREATE FUNCTION pg_temp.random_json(depth integer) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE floor(random() * CASE WHEN depth > 0 THEN 9 ELSE 6 END)
		WHEN 0 THEN 'null'::jsonb WHEN 1 THEN to_jsonb(random() < 0.5) WHEN 2 THEN to_jsonb(floor(random() * 10)) WHEN 3 THEN to_jsonb(round((random() * 10)::numeric, 1))
		WHEN 4 THEN to_jsonb((ARRAY['a', 'b', '2024-01-01', 'https://a.b/', 'x@y.z', ''])[1 + floor(random() * 6)::integer]) WHEN 5 THEN to_jsonb(date '2024-01-01' + floor(random() * 9)::integer)
		WHEN 6 THEN (SELECT coalesce(jsonb_agg(pg_temp.random_json(depth - 1)), '[]') FROM generate_series(1, floor(random() * 4)::integer))
		ELSE (SELECT coalesce(jsonb_object_agg(k, pg_temp.random_json(depth - 1)), '{}') FROM unnest('{a,b,c,long name}'::text[]) k WHERE random() < 0.7) END;
END
$$;
CREATE FUNCTION pg_temp.broken(seed integer) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	schema jsonb;
BEGIN
	PERFORM setseed(seed / 1000.0);
	TRUNCATE inf.docs;
	INSERT INTO inf.docs SELECT pg_temp.random_json(4) FROM generate_series(1, 20);
	schema := etl.infer_schema('inf.docs', min_evidence => 1 + seed % 3, max_enum => seed % 5, max_depth => 1 + seed % 6);
	IF schema <> etl.infer_schema('inf.docs', min_evidence => 1 + seed % 3, max_enum => seed % 5, max_depth => 1 + seed % 6) THEN
		RAISE EXCEPTION 'inferred twice, it differs';
	END IF;
	PERFORM etl._check_schema('https://inf.example/', schema);
	RETURN (SELECT count(*) FROM inf.docs WHERE NOT etl.is_valid_json(schema, payload, true));
END
$$;
SELECT sum(pg_temp.broken(seed)) AS broken FROM generate_series(1, 300) seed;

--
-- What it reads
--
UPDATE inf.docs SET other = '{"b": 1,  "b": 2}';
SELECT etl.infer_schema('inf.docs', 'other') - '$schema' AS json;
CREATE VIEW inf.view AS SELECT jsonb_build_object('n', n) AS payload FROM generate_series(1, 3) n;
SELECT etl.infer_schema('inf.view') - '$schema' AS view;
-- of a raw table what is published
CREATE SERVER inf_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:9');
SELECT etl.create_pipeline('inf');
SELECT etl.add_extract('inf', 'inf.r', 'inf_api');
INSERT INTO inf.r (load_id, data_interval_start, data_interval_end, slice, record_number, payload, fetched_at) VALUES (999999999, '2024-01-01', '2024-01-02', 0, 0, '{"unpublished": 1}', now());
SELECT etl.infer_schema('inf.r');

SELECT etl.infer_schema(NULL);
SELECT etl.infer_schema('inf.docs', NULL);
SELECT etl.infer_schema('inf.docs', 'payloads');
SELECT etl.infer_schema('pg_class');
SELECT etl.infer_schema('inf.nothing');
SELECT etl.infer_schema('inf.docs', sample_size => 0);
SELECT etl.infer_schema('inf.docs', max_depth => 65);
SELECT etl.infer_schema('inf.docs', max_enum => -1);
SELECT etl.infer_schema('inf.docs', min_evidence => 0);
-- only by who may read it
CREATE ROLE regress_etl_inf;
GRANT USAGE ON SCHEMA inf TO regress_etl_inf;
SET ROLE regress_etl_inf;
SELECT etl.infer_schema('inf.docs');
SELECT etl.infer_schema('inf.r');
RESET ROLE;
SELECT etl.drop_pipeline('inf', drop_data => true);
DROP SCHEMA inf CASCADE;
DROP SERVER inf_api;
DROP ROLE regress_etl_inf;
