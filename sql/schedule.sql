-- Schedules: when a pipeline is due, and which data intervals a date has.
--
-- A schedule is text: five cron fields (minute, hour, day of month, month, day of
-- week), one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly and
-- @annually, or an interval of whole seconds such as '15 minutes'.
--
-- Cron is read on the wall clock of the time zone.  Where that clock jumps,
-- Vixie's rules hold: an entry whose minute or hour begins with * follows real
-- time; any other runs once for each time of day it names, right after the jump
-- if the jump skipped that time, and at its first occurrence if it comes twice.
-- Intervals lie on a grid that starts at 1970-01-01 00:00 UTC, whatever the zone;
-- a day in an interval is 24 hours.

CREATE FUNCTION etl.check_schedule(schedule text, timezone text)
RETURNS void
AS 'MODULE_PATHNAME', 'etl_check_schedule'
LANGUAGE C STRICT STABLE PARALLEL SAFE;
COMMENT ON FUNCTION etl.check_schedule(text, text)
IS 'raise an error that says what is wrong with a schedule or its time zone, if anything is';

CREATE FUNCTION etl.schedule_ticks(schedule text, timezone text, since timestamptz, until timestamptz,
	max_ticks integer DEFAULT 10000)
RETURNS SETOF timestamptz
AS 'MODULE_PATHNAME', 'etl_schedule_ticks'
LANGUAGE C STRICT STABLE PARALLEL SAFE ROWS 100;
COMMENT ON FUNCTION etl.schedule_ticks(text, text, timestamptz, timestamptz, integer)
IS 'ticks of a schedule from since on and before until; more than max_ticks are an error';

CREATE FUNCTION etl.next_ticks(schedule text, timezone text, after timestamptz, n integer)
RETURNS SETOF timestamptz
AS 'MODULE_PATHNAME', 'etl_next_ticks'
LANGUAGE C STRICT STABLE PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION etl.next_ticks(text, text, timestamptz, integer)
IS 'the first n ticks of a schedule strictly after an instant';

CREATE FUNCTION etl.schedule_intervals(schedule text, timezone text, run_date date)
RETURNS TABLE (data_interval_start timestamptz, data_interval_end timestamptz)
AS 'MODULE_PATHNAME', 'etl_schedule_intervals'
LANGUAGE C CALLED ON NULL INPUT STABLE PARALLEL SAFE ROWS 24;
COMMENT ON FUNCTION etl.schedule_intervals(text, text, date)
IS 'data intervals (tick to next tick) that start on a date of the time zone; the day itself if schedule is NULL';
