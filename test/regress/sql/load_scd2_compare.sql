-- Mode scd2: versions told apart by a hash; the latest of several rows; a target made anew; deletes as an argument.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA lh;
SELECT etl.create_pipeline('lh');
CREATE TABLE lh.says (day date, id integer, a numeric, b text, n integer);
CREATE VIEW lh.txf_hashed AS SELECT id, a, b, n FROM lh.says WHERE day = etl.run_date();
SELECT etl.add_load('lh', 'lh.hashed', 'scd2', key => '{id}', source_kind => 'snapshot', deletes => 'close', on_duplicate => 'latest', order_by => '{n}',
	options => '{"compare": "hash", "tracked": ["a", "b"]}');
SELECT etl.add_load('lh', 'lh.by_columns', 'scd2', source => 'lh.txf_hashed', key => '{id}', source_kind => 'snapshot', deletes => 'close', on_duplicate => 'latest', order_by => '{n}',
	options => '{"tracked": ["a", "b"]}');
SELECT definition #> '{options,deletes}' AS deletes FROM etl.tasks WHERE task = 'lh.hashed';
INSERT INTO lh.says VALUES ('2024-01-01', 1, 1.0, NULL, 1), ('2024-01-01', 1, 7, 'not the latest', 0), ('2024-01-01', 2, 2, 'x', 1),
	('2024-01-02', 1, 1.00, NULL, 2), ('2024-01-02', 2, 2, NULL, 1), ('2024-01-03', 1, 1.00, NULL, 3);
SELECT d, r.* FROM (VALUES (date '2024-01-02'), ('2024-01-03'), ('2024-01-01'), ('2024-01-02')) v(d), LATERAL pg_temp.run('lh', d) r;
SELECT id, a, b, n, valid_from, valid_to, is_current FROM lh.hashed ORDER BY id, valid_from;
SELECT id, a, b, n, valid_from, valid_to, is_current FROM lh.by_columns ORDER BY id, valid_from;
-- made anew, it is filled from what is remembered
CREATE TABLE lh.before AS SELECT id, a, b, n, valid_from, valid_to FROM lh.hashed;
DROP TABLE lh.hashed CASCADE;
SELECT etl.add_load('lh', 'lh.hashed', 'scd2', key => '{id}', source_kind => 'snapshot', deletes => 'close', on_duplicate => 'latest', order_by => '{n}',
	options => '{"compare": "hash", "tracked": ["a", "b"]}');
SELECT * FROM pg_temp.run('lh', '2024-01-02');
SELECT count(*) AS differences FROM ((SELECT id, a, b, n, valid_from, valid_to FROM lh.hashed EXCEPT TABLE lh.before) UNION ALL (TABLE lh.before EXCEPT SELECT id, a, b, n, valid_from, valid_to FROM lh.hashed)) d;
SELECT etl.add_load('lh', 'lh.t', 'scd2', source => 'lh.txf_hashed', key => '{id}', options => '{"compare": "md5"}');
SELECT etl.drop_pipeline('lh');
DROP SCHEMA lh CASCADE;
