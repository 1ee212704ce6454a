/*-------------------------------------------------------------------------
 *
 * extract.h
 *	  An extraction: a source to raw rows, slice by slice.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_EXTRACT_H
#define ETL_EXTRACT_H

#include "postgres.h"

extern void extract_run(int64 task_run_id, int attempt, MemoryContext context);

#endif /* ETL_EXTRACT_H */
