-- Mode delta: what is new is appended, by key or by interval; a re-run replaces its interval's
-- contribution and nothing else; the order of runs does not matter.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA ld;
SELECT etl.create_pipeline('ld');
CREATE TABLE ld.says (day date, id integer, value text);
CREATE VIEW ld.txf_keyed AS SELECT id, value FROM ld.says WHERE day = etl.run_date();
CREATE VIEW ld.txf_rows AS SELECT id, value FROM ld.says WHERE day = etl.run_date();
SELECT etl.add_load('ld', 'ld.keyed', 'delta', key => '{id}');
SELECT etl.add_load('ld', 'ld.rows', 'delta');
-- id 1 twice, and two rows alike on the second day
INSERT INTO ld.says VALUES ('2024-01-01', 1, 'first'), ('2024-01-01', 2, 'a'), ('2024-01-02', 1, 'later'), ('2024-01-02', 3, 'b'), ('2024-01-03', 4, NULL);
CREATE FUNCTION pg_temp.show() RETURNS TABLE (target text, id integer, value text, n bigint) LANGUAGE sql AS $$
	SELECT 'keyed', id, value, count(*) FROM ld.keyed GROUP BY 1, 2, 3 UNION ALL SELECT 'rows', id, value, count(*) FROM ld.rows GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 $$;
SELECT d, r.* FROM (VALUES (date '2024-01-01'), ('2024-01-02'), ('2024-01-03')) v(d), LATERAL pg_temp.run('ld', d) r;
SELECT * FROM pg_temp.show();
CREATE TABLE ld.in_order AS SELECT * FROM pg_temp.show();
-- again: nothing is appended twice
SELECT d, r.* FROM (VALUES (date '2024-01-02'), ('2024-01-01')) v(d), LATERAL pg_temp.run('ld', d) r;
SELECT task, inserted, updated, deleted, unchanged FROM etl.task_runs WHERE pipeline = 'ld' AND kind = 'load' AND run_id = (SELECT max(run_id) FROM etl.runs) ORDER BY task;
-- corrected: the day's own contribution is replaced, equal rows of other days stay
INSERT INTO ld.says VALUES ('2024-01-01', 3, 'b'), ('2024-01-01', 3, 'b');
DELETE FROM ld.says WHERE day = '2024-01-01' AND id = 3 AND ctid = (SELECT max(ctid) FROM ld.says WHERE day = '2024-01-01' AND id = 3);
SELECT * FROM pg_temp.run('ld', '2024-01-01');
SELECT * FROM pg_temp.show();
DELETE FROM ld.says WHERE day = '2024-01-01' AND id IN (1, 3);
SELECT * FROM pg_temp.run('ld', '2024-01-01');
SELECT * FROM pg_temp.show();
-- rows that have been moved are found by their values; one that was deleted by hand is no matter
VACUUM FULL ld.rows;
DELETE FROM ld.rows WHERE id = 4;
DELETE FROM ld.says WHERE day IN ('2024-01-02', '2024-01-03');
SELECT d, r.* FROM (VALUES (date '2024-01-02'), ('2024-01-03')) v(d), LATERAL pg_temp.run('ld', d) r;
SELECT * FROM pg_temp.show();
-- from nothing, latest first: as in order
TRUNCATE ld.says, ld.keyed, ld.obs_keyed, ld.rows;
INSERT INTO ld.says VALUES ('2024-01-01', 1, 'first'), ('2024-01-01', 2, 'a'), ('2024-01-02', 1, 'later'), ('2024-01-02', 3, 'b'), ('2024-01-03', 4, NULL);
SELECT d, r.* FROM (VALUES (date '2024-01-03'), ('2024-01-02'), ('2024-01-01')) v(d), LATERAL pg_temp.run('ld', d) r;
SELECT count(*) AS differences FROM ((SELECT * FROM pg_temp.show() EXCEPT TABLE ld.in_order) UNION ALL (TABLE ld.in_order EXCEPT SELECT * FROM pg_temp.show())) d;
-- made anew, it is filled by the runs
DROP TABLE ld.rows CASCADE;
SELECT etl.add_load('ld', 'ld.rows', 'delta');
SELECT * FROM pg_temp.run('ld', '2024-01-02');
SELECT * FROM ld.rows ORDER BY id;

--
-- A view of everything: by key, or by all values
--
CREATE TABLE ld.now (id integer, value text, loaded_at timestamptz);
CREATE VIEW ld.txf_all_keyed AS SELECT id, value FROM ld.says;
CREATE VIEW ld.txf_all_rows AS SELECT id, value FROM ld.says;
BEGIN;
SELECT etl.create_pipeline('ld', replace => true);
SELECT etl.add_load('ld', 'ld.all_keyed', 'delta', key => '{id}', on_duplicate => 'latest', order_by => '{value}');
SELECT etl.add_load('ld', 'ld.all_rows', 'delta');
SELECT etl.add_load('ld', 'ld.now', 'delta', source => 'ld.txf_all_rows', options => '{"touch": ["loaded_at"]}');
COMMIT;
SELECT * FROM pg_temp.run('ld', '2024-01-01');
SELECT * FROM ld.all_keyed ORDER BY id;
INSERT INTO ld.says VALUES ('2024-01-05', 1, 'later'), ('2024-01-05', 9, 'nine');
SELECT * FROM pg_temp.run('ld', '2024-01-02');
SELECT * FROM ld.all_keyed ORDER BY id;
SELECT id, value, count(*) FROM ld.all_rows GROUP BY 1, 2 ORDER BY 1, 2;
SELECT task, inserted, updated, deleted, unchanged FROM etl.task_runs WHERE pipeline = 'ld' AND kind = 'load' AND run_id = (SELECT max(run_id) FROM etl.runs) ORDER BY task;
SELECT count(*) FILTER (WHERE loaded_at IS NULL) AS untouched FROM ld.now;

-- a partitioned target, names that need quotes
CREATE TABLE ld."Delta T" ("Day" date, "val""ue" text) PARTITION BY RANGE ("Day");
CREATE TABLE ld.delta_jan PARTITION OF ld."Delta T" FOR VALUES FROM ('2024-01-01') TO ('2024-01-04');
CREATE TABLE ld.delta_rest PARTITION OF ld."Delta T" DEFAULT;
CREATE VIEW ld."txf_Delta T" AS SELECT day AS "Day", value AS "val""ue" FROM ld.says WHERE day = etl.run_date();
BEGIN;
SELECT etl.create_pipeline('ld', replace => true);
SELECT etl.add_load('ld', 'ld."Delta T"', 'delta');
COMMIT;
SELECT d, r.* FROM (VALUES (date '2024-01-05'), ('2024-01-01'), ('2024-01-05')) v(d), LATERAL pg_temp.run('ld', d) r;
UPDATE ld.says SET value = 'changed' WHERE id IN (1, 9);
SELECT d, r.* FROM (VALUES (date '2024-01-05'), ('2024-01-01')) v(d), LATERAL pg_temp.run('ld', d) r;
SELECT tableoid::regclass, * FROM ld."Delta T" ORDER BY 2, 3;

--
-- What is refused
--
SELECT etl.add_load('ld', 'ld.t', 'delta', key => '{id}', version => 'value', source => 'ld.txf_keyed');
SELECT etl.add_load('ld', 'ld.t', 'delta', key => '{id}', deletes => 'delete', source => 'ld.txf_keyed');
SELECT etl.add_load('ld', 'ld.t', 'delta', on_duplicate => 'latest', order_by => '{id}', source => 'ld.txf_keyed');
-- observations of another form are not thrown away
SELECT etl.add_load('ld', 'ld.keyed', 'delta');
TRUNCATE ld.obs_keyed;
SELECT etl.add_load('ld', 'ld.keyed', 'delta');

SELECT etl.drop_pipeline('ld');
DROP SCHEMA ld CASCADE;
