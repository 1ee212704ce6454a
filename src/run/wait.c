/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  etl.wait: waiting for a run that somebody has queued.
 *
 * Unlike etl_run, whoever waits here has not asked for the run: when the wait ends, the
 * run goes on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "run/caller.h"

/* The first look comes soon, as most runs are short; later ones every CALLER_TICK_MS. */
#define FIRST_LOOK_MS 25

PG_FUNCTION_INFO_V1(etl_wait);

/* What etl._run_status() tells, in the context the caller was in. */
typedef struct run_status
{
	char *state; /* NULL: no such run that the caller may see */
	bool written_here;
	bool is_ready; /* it could go on, if somebody led it */
	bool is_led;
	char *blocked_by; /* NULL: this session does not block it */
} run_status;

static run_status
read_status(int64 run_id)
{
	MemoryContext context = CurrentMemoryContext;
	run_status status = {0};

	pgstat_clear_backend_activity_snapshot(); /* it is kept for the whole transaction */
	SPI_connect();
	query_now("SELECT state, written_here, is_ready, is_led, blocked_by FROM etl._run_status($1)",
			  run_id);
	if (SPI_processed > 0 && result_text(1) != NULL)
	{
		char *blocked_by = result_text(5);

		status.state = MemoryContextStrdup(context, result_text(1));
		status.written_here = strcmp(result_text(2), "t") == 0;
		status.is_ready = strcmp(result_text(3), "t") == 0;
		status.is_led = strcmp(result_text(4), "t") == 0;
		if (blocked_by != NULL)
			status.blocked_by = MemoryContextStrdup(context, blocked_by);
	}
	SPI_finish();
	return status;
}

/* When to give up; DT_NOEND without a timeout. */
static TimestampTz
deadline_of(FunctionCallInfo fcinfo)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz deadline;

	if (PG_ARGISNULL(1))
		return DT_NOEND;
	deadline = DatumGetTimestampTz(
		DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now), PG_GETARG_DATUM(1)));
	if (deadline < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("timeout must not be negative"),
				 errhint("For example etl.wait(17, '10 minutes'); without a timeout it waits "
						 "until the run has ended.")));
	return deadline;
}

static void
check_run(int64 run_id, const run_status *status)
{
	if (status->state == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("run " INT64_FORMAT " does not exist", run_id),
						errhint("etl.runs lists the runs you may see.")));
	if (status->written_here)
		ereport(
			ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg("run " INT64_FORMAT " cannot be waited for in the transaction that queued it",
					run_id),
			 errdetail("It starts when this transaction commits."), errhint("COMMIT first.")));
	if (status->blocked_by != NULL)
		raise_blocked(status->blocked_by);
}

/*
 * SQL: etl.wait(run, timeout).  Returns the state that the run has ended in; 57014 when it
 * has not in time.
 */
Datum
etl_wait(PG_FUNCTION_ARGS)
{
	int64 run_id;
	TimestampTz deadline = deadline_of(fcinfo);
	long pause = FIRST_LOOK_MS;
	int unled = 0;
	int restarts = 0;
	MemoryContext look_context;
	MemoryContext old;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("run must not be null"),
						errhint("For example etl.wait(17); etl.runs lists the runs you may see.")));
	run_id = PG_GETARG_INT64(0);
	look_context = AllocSetContextCreate(CurrentMemoryContext, "etl wait", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(look_context);
	for (;;)
	{
		run_status status = read_status(run_id);
		TimestampTz now = GetCurrentTimestamp();

		check_run(run_id, &status);
		if (strcmp(status.state, "queued") != 0 && strcmp(status.state, "running") != 0)
		{
			MemoryContextSwitchTo(old);
			PG_RETURN_TEXT_P(cstring_to_text(status.state));
		}
		if (now >= deadline)
			ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
							errmsg("run " INT64_FORMAT " has not ended in time", run_id),
							errdetail("Its state is %s; it goes on.", status.state),
							errhint("Wait again, see SELECT * FROM etl.diagnose(" INT64_FORMAT
									"), or SELECT etl.cancel(" INT64_FORMAT ").",
									run_id, run_id)));

		/* for two ticks nobody has led it: whoever did was terminated */
		unled = status.is_ready && !status.is_led && !RecoveryInProgress() ? unled + pause : 0;
		if (unled > 2 * CALLER_TICK_MS && restarts++ < MAX_COORDINATOR_RESTARTS)
		{
			start_coordinator(NULL, DSM_HANDLE_INVALID);
			unled = 0;
		}
		MemoryContextReset(look_context);
		wait_ms(Max(1, Min(pause, TimestampDifferenceMilliseconds(now, deadline))));
		pause = Min(2 * pause, CALLER_TICK_MS);
	}
}
