-- Versions of a key do not overlap, whoever writes them: by trigger, or by exclusion constraint.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA so;
SELECT etl.create_pipeline('so');
CREATE TABLE so.says (day date, id integer, part text, v text);
CREATE VIEW so.txf_d AS SELECT id, part, v FROM so.says WHERE day = etl.run_date();
SELECT etl.add_load('so', 'so.d', 'scd2', key => '{id,part}');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'so.d'::regclass ORDER BY 1;
INSERT INTO so.says VALUES ('2024-01-01', 1, 'x', 'a'), ('2024-01-05', 1, 'x', 'b'), ('2024-01-03', 1, 'x', 'c'), ('2024-01-01', 1, 'y', 'a');
SELECT d, r.* FROM (VALUES (date '2024-01-05'), ('2024-01-01'), ('2024-01-03'), ('2024-01-05')) v(d), LATERAL pg_temp.run('so', d) r;
SELECT id, part, v, valid_from::date, valid_to::text, is_current FROM so.d ORDER BY id, part, valid_from;
-- by hand: inside another's time, around it, and across its border; beside it is right
INSERT INTO so.d (id, part, v, valid_from, valid_to, is_current, version_number) VALUES (1, 'x', 'hand', '2024-01-02', '2024-01-02 12:00', false, 9);
INSERT INTO so.d (id, part, v, valid_from, valid_to, is_current, version_number) VALUES (1, 'x', 'hand', '2023-01-02', '2025-01-01', false, 9);
INSERT INTO so.d (id, part, v, valid_from, valid_to, is_current, version_number) VALUES (1, 'x', 'hand', '2023-01-01', '2024-01-01', false, 9), (1, 'x', 'hand', '2023-06-01', '2023-07-01', false, 9);
INSERT INTO so.d (id, part, v, valid_from, valid_to, is_current, version_number) VALUES (1, 'x', 'hand', '2023-01-01', '2024-01-01', false, 0);
UPDATE so.d SET valid_to = '2024-01-02' WHERE v = 'hand';
UPDATE so.d SET valid_from = '2023-02-01' WHERE v = 'hand';
DELETE FROM so.d WHERE v = 'hand';
-- declared again: nothing to do
CREATE TABLE so.triggers AS SELECT oid FROM pg_trigger WHERE tgrelid = 'so.d'::regclass;
SELECT etl.add_load('so', 'so.d', 'scd2', key => '{id,part}');
SELECT count(*) FROM so.triggers JOIN pg_trigger t USING (oid);
-- a table of one's own
CREATE TABLE so.own (id integer, v text, valid_from date, valid_to date, UNIQUE (id, valid_from), UNIQUE (id, valid_to));
INSERT INTO so.own VALUES (1, 'a', '2024-01-01', '2024-02-01'), (1, 'b', '2024-01-15', 'infinity');
CREATE VIEW so.txf_own AS SELECT id, v FROM so.says WHERE day = etl.run_date();
SELECT etl.add_load('so', 'so.own', 'scd2', key => '{id}');
UPDATE so.own SET valid_to = '2024-01-15' WHERE v = 'a';
SELECT etl.add_load('so', 'so.own', 'scd2', key => '{id}');

-- The constraint
SELECT pg_temp.refusal($$SELECT etl.add_load('so', 'so.d', 'scd2', key => '{id,part}', options => '{"exclusion": 1}')$$),
	pg_temp.refusal($$SELECT etl.add_load('so', 'so.d', 'scd2', key => '{id,part}', options => '{"exclusion": true}')$$);
SELECT etl.drop_pipeline('so', drop_data => true);
DROP SCHEMA so CASCADE;
