/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  A worker: connected as the owner of pipelines, does their tasks one after another.
 *
 * It takes a task, counts the attempt, does the work, reports, and looks for the next.
 * An error of a task ends the attempt, not the worker.  It runs as the role it is
 * connected as and never changes it, so that whatever a view's function does, it does
 * with the owner's rights.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "call_sql.h"
#include "compat.h"
#include "etl.h"
#include "extract/extract.h"
#include "progress.h"
#include "run/call.h"
#include "run/launch.h"
#include "run/launcher_state.h"
#include "run/locks.h"
#include "run/notification.h"
#include "run/publish.h"
#include "run/wake.h"

/* A task as claimed. */
typedef struct claimed_task
{
	int64 task_run_id;
	int attempt;
	bool is_extract;
	bool is_own_call; /* a procedure that may commit */
} claimed_task;

static MemoryContext task_context;

/* How long a list of tasks is good for: what is more urgent may have come since. */
#define CANDIDATES_GOOD_MS 50

/* Tasks that were ready when they were last looked for, and are not tried yet. */
static int64 *candidates = NULL;
static int candidate_count = 0;
static int next_candidate = 0;
static TimestampTz candidates_since = 0;

/* Looks for tasks.  What comes of it is tried one by one, so that not each task costs a look. */
static void
look_for_tasks(void)
{
	sql_begin();
	sql_call("SELECT task_run_id FROM etl._next_tasks()", 0, NULL, NULL, NULL);
	if (candidates != NULL)
		pfree(candidates);
	candidates = MemoryContextAlloc(TopMemoryContext, Max(SPI_processed, 1) * sizeof(int64));
	candidate_count = (int) SPI_processed;
	next_candidate = 0;
	for (int row = 0; row < candidate_count; row++)
		candidates[row] = sql_bigint(row, 1, 0);
	sql_commit();
	candidates_since = GetCurrentTimestamp();
}

/*
 * Claims a task, if it is still to be had.  The attempt's lock is taken before the claim
 * commits.
 */
static bool
claim_candidate(int64 id, claimed_task *task)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	char subject[256];

	if (!etl_lock(ETL_LOCK_ATTEMPT, id, ExclusiveLock))
		return false; /* another worker is at it */
	sql_begin();
	sql_call("SELECT attempt, kind, pipeline, task, run_date::text, is_own_call FROM "
			 "etl._claim($1)",
			 1, types, values, NULL);
	if (sql_is_null(0, 1))
	{
		sql_commit();
		etl_unlock(ETL_LOCK_ATTEMPT, id, ExclusiveLock);
		return false;
	}
	task->task_run_id = id;
	task->attempt = (int) sql_bigint(0, 1, 0);
	task->is_extract = strcmp(sql_text(0, 2), "extract") == 0;
	task->is_own_call = DatumGetBool(sql_datum(0, 6));
	snprintf(subject, sizeof(subject), "%s %s %s", sql_text(0, 3), sql_text(0, 5), sql_text(0, 4));
	sql_commit();
	progress_set_subject(subject);
	progress_report("attempt %d begins", task->attempt);
	return true;
}

/*
 * Takes a task: one of those it knows of, or of those that a new look finds.  Returns false
 * when there is none.
 */
static bool
claim(claimed_task *task)
{
	bool is_new = false;

	if (TimestampDifferenceExceeds(candidates_since, GetCurrentTimestamp(), CANDIDATES_GOOD_MS))
		next_candidate = candidate_count;
	for (;;)
	{
		while (next_candidate < candidate_count)
		{
			if (claim_candidate(candidates[next_candidate++], task))
				return true;
		}
		if (is_new)
			return false;
		look_for_tasks();
		is_new = true;
	}
}

/*
 * Tells the catalog that the attempt failed.  Raises when even that fails; then the
 * attempt's lock is gone with the worker and the coordinator ends it.
 */
static void
report_failure(const claimed_task *task, const ErrorData *error)
{
	Oid types[] = {INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID};
	Datum values[7];
	char nulls[8] = "       ";

	sql_begin();
	values[0] = Int64GetDatum(task->task_run_id);
	values[1] = Int32GetDatum(task->attempt);
	values[2] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
	values[3] = CStringGetTextDatum(error->message ? error->message : "unknown error");
	values[4] = CStringGetTextDatum(error->detail ? error->detail : "");
	values[5] = CStringGetTextDatum(error->hint ? error->hint : "");
	nulls[4] = error->detail ? ' ' : 'n';
	nulls[5] = error->hint ? ' ' : 'n';
	values[6] = evidence_as_jsonb();
	sql_call("SELECT etl._fail_attempt($1, $2, $3, $4, $5, $6, $7)", 7, types, values, nulls);
	sql_commit();
}

/*
 * Does one claimed task.  Errors end the attempt and are reported; only FATAL, and a
 * failure to report, get out of here.
 */
static void
work_on(const claimed_task *task)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		if (task->is_extract)
			extract_run(task->task_run_id, task->attempt, task_context);
		else if (task->is_own_call)
			call_run(task->task_run_id, task->attempt, task_context);
		else
			publish_run(task->task_run_id, task->attempt);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(task_context);
		error = CopyErrorData();
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	if (error != NULL)
	{
		/* a second cancel must not undo the report of the first */
		HOLD_INTERRUPTS();
		progress_report("failed: %s", error->message ? error->message : "unknown error");
		report_failure(task, error);
		QueryCancelPending = false;
		RESUME_INTERRUPTS();
	}
	QueryCancelPending = false; /* too late: the task has ended */
	etl_unlock(ETL_LOCK_ATTEMPT, task->task_run_id, ExclusiveLock);
}

/*
 * Wakes the coordinator: a task has ended.  When it was terminated, and with it whoever
 * would have started another, this worker is the last to know of the run: it does.
 */
static void
wake_coordinator(void)
{
	int pid;

	if (launcher_wake_coordinator())
		return;
	sql_begin();
	sql_call("SELECT etl._lock_holder('coordinator', 0)", 0, NULL, NULL, NULL);
	pid = (int) sql_bigint(0, 1, 0);
	sql_commit();
	if (pid != 0)
		wake_process(pid);
	else
	{
		BackgroundWorkerHandle *handle;

		if (launch_coordinator(DSM_HANDLE_INVALID, &handle))
			pfree(handle);
	}
}

/* Waits for a task; returns false when none came while it lingered. */
static bool
linger(TimestampTz since)
{
	long left =
		etl_worker_linger_ms - TimestampDifferenceMilliseconds(since, GetCurrentTimestamp());

	if (left <= 0)
		return false;
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	QueryCancelPending = false; /* meant for a task that has ended */
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	return true;
}

/* Settings that results must not depend on, whatever the role's own are. */
static void
pin_settings(void)
{
	static const char *const pinned[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"TimeZone", "UTC"},
		{"DateStyle", "ISO, MDY"},
		{"IntervalStyle", "postgres"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"row_security", "on"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"client_min_messages", "warning"},
		{"application_name", "etl worker"},
	};

	for (int i = 0; i < lengthof(pinned); i++)
		SetConfigOption(pinned[i][0], pinned[i][1], PGC_USERSET, PGC_S_SESSION);
}

/*
 * The process.  Connects as the role it was started for.
 */
void
etl_worker_main(Datum argument)
{
	launch_parameters parameters;
	TimestampTz idle_since;

	memcpy(&parameters, MyBgworkerEntry->bgw_extra, sizeof(parameters));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(parameters.database, parameters.role,
											  ETL_WORKER_CONNECTION_FLAGS);
	pin_settings();
	task_context = AllocSetContextCreate(TopMemoryContext, "etl task", ALLOCSET_DEFAULT_SIZES);
	etl_lock(ETL_LOCK_WORKER, parameters.role, ShareLock);

	idle_since = GetCurrentTimestamp();
	do
	{
		claimed_task task;

		/* tasks first: somebody may wait for them */
		for (;;)
		{
			bool is_own_call = false;

			if (claim(&task))
			{
				work_on(&task);
				is_own_call = task.is_own_call;
			}
			else if (!notification_send_next(task_context))
				break;
			progress_set_subject("");
			MemoryContextReset(task_context);
			wake_coordinator();
			/* settings, temporary tables, locks: whatever it left, goes with the session */
			if (is_own_call)
				proc_exit(0);
			idle_since = GetCurrentTimestamp();
		}
		MemoryContextReset(task_context);
	} while (linger(idle_since));
	proc_exit(0);
}
