/*-------------------------------------------------------------------------
 *
 * coordinator.c
 *	  One process for a database with work due: queues runs, hands tasks out, ends.
 *
 * What to do is decided in SQL (sql/run_coordinate.sql); this is the process around it:
 * it submits the request it was started for, takes the coordinator's lock or leaves the
 * work to who has it, starts workers, and waits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/timestamp.h"

#include "call_sql.h"
#include "etl.h"
#include "run/history.h"
#include "run/launch.h"
#include "run/launcher_state.h"
#include "run/locks.h"
#include "run/wake.h"

/* How long at most until it looks whether callers still wait, milliseconds. */
#define COORDINATOR_TICK_MS 500
/* After so many starts that came to nothing, a role's tasks fail. */
#define MAX_FAILED_STARTS 3
/* A look that takes so long is followed by a rest, milliseconds. */
#define DEAR_LOOK_MS 10
#define MAX_REST_MS 100
/* When there is no worker slot, they are asked for with pauses up to this. */
#define MAX_SLOT_PAUSE_MS 8000
/* How often it looks whether intervals are late. */
#define LATENESS_INTERVAL_MS 5000
/* When so many times the runs are active that there were, statements are planned again. */
#define MANY_MORE_RUNS 8
/* After so many failures of its own in a row, it gives up. */
#define MAX_FAILED_WAKES 5

/* A worker that was started and has not shown itself yet. */
typedef struct worker_start
{
	Oid role;
	BackgroundWorkerHandle *handle;
	int64 attempts; /* of the outlook it was started for */
} worker_start;

/* One role with ready tasks, as etl._coordinate() tells. */
typedef struct role_demand
{
	Oid role;
	int ready;
	List *idle_pids;
} role_demand;

/* What one wake found. */
typedef struct outlook
{
	List *demands;	   /* of role_demand * */
	List *worker_pids; /* of all workers of the database */
	int active_runs;
	bool has_deliveries; /* to be made now, or within half a minute */
	int64 attempts;		 /* changes whenever a worker takes a task, and whenever a run ends */
	TimestampTz next_attempt_at; /* 0: none */
	TimestampTz next_due_at;	 /* of schedules and what is to be told; DT_NOEND: none */
	uint64 changes;				 /* noted before it looked */
} outlook;

static MemoryContext wake_context;
static int planned_for_runs = 0;
static List *starts = NIL; /* of worker_start * */
static Oid failing_role = InvalidOid;
static int failed_starts = 0;
static int slot_pause_ms = 0; /* 0: there has been a worker slot */
static TimestampTz no_slots_before = 0;
static int unqueued_looks = 0; /* in a row that left something due, and nothing active */

/* An int4[] column of the last result as a list of integers. */
static List *
pid_list(int row, int column)
{
	List *result = NIL;
	Datum *elements;
	int count;

	if (sql_is_null(row, column))
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(sql_datum(row, column)), INT4OID, 4, true, TYPALIGN_INT,
					  &elements, NULL, &count);
	for (int i = 0; i < count; i++)
		result = lappend_int(result, DatumGetInt32(elements[i]));
	return result;
}

/*
 * Submits a request for its caller and tells it the outcome.  Never raises for what is
 * wrong with the request: that is the caller's to raise.
 */
static void
submit(run_request *request)
{
	MemoryContext context = CurrentMemoryContext;
	Oid types[] = {INT8OID, NAMEOID,		INT4OID,		DATEOID,
				   TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID};
	Datum values[8];
	char nulls[9] = "        ";

	PG_TRY();
	{
		sql_begin();
		values[0] = Int64GetDatum(request->request_id);
		values[1] = NameGetDatum(&request->caller);
		values[2] = Int32GetDatum(request->caller_pid);
		values[3] = Int32GetDatum(request->run_date);
		values[4] = CStringGetTextDatum(request->pipeline);
		values[5] = TimestampTzGetDatum(request->interval_start);
		values[6] = TimestampTzGetDatum(request->interval_end);
		nulls[3] = request->has_date ? ' ' : 'n';
		nulls[4] = request->has_pipeline ? ' ' : 'n';
		nulls[5] = nulls[6] = request->has_interval ? ' ' : 'n';
		values[7] = CStringGetTextDatum(request->reprocess ? "reprocess" : "manual");
		sql_call("SELECT etl._submit($1, $2, $3, $4, $5, $6, $7, $8)", 8, types, values, nulls);
		sql_commit();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		request->failed = true;
		request->sqlerrcode = error->sqlerrcode;
		strlcpy(request->message, error->message ? error->message : "", sizeof(request->message));
		strlcpy(request->detail, error->detail ? error->detail : "", sizeof(request->detail));
		strlcpy(request->hint, error->hint ? error->hint : "", sizeof(request->hint));
		FreeErrorData(error);
	}
	PG_END_TRY();
	pg_write_barrier();
	request->done = true;
	wake_process(request->caller_pid);
}

/* Ends what a coordinator that is gone has left behind. */
static void
repair(void)
{
	sql_begin();
	sql_call("SELECT etl._repair()", 0, NULL, NULL, NULL);
	sql_commit();
}

/* The pid of who holds the coordinator's lock; 0 when nobody does. */
static int
other_coordinator(void)
{
	int pid;

	sql_begin();
	sql_call("SELECT etl._lock_holder('coordinator', 0)", 0, NULL, NULL, NULL);
	pid = (int) sql_bigint(0, 1, 0);
	sql_commit();
	return pid;
}

/*
 * Adds the deliveries of notifications to what workers are wanted for.  In a transaction of
 * its own, and what goes wrong is logged: no run depends on it.  Allocates in wake_context.
 */
static void
add_deliveries(outlook *now)
{
	static TimestampTz judged_at = 0;
	bool judge = TimestampDifferenceExceeds(judged_at, GetCurrentTimestamp(), LATENESS_INTERVAL_MS);

	PG_TRY();
	{
		Oid types[] = {BOOLOID};
		Datum values[] = {BoolGetDatum(judge)};
		MemoryContext old;

		sql_begin();
		old = MemoryContextSwitchTo(wake_context);
		sql_call("SELECT role_oid::bigint, ready, idle_pids FROM etl._delivery_demand($1)", 1,
				 types, values, NULL);
		for (int row = 0; row < SPI_processed; row++)
		{
			role_demand *demand = palloc0(sizeof(role_demand));

			demand->role = (Oid) sql_bigint(row, 1, 0);
			demand->ready = (int) sql_bigint(row, 2, 0);
			demand->idle_pids = pid_list(row, 3);
			now->demands = lappend(now->demands, demand);
		}
		/* later ones are for who is started in time; without a launcher, nobody is */
		values[0] = BoolGetDatum(!launcher_exists());
		sql_call("SELECT etl._has_deliveries($1), etl._next_notification_at()", 1, types, values,
				 NULL);
		now->has_deliveries = DatumGetBool(sql_datum(0, 1));
		if (!sql_is_null(0, 2))
			now->next_due_at = Min(now->next_due_at, DatumGetTimestampTz(sql_datum(0, 2)));
		MemoryContextSwitchTo(old);
		sql_commit();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(TopMemoryContext);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		now->has_deliveries = false;
	}
	PG_END_TRY();
	if (judge)
		judged_at = GetCurrentTimestamp();
}

/*
 * One wake: lets the SQL side decide, in one transaction, and reads what it wants.  The
 * result lives in wake_context.
 */
static outlook *
coordinate(void)
{
	outlook *result;
	MemoryContext old;
	uint64 changes = launcher_changes();

	MemoryContextReset(wake_context);
	sql_begin();
	old = MemoryContextSwitchTo(wake_context);
	result = palloc0(sizeof(outlook));
	result->changes = changes;
	if (launcher_exists() && etl_schedules)
		sql_call("SELECT etl._queue_due_runs()", 0, NULL, NULL, NULL);
	sql_call("SELECT role_oid::bigint, ready, idle_pids FROM etl._coordinate()", 0, NULL, NULL,
			 NULL);
	for (int row = 0; row < SPI_processed; row++)
	{
		role_demand *demand = palloc0(sizeof(role_demand));

		demand->role = (Oid) sql_bigint(row, 1, 0);
		demand->ready = (int) sql_bigint(row, 2, 0);
		demand->idle_pids = pid_list(row, 3);
		result->demands = lappend(result->demands, demand);
	}
	sql_call("SELECT active_runs, next_attempt_at, worker_pids, attempts, next_due_at FROM "
			 "etl._coordinator_outlook()",
			 0, NULL, NULL, NULL);
	result->active_runs = (int) sql_bigint(0, 1, 0);
	if (!sql_is_null(0, 2))
		result->next_attempt_at = DatumGetTimestampTz(sql_datum(0, 2));
	result->worker_pids = pid_list(0, 3);
	result->attempts = sql_bigint(0, 4, 0);
	result->next_due_at =
		!etl_schedules || sql_is_null(0, 5) ? DT_NOEND : DatumGetTimestampTz(sql_datum(0, 5));
	MemoryContextSwitchTo(old);
	sql_commit();
	/* plans for tables that were nearly empty read all of one for each row of another */
	if (result->active_runs > MANY_MORE_RUNS * Max(planned_for_runs, 1))
	{
		ResetPlanCache();
		planned_for_runs = result->active_runs;
	}
	return result;
}

/* Fails the ready tasks of a role for which no worker starts. */
static void
fail_ready_tasks(Oid role, const char *message, const char *hint)
{
	Oid types[] = {OIDOID, TEXTOID, TEXTOID};
	Datum values[3];

	sql_begin();
	values[0] = ObjectIdGetDatum(role);
	values[1] = CStringGetTextDatum(message);
	values[2] = CStringGetTextDatum(hint);
	sql_call("SELECT etl._fail_ready_tasks($1, $2, $3)", 3, types, values, NULL);
	sql_call("SELECT etl._postpone_deliveries($1, $2)", 2, types, values, NULL);
	sql_commit();
	SetLatch(MyLatch); /* the runs they belong to have ended */
}

/*
 * Forgets starts that have shown themselves, and counts those that came to nothing.
 * Returns how many of a role are still on their way.
 */
static int
pending_starts(const outlook *now, Oid role)
{
	int pending = 0;
	List *remaining = NIL;
	ListCell *cell;

	foreach (cell, starts)
	{
		worker_start *start = lfirst(cell);
		pid_t pid;
		BgwHandleStatus status = GetBackgroundWorkerPid(start->handle, &pid);

		if (status == BGWH_STARTED && list_member_int(now->worker_pids, (int) pid))
		{
			if (start->role == failing_role)
				failing_role = InvalidOid;
		}
		else if (status == BGWH_STOPPED)
		{
			/* it may have come, worked and gone between two looks: did anybody take a task since?
			 */
			if (now->attempts != start->attempts)
				failing_role = InvalidOid;
			else
			{
				failed_starts = start->role == failing_role ? failed_starts + 1 : 1;
				failing_role = start->role;
			}
		}
		else
		{
			if (start->role == role)
				pending++;
			remaining = lappend(remaining, start);
			continue;
		}
		pfree(start->handle);
		pfree(start);
	}
	list_free(starts);
	starts = remaining;
	return pending;
}

/*
 * Wakes idle workers and starts new ones, as many as there are ready tasks and room.
 */
static void
supply_workers(const outlook *now)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	ListCell *cell;
	int workers = list_length(now->worker_pids) + list_length(starts);

	foreach (cell, now->demands)
	{
		role_demand *demand = lfirst(cell);
		int missing = demand->ready - pending_starts(now, demand->role);
		ListCell *idle;

		if (failing_role == demand->role && failed_starts >= MAX_FAILED_STARTS)
		{
			failed_starts = 0;
			fail_ready_tasks(demand->role, "no worker could be started as the pipeline's owner",
							 "The server log says why: the role may lack LOGIN or CONNECT, or a "
							 "connection limit may be reached.");
			continue;
		}
		foreach (idle, demand->idle_pids)
		{
			if (missing-- > 0)
				wake_process(lfirst_int(idle));
		}
		if (slot_pause_ms > 0 && GetCurrentTimestamp() < no_slots_before)
			continue;
		for (; missing > 0 && workers < etl_max_workers; missing--, workers++)
		{
			worker_start *start = palloc0(sizeof(worker_start));

			start->role = demand->role;
			start->attempts = now->attempts;
			if (!launch_worker(demand->role, &start->handle))
			{
				pfree(start);
				if (slot_pause_ms == 0)
					ereport(LOG, (errmsg("etl: no free background worker slot, runs wait"),
								  errhint("Increase max_worker_processes.")));
				slot_pause_ms = Min(Max(slot_pause_ms * 2, COORDINATOR_TICK_MS), MAX_SLOT_PAUSE_MS);
				no_slots_before = GetCurrentTimestamp() + slot_pause_ms * INT64CONST(1000);
				MemoryContextSwitchTo(old);
				return;
			}
			slot_pause_ms = 0;
			starts = lappend(starts, start);
		}
	}
	MemoryContextSwitchTo(old);
}

/*
 * Waits for the next wake: a latch, the next attempt, or the tick.  A look at many active
 * runs is dear, and each task that ends sets the latch: the coordinator leaves as much time
 * to others as its last look took.  Workers that are at it need none to go on.
 */
static void
wait_for_work(const outlook *now, long look_ms)
{
	long timeout = COORDINATOR_TICK_MS;

	if (look_ms >= DEAR_LOOK_MS)
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(look_ms, MAX_REST_MS),
						 PG_WAIT_EXTENSION);

	if (now->next_attempt_at != 0)
	{
		long until =
			TimestampDifferenceMilliseconds(GetCurrentTimestamp(), now->next_attempt_at) + 1;

		timeout = Min(timeout, Max(until, 10));
	}
	if (now->next_due_at < DT_NOEND)
	{
		/* what is due and not queued has to wait for something else */
		long until = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), now->next_due_at);

		timeout = until > 0 ? Min(timeout, until) : timeout;
	}
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * Takes the coordinator's lock, if it is to be had, and the wakes that are meant for who
 * has it.
 */
static bool
lead(void)
{
	if (!etl_lock(ETL_LOCK_COORDINATOR, 0, ExclusiveLock))
		return false;
	launcher_lead();
	return true;
}

/*
 * Gives the lead back, as nothing is active.  Returns false, with the lead, when something
 * has come up since.
 */
static bool
end_lead(const outlook *now)
{
	TimestampTz next_due_at = now->next_due_at;
	bool ends;

	if (next_due_at > GetCurrentTimestamp())
		unqueued_looks = 0;
	else if (unqueued_looks++ < 2)
		return false; /* it has just become due */
	else
		/* its state is locked by somebody: his commit tells, but his rollback does not */
		next_due_at = GetCurrentTimestamp() + USECS_PER_SEC;
	if (!launcher_end(now->changes, next_due_at))
		return false;
	etl_unlock(ETL_LOCK_COORDINATOR, 0, ExclusiveLock);
	/* a run queued by who saw the lock taken */
	sql_begin();
	sql_call("SELECT active_runs FROM etl._coordinator_outlook()", 0, NULL, NULL, NULL);
	ends = sql_bigint(0, 1, 0) == 0 || !lead();
	sql_commit();
	return ends;
}

/*
 * Whether to wait for what is due next instead of coming again for it.  Without a launcher
 * nobody would come, nor is anything fired.
 */
static bool
soon_due(const outlook *now)
{
	TimestampTz from = GetCurrentTimestamp();

	return launcher_exists() && now->next_due_at > from &&
		   now->next_due_at - from <= etl_worker_linger_ms * INT64CONST(1000);
}

/*
 * Works until no run is active.  Holds the coordinator's lock on entry; a run queued
 * while it decides to end is seen by the second look, after the lock is given back.
 */
static void
coordinate_until_idle(void)
{
	volatile int failed_wakes = 0;

	for (;;)
	{
		outlook *volatile now = NULL;
		volatile TimestampTz began = 0;

		PG_TRY();
		{
			began = GetCurrentTimestamp();
			now = coordinate();
			add_deliveries(now);
			supply_workers(now);
			failed_wakes = 0;
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(TopMemoryContext);
			EmitErrorReport();
			FlushErrorState();
			AbortOutOfAnyTransaction();
			if (++failed_wakes >= MAX_FAILED_WAKES)
				ereport(FATAL, (errmsg("etl: the coordinator gives up after %d failures in a row",
									   failed_wakes)));
			now = NULL;
		}
		PG_END_TRY();
		if (now != NULL && now->active_runs == 0 && !now->has_deliveries && !soon_due(now))
		{
			if (history_prune_while_idle() && end_lead(now))
				return;
			continue;
		}
		if (now == NULL)
		{
			now = MemoryContextAllocZero(wake_context, sizeof(outlook));
		}
		wait_for_work(now, TimestampDifferenceMilliseconds(began, GetCurrentTimestamp()));
		history_prune_a_bit();
	}
}

/* Waits until a transaction has ended; what it asked for is visible then, or is not to be. */
static void
wait_for_transaction(TransactionId transaction)
{
	StartTransactionCommand();
	XactLockTableWait(transaction, NULL, NULL, XLTW_None);
	CommitTransactionCommand();
}

/* Whether the extension is in this database: the launcher asks every one. */
static bool
is_installed(void)
{
	bool installed;

	StartTransactionCommand();
	installed = OidIsValid(get_extension_oid("etl", true));
	CommitTransactionCommand();
	return installed;
}

/*
 * The process.  Connects as the bootstrap superuser: it runs nothing but the extension's
 * own bookkeeping.
 */
void
etl_coordinator_main(Datum argument)
{
	launch_parameters parameters;
	bool leads;

	memcpy(&parameters, MyBgworkerEntry->bgw_extra, sizeof(parameters));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(parameters.database, InvalidOid, 0);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("TimeZone", "UTC", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("DateStyle", "ISO, MDY", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("application_name", "etl coordinator", PGC_USERSET, PGC_S_SESSION);
	/* DROP EXTENSION and its like win against it: it tries again */
	SetConfigOption("deadlock_timeout", "250ms", PGC_SUSET, PGC_S_SESSION);
	wake_context = AllocSetContextCreate(TopMemoryContext, "etl wake", ALLOCSET_DEFAULT_SIZES);

	if (TransactionIdIsValid(parameters.after))
		wait_for_transaction(parameters.after);
	if (parameters.by_launcher)
	{
		uint64 changes = launcher_changes();

		/* if it has just been created, that is a change, and the launcher sends another */
		if (!is_installed())
		{
			if (!launcher_end(changes, DT_NOEND))
				launcher_yield();
			proc_exit(0);
		}
	}

	/*
	 * Whoever leads cleans up first: what a crash has left active would pass for an interval
	 * that is already running.  Others wait until that is done before they submit.
	 */
	etl_lock_wait(ETL_LOCK_REPAIR, 0, ExclusiveLock);
	leads = lead();
	if (leads)
		repair();
	etl_unlock(ETL_LOCK_REPAIR, 0, ExclusiveLock);
	if (parameters.request != DSM_HANDLE_INVALID)
	{
		dsm_segment *segment = dsm_attach(parameters.request);

		if (segment == NULL)
			proc_exit(0); /* the caller is gone already */
		submit((run_request *) dsm_segment_address(segment));
		dsm_detach(segment);
	}
	if (!leads && !lead())
	{
		launcher_yield();
		wake_process(other_coordinator());
		proc_exit(0);
	}
	coordinate_until_idle();
	proc_exit(0);
}
