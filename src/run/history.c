/*-------------------------------------------------------------------------
 *
 * history.c
 *	  Settings of history and what is told of it; the coordinator's part of pruning it.
 *
 * What is pruned is decided in SQL (sql/prune_history.sql), a small transaction at a time:
 * as many as there are to make when no run is active, and now and then one while runs are,
 * for databases that are never idle.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "call_sql.h"
#include "run/history.h"

/* How often a coordinator that is busy prunes a bit. */
#define BUSY_INTERVAL_MS 60000

static const struct config_enum_entry notify_values[] = {
	{"all", 0, false}, {"runs", 1, false}, {"off", 2, false}, {"on", 0, true}, {NULL, 0, false}};

static int notify = 0;
static int keep_history = 0;
static int keep_runs = 0;
static int keep_quarantine = 0;
static int statistics_days = 0;

/* The pipeline to go on after, in TopMemoryContext; NULL: from the first. */
static char *position = NULL;
static TimestampTz last_busy_step = 0;

/*
 * Defines the settings; called once per process.  They are read in SQL, by their names.
 */
void
history_define_settings(void)
{
	DefineCustomEnumVariable(
		"etl.notify", "Sets which changes of state are told on channel etl by NOTIFY.",
		"All, those of runs, or none.", &notify, 0, notify_values, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"etl.keep_history", "Sets how long runs and what is about them are kept.",
		"-1 for ever. A pipeline's own keep_history goes before it.", &keep_history, 400 * 24 * 60,
		-1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL, NULL);
	DefineCustomIntVariable("etl.keep_runs", "Sets how many runs of each pipeline are kept.",
							"-1 for all. A pipeline's own keep_runs goes before it.", &keep_runs,
							10000, -1, INT_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("etl.keep_quarantine",
							"Sets how long quarantined records are kept that are not replayed.",
							"-1 for ever.", &keep_quarantine, 1200 * 24 * 60, -1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL, NULL);
	DefineCustomIntVariable("etl.statistics_days",
							"Sets how many days etl.pipeline_statistics looks back.", NULL,
							&statistics_days, 30, 1, 1826, PGC_USERSET, 0, NULL, NULL, NULL);
}

/*
 * Prunes a bit; false when there is nothing more to prune for now.  What goes wrong
 * is logged: no run depends on it.
 */
static bool
prune_step(void)
{
	Oid types[] = {TEXTOID};
	Datum values[1];
	char nulls[2] = " ";
	char *reached;
	volatile bool more = false;

	PG_TRY();
	{
		sql_begin();
		values[0] = position != NULL ? CStringGetTextDatum(position) : (Datum) 0;
		nulls[0] = position != NULL ? ' ' : 'n';
		sql_call("SELECT etl._prune_step($1)", 1, types, values, nulls);
		reached = sql_text(0, 1);
		if (position != NULL)
			pfree(position);
		position = reached != NULL ? MemoryContextStrdup(TopMemoryContext, reached) : NULL;
		more = position != NULL;
		sql_commit();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(TopMemoryContext);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		more = false;
	}
	PG_END_TRY();
	return more;
}

/*
 * Prunes a bit now and then, while runs are active.
 */
void
history_prune_a_bit(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (last_busy_step == 0)
		last_busy_step = now;
	if (TimestampDifferenceExceeds(last_busy_step, now, BUSY_INTERVAL_MS))
	{
		(void) prune_step();
		last_busy_step = GetCurrentTimestamp();
	}
}

/*
 * Prunes all there is to prune; returns false as soon as somebody wakes this process.
 */
bool
history_prune_while_idle(void)
{
	while (prune_step())
	{
		int events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 0,
							   PG_WAIT_EXTENSION);

		CHECK_FOR_INTERRUPTS();
		if (events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			return false;
		}
	}
	return true;
}
