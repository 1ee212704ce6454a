/*-------------------------------------------------------------------------
 *
 * schedule.c
 *	  Walking from tick to tick of a schedule.
 *
 * Three clocks are in use here, all counting from 1970-01-01 00:00:
 *
 *	 TimestampTz	what callers see
 *	 unix seconds	real time; "u" in names
 *	 local seconds	what a wall clock in the zone shows; "l" in names
 *
 * A zone is a row of segments of constant offset (local = unix + offset).  Where
 * two segments meet, the wall clock jumps: forward over a gap of local times that
 * never exist, or back over local times that exist twice.  Jumps are of any
 * size: an hour, Lord Howe's half hour, Apia's whole 30 December 2011.
 *
 * Vixie's cron (version 4) tells two kinds of entries apart.  One whose minute or
 * hour begins with '*' means "every so often" and follows real time: it runs at
 * every instant whose local time matches, so twice for local times that exist
 * twice and not at all for those in a gap.  Any other means "at that time of day"
 * and runs once for each matching local time: the first instant at which the wall
 * clock has reached it.  For a time in a gap that is the end of the gap, for a
 * time that exists twice its first occurrence.  That sentence is the whole rule:
 * see local_reached() and local_high_water(), which are inverse to each other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pgtime.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "run/schedule_internal.h"

#define SECS_EPOCH_SHIFT ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

#define CALENDAR_CYCLE_SECS ((int64) CALENDAR_CYCLE_DAYS * SECS_PER_DAY)

/* More than any zone's offset, and than any time a clock that went back needs to catch up. */
#define ZONE_MARGIN_SECS ((int64) 8 * SECS_PER_DAY)

#define MINS_PER_DAY (MINS_PER_HOUR * HOURS_PER_DAY)

#define NO_BOUNDARY PG_INT64_MAX

/* what isspace() accepts */
#define BLANKS " \t\n\r\f\v"
static bool day_matches(const schedule *s, int dom, int weekday);
static bool prev_day(const schedule *s, int64 day, int64 first, int64 *match);
static bool next_local(const schedule *s, int64 minute, int64 last, int64 *match);
static bool prev_local(const schedule *s, int64 minute, int64 first, int64 *match);

static int64 zone_offset(pg_tz *tz, int64 u, int64 *end);
static int64 local_reached(pg_tz *tz, int64 l);
static int64 local_high_water(pg_tz *tz, int64 u);
static bool next_real(const schedule *s, int64 u, int64 *match);
static bool prev_real(const schedule *s, int64 u, int64 *match);

/* Division that rounds down, also below zero. */
static inline int64
floor_div(int64 a, int64 b)
{
	int64 q = a / b;

	return (a % b < 0) ? q - 1 : q;
}

/* The second an instant lies in. */
static inline int64
timestamp_to_unix(TimestampTz t)
{
	return floor_div(t, USECS_PER_SEC) + SECS_EPOCH_SHIFT;
}

/* False if a timestamp cannot hold it. */
static inline bool
unix_to_timestamp(int64 u, TimestampTz *t)
{
	int64 seconds = u - SECS_EPOCH_SHIFT;

	if (seconds < MIN_TIMESTAMP / USECS_PER_SEC || seconds >= END_TIMESTAMP / USECS_PER_SEC)
		return false;
	*t = seconds * USECS_PER_SEC;
	return true;
}

/* The time zone a schedule is read in. */
pg_tz *
schedule_timezone(const schedule *s)
{
	return s->tz;
}

/*
 * The first tick strictly after an instant.  False if that is infinite, or the
 * tick past the end of timestamps.
 */
bool
schedule_next(const schedule *s, TimestampTz after, TimestampTz *tick)
{
	int64 u;
	int64 match;

	if (TIMESTAMP_NOT_FINITE(after))
		return false;
	u = timestamp_to_unix(after);

	if (s->period > 0)
		match = (floor_div(u, s->period) + 1) * s->period;
	else if (s->follow_real)
	{
		if (!next_real(s, u + 1, &match))
			return false;
	}
	else
	{
		int64 minute = floor_div(local_high_water(s->tz, u), SECS_PER_MINUTE) + 1;

		if (!next_local(s, minute, minute + CALENDAR_CYCLE_SECS / SECS_PER_MINUTE, &match))
			return false;
		match = local_reached(s->tz, match * SECS_PER_MINUTE);
	}
	return unix_to_timestamp(match, tick);
}

/*
 * The last tick strictly before an instant.  False if that is infinite, or the
 * tick before the beginning of timestamps.
 */
bool
schedule_prev(const schedule *s, TimestampTz before, TimestampTz *tick)
{
	int64 u;
	int64 match;

	if (TIMESTAMP_NOT_FINITE(before))
		return false;
	u = timestamp_to_unix(before - 1);

	if (s->period > 0)
		match = floor_div(u, s->period) * s->period;
	else if (s->follow_real)
	{
		if (!prev_real(s, u, &match))
			return false;
	}
	else
	{
		int64 minute = floor_div(local_high_water(s->tz, u), SECS_PER_MINUTE);

		if (!prev_local(s, minute, minute - CALENDAR_CYCLE_SECS / SECS_PER_MINUTE, &match))
			return false;
		match = local_reached(s->tz, match * SECS_PER_MINUTE);
	}
	return unix_to_timestamp(match, tick);
}

/* Does cron's pair of day fields accept this day? */
static bool
day_matches(const schedule *s, int dom, int weekday)
{
	bool by_month = (s->days >> dom) & 1;
	bool by_week = (s->weekdays >> weekday) & 1;

	return s->either_day ? (by_month || by_week) : (by_month && by_week);
}

/*
 * The first matching day from day to last, both inclusive, counted from
 * 1970-01-01.
 */
bool
schedule_next_day(const schedule *s, int64 day, int64 last, int64 *match)
{
	int year;
	int month;
	int dom;

	/* before the calendar begins */
	day = Max(day, -UNIX_EPOCH_JDATE);
	if (day > last)
		return false;
	j2date((int) day + UNIX_EPOCH_JDATE, &year, &month, &dom);

	while (day <= last)
	{
		int length;

		if ((s->months >> month) & 1)
		{
			int weekday = j2day((int) day + UNIX_EPOCH_JDATE);

			length = day_tab[isleap(year)][month - 1];
			for (; dom <= length && day <= last; dom++, day++)
			{
				if (day_matches(s, dom, weekday))
				{
					*match = day;
					return true;
				}
				weekday = (weekday + 1) % 7;
			}
		}
		if (++month > MONTHS_PER_YEAR)
		{
			month = 1;
			year++;
		}
		dom = 1;
		day = date2j(year, month, 1) - UNIX_EPOCH_JDATE;
	}
	return false;
}

/*
 * The last matching day from first to day, both inclusive, counted from
 * 1970-01-01.
 */
static bool
prev_day(const schedule *s, int64 day, int64 first, int64 *match)
{
	int year;
	int month;
	int dom;

	/* before the calendar begins */
	first = Max(first, -UNIX_EPOCH_JDATE);
	if (day < first)
		return false;
	j2date((int) day + UNIX_EPOCH_JDATE, &year, &month, &dom);

	while (day >= first)
	{
		int64 first_of_month = day - dom + 1;

		if ((s->months >> month) & 1)
		{
			int weekday = j2day((int) day + UNIX_EPOCH_JDATE);

			for (; dom >= 1 && day >= first; dom--, day--)
			{
				if (day_matches(s, dom, weekday))
				{
					*match = day;
					return true;
				}
				weekday = (weekday + 6) % 7;
			}
		}
		if (--month < 1)
		{
			month = MONTHS_PER_YEAR;
			year--;
		}
		dom = day_tab[isleap(year)][month - 1];
		day = first_of_month - 1;
	}
	return false;
}

/*
 * The first matching local time from minute to last, both inclusive, in local
 * minutes.
 */
static bool
next_local(const schedule *s, int64 minute, int64 last, int64 *match)
{
	int64 day = floor_div(minute, MINS_PER_DAY);
	int hour = (int) (minute - day * MINS_PER_DAY) / MINS_PER_HOUR;
	int min = (int) (minute - day * MINS_PER_DAY) % MINS_PER_HOUR;
	int64 last_day = floor_div(last, MINS_PER_DAY);
	int64 found;

	if (!schedule_next_day(s, day, last_day, &found))
		return false;
	if (found == day)
	{
		uint64 minutes = s->minutes & (~UINT64CONST(0) << min);
		uint64 hours = s->hours & (~UINT64CONST(0) << hour);

		if (((hours >> hour) & 1) && minutes != 0)
		{
			*match = day * MINS_PER_DAY + hour * MINS_PER_HOUR + pg_rightmost_one_pos64(minutes);
			return *match <= last;
		}
		hours &= ~(UINT64CONST(1) << hour);
		if (hours != 0)
		{
			*match = day * MINS_PER_DAY + pg_rightmost_one_pos64(hours) * MINS_PER_HOUR +
					 pg_rightmost_one_pos64(s->minutes);
			return *match <= last;
		}
		if (!schedule_next_day(s, day + 1, last_day, &found))
			return false;
	}
	*match = found * MINS_PER_DAY + pg_rightmost_one_pos64(s->hours) * MINS_PER_HOUR +
			 pg_rightmost_one_pos64(s->minutes);
	return *match <= last;
}

/*
 * The last matching local time from first to minute, both inclusive, in local
 * minutes.
 */
static bool
prev_local(const schedule *s, int64 minute, int64 first, int64 *match)
{
	int64 day = floor_div(minute, MINS_PER_DAY);
	int hour = (int) (minute - day * MINS_PER_DAY) / MINS_PER_HOUR;
	int min = (int) (minute - day * MINS_PER_DAY) % MINS_PER_HOUR;
	int64 first_day = floor_div(first, MINS_PER_DAY);
	int64 found;

	if (!prev_day(s, day, first_day, &found))
		return false;
	if (found == day)
	{
		uint64 minutes = s->minutes & (~UINT64CONST(0) >> (63 - min));
		uint64 hours = s->hours & (~UINT64CONST(0) >> (63 - hour));

		if (((hours >> hour) & 1) && minutes != 0)
		{
			*match = day * MINS_PER_DAY + hour * MINS_PER_HOUR + pg_leftmost_one_pos64(minutes);
			return *match >= first;
		}
		hours &= ~(UINT64CONST(1) << hour);
		if (hours != 0)
		{
			*match = day * MINS_PER_DAY + pg_leftmost_one_pos64(hours) * MINS_PER_HOUR +
					 pg_leftmost_one_pos64(s->minutes);
			return *match >= first;
		}
		if (!prev_day(s, day - 1, first_day, &found))
			return false;
	}
	*match = found * MINS_PER_DAY + pg_leftmost_one_pos64(s->hours) * MINS_PER_HOUR +
			 pg_leftmost_one_pos64(s->minutes);
	return *match >= first;
}

/*
 * The offset in force at an instant, and the instant from which on another
 * segment holds, which may have the same offset.
 */
static int64
zone_offset(pg_tz *tz, int64 u, int64 *end)
{
	pg_time_t t = u;
	pg_time_t boundary;
	long int before;
	long int after;
	int before_isdst;
	int after_isdst;
	int found;

	found = pg_next_dst_boundary(&t, &before, &before_isdst, &boundary, &after, &after_isdst, tz);
	if (found < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	*end = (found > 0) ? boundary : NO_BOUNDARY;
	return before;
}

/*
 * The first instant at which the wall clock has reached or passed a local time.
 */
static int64
local_reached(pg_tz *tz, int64 l)
{
	int64 u = l - ZONE_MARGIN_SECS;

	for (;;)
	{
		int64 end;
		int64 offset = zone_offset(tz, u, &end);

		if (end == NO_BOUNDARY || end + offset > l)
			return Max(u, l - offset);
		u = end;
	}
}

/*
 * The latest local time the wall clock has reached up to an instant.  It is later
 * than what the clock shows only where that went back.
 */
static int64
local_high_water(pg_tz *tz, int64 u)
{
	int64 t = u - ZONE_MARGIN_SECS;
	int64 high = PG_INT64_MIN;

	for (;;)
	{
		int64 end;
		int64 offset = zone_offset(tz, t, &end);

		if (end > u)
			return Max(high, u + offset);
		high = Max(high, end + offset - 1);
		t = end;
	}
}

/*
 * The first instant from u on whose local time matches.
 */
static bool
next_real(const schedule *s, int64 u, int64 *match)
{
	int64 limit = u + CALENDAR_CYCLE_SECS;

	while (u < limit)
	{
		int64 end;
		int64 offset = zone_offset(s->tz, u, &end);
		int64 last = Min(end, limit) - 1;

		if (next_local(s, floor_div(u + offset + SECS_PER_MINUTE - 1, SECS_PER_MINUTE),
					   floor_div(last + offset, SECS_PER_MINUTE), match))
		{
			*match = *match * SECS_PER_MINUTE - offset;
			return true;
		}
		u = last + 1;
	}
	return false;
}

/*
 * The last instant up to u whose local time matches.
 *
 * Zones can only be walked forward: so this looks at windows, the latest first,
 * larger and larger, each from its beginning.
 */
static bool
prev_real(const schedule *s, int64 u, int64 *match)
{
	int64 limit = u - CALENDAR_CYCLE_SECS;
	int64 end_of_window = u + 1;
	int64 width = SECS_PER_DAY;

	while (end_of_window > limit)
	{
		int64 window = end_of_window - width;
		int64 t = window;
		bool found = false;

		while (t < end_of_window)
		{
			int64 end;
			int64 offset = zone_offset(s->tz, t, &end);
			int64 last = Min(end, end_of_window) - 1;
			int64 l;

			if (prev_local(s, floor_div(last + offset, SECS_PER_MINUTE),
						   floor_div(t + offset + SECS_PER_MINUTE - 1, SECS_PER_MINUTE), &l))
			{
				*match = l * SECS_PER_MINUTE - offset;
				found = true;
			}
			t = last + 1;
		}
		if (found)
			return true;
		end_of_window = window;
		width = Min(width * 4, (int64) 366 * SECS_PER_DAY);
	}
	return false;
}

/*
 * The date a wall clock shows at an instant, which must be finite.
 */
DateADT
local_date(pg_tz *tz, TimestampTz instant)
{
	int64 u = timestamp_to_unix(instant);
	int64 end;

	return (DateADT) (floor_div(u + zone_offset(tz, u, &end), SECS_PER_DAY) + UNIX_EPOCH_JDATE -
					  POSTGRES_EPOCH_JDATE);
}

/*
 * The instant at which a wall clock reaches a date, which must be finite: its
 * midnight, the first of two, or the end of the gap that swallowed it.  For a
 * date that was skipped altogether it is the same as that of the next date.
 */
TimestampTz
local_day_start(pg_tz *tz, DateADT date)
{
	int64 l = ((int64) date + POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	TimestampTz result;

	if (!unix_to_timestamp(local_reached(tz, l), &result))
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("date out of range for timestamp")));
	return result;
}

/*
 * The instant from which on a wall clock never again shows a date.  That is the
 * start of the next date, unless the clock goes back over that midnight.
 */
TimestampTz
local_day_last(pg_tz *tz, DateADT date)
{
	TimestampTz last = local_day_start(tz, date + 1);
	int64 l = ((int64) date + 1 + POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	int64 u = timestamp_to_unix(last);
	int64 limit = u + ZONE_MARGIN_SECS;

	while (u < limit)
	{
		int64 end;
		int64 offset = zone_offset(tz, u, &end);

		if (u + offset < l)
		{
			/* it went back: until it arrives again, or jumps over */
			if (!unix_to_timestamp(Min(end, l - offset), &last))
				break;
		}
		u = end;
	}
	return last;
}
