-- Settings of a pipeline: given as arguments or as a document, refused, changed, reset, printed; pools.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE ROLE regress_etl_ps_owner LOGIN;
CREATE ROLE regress_etl_ps_other LOGIN;
SELECT etl.set_pool('ps_pool', 2, 'what the source bears');
SELECT etl.create_pipeline('ps_first');

-- the defaults of the table, of the document and of the parameters agree
SELECT etl._other_settings(p) FROM etl.pipeline p WHERE pipeline = 'ps_first';
SELECT s.key FROM jsonb_each(etl._default_settings()) s JOIN etl.pipeline p ON p.pipeline = 'ps_first'
WHERE to_jsonb(p) -> s.key IS DISTINCT FROM to_jsonb(jsonb_populate_record(NULL::etl.pipeline, etl._default_settings())) -> s.key;
SELECT a.attname AS setting_without_default FROM pg_attribute a
WHERE a.attrelid = 'etl.pipeline'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND NOT etl._default_settings() ? a.attname
  AND a.attname NOT IN ('pipeline', 'owner', 'paused', 'template', 'template_options', 'generation', 'created_at', 'altered_at');
-- every setting is a parameter of both functions
SELECT p.proname, s AS not_a_parameter FROM pg_proc p, jsonb_object_keys(etl._default_settings()) s
WHERE p.pronamespace = 'etl'::regnamespace AND p.proname IN ('create_pipeline', 'alter_pipeline') AND NOT s = ANY (p.proargnames);

-- every one of them given, and printed back
SELECT etl.create_pipeline('ps_second');
SELECT etl.create_pipeline('ps_all', start_date => '2026-01-01', end_date => '2027-01-01', catchup => true, jitter => '30 seconds', max_active_runs => 4, priority => -5,
	pool => 'ps_pool', overlap => 'skip', depends_on_past => true, after => '{ps_first,ps_second}', run_timeout => '2 hours', task_timeout => '1 hour',
	retry_backoff => 2.5, max_retry_delay => '1 hour', retry_jitter => 0.25, max_crashes => 5, deadline => '3 hours', publish => 'per_task', keep_history => '90 days', keep_runs => 1000);
\t on
\pset format unaligned
SELECT etl.pipeline_sql('ps_all') AS file \gset
SELECT :'file';
\t off
\pset format aligned
SELECT etl._settings(p) AS before FROM etl.pipeline p WHERE pipeline = 'ps_all' \gset
SELECT pg_temp.try(regexp_replace(:'file', '^(BEGIN|COMMIT);$', '', 'gn'));
SELECT etl._settings(p) = :'before' AS unchanged FROM etl.pipeline p WHERE pipeline = 'ps_all';
SELECT etl.create_pipeline('ps_triggered', triggered_by => '{ps_first}');
SELECT pipeline, priority, pool, max_active_runs, overlap, depends_on_past, after, triggered_by, cannot_run_because FROM etl.pipelines WHERE pipeline ~ '^ps_' ORDER BY 1;

-- a document sets the same; what stands there counts, null is the default
SELECT etl.create_pipeline('ps_all', replace => true, priority => 1, options => '{"priority": 7, "schedule": "@daily", "run_timeout": "1 hour", "after": ["ps_first"], "retries": null, "catchup": true}');
SELECT schedule, retries, priority, after, options FROM etl.pipelines WHERE pipeline = 'ps_all';

-- altered: what is not given stays; reset, null in options and 'none' lead back
SELECT etl.alter_pipeline('ps_all', max_active_runs => 3);
SELECT options FROM etl.pipelines WHERE pipeline = 'ps_all';
SELECT etl.alter_pipeline('ps_all', reset => '{run_timeout,after}', options => '{"priority": null}', catchup => false);
SELECT schedule, options FROM etl.pipelines WHERE pipeline = 'ps_all';
SELECT etl.alter_pipeline('ps_all', schedule => 'none', options => '{"overlap": "skip"}');
SELECT schedule, options FROM etl.pipelines WHERE pipeline = 'ps_all';

-- refused
\set VERBOSITY terse
SELECT etl.create_pipeline('ps_bad', max_active_runs => 0);
SELECT etl.create_pipeline('ps_bad', priority => NULL);
SELECT etl.create_pipeline('ps_bad', overlap => 'replace');
SELECT etl.create_pipeline('ps_bad', publish => 'never');
SELECT etl.create_pipeline('ps_bad', retry_backoff => 0.5);
SELECT etl.create_pipeline('ps_bad', retry_jitter => 1.5);
SELECT etl.create_pipeline('ps_bad', retry_jitter => 'NaN');
SELECT etl.create_pipeline('ps_bad', max_retry_delay => '-1 second');
SELECT etl.create_pipeline('ps_bad', max_crashes => 0);
SELECT etl.create_pipeline('ps_bad', run_timeout => '0');
SELECT etl.create_pipeline('ps_bad', task_timeout => '-1 hour');
SELECT etl.create_pipeline('ps_bad', deadline => '0');
SELECT etl.create_pipeline('ps_bad', keep_history => '-1 day');
SELECT etl.create_pipeline('ps_bad', keep_runs => 0);
SELECT etl.create_pipeline('ps_bad', start_date => 'infinity');
SELECT etl.create_pipeline('ps_bad', start_date => '2026-01-02', end_date => '2026-01-01');
SELECT etl.create_pipeline('ps_bad', jitter => '2 days');
SELECT etl.create_pipeline('ps_bad', catchup => NULL);
SELECT etl.create_pipeline('ps_bad', after => '{NULL}');
SELECT etl.create_pipeline('ps_bad', after => '{ps_bad}');
SELECT etl.create_pipeline('ps_bad', schedule => '@daily', triggered_by => '{ps_first}');
SELECT etl.alter_pipeline('ps_triggered', schedule => '@daily');
\set VERBOSITY default
SELECT etl.create_pipeline('ps_bad', max_active_runs => 1001);
SELECT etl.create_pipeline('ps_bad', options => '{"priority": "high"}');
SELECT etl.create_pipeline('ps_bad', options => '{"after": "ps_first"}');
SELECT etl.create_pipeline('ps_bad', options => '{"run_timeout": "soon"}');
SELECT etl.create_pipeline('ps_bad', options => '{"max_active_run": 3}');
SELECT etl.alter_pipeline('ps_all', reset => '{pipeline}');
SELECT etl.create_pipeline('ps_bad', pool => 'ps_nowhere');
SELECT etl.create_pipeline('ps_bad', after => '{ps_nowhere}');
SELECT count(*) FROM etl.pipelines WHERE pipeline = 'ps_bad';

-- pipelines that refer to each other are declared in any order, but in no circle
BEGIN;
SELECT etl.create_pipeline('ps_c', after => '{ps_b}');
SELECT etl.create_pipeline('ps_b', triggered_by => '{ps_a}');
SELECT etl.create_pipeline('ps_a');
COMMIT;
SELECT etl.alter_pipeline('ps_a', after => '{ps_c}');
SELECT etl.alter_pipeline('ps_b', triggered_by => '{ps_a,ps_c}');
-- dropping what others wait for is allowed, and seen
SELECT etl.drop_pipeline('ps_b');
SELECT pipeline, cannot_run_because FROM etl.pipelines WHERE cannot_run_because IS NOT NULL;
SELECT etl.alter_pipeline('ps_c', priority => 1);
SELECT etl.alter_pipeline('ps_c', reset => '{after}');

--
-- Pools
--
SELECT pool, owner = current_user AS mine, slots, description, used, queued FROM etl.pools;
SELECT etl.set_pool('ps_pool', 5);
SELECT slots, description FROM etl.pools;
SELECT etl.set_pool('Pool', 1);
SELECT etl.set_pool('ps_pool', -1);
SELECT etl.set_pool('ps_pool', NULL);
SELECT etl.drop_pool('ps_nowhere');
SELECT etl.alter_pipeline('ps_a', pool => 'ps_pool');
SELECT etl.drop_pool('ps_pool');
-- all may use a pool, its owner's role and operators may change it
SET SESSION AUTHORIZATION regress_etl_ps_owner;
SELECT etl.set_pool('ps_theirs', 1);
SELECT etl.create_pipeline('ps_their_pipeline', pool => 'ps_pool');
\set VERBOSITY terse
SELECT etl.set_pool('ps_pool', 100);
SELECT etl.drop_pool('ps_pool');
\set VERBOSITY default
SELECT etl.pipeline_sql('ps_their_pipeline') ~ '-- SELECT etl.set_pool' AS not_mine_to_set;
SET SESSION AUTHORIZATION regress_etl_ps_other;
SELECT etl.set_pool('ps_theirs', 9);
RESET SESSION AUTHORIZATION;
GRANT etl_operator TO regress_etl_ps_other;
SET SESSION AUTHORIZATION regress_etl_ps_other;
SELECT etl.set_pool('ps_theirs', 9);
RESET SESSION AUTHORIZATION;
SELECT pool, owner, slots FROM etl.pools WHERE pool = 'ps_theirs';
SELECT etl.drop_pipeline(pipeline) FROM etl.pipelines WHERE pipeline ~ '^ps_';
SELECT etl.drop_pool(pool) FROM etl.pools;
REVOKE etl_operator FROM regress_etl_ps_other;
DROP ROLE regress_etl_ps_other, regress_etl_ps_owner;
