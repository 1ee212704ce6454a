-- The graph: the order of tasks from what views read, foreign keys and depends_on; circles.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
SELECT etl.create_pipeline('gr');
CREATE SCHEMA gr;
CREATE SERVER gr_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:9');

-- declared against the order in which they must run, through views of views
CREATE TABLE gr.b (id integer);
CREATE TABLE gr.c (id integer);
CREATE VIEW gr.helper AS SELECT id FROM gr.b;
CREATE VIEW gr.helper2 AS SELECT id FROM gr.helper WHERE id > 0;
CREATE VIEW gr.txf_c AS SELECT id FROM gr.helper2 WHERE EXISTS (SELECT FROM gr.helper);
SELECT etl.add_load('gr', 'gr.c', 'full');
SELECT etl.add_check('gr', 'gr.c', 'row_count', '{"min": 0}', name => 'count_c');
SELECT etl.add_extract('gr', 'gr.raw_b', 'gr_api', key => '{$.id}');
CREATE VIEW gr.txf_b AS SELECT (payload ->> 'id')::integer AS id FROM gr.vl_raw_b;
SELECT etl.add_load('gr', 'gr.b', 'full');
SELECT * FROM etl._task_order('gr');
SELECT task, depends_on FROM etl.tasks WHERE pipeline = 'gr' ORDER BY task;

-- a check waits for all that its target reads
CREATE VIEW gr.both AS SELECT b.id FROM gr.helper2 b JOIN gr.c USING (id);
SELECT etl.add_check('gr', 'gr.both', 'row_count', '{"min": 0}', name => 'count_both');
SELECT task, needs, because FROM etl._task_dependencies('gr') WHERE task = 'count_both' ORDER BY 2;

-- a table is filled after those its foreign keys refer to
CREATE TABLE gr.dim (id integer PRIMARY KEY);
CREATE TABLE gr.fact (id integer, dim_id integer REFERENCES gr.dim);
CREATE VIEW gr.txf_fact AS SELECT 1 AS id, 1 AS dim_id;
CREATE VIEW gr.txf_dim AS SELECT 1 AS id;
SELECT etl.add_load('gr', 'gr.fact', 'full');
SELECT etl.add_load('gr', 'gr.dim', 'full', key => '{id}');
SELECT task, needs, because FROM etl._task_dependencies('gr') WHERE task = 'gr.fact' ORDER BY 2;
SELECT task, ordinal FROM etl._task_order('gr') WHERE task IN ('gr.fact', 'gr.dim') ORDER BY ordinal;
-- and that is how they are filled
SELECT etl.create_pipeline('gr', replace => true);
SELECT etl.add_load('gr', 'gr.fact', 'full');
SELECT etl.add_load('gr', 'gr.dim', 'full', key => '{id}');
SELECT * FROM pg_temp.run('gr', '2024-01-01');

-- a table that refers to itself
CREATE TABLE gr.tree (id integer PRIMARY KEY, parent integer REFERENCES gr.tree);
CREATE VIEW gr.txf_tree AS SELECT n AS id, nullif(n - 1, 0) AS parent FROM generate_series(3, 1, -1) n;
SELECT etl.add_load('gr', 'gr.tree', 'full', key => '{id}');
SELECT depends_on FROM etl.tasks WHERE task = 'gr.tree';
SELECT * FROM pg_temp.run('gr', '2024-01-01');

-- a view may read its own target
CREATE TABLE gr.running (id integer PRIMARY KEY, times integer);
CREATE VIEW gr.txf_running AS SELECT 1 AS id, coalesce((SELECT max(times) FROM gr.running), 0) + 1 AS times;
SELECT etl.add_load('gr', 'gr.running', 'full', key => '{id}');
SELECT depends_on FROM etl.tasks WHERE task = 'gr.running';
SELECT * FROM pg_temp.run('gr', '2024-01-01');
SELECT * FROM pg_temp.run('gr', '2024-01-01');
SELECT * FROM gr.running;

-- what functions read is said by depends_on
CREATE TABLE gr.second (n bigint);
CREATE FUNCTION gr.count_dim() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM gr.dim); END';
CREATE VIEW gr.txf_second AS SELECT gr.count_dim() AS n;
SELECT etl.add_load('gr', 'gr.second', 'full');
SELECT depends_on FROM etl.tasks WHERE task = 'gr.second';
SELECT etl.add_load('gr', 'gr.second', 'full', depends_on => '{gr.dim}');
SELECT depends_on FROM etl.tasks WHERE task = 'gr.second';
SELECT task FROM etl._task_order('gr') ORDER BY ordinal;

-- a materialized view is looked through, as a view is
CREATE MATERIALIZED VIEW gr.m AS SELECT id FROM gr.dim;
CREATE VIEW gr.txf_from_m AS SELECT id FROM gr.m;
SELECT etl.add_load('gr', 'gr.from_m', 'full');
SELECT depends_on FROM etl.tasks WHERE task = 'gr.from_m';

-- a circle of two
CREATE TABLE gr.x (id integer);
CREATE TABLE gr.y (id integer);
CREATE VIEW gr.txf_x AS SELECT id FROM gr.y;
CREATE VIEW gr.txf_y AS SELECT id FROM gr.x;
SELECT etl.add_load('gr', 'gr.x', 'full');
SELECT etl.add_load('gr', 'gr.y', 'full');
-- of three, one of them by depends_on
CREATE TABLE gr.z (id integer);
CREATE VIEW gr.txf_z AS SELECT 1 AS id;
CREATE OR REPLACE VIEW gr.txf_y AS SELECT id FROM gr.z;
SELECT etl.add_load('gr', 'gr.y', 'full');
SELECT etl.add_load('gr', 'gr.z', 'full', depends_on => '{gr.x}');
SELECT etl.add_load('gr', 'gr.z', 'full', depends_on => '{gr.z}');
-- by a foreign key against a view
CREATE TABLE gr.p (id integer PRIMARY KEY);
CREATE TABLE gr.q (id integer REFERENCES gr.p);
CREATE VIEW gr.txf_p AS SELECT id FROM gr.q;
CREATE VIEW gr.txf_q AS SELECT 1 AS id;
SELECT etl.add_load('gr', 'gr.p', 'full', key => '{id}');
SELECT etl.add_load('gr', 'gr.q', 'full');
-- a circle that a view makes later is found by the run
SELECT etl.add_load('gr', 'gr.z', 'full');
CREATE OR REPLACE VIEW gr.txf_z AS SELECT id FROM gr.x;
SELECT * FROM pg_temp.run('gr', '2024-01-01');
SELECT error_message FROM etl.runs WHERE pipeline = 'gr' ORDER BY run_id DESC LIMIT 1;

-- another pipeline's tables are there already: they are not waited for
SELECT etl.create_pipeline('gr2');
CREATE VIEW gr.txf_report AS SELECT count(*) AS n FROM gr.dim;
SELECT etl.add_load('gr2', 'gr.report', 'full');
SELECT * FROM etl._task_order('gr2');
SELECT * FROM pg_temp.run('gr2', '2024-01-01');
SELECT * FROM gr.report;

SELECT etl.drop_pipeline('gr2');
SELECT etl.drop_pipeline('gr');
DROP SCHEMA gr CASCADE;
DROP SERVER gr_api;
