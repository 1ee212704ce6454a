/*-------------------------------------------------------------------------
 *
 * format_time.c
 *	  Dates, times and durations as RFC 3339 writes them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "schema/formats.h"

static bool digits(const char *text, int count, int *out);
static bool parts_in_order(const char **text, const char *end, const char *units, int *count);

/*
 * Reads exactly count digits.
 */
static bool
digits(const char *text, int count, int *out)
{
	*out = 0;
	for (int i = 0; i < count; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		*out = *out * 10 + (text[i] - '0');
	}
	return true;
}

bool
format_is_date(const char *text, int length)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int year;
	int month;
	int day;
	bool leap;

	if (length != 10 || text[4] != '-' || text[7] != '-' || !digits(text, 4, &year) ||
		!digits(text + 5, 2, &month) || !digits(text + 8, 2, &day))
		return false;
	leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return month >= 1 && month <= 12 && day >= 1 &&
		   day <= days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/*
 * A time of day with its offset.  A second 60 is a leap second only at 23:59 UTC.
 */
bool
format_is_time(const char *text, int length)
{
	const char *end = text + length;
	int hour;
	int minute;
	int second;
	int offset = 0;

	if (length < 9 || text[2] != ':' || text[5] != ':' || !digits(text, 2, &hour) ||
		!digits(text + 3, 2, &minute) || !digits(text + 6, 2, &second))
		return false;
	text += 8;
	if (*text == '.')
	{
		const char *start = ++text;

		while (text < end && *text >= '0' && *text <= '9')
			text++;
		if (text == start || text == end)
			return false;
	}
	if (*text == 'Z' || *text == 'z')
	{
		if (text + 1 != end)
			return false;
	}
	else
	{
		int offset_hour;
		int offset_minute;

		if ((*text != '+' && *text != '-') || end - text != 6 || text[3] != ':' ||
			!digits(text + 1, 2, &offset_hour) || !digits(text + 4, 2, &offset_minute) ||
			offset_hour > 23 || offset_minute > 59)
			return false;
		offset = (offset_hour * 60 + offset_minute) * (*text == '-' ? -1 : 1);
	}
	if (hour > 23 || minute > 59 || second > 60)
		return false;
	return second < 60 || (hour * 60 + minute - offset + 2 * 1440) % 1440 == 23 * 60 + 59;
}

bool
format_is_date_time(const char *text, int length)
{
	return length > 11 && (text[10] == 'T' || text[10] == 't') && format_is_date(text, 10) &&
		   format_is_time(text + 11, length - 11);
}

/*
 * Reads numbers, each with one of the units, which come in order and without a gap.
 */
static bool
parts_in_order(const char **text, const char *end, const char *units, int *count)
{
	const char *c = *text;
	const char *last = NULL;

	*count = 0;
	while (c < end && *c >= '0' && *c <= '9')
	{
		const char *unit;

		while (c < end && *c >= '0' && *c <= '9')
			c++;
		if (c == end || (unit = strchr(units, *c)) == NULL || (last != NULL && unit != last + 1))
			return false;
		last = unit;
		c++;
		(*count)++;
	}
	*text = c;
	return true;
}

/*
 * ISO 8601 durations in the grammar of RFC 3339, appendix A.
 */
bool
format_is_duration(const char *text, int length)
{
	const char *end = text + length;
	int date_parts = 0;
	int time_parts = 0;

	if (length < 3 || *text++ != 'P')
		return false;
	if (end[-1] == 'W')
	{
		for (; text < end - 1; text++)
		{
			if (*text < '0' || *text > '9')
				return false;
		}
		return true;
	}
	if (!parts_in_order(&text, end, "YMD", &date_parts))
		return false;
	if (text < end && *text == 'T')
	{
		text++;
		if (!parts_in_order(&text, end, "HMS", &time_parts) || time_parts == 0)
			return false;
	}
	return text == end && date_parts + time_parts > 0;
}
