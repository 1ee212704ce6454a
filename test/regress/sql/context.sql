-- What a transformation may know about its run, inside of one and outside.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
SELECT etl.data_interval_start() IS NULL, etl.data_interval_end() IS NULL, etl.run_date() IS NULL, etl.run_id() IS NULL;
-- by hand, to see what a view gives for an interval
SET etl.data_interval_start = '2024-01-01 00:00+00';
SET etl.data_interval_end = '2024-01-02 00:00+00';
SET etl.run_date = '2024-01-01';
SET etl.run_id = '42';
SELECT etl.data_interval_start(), etl.data_interval_end(), etl.run_date(), etl.run_id();
RESET etl.data_interval_start;
RESET etl.data_interval_end;
SET etl.run_date = '';
SET etl.run_id = '';
SELECT etl.data_interval_start() IS NULL, etl.data_interval_end() IS NULL, etl.run_date() IS NULL, etl.run_id() IS NULL;
SET etl.run_date = 'no date';
SELECT etl.run_date();
RESET etl.run_date;
-- settings that do not exist are refused
SET etl.no_such_setting = 1;

-- in a run: the interval, the owner, and settings that no session and no role default changes
CREATE SCHEMA cx;
CREATE VIEW cx.txf_seen AS
	SELECT etl.data_interval_start() AS since, etl.data_interval_end() AS until, etl.run_date() AS run_date, etl.run_id() AS run_id,
		   current_user::text AS who, session_user::text AS session_who, current_setting('TimeZone') AS zone, current_setting('DateStyle') AS style, current_setting('IntervalStyle') AS interval_style,
		   current_setting('search_path') AS path, current_setting('is_superuser') AS super, current_setting('transaction_isolation') AS isolation;
SET timezone = 'Asia/Tokyo';
SELECT etl.create_pipeline('cx', timezone => 'America/New_York');
SELECT etl.add_load('cx', 'cx.seen', 'full');
SELECT count(*) FROM etl_run('2024-03-10', 'cx');
SET timezone = 'UTC';
SELECT since, until, run_date, run_id = (SELECT max(run_id) FROM etl.runs WHERE pipeline = 'cx') AS run_id_is_right, who = current_user AS as_owner, who = session_who AS as_session,
	zone, style, interval_style, path, isolation FROM cx.seen;
-- the session of the caller has learnt nothing
SELECT etl.run_id() IS NULL;
-- a default of the role does not reach into a run
CREATE ROLE regress_etl_cx LOGIN;
ALTER ROLE regress_etl_cx SET timezone = 'Asia/Tokyo';
ALTER ROLE regress_etl_cx SET datestyle = 'German';
ALTER ROLE regress_etl_cx SET search_path = 'cx';
ALTER ROLE regress_etl_cx SET etl.run_date = '1999-01-01';
GRANT USAGE, CREATE ON SCHEMA cx TO regress_etl_cx;
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_etl_cx', current_database()); END $$;
SET ROLE regress_etl_cx;
SELECT etl.create_pipeline('cx2');
CREATE VIEW cx.txf_mine AS
	SELECT etl.run_date() AS run_date, current_user::text AS who, session_user::text AS session_who, current_setting('TimeZone') AS zone, current_setting('DateStyle') AS style,
		   current_setting('search_path') AS path, current_setting('is_superuser') AS super;
SELECT etl.add_load('cx2', 'cx.mine', 'full');
SELECT state FROM etl_run('2024-03-10', 'cx2');
SELECT * FROM cx.mine;
RESET ROLE;
-- run by a superuser it has the owner's rights all the same
SELECT state FROM etl_run('2024-03-11', 'cx2');
SELECT run_date, who, session_who, super FROM cx.mine;
SELECT requested_by = current_user AS by_me FROM etl.runs WHERE pipeline = 'cx2' ORDER BY run_id DESC LIMIT 1;

-- intervals: of a day without a schedule, of each tick with one; spring and autumn
SELECT data_interval_start, data_interval_end, run_date FROM etl.runs WHERE pipeline = 'cx';
SELECT etl.alter_pipeline('cx', schedule => '0 */8 * * *');
SELECT data_interval_start, data_interval_end, state FROM etl_run('2024-11-03', 'cx');
-- one interval of any length
CALL etl.run('cx', '2024-02-01 00:00+00', '2024-03-01 00:00+00');
SELECT since, until, run_date FROM cx.seen;
SELECT data_interval_start, data_interval_end, run_date, interval_is_open, trigger FROM etl.runs WHERE pipeline = 'cx' ORDER BY run_id DESC LIMIT 1;

-- an interval that is not over is open, and is completed first by the next run
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET etl.clock = ''2024-05-05 12:00+00''', current_database()); END $$;
\c
\set ECHO none
-- a coordinator that is connected goes by the settings it came with
DO $$
BEGIN
	FOR i IN 1 .. 200 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'etl coordinator' AND datname = current_database());
		PERFORM pg_sleep(0.05), pg_stat_clear_snapshot();
	END LOOP;
END $$;
\i :helpers
\set ECHO all
SELECT etl.alter_pipeline('cx', schedule => 'none', timezone => 'UTC');
SELECT data_interval_start, data_interval_end, state FROM etl_run('2024-05-05', 'cx');
SELECT run_date, interval_is_open FROM etl.runs WHERE pipeline = 'cx' ORDER BY run_id DESC LIMIT 1;
-- still open: not yet
SELECT data_interval_start, data_interval_end, state FROM etl_run('2024-05-04', 'cx');
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET etl.clock = ''2024-05-06 12:00+00''', current_database()); END $$;
\c
\set ECHO none
-- a coordinator that is connected goes by the settings it came with
DO $$
BEGIN
	FOR i IN 1 .. 200 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'etl coordinator' AND datname = current_database());
		PERFORM pg_sleep(0.05), pg_stat_clear_snapshot();
	END LOOP;
END $$;
\i :helpers
\set ECHO all
SELECT data_interval_start, data_interval_end, state FROM etl_run('2024-05-06', 'cx');
SELECT data_interval_start, data_interval_end, state FROM etl_run('2024-05-04', 'cx');
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET etl.clock', current_database()); END $$;
\c
\set ECHO none
-- a coordinator that is connected goes by the settings it came with
DO $$
BEGIN
	FOR i IN 1 .. 200 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'etl coordinator' AND datname = current_database());
		PERFORM pg_sleep(0.05), pg_stat_clear_snapshot();
	END LOOP;
END $$;
\i :helpers
\set ECHO all

SELECT etl.drop_pipeline('cx2', drop_data => true);
SELECT etl.drop_pipeline('cx');
DROP SCHEMA cx CASCADE;
DO $$ BEGIN EXECUTE format('REVOKE CREATE ON DATABASE %I FROM regress_etl_cx', current_database()); END $$;
DROP ROLE regress_etl_cx;
