/*-------------------------------------------------------------------------
 *
 * etl.c
 *	  Module load: the settings.
 *
 * The library works with and without shared_preload_libraries: it keeps nothing in
 * static shared memory that a run needs.  Preloaded, there is a launcher besides, and
 * schedules fire.  Every setting has its line in
 * docs/reference/settings.md.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "etl.h"
#include "http/allowed_hosts.h"
#include "run/database_hooks.h"
#include "run/history.h"
#include "run/launch.h"
#include "run/launcher_state.h"

PG_MODULE_MAGIC;

int etl_max_workers = 4;
char *etl_secret_directory = NULL;
char *etl_allowed_hosts = NULL;
int etl_worker_linger_ms = 1000;
bool etl_schedules = true;

static char *clock_setting = NULL;
static char *context_run_id = NULL;
static char *context_data_interval_start = NULL;
static char *context_data_interval_end = NULL;
static char *context_run_date = NULL;

PGDLLEXPORT void _PG_init(void);

/* What only the postmaster can set up. */
static void
init_preloaded(void)
{
	DefineCustomIntVariable(
		"etl.max_databases", "Sets how many databases the launcher can look after.", NULL,
		&launcher_max_databases, 1024, 1, 65536, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	/* pg_upgrade must find nothing that acts by itself */
	if (IsBinaryUpgrade)
		return;
	launcher_state_init();
	install_database_hooks();
	register_launcher();
}

/* Check hook of etl.allowed_hosts. */
static bool
check_allowed_hosts(char **newval, void **extra, GucSource source)
{
	const char *problem = *newval ? http_allowed_hosts_problem(*newval) : NULL;

	if (problem != NULL)
		GUC_check_errdetail("%s", problem);
	return problem == NULL;
}

/*
 * Defines the settings.  Raises nothing; called once per process, in the postmaster when
 * preloaded.
 */
void
_PG_init(void)
{
	DefineCustomIntVariable("etl.max_workers",
							"Sets how many etl workers may run in a database at a time.",
							"Each counts against max_worker_processes, as does one coordinator.",
							&etl_max_workers, 4, 1, 1024, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("etl.schedules", "Sets whether schedules fire.",
							 "Runs that are asked for run all the same.", &etl_schedules, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"etl.worker_linger", "Sets how long a worker without work waits for more before it ends.",
		NULL, &etl_worker_linger_ms, 1000, 0, 60000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"etl.secret_directory",
		"Sets the directory of the files that options such as token_file name.",
		"A relative path is taken from the data directory.", &etl_secret_directory, "etl_secrets",
		PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"etl.allowed_hosts", "Sets the hosts that sources may be on.",
		"A list of host names, *.domain, addresses and ranges, each with a port or without; "
		"empty for all public hosts. Addresses that are not public must be listed as such.",
		&etl_allowed_hosts, "", PGC_SUSET, GUC_SUPERUSER_ONLY, check_allowed_hosts, NULL, NULL);
	DefineCustomStringVariable("etl.clock",
							   "Sets the time that schedules and open intervals go by, for tests.",
							   "Empty for the system's clock.", &clock_setting, "", PGC_SUSET,
							   GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);

	/* What etl.data_interval_start() and its like return; set by workers for each run. */
	DefineCustomStringVariable("etl.run_id", "Shows the current run.", NULL, &context_run_id, "",
							   PGC_USERSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"etl.data_interval_start", "Sets the start of the data interval that transformations see.",
		NULL, &context_data_interval_start, "", PGC_USERSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"etl.data_interval_end", "Sets the end of the data interval that transformations see.",
		NULL, &context_data_interval_end, "", PGC_USERSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("etl.run_date", "Sets the run date that transformations see.", NULL,
							   &context_run_date, "", PGC_USERSET, GUC_NOT_IN_SAMPLE, NULL, NULL,
							   NULL);
	history_define_settings();
	if (process_shared_preload_libraries_in_progress)
		init_preloaded();
	MarkGUCPrefixReserved("etl");
}
