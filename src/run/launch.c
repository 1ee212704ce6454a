/*-------------------------------------------------------------------------
 *
 * launch.c
 *	  Starting coordinators and workers.
 *
 * Both are dynamic background workers that are never restarted by the postmaster: what
 * has to go on after a crash is in the tables, and who comes next reads it there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "run/launch.h"

/*
 * Registers a background worker; returns false when there is no free slot.
 */
static bool
launch(const char *function, const char *type, const launch_parameters *parameters,
	   BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "etl", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, function, sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, type, sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, type, sizeof(worker.bgw_type));
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
 * Starts a worker for this database that connects as a role.  Returns false when
 * max_worker_processes is exhausted.
 */
bool
launch_worker(Oid role, BackgroundWorkerHandle **handle)
{
	launch_parameters parameters = {.database = MyDatabaseId, .role = role};

	return launch("etl_worker_main", "etl worker", &parameters, handle);
}
