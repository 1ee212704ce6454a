/*-------------------------------------------------------------------------
 *
 * split.h
 *	  The records of a page, as ranges of its bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SPLIT_H
#define ETL_SPLIT_H

#include "postgres.h"
#include "nodes/pg_list.h"

typedef struct record_range
{
	size_t offset;
	size_t length;
} record_range;

typedef struct split_result
{
	record_range *records;
	int count;
	int allocated;
	const char *problem; /* NULL: the page is whole */
	size_t problem_offset;
	const char *missing; /* a member of the path that was not there; NULL: all were */
	bool missing_array;	 /* where [*] wants an array there was something else */
} split_result;

extern void split_records(const char *body, size_t length, List *path, split_result *result);

#endif /* ETL_SPLIT_H */
