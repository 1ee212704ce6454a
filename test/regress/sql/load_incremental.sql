-- Mode incremental: keys are added and changed; whatever the order of runs, the same result.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA li;
SELECT etl.create_pipeline('li');
-- what a source says on each day
CREATE TABLE li.says (day date, id integer, value text, version integer);

--
-- A view of one interval, without a version: the later interval decides
--
CREATE VIEW li.txf_t AS SELECT id, value FROM li.says WHERE day = etl.run_date();
SELECT etl.add_load('li', 'li.t', 'incremental', key => '{id}');
INSERT INTO li.says VALUES ('2024-01-01', 1, 'a1', 1), ('2024-01-01', 2, 'b1', 1), ('2024-01-02', 2, 'b2', 2), ('2024-01-02', 3, 'c2', 2), ('2024-01-03', 1, 'a3', 3), ('2024-01-03', 4, NULL, 3);
SELECT * FROM pg_temp.run('li', '2024-01-01');
SELECT * FROM pg_temp.run('li', '2024-01-02');
SELECT * FROM pg_temp.run('li', '2024-01-03');
SELECT * FROM li.t ORDER BY id;
CREATE TABLE li.in_order AS SELECT * FROM li.t;
SELECT inserted, updated, deleted, unchanged FROM etl.task_runs WHERE pipeline = 'li' AND kind = 'load' ORDER BY task_run_id;
-- again, in any order: nothing changes
SELECT * FROM pg_temp.run('li', '2024-01-02');
SELECT * FROM pg_temp.run('li', '2024-01-01');
SELECT * FROM pg_temp.run('li', '2024-01-03');
SELECT inserted, updated, deleted, unchanged FROM etl.task_runs WHERE pipeline = 'li' AND kind = 'load' ORDER BY task_run_id DESC LIMIT 3;
-- from nothing, latest first
SELECT etl.drop_pipeline('li', drop_data => true);
SELECT etl.create_pipeline('li');
CREATE VIEW li.txf_t AS SELECT id, value FROM li.says WHERE day = etl.run_date();
SELECT etl.add_load('li', 'li.t', 'incremental', key => '{id}');
SELECT * FROM pg_temp.run('li', '2024-01-03');
SELECT * FROM pg_temp.run('li', '2024-01-01');
SELECT * FROM pg_temp.run('li', '2024-01-02');
SELECT count(*) AS differences FROM ((TABLE li.t EXCEPT ALL TABLE li.in_order) UNION ALL (TABLE li.in_order EXCEPT ALL TABLE li.t)) d;

-- an old interval corrected: its own rows change, newer ones of the same key stand
UPDATE li.says SET value = 'corrected' WHERE day = '2024-01-01';
SELECT * FROM pg_temp.run('li', '2024-01-01');
SELECT * FROM li.t ORDER BY id;
-- withdrawn by the interval that said it last: what was said before comes back, or nothing
DELETE FROM li.says WHERE day = '2024-01-03';
SELECT * FROM pg_temp.run('li', '2024-01-03');
SELECT * FROM li.t ORDER BY id;
-- withdrawn by an interval that was not the last: no difference
DELETE FROM li.says WHERE day = '2024-01-01' AND id = 2;
SELECT * FROM pg_temp.run('li', '2024-01-01');
SELECT * FROM li.t ORDER BY id;
-- absent from a new interval means unchanged
SELECT * FROM pg_temp.run('li', '2024-01-09');
SELECT count(*) FROM li.t;
-- null to value and back
INSERT INTO li.says VALUES ('2024-01-04', 3, NULL, 4), ('2024-01-05', 3, 'c5', 5);
SELECT * FROM pg_temp.run('li', '2024-01-04');
SELECT value IS NULL AS value_is_null FROM li.t WHERE id = 3;
SELECT * FROM pg_temp.run('li', '2024-01-05');
SELECT value FROM li.t WHERE id = 3;
-- what was changed by hand is put right by running the interval again
UPDATE li.t SET value = 'by hand' WHERE id = 3;
DELETE FROM li.t WHERE id = 2;
SELECT * FROM pg_temp.run('li', '2024-01-05');
SELECT * FROM pg_temp.run('li', '2024-01-02');
SELECT * FROM li.t ORDER BY id;
-- a target made anew
DROP TABLE li.t CASCADE;
SELECT etl.add_load('li', 'li.t', 'incremental', key => '{id}');
SELECT * FROM pg_temp.run('li', '2024-01-01');
SELECT * FROM pg_temp.run('li', '2024-01-02');
SELECT * FROM pg_temp.run('li', '2024-01-05');
SELECT * FROM li.t ORDER BY id;

-- keys: none and several
INSERT INTO li.says VALUES ('2024-01-06', NULL, 'x', 1), ('2024-01-07', 7, 'x', 1), ('2024-01-07', 7, 'y', 2);
SELECT * FROM pg_temp.run('li', '2024-01-06');
SELECT * FROM pg_temp.run('li', '2024-01-07');
SELECT count(*) FROM li.t WHERE id = 7;

--
-- With a version it decides, and the interval only when versions are the same
--
TRUNCATE li.says;
INSERT INTO li.says VALUES ('2024-01-01', 1, 'newest', 9), ('2024-01-02', 1, 'older', 5), ('2024-01-02', 2, 'null version', NULL), ('2024-01-03', 1, 'as new, later', 9), ('2024-01-03', 2, 'version 1', 1),
	('2024-01-04', 2, 'null again', NULL);
CREATE VIEW li.txf_v AS SELECT id, value, version FROM li.says WHERE day = etl.run_date();
BEGIN;
SELECT etl.create_pipeline('li', replace => true);
SELECT etl.add_load('li', 'li.v', 'incremental', key => '{id}', version => 'version');
COMMIT;
SELECT * FROM pg_temp.run('li', '2024-01-02');
SELECT * FROM pg_temp.run('li', '2024-01-01');
SELECT * FROM li.v ORDER BY id;
SELECT * FROM pg_temp.run('li', '2024-01-03');
SELECT * FROM pg_temp.run('li', '2024-01-04');
SELECT * FROM li.v ORDER BY id;
SELECT * FROM pg_temp.run('li', '2024-01-01');
SELECT * FROM li.v ORDER BY id;
-- the version column need not be loaded under that name only: a later version of an earlier interval
UPDATE li.says SET version = 10 WHERE day = '2024-01-02' AND id = 1;
SELECT * FROM pg_temp.run('li', '2024-01-02');
SELECT * FROM li.v WHERE id = 1;

--
-- order_free false: the view's rows are upserted as they come
--
CREATE VIEW li.txf_plain AS SELECT id, value FROM li.says WHERE day = etl.run_date();
BEGIN;
SELECT etl.create_pipeline('li', replace => true);
SELECT etl.add_load('li', 'li.plain', 'incremental', key => '{id}', options => '{"order_free": false}');
COMMIT;
SELECT * FROM pg_temp.run('li', '2024-01-03');
SELECT * FROM pg_temp.run('li', '2024-01-01');
SELECT * FROM li.plain ORDER BY id;

--
-- A view that does not ask for the interval: over plain tables of others it tells changes
--
TRUNCATE li.says;
INSERT INTO li.says (id, value) VALUES (1, 'a'), (2, 'b');
CREATE VIEW li.txf_all AS SELECT id, value FROM li.says;
CREATE VIEW li.txf_snapshot AS SELECT id, value FROM li.says;
BEGIN;
SELECT etl.create_pipeline('li', replace => true);
SELECT etl.add_load('li', 'li.all', 'incremental', key => '{id}');
SELECT etl.add_load('li', 'li.snapshot', 'incremental', key => '{id}', source_kind => 'snapshot');
COMMIT;
SELECT * FROM pg_temp.run('li', '2024-01-01');
DELETE FROM li.says WHERE id = 1;
UPDATE li.says SET value = 'b2';
INSERT INTO li.says (id, value) VALUES (3, 'c');
SELECT * FROM pg_temp.run('li', '2024-01-02');
SELECT task, inserted, updated, deleted, unchanged FROM etl.task_runs WHERE pipeline = 'li' AND kind = 'load' ORDER BY task_run_id DESC LIMIT 2;
SELECT * FROM li."all" ORDER BY id;
SELECT * FROM li.snapshot ORDER BY id;

-- over tables its own pipeline fills it tells the whole: absent is gone; unless it is said otherwise
CREATE VIEW li.txf_base AS SELECT id, value FROM li.says;
BEGIN;
SELECT etl.create_pipeline('li', replace => true);
SELECT etl.add_load('li', 'li.base', 'full', key => '{id}');
CREATE VIEW li.txf_derived AS SELECT id, upper(value) AS value FROM li.base;
SELECT etl.add_load('li', 'li.derived', 'incremental', key => '{id}');
SELECT etl.add_load('li', 'li.kept', 'incremental', source => 'li.txf_derived', key => '{id}', source_kind => 'changes');
COMMIT;
SELECT * FROM pg_temp.run('li', '2024-01-01');
DELETE FROM li.says WHERE id = 2;
SELECT * FROM pg_temp.run('li', '2024-01-02');
SELECT * FROM li.derived ORDER BY id;
SELECT * FROM li.kept ORDER BY id;

--
-- Several key columns, types without equality, names that need quotes, touch
--
CREATE TABLE li.odd (day date, "Key A" text, "select" integer, p point, j json, "Val""ue" text);
INSERT INTO li.odd VALUES ('2024-01-01', 'x', 1, '(1,2)', '{"a": 1}', 'v1'), ('2024-01-02', 'x', 1, '(1,3)', '{"a": 1}', 'v1'), ('2024-01-02', 'x', 2, NULL, NULL, NULL);
CREATE SCHEMA "Li Mixed";
CREATE VIEW "Li Mixed"."txf_Odd One" AS SELECT "Key A", "select", p, j, "Val""ue" FROM li.odd WHERE day = etl.run_date();
CREATE TABLE "Li Mixed"."Odd One" ("Loaded At" timestamptz, "Val""ue" text, j json, p point, "select" integer, "Key A" text, PRIMARY KEY ("Key A", "select"));
BEGIN;
SELECT etl.create_pipeline('li', replace => true);
SELECT etl.add_load('li', '"Li Mixed"."Odd One"', 'incremental', key => '{Key A,select}', options => '{"touch": ["Loaded At"]}');
COMMIT;
SELECT * FROM pg_temp.run('li', '2024-01-02');
SELECT * FROM pg_temp.run('li', '2024-01-01');
UPDATE "Li Mixed"."Odd One" SET "Loaded At" = '2001-01-01';
SELECT * FROM pg_temp.run('li', '2024-01-02');
UPDATE li.odd SET p = '(7,7)' WHERE day = '2024-01-02' AND "select" = 2;
SELECT * FROM pg_temp.run('li', '2024-01-02');
SELECT "Key A", "select", p, j, "Val""ue", "Loaded At" > '2020-01-01' AS touched FROM "Li Mixed"."Odd One" ORDER BY 2;

--
-- Two pipelines that fill one table: each has its own say about an interval
--
CREATE TABLE li.dim (id integer PRIMARY KEY, name text);
CREATE TABLE li.names (source text, day date, id integer, name text);
INSERT INTO li.names VALUES ('a', '2024-01-01', 1, 'a1'), ('b', '2024-01-02', 1, 'b2'), ('a', '2024-01-01', 2, 'only a'), ('b', '2024-01-02', 3, 'only b');
CREATE VIEW li.names_a AS SELECT id, name FROM li.names WHERE source = 'a' AND day = etl.run_date();
CREATE VIEW li.names_b AS SELECT id, name FROM li.names WHERE source = 'b' AND day = etl.run_date();
BEGIN;
SELECT etl.create_pipeline('li', replace => true);
SELECT etl.add_load('li', 'li.dim', 'incremental', source => 'li.names_a', key => '{id}');
SELECT etl.create_pipeline('li2');
SELECT etl.add_load('li2', 'li.dim', 'incremental', source => 'li.names_b', key => '{id}');
COMMIT;
SELECT * FROM pg_temp.run('li2', '2024-01-02');
SELECT * FROM pg_temp.run('li', '2024-01-01');
SELECT * FROM li.dim ORDER BY id;
DELETE FROM li.names WHERE source = 'b';
SELECT * FROM pg_temp.run('li2', '2024-01-02');
SELECT * FROM li.dim ORDER BY id;

SELECT etl.drop_pipeline('li2');
SELECT etl.drop_pipeline('li');
DROP SCHEMA li, "Li Mixed" CASCADE;
