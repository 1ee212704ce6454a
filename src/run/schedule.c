/*-------------------------------------------------------------------------
 *
 * schedule.c
 *	  Schedules: parsing, and walking from tick to tick.
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

#include <ctype.h>

#include "pgtime.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "run/schedule.h"

#define SECS_EPOCH_SHIFT ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

/* Days of the week and leap years repeat exactly after this many days, 400 years. */
#define CALENDAR_CYCLE_DAYS 146097
#define CALENDAR_CYCLE_SECS ((int64) CALENDAR_CYCLE_DAYS * SECS_PER_DAY)

/* More than any zone's offset, and than any time a clock that went back needs to catch up. */
#define ZONE_MARGIN_SECS ((int64) 8 * SECS_PER_DAY)

#define MINS_PER_DAY (MINS_PER_HOUR * HOURS_PER_DAY)

#define NO_BOUNDARY PG_INT64_MAX

/* what isspace() accepts */
#define BLANKS " \t\n\r\f\v"

struct schedule
{
	pg_tz *tz;
	int64 period;	  /* seconds between ticks; 0 for cron, and then: */
	uint64 minutes;	  /* bits 0-59 */
	uint64 hours;	  /* bits 0-23 */
	uint64 days;	  /* of the month, bits 1-31 */
	uint64 months;	  /* bits 1-12 */
	uint64 weekdays;  /* bits 0-6, 0 is Sunday */
	bool either_day;  /* days and weekdays both restricted: one is enough */
	bool follow_real; /* minute or hour begins with '*' */
};

typedef struct cron_field
{
	const char *name;
	int low;
	int high;
	int first_name; /* value of names[0] */
	const char *const *names;
	const char *hint;
} cron_field;

typedef enum cron_field_no
{
	FIELD_MINUTE,
	FIELD_HOUR,
	FIELD_DAY,
	FIELD_MONTH,
	FIELD_WEEKDAY,
	CRON_FIELDS
} cron_field_no;

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
										  "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

#define FIELD_HINT(values)                                                                         \
	"Allowed are *, " values ", ranges such as 2-5, steps such as */2 or 2-10/2, and lists of "    \
	"these separated by commas."

static const cron_field cron_fields[CRON_FIELDS] = {
	[FIELD_MINUTE] = {"minute", 0, 59, 0, NULL, FIELD_HINT("0 to 59")},
	[FIELD_HOUR] = {"hour", 0, 23, 0, NULL, FIELD_HINT("0 to 23")},
	[FIELD_DAY] = {"day of month", 1, 31, 0, NULL, FIELD_HINT("1 to 31")},
	[FIELD_MONTH] = {"month", 1, 12, 1, month_names, FIELD_HINT("1 to 12 or jan to dec")},
	[FIELD_WEEKDAY] = {"day of week", 0, 7, 0, weekday_names,
					   FIELD_HINT("0 to 7 (0 and 7 are Sunday) or sun to sat")},
};

static const struct
{
	const char *word;
	const char *cron;
} cron_words[] = {
	{"@hourly", "0 * * * *"},	{"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
	{"@weekly", "0 0 * * 0"},	{"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
};

#define SCHEDULE_HINT                                                                              \
	"A schedule is five cron fields (minute, hour, day of month, month, day of week), one of "     \
	"@hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually, or an interval of at "     \
	"least one second such as \"15 minutes\"."

static void parse_cron(schedule *s, const char *text, char **fields, int nfields);
static uint64 parse_field(const char *text, const cron_field *field, const char *value);
static int parse_value(const char *text, const cron_field *field, const char *item, char *value,
					   char **end);
static void parse_interval(schedule *s, const char *text);
static bool interval_is_plain(const char *text);
static bool looks_like_cron(const char *text, char **tokens, int ntokens);
static void invalid_schedule(const char *text, const char *detail, const char *hint);

static bool day_matches(const schedule *s, int dom, int weekday);
static bool next_day(const schedule *s, int64 day, int64 last, int64 *match);
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

/*
 * Raise "invalid schedule".  The detail is taken as it is, already translated and
 * formatted; so is the hint, which may be NULL for the one about schedules in
 * general.
 */
static void
invalid_schedule(const char *text, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid schedule \"%s\"", text),
			 errdetail_internal("%s", detail), errhint("%s", hint ? hint : SCHEDULE_HINT)));
}

/*
 * Read a schedule.  The time zone must exist even where it does not matter.
 * Everything that is wrong is raised here, so a schedule that was parsed has
 * ticks for as long as timestamps last.
 */
schedule *
schedule_parse(const char *text, const char *timezone)
{
	schedule *s = palloc0(sizeof(schedule));
	const char *cron = text;
	char *copy;
	char *token;
	char *rest;
	char *tokens[CRON_FIELDS + 1];
	int ntokens = 0;

	s->tz = timezone_by_name(timezone);

	while (isspace((unsigned char) *cron))
		cron++;
	if (cron[0] == '@' && isalpha((unsigned char) cron[1]))
	{
		size_t length = strcspn(cron, BLANKS);
		const char *expansion = NULL;

		for (int i = 0; i < (int) lengthof(cron_words); i++)
			if (strlen(cron_words[i].word) == length &&
				pg_strncasecmp(cron_words[i].word, cron, length) == 0)
				expansion = cron_words[i].cron;
		if (expansion == NULL || cron[length + strspn(cron + length, BLANKS)] != '\0')
			invalid_schedule(text, psprintf(_("There is no word \"%s\"."), cron), NULL);
		cron = expansion;
	}

	copy = pstrdup(cron);
	for (token = strtok_r(copy, BLANKS, &rest); token != NULL;
		 token = strtok_r(NULL, BLANKS, &rest))
	{
		if (ntokens < (int) lengthof(tokens))
			tokens[ntokens] = token;
		ntokens++;
	}

	if (ntokens == 0)
		invalid_schedule(text, pstrdup(_("It is empty.")), NULL);
	if (looks_like_cron(cron, tokens, Min(ntokens, (int) lengthof(tokens))))
		parse_cron(s, text, tokens, ntokens);
	else
		parse_interval(s, text);
	pfree(copy);
	return s;
}

/*
 * Does the text mean to be cron, so that errors should speak about fields?
 * No interval has a '*', and none begins with two bare numbers.
 */
static bool
looks_like_cron(const char *text, char **tokens, int ntokens)
{
	static const char *const signs = "0123456789,-/";

	if (strpbrk(text, "*?") != NULL)
		return true;
	return ntokens >= 2 && strspn(tokens[0], signs) == strlen(tokens[0]) &&
		   strspn(tokens[1], signs) == strlen(tokens[1]);
}

/*
 * Fill in a schedule from cron fields, of which only the first six are given.
 */
static void
parse_cron(schedule *s, const char *text, char **fields, int nfields)
{
	uint64 bits[CRON_FIELDS];
	bool star[CRON_FIELDS];
	int64 day;

	if (nfields != CRON_FIELDS)
		invalid_schedule(text,
						 psprintf(ngettext("It has %d field; cron has five.",
										   "It has %d fields; cron has five.", nfields),
								  nfields),
						 NULL);

	for (int i = 0; i < CRON_FIELDS; i++)
	{
		star[i] = (fields[i][0] == '*');
		bits[i] = parse_field(text, &cron_fields[i], fields[i]);
	}

	s->minutes = bits[FIELD_MINUTE];
	s->hours = bits[FIELD_HOUR];
	s->days = bits[FIELD_DAY];
	s->months = bits[FIELD_MONTH];
	s->weekdays = (bits[FIELD_WEEKDAY] | bits[FIELD_WEEKDAY] >> 7) & 0x7f;
	s->either_day = !star[FIELD_DAY] && !star[FIELD_WEEKDAY];
	s->follow_real = star[FIELD_MINUTE] || star[FIELD_HOUR];

	if (!next_day(s, 0, CALENDAR_CYCLE_DAYS, &day))
		invalid_schedule(text,
						 psprintf(_("It never fires: no year has a day with day of month \"%s\", "
									"month \"%s\" and day of week \"%s\"."),
								  fields[FIELD_DAY], fields[FIELD_MONTH], fields[FIELD_WEEKDAY]),
						 pstrdup(_("Choose days that at least one of the months has.")));
}

/*
 * The set of values of one cron field, as bits.
 */
static uint64
parse_field(const char *text, const cron_field *field, const char *value)
{
	char *copy = pstrdup(value);
	uint64 bits = 0;
	char *item = copy;

	for (;;)
	{
		char *comma = strchr(item, ',');
		char *end = item;
		int low;
		int high;
		int step = 1;
		bool range = true;

		if (comma)
			*comma = '\0';
		if (*item == '\0')
			invalid_schedule(text,
							 psprintf(_("Field \"%s\" is \"%s\": a list has an empty element."),
									  field->name, value),
							 field->hint);

		if (*item == '*')
		{
			low = field->low;
			high = (field == &cron_fields[FIELD_WEEKDAY]) ? 6 : field->high;
			end = item + 1;
		}
		else
		{
			low = high = parse_value(text, field, item, item, &end);
			range = (*end == '-');
			if (range)
				high = parse_value(text, field, item, end + 1, &end);
			/* Sunday ends a week as well as it begins one: sat-sun */
			if (range && field == &cron_fields[FIELD_WEEKDAY] && high == 0 && low > 0)
				high = 7;
			if (high < low)
				invalid_schedule(text,
								 psprintf(_("Field \"%s\" has \"%s\": a range must not end before "
											"it begins."),
										  field->name, item),
								 field->hint);
		}

		if (*end == '/')
		{
			char *digits = end + 1;
			int width = (field == &cron_fields[FIELD_WEEKDAY]) ? 7 : field->high - field->low + 1;

			if (!range)
				invalid_schedule(text,
								 psprintf(_("Field \"%s\" has \"%s\": a step follows * or a "
											"range, not a single value."),
										  field->name, item),
								 field->hint);
			end = digits + strspn(digits, "0123456789");
			step = (end == digits || end - digits > 4) ? 0 : atoi(digits);
			if (*end == '\0' && (step < 1 || step > width))
				invalid_schedule(
					text,
					psprintf(_("Field \"%s\" has \"%s\": a step must be between 1 and %d."),
							 field->name, item, width),
					psprintf(_("%s A schedule that does not fit a clock can be an interval, such "
							   "as \"90 minutes\"."),
							 field->hint));
		}
		if (*end != '\0')
			invalid_schedule(text,
							 psprintf(_("Field \"%s\" has \"%s\": \"%s\" is not understood."),
									  field->name, item, end),
							 field->hint);

		for (int i = low; i <= high; i += step)
			bits |= UINT64CONST(1) << i;

		if (comma == NULL)
			break;
		item = comma + 1;
	}
	pfree(copy);
	return bits;
}

/*
 * One number or name of a field, checked against its bounds; *end is what
 * follows it.  Errors name the item of the list it is part of.
 */
static int
parse_value(const char *text, const cron_field *field, const char *item, char *value, char **end)
{
	size_t length = strspn(value, "0123456789");

	if (length > 0)
	{
		int number = (length > 4) ? -1 : atoi(value);

		*end = value + length;
		if (number < field->low || number > field->high)
			invalid_schedule(text,
							 psprintf(_("Field \"%s\" has \"%.*s\": a value must be between %d "
										"and %d."),
									  field->name, (int) length, value, field->low, field->high),
							 field->hint);
		return number;
	}

	length = strcspn(value, "-/");
	for (int i = 0; field->names && field->names[i]; i++)
	{
		if (length == strlen(field->names[i]) &&
			pg_strncasecmp(value, field->names[i], length) == 0)
		{
			*end = value + length;
			return field->first_name + i;
		}
	}
	invalid_schedule(
		text, psprintf(_("Field \"%s\" has \"%s\", which is not understood."), field->name, item),
		field->hint);
	return 0; /* not reached */
}

/*
 * Fill in a schedule from an interval.  A day is 24 hours.
 *
 * This is interval_in() without its own errors: they would not say what a
 * schedule can be.
 */
static void
parse_interval(schedule *s, const char *text)
{
	struct pg_itm_in itm;
	Interval span;
	char workbuf[256];
	char *fields[MAXDATEFIELDS];
	int ftypes[MAXDATEFIELDS];
	int nfields;
	int dtype = 0;
	int error;

	memset(&itm, 0, sizeof(itm));
	error = ParseDateTime(text, workbuf, sizeof(workbuf), fields, ftypes, MAXDATEFIELDS, &nfields);
	if (error == 0)
		error = DecodeInterval(fields, ftypes, nfields, INTERVAL_FULL_RANGE, &dtype, &itm);
	if (error == DTERR_BAD_FORMAT)
	{
		char *copy = pstrdup(text);

		error = DecodeISO8601Interval(copy, &dtype, &itm);
		pfree(copy);
	}
	if (error != 0 || dtype != DTK_DELTA || itmin2interval(&itm, &span) != 0)
		invalid_schedule(
			text, pstrdup(_("It is neither cron, nor one of the words, nor an interval.")), NULL);

	if (span.month != 0)
		invalid_schedule(
			text, pstrdup(_("Months and years differ in length.")),
			pstrdup(_("Use cron for them, such as \"0 0 1 * *\" (monthly) or \"@yearly\".")));
	if (span.time % USECS_PER_SEC != 0)
		invalid_schedule(text, pstrdup(_("An interval must be a whole number of seconds.")), NULL);
	s->period = (int64) span.day * SECS_PER_DAY + span.time / USECS_PER_SEC;
	if (s->period < 1)
		invalid_schedule(text, pstrdup(_("An interval must be at least one second.")), NULL);
	if (!interval_is_plain(text))
		invalid_schedule(
			text, pstrdup(_("In an interval each number needs a unit, and each unit a number.")),
			NULL);
}

/*
 * Is an interval made of numbers with units, times with colons, or in ISO 8601
 * form?  The type itself is more lenient, and by version: to it "15" is 15
 * seconds, and "mon 5" may be 5.
 */
static bool
interval_is_plain(const char *text)
{
	const char *c = text + strspn(text, BLANKS "@");

	if (*c == 'P')
		return true;
	while (*c != '\0')
	{
		bool has_unit = false;

		c += strspn(c, "+-");
		if (!isdigit((unsigned char) *c))
			return false;
		for (; isdigit((unsigned char) *c) || *c == '.' || *c == ':'; c++)
		{
			if (*c == ':' && !isdigit((unsigned char) c[1]))
				return false;
			has_unit |= (*c == ':');
		}
		if (!has_unit)
		{
			c += strspn(c, BLANKS);
			if (!isalpha((unsigned char) *c))
				return false;
			while (isalpha((unsigned char) *c))
				c++;
		}
		c += strspn(c, BLANKS);
	}
	return true;
}

/*
 * A time zone by its name in pg_timezone_names or a POSIX specification, as the
 * setting "timezone" accepts; error if there is none.
 *
 * Abbreviations such as CEST are fixed offsets under a misleading name and
 * refused.  So is a name of the IANA kind that is not in the database but would
 * pass as POSIX: "Europe/Berlin2" is a typing error, not two hours behind
 * Greenwich.
 */
pg_tz *
timezone_by_name(const char *name)
{
	pg_tz *tz = (name[0] == '\0') ? NULL : pg_tzset(name);

	if (tz != NULL && name[strcspn(name, "/0123456789,<+-")] == '/')
	{
		/* found names come back as the database spells them, POSIX in upper case */
		const char *c = pg_get_timezone_name(tz);

		while (*c != '\0' && !islower((unsigned char) *c))
			c++;
		if (*c == '\0')
			tz = NULL;
	}
	if (tz == NULL || !pg_tz_acceptable(tz))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unrecognized time zone \"%s\"", name),
						errhint("The view pg_timezone_names lists the names.")));
	return tz;
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
static bool
next_day(const schedule *s, int64 day, int64 last, int64 *match)
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

	if (!next_day(s, day, last_day, &found))
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
		if (!next_day(s, day + 1, last_day, &found))
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
