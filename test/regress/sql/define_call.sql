-- Declaring calls: procedures and functions found by name and arguments, values bound to
-- their parameters; running them within the publication and by themselves.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA ca;
CREATE TABLE ca.log (n integer GENERATED ALWAYS AS IDENTITY, what text, since timestamptz, day date, list integer[], doc jsonb, context timestamptz);
CREATE PROCEDURE ca.note(what text, since timestamptz DEFAULT NULL, day date DEFAULT NULL, list integer[] DEFAULT '{}', doc jsonb DEFAULT 'null')
LANGUAGE sql AS $$ INSERT INTO ca.log (what, since, day, list, doc, context) VALUES (what, since, day, list, doc, etl.data_interval_start()) $$;
SELECT etl.create_pipeline('ca', timezone => 'Europe/Berlin');

-- values are of their parameters' types, placeholders those of the run
SELECT etl.add_call('ca', 'ca.note', '{"what": "it''s {{ds}} {ds}, run > 0", "since": "{data_interval_start}", "day": "{data_interval_end:YYYY-MM-DD}", "list": [1, "2", null], "doc": {"a": ["{ds}"]}}');
SELECT * FROM pg_temp.run('ca', '2024-01-01');
SELECT * FROM ca.log;
-- nothing is pasted
SELECT etl.add_call('ca', 'ca.note', $${"what": "'); DROP TABLE ca.log; --"}$$);
SELECT * FROM pg_temp.run('ca', '2024-01-01');
SELECT what FROM ca.log ORDER BY n DESC LIMIT 1;
-- in their order, with what has a default left away; null; the empty text
SELECT etl.add_call('ca', 'ca.note', '["", null]');
SELECT * FROM pg_temp.run('ca', '2024-01-01');
SELECT what = '' AS empty, since FROM ca.log ORDER BY n DESC LIMIT 1;

-- what cannot be called
SELECT etl.add_call('ca', 'note');
SELECT etl.add_call('ca', 'ca.note(text)');
SELECT etl.add_call('ca', NULL);
SELECT etl.add_call('ca', 'ca.missing');
SELECT etl.add_call('ca', 'ca.note');
SELECT etl.add_call('ca', 'ca.note', '{"what": "x", "wat": 1}');
SELECT etl.add_call('ca', 'ca.note', '[1, 2, 3, 4, 5, 6]');
SELECT etl.add_call('ca', 'ca.note', '"x"');
SELECT etl.add_call('ca', 'pg_catalog.count', '{}');
SELECT etl.add_call('ca', 'pg_catalog.suppress_redundant_updates_trigger');
-- values that do not fit
SELECT etl.add_call('ca', 'ca.note', '{"what": "{data_start}"}');
SELECT etl.add_call('ca', 'ca.note', '{"what": "x", "list": ["{ds"]}');
SELECT etl.add_call('ca', 'ca.note', '{"what": "x", "day": "tomorrowish"}');
SELECT etl.add_call('ca', 'ca.note', '{"what": "x", "list": "{run_id}"}');
SELECT etl.add_call('ca', 'ca.note', '{"what": "x", "day": {"a": 1}}');
-- settings
SELECT etl.add_call('ca', 'ca.note', '["x"]', trigger_rule => 'one_failed');
SELECT etl.add_call('ca', 'ca.note', '["x"]', transaction => 'both');
SELECT etl.add_call('ca', 'ca.note', '["x"]', transaction => 'publication', trigger_rule => 'all_done');
SELECT etl.add_call('ca', 'ca.note', '["x"]', fills => '{ca.missing}');
SELECT etl.add_call('ca', 'ca.note', '["x"]', name => 'publish ca.t');
SELECT etl.add_call('ca', 'ca.note', '["x"]', name => '');
SELECT etl.add_call('ca', 'ca.note', '["x"]', options => '{"retrys": 1}');
SELECT etl.add_call('ca', 'ca.note', '["x"]', options => '{"retries": -1}');
SELECT etl.add_call('ca', 'ca.note', '["x"]', options => '{"task_timeout": "soon"}');
SELECT etl.add_call('ca', 'ca.note', '["x"]', options => '{"task_timeout": "0"}');
SELECT etl.add_call('ca', 'ca.note', '["x"]', depends_on => '{ca.nothing}');
SELECT etl.add_call('missing', 'ca.note', '["x"]');
-- one of several; none is told apart by NULL
CREATE PROCEDURE ca.several(a integer) LANGUAGE sql AS $$ INSERT INTO ca.log (what) VALUES ('integer') $$;
CREATE PROCEDURE ca.several(b text, c text DEFAULT 'x') LANGUAGE sql AS $$ INSERT INTO ca.log (what) VALUES ('text') $$;
CREATE FUNCTION ca.several(a integer, OUT b integer, VARIADIC d text[]) LANGUAGE sql AS $$ INSERT INTO ca.log (what) VALUES (array_to_string(d, '+')); SELECT 1 $$;
SELECT etl.add_call('ca', 'ca.several', '[1]');
SELECT etl.add_call('ca', 'ca.several', '{"a": 1}', name => 'one');
SELECT etl.add_call('ca', 'ca.several', '{"b": "1"}', name => 'two', depends_on => '{one}');
SELECT etl.add_call('ca', 'ca.several', '{"a": 1, "d": ["x", "y"]}', name => 'three', depends_on => '{two}');
SELECT etl.drop_task('ca', 'ca.note');
-- what a procedure returns is not asked for
CREATE PROCEDURE ca.returns(OUT a integer, INOUT b integer, OUT c text) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ca.log (what) VALUES ('returns ' || b); END $$;
SELECT etl.add_call('ca', 'ca.returns', '{"b": 5}', name => 'four', depends_on => '{three}');
SELECT * FROM pg_temp.run('ca', '2024-01-02');
SELECT what FROM ca.log ORDER BY n DESC LIMIT 4;
SELECT task, kind, target, depends_on FROM etl.tasks WHERE pipeline = 'ca' ORDER BY task;

-- dropping what others wait for, what there is not, what is another's
SELECT etl.drop_task('ca', 'three');
SELECT etl.drop_task('ca', 'five');
SELECT etl.drop_task('missing', 'five');
SELECT etl.drop_task('ca', t) FROM unnest('{four,three,two,one}'::text[]) t;
SELECT count(*) FROM etl.tasks WHERE pipeline = 'ca';

-- a call fills what loads read, and finishes what loads fill
CREATE TABLE ca.source (id integer);
CREATE TABLE ca.t (id integer PRIMARY KEY, total integer);
CREATE VIEW ca.txf_t AS SELECT id, 0 AS total FROM ca.source;
CREATE VIEW ca.txf_report AS SELECT sum(total) AS total FROM ca.t;
CREATE PROCEDURE ca.fill(count integer) LANGUAGE sql AS $$ DELETE FROM ca.source; INSERT INTO ca.source SELECT generate_series(1, count) $$;
CREATE PROCEDURE ca.finish() LANGUAGE sql AS $$ UPDATE ca.t SET total = 10 * id $$;
SELECT etl.add_load('ca', 'ca.report', 'full');
SELECT etl.add_load('ca', 'ca.t', 'incremental', key => '{id}');
SELECT etl.add_call('ca', 'ca.finish', fills => '{ca.t}', depends_on => '{ca.t}');
SELECT etl.add_call('ca', 'ca.fill', '[3]', fills => '{ca.source}');
SELECT etl.add_check('ca', 'ca.t', 'between', '{"column": "total", "min": 10, "max": 30}', name => 'total_is_filled');
SELECT task, needs, because FROM etl._task_dependencies('ca') ORDER BY task, needs;
SELECT * FROM pg_temp.run('ca', '2024-01-01');
SELECT * FROM ca.report;
SELECT task, kind, state, part_of, trigger_rule, inserted FROM etl.task_runs WHERE run_id = (SELECT max(run_id) FROM etl.runs) ORDER BY task;
-- and is rolled back with them
SELECT etl.add_call('ca', 'ca.fill', '[4]', fills => '{ca.source}');
SELECT * FROM pg_temp.run('ca', '2024-01-02');
SELECT (SELECT count(*) FROM ca.source) AS source, (SELECT count(*) FROM ca.t) AS t, (SELECT total FROM ca.report) AS report;
SELECT task, state FROM etl.task_runs WHERE run_id = (SELECT max(run_id) FROM etl.runs) ORDER BY task;
-- in a test's transaction
BEGIN;
SELECT task, kind, passed, inserted FROM etl.transform('ca', '2024-01-02Z');
ROLLBACK;

-- one that has gone since
ALTER PROCEDURE ca.finish() RENAME TO gone;
SELECT * FROM pg_temp.run('ca', '2024-01-02');
ALTER PROCEDURE ca.gone() RENAME TO finish;

-- a procedure that commits
CREATE PROCEDURE ca.commits(until integer) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. until LOOP
		INSERT INTO ca.log (what, context) VALUES ('step ' || i, etl.data_interval_start());
		COMMIT;
		IF i = 3 THEN
			RAISE 'enough';
		END IF;
	END LOOP;
END $$;
SELECT etl.add_call('ca', 'ca.fill', '[3]', fills => '{ca.source}');
SELECT etl.add_call('ca', 'ca.commits', '[2]');
SELECT * FROM pg_temp.run('ca', '2024-01-03');
SELECT error_code, error_message, error_hint FROM etl.runs ORDER BY run_id DESC LIMIT 1;
SELECT etl.add_call('ca', 'ca.commits', '[2]', transaction => 'own', depends_on => '{ca.report}');
SELECT * FROM pg_temp.run('ca', '2024-01-03');
SELECT what, context AT TIME ZONE 'Europe/Berlin' AS context FROM ca.log ORDER BY n DESC LIMIT 2;
SELECT task, state, part_of, depends_on FROM etl.task_runs WHERE run_id = (SELECT max(run_id) FROM etl.runs) AND part_of IS NULL ORDER BY task;
-- what it had committed before it failed stays, and what waits for it does not run
SELECT etl.add_call('ca', 'ca.commits', '[5]', transaction => 'own', depends_on => '{ca.report}');
SELECT etl.add_call('ca', 'ca.note', '["after"]', transaction => 'own', depends_on => '{ca.commits}', name => 'after');
SELECT etl.add_call('ca', 'ca.note', '["cleanup"]', trigger_rule => 'all_done', name => 'cleanup');
SELECT * FROM pg_temp.run('ca', '2024-01-04');
SELECT what FROM ca.log ORDER BY n DESC LIMIT 4;
SELECT task, state, trigger_rule FROM etl.task_runs WHERE run_id = (SELECT max(run_id) FROM etl.runs) AND part_of IS NULL ORDER BY task;

-- by itself, between parts of one publication: not as one, but per task
SELECT etl.add_call('ca', 'ca.fill', '[3]', fills => '{ca.source}', transaction => 'own', depends_on => '{ca.report}');
SELECT etl.add_call('ca', 'ca.fill', '[3]', fills => '{ca.source}', transaction => 'own');
SELECT etl.add_call('ca', 'ca.finish', fills => '{ca.t}', depends_on => '{ca.t}', transaction => 'own');
SELECT etl.alter_pipeline('ca', publish => 'per_task');
SELECT etl.add_call('ca', 'ca.finish', fills => '{ca.t}', depends_on => '{ca.t}', transaction => 'own');
SELECT etl.alter_pipeline('ca', publish => 'pipeline');
-- nothing waits for a cleanup but cleanups
SELECT etl.add_call('ca', 'ca.note', '["x"]', name => 'x', depends_on => '{cleanup}');
SELECT etl.add_call('ca', 'ca.note', '["last"]', name => 'last', trigger_rule => 'all_done', depends_on => '{cleanup}');

-- as a file, and back
SELECT etl.pipeline_sql('ca') AS declaration \gset
\pset format unaligned
-- from 16 on a view of one relation does not name it with its columns
SELECT regexp_replace(etl.pipeline_sql('ca'), '\m(source|t)\.(id|total)\M', '\2', 'g') AS pipeline_sql;
\o /dev/null
:declaration
\o
SELECT etl.pipeline_sql('ca') = :'declaration' AS same;

SELECT etl.drop_pipeline('ca');
DROP SCHEMA ca CASCADE;
