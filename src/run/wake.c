/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  Waking processes by pid, at once or when the transaction commits.
 *
 * A latch set too often costs a loop; one set too seldom costs a timeout.  So a pid that
 * has been reused by another backend does no harm.
 *
 * And having somebody come who does what this transaction asks for: with a launcher, it is
 * told at commit.  Without one a coordinator is registered just before the commit, where
 * raising is still allowed, and waits for the transaction to end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"

#include "run/launch.h"
#include "run/launcher_state.h"
#include "run/wake.h"

#define MAX_PENDING_WAKES 64
/* Databases other than one's own that one transaction changes: more are looked at, all. */
#define MAX_CHANGED_DATABASES 8

static int pending_wakes[MAX_PENDING_WAKES];
static int pending_wake_count = 0;
static bool callback_registered = false;
static bool needs_coordinator = false;
static bool databases_changed = false;
static Oid changed_databases[MAX_CHANGED_DATABASES];
static int changed_database_count = 0;

PG_FUNCTION_INFO_V1(etl_wake);
PG_FUNCTION_INFO_V1(etl_wake_scheduler_on_commit);
PG_FUNCTION_INFO_V1(etl_launcher_exists);
PG_FUNCTION_INFO_V1(etl_wake_coordinator_on_commit);

/*
 * Sets the latch of a process of this server; nothing happens when there is none.
 */
void
wake_process(int pid)
{
	PGPROC *proc = pid > 0 ? BackendPidGetProc(pid) : NULL;

	if (proc != NULL)
		SetLatch(&proc->procLatch);
}

/*
 * Without a launcher: has a coordinator come that waits for this transaction.  Whether one
 * is at work already does not matter: it may end before the commit.
 */
static void
start_coordinator_at_commit(void)
{
	if (launch_coordinator_after(GetTopTransactionIdIfAny()))
		return;
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no free background worker slot for the etl coordinator"),
			 errdetail("What was asked for is kept, but nobody begins with it now."),
			 errhint("Increase max_worker_processes. The next call of etl_run goes on with it.")));
}

/*
 * Transaction callback.  After the commit it must not raise, whatever happens.
 */
static void
wake_at_commit(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (needs_coordinator && !launcher_exists() && !IsBinaryUpgrade)
				start_coordinator_at_commit();
			return;
		case XACT_EVENT_COMMIT:
			for (int i = 0; i < pending_wake_count; i++)
				wake_process(pending_wakes[i]);
			for (int i = 0; i < changed_database_count; i++)
				launcher_note_change(changed_databases[i]);
			if (needs_coordinator)
				launcher_note_change(MyDatabaseId);
			if (databases_changed)
				launcher_note_databases();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			break;
		default:
			return;
	}
	pending_wake_count = changed_database_count = 0;
	needs_coordinator = databases_changed = false;
}

static void
register_callback(void)
{
	if (!callback_registered)
	{
		RegisterXactCallback(wake_at_commit, NULL);
		callback_registered = true;
	}
}

/*
 * Wakes a process when this transaction commits: what it looks at is visible then.
 */
static void
wake_on_commit(int pid)
{
	register_callback();
	if (pending_wake_count < MAX_PENDING_WAKES)
		pending_wakes[pending_wake_count++] = pid;
	else
		wake_process(pid); /* too early: its next timeout will do */
}

/*
 * When this transaction commits, somebody looks at what is to do in a database.
 */
void
coordinate_on_commit(Oid database)
{
	register_callback();
	if (database == MyDatabaseId)
		needs_coordinator = true;
	else if (changed_database_count < MAX_CHANGED_DATABASES)
		changed_databases[changed_database_count++] = database;
	else
		databases_changed = true;
}

/*
 * When this transaction commits, the launcher looks which databases there are.
 */
void
list_databases_on_commit(void)
{
	register_callback();
	databases_changed = true;
}

/* SQL: etl._wake(integer) */
Datum
etl_wake(PG_FUNCTION_ARGS)
{
	wake_on_commit(PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}

/*
 * SQL: etl._wake_coordinator_on_commit().  What this transaction asks for is begun when
 * it commits, preloaded or not.
 */
Datum
etl_wake_coordinator_on_commit(PG_FUNCTION_ARGS)
{
	coordinate_on_commit(MyDatabaseId);
	PG_RETURN_VOID();
}

/*
 * SQL: etl._wake_scheduler_on_commit().  The launcher learns the next due time anew when
 * this transaction commits; without one, nothing.
 */
Datum
etl_wake_scheduler_on_commit(PG_FUNCTION_ARGS)
{
	if (launcher_exists())
		coordinate_on_commit(MyDatabaseId);
	PG_RETURN_VOID();
}

/*
 * SQL: etl._launcher_exists()
 */
Datum
etl_launcher_exists(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(launcher_exists());
}
