-- Schedules: what is accepted, what is refused and how, and ticks around every
-- kind of clock jump.  Dates lie in the past, where time zone rules are settled.
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';

-- Ticks as the wall clock shows them, with the offset then in force.
CREATE FUNCTION pg_temp.ticks(schedule text, zone text, since timestamptz, until timestamptz)
RETURNS TABLE (utc text, local text, utc_offset interval)
LANGUAGE sql AS $$
	SELECT to_char(t, 'MM-DD HH24:MI'), to_char(t AT TIME ZONE zone, 'Dy MM-DD HH24:MI'),
		   (t AT TIME ZONE zone) - (t AT TIME ZONE 'UTC')
	FROM etl.schedule_ticks(schedule, zone, since, until) t
$$;

-- One line per schedule: the local times of its ticks in a span.
CREATE FUNCTION pg_temp.line(schedule text, zone text, since timestamptz, until timestamptz)
RETURNS text
LANGUAGE sql AS $$
	SELECT string_agg(to_char(t AT TIME ZONE zone, 'HH24:MI') ||
					  to_char((t AT TIME ZONE zone) - (t AT TIME ZONE 'UTC'), '"+"HH24:MI'), ' ' ORDER BY t)
	FROM etl.schedule_ticks(schedule, zone, since, until) t
$$;

--
-- What is accepted
--
SELECT schedule, etl.next_ticks(schedule, 'UTC', '2024-01-01 00:00:00', 3) AS tick
FROM unnest(ARRAY['*/15 * * * *', '10-40/15 * * * *', '5,35 4 * * *', '0 0 * JAN,jul Mon',
				  '0 6 * * mon-fri', '0 6 * * 0', '0 6 * * 7', '0 6 * * sat-sun',
				  '@hourly', '@daily', '@midnight', '@Weekly', '@monthly', '@yearly', '@annually',
				  E' \t0  0 29\t2 * ', '30 seconds', '15 minutes', '1 hour', '1 day', '1 week', '02:30:00',
				  'PT10M', '@ 1 minute', '1 day 12 hours']) WITH ORDINALITY AS s(schedule, n)
ORDER BY n, tick;

-- both day fields restricted: either; a field that begins with * is not restricted
SELECT schedule, array_agg(to_char(t, 'Dy DD') ORDER BY t) AS days
FROM unnest(ARRAY['0 0 13 * 5', '0 0 13 * *', '0 0 * * 5', '0 0 */12 * 5', '0 0 1-15 * */5', '0 0 1,*/10 * 5'])
		 WITH ORDINALITY AS s(schedule, n),
	 etl.schedule_ticks(schedule, 'UTC', '2024-09-01', '2024-10-01') t
GROUP BY n, schedule ORDER BY n;

-- rare days are found, and quickly
SELECT etl.next_ticks('0 0 29 2 *', 'Europe/Berlin', '1896-03-01', 2);
SELECT etl.next_ticks('*/30 0 29 2 */7', 'UTC', '2060-03-01', 3);
SELECT count(*) FROM etl.schedule_ticks('0 0 29 2 *', 'Europe/Berlin', '2000-01-01', '2400-01-01');

-- a range includes its beginning and not its end; so "after" is strict
SELECT t FROM etl.schedule_ticks('0 * * * *', 'UTC', '2024-01-01 01:00', '2024-01-01 03:00') t;
SELECT t FROM etl.schedule_ticks('0 * * * *', 'UTC', '2024-01-01 01:00:00.000001', '2024-01-01 03:00:00.000001') t;
SELECT t FROM etl.schedule_ticks('1 hour', 'UTC', '2024-01-01 01:00', '2024-01-01 03:00') t;
SELECT t FROM etl.schedule_ticks('0 * * * *', 'UTC', '2024-01-01 03:00', '2024-01-01 01:00') t;
SELECT etl.next_ticks('0 * * * *', 'UTC', '2024-01-01 01:00', 1);
SELECT etl.next_ticks('0 * * * *', 'UTC', '2024-01-01 00:59:59.999999', 1);
SELECT etl.next_ticks('0 * * * *', 'UTC', '2024-01-01', 0);

-- intervals lie on the grid of the epoch, whatever the zone and its jumps
SELECT etl.next_ticks('7 days', 'UTC', '1969-12-20', 3);
SELECT etl.next_ticks('90 minutes', 'America/New_York', '1970-01-01 00:00', 2);
SELECT * FROM pg_temp.ticks('1 day', 'Europe/Berlin', '2024-03-30', '2024-04-01 12:00');

-- before the epoch, and at both ends of time
SELECT etl.next_ticks('30 2 * * *', 'UTC', '1960-02-28', 3);
SELECT etl.next_ticks('0 12 * * *', 'UTC', '4714-11-24 00:00 BC', 1);
SELECT etl.next_ticks('0 12 * * *', 'UTC', '294276-12-30', 5);
SELECT etl.next_ticks('1 day', 'UTC', '294276-12-30', 5);

--
-- What is refused
--
CREATE FUNCTION pg_temp.refusal(schedule text, zone text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM etl.check_schedule(schedule, zone);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;
SELECT etl.check_schedule('0 2 * * *', 'Europe/Berlin');
SELECT code, message, detail
FROM unnest(ARRAY['60 * * * *', '* 24 * * *', '* * 0 * *', '* * 32 * *', '* * * 13 *', '* * * 0 *', '* * * * 8',
				  '0 0 * foo *', '0 0 * * january', '0 mon * * *', '-5 * * * *', '99999999999 * * * *',
				  '5-1 * * * *', '0 0 * * fri-tue', '1- * * * *', '1,,2 * * * *', ',1 * * * *', '1, * * * *',
				  '*/0 * * * *', '*/ * * * *', '*/61 * * * *', '5/10 * * * *', '*/2/3 * * * *', '*5 * * * *', '0 0 L * *', '0 0 ? * *',
				  '0 0 1.5 * *', '* * * *', '0 0 * * * *', '1 2 3', '0 0 31 2 *', '0 0 30 feb *', '0 0 31 4,6,9,11 */2',
				  '@never', '@reboot', '@', '@daily @daily', '', '   ', 'hourly', 'every day', '1 month', '1 year 2 days', 'P1M',
				  '0 seconds', '-5 minutes', '5 minutes ago', '0.5 seconds', '1500 milliseconds', '15', '15.0', '1-2', '1 day 5', '1 fortnight',
				  '1 day 1 month', 'infinity', '1-x * * * *']) WITH ORDINALITY AS s(schedule, n),
	 pg_temp.refusal(schedule, 'UTC')
ORDER BY n;
-- what some versions of the type interval let pass
SELECT schedule, code
FROM unnest(ARRAY['/5', 'mon 5', 'mon23', '60:', '1 day,', '5 minutes hours']) AS s(schedule),
	 pg_temp.refusal(schedule, 'UTC');
-- the hints
SELECT DISTINCT ON (hint) schedule, hint
FROM unnest(ARRAY['60 * * * *', '* 24 * * *', '* * 0 * *', '* * * 13 *', '* * * * 8', '*/90 * * * *', '0 0 31 2 *', 'hourly', '1 month'])
		 AS s(schedule),
	 pg_temp.refusal(schedule, 'UTC')
ORDER BY hint, schedule;

SELECT etl.check_schedule('0 2 * * *', 'Europe/Atlantis');
SELECT zone, code, message
FROM unnest(ARRAY['Europe/Berlin2', 'CEST', '', 'right/UTC', '../../etc/passwd', 'europe/berlin', 'EST5EDT', 'EST5EDT,M3.2.0/2,M11.1.0/2',
				  'Etc/GMT+1', '<+0330>-3:30']) WITH ORDINALITY AS z(zone, n),
	 pg_temp.refusal('1 hour', zone)
ORDER BY n;

SELECT count(*) FROM etl.schedule_ticks('* * * * *', 'UTC', '2024-01-01', '2025-01-01');
SELECT count(*) FROM etl.schedule_ticks('* * * * *', 'UTC', '2024-01-01', '2024-01-02', 1439);
SELECT count(*) FROM etl.schedule_ticks('* * * * *', 'UTC', '2024-01-01', '2024-01-02', max_ticks => 1440);
SELECT count(*) FROM etl.schedule_ticks('* * * * *', 'UTC', '2024-01-01', '2024-01-02', 0);
SELECT count(*) FROM etl.schedule_ticks('* * * * *', 'UTC', '-infinity', '2024-01-02');
SELECT count(*) FROM etl.schedule_ticks('* * * * *', 'UTC', '2024-01-01', 'infinity');
SELECT etl.next_ticks('* * * * *', 'UTC', 'infinity', 1);
SELECT etl.next_ticks('* * * * *', 'UTC', '2024-01-01', -1);
SELECT etl.schedule_intervals('* * * * *', 'UTC', 'infinity');
SELECT count(*) FROM etl.next_ticks(NULL, 'UTC', '2024-01-01', 1);

--
-- Where the clock jumps
--
-- Berlin, 31 March 2024: 02:00 to 03:00 is skipped.  Fixed times of the gap run at its end, once ...
SELECT * FROM pg_temp.ticks('30 2 * * *', 'Europe/Berlin', '2024-03-29 12:00', '2024-04-02 12:00');
-- ... and 27 October 2024: 02:00 to 03:00 comes twice.  Fixed times run the first time.
SELECT * FROM pg_temp.ticks('30 2 * * *', 'Europe/Berlin', '2024-10-25 12:00', '2024-10-29 12:00');

-- A day that loses an hour and a day that has one more, from midnight to 05:00, for fixed times (first) and for
-- those that follow real time, in zones that jump by an hour and by half of one.
WITH day (zone, since, until) AS (
	VALUES ('Europe/Berlin', timestamptz '2024-03-30 23:00', timestamptz '2024-03-31 03:00'),
		   ('Europe/Berlin', '2024-10-26 22:00', '2024-10-27 04:00'),
		   ('Australia/Lord_Howe', '2024-10-05 13:30', '2024-10-05 18:00'),
		   ('Australia/Lord_Howe', '2024-04-06 13:00', '2024-04-06 18:30')),
schedule (n, schedule) AS (
	VALUES (1, '0 2 * * *'), (2, '15 2 * * *'), (3, '45 1 * * *'), (4, '0,30 1-3 * * *'), (5, '0 0 * * *'),
		   (6, '0 2,3 * * *'), (7, '10-50/20 2 * * *'), (8, '15 2 */2 * *'), (9, '15 2 * * sun'),
		   (11, '0 * * * *'), (12, '*/30 * * * *'), (13, '*/15 2 * * *'), (14, '*/20 1-2 * * *'), (15, '0 */2 * * *'),
		   (16, '30 */1 * * *'), (17, '* 2 * * mon'), (18, '@hourly'), (19, '20 minutes'))
SELECT zone, since::date, schedule, pg_temp.line(schedule, zone, since, until)
FROM day, schedule ORDER BY zone, since, n;

-- New York
SELECT * FROM pg_temp.ticks('30 1,2 * * *', 'America/New_York', '2024-03-09 12:00', '2024-03-11 12:00');
SELECT * FROM pg_temp.ticks('30 1,2 * * *', 'America/New_York', '2024-11-02 12:00', '2024-11-04 12:00');

-- Midnight does not exist: Sao Paulo 4 November 2018, Beirut 27 March 2022.  The day begins at 01:00.
SELECT * FROM pg_temp.ticks('@daily', 'America/Sao_Paulo', '2018-11-03', '2018-11-06');
SELECT * FROM pg_temp.ticks('15 0 * * *', 'Asia/Beirut', '2022-03-26', '2022-03-28');
-- Midnight exists twice: Havana 3 November 2024.  The clock goes back over midnight: St John's 7 November 2010.
SELECT * FROM pg_temp.ticks('@daily', 'America/Havana', '2024-11-02', '2024-11-05');
SELECT * FROM pg_temp.ticks('0 */1 * * *', 'America/Havana', '2024-11-03 03:00', '2024-11-03 07:00');
SELECT * FROM pg_temp.ticks('0,30 0,23 * * *', 'America/St_Johns', '2010-11-06 12:00', '2010-11-08 00:00');
SELECT * FROM pg_temp.ticks('*/30 0,23 * * *', 'America/St_Johns', '2010-11-06 12:00', '2010-11-08 00:00');
-- A day does not exist: Apia 30 December 2011
SELECT * FROM pg_temp.ticks('0 8 * * *', 'Pacific/Apia', '2011-12-28', '2012-01-02');
SELECT * FROM pg_temp.ticks('@daily', 'Pacific/Apia', '2011-12-28', '2012-01-02');
SELECT * FROM pg_temp.ticks('0 8 30 12 *', 'Pacific/Apia', '2010-01-01', '2013-01-01');
SELECT * FROM pg_temp.ticks('0 */8 * * *', 'Pacific/Apia', '2011-12-29 20:00', '2012-01-01');
-- The zone moved for good, by an odd amount: Pyongyang 2015 (back) and 2018 (forward)
SELECT * FROM pg_temp.ticks('45 23 * * *', 'Asia/Pyongyang', '2015-08-13', '2015-08-16');
SELECT * FROM pg_temp.ticks('45 23 * * *', 'Asia/Pyongyang', '2018-05-03', '2018-05-06');

--
-- Data intervals of a date
--
SELECT * FROM etl.schedule_intervals('@daily', 'UTC', '2024-05-01');
SELECT * FROM etl.schedule_intervals('0 2 * * *', 'Europe/Berlin', '2024-03-30');
SELECT * FROM etl.schedule_intervals('0 */6 * * *', 'Europe/Berlin', '2024-03-31');
SELECT * FROM etl.schedule_intervals('0 */6 * * *', 'Europe/Berlin', '2024-10-27');
SELECT * FROM etl.schedule_intervals('@weekly', 'UTC', '2024-05-05');
SELECT * FROM etl.schedule_intervals('@weekly', 'UTC', '2024-05-06');
SELECT * FROM etl.schedule_intervals('0 0 29 2 *', 'UTC', '2024-02-29');
SELECT * FROM etl.schedule_intervals('6 hours', 'Asia/Kolkata', '2024-05-01');
SELECT * FROM etl.schedule_intervals('2 days', 'UTC', '2024-05-01');
SELECT * FROM etl.schedule_intervals('2 days', 'UTC', '2024-05-02');
SELECT count(*) FROM etl.schedule_intervals('1 second', 'Europe/Berlin', '2024-10-27');

-- without a schedule the date is the interval
SELECT zone, date, i.*, data_interval_end - data_interval_start AS length
FROM (VALUES ('UTC', date '2024-05-01'), ('Europe/Berlin', '2024-03-31'), ('Europe/Berlin', '2024-10-27'),
			 ('America/Sao_Paulo', '2018-11-03'), ('America/Sao_Paulo', '2018-11-04'), ('America/Sao_Paulo', '2018-02-17'),
			 ('America/Havana', '2024-11-02'), ('America/Havana', '2024-11-03'),
			 ('America/St_Johns', '2010-11-06'), ('America/St_Johns', '2010-11-07'),
			 ('Pacific/Apia', '2011-12-29'), ('Pacific/Apia', '2011-12-30'), ('Pacific/Apia', '2011-12-31')) d(zone, date)
	 LEFT JOIN LATERAL etl.schedule_intervals(NULL, zone, date) i ON true;
SELECT count(*) FROM etl.schedule_intervals(NULL, NULL, '2024-05-01');
SELECT count(*) FROM etl.schedule_intervals('@daily', 'UTC', NULL);
SELECT etl.schedule_intervals(NULL, 'Nowhere', '2024-05-01');

-- Dates share out the intervals: each tick belongs to exactly one, and intervals leave no gap.
SELECT zone, schedule, count(*) AS intervals,
	   count(*) FILTER (WHERE following <> data_interval_end) AS gaps,
	   count(*) FILTER (WHERE (data_interval_start AT TIME ZONE zone)::date <> date) AS elsewhere,
	   count(*) = (SELECT count(*) FROM etl.schedule_ticks(schedule, zone, min(data_interval_start), max(data_interval_end), 1000000))
		   AS complete
FROM (SELECT zone, schedule, d::date AS date, i.*,
			 lead(data_interval_start) OVER (PARTITION BY zone, schedule ORDER BY data_interval_start) AS following
	  FROM unnest(ARRAY['Europe/Berlin', 'Australia/Lord_Howe', 'America/St_Johns', 'America/Havana', 'Pacific/Apia']) zone,
		   unnest(ARRAY['0 2 * * *', '*/15 * * * *', '15 0,23 * * *', '45 minutes']) schedule,
		   generate_series(timestamp '2010-10-25', '2012-01-05', '1 day') d,
		   LATERAL etl.schedule_intervals(schedule, zone, d::date) i) AS x
GROUP BY zone, schedule ORDER BY zone, schedule;
