-- Templates: their options, what they print, what they make; installed twice.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
\getenv api ETL_TEST_API
SELECT * FROM etl.templates ORDER BY template, option;

--
-- What is refused
--
SELECT etl.install('nosuch');
SELECT etl.install(NULL);
SELECT etl.install('github_issues');
SELECT etl.install('github_issues', '[]');
SELECT etl.install('github_issues', '{"repos": ["a/b"]}');
SELECT etl.install('github_issues', '{"repositories": "a/b"}');
SELECT etl.install('github_issues', '{"repositories": []}');
SELECT etl.install('github_issues', '{"repositories": ["a/b", 1]}');
SELECT etl.install('github_issues', '{"repositories": ["nobody"]}');
SELECT etl.install('github_issues', '{"repositories": ["a/b/c"]}');
SELECT etl.install('github_issues', '{"repositories": ["a/b''; DROP TABLE x; --"]}');
SELECT etl.install('github_issues', '{"repositories": null}');
SELECT etl.install('github_issues', '{"repositories": ["a/b"], "per_page": 0}');
SELECT etl.install('github_issues', '{"repositories": ["a/b"], "per_page": 101}');
SELECT etl.install('github_issues', '{"repositories": ["a/b"], "per_page": "100"}');
SELECT etl.install('github_issues', '{"repositories": ["a/b"], "per_page": 2.5}');
SELECT etl.install('github_issues', '{"repositories": ["a/b"], "schema": "My Schema"}');
SELECT etl.install('github_issues', '{"repositories": ["a/b"], "schema": 1}');
SELECT etl.install('github_issues', '{"repositories": ["a/b"], "base_url": "ftp://x"}');
SELECT etl.install('github_issues', '{"repositories": ["a/b"], "token": 12345678}');
SELECT etl.install('github_issues', '{"repositories": ["a/b"], "token": "t0ken", "token_file": "gh"}');
SELECT etl.install('github_issues', '{"repositories": ["a/b"]}', pipeline => 'Bad Name');
SELECT etl.template_sql('github_issues', '{"repositories": ["a/b"], "colour": "red"}');
-- only the kind of error counts here
\set VERBOSITY sqlstate
SELECT etl.install('github_issues', '{"repositories": ["a/b"], "schema": "etl"}');
SELECT etl.install('github_issues', '{"repositories": ["a/b"], "schema": "pg_x"}');
SELECT etl.install('github_issues', '{"repositories": ["a/b"]}', pipeline => repeat('p', 60));
\set VERBOSITY default
-- nothing is left of them
SELECT count(*) FROM etl.pipelines;
SELECT count(*) FROM pg_foreign_server;

--
-- As SQL
--
\pset format unaligned
\t on
SELECT etl.template_sql('github_issues', '{"repositories": ["apache/airflow", "a.b/c-d_e"], "token_file": "gh", "schema": "gh", "per_page": 50}', pipeline => 'gh');
SELECT etl.template_sql('jsonplaceholder_posts');
\t off
\pset format aligned
-- a token given inline is not printed
SELECT etl.template_sql('github_issues', '{"repositories": ["a/b"], "token": "s3cr3t-t0ken"}') ~ 's3cr3t' AS shown;

--
-- Installed, run, installed again
--
SELECT etl.install('github_issues', jsonb_build_object('repositories', '["octocat/renames"]'::jsonb, 'base_url', :'api', 'schema', 'tp_gh', 'token', 's3cr3t-t0ken', 'per_page', 3), pipeline => 'tp_gh');
SELECT pipeline, template, description, schedule, retries, retry_delay, tasks, options FROM etl.pipelines;
SELECT task, kind, depends_on FROM etl.tasks ORDER BY kind, task;
SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'tp_gh' AND table_name = 'fact_issues';
SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'tp_gh' AND table_name = 'dim_users';
SELECT count(*) FROM etl.log WHERE message ~ 's3cr3t' OR detail::text ~ 's3cr3t';
SELECT etl.pipeline_sql('tp_gh') ~ 's3cr3t' AS shown;
SELECT * FROM pg_temp.extract('tp_gh', '2026-11-19');
SELECT count(*) AS requests, count(DISTINCT request) AS addresses, bool_or(request ~ 's3cr3t') AS secret_shown FROM etl.slices WHERE pipeline = 'tp_gh';
SELECT user_id, login, type FROM tp_gh.dim_users ORDER BY 1;
SELECT right(issue_id::text, 1) AS n, user_id, state, is_pull_request, comments_count, created_at, updated_at, closed_at, execution_date, repository, loaded_at IS NOT NULL AS loaded FROM tp_gh.fact_issues ORDER BY created_at, issue_id;
-- again: the same; another day: what has changed since
SELECT * FROM pg_temp.extract('tp_gh', '2026-11-19');
SELECT * FROM pg_temp.extract('tp_gh', '2026-11-18');
SELECT user_id, login FROM tp_gh.dim_users ORDER BY 1;
SELECT user_id, state, execution_date FROM tp_gh.fact_issues ORDER BY created_at, issue_id;
SELECT check_name, severity, bool_and(passed) AS passed, count(*) FROM etl.check_results WHERE pipeline = 'tp_gh' GROUP BY 1, 2 ORDER BY 1;
-- installed again with other options it is altered; the data stay
SELECT etl.install('github_issues', jsonb_build_object('repositories', '["octocat/renames", "octocat/empty"]'::jsonb, 'base_url', :'api', 'schema', 'tp_gh'), pipeline => 'tp_gh');
SELECT tasks, description FROM etl.pipelines;
SELECT count(*) FROM tp_gh.fact_issues;
SELECT * FROM pg_temp.extract('tp_gh', '2026-11-19');
SELECT count(*) FROM pg_user_mappings WHERE srvname = 'tp_gh';
-- the printed SQL is the pipeline: run as a file, it changes nothing
SELECT etl.drop_pipeline('tp_gh', drop_data => true);
SELECT relname FROM pg_class WHERE relnamespace IN ('raw'::regnamespace, 'tp_gh'::regnamespace) AND relkind IN ('r', 'p', 'v') ORDER BY 1;
DROP SERVER tp_gh CASCADE;
DROP SCHEMA tp_gh CASCADE;

SELECT etl.install('jsonplaceholder_posts', jsonb_build_object('base_url', :'api', 'schema', 'tp_jp'), pipeline => 'tp_jp');
SELECT * FROM pg_temp.extract('tp_jp', '2026-11-19');
SELECT count(*), count(DISTINCT id) AS ids, count(DISTINCT user_id) AS users, bool_or(title <> btrim(title)) AS untrimmed, max(processed_at) <= now() AS in_time FROM tp_jp.processed_data;
-- append: each answer is kept
SELECT * FROM pg_temp.extract('tp_jp', '2026-11-19');
SELECT count(*), count(DISTINCT (user_id, title)) FROM tp_jp.processed_data;
SELECT count(*) FROM raw.vr_tp_jp;
SELECT etl.install('jsonplaceholder_posts', jsonb_build_object('base_url', :'api', 'schema', 'tp_jp'), pipeline => 'tp_jp');
SELECT count(*) FROM tp_jp.processed_data;
SELECT check_name, severity, passed FROM etl.check_results WHERE pipeline = 'tp_jp' ORDER BY check_result_id;
SELECT etl.drop_pipeline('tp_jp', drop_data => true);
SELECT relname FROM pg_class WHERE relnamespace IN ('raw'::regnamespace, 'tp_jp'::regnamespace) AND relkind IN ('r', 'p', 'v') ORDER BY 1;
DROP SERVER tp_jp CASCADE;
DROP SCHEMA tp_jp, raw CASCADE;
