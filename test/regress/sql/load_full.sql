-- Mode full: the target is what the view gives, as a difference; counts, types, names, kinds of columns.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA lf;
SELECT etl.create_pipeline('lf');

--
-- With a key: only what differs is touched
--
CREATE TABLE lf.input (id integer, name text, note text);
INSERT INTO lf.input VALUES (1, 'one', NULL), (2, 'two', 'n'), (3, 'three', '');
CREATE VIEW lf.txf_keyed AS SELECT * FROM lf.input;
SELECT etl.add_load('lf', 'lf.keyed', 'full', key => '{id}');
SELECT * FROM pg_temp.run('lf', '2024-01-01');
SELECT *, xmin <> '0' AS is_row FROM lf.keyed ORDER BY id;
CREATE TABLE lf.before AS SELECT id, ctid AS place FROM lf.keyed;
-- nothing to do
SELECT * FROM pg_temp.run('lf', '2024-01-02');
SELECT unchanged FROM etl.task_runs WHERE pipeline = 'lf' AND kind = 'load' ORDER BY task_run_id DESC LIMIT 1;
SELECT count(*) AS untouched FROM lf.keyed k JOIN lf.before b ON b.id = k.id AND b.place = k.ctid;
-- null to value, value to null, '' is not null; one gone, one new
UPDATE lf.input SET note = 'now' WHERE id = 1;
UPDATE lf.input SET note = NULL WHERE id = 2;
DELETE FROM lf.input WHERE id = 3;
INSERT INTO lf.input VALUES (4, NULL, NULL);
SELECT * FROM pg_temp.run('lf', '2024-01-03');
SELECT * FROM lf.keyed ORDER BY id;
-- emptied
TRUNCATE lf.input;
SELECT * FROM pg_temp.run('lf', '2024-01-04');
SELECT count(*) FROM lf.keyed;
-- the source's rows have no key, or not one each: nothing is changed and the error says which
INSERT INTO lf.input VALUES (1, 'one', 'a'), (1, 'uno', 'b'), (2, 'two', 'c'), (3, 'x', NULL), (3, 'y', NULL);
SELECT * FROM pg_temp.run('lf', '2024-01-05');
DELETE FROM lf.input WHERE name IN ('uno', 'y');
INSERT INTO lf.input VALUES (NULL, 'nobody', 'd');
SELECT * FROM pg_temp.run('lf', '2024-01-05');
SELECT count(*) FROM lf.keyed;
DELETE FROM lf.input WHERE id IS NULL;
SELECT * FROM pg_temp.run('lf', '2024-01-05');
SELECT state, error_task, error_code FROM etl.runs WHERE pipeline = 'lf' ORDER BY run_id;

--
-- Without a key a row is its values; duplicates count
--
CREATE TABLE lf.bag_input (a integer, b text);
INSERT INTO lf.bag_input VALUES (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL), (2, '');
CREATE VIEW lf.txf_bag AS SELECT * FROM lf.bag_input;
BEGIN;
SELECT etl.create_pipeline('lf', replace => true);
SELECT etl.add_load('lf', 'lf.bag', 'full');
COMMIT;
SELECT * FROM pg_temp.run('lf', '2024-01-01');
SELECT * FROM pg_temp.run('lf', '2024-01-01');
SELECT a, b, count(*) FROM lf.bag GROUP BY 1, 2 ORDER BY 1, 2;
-- one of two equal rows gone is a difference
DELETE FROM lf.bag_input WHERE ctid = (SELECT min(ctid) FROM lf.bag_input WHERE a = 1);
SELECT * FROM pg_temp.run('lf', '2024-01-01');
SELECT a, b, count(*) FROM lf.bag GROUP BY 1, 2 ORDER BY 1, 2;
-- null is not ''
UPDATE lf.bag_input SET b = '' WHERE b IS NULL AND ctid = (SELECT min(ctid) FROM lf.bag_input WHERE b IS NULL);
SELECT * FROM pg_temp.run('lf', '2024-01-01');
SELECT a, b, b IS NULL AS b_is_null, count(*) FROM lf.bag GROUP BY 1, 2 ORDER BY 1, 2, 3;

--
-- Types with and without equality
--
CREATE DOMAIN lf.score AS numeric CHECK (VALUE >= 0);
CREATE DOMAIN lf.place AS point;
CREATE TYPE lf.mood AS ENUM ('sad', 'glad');
CREATE TYPE lf.pair AS (a integer, b text);
CREATE TABLE lf.types_input (id integer, j json, jb jsonb, p point, dp lf.place, b box, poly polygon, x xml, n numeric, ds lf.score, f float8, t text COLLATE "C",
	ba bytea, arr integer[], pa point[], m lf.mood, pr lf.pair, r int4range, mr int4multirange, iv interval, bi bit(3), u uuid, i inet, ts tsvector, o oid, c char(5), bo boolean);
INSERT INTO lf.types_input (id) SELECT n FROM generate_series(1, 2) n;
UPDATE lf.types_input SET j = '{"a": 1}', jb = '{"a": 1}', p = '(1,2)', dp = '(3,4)', b = '((0,0),(1,1))', poly = '((0,0),(1,1),(2,0))', x = '<a/>', n = 1.0, ds = 2, f = 'NaN', t = 'x',
	ba = '\x00ff', arr = '{1,NULL}', pa = ARRAY[point '(1,2)'], m = 'sad', pr = (1, NULL), r = '[1,2)', mr = '{[1,2)}', iv = '1 day', bi = '101', u = '00000000-0000-0000-0000-000000000001',
	i = '10.0.0.1/8', ts = 'a b', o = 7, c = 'ab', bo = true WHERE id = 1;
CREATE VIEW lf.txf_types AS SELECT * FROM lf.types_input;
BEGIN;
SELECT etl.create_pipeline('lf', replace => true);
SELECT etl.add_load('lf', 'lf.types', 'full', key => '{id}');
SELECT etl.add_load('lf', 'lf.types_bag', 'full', source => 'lf.txf_types');
COMMIT;
SELECT * FROM pg_temp.run('lf', '2024-01-01');
SELECT * FROM pg_temp.run('lf', '2024-01-01');
-- json is compared as text
UPDATE lf.types_input SET j = '{"a":1}', n = 1.00, c = 'ab ';
SELECT * FROM pg_temp.run('lf', '2024-01-01');
SELECT j, n FROM lf.types ORDER BY id;
UPDATE lf.types_input SET p = '(1,2.5)', dp = NULL WHERE id = 1;
SELECT * FROM pg_temp.run('lf', '2024-01-01');
UPDATE lf.types_input SET x = '<b/>', poly = NULL, pa = ARRAY[point '(1,3)'], pr = (1, 'b') WHERE id = 1;
SELECT * FROM pg_temp.run('lf', '2024-01-01');
SELECT p, dp, poly, x, pa, pr FROM lf.types ORDER BY id;
SELECT count(*) FROM lf.types AS tt JOIN lf.types_input AS ii USING (id) WHERE tt::text = ii::text;
SELECT count(*) FROM lf.types_bag AS tt JOIN lf.types_input AS ii USING (id) WHERE tt::text = ii::text;

--
-- Names: mixed case, reserved words, quotes
--
CREATE SCHEMA "Lf Mixed";
CREATE TABLE lf.odd_input ("Order Id" integer, "select" text, "Qu""ote" text, "1st" integer, "per%cent" text);
INSERT INTO lf.odd_input VALUES (1, 'a', 'b', 2, 'c'), (2, NULL, NULL, NULL, NULL);
CREATE VIEW "Lf Mixed"."txf_Order Lines" AS SELECT * FROM lf.odd_input;
BEGIN;
SELECT etl.create_pipeline('lf', replace => true);
SELECT etl.add_load('lf', '"Lf Mixed"."Order Lines"', 'full', key => '{Order Id}');
COMMIT;
SELECT * FROM pg_temp.run('lf', '2024-01-01');
UPDATE lf.odd_input SET "select" = 'z', "per%cent" = '%s' WHERE "Order Id" = 2;
DELETE FROM lf.odd_input WHERE "Order Id" = 1;
INSERT INTO lf.odd_input VALUES (3, '%I', '%%', 0, '$1');
SELECT * FROM pg_temp.run('lf', '2024-01-01');
SELECT * FROM "Lf Mixed"."Order Lines" ORDER BY 1;

--
-- A target of one's own: other columns, defaults, identity, generated, other order, narrower types
--
CREATE TABLE lf.own (extra text DEFAULT 'default', name varchar(10), n integer GENERATED ALWAYS AS IDENTITY, id bigint PRIMARY KEY,
	upper_name text GENERATED ALWAYS AS (upper(name)) STORED, loaded_at timestamptz NOT NULL DEFAULT '2000-01-01', touched_at timestamptz);
CREATE TABLE lf.own_input (id integer, name text);
INSERT INTO lf.own_input VALUES (1, 'one'), (2, 'two');
CREATE VIEW lf.txf_own AS SELECT * FROM lf.own_input;
BEGIN;
SELECT etl.create_pipeline('lf', replace => true);
SELECT etl.add_load('lf', 'lf.own', 'full', key => '{id}', options => '{"touch": ["loaded_at"]}');
COMMIT;
SELECT * FROM pg_temp.run('lf', '2024-01-01');
SELECT id, name, upper_name, extra, n, loaded_at > '2020-01-01' AS touched, touched_at FROM lf.own ORDER BY id;
UPDATE lf.own SET extra = 'by hand', loaded_at = '2001-01-01';
UPDATE lf.own_input SET name = 'zwei' WHERE id = 2;
SELECT * FROM pg_temp.run('lf', '2024-01-01');
-- touch tells which rows a load has changed; columns the view does not have are left alone
SELECT id, name, upper_name, extra, n, loaded_at > '2020-01-01' AS touched FROM lf.own ORDER BY id;
-- too long for the target
UPDATE lf.own_input SET name = 'far too long' WHERE id = 2;
SELECT * FROM pg_temp.run('lf', '2024-01-01');
SELECT id, name FROM lf.own ORDER BY id;
-- a view that also gives the identity
CREATE TABLE lf.identity (id integer PRIMARY KEY, n integer GENERATED ALWAYS AS IDENTITY);
CREATE VIEW lf.txf_identity AS SELECT 1 AS id, 77 AS n;
\set VERBOSITY sqlstate
SELECT etl.add_load('lf', 'lf.identity', 'full', key => '{id}');
\set VERBOSITY default

-- a key of all the columns
CREATE VIEW lf.txf_all_key AS SELECT n AS a, n % 2 AS b FROM generate_series(1, 3) n;
BEGIN;
SELECT etl.create_pipeline('lf', replace => true);
SELECT etl.add_load('lf', 'lf.all_key', 'full', key => '{a,b}');
COMMIT;
SELECT * FROM pg_temp.run('lf', '2024-01-01');
SELECT * FROM pg_temp.run('lf', '2024-01-01');

--
-- A view of the run's interval: the target keeps the state of the latest interval
--
CREATE VIEW lf.txf_state AS SELECT 1 AS id, etl.run_date() AS as_of;
CREATE VIEW lf.txf_now AS SELECT n AS id FROM generate_series(1, 2) n;
BEGIN;
SELECT etl.create_pipeline('lf', replace => true);
SELECT etl.add_load('lf', 'lf.state', 'full', key => '{id}');
COMMIT;
SELECT * FROM pg_temp.run('lf', '2024-01-05');
SELECT * FROM pg_temp.run('lf', '2024-01-03');
SELECT * FROM lf.state;
SELECT * FROM pg_temp.run('lf', '2024-01-06');
SELECT * FROM lf.state;
SELECT level, message FROM etl.log WHERE pipeline = 'lf' AND task = 'lf.state' AND message ~ 'keeps';

-- what went away
DROP VIEW lf.txf_state;
SELECT * FROM pg_temp.run('lf', '2024-01-07');
CREATE VIEW lf.txf_state AS SELECT 1 AS id, etl.run_date() AS as_of;
SELECT * FROM pg_temp.run('lf', '2024-01-07');
DROP TABLE lf.state CASCADE;
SELECT * FROM pg_temp.run('lf', '2024-01-08');
-- made anew, it is empty, and any interval fills it
SELECT etl.add_load('lf', 'lf.state', 'full', key => '{id}');
SELECT * FROM pg_temp.run('lf', '2024-01-02');
SELECT * FROM lf.state;
-- a view that fails says why
CREATE OR REPLACE VIEW lf.txf_state AS SELECT 1 / (1 - n) AS id, etl.run_date() AS as_of FROM generate_series(1, 1) n;
SELECT * FROM pg_temp.run('lf', '2024-01-08');

SELECT etl.drop_pipeline('lf');
DROP SCHEMA lf, "Lf Mixed" CASCADE;
