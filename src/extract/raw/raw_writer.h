/*-------------------------------------------------------------------------
 *
 * raw_writer.h
 *	  Records of a page to rows of a raw table, or to quarantine.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_RAW_WRITER_H
#define ETL_RAW_WRITER_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "extract/raw/record_shape.h"
#include "extract/page/split.h"

/* What becomes of a record that breaks the schema. */
typedef enum invalid_record_policy
{
	INVALID_QUARANTINE,
	INVALID_FAIL,
	INVALID_WARN
} invalid_record_policy;

/* Where and as what the rows of a load are written. */
typedef struct raw_target
{
	int64 task_run_id;
	int attempt;
	int64 load_id;
	int64 partition_key;
	const char *schema;
	const char *table;
	TimestampTz interval_start;
	TimestampTz interval_end;
	List *keys;			  /* of List of path_step *: what each record must have */
	Jsonb *record_schema; /* NULL: none */
	invalid_record_policy on_invalid;
	bool routes;		 /* records may belong to other loads, or to none: see record_routing.c */
	int item;			 /* the number of the item whose records are written */
	record_shape *shape; /* of the load; NULL: nobody looks */
} raw_target;

typedef struct raw_counts
{
	int64 fetched;
	int64 loaded;
	int64 quarantined;
	int64 skipped; /* not among the fetched */
} raw_counts;

/* What raw_write would make of one record. */
typedef struct raw_verdict
{
	Datum payload;	   /* jsonb; 0: it is not JSON */
	char *reason_code; /* why it would be refused; NULL: it would not */
	char *reason;
} raw_verdict;

extern raw_verdict raw_judge(const raw_target *target, const char *bytes, size_t length);
extern raw_counts raw_write(const raw_target *target, int slice, const char *body,
							const split_result *records, Datum item, bool item_is_null,
							TimestampTz fetched_at, const char *request);

#endif /* ETL_RAW_WRITER_H */
