/*-------------------------------------------------------------------------
 *
 * record_shape.h
 *	  The shape of a load's records, held against what is declared or was there before.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_RECORD_SHAPE_H
#define ETL_RECORD_SHAPE_H

#include "postgres.h"

#include "utils/jsonb.h"

typedef struct record_shape record_shape;

extern record_shape *record_shape_open(MemoryContext context, int64 task_run_id, int attempt,
									   int64 load_id);
extern record_shape *record_shape_declared(MemoryContext context, Jsonb *record_schema);
extern char *record_shape_add(record_shape *shape, const Jsonb *record);
extern void record_shape_check(record_shape *shape);
extern void record_shape_save(record_shape *shape);
extern void record_shape_finish(record_shape *shape);

#endif /* ETL_RECORD_SHAPE_H */
