/*-------------------------------------------------------------------------
 *
 * launch.h
 *	  Starting coordinators and workers, and what they are told.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_LAUNCH_H
#define ETL_LAUNCH_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"

/* In bgw_extra of a coordinator or worker. */
typedef struct launch_parameters
{
	Oid database;
	Oid role;			 /* workers: whom to connect as */
	dsm_handle request;	 /* coordinators: the request to submit, or DSM_HANDLE_INVALID */
	bool by_launcher;	 /* coordinators: there may be nothing to do, nor the extension */
	TransactionId after; /* coordinators: begin when it has ended, if it is valid */
} launch_parameters;

/*
 * What a caller asks for and what becomes of it, in a dynamic shared memory segment of
 * the two processes.  The caller fills it before the coordinator starts and reads the
 * rest only once "done" is set.
 */
typedef struct run_request
{
	int64 request_id;
	NameData caller;
	int caller_pid;
	bool has_date;
	int32 run_date; /* DateADT */
	bool has_pipeline;
	char pipeline[NAMEDATALEN * 4];
	bool has_interval;
	TimestampTz interval_start;
	TimestampTz interval_end;
	bool reprocess; /* from raw, without a request */

	volatile bool done; /* set last */
	bool failed;
	int sqlerrcode;
	char message[1024];
	char detail[1024];
	char hint[1024];
} run_request;

extern bool launch_coordinator(dsm_handle request, BackgroundWorkerHandle **handle);
extern bool launch_coordinator_of(Oid database, BackgroundWorkerHandle **handle);
extern bool launch_coordinator_after(TransactionId transaction);
extern bool launch_worker(Oid role, BackgroundWorkerHandle **handle);

extern void register_launcher(void);

PGDLLEXPORT extern void etl_launcher_main(Datum argument);
PGDLLEXPORT extern void etl_coordinator_main(Datum argument);
PGDLLEXPORT extern void etl_worker_main(Datum argument);

#endif /* ETL_LAUNCH_H */
