/*-------------------------------------------------------------------------
 *
 * schedule_due.c
 *	  Which data intervals of a schedule are due, and which one is next.
 *
 * A tick ends an interval that the tick before it began.  The interval is due at the tick,
 * or later by a share of "jitter" that the pipeline's name and the tick decide: the same
 * whenever it is asked for, and never beyond the next tick, so that intervals stay in order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "run/schedule.h"

PG_FUNCTION_INFO_V1(etl_next_interval);
PG_FUNCTION_INFO_V1(etl_due_intervals);

/* A pipeline's schedule with all that bounds it. */
typedef struct firing
{
	schedule *schedule;
	uint64 seed;	   /* of its jitter */
	TimestampTz after; /* ticks up to this one are done with */
	TimestampTz first; /* the first tick that may begin an interval; DT_NOBEGIN: any */
	TimestampTz last;  /* no interval ends after it; DT_NOEND: it goes on */
	int64 jitter;	   /* microseconds, at most */
} firing;

/* One interval. */
typedef struct due_interval
{
	TimestampTz start;
	TimestampTz end;
	TimestampTz due;
} due_interval;

/*
 * Reads pipeline, schedule, timezone, after, start_date, end_date, jitter: the first seven
 * arguments of both functions, of which the dates may be NULL.
 */
static firing
read_firing(FunctionCallInfo fcinfo)
{
	text *pipeline = PG_GETARG_TEXT_PP(0);
	Interval *jitter = PG_GETARG_INTERVAL_P(6);
	firing f = {.first = DT_NOBEGIN, .last = DT_NOEND};

	f.schedule = schedule_parse(text_to_cstring(PG_GETARG_TEXT_PP(1)),
								text_to_cstring(PG_GETARG_TEXT_PP(2)));
	f.seed = DatumGetUInt64(
		hash_any_extended((unsigned char *) VARDATA_ANY(pipeline), VARSIZE_ANY_EXHDR(pipeline), 0));
	f.after = PG_GETARG_TIMESTAMPTZ(3);
	if (!PG_ARGISNULL(4) && !schedule_next(f.schedule, PG_GETARG_TIMESTAMPTZ(4) - 1, &f.first))
		f.first = DT_NOEND;
	if (!PG_ARGISNULL(5))
		f.last = PG_GETARG_TIMESTAMPTZ(5);
	f.jitter =
		jitter->time + (jitter->day + (int64) jitter->month * DAYS_PER_MONTH) * USECS_PER_DAY;
	return f;
}

/* When the interval that a tick ends is due. */
static TimestampTz
due_at(const firing *f, TimestampTz tick)
{
	TimestampTz next;
	int64 most = f->jitter;
	uint64 hash;

	if (most <= 0)
		return tick;
	if (schedule_next(f->schedule, tick, &next))
		most = Min(most, next - tick - 1);
	hash = DatumGetUInt64(hash_any_extended((unsigned char *) &tick, sizeof(tick), f->seed));
	return tick + (int64) ((hash >> 11) / (double) (UINT64CONST(1) << 53) * most);
}

/* The interval that a tick ends; false where timestamps begin. */
static bool
interval_of(const firing *f, TimestampTz tick, due_interval *result)
{
	if (!schedule_prev(f->schedule, tick, &result->start))
		return false;
	result->end = tick;
	result->due = due_at(f, tick);
	return true;
}

/* The first interval that ends after an instant and is within the dates. */
static bool
next_interval(const firing *f, TimestampTz after, due_interval *result)
{
	TimestampTz tick;

	return schedule_next(f->schedule, Max(after, f->first), &tick) && tick <= f->last &&
		   interval_of(f, tick, result);
}

/* The last interval that is due by now and within the dates. */
static bool
last_due_interval(const firing *f, TimestampTz now, due_interval *result)
{
	TimestampTz tick;

	if (!schedule_prev(f->schedule, Min(now, f->last) + 1, &tick))
		return false;
	if (due_at(f, tick) > now && !schedule_prev(f->schedule, tick, &tick))
		return false;
	return tick > f->after && interval_of(f, tick, result) && result->start >= f->first;
}

static void
put_interval(ReturnSetInfo *rsinfo, const due_interval *interval)
{
	Datum values[] = {TimestampTzGetDatum(interval->start), TimestampTzGetDatum(interval->end),
					  TimestampTzGetDatum(interval->due)};
	bool nulls[] = {false, false, false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Whether one of the first "count" arguments but the dates is NULL. */
static bool
has_null(FunctionCallInfo fcinfo, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (i != 4 && i != 5 && PG_ARGISNULL(i))
			return true;
	}
	return false;
}

/*
 * SQL: etl._next_interval(pipeline, schedule, timezone, after, start_date, end_date,
 * jitter).  The first interval that ends after an instant; no row if there is none.
 */
Datum
etl_next_interval(PG_FUNCTION_ARGS)
{
	due_interval interval;

	InitMaterializedSRF(fcinfo, 0);
	if (!has_null(fcinfo, 7))
	{
		firing f = read_firing(fcinfo);

		if (next_interval(&f, f.after, &interval))
			put_interval((ReturnSetInfo *) fcinfo->resultinfo, &interval);
	}
	return (Datum) 0;
}

/*
 * SQL: etl._due_intervals(…, now, catchup, most).  The intervals that end after an instant
 * and are due: the last one, or with catchup the first "most" of all.
 */
Datum
etl_due_intervals(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now;
	due_interval interval;
	firing f;

	InitMaterializedSRF(fcinfo, 0);
	if (has_null(fcinfo, 10))
		return (Datum) 0;
	f = read_firing(fcinfo);
	now = PG_GETARG_TIMESTAMPTZ(7);
	if (!PG_GETARG_BOOL(8))
	{
		if (last_due_interval(&f, now, &interval))
			put_interval(rsinfo, &interval);
		return (Datum) 0;
	}
	for (int left = PG_GETARG_INT32(9);
		 left > 0 && next_interval(&f, f.after, &interval) && interval.due <= now; left--)
	{
		put_interval(rsinfo, &interval);
		f.after = interval.end;
		CHECK_FOR_INTERRUPTS();
	}
	return (Datum) 0;
}
