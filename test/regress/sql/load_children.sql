-- Child rows: the parents a run gives say whose children are replaced.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA lc;
SELECT etl.create_pipeline('lc');
CREATE TABLE lc.says (day date, order_id integer, lines text[]);
CREATE VIEW lc.txf_orders AS SELECT order_id, cardinality(lines) AS n FROM lc.says WHERE day = etl.run_date();
CREATE VIEW lc.txf_lines AS SELECT order_id, l.n::integer AS line_number, l.article FROM lc.says, unnest(lines) WITH ORDINALITY l(article, n) WHERE day = etl.run_date();
SELECT etl.add_load('lc', 'lc.orders', 'incremental', key => '{order_id}');
SELECT etl.add_load('lc', 'lc.lines', 'incremental', key => '{order_id,line_number}', parent => 'lc.orders', parent_key => '{order_id}');
SELECT task, depends_on FROM etl.tasks WHERE pipeline = 'lc' ORDER BY task;
\d lc.snp_lines
INSERT INTO lc.says VALUES ('2024-01-01', 1, '{a,b,c}'), ('2024-01-01', 2, '{d}'), ('2024-01-01', 3, '{e,f}'),
	('2024-01-02', 1, '{a,b2}'), ('2024-01-02', 2, '{}'), ('2024-01-03', 4, '{g}');
SELECT * FROM pg_temp.run('lc', '2024-01-01');
SELECT order_id, string_agg(article, ',' ORDER BY line_number) FROM lc.lines GROUP BY 1 ORDER BY 1;
-- a line of 1 has gone and one has changed, 2 has none left, 3 is not in the run and keeps its own
SELECT * FROM pg_temp.run('lc', '2024-01-02');
SELECT inserted, updated, deleted, unchanged FROM etl.task_runs WHERE task = 'lc.lines' ORDER BY task_run_id DESC LIMIT 1;
SELECT order_id, string_agg(article, ',' ORDER BY line_number) FROM lc.lines GROUP BY 1 ORDER BY 1;
SELECT * FROM pg_temp.run('lc', '2024-01-03');
CREATE TABLE lc.in_order AS TABLE lc.lines;
-- older ones again
SELECT d, r.* FROM (VALUES (date '2024-01-01'), ('2024-01-02'), ('2024-01-01')) v(d), LATERAL pg_temp.run('lc', d) r;
-- from nothing, in another order
TRUNCATE lc.orders, lc.obs_orders, lc.lines, lc.obs_lines, lc.snp_lines;
SELECT d, r.* FROM (VALUES (date '2024-01-03'), ('2024-01-02'), ('2024-01-01')) v(d), LATERAL pg_temp.run('lc', d) r;
SELECT count(*) AS differences FROM ((TABLE lc.lines EXCEPT ALL TABLE lc.in_order) UNION ALL (TABLE lc.in_order EXCEPT ALL TABLE lc.lines)) d;
-- the second day no longer gives order 2: what the first said of it comes back, lines and all
DELETE FROM lc.says WHERE day = '2024-01-02' AND order_id = 2;
SELECT * FROM pg_temp.run('lc', '2024-01-02');
SELECT * FROM lc.lines WHERE order_id = 2;
-- the first day corrected: order 1 is the second day's
UPDATE lc.says SET lines = '{x,y,z}' WHERE day = '2024-01-01';
SELECT * FROM pg_temp.run('lc', '2024-01-01');
SELECT order_id, string_agg(article, ',' ORDER BY line_number) FROM lc.lines GROUP BY 1 ORDER BY 1;

--
-- The parent's version decides for its children; a child with a key of its own may move
--
TRUNCATE lc.says;
CREATE TABLE lc.bills (day date, bill_id integer, version integer, items integer[]);
CREATE VIEW lc.txf_bill AS SELECT bill_id, version FROM lc.bills WHERE day = etl.run_date();
CREATE VIEW lc.txf_item AS SELECT i AS item_id, bill_id AS of_bill, version FROM lc.bills, unnest(items) i WHERE day = etl.run_date();
BEGIN;
SELECT etl.create_pipeline('lc', replace => true);
SELECT etl.add_load('lc', 'lc.bill', 'incremental', key => '{bill_id}', version => 'version');
SELECT etl.add_load('lc', 'lc.item', 'incremental', key => '{item_id}', parent => 'lc.bill', parent_key => '{of_bill}');
COMMIT;
INSERT INTO lc.bills VALUES ('2024-01-01', 1, 5, '{10,11}'), ('2024-01-02', 1, 4, '{12}'), ('2024-01-02', 2, 1, '{20}'), ('2024-01-03', 2, 2, '{20,21}'), ('2024-01-04', 3, 1, '{11}'), ('2024-01-04', 1, 6, '{10}');
SELECT d, r.* FROM (VALUES (date '2024-01-02'), ('2024-01-01')) v(d), LATERAL pg_temp.run('lc', d) r;
SELECT * FROM lc.item ORDER BY 1;
SELECT d, r.* FROM (VALUES (date '2024-01-04'), ('2024-01-03'), ('2024-01-02')) v(d), LATERAL pg_temp.run('lc', d) r;
SELECT * FROM lc.item ORDER BY 1;

--
-- Views of everything: changes leave other parents' children, snapshots do not
--
CREATE VIEW lc.txf_order_now AS SELECT order_id FROM lc.says;
CREATE VIEW lc.txf_line_now AS SELECT order_id, l.n::integer AS line_number, l.article FROM lc.says, unnest(lines) WITH ORDINALITY l(article, n);
BEGIN;
SELECT etl.create_pipeline('lc', replace => true);
SELECT etl.add_load('lc', 'lc.order_now', 'incremental', key => '{order_id}');
SELECT etl.add_load('lc', 'lc.line_now', 'incremental', key => '{order_id,line_number}', parent => 'lc.order_now', parent_key => '{order_id}');
SELECT etl.add_load('lc', 'lc.line_all', 'incremental', source => 'lc.txf_line_now', key => '{order_id,line_number}', parent => 'lc.order_now', parent_key => '{order_id}', source_kind => 'snapshot');
COMMIT;
INSERT INTO lc.says (order_id, lines) VALUES (1, '{a,b}'), (2, '{c}'), (3, '{d}');
SELECT * FROM pg_temp.run('lc', '2024-01-01');
DELETE FROM lc.says WHERE order_id = 3;
UPDATE lc.says SET lines = CASE order_id WHEN 1 THEN '{a}' ELSE '{}' END::text[];
SELECT * FROM pg_temp.run('lc', '2024-01-02');
SELECT * FROM lc.line_now ORDER BY 1, 2;
SELECT * FROM lc.line_all ORDER BY 1, 2;
SELECT substring(etl.pipeline_sql('lc') FROM 'SELECT etl.add_load\(''lc'', ''lc.line_all''.*?\);');

--
-- What is refused
--
SELECT etl.add_load('lc', 'lc.t', 'incremental', source => 'lc.txf_line_now', key => '{order_id,line_number}', parent => 'lc.order_now');
SELECT etl.add_load('lc', 'lc.t', 'full', source => 'lc.txf_line_now', key => '{order_id,line_number}', parent => 'lc.order_now', parent_key => '{order_id}');
SELECT etl.add_load('lc', 'lc.t', 'incremental', source => 'lc.txf_line_now', key => '{order_id,line_number}', parent => 'lc.nosuch', parent_key => '{order_id}');
SELECT etl.add_load('lc', 'lc.t', 'incremental', source => 'lc.txf_line_now', key => '{order_id,line_number}', parent => 'lc.order_now', parent_key => '{order_id,line_number}');
SELECT etl.add_load('lc', 'lc.t', 'incremental', source => 'lc.txf_line_now', key => '{order_id,line_number}', parent => 'lc.order_now', parent_key => '{nosuch}');
SELECT etl.add_load('lc', 'lc.t', 'incremental', source => 'lc.txf_line_now', key => '{order_id,line_number}', parent => 'lc.order_now', parent_key => '{order_id}', source_kind => 'snapshot', deletes => 'delete');
SELECT etl.add_load('lc', 'lc.t', 'incremental', source => 'lc.txf_lines', key => '{order_id,line_number}', parent => 'lc.order_now', parent_key => '{order_id}');
SELECT to_regclass('lc.t');

SELECT etl.drop_pipeline('lc');
DROP SCHEMA lc CASCADE;
