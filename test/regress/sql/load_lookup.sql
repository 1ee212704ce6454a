-- Facts and dimensions: surrogate keys looked up as of the fact's time, the unknown member, and
-- facts that are put right when a row of a dimension comes late.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA ll;
SELECT etl.create_pipeline('ll');
CREATE TABLE ll.customer_says (day date, customer_id bigint, city text);
CREATE TABLE ll.product_says (code text, name text);
CREATE TABLE ll.sale_says (day date, sale_id integer, customer_id bigint, code text, sold_on date);
CREATE VIEW ll.txf_dim_customers AS SELECT customer_id, city FROM ll.customer_says WHERE day = etl.run_date();
CREATE VIEW ll.txf_dim_products AS SELECT code, name FROM ll.product_says;
CREATE VIEW ll.txf_fact_sales AS SELECT sale_id, customer_id, code, sold_on FROM ll.sale_says WHERE day = etl.run_date();
SELECT etl.add_load('ll', 'll.dim_customers', 'scd2', key => '{customer_id}', options => '{"unknown_member": {"city": "unknown"}}');
SELECT etl.add_load('ll', 'll.dim_products', 'full', key => '{code}', options => '{"surrogate_key": "product_key", "unknown_member": true}');
SELECT etl.add_load('ll', 'll.fact_sales', 'incremental', key => '{sale_id}', options => '{"lookups": {
	"customer_key": {"dimension": "ll.dim_customers", "key": ["customer_id"], "as_of": "sold_on"},
	"current_customer_key": {"dimension": "ll.dim_customers", "key": ["customer_id"], "as_of": null},
	"product_key": {"dimension": "ll.dim_products", "key": {"code": "code"}}}}');
\d ll.fact_sales
\d ll.dim_products
SELECT task, depends_on FROM etl.tasks WHERE pipeline = 'll' ORDER BY task;
SELECT * FROM ll.dim_customers;
SELECT source, target, source_columns FROM etl.lineage WHERE pipeline = 'll' AND kind = 'lookup' ORDER BY 1, 3;
SELECT * FROM ll.dim_products;
-- what every row should point at
CREATE FUNCTION ll.wrong_facts() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM ll.fact_sales f
	LEFT JOIN ll.dim_customers c ON c.customer_id = f.customer_id AND f.sold_on::timestamp AT TIME ZONE 'UTC' >= c.valid_from AND f.sold_on::timestamp AT TIME ZONE 'UTC' < c.valid_to
	LEFT JOIN ll.dim_customers cc ON cc.customer_id = f.customer_id AND cc.is_current
	LEFT JOIN ll.dim_products p ON p.code = f.code
	WHERE (f.customer_key, f.current_customer_key, f.product_key) IS DISTINCT FROM (coalesce(c.dim_customers_key, -1), coalesce(cc.dim_customers_key, -1), coalesce(p.product_key, -1))
$$;
CREATE VIEW ll.facts AS
	SELECT f.sale_id, f.sold_on, c.city, cc.city AS city_now, p.name AS product, ll.wrong_facts() AS wrong_facts
	FROM ll.fact_sales f JOIN ll.dim_customers c ON c.dim_customers_key = f.customer_key JOIN ll.dim_customers cc ON cc.dim_customers_key = f.current_customer_key
	JOIN ll.dim_products p USING (product_key);

INSERT INTO ll.product_says VALUES ('p1', 'pen'), ('p2', 'ink');
INSERT INTO ll.customer_says VALUES ('2024-01-01', 1, 'Rome'), ('2024-01-01', 2, 'Oslo'), ('2024-01-03', 1, 'Bonn');
-- sale 12 is of a customer and a product that nobody has heard of, 13 of nobody
INSERT INTO ll.sale_says VALUES ('2024-01-01', 10, 1, 'p1', '2024-01-01'), ('2024-01-01', 11, 2, 'p2', '2024-01-01'),
	('2024-01-02', 12, 3, 'p3', '2024-01-02'), ('2024-01-02', 13, NULL, 'p1', '2024-01-02'), ('2024-01-03', 14, 1, 'p1', '2024-01-03'), ('2024-01-03', 15, 1, 'p2', '2024-01-02');
SELECT d, r.* FROM (VALUES (date '2024-01-01'), ('2024-01-02'), ('2024-01-03')) v(d), LATERAL pg_temp.run('ll', d) r;
SELECT * FROM ll.facts ORDER BY sale_id;
-- current_customer_key of sales 10 and 15 followed; nothing is left to look up
SELECT count(*) FROM ll.lkp_fact_sales;

-- the customer and the product of sale 12 come late: the next run, of whatever day, puts it right
INSERT INTO ll.customer_says VALUES ('2024-01-02', 3, 'Kyiv');
INSERT INTO ll.product_says VALUES ('p3', 'nib');
SELECT * FROM pg_temp.run('ll', '2024-01-02');
SELECT * FROM ll.facts WHERE sale_id = 12;
SELECT message FROM etl.log WHERE pipeline = 'll' AND message ~ 'looked up' ORDER BY log_id DESC LIMIT 3;
-- a day in the past is corrected: a version comes between two others, and takes its sales
INSERT INTO ll.customer_says VALUES ('2024-01-02', 1, 'Graz');
SELECT * FROM pg_temp.run('ll', '2024-01-02');
SELECT * FROM ll.facts WHERE sale_id IN (10, 14, 15) ORDER BY sale_id;
-- and is withdrawn, with the last city of customer 1
DELETE FROM ll.customer_says WHERE city IN ('Graz', 'Bonn');
SELECT d, r.* FROM (VALUES (date '2024-01-03'), ('2024-01-02')) v(d), LATERAL pg_temp.run('ll', d) r;
SELECT * FROM ll.facts WHERE sale_id IN (10, 14, 15) ORDER BY sale_id;
-- a product that is gone leaves the unknown member behind, and no run removes that
DELETE FROM ll.product_says WHERE code = 'p1';
SELECT * FROM pg_temp.run('ll', '2024-01-04');
SELECT sale_id, product FROM ll.facts WHERE product IS NULL ORDER BY sale_id;
TABLE ll.dim_products ORDER BY product_key;
-- the dimension is changed by hand, key and all: its triggers tell, too
UPDATE ll.dim_products SET code = 'p1' WHERE code = 'p2';
TRUNCATE ll.dim_customers, ll.obs_dim_customers, ll.snp_dim_customers;
SELECT d, r.state FROM (VALUES (date '2024-01-01'), ('2024-01-02')) v(d), LATERAL pg_temp.run('ll', d) r;
SELECT count(*), min(wrong_facts), max(wrong_facts) FROM ll.facts;
SELECT dim_customers_key, city, valid_from, valid_to, is_current FROM ll.dim_customers WHERE dim_customers_key = -1;
-- nothing new: nothing is touched
CREATE TABLE ll.before AS SELECT xmin::text AS written_by, ctid::text AS place, sale_id FROM ll.fact_sales;
SELECT * FROM pg_temp.run('ll', '2024-01-02');
SELECT count(*) AS touched FROM ll.fact_sales f WHERE NOT EXISTS (SELECT FROM ll.before b WHERE (b.written_by, b.place, b.sale_id) = (f.xmin::text, f.ctid::text, f.sale_id));

-- Only what is meant is looked at: a change of the last day notes that time alone, a change of
-- what no lookup is about nothing
UPDATE ll.dim_products SET name = 'quill' WHERE code = 'p1';
TABLE ll.lkp_fact_sales;
BEGIN;
INSERT INTO ll.customer_says VALUES ('2024-01-09', 2, 'Riga');
SELECT count(*) FROM etl.transform('ll', '2024-01-09T00:00:00Z');
SELECT city, f.* FROM ll.fact_sales f JOIN ll.dim_customers ON dim_customers_key = customer_key WHERE f.customer_id = 2;
SELECT ll.wrong_facts();
ROLLBACK;
-- many keys at once: all facts are compared
BEGIN;
INSERT INTO ll.dim_products (code, name) SELECT 'x' || i, 'many' FROM generate_series(1, 1000) i;
TABLE ll.lkp_fact_sales;
ROLLBACK;

-- Declared again: nothing to do; with another lookup, all facts are compared once
SELECT etl.add_load('ll', 'll.fact_sales', 'incremental', key => '{sale_id}', options => '{"lookups": {
	"customer_key": {"dimension": "ll.dim_customers", "key": ["customer_id"], "as_of": "sold_on"},
	"current_customer_key": {"dimension": "ll.dim_customers", "key": ["customer_id"], "as_of": null},
	"product_key": {"dimension": "ll.dim_products", "key": {"code": "code"}}}}');
TABLE ll.lkp_fact_sales;
SELECT pg_temp.refusal($$SELECT etl.add_load('ll', 'll.fact_sales', 'incremental', key => '{sale_id}', options => '{"lookups": {
	"customer_key": {"dimension": "ll.dim_customers", "key": ["customer_id"], "as_of": "sold_on", "unknown": null}}}')$$);
ALTER TABLE ll.fact_sales ALTER customer_key DROP NOT NULL;
SELECT etl.add_load('ll', 'll.fact_sales', 'incremental', key => '{sale_id}', options => '{"lookups": {
	"customer_key": {"dimension": "ll.dim_customers", "key": ["customer_id"], "as_of": "sold_on", "unknown": null}, "product_key": {"dimension": "ll.dim_products", "key": ["code"]}}}');
TABLE ll.lkp_fact_sales;
SELECT * FROM pg_temp.run('ll', '2024-01-04');
SELECT sale_id, customer_key FROM ll.fact_sales WHERE customer_key IS NULL;
SELECT tgrelid::regclass, count(*) FROM pg_trigger WHERE tgname ~ '^etl_lookup' GROUP BY 1 ORDER BY 1;
-- printed and declared again
SELECT etl.pipeline_sql('ll') AS printed \gset
\o /dev/null
:printed
\o
SELECT etl.pipeline_sql('ll') = :'printed' AS same;
-- given up
SELECT etl.add_load('ll', 'll.fact_sales', 'incremental', key => '{sale_id}');
SELECT count(*) AS triggers, to_regclass('ll.lkp_fact_sales') FROM pg_trigger WHERE tgname ~ '^etl_lookup';

-- Every mode that fills facts; a dimension of days (date) and facts of moments
CREATE VIEW ll.txf_dim_days AS SELECT customer_id, city, day FROM ll.customer_says;
SELECT etl.add_load('ll', 'll.dim_days', 'scd2', key => '{customer_id}', options => '{"effective_at": "day", "whole_history": true, "open_end": "9999-12-31", "unknown_member": {"customer_id": -7}}');
CREATE VIEW ll.txf_sales AS SELECT sale_id, customer_id, sold_on::timestamptz AS sold_at FROM ll.sale_says WHERE day = etl.run_date();
CREATE VIEW ll.txf_all_sales AS SELECT sale_id, customer_id, sold_on::timestamptz AS sold_at FROM ll.sale_says;
SELECT etl.add_load('ll', 'll.' || name, mode, key, source => source, partition_by => partition_by, source_kind => kind, options => '{"lookups": {"customer_key": {"dimension": "ll.dim_days", "key": ["customer_id"], "as_of": "sold_at"}}}')
FROM (VALUES ('f_full', 'full', '{sale_id}'::text[], 'll.txf_all_sales', NULL, NULL), ('f_full_rows', 'full', NULL, 'll.txf_all_sales', NULL, NULL), ('f_state', 'full', '{sale_id}', 'll.txf_sales', NULL, NULL),
	('f_delta', 'delta', '{sale_id}', 'll.txf_sales', NULL, NULL), ('f_delta_rows', 'delta', NULL, 'll.txf_sales', NULL, NULL),
	('f_delta_all', 'delta', NULL, 'll.txf_all_sales', NULL, NULL), ('f_snapshot', 'incremental', '{sale_id}', 'll.txf_sales', NULL, 'snapshot')) v(name, mode, key, source, partition_by, kind);
CREATE VIEW ll.txf_day_sales AS SELECT sale_id, customer_id, sold_on::timestamptz AS sold_at FROM ll.sale_says WHERE day = etl.run_date() AND sold_on = day;
SELECT etl.add_load('ll', 'll.f_partition', 'partition', '{sale_id}', source => 'll.txf_day_sales', partition_by => 'sold_at', options => '{"lookups": {"customer_key": {"dimension": "ll.dim_days", "key": ["customer_id"], "as_of": "sold_at"}}}');
CREATE FUNCTION ll.check_facts() RETURNS TABLE (facts text, n bigint, unknown bigint, wrong bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH facts IN ARRAY '{f_full,f_full_rows,f_state,f_partition,f_delta,f_delta_rows,f_delta_all,f_snapshot}'::text[] LOOP
		RETURN QUERY EXECUTE format('SELECT %L, count(*), count(*) FILTER (WHERE customer_key = -1), count(*) FILTER (WHERE customer_key <> coalesce(dim_days_key, -1))
			FROM ll.%I f LEFT JOIN ll.dim_days d ON d.customer_id = f.customer_id AND f.sold_at::date >= valid_from AND f.sold_at::date < valid_to', facts, facts);
	END LOOP;
END $$;
SELECT d, r.state FROM (VALUES (date '2024-01-01'), ('2024-01-03'), ('2024-01-02')) v(d), LATERAL pg_temp.run('ll', d) r;
SELECT * FROM ll.check_facts();
INSERT INTO ll.customer_says VALUES ('2024-01-02', 1, 'Lyon'), ('2023-12-31', 3, 'Pisa');
DELETE FROM ll.customer_says WHERE customer_id = 2;
SELECT d, r.state FROM (VALUES (date '2024-01-02'), ('2024-01-01'), ('2024-01-03')) v(d), LATERAL pg_temp.run('ll', d) r;
SELECT * FROM ll.check_facts();

-- What is refused
SELECT pg_temp.refusal(format('SELECT etl.add_load(''ll'', ''ll.f'', %L, %L, source => ''ll.txf_sales'', options => %L)', mode, key, options))
FROM (VALUES ('full', '{sale_id}', '{"lookups": []}'),
	('full', '{sale_id}', '{"lookups": {"k": {"dimension": "ll.dim_days"}}}'),
	('full', '{sale_id}', '{"lookups": {"k": {"dimension": "ll.dim_days", "key": ["customer_id"], "at": "sold_at"}}}'),
	('full', '{sale_id}', '{"lookups": {"sold_at": {"dimension": "ll.dim_days", "key": ["customer_id"], "as_of": "sold_at"}}}'),
	('full', '{sale_id}', '{"lookups": {"k": {"dimension": "ll.nothing", "key": ["customer_id"]}}}'),
	('full', '{sale_id}', '{"lookups": {"k": {"dimension": "ll.dim_days", "key": ["customer_id"]}}}'),
	('full', '{sale_id}', '{"lookups": {"k": {"dimension": "ll.dim_products", "key": {"code": "customer_id"}}}}'),
	('full', '{sale_id}', '{"lookups": {"k": {"dimension": "ll.dim_products", "key": {"name": "customer_id"}, "as_of": "sold_at"}}}'),
	('full', '{sale_id}', '{"lookups": {"k": {"dimension": "ll.dim_days", "key": ["customer_id"], "as_of": "sale_id"}}}'),
	('full', '{sale_id}', '{"lookups": {"k": {"dimension": "ll.dim_days", "key": ["who"], "as_of": "sold_at"}}}'),
	('full', '{sale_id}', '{"lookups": {"k": {"dimension": "ll.dim_days", "key": ["customer_id"], "as_of": "sold_at", "unknown": "none"}}}'),
	('full', '{sale_id}', '{"lookups": {"k": {"dimension": "ll.dim_days", "key": {"dim_days_key": "customer_id"}, "as_of": "sold_at"}}}'),
	('full', '{sale_id}', '{"lookups": {"k": {"dimension": "ll.customer_says", "key": ["customer_id"]}}}'),
	('scd2', '{sale_id}', '{"lookups": {}}'),
	('full', NULL, '{"surrogate_key": "k"}'),
	('full', '{sale_id}', '{"unknown_member": true}'),
	('full', '{sale_id}', '{"unknown_member": 1, "surrogate_key": "k"}'),
	('full', '{sale_id}', '{"unknown_member": {"who": 1}, "surrogate_key": "k"}'),
	('full', '{sale_id}', '{"unknown_member": {"k": 1}, "surrogate_key": "k"}'),
	('full', '{sale_id}', '{"unknown_member": {"sold_at": "x"}, "surrogate_key": "k"}')) v(mode, key, options);

DROP VIEW ll.facts;
SELECT etl.drop_pipeline('ll', drop_data => true);
DROP SCHEMA ll CASCADE;
