-- What the records of loads looked like: see schema_drift.sql.

CREATE TABLE etl.load_shape (
	load_id bigint PRIMARY KEY,
	records bigint NOT NULL DEFAULT 0,
	shape	jsonb NOT NULL DEFAULT '{}',
	drift	jsonb NOT NULL DEFAULT '[]'
);
COMMENT ON TABLE etl.load_shape IS 'the shape of each load''s records, and how it differs; read etl.schema_drift';
COMMENT ON COLUMN etl.load_shape.records IS 'how many records were looked at: all that are JSON, quarantined ones too; fewer if another attempt began the load';
COMMENT ON COLUMN etl.load_shape.shape IS 'path: {"types": {type: in how many records}, "always": whether in all that could have it; not there: they were too few}';
COMMENT ON COLUMN etl.load_shape.drift IS 'list of {path, change, declared, observed, records}, as judged when the load was complete';
CREATE INDEX load_shape_drift ON etl.load_shape (load_id) WHERE drift <> '[]';

-- Written at publication, when something is new only: paths can be long, hence md5.
CREATE TABLE etl.known_field (
	pipeline text NOT NULL,
	owner	 name NOT NULL,
	task	 text NOT NULL,
	path	 text NOT NULL,
	types	 text[] NOT NULL,
	always	 boolean
);
COMMENT ON TABLE etl.known_field IS 'the fields that records of published loads of a task have had';
COMMENT ON COLUMN etl.known_field.always IS 'since it appeared, all records that could have it did; null: there were too few to tell';
CREATE UNIQUE INDEX known_field_path ON etl.known_field (pipeline, owner, task, md5(path));

CREATE TABLE etl.schema_change (
	pipeline	  text NOT NULL,
	owner		  name NOT NULL,
	task		  text NOT NULL,
	path		  text NOT NULL,
	change		  text NOT NULL CHECK (change IN ('new', 'missing', 'retyped')),
	observed	  text NOT NULL,
	first_load_id bigint NOT NULL,
	first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE etl.schema_change IS 'each difference that the records of a task ever showed, and when it was first seen';
CREATE UNIQUE INDEX schema_change_path ON etl.schema_change (pipeline, owner, task, md5(path), change, observed);

SELECT pg_catalog.pg_extension_config_dump('etl.load_shape', '');
SELECT pg_catalog.pg_extension_config_dump('etl.known_field', '');
SELECT pg_catalog.pg_extension_config_dump('etl.schema_change', '');
