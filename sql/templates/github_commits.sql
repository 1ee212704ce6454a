-- Template github_commits: commits of GitHub repositories through T1 (stg, sri), T2 and T3.

INSERT INTO etl.template VALUES ('github_commits', 'Commits of some GitHub repositories: top committers, longest streak of days, heatmap of week and time', $${
	"repositories": {"type": "text[]", "required": true, "pattern": "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", "example": ["apache/airflow"], "description": "repositories as owner/name"},
	"months": {"type": "integer", "default": 6, "min": 1, "max": 240, "description": "how many months before the end of the run's data interval are read"},
	"load_mode": {"type": "text", "default": "full", "pattern": "^(full|delta|incremental)$", "example": "full, delta or incremental", "description": "how sri.committer is filled"},
	"base_url": {"type": "text", "default": "https://api.github.com", "pattern": "^https?://", "example": "https://api.github.com", "description": "where the API is"},
	"token_file": {"type": "text", "description": "file in etl.secret_directory that holds an access token"},
	"token_env": {"type": "text", "description": "environment variable of the server that holds an access token"},
	"token": {"type": "text", "description": "an access token itself; dumps and statement logs then hold it"},
	"per_page": {"type": "integer", "default": 100, "min": 1, "max": 100, "description": "commits a page"},
	"schema": {"type": "text", "default": "t3", "pattern": "^[a-z_][a-z0-9_]*$", "example": "t3", "description": "schema of the three semantic views; those of the layers below are stg, sri and t2"}
}$$);

CREATE FUNCTION etl._template_github_commits(pipeline text, options jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $function$
	SELECT format($sql$
SELECT etl.create_pipeline(%1$L, retries => 3, retry_delay => '5 minutes',
	description => 'GitHub commits of %2$s', replace => true);

CREATE SCHEMA IF NOT EXISTS raw;
CREATE SCHEMA IF NOT EXISTS stg;
CREATE SCHEMA IF NOT EXISTS sri;
CREATE SCHEMA IF NOT EXISTS t2;
CREATE SCHEMA IF NOT EXISTS %3$I;

-- one row a repository, with the time its commits are read from and to
CREATE OR REPLACE VIEW raw.%4$I AS
	SELECT name AS repository, split_part(name, '/', 1) AS repository_owner, split_part(name, '/', 2) AS repository_name,
		   to_char((etl.data_interval_end() AT TIME ZONE 'UTC') - interval '%12$s months', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
		   to_char(etl.data_interval_end() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS until
	FROM unnest(%5$L::text[]) AS name;

SELECT etl.add_extract(%1$L, %6$L,
	server     => %1$L,
	path       => '/repos/{repository_owner}/{repository_name}/commits',
	query      => '{"since": "{since}", "until": "{until}", "per_page": %7$s}',
	headers    => '{"Accept": "application/vnd.github+json"}',
	pagination => '{"type": "link_header"}',
	on_status  => '{"409": "absent"}',
	for_each   => %8$L,
	key        => '{$.sha}');

CREATE TABLE IF NOT EXISTS stg.committer (
	committer_name text NOT NULL,
	commit_date timestamp NOT NULL,
	commit_hash text PRIMARY KEY
);
CREATE TABLE IF NOT EXISTS sri.committer (LIKE stg.committer INCLUDING ALL);
CREATE TABLE IF NOT EXISTS t2.committer (
	committer_name text NOT NULL,
	commit_date date NOT NULL,
	day_of_week text NOT NULL,
	time_block integer NOT NULL
);

-- a commit without an account is its author's by name: it does not vanish
CREATE OR REPLACE VIEW stg.txf_committer AS
	SELECT DISTINCT ON (commit_hash) committer_name, commit_date, commit_hash
	FROM (SELECT COALESCE(payload #>> '{author,login}', payload #>> '{commit,author,name}', 'unknown') AS committer_name,
				 (payload #>> '{commit,committer,date}')::timestamptz AT TIME ZONE 'UTC' AS commit_date, payload ->> 'sha' AS commit_hash, load_id, slice, record_number
		  FROM raw.%9$I WHERE data_interval_start = etl.data_interval_start()) c
	ORDER BY commit_hash, load_id DESC, slice DESC, record_number DESC;
CREATE OR REPLACE VIEW sri.txf_committer AS SELECT committer_name, commit_date, commit_hash FROM stg.committer;
CREATE OR REPLACE VIEW t2.txf_committer AS
	SELECT committer_name, commit_date::date AS commit_date, to_char(commit_date, 'FMDay') AS day_of_week,
		   (floor(extract(hour FROM commit_date) / 3) * 3)::integer AS time_block
	FROM sri.committer;

SELECT etl.add_load(%1$L, 'stg.committer', mode => 'full', key => '{commit_hash}');
SELECT etl.add_load(%1$L, 'sri.committer', mode => %10$L, key => '{commit_hash}'%11$s);
SELECT etl.add_load(%1$L, 't2.committer', mode => 'full');

-- ties are listed: there may be more than five
CREATE OR REPLACE VIEW %3$I.top_committers AS
	SELECT rank, committer_name, commits
	FROM (SELECT rank() OVER (ORDER BY count(*) DESC) AS rank, committer_name, count(*) AS commits FROM t2.committer GROUP BY committer_name) c
	WHERE rank <= 5;
-- gaps and islands over distinct days: a day less its number is the same within a streak
CREATE OR REPLACE VIEW %3$I.longest_streak AS
	SELECT committer_name, days, first_day, last_day
	FROM (SELECT committer_name, count(*) AS days, min(commit_date) AS first_day, max(commit_date) AS last_day, rank() OVER (ORDER BY count(*) DESC) AS rank
		  FROM (SELECT committer_name, commit_date, commit_date - (row_number() OVER (PARTITION BY committer_name ORDER BY commit_date))::integer AS streak
				FROM (SELECT DISTINCT committer_name, commit_date FROM t2.committer) d) s
		  GROUP BY committer_name, streak) l
	WHERE rank = 1;
CREATE OR REPLACE VIEW %3$I.heatmap AS
	SELECT d.day_of_week, COALESCE(sum(h.commits) FILTER (WHERE h.time_block = 0), 0) AS "00-03", COALESCE(sum(h.commits) FILTER (WHERE h.time_block = 3), 0) AS "03-06",
		   COALESCE(sum(h.commits) FILTER (WHERE h.time_block = 6), 0) AS "06-09", COALESCE(sum(h.commits) FILTER (WHERE h.time_block = 9), 0) AS "09-12",
		   COALESCE(sum(h.commits) FILTER (WHERE h.time_block = 12), 0) AS "12-15", COALESCE(sum(h.commits) FILTER (WHERE h.time_block = 15), 0) AS "15-18",
		   COALESCE(sum(h.commits) FILTER (WHERE h.time_block = 18), 0) AS "18-21", COALESCE(sum(h.commits) FILTER (WHERE h.time_block = 21), 0) AS "21-00"
	FROM unnest('{Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday}'::text[]) WITH ORDINALITY d(day_of_week, n)
	LEFT JOIN (SELECT c.day_of_week, c.time_block, count(*) AS commits FROM t2.committer c GROUP BY c.day_of_week, c.time_block) h USING (day_of_week)
	GROUP BY d.day_of_week, d.n ORDER BY d.n;

SELECT etl.add_check(%1$L, 'stg.committer', 'row_count', '{"min": 1}', severity => 'warn');
SELECT etl.add_check(%1$L, 't2.committer', 'row_count_equals', '{"to": "sri.committer"}');
SELECT etl.add_check(%1$L, 't2.committer', 'accepted_values', '{"column": "time_block", "values": [0, 3, 6, 9, 12, 15, 18, 21]}');
SELECT etl.add_check(%1$L, 'stg.committer', 'expression', '{"expression": "committer_name <> ''unknown''"}', name => 'commits_have_a_name', severity => 'warn');
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
		options ->> 'load_mode',
		CASE options ->> 'load_mode' WHEN 'incremental' THEN ', source_kind => ''snapshot''' ELSE '' END,
		options ->> 'months')
$function$;
COMMENT ON FUNCTION etl._template_github_commits(text, jsonb) IS 'the SQL of template github_commits';
