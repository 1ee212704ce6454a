-- Drift: how the records of a load differ from the record_schema or from loads before, what
-- each contract makes of it, and what a schema says about paths.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
\getenv api ETL_TEST_API
CREATE SERVER sd_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url :'api', retry_delay '10 ms', max_retry_delay '20 ms');
CREATE SCHEMA sd;
-- what the source sends: records {"id", "value", "updated_at"}, one field of the second set to anything
CREATE TABLE sd.source (fault text, field text, json text, n integer);
INSERT INTO sd.source VALUES ('set_field', 'value', '"a"', 12);
CREATE FUNCTION pg_temp.declare(record_schema jsonb, contract text DEFAULT 'evolve', on_invalid text DEFAULT 'quarantine') RETURNS void
LANGUAGE sql AS $$
	SELECT etl.add_extract('sd', 'sd.r', 'sd_api', path => '/fault/{fault}', query => '{"field": "{field}", "json": "{json}", "record": 1, "pages": 1, "per_page": "{n}"}',
		for_each => 'sd.source', key => '{$.id}', record_schema => record_schema, contract => contract, on_invalid => on_invalid)
$$;
CREATE VIEW pg_temp.drift AS
	SELECT d.data_interval_start::date AS day, d.load_state, d.path, d.change, d.declared, d.observed, d.records, f.data_interval_start::date AS first_seen
	FROM etl.schema_drift d JOIN etl.loads f ON f.load_id = d.first_seen_load WHERE d.pipeline = 'sd' ORDER BY d.load_id, d.path COLLATE "C";

--
-- Without a record_schema: what published loads had is what is expected
--
SELECT etl.create_pipeline('sd');
SELECT pg_temp.declare(NULL);
SELECT state, fetched, loaded FROM pg_temp.extract('sd', '2024-01-01');
SELECT count(*) AS the_first_load_is_no_drift FROM pg_temp.drift;
-- a new field, an object in one of three records
UPDATE sd.source SET field = 'extra', json = '{"a": 1, "b c": [{"d": null}]}', n = 3;
SELECT state, fetched, loaded FROM pg_temp.extract('sd', '2024-01-02');
SELECT * FROM pg_temp.drift;
-- it is known now, what is in it is not
UPDATE sd.source SET json = '{"a": 1.5, "b c": [{"d": "x", "e": true}], "f": {"g": []}}';
SELECT state, fetched, loaded FROM pg_temp.extract('sd', '2024-01-03');
SELECT * FROM pg_temp.drift WHERE day = '2024-01-03';
-- an integer is a number; null is no type of its own
UPDATE sd.source SET json = '{"a": 2, "f": null}';
SELECT state, fetched, loaded FROM pg_temp.extract('sd', '2024-01-04');
-- another type
UPDATE sd.source SET field = 'value', json = '[1]';
SELECT state, fetched, loaded FROM pg_temp.extract('sd', '2024-01-05');
-- a field that all records had
UPDATE sd.source SET fault = 'missing_field', field = 'updated_at', n = 1;
SELECT state, fetched, loaded FROM pg_temp.extract('sd', '2024-01-06');
SELECT state, fetched, loaded FROM pg_temp.extract('sd', '2024-01-07');
SELECT * FROM pg_temp.drift WHERE day >= '2024-01-04';
SELECT level, task, message, detail - 'load_id' AS detail FROM etl.log WHERE pipeline = 'sd' AND message ~ 'changed' ORDER BY log_id;
-- what was not published is not known
UPDATE sd.source SET fault = 'set_field', field = 'unpublished', json = '1', n = 3;
SELECT etl.add_check('sd', 'sd.vr_r', 'row_count', '{"max": 0}', name => 'nothing');
SELECT pg_temp.try('SELECT * FROM public.etl_run(''2024-01-08'', ''sd'')');
BEGIN;
SELECT etl.create_pipeline('sd', replace => true);
SELECT pg_temp.declare(NULL);
COMMIT;
SELECT state, fetched, loaded FROM pg_temp.extract('sd', '2024-01-08');
SELECT * FROM pg_temp.drift WHERE path = '$.unpublished';
-- each change is told of once
SELECT count(*) FROM etl.log WHERE pipeline = 'sd' AND detail::text ~ 'unpublished' AND level = 'WARN' AND message ~ 'changed';
-- nothing to look at, nothing to say
UPDATE sd.source SET fault = 'empty_page', n = 3;
SELECT state, fetched, loaded FROM pg_temp.extract('sd', '2024-01-09');
SELECT count(*) FROM pg_temp.drift WHERE day = '2024-01-09';

--
-- Against a record_schema; what that leaves open, against loads before
--
SELECT pg_temp.declare('{"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}, "value": {"type": "string"}, "updated_at": {"type": "string"},
	"nested": {"type": "object", "properties": {"a": {"type": "integer"}, "gone": {"type": "boolean"}}}, "open": {"type": "object"}, "gone": {"type": ["string", "null"]}}}');
UPDATE sd.source SET fault = 'set_field', field = 'nested', json = '{"a": "text", "new": 1}';
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('sd', '2024-02-01');
UPDATE sd.source SET field = 'nested', json = '{"a": 1, "new": {"x": 1}}';
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('sd', '2024-02-02');
UPDATE sd.source SET field = 'open', json = '{"b": 1}';
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('sd', '2024-02-03');
UPDATE sd.source SET field = 'open', json = '{"b": "1", "c": 1}';
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('sd', '2024-02-04');
SELECT * FROM pg_temp.drift WHERE day >= '2024-02-01';

--
-- freeze: the task fails, nothing is published, and the next run goes on
--
SELECT pg_temp.declare('{"properties": {"id": {"type": "integer"}, "value": {"type": "string"}, "updated_at": {"type": "string"}, "optional": {"type": "string"}}}', 'freeze');
UPDATE sd.source SET field = 'value', json = '"fine"';
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('sd', '2024-03-01');
INSERT INTO sd.source VALUES ('set_field', 'extra', '[]', 3), ('set_field', 'value', '"fine, too"', 2);
SELECT pg_temp.extract('sd', '2024-03-02');
SELECT count(*) AS published FROM sd.vr_r WHERE data_interval_start = '2024-03-02';
SELECT * FROM pg_temp.drift WHERE day >= '2024-03-01';
SELECT task, state, error_code FROM etl.task_runs WHERE run_id = (SELECT max(run_id) FROM etl.runs WHERE pipeline = 'sd') AND kind = 'extract';
-- the same load goes on once the declaration has the field
SELECT pg_temp.declare('{"properties": {"id": {"type": "integer"}, "value": {"type": "string"}, "updated_at": {"type": "string"}, "extra": {}}}', 'freeze');
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('sd', '2024-03-02');
SELECT count(DISTINCT load_id) AS loads, count(*) AS slices FROM etl.loads l JOIN etl.slices s USING (load_id) WHERE l.pipeline = 'sd' AND l.data_interval_start = '2024-03-02';
SELECT * FROM pg_temp.drift WHERE day >= '2024-03-02';
-- or when it lets it pass
UPDATE sd.source SET field = 'surprise' WHERE field = 'extra';
SELECT pg_temp.extract('sd', '2024-03-03');
SELECT pg_temp.declare('{"properties": {"id": {"type": "integer"}, "value": {"type": "string"}, "updated_at": {"type": "string"}}}');
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('sd', '2024-03-03');
SELECT * FROM pg_temp.drift WHERE day = '2024-03-03';

--
-- discard_record: records with other fields are set aside, the rest goes in
--
SELECT pg_temp.declare('{"properties": {"id": {"type": "integer"}, "value": {"type": "string"}, "updated_at": {"type": "string"},
	"map": {"type": "object", "additionalProperties": {"type": "number"}}, "x": {"type": "object", "patternProperties": {"^x-": {"type": "string"}}},
	"list": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}, "any": {"properties": {"a": {}}, "additionalProperties": true}}}', 'discard_record');
CREATE TABLE sd.discard (field text, json text);
INSERT INTO sd.discard VALUES ('extra', '1'), ('odd \ "name"', '1'), ('value', '7'), ('value', '"kept"'), ('map', '{"EUR": 1.5, "USD": 2}'), ('map', '{"EUR": "1.5"}'),
	('x', '{"x-a": "b"}'), ('x', '{"y-a": "b"}'), ('list', '[{"name": "a"}, {"name": null}]'), ('list', '[{"name": "a"}, {"nom": "b", "prix": 1, "taille": 2, "poids": 3}]'),
	('any', '{"b": {"c": 1}}'), ('deep', '{"a": {"b": {"c": {"d": {"e": 1}}}}}');
DELETE FROM sd.source;
INSERT INTO sd.source SELECT 'set_field', field, json, 2 FROM sd.discard;
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('sd', '2024-04-01');
SELECT s.item_values ->> 'json' AS json, q.reason_code, q.reason FROM etl.quarantine q JOIN etl.slices s USING (load_id, slice)
WHERE q.pipeline = 'sd' AND q.data_interval_start = '2024-04-01' ORDER BY q.reason COLLATE "C";
SELECT path, change, declared, observed, records FROM pg_temp.drift WHERE day = '2024-04-01';

--
-- Objects keyed by data: so many fields are told apart, the others are one
--
DELETE FROM sd.source;
INSERT INTO sd.source VALUES ('many_fields', NULL, NULL, 2);
SELECT pg_temp.declare('{"properties": {"id": {}, "value": {}, "updated_at": {}}}');
SELECT state, fetched, loaded FROM pg_temp.extract('sd', '2024-04-10');
SELECT path, change, observed, records FROM pg_temp.drift WHERE day = '2024-04-10';
SELECT count(*) < 1100 AS few FROM etl.known_field WHERE task = 'sd.r';
SELECT pg_temp.declare('{"properties": {"id": {}, "value": {}, "updated_at": {}}, "additionalProperties": {"type": "string"}}', 'discard_record');
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('sd', '2024-04-11');
SELECT path, change, declared, observed, records FROM pg_temp.drift WHERE day = '2024-04-11';

--
-- A load that takes several runs: each page is refused the first time it is asked for.  What
-- there was is known across attempts, how often is not.
--
SELECT md5(random()::text) AS never \gset
CREATE SERVER sd_once FOREIGN DATA WRAPPER etl_http OPTIONS (base_url :'api', max_attempts '1');
BEGIN;
SELECT etl.create_pipeline('sd', replace => true);
SELECT etl.add_extract('sd', 'sd.pages', 'sd_once', path => '/fault/status_500', pagination => '{"type": "page_number", "size": 10}',
	query => jsonb_build_object('times', 1, 'pages', 3, 'per_page', 10, 'never', :'never'), record_schema => '{"properties": {"id": {"type": "integer"}, "gone": {}}}');
COMMIT;
DO $$
BEGIN
	FOR i IN 1 .. 4 LOOP
		BEGIN
			PERFORM pg_temp.extract('sd', '2024-05-01');
			RAISE EXCEPTION 'it should have failed';
		EXCEPTION WHEN connection_failure THEN NULL;
		END;
	END LOOP;
END $$;
SELECT state, fetched, loaded FROM pg_temp.extract('sd', '2024-05-01');
SELECT count(*) AS loads, sum(l.requests) AS pages, sum(s.records) AS looked_at_and_kept, bool_or(s.shape::text ~ 'always') AS sure_of_all FROM etl.load l JOIN etl.load_shape s USING (load_id) WHERE l.task = 'sd.pages';
SELECT path, change, declared, observed FROM pg_temp.drift WHERE day = '2024-05-01';

--
-- What can be declared
--
BEGIN;
SELECT etl.create_pipeline('sd', replace => true);
SELECT pg_temp.declare(NULL);
COMMIT;
SELECT pg_temp.declare(NULL, 'strict');
SELECT pg_temp.declare(NULL, NULL);
SELECT pg_temp.declare(NULL, 'freeze');
SELECT pg_temp.declare('{"type": "object", "required": ["id"]}', 'freeze');
SELECT pg_temp.declare('{"properties": {"id": {}}, "additionalProperties": true}', 'discard_record');
SELECT pg_temp.declare('{"$ref": "#/$defs/r", "$defs": {"r": {"properties": {"id": {}}}}}', 'freeze');
SELECT definition ->> 'contract' AS contract FROM etl.tasks WHERE pipeline = 'sd' AND kind = 'extract';
SELECT substring(etl.pipeline_sql('sd') FROM 'contract => ''\w+''') AS printed;

--
-- What a schema says about paths
--
CREATE FUNCTION pg_temp.fields(schema jsonb) RETURNS TABLE (path text, types text, members text, name_patterns text[])
LANGUAGE sql AS $$ SELECT path, array_to_string(types, ' '), members, name_patterns FROM etl._schema_fields(schema, 4) ORDER BY path COLLATE "C" $$;
SELECT * FROM pg_temp.fields('{"type": "object", "properties": {"id": {"type": "integer"}, "n": {"type": "number"}, "s": {"type": ["string", "null"]}, "e": {"enum": [1, "x", null]}, "c": {"const": [1]},
	"odd \"name\"": true, "no": false, "o": {"type": "object"}, "l": {"type": "array", "items": {"properties": {"a": {"type": "boolean"}}}}, "m": {"additionalProperties": {"type": "string"}},
	"p": {"properties": {"q": {}}, "patternProperties": {"^x": {"type": "null"}}}, "closed": {"properties": {"a": {}}, "additionalProperties": false}}}');
-- references, a circle, branches
SELECT * FROM pg_temp.fields('{"$ref": "#/$defs/person", "$defs": {"person": {"$id": "person", "type": "object", "properties": {"name": {"$ref": "#name"}, "boss": {"anyOf": [{"type": "null"}, {"$ref": "person"}]}}},
	"text": {"$anchor": "name", "type": "string"}}}');
SELECT * FROM pg_temp.fields('{"allOf": [{"properties": {"a": {"type": ["string", "null"]}}}, {"properties": {"a": {"type": ["string", "integer"]}}}], "oneOf": [{"properties": {"b": {"type": "string"}}}, {"properties": {"b": {"type": "object", "properties": {"x": {}}}}}],
	"if": {"properties": {"c": {"const": 1}}}, "then": {"properties": {"d": {"allOf": [{"type": ["string", "null"]}, {"type": "string"}]}}}, "dependentSchemas": {"a": {"properties": {"e": {}}}}}');
-- tuples
SELECT * FROM pg_temp.fields('{"properties": {"a": {"prefixItems": [{"type": "string"}, {"type": "integer"}]}, "b": {"prefixItems": [{"type": "string"}], "items": {"type": "null"}}, "c": {"items": [{"type": "string"}], "additionalItems": {"type": "null"}}}}');
-- references to registered schemas, and to what only a validator can find
SELECT etl.register_schema('https://sd.example/order', '{"$id": "https://sd.example/order", "properties": {"id": {"$ref": "#/$defs/id"}, "buyer": {"$ref": "person#/properties/name"}}, "$defs": {"id": {"type": "integer"}}}');
SELECT etl.register_schema('https://sd.example/person', '{"properties": {"name": {"type": "string"}}}');
SELECT * FROM pg_temp.fields('{"$ref": "https://sd.example/order"}');
SELECT * FROM pg_temp.fields('{"properties": {"a": {"$ref": "https://elsewhere.example/"}, "b": {"$dynamicRef": "#x"}}}');
SELECT etl.unregister_schema('https://sd.example/order'), etl.unregister_schema('https://sd.example/person');
SELECT * FROM pg_temp.fields('true');
SELECT * FROM pg_temp.fields('{"properties": {"a": {"properties": {"b": {"properties": {"c": {"properties": {"d": {"properties": {"e": {}}}}}}}}}}}');

DROP TABLE sd.pages CASCADE;
SELECT etl.drop_pipeline('sd', drop_data => true);
SELECT (SELECT count(*) FROM etl.load_shape s JOIN etl.load l USING (load_id) WHERE l.pipeline = 'sd') AS shapes, (SELECT count(*) FROM etl.known_field WHERE pipeline = 'sd') AS fields,
	(SELECT count(*) FROM etl.schema_change WHERE pipeline = 'sd') AS changes;
DROP SCHEMA sd CASCADE;
DROP SERVER sd_api;
DROP SERVER sd_once;
