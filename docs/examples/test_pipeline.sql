-- A test of a pipeline with pgTAP: records as the source would send them, loads and checks
-- in this transaction, and a ROLLBACK, so that nothing stays.  No request is sent.
--
--   CREATE EXTENSION pgtap;
--   psql -X -f docs/examples/test_pipeline.sql        or: pg_prove docs/examples/test_pipeline.sql
--
-- The pipeline is declared here to have all in one file; yours is there already.
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT plan(9);

CREATE SERVER example_shop FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://shop.example');
CREATE SCHEMA example;
SELECT etl.create_pipeline('example_shop');
SELECT etl.add_extract('example_shop', 'example.raw_orders', server => 'example_shop', path => '/orders', key => '{$.id}',
	record_schema => '{"type": "object", "required": ["id", "customer"]}');
CREATE VIEW example.txf_orders AS
	SELECT (payload ->> 'id')::integer AS order_id, payload ->> 'customer' AS customer, (payload ->> 'amount')::numeric AS amount
	FROM example.vl_raw_orders WHERE data_interval_start = etl.data_interval_start();
SELECT etl.add_load('example_shop', 'example.orders', mode => 'incremental', key => '{order_id}');
SELECT etl.add_check('example_shop', 'example.orders', 'between', '{"column": "amount", "min": 0}', name => 'no negative amount');

-- given
SELECT results_eq(
	$$SELECT fetched, loaded, quarantined FROM etl.feed('example_shop', 'example.raw_orders',
		'[{"id": 1, "customer": "Ada", "amount": 10}, {"id": 2, "customer": "Bob", "amount": 5.5}, {"id": 3}]', '2024-01-01T00:00:00Z')$$,
	$$VALUES (3::bigint, 2::bigint, 1::bigint)$$,
	'an order without a customer is quarantined');
SELECT matches((SELECT reason FROM etl.quarantine WHERE pipeline = 'example_shop'), 'customer', 'and the reason names what is missing');

-- when
CREATE TEMPORARY TABLE outcome ON COMMIT DROP AS SELECT * FROM etl.transform('example_shop', '2024-01-01T00:00:00Z');

-- then
SELECT results_eq('SELECT order_id, customer, amount FROM example.orders ORDER BY order_id',
	$$VALUES (1, 'Ada', 10.0), (2, 'Bob', 5.5)$$, 'orders are typed and loaded');
SELECT is((SELECT inserted FROM outcome WHERE task = 'example.orders'), 2::bigint, 'two rows are new');
SELECT is((SELECT count(*) FROM outcome WHERE NOT passed), 0::bigint, 'every check passes');

-- once more: nothing changes
SELECT is((SELECT unchanged FROM etl.transform('example_shop', '2024-01-01T00:00:00Z') WHERE kind = 'load'), 2::bigint, 'the same records again change nothing');

-- a check that shall fail does, and says why
SELECT is((SELECT loaded FROM etl.feed('example_shop', 'example.raw_orders', '[{"id": 4, "customer": "Eve", "amount": -1}]', '2024-01-02T00:00:00Z')), 1::bigint, 'a refund comes in');
SELECT results_eq($$SELECT task, failing_rows, sample -> 0 ->> 'customer' FROM etl.transform('example_shop', '2024-01-02T00:00:00Z') WHERE NOT passed$$,
	$$VALUES ('no negative amount', 1::bigint, 'Eve')$$, 'the check finds it');
SELECT is((SELECT count(*) FROM example.orders), 3::bigint, 'and here, unlike in a run, the rows can be looked at');

SELECT * FROM finish();
ROLLBACK;
