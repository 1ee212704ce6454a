/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  Waking processes by pid, at once or when the transaction commits.
 *
 * A latch set too often costs a loop; one set too seldom costs a timeout.  So a pid that
 * has been reused by another backend does no harm.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"

#include "run/wake.h"

#define MAX_PENDING_WAKES 64

static int pending_wakes[MAX_PENDING_WAKES];
static int pending_wake_count = 0;
static bool callback_registered = false;

PG_FUNCTION_INFO_V1(etl_wake);
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

/* Transaction callback: must not raise, the commit has happened. */
static void
wake_at_commit(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
	{
		for (int i = 0; i < pending_wake_count; i++)
			wake_process(pending_wakes[i]);
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		pending_wake_count = 0;
}

/*
 * Wakes a process when this transaction commits: what it looks at is visible then.
 */
static void
wake_on_commit(int pid)
{
	if (!callback_registered)
	{
		RegisterXactCallback(wake_at_commit, NULL);
		callback_registered = true;
	}
	if (pending_wake_count < MAX_PENDING_WAKES)
		pending_wakes[pending_wake_count++] = pid;
	else
		wake_process(pid); /* too early: its next timeout will do */
}

/* SQL: etl._wake(integer) */
Datum
etl_wake(PG_FUNCTION_ARGS)
{
	wake_on_commit(PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}

/*
 * SQL: etl._wake_coordinator_on_commit().  Whoever coordinates now is looked up here,
 * where raising is allowed; a coordinator that starts later reads the tables anyway.
 */
Datum
etl_wake_coordinator_on_commit(PG_FUNCTION_ARGS)
{
	bool isnull;

	SPI_connect();
	if (SPI_execute("SELECT etl._lock_holder('coordinator', 0)", true, 1) == SPI_OK_SELECT &&
		SPI_processed == 1)
	{
		Datum pid = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		if (!isnull)
			wake_on_commit(DatumGetInt32(pid));
	}
	SPI_finish();
	PG_RETURN_VOID();
}
