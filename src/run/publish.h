/*-------------------------------------------------------------------------
 *
 * publish.h
 *	  The publication of a run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_PUBLISH_H
#define ETL_PUBLISH_H

#include "postgres.h"

extern void publish_run(int64 task_run_id, int attempt);

#endif /* ETL_PUBLISH_H */
