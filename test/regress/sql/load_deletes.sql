-- Mode incremental over snapshots: deletes => ignore, delete, mark; on_duplicate; whatever the order.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA lx;
SELECT etl.create_pipeline('lx');
CREATE TABLE lx.says (day date, id integer, value text);

--
-- A view of everything
--
CREATE VIEW lx.txf_now AS SELECT id, value FROM lx.says;
BEGIN;
SELECT etl.create_pipeline('lx', replace => true);
SELECT etl.add_load('lx', 'lx.ignored', 'incremental', key => '{id}', source => 'lx.txf_now', source_kind => 'snapshot', deletes => 'ignore');
SELECT etl.add_load('lx', 'lx.deleted', 'incremental', key => '{id}', source => 'lx.txf_now', deletes => 'delete');
SELECT etl.add_load('lx', 'lx.marked', 'incremental', key => '{id}', source => 'lx.txf_now', source_kind => 'snapshot', deletes => 'mark');
COMMIT;
\d lx.marked
\d lx.vr_marked
INSERT INTO lx.says (id, value) VALUES (1, 'a'), (2, 'b'), (3, NULL);
SELECT * FROM pg_temp.run('lx', '2024-01-01');
DELETE FROM lx.says WHERE id IN (1, 3);
UPDATE lx.says SET value = 'b2' WHERE id = 2;
SELECT * FROM pg_temp.run('lx', '2024-01-02');
SELECT task, inserted, updated, deleted, unchanged FROM etl.task_runs WHERE pipeline = 'lx' AND kind = 'load' AND run_id = (SELECT max(run_id) FROM etl.runs) ORDER BY task;
SELECT * FROM lx.ignored ORDER BY id;
SELECT * FROM lx.deleted ORDER BY id;
SELECT * FROM lx.marked ORDER BY id;
-- still gone: nothing to do
SELECT * FROM pg_temp.run('lx', '2024-01-03');
SELECT * FROM lx.marked ORDER BY id;
-- one comes back
INSERT INTO lx.says (id, value) VALUES (1, 'again');
SELECT * FROM pg_temp.run('lx', '2024-01-04');
SELECT * FROM lx.marked ORDER BY id;

--
-- A snapshot for each interval: an older one takes nothing from a newer one
--
TRUNCATE lx.says;
CREATE VIEW lx.txf_then AS SELECT id, value FROM lx.says WHERE day = etl.run_date();
BEGIN;
SELECT etl.create_pipeline('lx', replace => true);
SELECT etl.add_load('lx', 'lx.then_ignored', 'incremental', key => '{id}', source => 'lx.txf_then', source_kind => 'snapshot', deletes => 'ignore');
SELECT etl.add_load('lx', 'lx.then_deleted', 'incremental', key => '{id}', source => 'lx.txf_then', source_kind => 'snapshot');
SELECT etl.add_load('lx', 'lx.then_marked', 'incremental', key => '{id}', source => 'lx.txf_then', source_kind => 'snapshot', deletes => 'mark');
SELECT etl.add_load('lx', 'lx.then_plain', 'incremental', key => '{id}', source => 'lx.txf_then', source_kind => 'snapshot', options => '{"order_free": false}');
COMMIT;
\d lx.obs_then_marked
INSERT INTO lx.says VALUES ('2024-01-01', 1, 'a1'), ('2024-01-01', 2, 'b1'), ('2024-01-02', 2, 'b2'), ('2024-01-02', 3, 'c2'), ('2024-01-03', 2, 'b2'), ('2024-01-03', 1, 'a3');
CREATE FUNCTION pg_temp.show() RETURNS TABLE (target text, id integer, value text, deleted_at timestamptz) LANGUAGE sql AS $$
	SELECT 'ignored', id, value, NULL::timestamptz FROM lx.then_ignored UNION ALL SELECT 'deleted', id, value, NULL FROM lx.then_deleted
	UNION ALL SELECT 'marked' || CASE WHEN is_deleted THEN ', gone' ELSE '' END, id, value, deleted_at FROM lx.then_marked UNION ALL SELECT 'plain', id, value, NULL FROM lx.then_plain ORDER BY 1, 2 $$;
SELECT d, r.* FROM (VALUES (date '2024-01-01'), ('2024-01-02')) v(d), LATERAL pg_temp.run('lx', d) r;
SELECT * FROM pg_temp.show();
SELECT task, inserted, updated, deleted, unchanged FROM etl.task_runs WHERE pipeline = 'lx' AND kind = 'load' AND run_id = (SELECT max(run_id) FROM etl.runs) ORDER BY task;
SELECT * FROM pg_temp.run('lx', '2024-01-03');
SELECT * FROM pg_temp.show();
CREATE TABLE lx.in_order AS SELECT * FROM pg_temp.show();
-- older ones again: the newest stands, and the log says so of what remembers nothing
SELECT d, r.* FROM (VALUES (date '2024-01-02'), ('2024-01-01'), ('2024-01-03')) v(d), LATERAL pg_temp.run('lx', d) r;
SELECT count(*) AS differences FROM ((SELECT * FROM pg_temp.show() EXCEPT TABLE lx.in_order) UNION ALL (TABLE lx.in_order EXCEPT SELECT * FROM pg_temp.show())) d;
SELECT task, message FROM etl.log WHERE pipeline = 'lx' AND message ~ 'keeps' ORDER BY log_id;
-- an older snapshot corrected: key 4 was there, and is gone since the second
INSERT INTO lx.says VALUES ('2024-01-01', 4, 'd1');
SELECT * FROM pg_temp.run('lx', '2024-01-01');
SELECT * FROM pg_temp.show() WHERE id = 4;
-- latest first, into nothing
TRUNCATE lx.then_ignored, lx.obs_then_ignored, lx.snp_then_ignored, lx.then_deleted, lx.obs_then_deleted, lx.snp_then_deleted, lx.then_marked, lx.obs_then_marked, lx.snp_then_marked;
DELETE FROM lx.says WHERE id = 4;
SELECT d, r.* FROM (VALUES (date '2024-01-03'), ('2024-01-01'), ('2024-01-02')) v(d), LATERAL pg_temp.run('lx', d) r;
SELECT count(*) AS differences FROM ((SELECT * FROM pg_temp.show() EXCEPT TABLE lx.in_order) UNION ALL (TABLE lx.in_order EXCEPT SELECT * FROM pg_temp.show())) d;
-- another policy: the next run makes it so for all keys
BEGIN;
SELECT etl.create_pipeline('lx', replace => true);
SELECT etl.add_load('lx', 'lx.then_marked', 'incremental', key => '{id}', source => 'lx.txf_then', source_kind => 'snapshot', deletes => 'delete');
COMMIT;
SELECT * FROM pg_temp.run('lx', '2024-01-03');
SELECT id, value FROM lx.then_marked ORDER BY id;
-- a target made anew is filled from what is remembered
DROP TABLE lx.then_marked CASCADE;
SELECT etl.add_load('lx', 'lx.then_marked', 'incremental', key => '{id}', source => 'lx.txf_then', source_kind => 'snapshot', deletes => 'mark');
SELECT * FROM pg_temp.run('lx', '2024-01-03');
SELECT * FROM lx.then_marked ORDER BY id;

--
-- Several rows of a key
--
TRUNCATE lx.says;
INSERT INTO lx.says VALUES ('2024-01-01', 1, 'old'), ('2024-01-02', 1, 'new'), ('2024-01-02', 1, 'newer'), ('2024-01-01', 2, 'only'), (NULL, 3, 'when?'), ('2024-01-01', 3, 'then');
CREATE VIEW lx.txf_twice AS SELECT id, day, value FROM lx.says;
BEGIN;
SELECT etl.create_pipeline('lx', replace => true);
SELECT etl.add_load('lx', 'lx.twice', 'incremental', key => '{id}', on_duplicate => 'error');
COMMIT;
SELECT * FROM pg_temp.run('lx', '2024-01-01');
SELECT etl.add_load('lx', 'lx.twice', 'incremental', key => '{id}', on_duplicate => 'latest', order_by => '{day,value}');
SELECT * FROM pg_temp.run('lx', '2024-01-01');
SELECT * FROM lx.twice ORDER BY id;
-- equal by order_by: the same row at each run
SELECT etl.add_load('lx', 'lx.twice', 'incremental', key => '{id}', on_duplicate => 'latest', order_by => '{day}');
SELECT * FROM pg_temp.run('lx', '2024-01-01');
SELECT * FROM lx.twice WHERE id = 1;
-- a row without a key is an error all the same
INSERT INTO lx.says VALUES ('2024-01-01', NULL, 'x'), ('2024-01-01', NULL, 'y');
SELECT * FROM pg_temp.run('lx', '2024-01-01');

--
-- As a file, and what is refused
--
SELECT substring(etl.pipeline_sql('lx') FROM 'SELECT etl.add_load.*?\);');
SELECT etl.add_load('lx', 'lx.t', 'incremental', key => '{id}', source => 'lx.txf_now', deletes => 'close');
SELECT etl.add_load('lx', 'lx.t', 'incremental', key => '{id}', source => 'lx.txf_now', source_kind => 'changes', deletes => 'mark');
SELECT etl.add_load('lx', 'lx.t', 'incremental', key => '{id}', source => 'lx.txf_then', deletes => 'delete');
SELECT etl.add_load('lx', 'lx.t', 'full', key => '{id}', source => 'lx.txf_now', deletes => 'mark');
SELECT etl.add_load('lx', 'lx.t', 'partition', key => '{id}', source => 'lx.txf_twice', partition_by => 'day', deletes => 'mark');
SELECT etl.add_load('lx', 'lx.t', 'incremental', key => '{id}', source => 'lx.txf_now', on_duplicate => 'first');
SELECT etl.add_load('lx', 'lx.t', 'incremental', key => '{id}', source => 'lx.txf_now', on_duplicate => 'latest');
SELECT etl.add_load('lx', 'lx.t', 'incremental', key => '{id}', source => 'lx.txf_now', order_by => '{value}');
SELECT etl.add_load('lx', 'lx.t', 'incremental', key => '{id}', source => 'lx.txf_now', on_duplicate => 'latest', order_by => '{nosuch}');
SELECT etl.add_load('lx', 'lx.t', 'scd2', key => '{id}', source => 'lx.txf_now', deletes => 'mark');
SELECT etl.add_load('lx', 'lx.t', 'scd2', key => '{id}', source => 'lx.txf_now', deletes => 'close', options => '{"deletes": "ignore"}');
CREATE VIEW lx.txf_own_mark AS SELECT 1 AS id, false AS is_deleted;
SELECT etl.add_load('lx', 'lx.own_mark', 'incremental', key => '{id}', source_kind => 'snapshot', deletes => 'mark');
CREATE TABLE lx.bad_mark (id integer PRIMARY KEY, value text, is_deleted text);
SELECT etl.add_load('lx', 'lx.bad_mark', 'incremental', key => '{id}', source => 'lx.txf_now', source_kind => 'snapshot', deletes => 'mark');
SELECT to_regclass('lx.t');

SELECT etl.drop_pipeline('lx');
DROP SCHEMA lx CASCADE;
