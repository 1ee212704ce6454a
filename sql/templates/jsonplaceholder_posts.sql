-- Template jsonplaceholder_posts: posts of a REST API, every answer kept, append-only.

INSERT INTO etl.template VALUES ('jsonplaceholder_posts', 'posts of JSONPlaceholder, or of an API of its shape: every answer kept, cleaned posts appended', $${
	"base_url": {"type": "text", "default": "https://jsonplaceholder.typicode.com", "pattern": "^https?://", "example": "https://jsonplaceholder.typicode.com", "description": "where the API is"},
	"schema": {"type": "text", "default": "jsonplaceholder", "pattern": "^[a-z_][a-z0-9_]*$", "example": "jsonplaceholder", "description": "schema of processed_data"}
}$$);

CREATE FUNCTION etl._template_jsonplaceholder_posts(pipeline text, options jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $function$
	SELECT format($sql$
SELECT etl.create_pipeline(%1$L, retries => 3, retry_delay => '10 seconds',
	description => 'posts of JSONPlaceholder, append-only', replace => true);

CREATE SCHEMA IF NOT EXISTS %2$I;

-- the API knows only the present: each answer is added to what the interval has
SELECT etl.add_extract(%1$L, %3$L, server => %1$L, path => '/posts', on_rerun => 'append');

CREATE TABLE IF NOT EXISTS %2$I.processed_data (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	user_id integer NOT NULL,
	title text NOT NULL,
	body text NOT NULL,
	processed_at timestamptz NOT NULL DEFAULT now(),
	load_id bigint NOT NULL,
	slice integer NOT NULL,
	record_number integer NOT NULL,
	UNIQUE (load_id, slice, record_number)
);
CREATE INDEX IF NOT EXISTS processed_data_processed_at ON %2$I.processed_data (processed_at);
CREATE INDEX IF NOT EXISTS processed_data_user_id ON %2$I.processed_data (user_id);

-- posts with what a post must have; text is text and ids are whole numbers
CREATE OR REPLACE VIEW %2$I.valid_posts AS
	SELECT load_id, data_interval_start, slice, record_number, fetched_at, payload,
		   COALESCE(jsonb_typeof(payload -> 'userId') = 'number' AND payload ->> 'userId' ~ '^-?[0-9]{1,9}$'
					AND jsonb_typeof(payload -> 'title') = 'string' AND btrim(payload ->> 'title', E' \t\r\n') <> ''
					AND jsonb_typeof(payload -> 'body') = 'string' AND btrim(payload ->> 'body', E' \t\r\n') <> '', false) AS is_valid
	FROM raw.%4$I;

CREATE OR REPLACE VIEW %2$I.txf_processed_data AS
	SELECT (payload ->> 'userId')::integer AS user_id, btrim(payload ->> 'title', E' \t\r\n') AS title, btrim(payload ->> 'body', E' \t\r\n') AS body,
		   load_id, slice, record_number
	FROM %2$I.valid_posts WHERE data_interval_start = etl.data_interval_start() AND is_valid;

-- posts that lack something: kept in raw, counted and warned about on each run
CREATE OR REPLACE VIEW %2$I.rejected_posts AS
	SELECT load_id, data_interval_start, slice, record_number, fetched_at, payload
	FROM %2$I.valid_posts
	WHERE NOT is_valid AND (etl.data_interval_start() IS NULL OR data_interval_start = etl.data_interval_start());

SELECT etl.add_load(%1$L, %5$L, mode => 'incremental', key => '{load_id,slice,record_number}',
	options => '{"touch": ["processed_at"], "order_free": false}');
SELECT etl.add_check(%1$L, %5$L, 'not_null', '{"columns": ["user_id", "title", "body"]}');
SELECT etl.add_check(%1$L, %6$L, 'row_count', '{"max": 0}', name => 'rejected_posts', severity => 'warn');
$sql$,
		pipeline, options ->> 'schema', 'raw.' || pipeline, 'vr_' || pipeline,
		options ->> 'schema' || '.processed_data', options ->> 'schema' || '.rejected_posts')
$function$;
COMMENT ON FUNCTION etl._template_jsonplaceholder_posts(text, jsonb) IS 'the SQL of template jsonplaceholder_posts';
