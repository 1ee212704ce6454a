/*-------------------------------------------------------------------------
 *
 * schedule_parse.c
 *	  What a schedule may say: five cron fields, a word, or an interval.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "run/schedule_internal.h"

/* what isspace() accepts */
#define BLANKS " \t\n\r\f\v"

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

	if (!schedule_next_day(s, 0, CALENDAR_CYCLE_DAYS, &day))
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
