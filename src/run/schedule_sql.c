/*-------------------------------------------------------------------------
 *
 * schedule_sql.c
 *	  What SQL can ask about schedules.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "run/schedule.h"

PG_FUNCTION_INFO_V1(etl_schedule_ticks);
PG_FUNCTION_INFO_V1(etl_next_ticks);
PG_FUNCTION_INFO_V1(etl_schedule_intervals);
PG_FUNCTION_INFO_V1(etl_check_schedule);

/* Where a walk over ticks has got to. */
typedef struct tick_walk
{
	schedule *schedule;
	TimestampTz after; /* the next tick to return is after this */
	TimestampTz until; /* and before this, unless it is infinite */
	int64 left;		   /* ticks still to return */
	bool refuse_more;  /* a further tick is an error, not the end */
	int max_ticks;
} tick_walk;

/*
 * Return the next tick of a walk, or its end.
 */
static Datum
return_tick(FunctionCallInfo fcinfo)
{
	FuncCallContext *funcctx = SRF_PERCALL_SETUP();
	tick_walk *walk = funcctx->user_fctx;
	TimestampTz tick;

	if (walk->left <= 0 && !walk->refuse_more)
		SRF_RETURN_DONE(funcctx);
	if (!schedule_next(walk->schedule, walk->after, &tick) || tick >= walk->until)
		SRF_RETURN_DONE(funcctx);
	if (walk->left <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the schedule has more than %d ticks in this range", walk->max_ticks),
				 errhint("Give a shorter range or a larger \"max_ticks\", or ask "
						 "etl.next_ticks() for the first ones.")));
	walk->left--;
	walk->after = tick;
	SRF_RETURN_NEXT(funcctx, TimestampTzGetDatum(tick));
}

/*
 * Refuse an infinite timestamp as the value of a parameter.
 */
static void
require_finite(const char *parameter, TimestampTz value)
{
	if (TIMESTAMP_NOT_FINITE(value))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" must be finite", parameter)));
}

/*
 * etl.schedule_ticks(schedule, timezone, since, until, max_ticks): the ticks from
 * since on and before until; more than max_ticks are an error, for a list that
 * is cut short looks like a whole one.
 */
Datum
etl_schedule_ticks(PG_FUNCTION_ARGS)
{
	if (SRF_IS_FIRSTCALL())
	{
		FuncCallContext *funcctx = SRF_FIRSTCALL_INIT();
		MemoryContext oldcontext = MemoryContextSwitchTo(funcctx->multi_call_memory_ctx);
		tick_walk *walk = palloc0(sizeof(tick_walk));
		TimestampTz since = PG_GETARG_TIMESTAMPTZ(2);

		walk->schedule = schedule_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)),
										text_to_cstring(PG_GETARG_TEXT_PP(1)));
		walk->until = PG_GETARG_TIMESTAMPTZ(3);
		walk->max_ticks = PG_GETARG_INT32(4);
		require_finite("since", since);
		require_finite("until", walk->until);
		if (walk->max_ticks < 1)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("\"max_ticks\" must be at least 1")));
		walk->after = since - 1;
		walk->left = walk->max_ticks;
		walk->refuse_more = true;
		funcctx->user_fctx = walk;
		MemoryContextSwitchTo(oldcontext);
	}
	return return_tick(fcinfo);
}

/*
 * etl.next_ticks(schedule, timezone, after, n): the first n ticks strictly after
 * an instant; fewer only where timestamps end.
 */
Datum
etl_next_ticks(PG_FUNCTION_ARGS)
{
	if (SRF_IS_FIRSTCALL())
	{
		FuncCallContext *funcctx = SRF_FIRSTCALL_INIT();
		MemoryContext oldcontext = MemoryContextSwitchTo(funcctx->multi_call_memory_ctx);
		tick_walk *walk = palloc0(sizeof(tick_walk));

		walk->schedule = schedule_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)),
										text_to_cstring(PG_GETARG_TEXT_PP(1)));
		walk->after = PG_GETARG_TIMESTAMPTZ(2);
		walk->until = DT_NOEND;
		walk->left = PG_GETARG_INT32(3);
		require_finite("after", walk->after);
		if (walk->left < 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("\"n\" must not be negative")));
		funcctx->user_fctx = walk;
		MemoryContextSwitchTo(oldcontext);
	}
	return return_tick(fcinfo);
}

/*
 * etl.schedule_intervals(schedule, timezone, run_date): the data intervals, from
 * tick to next tick, that start on a date of the time zone.  Without a schedule
 * that is the day itself, unless the zone skipped it.  No rows if the zone or the
 * date is NULL.
 */
Datum
etl_schedule_intervals(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[2];
	bool nulls[2] = {false, false};
	char *timezone;
	DateADT date;
	schedule *s;
	pg_tz *tz;
	TimestampTz start;
	TimestampTz last;
	TimestampTz next;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return (Datum) 0;
	timezone = text_to_cstring(PG_GETARG_TEXT_PP(1));
	date = PG_GETARG_DATEADT(2);
	if (DATE_NOT_FINITE(date))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" must be finite", "run_date")));

	if (PG_ARGISNULL(0))
	{
		tz = timezone_by_name(timezone);
		start = local_day_start(tz, date);
		next = local_day_start(tz, date + 1);
		values[0] = TimestampTzGetDatum(start);
		values[1] = TimestampTzGetDatum(next);
		if (start < next)
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		return (Datum) 0;
	}

	s = schedule_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), timezone);
	tz = schedule_timezone(s);
	last = local_day_last(tz, date);
	if (!schedule_next(s, local_day_start(tz, date) - 1, &start))
		return (Datum) 0;
	while (start < last && schedule_next(s, start, &next))
	{
		/* where the clock goes back over midnight, the days are interleaved */
		if (local_date(tz, start) == date)
		{
			values[0] = TimestampTzGetDatum(start);
			values[1] = TimestampTzGetDatum(next);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
		start = next;
		CHECK_FOR_INTERRUPTS();
	}
	return (Datum) 0;
}

/*
 * etl.check_schedule(schedule, timezone): raise what is wrong with them, if
 * anything is.
 */
Datum
etl_check_schedule(PG_FUNCTION_ARGS)
{
	pfree(schedule_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)),
						 text_to_cstring(PG_GETARG_TEXT_PP(1))));
	PG_RETURN_VOID();
}
