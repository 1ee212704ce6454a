/*-------------------------------------------------------------------------
 *
 * caller.c
 *	  etl_run and CALL etl.run: asking for runs and waiting for them.
 *
 * A function cannot commit, so the rows that ask for a run are written by a coordinator
 * that is started here; the request goes through a dynamic shared memory segment.  While
 * it waits, the caller holds a lock that says so: when the lock goes, for whatever
 * reason, the coordinator cancels the runs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "run/caller.h"
#include "run/launch.h"
#include "run/locks.h"
#include "run/wake.h"

/* Least time between two progress notices, milliseconds. */
#define NOTICE_INTERVAL_MS 1000

PG_FUNCTION_INFO_V1(etl_run);
PG_FUNCTION_INFO_V1(etl_run_procedure);
PG_FUNCTION_INFO_V1(etl_reprocess);

/* What etl._request_status() tells. */
typedef struct request_status
{
	int active;
	char *activity; /* NULL: nothing is running */
	int coordinator_pid;
	char *blocked_by_caller; /* NULL: no */
} request_status;

/*
 * Runs a query with one bigint argument under the latest snapshot, whatever the isolation
 * level: what workers have committed by now is what a caller waits for.  The result is
 * SPI_tuptable; SPI must be connected.
 */
void
query_now(const char *query, int64 argument)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(argument)};
	SPIPlanPtr plan = SPI_prepare(query, 1, types);
	int code;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	code = SPI_execute_snapshot(plan, values, NULL, GetLatestSnapshot(), InvalidSnapshot, true,
								false, 0);
	if (code < 0)
		elog(ERROR, "SPI call failed: %s", SPI_result_code_string(code));
	SPI_freeplan(plan);
}

/* A column of the first row as a string in the current context; NULL if null. */
char *
result_text(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

/* Reads how the runs of a request are doing.  Strings are in the caller's context. */
static request_status
read_status(int64 request_id)
{
	MemoryContext context = CurrentMemoryContext;
	request_status status = {0};
	char *text;

	pgstat_clear_backend_activity_snapshot(); /* it is kept for the whole transaction */
	SPI_connect();
	query_now("SELECT active, activity, coordinator_pid, blocked_by_caller "
			  "FROM etl._request_status($1)",
			  request_id);
	status.active = pg_strtoint32(result_text(1));
	if ((text = result_text(2)) != NULL)
		status.activity = MemoryContextStrdup(context, text);
	if ((text = result_text(3)) != NULL)
		status.coordinator_pid = pg_strtoint32(text);
	if ((text = result_text(4)) != NULL)
		status.blocked_by_caller = MemoryContextStrdup(context, text);
	SPI_finish();
	return status;
}

/*
 * Raises 40P01: the run waits for the session that waits for it.
 */
void
raise_blocked(const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
					errmsg("the run waits for a lock held by the session that waits for the run"),
					errdetail("%s", detail),
					errhint("COMMIT first, then run the pipeline in a transaction of its own.")));
}

/*
 * Refuses calls that could not work: on a standby, in a parallel worker, or in a
 * transaction whose changes workers cannot see and whose locks they may wait for.
 */
static void
check_caller(void)
{
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
						errmsg("cannot run pipelines during recovery"),
						errhint("Run them on the primary.")));
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("a pipeline cannot be run in a transaction that has already written"),
				 errdetail("Workers run in sessions of their own: they do not see what this "
						   "transaction wrote, and could wait for its locks while it waits for "
						   "them."),
				 errhint("COMMIT first, then run the pipeline.")));
}

/* A client that has gone away is noticed while nothing is sent to it. */
static void
check_connection(void)
{
	if (MyProcPort != NULL && !pq_check_connection())
	{
		ClientConnectionLost = true;
		InterruptPending = true;
	}
	CHECK_FOR_INTERRUPTS();
}

/* Waits for a latch or some milliseconds, answering interrupts. */
void
wait_ms(long ms)
{
	/* the last query's catalog snapshot would hold back the horizon meanwhile */
	InvalidateCatalogSnapshotConditionally();
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	check_connection();
}

/* Raises 40P01 when the coordinator waits for a lock of this session. */
static void
check_coordinator_blocked(pid_t coordinator)
{
	char *blocked = NULL;
	MemoryContext context = CurrentMemoryContext;

	SPI_connect();
	query_now("SELECT pg_catalog.format('Process %s waits for a lock of this session.', $1) "
			  "WHERE pg_catalog.pg_backend_pid() = ANY (pg_catalog.pg_blocking_pids($1::integer))",
			  coordinator);
	if (SPI_processed > 0)
		blocked = MemoryContextStrdup(context, result_text(1));
	SPI_finish();
	if (blocked != NULL)
		raise_blocked(blocked);
}

/*
 * Starts a coordinator and waits until it has taken the request, if there is one.  Raises what it
 * says is wrong with the request.
 */
void
start_coordinator(run_request *request, dsm_handle handle)
{
	BackgroundWorkerHandle *worker;
	pid_t pid;

	if (!launch_coordinator(handle, &worker))
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("no free background worker slot for the etl coordinator"),
						errhint("Increase max_worker_processes: etl needs one for the coordinator "
								"and up to etl.max_workers more.")));
	if (WaitForBackgroundWorkerStartup(worker, &pid) == BGWH_POSTMASTER_DIED)
		ereport(FATAL, (errcode(ERRCODE_ADMIN_SHUTDOWN), errmsg("postmaster has died")));
	while (request != NULL && !request->done)
	{
		if (GetBackgroundWorkerPid(worker, &pid) == BGWH_STOPPED && !request->done)
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("the etl coordinator ended before it took the request"),
							errhint("The server log says why.")));
		wait_ms(CALLER_TICK_MS);
		if (!request->done)
			check_coordinator_blocked(pid);
	}
	pg_read_barrier();
	if (request != NULL && request->failed)
		ereport(ERROR, (errcode(request->sqlerrcode), errmsg("%s", request->message),
						request->detail[0] ? errdetail("%s", request->detail) : 0,
						request->hint[0] ? errhint("%s", request->hint) : 0));
}

/*
 * Waits until every run of a request has ended; shows progress.  Raises when this session
 * itself blocks a run, and for interrupts.
 */
static void
wait_for_request(int64 request_id)
{
	TimestampTz last_notice = GetCurrentTimestamp();
	char *last_activity = NULL;
	bool unled = false;
	int restarts = 0;
	MemoryContext tick_context =
		AllocSetContextCreate(CurrentMemoryContext, "etl wait", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(tick_context);

	for (;;)
	{
		request_status status = read_status(request_id);
		TimestampTz now = GetCurrentTimestamp();

		if (status.active == 0)
			break;
		if (status.blocked_by_caller != NULL)
		{
			char *detail = MemoryContextStrdup(old, status.blocked_by_caller);

			/* its worker has been cancelled: let the run end, so that it can be asked for again */
			etl_unlock(ETL_LOCK_CALLER, request_id, ExclusiveLock);
			wake_process(status.coordinator_pid);
			for (int tick = 0; tick < 10 && read_status(request_id).active > 0; tick++)
				wait_ms(100);
			etl_lock(ETL_LOCK_CALLER, request_id, ExclusiveLock);
			raise_blocked(detail);
		}
		/* twice in a row: the one that took the request may be about to take its lock */
		if (status.coordinator_pid == 0 && unled)
		{
			if (++restarts > MAX_COORDINATOR_RESTARTS)
				ereport(ERROR,
						(errcode(ERRCODE_INTERNAL_ERROR),
						 errmsg("the etl coordinator has ended %d times while runs were active",
								restarts),
						 errhint("The server log says why.")));
			start_coordinator(NULL, DSM_HANDLE_INVALID); /* it was terminated: go on */
		}
		unled = status.coordinator_pid == 0;
		if (status.activity != NULL && status.activity[0] != '\0' &&
			TimestampDifferenceExceeds(last_notice, now, NOTICE_INTERVAL_MS) &&
			(last_activity == NULL || strcmp(last_activity, status.activity) != 0))
		{
			ereport(NOTICE, (errmsg("%s", status.activity)));
			last_notice = now;
			if (last_activity != NULL)
				pfree(last_activity);
			last_activity = MemoryContextStrdup(old, status.activity);
		}
		MemoryContextReset(tick_context);
		wait_ms(CALLER_TICK_MS);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(tick_context);
}

/*
 * Submits a request and waits for its runs; returns its id.  Whatever ends the wait, the
 * caller's lock goes with it, and with the lock the runs that are still active.
 */
static int64
run_and_wait(run_request *template)
{
	dsm_segment *segment;
	run_request *request;
	uint64 id;

	if (!pg_strong_random(&id, sizeof(id)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a request id")));
	template->request_id = (int64) (id >> 8); /* lock ids have 56 bits */
	template->caller_pid = MyProcPid;
	namestrcpy(&template->caller, GetUserNameFromId(GetUserId(), false));
	etl_lock(ETL_LOCK_CALLER, template->request_id, ExclusiveLock);
	PG_TRY();
	{
		segment = dsm_create(sizeof(run_request), 0);
		request = (run_request *) dsm_segment_address(segment);
		*request = *template;
		start_coordinator(request, dsm_segment_handle(segment));
		dsm_detach(segment);
		wait_for_request(template->request_id);
	}
	PG_FINALLY();
	{
		etl_unlock(ETL_LOCK_CALLER, template->request_id, ExclusiveLock);
	}
	PG_END_TRY();
	return template->request_id;
}

/* Raises one error for all runs of a request that did not succeed. */
static void
raise_failures(int64 request_id)
{
	MemoryContext context = CurrentMemoryContext;
	char *fields[4];

	SPI_connect();
	query_now("SELECT code, message, detail, hint FROM etl._request_failure($1)", request_id);
	for (int i = 0; i < lengthof(fields); i++)
	{
		char *text = result_text(i + 1);

		fields[i] = text == NULL ? NULL : MemoryContextStrdup(context, text);
	}
	SPI_finish();
	if (fields[0] == NULL)
		return;
	ereport(ERROR, (errcode(MAKE_SQLSTATE(fields[0][0], fields[0][1], fields[0][2], fields[0][3],
										  fields[0][4])),
					errmsg("%s", fields[1]), fields[2] ? errdetail("%s", fields[2]) : 0,
					fields[3] ? errhint("%s", fields[3]) : 0));
}

/* Puts a row a run of a request into the function's result. */
static void
return_results(FunctionCallInfo fcinfo, int64 request_id)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	query_now("SELECT * FROM etl._request_results($1)", request_id);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		HeapTuple tuple = SPI_tuptable->vals[row];
		TupleDesc descriptor = SPI_tuptable->tupdesc;
		Datum values[MaxTupleAttributeNumber];
		bool nulls[MaxTupleAttributeNumber];

		heap_deform_tuple(tuple, descriptor, values, nulls);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	SPI_finish();
}

/*
 * SQL: etl_run(run_date date, pipeline text).  Returns a row a run; raises one error that
 * names run, task and cause of each failure.
 */
Datum
etl_run(PG_FUNCTION_ARGS)
{
	run_request request = {0};
	int64 request_id;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("run_date must not be null"),
				 errhint("For example etl_run(date '2026-11-19').")));
	check_caller();
	request.has_date = true;
	request.run_date = PG_GETARG_DATEADT(0);
	if (DATE_NOT_FINITE(request.run_date))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("run_date must be finite"),
				 errhint("For example etl_run(date '2026-11-19').")));
	if (!PG_ARGISNULL(1))
	{
		request.has_pipeline = true;
		strlcpy(request.pipeline, text_to_cstring(PG_GETARG_TEXT_PP(1)), sizeof(request.pipeline));
	}
	request_id = run_and_wait(&request);
	raise_failures(request_id);
	return_results(fcinfo, request_id);
	return (Datum) 0;
}

/* The pipeline and interval that a call names.  Raises for a NULL or an empty interval. */
static void
read_interval(FunctionCallInfo fcinfo, run_request *request, const char *start_name,
			  const char *end_name, const char *example)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("pipeline, %s and %s must not be null", start_name, end_name),
						errhint("For example %s.", example)));
	request->has_pipeline = true;
	strlcpy(request->pipeline, text_to_cstring(PG_GETARG_TEXT_PP(0)), sizeof(request->pipeline));
	request->has_interval = true;
	request->interval_start = PG_GETARG_TIMESTAMPTZ(1);
	request->interval_end = PG_GETARG_TIMESTAMPTZ(2);
	if (TIMESTAMP_NOT_FINITE(request->interval_start) ||
		TIMESTAMP_NOT_FINITE(request->interval_end) ||
		request->interval_start >= request->interval_end)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be before %s", start_name, end_name),
						errhint("A data interval is half-open: from %s until just before %s.",
								start_name, end_name)));
}

/*
 * SQL: etl.reprocess(pipeline, since, until).  As etl_run, but the tables are rebuilt from
 * raw and nothing is fetched.
 */
Datum
etl_reprocess(PG_FUNCTION_ARGS)
{
	run_request request = {.reprocess = true};
	int64 request_id;

	read_interval(fcinfo, &request, "since", "until",
				  "etl.reprocess('shop', '2026-11-01', '2026-11-20')");
	check_caller();
	request_id = run_and_wait(&request);
	raise_failures(request_id);
	return_results(fcinfo, request_id);
	return (Datum) 0;
}

/*
 * SQL: CALL etl.run(pipeline, interval_start, interval_end).  Commits before it waits, so
 * that no snapshot is held meanwhile; in a transaction block, where it cannot, it waits
 * as etl_run does.
 */
Datum
etl_run_procedure(PG_FUNCTION_ARGS)
{
	bool atomic = !(fcinfo->context && IsA(fcinfo->context, CallContext)) ||
				  castNode(CallContext, fcinfo->context)->atomic;
	run_request request = {0};
	int64 request_id;

	read_interval(fcinfo, &request, "interval_start", "interval_end",
				  "CALL etl.run('shop', '2026-11-19', '2026-11-20')");
	SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);
	if (!atomic)
		SPI_commit();
	check_caller();
	request_id = run_and_wait(&request);
	raise_failures(request_id);
	SPI_finish();
	PG_RETURN_VOID();
}
