-- Mode partition: the rows of the run's data interval are what the view gives; bounds for each
-- type, in the pipeline's time zone.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SCHEMA lp;
SELECT etl.create_pipeline('lp');
CREATE TABLE lp.events (at timestamptz, value text);
INSERT INTO lp.events SELECT timestamptz '2024-01-01 00:00+00' + n * interval '8 hours', 'e' || n FROM generate_series(0, 8) n;
CREATE VIEW lp.txf_by_instant AS SELECT at, value FROM lp.events WHERE at >= etl.data_interval_start() AND at < etl.data_interval_end();
CREATE VIEW lp.txf_by_time AS SELECT at AT TIME ZONE 'UTC' AS at, value FROM lp.txf_by_instant;
CREATE VIEW lp.txf_by_day AS SELECT (at AT TIME ZONE 'UTC')::date AS day, value FROM lp.txf_by_instant;
SELECT etl.add_load('lp', 'lp.by_instant', 'partition', partition_by => 'at');
SELECT etl.add_load('lp', 'lp.by_time', 'partition', partition_by => 'at', key => '{value}');
SELECT etl.add_load('lp', 'lp.by_day', 'partition', partition_by => 'day');
SELECT * FROM pg_temp.run('lp', '2024-01-02');
SELECT * FROM pg_temp.run('lp', '2024-01-01');
SELECT * FROM pg_temp.run('lp', '2024-01-02');
SELECT * FROM lp.by_instant ORDER BY 1;
SELECT * FROM lp.by_time ORDER BY 1;
SELECT * FROM lp.by_day ORDER BY 1, 2;
-- an interval is replaced, the others are not touched
UPDATE lp.events SET value = 'changed' WHERE at = '2024-01-02 08:00+00';
DELETE FROM lp.events WHERE at = '2024-01-02 16:00+00';
UPDATE lp.events SET value = 'not run' WHERE at = '2024-01-01 08:00+00';
INSERT INTO lp.events VALUES ('2024-01-02 23:59:59.999999+00', 'last'), ('2024-01-02 00:00+00', 'twin of e3');
SELECT * FROM pg_temp.run('lp', '2024-01-02');
SELECT task, inserted, updated, deleted, unchanged FROM etl.task_runs WHERE pipeline = 'lp' AND kind = 'load' ORDER BY task_run_id DESC LIMIT 3;
SELECT * FROM lp.by_instant ORDER BY 1, 2;
SELECT * FROM lp.by_time ORDER BY 1, 2;
-- an interval that has become empty
DELETE FROM lp.events WHERE at >= '2024-01-02 00:00+00' AND at < '2024-01-03 00:00+00';
SELECT * FROM pg_temp.run('lp', '2024-01-02');
SELECT count(*) FILTER (WHERE day = '2024-01-02'), count(*) FROM lp.by_day;

-- rows that do not belong to the interval are an error, and so are those that say nothing
CREATE VIEW lp.txf_stray AS SELECT at, value FROM lp.events WHERE at < etl.data_interval_end();
BEGIN;
SELECT etl.create_pipeline('lp', replace => true);
SELECT etl.add_load('lp', 'lp.stray', 'partition', partition_by => 'at');
COMMIT;
SELECT * FROM pg_temp.run('lp', '2024-01-01');
SELECT * FROM pg_temp.run('lp', '2024-01-03');
INSERT INTO lp.events VALUES (NULL, 'when?');
CREATE OR REPLACE VIEW lp.txf_stray AS SELECT at, value FROM lp.events WHERE at >= etl.data_interval_start() AND at < etl.data_interval_end() OR at IS NULL;
SELECT * FROM pg_temp.run('lp', '2024-01-01');
DELETE FROM lp.events WHERE at IS NULL;

-- rows of the target's interval that others put there go; those of no interval stay
INSERT INTO lp.stray VALUES ('2024-01-01 12:00+00', 'by hand'), (NULL, 'nowhere'), ('2023-12-31 23:59:59+00', 'before'), ('2024-01-02 00:00+00', 'after');
SELECT * FROM pg_temp.run('lp', '2024-01-01');
SELECT * FROM lp.stray ORDER BY 1;

--
-- Time zone: days are those of the pipeline, 23 and 25 hours long where clocks change
--
TRUNCATE lp.events;
INSERT INTO lp.events SELECT t, to_char(t AT TIME ZONE 'Europe/Berlin', 'MM-DD HH24:MI')
FROM generate_series(timestamptz '2024-03-29 22:30+00', '2024-04-01 22:30+00', '1 hour') t;
INSERT INTO lp.events SELECT t, to_char(t AT TIME ZONE 'Europe/Berlin', 'MM-DD HH24:MI')
FROM generate_series(timestamptz '2024-10-26 21:30+00', '2024-10-28 23:30+00', '1 hour') t;
CREATE VIEW lp.txf_berlin AS SELECT at, at AT TIME ZONE 'Europe/Berlin' AS local_at, (at AT TIME ZONE 'Europe/Berlin')::date AS day, value
	FROM lp.events WHERE at >= etl.data_interval_start() AND at < etl.data_interval_end();
BEGIN;
SELECT etl.create_pipeline('lp', timezone => 'Europe/Berlin', replace => true);
SELECT etl.add_load('lp', 'lp.berlin', 'partition', partition_by => 'at');
SELECT etl.add_load('lp', 'lp.berlin_local', 'partition', source => 'lp.txf_berlin', partition_by => 'local_at');
SELECT etl.add_load('lp', 'lp.berlin_day', 'partition', source => 'lp.txf_berlin', partition_by => 'day');
COMMIT;
SELECT d.day, r.* FROM (VALUES (date '2024-03-30'), ('2024-03-31'), ('2024-04-01'), ('2024-10-27')) d(day), LATERAL pg_temp.run('lp', d.day) r;
SELECT data_interval_start, data_interval_end, run_date FROM etl.runs WHERE pipeline = 'lp' AND run_date >= '2024-03-30' ORDER BY run_id DESC LIMIT 4;
SELECT day, count(*), min(local_at), max(local_at) FROM lp.berlin GROUP BY 1 ORDER BY 1;
SELECT day, count(*) FROM lp.berlin_local GROUP BY 1 ORDER BY 1;
SELECT day, count(*) FROM lp.berlin_day GROUP BY 1 ORDER BY 1;
-- the caller's time zone has no influence
SET timezone = 'America/Los_Angeles';
SELECT d.day, r.* FROM (VALUES (date '2024-03-31'), ('2024-10-27')) d(day), LATERAL pg_temp.run('lp', d.day) r;
SET timezone = 'UTC';

--
-- Intervals shorter than a day
--
CREATE VIEW lp.txf_hourly AS SELECT at, at AT TIME ZONE 'UTC' AS local_at, (at AT TIME ZONE 'UTC')::date AS day, value FROM lp.events
	WHERE at >= etl.data_interval_start() AND at < etl.data_interval_end();
BEGIN;
SELECT etl.create_pipeline('lp', schedule => '0 */12 * * *', replace => true);
SELECT etl.add_load('lp', 'lp.hourly', 'partition', partition_by => 'at');
SELECT etl.add_load('lp', 'lp.hourly_local', 'partition', source => 'lp.txf_hourly', partition_by => 'local_at');
COMMIT;
SELECT * FROM pg_temp.run('lp', '2024-03-30');
SELECT count(*), min(at), max(at) FROM lp.hourly;
SELECT count(*), min(at), max(at) FROM lp.hourly_local;
-- a date cannot tell them apart
SELECT etl.add_load('lp', 'lp.hourly_day', 'partition', source => 'lp.txf_hourly', partition_by => 'day');
SELECT pg_temp.try($$SELECT * FROM etl_run('2024-03-30', 'lp')$$);

--
-- Partitioned targets, quoted names, touch, identity
--
CREATE TABLE lp."Daily Facts" ("Day" date, "Val""ue" text, n bigint GENERATED ALWAYS AS IDENTITY, loaded_at timestamptz) PARTITION BY RANGE ("Day");
CREATE TABLE lp.facts_jan PARTITION OF lp."Daily Facts" FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE lp.facts_rest PARTITION OF lp."Daily Facts" DEFAULT;
CREATE VIEW lp."txf_Daily Facts" AS SELECT etl.run_date() AS "Day", 'v' || n AS "Val""ue" FROM generate_series(1, 2) n;
BEGIN;
SELECT etl.create_pipeline('lp', replace => true);
SELECT etl.add_load('lp', 'lp."Daily Facts"', 'partition', partition_by => 'Day', options => '{"touch": ["loaded_at"]}');
COMMIT;
SELECT d.day, r.* FROM (VALUES (date '2024-01-31'), ('2024-02-01'), ('2024-01-31')) d(day), LATERAL pg_temp.run('lp', d.day) r;
SELECT tableoid::regclass, "Day", "Val""ue", n, loaded_at IS NOT NULL AS touched FROM lp."Daily Facts" ORDER BY n;
-- dates before 0 and far away
SELECT d.day, r.* FROM (VALUES (date '0044-03-15 BC'), ('9999-12-31')) d(day), LATERAL pg_temp.run('lp', d.day) r;
SELECT "Day", count(*) FROM lp.facts_rest GROUP BY 1 ORDER BY 1;

SELECT etl.drop_pipeline('lp');
DROP SCHEMA lp CASCADE;
