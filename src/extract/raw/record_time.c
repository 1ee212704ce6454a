/*-------------------------------------------------------------------------
 *
 * record_time.c
 *	  A value of a record as a point in time, without ever raising.
 *
 * What is not a time is an answer like any other here: one record of many, whose fault it
 * is and nobody else's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "compat.h"

/* Numbers beyond it are milliseconds since 1970, those up to it seconds: it is year 5138. */
#define LARGEST_EPOCH_SECONDS 1e11

PG_FUNCTION_INFO_V1(etl_record_time);

/*
 * Text as timestamptz_in reads it; false for one that it would refuse, and for one whose
 * time depends on when it is read, such as "tomorrow".
 */
static bool
time_of_text(const char *text, TimestampTz *result)
{
	/* ParseDateTime has made them lower case */
	static const char *const relative[] = {"now", "today", "tomorrow", "yesterday"};
	char buffer[MAXDATELEN + MAXDATEFIELDS];
	char *fields[MAXDATEFIELDS];
	int types[MAXDATEFIELDS];
	int field_count;
	int type;
	int timezone;
	struct pg_tm tm;
	fsec_t fraction;

	if (ParseDateTime(text, buffer, sizeof(buffer), fields, types, MAXDATEFIELDS, &field_count) !=
			0 ||
		etl_decode_datetime(fields, types, field_count, &type, &tm, &fraction, &timezone) != 0 ||
		type != DTK_DATE)
		return false;
	for (int i = 0; i < field_count; i++)
	{
		for (int j = 0; types[i] == DTK_STRING && j < lengthof(relative); j++)
		{
			if (strcmp(fields[i], relative[j]) == 0)
				return false;
		}
	}
	return tm2timestamp(&tm, fraction, &timezone, result) == 0;
}

/* A number as seconds or milliseconds since 1970; false for one that is no time. */
static bool
time_of_number(Numeric number, TimestampTz *result)
{
	double seconds =
		DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(number)));

	if (isnan(seconds))
		return false;
	if (fabs(seconds) > LARGEST_EPOCH_SECONDS)
		seconds /= 1000;
	if (fabs(seconds) > LARGEST_EPOCH_SECONDS)
		return false;
	*result = (TimestampTz) rint(
		(seconds - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (double) SECS_PER_DAY) *
		USECS_PER_SEC);
	return true;
}

/*
 * SQL: etl._record_time(jsonb).  A string as timestamptz reads it, a number as seconds or
 * milliseconds since 1970; NULL for anything else.
 */
Datum
etl_record_time(PG_FUNCTION_ARGS)
{
	Jsonb *document = PG_GETARG_JSONB_P(0);
	JsonbValue value;
	TimestampTz result;
	bool found = false;

	if (JB_ROOT_IS_SCALAR(document) && JsonbExtractScalar(&document->root, &value))
	{
		if (value.type == jbvString)
			found = time_of_text(pnstrdup(value.val.string.val, value.val.string.len), &result);
		else if (value.type == jbvNumeric)
			found = time_of_number(value.val.numeric, &result);
	}
	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(result);
}
