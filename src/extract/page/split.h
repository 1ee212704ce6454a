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

/* A record that was found to be none before anything parsed it. */
typedef struct record_flaw
{
	int record;
	int sqlstate;
	const char *reason;
} record_flaw;

/*
 * Records are ranges of a text.  Where that text was made of something else, the bytes as
 * received are ranges of "origin"; they are what quarantine keeps.
 */
typedef struct split_result
{
	record_range *records; /* empty for a record with a flaw */
	int count;
	int allocated;
	const char *origin;	   /* NULL: the text is as received */
	record_range *origins; /* in origin, of each record */
	record_flaw *flaws;	   /* in the order of records */
	int flaw_count;
	size_t received;	 /* bytes of the page as received, decompressed */
	const char *problem; /* NULL: the page is whole */
	size_t problem_offset;
	const char *missing; /* a member of the path that was not there; NULL: all were */
	bool missing_array;	 /* where [*] wants an array there was something else */
} split_result;

extern void split_add_record(split_result *result, size_t offset, size_t length);
extern void split_add_origin(split_result *result, size_t offset, size_t length);
extern void split_add_flaw(split_result *result, int sqlstate, const char *reason);
extern void split_records(const char *body, size_t length, List *path, split_result *result);

#endif /* ETL_SPLIT_H */
