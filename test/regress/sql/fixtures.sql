-- A pipeline in the caller's own transaction: records fed, loads and checks run, rolled back.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SERVER fx FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:1');
CREATE SCHEMA fx;
SELECT etl.create_pipeline('fx', schedule => '@hourly');
SELECT etl.add_extract('fx', 'fx.raw', server => 'fx', path => '/orders', key => '{$.id}', version => '$.version',
	record_schema => '{"type": "object", "properties": {"amount": {"type": "number"}}}');
CREATE VIEW fx.txf_orders AS
	SELECT (payload ->> 'id')::integer AS id, (payload ->> 'amount')::numeric AS amount, item ->> 'shop' AS shop, data_interval_end AS hour_end
	FROM fx.vl_raw WHERE data_interval_start = etl.data_interval_start();
SELECT etl.add_load('fx', 'fx.orders', 'incremental', key => '{id}');
CREATE VIEW fx.txf_total AS SELECT shop, sum(amount) AS amount FROM fx.orders GROUP BY shop;
SELECT etl.add_load('fx', 'fx.total', 'full', key => '{shop}');
SELECT etl.add_check('fx', 'fx.orders', 'between', '{"column": "amount", "min": 0}', name => 'no refunds', scope => 'run');
SELECT etl.add_check('fx', 'fx.total', 'row_count', '{"min": 1}', name => 'some shop');

BEGIN;
-- what an extraction would quarantine is quarantined
SELECT fetched, loaded, quarantined FROM etl.feed('fx', 'fx.raw', '[{"id": 1, "version": 1, "amount": 10}, {"id": 2, "version": 1, "amount": -5}, {"amount": 1}, {"id": 3, "amount": "x"}]', '2024-01-01 10:00+00', item => '{"shop": "a"}');
SELECT record_number, reason_code, reason, convert_from(record, 'UTF8') AS record, request FROM etl.quarantine WHERE pipeline = 'fx' ORDER BY record_number;
-- fed in one transaction, records add up
SELECT fetched, loaded, quarantined FROM etl.feed('fx', 'fx.raw', '[{"id": 4, "version": 1, "amount": 4}]', '2024-01-01 10:00+00', item => '{"shop": "b"}');
SELECT state, fetched, data_interval_start, data_interval_end FROM etl.loads WHERE pipeline = 'fx' ORDER BY load_id;
SELECT * FROM etl.transform('fx', '2024-01-01 10:00+00');
SELECT * FROM fx.orders ORDER BY id;
SELECT * FROM fx.total ORDER BY shop;
-- the interval ends with the call
SELECT etl.data_interval_start(), etl.run_date();
-- another interval, and the first once more: what the modes promise holds here too
SELECT loaded FROM etl.feed('fx', 'fx.raw', '[{"id": 2, "version": 2, "amount": 5}]', '2024-01-01 11:00+00', item => '{"shop": "a"}');
SELECT task, kind, passed, inserted, updated, deleted, unchanged FROM etl.transform('fx', '2024-01-01 11:00+00');
SELECT task, passed, inserted, updated, deleted, unchanged FROM etl.transform('fx', '2024-01-01 10:00+00');
SELECT * FROM fx.orders ORDER BY id;
ROLLBACK;
-- nothing stays
SELECT (SELECT count(*) FROM etl.loads WHERE pipeline = 'fx') AS loads, (SELECT count(*) FROM etl.runs WHERE pipeline = 'fx') AS runs, (SELECT count(*) FROM fx.orders) AS orders, (SELECT count(*) FROM fx.raw) AS raw;

-- committed it is a published load of the interval, and a later feed replaces it
SELECT loaded FROM etl.feed('fx', 'fx.raw', '[{"id": 1, "amount": 1}]', '2024-01-01 10:00+00', '{"shop": "a"}');
SELECT loaded FROM etl.feed('fx', 'fx.raw', '[{"id": 1, "amount": 2}]', '2024-01-01 10:00+00', '{"shop": "a"}');
SELECT payload FROM fx.vr_raw;
SELECT trigger, state, run_date FROM etl.runs WHERE pipeline = 'fx' ORDER BY run_id;
SELECT state, fetched FROM etl.loads WHERE pipeline = 'fx' ORDER BY load_id;
SELECT target_name, data_until FROM etl.freshness WHERE pipeline = 'fx' ORDER BY 1;
SELECT count(*) FROM etl.transform('fx', '2024-01-01 10:00+00');
SELECT id, amount FROM fx.orders;
-- until when the data reach counts both
SELECT target_name, data_until FROM etl.freshness WHERE pipeline = 'fx' ORDER BY 1;

-- what is refused
SELECT * FROM etl.feed('fx', 'fx.nosuch', '[]', '2024-01-01');
SELECT * FROM etl.feed('fx', 'fx.raw', '{}', '2024-01-01');
SELECT * FROM etl.feed('fx', 'fx.raw', '[]', NULL);
SELECT * FROM etl.feed('nosuch', 'fx.raw', '[]', '2024-01-01');
SELECT * FROM etl.transform('fx', NULL);
-- an error is an error here too
SELECT loaded FROM etl.feed('fx', 'fx.raw', '[{"id": "x", "amount": 2}]', '2024-01-01 12:00+00');
SELECT * FROM etl.transform('fx', '2024-01-01 12:00+00');
CREATE ROLE regress_fx LOGIN;
SET ROLE regress_fx;
SELECT * FROM etl.transform('fx', '2024-01-01 10:00+00');
SELECT * FROM etl.feed('fx', 'fx.raw', '[]', '2024-01-01');
RESET ROLE;
DROP ROLE regress_fx;

SELECT etl.drop_pipeline('fx', drop_data => true);
DROP SCHEMA fx CASCADE;
DROP SERVER fx;
