/*-------------------------------------------------------------------------
 *
 * record_path.h
 *	  JSON paths of the two simple kinds that declarations use.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_RECORD_PATH_H
#define ETL_RECORD_PATH_H

#include "postgres.h"
#include "nodes/pg_list.h"

/* One step of a path. */
typedef struct path_step
{
	bool each;	/* [*] */
	char *name; /* a member, or the digits of an element */
	int length; /* of name, bytes */
	bool is_index;
} path_step;

extern List *record_path_parse(const char *path, bool allow_each);

#endif /* ETL_RECORD_PATH_H */
