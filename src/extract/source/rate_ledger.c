/*-------------------------------------------------------------------------
 *
 * rate_ledger.c
 *	  Asking the database for requests of a server's budget.
 *
 * What is granted must be committed before it is used, whatever becomes of the caller.
 * With no transaction open that is a short transaction of our own.  Within one (a
 * function somebody calls) it takes another process: committed here it would not be, and
 * the lock on the budget would be held until the caller's transaction ends.
 *
 * Nobody may call etl._grant_requests but this file, which does it with the rights of the
 * extension, for a server whose source_open() has checked that the role may use it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "call_sql.h"
#include "extract/source/rate_budget.h"

/* How long a caller waits between looks at a worker whose end wakes it anyway. */
#define TICK_MS 1000

/* What a background worker is told and answers, in dynamic shared memory. */
typedef struct ledger_call
{
	rate_request request;
	volatile bool done; /* set last */
	bool failed;
	int sqlerrcode;
	char message[512];
	char hint[512];
} ledger_call;

/* In bgw_extra. */
typedef struct ledger_parameters
{
	Oid database;
	dsm_handle call;
} ledger_parameters;

PGDLLEXPORT void etl_rate_ledger_main(Datum argument);

/* Becomes the owner of the extension until the transaction ends. */
static void
become_extension_owner(void)
{
	HeapTuple tuple = SearchSysCache1(NAMESPACENAME, CStringGetDatum("etl"));
	Oid user;
	int context;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "schema \"etl\" does not exist");
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(((Form_pg_namespace) GETSTRUCT(tuple))->nspowner,
						   context | SECURITY_LOCAL_USERID_CHANGE);
	ReleaseSysCache(tuple);
}

/* Asks within the transaction that is open.  It must be ours. */
static void
ask_here(rate_request *request)
{
	Oid types[] = {NAMEOID, INT4OID, INTERVALOID, UUIDOID, INT4OID, TIMESTAMPTZOID};
	Interval validity = {.time = (TimeOffset) request->validity_ms * 1000};
	Datum values[6];
	char nulls[7] = "      ";
	NameData server;

	namestrcpy(&server, request->server);
	values[0] = NameGetDatum(&server);
	values[1] = Int32GetDatum(request->wanted);
	values[2] = IntervalPGetDatum(&validity);
	values[3] = (Datum) 0;
	if (request->settled.id[0] != '\0')
		values[3] = DirectFunctionCall1(uuid_in, CStringGetDatum(request->settled.id));
	else
		nulls[3] = 'n';
	values[4] = Int32GetDatum(request->settled_used);
	values[5] = TimestampTzGetDatum(request->settled_at);
	if (request->settled_at == 0)
		nulls[5] = 'n';
	sql_call("SELECT grant_id::pg_catalog.text, granted, expires_at, ask_again_at "
			 "FROM etl._grant_requests($1, $2, $3, $4, $5, $6)",
			 6, types, values, nulls);

	memset(&request->granted, 0, sizeof(request->granted));
	if (!sql_is_null(0, 1))
		strlcpy(request->granted.id, sql_text(0, 1), sizeof(request->granted.id));
	request->granted.requests = (int) sql_bigint(0, 2, 0);
	if (!sql_is_null(0, 3))
		request->granted.expires_at = DatumGetTimestampTz(sql_datum(0, 3));
	request->ask_again_at = sql_is_null(0, 4) ? 0 : DatumGetTimestampTz(sql_datum(0, 4));
}

/*
 * Asks in a transaction of our own, which is committed, and on disk, at the end.
 */
static void
ask_in_transaction(rate_request *request)
{
	sql_begin();
	/* else the commit could be forgotten by a crash, after the requests were sent */
	if (synchronous_commit < SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		(void) set_config_option("synchronous_commit", "local", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	become_extension_owner();
	ask_here(request);
	sql_commit();
}

/* The process that asks for somebody whose transaction is open. */
void
etl_rate_ledger_main(Datum argument)
{
	ledger_parameters parameters;
	dsm_segment *segment;
	ledger_call *call;

	memcpy(&parameters, MyBgworkerEntry->bgw_extra, sizeof(parameters));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(parameters.database, InvalidOid, 0);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("lock_timeout", "0", PGC_USERSET, PGC_S_SESSION);

	segment = dsm_attach(parameters.call);
	if (segment == NULL)
		proc_exit(0); /* the caller is gone already */
	call = dsm_segment_address(segment);
	PG_TRY();
	{
		ask_in_transaction(&call->request);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(TopMemoryContext);
		error = CopyErrorData();
		FlushErrorState();
		call->failed = true;
		call->sqlerrcode = error->sqlerrcode;
		strlcpy(call->message, error->message ? error->message : "", sizeof(call->message));
		strlcpy(call->hint, error->hint ? error->hint : "", sizeof(call->hint));
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	pg_write_barrier();
	call->done = true;
	proc_exit(0); /* which wakes the caller */
}

/* Asks by another process, and waits for it. */
static void
ask_elsewhere(rate_request *request)
{
	ledger_parameters parameters = {.database = MyDatabaseId};
	BackgroundWorkerHandle *handle;
	BackgroundWorker worker;
	dsm_segment *segment = dsm_create(sizeof(ledger_call), 0);
	ledger_call *call = dsm_segment_address(segment);
	BgwHandleStatus status;
	pid_t pid;

	memset(call, 0, sizeof(*call));
	call->request = *request;
	parameters.call = dsm_segment_handle(segment);

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "etl", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "etl_rate_ledger_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "etl rate ledger", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "etl rate ledger", sizeof(worker.bgw_type));
	memcpy(worker.bgw_extra, &parameters, sizeof(parameters));
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("no free background worker slot to ask for a request of server "
							   "\"%s\"",
							   request->server),
						errhint("Increase max_worker_processes.")));
	while ((status = GetBackgroundWorkerPid(handle, &pid)) != BGWH_STOPPED)
	{
		if (status == BGWH_POSTMASTER_DIED)
			ereport(FATAL, (errcode(ERRCODE_ADMIN_SHUTDOWN), errmsg("postmaster has died")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, TICK_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	pg_read_barrier();
	if (!call->done)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("the process that asks for requests of server \"%s\" ended early",
							   request->server),
						errhint("The server log says why.")));
	if (call->failed)
		ereport(ERROR, (errcode(call->sqlerrcode), errmsg("%s", call->message),
						call->hint[0] ? errhint("%s", call->hint) : 0));
	*request = call->request;
	pfree(handle);
	dsm_detach(segment);
}

/*
 * Settles request->settled, if it has an id, and asks for request->wanted requests; fills
 * request->granted and request->ask_again_at.  Keeps the current memory context.  Raises
 * what SQL raises, 53400 when a background worker is needed and there is none.
 */
void
rate_ledger_ask(rate_request *request)
{
	MemoryContext context = CurrentMemoryContext;

	if (IsTransactionState())
		ask_elsewhere(request);
	else
		ask_in_transaction(request);
	MemoryContextSwitchTo(context);
}
