-- Pipelines: declared, declared anew, altered, dropped; and what is refused.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA dp;
CREATE VIEW dp.txf_a AS SELECT n AS id, 'a' || n AS value FROM generate_series(1, 3) n;
CREATE VIEW dp.txf_b AS SELECT n AS id FROM generate_series(1, 2) n;
CREATE VIEW dp.txf_c AS SELECT 1 AS id;

--
-- Declaring
--
SELECT etl.create_pipeline('dp_minimal');
SELECT etl.create_pipeline('dp_full', schedule => '*/15 * * * *', timezone => 'Europe/Berlin', retries => 3,
	retry_delay => '5 minutes', description => 'everything said');
SELECT pipeline, owner = current_user AS mine, description, schedule, timezone, retries, retry_delay, paused,
	   cannot_run_because, tasks, last_run_id, last_state, template, options
FROM etl.pipelines WHERE pipeline ~ '^dp_' ORDER BY 1;

-- it is there already
SELECT etl.create_pipeline('dp_minimal');
SELECT etl.create_pipeline('dp_minimal', replace => NULL);

-- declared anew, settings that are not given are those of a new one
SELECT etl.create_pipeline('dp_full', replace => true);
SELECT schedule, timezone, retries, retry_delay, description FROM etl.pipelines WHERE pipeline = 'dp_full';

-- replace works where there is nothing to replace
SELECT etl.create_pipeline('dp_new', replace => true);
SELECT etl.drop_pipeline('dp_new');

--
-- Names
--
BEGIN;
SELECT etl.create_pipeline(name) FROM unnest(ARRAY['a', '_', 'a1_', 'select', repeat('x', 63)]) name;
SELECT length(pipeline) FROM etl.pipelines ORDER BY 1;
ROLLBACK;
SELECT etl.create_pipeline('');
SELECT etl.create_pipeline(NULL);
SELECT etl.create_pipeline('Shop');
SELECT etl.create_pipeline('1shop');
SELECT etl.create_pipeline('my shop');
SELECT etl.create_pipeline('my-shop');
SELECT etl.create_pipeline('größe');
SELECT etl.create_pipeline(E'shop\n');
SELECT etl.create_pipeline(repeat('x', 64));

--
-- Settings that are refused
--
SELECT etl.create_pipeline('dp_bad', schedule => 'every day');
SELECT etl.create_pipeline('dp_bad', schedule => '');
SELECT etl.create_pipeline('dp_bad', timezone => 'Mars/Olympus_Mons');
SELECT etl.create_pipeline('dp_bad', timezone => NULL);
SELECT etl.create_pipeline('dp_bad', schedule => '@daily', timezone => NULL);
SELECT etl.create_pipeline('dp_bad', retries => -1);
SELECT etl.create_pipeline('dp_bad', retries => 101);
SELECT etl.create_pipeline('dp_bad', retries => NULL);
SELECT etl.create_pipeline('dp_bad', retry_delay => '-1 second');
SELECT etl.create_pipeline('dp_bad', retry_delay => NULL);
SELECT etl.create_pipeline('dp_bad', options => '{"colour": "red"}');
SELECT etl.create_pipeline('dp_bad', options => '[]');
SELECT etl.create_pipeline('dp_bad', options => NULL);
SELECT count(*) FROM etl.pipelines WHERE pipeline = 'dp_bad';

-- workers connect as the owner, so it must be able to log in
CREATE ROLE regress_etl_dp NOLOGIN;
SET ROLE regress_etl_dp;
SELECT etl.create_pipeline('dp_bad');
RESET ROLE;
DROP ROLE regress_etl_dp;

--
-- replace => true: the declarations up to the commit are the whole truth
--
SELECT etl.create_pipeline('dp');
SELECT etl.add_load('dp', 'dp.a', 'full', key => '{id}');
SELECT etl.add_load('dp', 'dp.b', 'full');
SELECT etl.add_check('dp', 'dp.a', 'unique', '{"columns": ["id"]}');
SELECT * FROM pg_temp.run('dp', '2024-01-01');
SELECT task, kind FROM etl.tasks WHERE pipeline = 'dp' ORDER BY task;

-- rolled back: nothing has changed
BEGIN;
SELECT etl.create_pipeline('dp', replace => true, description => 'never');
SELECT etl.add_load('dp', 'dp.c', 'full');
ROLLBACK;
SELECT task, kind FROM etl.tasks WHERE pipeline = 'dp' ORDER BY task;
SELECT description FROM etl.pipelines WHERE pipeline = 'dp';

-- committed: what was not declared again is gone, its data and history are not
BEGIN;
SELECT etl.create_pipeline('dp', replace => true, description => 'second edition');
SELECT etl.add_load('dp', 'dp.a', 'full', key => '{id}');
SELECT etl.add_load('dp', 'dp.c', 'full');
COMMIT;
SELECT task, kind FROM etl.tasks WHERE pipeline = 'dp' ORDER BY task;
SELECT tasks, description, last_state FROM etl.pipelines WHERE pipeline = 'dp';
SELECT * FROM dp.b ORDER BY 1;
SELECT task, kind, state, inserted FROM etl.task_runs WHERE pipeline = 'dp' ORDER BY task_run_id;

-- the same file again changes nothing, and the next run has nothing to do
BEGIN;
SELECT etl.create_pipeline('dp', replace => true, description => 'second edition');
SELECT etl.add_load('dp', 'dp.a', 'full', key => '{id}');
SELECT etl.add_load('dp', 'dp.c', 'full');
COMMIT;
SELECT * FROM pg_temp.run('dp', '2024-01-01');
SELECT * FROM pg_temp.run('dp', '2024-01-01');

-- twice in one transaction: the last one counts
BEGIN;
SELECT etl.create_pipeline('dp', replace => true);
SELECT etl.add_load('dp', 'dp.b', 'full');
SELECT etl.create_pipeline('dp', replace => true);
SELECT etl.add_load('dp', 'dp.c', 'full');
COMMIT;
SELECT task FROM etl.tasks WHERE pipeline = 'dp' ORDER BY task;

-- a declaration that fails leaves the old one whole
BEGIN;
SELECT etl.create_pipeline('dp', replace => true);
SELECT etl.add_load('dp', 'dp.a', 'full', depends_on => '{dp.c}');
COMMIT;
SELECT task FROM etl.tasks WHERE pipeline = 'dp' ORDER BY task;

-- a task taken out while others still name it
BEGIN;
SELECT etl.create_pipeline('dp', replace => true);
SELECT etl.add_load('dp', 'dp.c', 'full');
SELECT etl.add_load('dp', 'dp.a', 'full', depends_on => '{dp.c}');
COMMIT;
SELECT task, depends_on FROM etl.tasks WHERE pipeline = 'dp' ORDER BY task;
BEGIN;
SELECT etl.create_pipeline('dp', replace => true);
SELECT etl.add_load('dp', 'dp.a', 'full');
COMMIT;
SELECT task, depends_on FROM etl.tasks WHERE pipeline = 'dp' ORDER BY task;

-- a target is filled by one task, of one kind
SELECT etl.add_check('dp', 'dp.a', 'row_count', '{"min": 1}', name => 'dp.a');

-- each statement a transaction of its own: replace alone empties the pipeline
SELECT etl.create_pipeline('dp', replace => true);
SELECT task FROM etl.tasks WHERE pipeline = 'dp';
SELECT * FROM pg_temp.run('dp', '2024-01-01');

--
-- Altering
--
SELECT etl.alter_pipeline('dp', schedule => '0 2 * * *', timezone => 'America/New_York', retries => 2,
	retry_delay => '1 minute', description => 'altered');
SELECT schedule, timezone, retries, retry_delay, description FROM etl.pipelines WHERE pipeline = 'dp';
-- what is not given stays
SELECT etl.alter_pipeline('dp', retries => 0);
SELECT schedule, timezone, retries, retry_delay, description FROM etl.pipelines WHERE pipeline = 'dp';
SELECT etl.alter_pipeline('dp', schedule => 'none');
SELECT schedule, timezone FROM etl.pipelines WHERE pipeline = 'dp';
-- altering keeps the tasks
SELECT etl.add_load('dp', 'dp.a', 'full', key => '{id}');
SELECT etl.alter_pipeline('dp', description => 'with a task');
SELECT tasks FROM etl.pipelines WHERE pipeline = 'dp';

SELECT etl.alter_pipeline('dp', schedule => '61 * * * *');
SELECT etl.alter_pipeline('dp', timezone => 'Nowhere');
SELECT etl.alter_pipeline('dp', retries => 1000);
SELECT etl.alter_pipeline('dp', retry_delay => '-1 day');
SELECT etl.alter_pipeline('dp', options => '{"x": 1}');
SELECT etl.alter_pipeline('dp_missing', retries => 1);
SELECT etl.alter_pipeline(NULL, retries => 1);

--
-- Dropping
--
SELECT etl.drop_pipeline('dp_missing');
SELECT etl.drop_pipeline('dp');
SELECT count(*) AS pipelines FROM etl.pipelines WHERE pipeline = 'dp';
SELECT count(*) AS tasks FROM etl.tasks WHERE pipeline = 'dp';
-- the data and the history stay
SELECT * FROM dp.vr_a ORDER BY 1;
SELECT state, count(*) FROM etl.runs WHERE pipeline = 'dp' GROUP BY 1;

-- declared again it finds its data
SELECT etl.create_pipeline('dp');
SELECT etl.add_load('dp', 'dp.a', 'full', key => '{id}');
SELECT * FROM pg_temp.run('dp', '2024-01-01');

-- with its data; what others have built on it is not dropped silently
SELECT etl.add_load('dp', 'dp.b', 'full');
CREATE VIEW dp.report AS SELECT count(*) FROM dp.vr_a;
SELECT etl.drop_pipeline('dp', drop_data => true);
SELECT count(*) AS tasks FROM etl.tasks WHERE pipeline = 'dp';
DROP VIEW dp.report;
SELECT etl.drop_pipeline('dp', drop_data => true);
SELECT relname, relkind FROM pg_class WHERE relnamespace = 'dp'::regnamespace AND relkind IN ('r', 'p', 'v') ORDER BY 1;
SELECT count(*) > 0 AS history_stays FROM etl.runs WHERE pipeline = 'dp';
-- two in one transaction
BEGIN;
SELECT etl.drop_pipeline('dp_minimal');
SELECT etl.drop_pipeline('dp_full', drop_data => true);
COMMIT;
SELECT count(*) FROM etl.pipelines;
-- nothing is left to choose from
SELECT etl.drop_pipeline('dp');
DROP SCHEMA dp CASCADE;
