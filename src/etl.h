/*-------------------------------------------------------------------------
 *
 * etl.h
 *	  Settings of the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_H
#define ETL_H

#include "postgres.h"

#define ETL_VERSION "1.0"

extern int etl_max_workers;		   /* workers of one database at a time */
extern char *etl_secret_directory; /* absolute, or relative to the data directory */
extern char *etl_allowed_hosts;	   /* see src/http/allowed_hosts.c */
extern bool etl_schedules;		   /* whether schedules fire */
extern int etl_worker_linger_ms;   /* how long a worker without work stays, milliseconds */

#endif /* ETL_H */
