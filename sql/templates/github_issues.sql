-- Template github_issues: issues of GitHub repositories as a star schema.

INSERT INTO etl.template VALUES ('github_issues', 'GitHub issues and pull requests of some repositories as dim_users and fact_issues', $${
	"repositories": {"type": "text[]", "required": true, "pattern": "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", "example": ["apache/airflow"], "description": "repositories as owner/name"},
	"base_url": {"type": "text", "default": "https://api.github.com", "pattern": "^https?://", "example": "https://api.github.com", "description": "where the API is"},
	"token_file": {"type": "text", "description": "file in etl.secret_directory that holds an access token"},
	"token_env": {"type": "text", "description": "environment variable of the server that holds an access token"},
	"token": {"type": "text", "description": "an access token itself; dumps and statement logs then hold it"},
	"per_page": {"type": "integer", "default": 100, "min": 1, "max": 100, "description": "issues a page"},
	"schema": {"type": "text", "default": "analytics", "pattern": "^[a-z_][a-z0-9_]*$", "example": "analytics", "description": "schema of the star schema"}
}$$);

CREATE FUNCTION etl._template_github_issues(pipeline text, options jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $function$
	SELECT format($sql$
SELECT etl.create_pipeline(%1$L, retries => 3, retry_delay => '5 minutes',
	description => 'GitHub issues of %2$s', replace => true);

CREATE SCHEMA IF NOT EXISTS raw;
CREATE SCHEMA IF NOT EXISTS %3$I;

-- one row a repository: each is asked for on its own
CREATE OR REPLACE VIEW raw.%4$I AS
	SELECT name AS repository, split_part(name, '/', 1) AS repository_owner, split_part(name, '/', 2) AS repository_name
	FROM unnest(%5$L::text[]) AS name;

SELECT etl.add_extract(%1$L, %6$L,
	server     => %1$L,
	path       => '/repos/{repository_owner}/{repository_name}/issues',
	query      => '{"state": "all", "since": "{ds}T00:00:00Z", "per_page": %7$s, "sort": "created", "direction": "asc"}',
	headers    => '{"Accept": "application/vnd.github+json"}',
	pagination => '{"type": "link_header"}',
	for_each   => %8$L,
	key        => '{$.id}', version => '$.updated_at');

CREATE TABLE IF NOT EXISTS %3$I.dim_users (
	user_id bigint PRIMARY KEY,
	login text NOT NULL,
	type text,
	url text,
	updated_at timestamptz
);
CREATE TABLE IF NOT EXISTS %3$I.fact_issues (
	issue_id bigint PRIMARY KEY,
	user_id bigint REFERENCES %3$I.dim_users DEFERRABLE INITIALLY DEFERRED,
	state text,
	title text,
	comments_count integer,
	created_at timestamptz,
	execution_date date,
	loaded_at timestamptz DEFAULT now(),
	repository text,
	is_pull_request boolean,
	updated_at timestamptz,
	closed_at timestamptz
);

-- a user as the interval's latest issue shows them; issues without a user name none
CREATE OR REPLACE VIEW %3$I.txf_dim_users AS
	SELECT DISTINCT ON (user_id) user_id, login, type, url, updated_at
	FROM (SELECT (payload #>> '{user,id}')::bigint AS user_id, payload #>> '{user,login}' AS login, payload #>> '{user,type}' AS type,
				 payload #>> '{user,url}' AS url, (payload ->> 'updated_at')::timestamptz AS updated_at, (payload ->> 'id')::bigint AS issue_id
		  FROM raw.%9$I WHERE data_interval_start = etl.data_interval_start()) issue
	WHERE user_id IS NOT NULL AND login IS NOT NULL
	ORDER BY user_id, updated_at DESC NULLS LAST, issue_id DESC;

-- pages shift while they are read, so that one extraction can hold an issue twice
CREATE OR REPLACE VIEW %3$I.txf_fact_issues AS
	SELECT DISTINCT ON (issue_id) issue_id, user_id, state, title, comments_count, created_at, execution_date,
		   repository, is_pull_request, updated_at, closed_at
	FROM (SELECT (payload ->> 'id')::bigint AS issue_id,
				 CASE WHEN payload #>> '{user,login}' IS NOT NULL THEN (payload #>> '{user,id}')::bigint END AS user_id,
				 payload ->> 'state' AS state, payload ->> 'title' AS title, (payload ->> 'comments')::integer AS comments_count,
				 (payload ->> 'created_at')::timestamptz AS created_at, etl.run_date() AS execution_date,
				 item ->> 'repository' AS repository, COALESCE(jsonb_typeof(payload -> 'pull_request') = 'object', false) AS is_pull_request,
				 (payload ->> 'updated_at')::timestamptz AS updated_at, (payload ->> 'closed_at')::timestamptz AS closed_at,
				 load_id, slice, record_number
		  FROM raw.%9$I WHERE data_interval_start = etl.data_interval_start()) issue
	ORDER BY issue_id, updated_at DESC NULLS LAST, load_id DESC, slice DESC, record_number DESC;

SELECT etl.add_load(%1$L, %10$L, mode => 'incremental', key => '{user_id}', version => 'updated_at');
SELECT etl.add_load(%1$L, %11$L, mode => 'incremental', key => '{issue_id}', version => 'updated_at', options => '{"touch": ["loaded_at"]}');

SELECT etl.add_check(%1$L, %10$L, 'unique', '{"columns": ["user_id"]}');
SELECT etl.add_check(%1$L, %11$L, 'unique', '{"columns": ["issue_id"]}');
SELECT etl.add_check(%1$L, %11$L, 'not_null', '{"columns": ["state", "title", "created_at", "repository"]}');
SELECT etl.add_check(%1$L, %11$L, 'relationships', '{"columns": ["user_id"], "to": "%3$s.dim_users"}');
$sql$,
		pipeline,
		replace((SELECT string_agg(r, ', ' ORDER BY n) FROM jsonb_array_elements_text(options -> 'repositories') WITH ORDINALITY e(r, n)), '''', ''''''),
		options ->> 'schema',
		pipeline || '_repositories',
		(SELECT array_agg(r ORDER BY n) FROM jsonb_array_elements_text(options -> 'repositories') WITH ORDINALITY e(r, n)),
		'raw.' || pipeline,
		options ->> 'per_page',
		'raw.' || pipeline || '_repositories',
		'vr_' || pipeline,
		options ->> 'schema' || '.dim_users',
		options ->> 'schema' || '.fact_issues')
$function$;
COMMENT ON FUNCTION etl._template_github_issues(text, jsonb) IS 'the SQL of template github_issues';
