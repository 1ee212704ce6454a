-- What users declare: pipelines and tasks.  References to relations, roles and servers
-- are kept by name, never by OID, so that a dump restores and a replaced view still fits.

CREATE TABLE etl.pipeline (
	pipeline	text PRIMARY KEY CHECK (pipeline ~ '^[a-z_][a-z0-9_]*$'),
	owner		name NOT NULL,
	description text,
	schedule	text,
	timezone	text NOT NULL DEFAULT 'UTC',
	retries		integer NOT NULL DEFAULT 0 CHECK (retries BETWEEN 0 AND 100),
	retry_delay interval NOT NULL DEFAULT '30 seconds' CHECK (retry_delay >= interval '0'),
	-- limits are checked where settings are declared: sql/pipeline_settings.sql
	start_date		timestamptz,
	end_date		timestamptz,
	catchup			boolean NOT NULL DEFAULT false,
	jitter			interval NOT NULL DEFAULT '0',
	max_active_runs integer NOT NULL DEFAULT 1,
	priority		integer NOT NULL DEFAULT 0,
	pool			text,
	overlap			text NOT NULL DEFAULT 'queue',
	depends_on_past boolean NOT NULL DEFAULT false,
	after			text[] NOT NULL DEFAULT '{}',
	triggered_by	text[] NOT NULL DEFAULT '{}',
	run_timeout		interval,
	task_timeout	interval,
	retry_backoff	numeric NOT NULL DEFAULT 1,
	max_retry_delay interval,
	retry_jitter	numeric NOT NULL DEFAULT 0,
	max_crashes		integer NOT NULL DEFAULT 3,
	deadline		interval,
	publish			text NOT NULL DEFAULT 'pipeline',
	keep_history	interval,
	keep_runs		integer,
	paused		boolean NOT NULL DEFAULT false,
	template	text,
	template_options jsonb,
	generation	bigint NOT NULL DEFAULT 1,
	created_at	timestamptz NOT NULL DEFAULT now(),
	altered_at	timestamptz NOT NULL DEFAULT now()
);
-- Each run that succeeds asks who is triggered by it; mostly nobody is.
CREATE INDEX pipeline_triggered ON etl.pipeline (pipeline) WHERE triggered_by <> '{}';
COMMENT ON TABLE etl.pipeline IS 'declared pipelines; read etl.pipelines, change by etl.create_pipeline and etl.alter_pipeline';

CREATE TABLE etl.pool (
	pool		text PRIMARY KEY,
	owner		name NOT NULL,
	slots		integer NOT NULL CHECK (slots >= 0),
	description text
);
COMMENT ON TABLE etl.pool IS 'named pools: how many attempts of their tasks may run at a time, across pipelines; read etl.pools, change by etl.set_pool';

CREATE SEQUENCE etl.task_position_seq;
CREATE TABLE etl.task (
	pipeline	  text NOT NULL,
	task		  text NOT NULL,
	kind		  text NOT NULL CHECK (kind IN ('extract', 'load', 'call', 'check', 'export')),
	target_schema name NOT NULL,
	target_name	  name NOT NULL,
	definition	  jsonb NOT NULL,
	depends_on	  text[] NOT NULL DEFAULT '{}',
	position	  bigint NOT NULL DEFAULT nextval('etl.task_position_seq'),
	generation	  bigint NOT NULL,
	PRIMARY KEY (pipeline, task)
);
COMMENT ON TABLE etl.task IS 'declared tasks; a task is known by its pipeline and its target, a check by its name';
COMMENT ON COLUMN etl.task.generation IS 'the declaration of the pipeline this task was last declared in; see create_pipeline(replace => true)';

CREATE TABLE etl.instance (
	singleton		  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
	system_identifier bigint NOT NULL,
	database_oid	  oid NOT NULL
);
COMMENT ON TABLE etl.instance IS 'the database these pipelines were declared in; a restored or cloned copy differs and stays paused until etl.resume()';

CREATE TABLE etl.template (
	template	text PRIMARY KEY,
	description text NOT NULL,
	options		jsonb NOT NULL
);
COMMENT ON TABLE etl.template IS 'ready-made pipelines and the options each one takes; read etl.templates';

-- How far a target has got: a target in mode full keeps the state of the latest interval.
CREATE TABLE etl.target_state (
	pipeline			text NOT NULL,
	task				text NOT NULL,
	latest_interval		timestamptz NOT NULL,
	PRIMARY KEY (pipeline, task)
);
COMMENT ON TABLE etl.target_state IS 'the latest data interval each load target has been filled for';

-- How far a source has been read, for tasks with a watermark.
CREATE TABLE etl.watermark (
	pipeline   text NOT NULL,
	task	   text NOT NULL,
	item	   jsonb NOT NULL,
	value	   text NOT NULL,
	seen	   text[] NOT NULL DEFAULT '{}',
	load_id	   bigint,
	updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (pipeline, task, item)
);
COMMENT ON TABLE etl.watermark IS 'how far the published loads of a task have read its source; read etl.watermarks, change by etl.set_watermark';
COMMENT ON COLUMN etl.watermark.load_id IS 'the load that got there; NULL: set by hand';

SELECT pg_catalog.pg_extension_config_dump('etl.watermark', '');
SELECT pg_catalog.pg_extension_config_dump('etl.pipeline', '');
SELECT pg_catalog.pg_extension_config_dump('etl.pool', '');
SELECT pg_catalog.pg_extension_config_dump('etl.task', '');
SELECT pg_catalog.pg_extension_config_dump('etl.task_position_seq', '');
SELECT pg_catalog.pg_extension_config_dump('etl.instance', '');
SELECT pg_catalog.pg_extension_config_dump('etl.target_state', '');
