-- Mode partition over partitioned targets: partitions made for the run and ahead, dropped by retention.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
-- a role whose workers start with this clock
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET etl.clock = ''2024-03-15 00:00+00''', current_database()); END $$;
CREATE ROLE regress_etl_lq LOGIN;
CREATE SCHEMA lq AUTHORIZATION regress_etl_lq;
SET SESSION AUTHORIZATION regress_etl_lq;
SELECT etl.create_pipeline('lq', timezone => 'Europe/Berlin');
CREATE VIEW lq.txf_monthly AS SELECT etl.data_interval_start() + interval '1 hour' AS at, n AS id, 'v' || n AS value FROM generate_series(1, 2) n;
SELECT etl.add_load('lq', 'lq.monthly', 'partition', key => '{id}', partition_by => 'at', options => '{"partitions": {"every": "1 month", "ahead": 2, "retain": "60 days"}}');
\d lq.monthly
CREATE FUNCTION pg_temp.partitions(relation regclass) RETURNS TABLE (partition regclass, bound text) LANGUAGE sql AS $$
	SELECT c.oid::regclass, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = relation ORDER BY c.relname $$;
SELECT * FROM pg_temp.run('lq', '2024-03-14');
SELECT * FROM pg_temp.partitions('lq.monthly');
SELECT count(*) FROM lq.monthly;
-- an older interval has a partition made, and a still older one is dropped again after its run
SELECT * FROM pg_temp.run('lq', '2024-01-31');
SELECT * FROM pg_temp.partitions('lq.monthly');
SELECT * FROM pg_temp.run('lq', '2023-11-30');
DO $$ BEGIN		-- what has expired goes after the run
	FOR i IN 1 .. 200 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM pg_temp.partitions('lq.monthly') WHERE partition::text ~ '_p2023');
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT * FROM pg_temp.partitions('lq.monthly');
-- again: nothing to make, nothing to change
SELECT * FROM pg_temp.run('lq', '2024-03-14');
SELECT tableoid::regclass::text AS partition, count(*) FROM lq.monthly GROUP BY 1 ORDER BY 1;
-- as a file
SELECT substring(etl.pipeline_sql('lq') FROM 'CREATE TABLE.*');

-- a table of one's own: like the partitions it has, one ahead, and between those that are there
CREATE TABLE lq.daily (day date NOT NULL, value text) PARTITION BY RANGE (day);
CREATE TABLE lq.d1 PARTITION OF lq.daily FOR VALUES FROM (MINVALUE) TO ('2024-03-01');
CREATE TABLE lq.d2 PARTITION OF lq.daily FOR VALUES FROM ('2024-03-05') TO ('2024-03-12');
CREATE VIEW lq.txf_daily AS SELECT etl.run_date() AS day, 'x' AS value;
CREATE TABLE lq.with_default (day date NOT NULL, value text) PARTITION BY RANGE (day);
CREATE TABLE lq.rest PARTITION OF lq.with_default DEFAULT;
CREATE TABLE lq.by_hour (at timestamp NOT NULL, value text) PARTITION BY RANGE (at);
CREATE VIEW lq.txf_by_hour AS SELECT etl.data_interval_start() AT TIME ZONE 'Europe/Berlin' AS at, 'x' AS value;
BEGIN;
SELECT etl.create_pipeline('lq', timezone => 'Europe/Berlin', replace => true);
SELECT etl.add_load('lq', 'lq.daily', 'partition', partition_by => 'day');
SELECT etl.add_load('lq', 'lq.with_default', 'partition', source => 'lq.txf_daily', partition_by => 'day');
SELECT etl.add_load('lq', 'lq.by_hour', 'partition', partition_by => 'at', options => '{"partitions": {"every": "12 hours", "ahead": 0}}');
COMMIT;
SELECT * FROM pg_temp.run('lq', '2024-03-03');
SELECT * FROM pg_temp.partitions('lq.daily');
SELECT * FROM pg_temp.partitions('lq.with_default');
SELECT * FROM pg_temp.partitions('lq.by_hour');
SELECT * FROM pg_temp.run('lq', '2024-02-03');
SELECT tableoid::regclass, * FROM lq.daily ORDER BY day;

SELECT etl.add_load('lq', 'lq.t', 'partition', source => 'lq.txf_daily', partition_by => 'day', options => '{"partitions": {"ahead": 2}}');
SELECT etl.add_load('lq', 'lq.t', 'partition', source => 'lq.txf_daily', partition_by => 'day', options => '{"partitions": {"every": "5 minutes"}}');
SELECT etl.add_load('lq', 'lq.t', 'partition', source => 'lq.txf_daily', partition_by => 'day', options => '{"partitions": {"every": "1 month 1 day"}}');
SELECT etl.add_load('lq', 'lq.t', 'partition', source => 'lq.txf_daily', partition_by => 'day', options => '{"partitions": {"every": "often"}}');
SELECT etl.add_load('lq', 'lq.t', 'partition', source => 'lq.txf_daily', partition_by => 'day', options => '{"partitions": {"every": "1 day", "ahead": -1}}');
SELECT etl.add_load('lq', 'lq.t', 'partition', source => 'lq.txf_daily', partition_by => 'day', options => '{"partitions": {"every": "1 day", "keep": 1}}');
SELECT etl.add_load('lq', 'lq.t', 'full', source => 'lq.txf_daily', options => '{"partitions": {"every": "1 day"}}');
SELECT to_regclass('lq.t');

SELECT etl.drop_pipeline('lq');
RESET SESSION AUTHORIZATION;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET etl.clock', current_database()); END $$;
DROP SCHEMA lq CASCADE;
DROP FUNCTION pg_temp.partitions;
DROP ROLE regress_etl_lq;
