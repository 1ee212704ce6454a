/*-------------------------------------------------------------------------
 *
 * launch.c
 *	  Starting the launcher, coordinators and workers.
 *
 * The last two are dynamic background workers that are never restarted by the postmaster: what
 * has to go on after a crash is in the tables, and who comes next reads it there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "run/launch.h"

/* Seconds until the postmaster starts a launcher again that has ended. */
#define LAUNCHER_RESTART_SECS 2

/* What all of ours have in common; "function" is in the library. */
static void
fill(BackgroundWorker *worker, const char *function, const char *type)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	/* the launcher, too: it reads pg_database, but connects to no database */
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "etl", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function, sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_name, type, sizeof(worker->bgw_name));
	strlcpy(worker->bgw_type, type, sizeof(worker->bgw_type));
}

/*
 * Has the postmaster start the launcher, on a primary, and again whenever it ends.  For
 * _PG_init of a library that is preloaded.
 */
void
register_launcher(void)
{
	BackgroundWorker worker;

	fill(&worker, "etl_launcher_main", "etl launcher");
	worker.bgw_restart_time = LAUNCHER_RESTART_SECS;
	RegisterBackgroundWorker(&worker);
}

/*
 * Registers a background worker; returns false when there is no free slot.
 */
static bool
launch(const char *function, const char *type, const launch_parameters *parameters,
	   BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	fill(&worker, function, type);
	worker.bgw_notify_pid = MyProcPid;
	StaticAssertStmt(sizeof(launch_parameters) <= BGW_EXTRALEN, "parameters fit bgw_extra");
	memcpy(worker.bgw_extra, parameters, sizeof(launch_parameters));
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

/*
 * Starts a coordinator for this database; with a request, it submits that first.
 * Returns false when max_worker_processes is exhausted.
 */
bool
launch_coordinator(dsm_handle request, BackgroundWorkerHandle **handle)
{
	launch_parameters parameters = {.database = MyDatabaseId, .request = request};

	return launch("etl_coordinator_main", "etl coordinator", &parameters, handle);
}

/*
 * The same for any database, on the launcher's behalf: looks whether something is due or
 * unfinished there, and ends at once if not.
 */
bool
launch_coordinator_of(Oid database, BackgroundWorkerHandle **handle)
{
	launch_parameters parameters = {
		.database = database, .request = DSM_HANDLE_INVALID, .by_launcher = true};

	return launch("etl_coordinator_main", "etl coordinator", &parameters, handle);
}

/*
 * The same for this database, once a transaction has ended.
 */
bool
launch_coordinator_after(TransactionId transaction)
{
	launch_parameters parameters = {
		.database = MyDatabaseId, .request = DSM_HANDLE_INVALID, .after = transaction};

	return launch("etl_coordinator_main", "etl coordinator", &parameters, NULL);
}

/*
 * Starts a worker for this database that connects as a role.  Returns false when
 * max_worker_processes is exhausted.
 */
bool
launch_worker(Oid role, BackgroundWorkerHandle **handle)
{
	launch_parameters parameters = {.database = MyDatabaseId, .role = role};

	return launch("etl_worker_main", "etl worker", &parameters, handle);
}
