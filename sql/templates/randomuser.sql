-- Template randomuser: users of an API, held against a JSON Schema before they are stored.

INSERT INTO etl.template VALUES ('randomuser', 'users of randomuser.me, or of an API of its shape, validated by a JSON Schema', $${
	"base_url": {"type": "text", "default": "https://randomuser.me", "pattern": "^https?://", "example": "https://randomuser.me", "description": "where the API is"},
	"schedule": {"type": "text", "default": "* * * * *", "example": "* * * * *", "description": "when it runs, by etl's launcher; empty: when it is told to"},
	"results": {"type": "integer", "default": 10, "min": 1, "max": 5000, "description": "users a request"},
	"schema": {"type": "text", "default": "randomuser", "pattern": "^[a-z_][a-z0-9_]*$", "example": "randomuser", "description": "schema of users"}
}$$);

CREATE FUNCTION etl._template_randomuser(pipeline text, options jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $function$
	SELECT format($sql$
-- whether the API is there is found out by asking: what is down is asked again, thrice in the
-- task and thrice the task, and fails the run before anything is stored
SELECT etl.create_pipeline(%1$L, %8$sretries => 3, retry_delay => '10 seconds',
	description => 'users of randomuser.me, validated before they are stored', replace => true);

CREATE SCHEMA IF NOT EXISTS %2$I;

-- the API invents users: each answer is added to what the interval has; they have more than
-- is asked for here, which is welcome
SELECT etl.add_extract(%1$L, %3$L, server => %1$L, path => '/api/', query => '{"results": %7$s}',
	records => '$.results[*]', on_rerun => 'append',
	on_invalid => 'quarantine', record_schema => '{
		"type": "object",
		"required": ["name", "location", "login", "email"],
		"properties": {
			"name": {"type": "object", "required": ["first", "last"],
					 "properties": {"first": {"type": "string"}, "last": {"type": "string"}}, "additionalProperties": true},
			"location": {"type": "object", "required": ["country"], "properties": {"country": {"type": "string"}},
					 "additionalProperties": true},
			"login": {"type": "object", "required": ["username", "password"],
					  "properties": {"username": {"type": "string"}, "password": {"type": "string"}},
					  "additionalProperties": true},
			"email": {"type": "string"}
		},
		"additionalProperties": true
	}');

CREATE TABLE IF NOT EXISTS %2$I.users (
	firstname text NOT NULL,
	lastname text NOT NULL,
	country text NOT NULL,
	username text NOT NULL,
	password text NOT NULL,
	email text NOT NULL,
	load_id bigint NOT NULL,
	slice integer NOT NULL,
	record_number integer NOT NULL,
	PRIMARY KEY (load_id, slice, record_number)
);

CREATE OR REPLACE VIEW %2$I.txf_users AS
	SELECT payload #>> '{name,first}' AS firstname, payload #>> '{name,last}' AS lastname, payload #>> '{location,country}' AS country,
		   payload #>> '{login,username}' AS username, payload #>> '{login,password}' AS password, payload ->> 'email' AS email,
		   load_id, slice, record_number
	FROM raw.%4$I WHERE data_interval_start = etl.data_interval_start();

SELECT etl.add_load(%1$L, %5$L, mode => 'incremental', key => '{load_id,slice,record_number}', options => '{"order_free": false}');
SELECT etl.add_check(%1$L, %5$L, 'not_null', '{"columns": ["firstname", "lastname", "country", "username", "password", "email"]}');
SELECT etl.add_check(%1$L, %5$L, 'unique', '{"columns": ["load_id", "slice", "record_number"]}');
$sql$,
		pipeline, options ->> 'schema', 'raw.' || pipeline, 'vr_' || pipeline, options ->> 'schema' || '.users', NULL, options ->> 'results',
		CASE WHEN options ->> 'schedule' <> '' THEN format('schedule => %L, ', options ->> 'schedule') ELSE '' END)
$function$;
COMMENT ON FUNCTION etl._template_randomuser(text, jsonb) IS 'the SQL of template randomuser';
