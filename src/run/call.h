/*-------------------------------------------------------------------------
 *
 * call.h
 *	  Calls that are no part of a publication.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_CALL_H
#define ETL_CALL_H

#include "postgres.h"

extern void call_run(int64 task_run_id, int attempt, MemoryContext context);

#endif /* ETL_CALL_H */
