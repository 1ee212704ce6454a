-- The demo of quickstart.sh; psql's variable api_url says where the sample API listens.
-- Every statement can be run again.

\set QUIET on
\set ON_ERROR_STOP on
\pset pager off
\pset border 2
\pset linestyle unicode
\pset footer off
\pset null ''
SET client_min_messages = warning;
SET timezone = 'UTC';

-- What a person would type, shown as typed.
\set ECHO queries
CREATE EXTENSION IF NOT EXISTS etl;
CREATE EXTENSION IF NOT EXISTS pg_cron;
\set ECHO none

SELECT jsonb_build_object('repositories', jsonb_build_array('apache/airflow', 'apache/spark'),
                          'base_url', :'api_url') AS options \gset
\set ECHO queries
SELECT etl.install('github_issues', :'options');

SELECT * FROM etl_run(date '2026-11-17');
SELECT * FROM etl_run(date '2026-11-18');
SELECT * FROM etl_run(date '2026-11-19');
\set ECHO none

\echo
\echo '------------------------------------------------------------------ answers'
\pset title 'How many issues does each repository have, and how many are open?'
SELECT repository,
       count(*)                                   AS issues,
       count(*) FILTER (WHERE state = 'open')     AS open,
       count(*) FILTER (WHERE state = 'closed')   AS closed,
       round(avg(comments_count), 1)              AS "comments each"
FROM analytics.fact_issues
WHERE NOT is_pull_request
GROUP BY repository
ORDER BY repository;

\pset title 'Issues or pull requests?'
SELECT repository,
       CASE WHEN is_pull_request THEN 'pull request' ELSE 'issue' END AS kind,
       count(*)                                   AS number,
       round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY repository)) || ' %' AS share
FROM analytics.fact_issues
GROUP BY repository, is_pull_request
ORDER BY repository, is_pull_request;

\pset title 'Who is most active?'
SELECT u.login, u.type, count(*) AS opened, sum(f.comments_count) AS comments,
       max(f.created_at)::timestamp(0) AS "last opened"
FROM analytics.fact_issues f
JOIN analytics.dim_users u USING (user_id)
GROUP BY u.user_id, u.login, u.type
ORDER BY opened DESC, comments DESC, u.login
LIMIT 7;

\pset title 'What is new?'
SELECT f.created_at::timestamp(0) AS created, f.repository, u.login, f.state, left(f.title, 48) AS title
FROM analytics.fact_issues f
LEFT JOIN analytics.dim_users u USING (user_id)
ORDER BY f.created_at DESC, f.issue_id DESC
LIMIT 7;

\echo '------------------------------------------------------------------ behind the scenes'
\pset title 'The runs (etl.runs)'
SELECT run_id, pipeline, run_date, state, started_at::timestamp(0) AS started,
       round(extract(epoch FROM duration), 2) AS seconds
FROM etl.runs
ORDER BY run_id DESC
LIMIT 6;

\pset title 'What came in (etl.loads): fetched = loaded + quarantined'
SELECT task, data_interval_start::date AS day, state, requests, fetched, loaded, quarantined
FROM etl.loads
WHERE state = 'published'
ORDER BY data_interval_start DESC, task
LIMIT 6;

\set ECHO queries
\pset title
SELECT cron.schedule('issues', '0 2 * * *', 'SELECT etl_run(current_date - 1)') AS job;
\set ECHO none
\pset title 'Every night from now on (cron.job)'
SELECT jobname, schedule, command, database, active FROM cron.job ORDER BY jobid;
