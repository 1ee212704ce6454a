/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The process that knows when something is due, and has a coordinator started then.
 *
 * It is connected to no database.  For each one it knows from shared memory when the next
 * run is due; a coordinator left that when it ended, and one is started to find it out at
 * the launcher's start and after each change.  In between the launcher sleeps until the
 * next due time, to the microsecond, and nothing is connected to any database.
 *
 * The postmaster starts it again when it ends with another code than 0, as it always
 * does.  It keeps nothing that the next one could not find out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/sinval.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "etl.h"
#include "run/alarm.h"
#include "run/launch.h"
#include "run/launcher_state.h"

/* How many databases are looked into at a time. */
#define MAX_LOOKS 4
/* Pauses after a coordinator that failed, and when there is no worker slot: each time twice as
 * long. */
#define FIRST_PAUSE_SECS 1
#define MAX_FAILURE_PAUSE_SECS 300
#define MAX_SLOT_PAUSE_SECS 30
/* A coordinator is started so long before something is due: that is what its start takes. */
#define AHEAD_MS 100
/* That there is none is not mentioned again before, seconds. */
#define SLOTS_MENTION_SECS 600

/* What the launcher remembers about a slot. */
typedef struct started_coordinator
{
	Oid database;
	BackgroundWorkerHandle *handle; /* NULL: none is under way */
	uint64 reports;					/* of the slot, when it was started */
	int pause;						/* seconds; 0: the last one did well */
	TimestampTz not_before;
} started_coordinator;

static started_coordinator *started;
static int slot_pause = 0;
static TimestampTz no_slots_before = 0;
static TimestampTz slots_mentioned_at = 0;
static char *clock_text = NULL;

/* The next longer pause. */
static int
longer(int pause, int most)
{
	return pause == 0 ? FIRST_PAUSE_SECS : Min(pause * 2, most);
}

/*
 * Reads pg_database: slots for those one can connect to, none for others.
 */
static void
list_databases(void)
{
	Oid *databases = NULL;
	int count = 0;
	int allocated = 64;
	int missing;
	MemoryContext context = CurrentMemoryContext;
	Relation relation;
	TableScanDesc scan;
	HeapTuple tuple;

	databases = palloc(allocated * sizeof(Oid));
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		/* a limit below -1 marks one whose DROP was interrupted */
		if (form->datistemplate || !form->datallowconn || form->datconnlimit < -1)
			continue;
		if (count == allocated)
		{
			allocated *= 2;
			databases = repalloc(databases, allocated * sizeof(Oid));
		}
		databases[count++] = form->oid;
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	missing = launcher_keep_databases(databases, count);
	pfree(databases);
	if (missing > 0)
		ereport(LOG, (errmsg("etl: no slot for %d of %d databases: their schedules do not fire",
							 missing, count),
					  errhint("Increase etl.max_databases and restart the server.")));
}

/* The clock that schedules go by, if it is not the system's; "" otherwise. */
static const char *
clock_setting(void)
{
	const char *text = GetConfigOption("etl.clock", true, false);

	return text ? text : "";
}

/*
 * Interrupts, changed settings, and what the server wants of every process.
 */
static void
attend(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		bool fired = etl_schedules;

		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		if (strcmp(clock_text, clock_setting()) != 0 || fired != etl_schedules)
		{
			pfree(clock_text);
			clock_text = MemoryContextStrdup(TopMemoryContext, clock_setting());
			launcher_look_again();
		}
	}
	/* else it would be asked again and again to catch up with invalidations */
	if (catchupInterruptPending)
		ProcessCatchupInterrupt();
}

/* Forgets a coordinator that has ended; one that left no report is followed by a pause. */
static void
notice_end(started_coordinator *own, const database_status *status, TimestampTz now)
{
	pid_t pid;

	if (GetBackgroundWorkerPid(own->handle, &pid) != BGWH_STOPPED)
		return;
	pfree(own->handle);
	own->handle = NULL;
	if (status->reports != own->reports)
		own->pause = 0;
	else
		own->pause = longer(own->pause, MAX_FAILURE_PAUSE_SECS);
	own->not_before = now + own->pause * USECS_PER_SEC;
}

/* Starts a coordinator, or says that there is no worker slot, once. */
static void
start(started_coordinator *own, const database_status *status, TimestampTz now)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	own->reports = status->reports;
	if (launch_coordinator_of(status->database, &own->handle))
		slot_pause = 0;
	else
	{
		own->handle = NULL;
		if (TimestampDifferenceExceeds(slots_mentioned_at, now, SLOTS_MENTION_SECS * 1000))
		{
			slots_mentioned_at = now;
			ereport(LOG, (errmsg("etl: no free background worker slot, runs wait"),
						  errhint("Increase max_worker_processes.")));
		}
		slot_pause = longer(slot_pause, MAX_SLOT_PAUSE_SECS);
		no_slots_before = now + slot_pause * USECS_PER_SEC;
	}
	MemoryContextSwitchTo(old);
}

/*
 * Starts coordinators where something is due or has changed.  Returns when to look again;
 * the end of a coordinator sets the latch.
 */
static TimestampTz
start_coordinators(TimestampTz now)
{
	TimestampTz wake_at = DT_NOEND;
	int under_way = 0;
	int led = 0;

	for (int i = 0; i < launcher_max_databases; i++)
	{
		database_status status = launcher_status(i);

		if (OidIsValid(status.database) && status.led)
			led++;
		else if (started[i].handle != NULL)
			under_way++;
	}
	for (int i = 0; i < launcher_max_databases; i++)
	{
		database_status status = launcher_status(i);
		started_coordinator *own = &started[i];
		TimestampTz at;

		if (own->handle != NULL)
			notice_end(own, &status, now);
		if (!OidIsValid(status.database))
			continue;
		if (status.database != own->database)
		{
			if (own->handle != NULL)
				continue; /* of a database that is gone, on its way out */
			memset(own, 0, sizeof(started_coordinator));
			own->database = status.database;
		}
		if (status.led || own->handle != NULL)
			continue;
		at = status.changes != status.seen ? now : status.next_due;
		/* who comes too early for something waits for it as long as workers linger */
		if (at > now && at < DT_NOEND && etl_worker_linger_ms >= 2 * AHEAD_MS)
			at -= AHEAD_MS * INT64CONST(1000);
		if (own->pause > 0)
			at = Max(at, own->not_before);
		if (slot_pause > 0)
			at = Max(at, no_slots_before);
		if (at > now)
			wake_at = Min(wake_at, at);
		/* leave workers a chance: coordinators alone get nothing done */
		else if (under_way < MAX_LOOKS && led + under_way <= max_worker_processes / 2)
		{
			start(own, &status, now);
			if (own->handle != NULL)
				under_way++;
			else
				wake_at = Min(wake_at, no_slots_before);
		}
	}
	return wake_at;
}

/*
 * The process.
 */
void
etl_launcher_main(Datum argument)
{
	int delay;
	TimestampTz first_start;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	/* shared catalogs only */
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("etl launcher");
	started = MemoryContextAllocZero(TopMemoryContext, launcher_max_databases * sizeof(*started));
	clock_text = MemoryContextStrdup(TopMemoryContext, clock_setting());
	alarm_init();
	delay = launcher_attach();
	first_start = GetCurrentTimestamp() + delay * USECS_PER_SEC;
	if (delay > 0)
		ereport(LOG, (errmsg("etl: the server has crashed right after its start, "
							 "the launcher waits %d s",
							 delay)));
	pgstat_report_activity(STATE_IDLE, NULL);

	for (;;)
	{
		TimestampTz now;
		TimestampTz wake_at = first_start;
		bool databases_changed;

		attend();
		now = GetCurrentTimestamp();
		if (now >= first_start)
		{
			first_start = 0;
			if (launcher_take_news(&databases_changed) || databases_changed)
				list_databases();
			wake_at = start_coordinators(now);
		}
		alarm_wait(wake_at);
		ResetLatch(MyLatch);
	}
}
