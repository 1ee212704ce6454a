/*-------------------------------------------------------------------------
 *
 * csv.h
 *	  The rows of a CSV file as JSON objects.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_CSV_H
#define ETL_CSV_H

#include "postgres.h"
#include "nodes/pg_list.h"

#include "extract/page/page_failure.h"
#include "extract/page/split.h"

/* What becomes of the first line. */
typedef enum csv_header
{
	CSV_HEADER_NONE,  /* it is a row */
	CSV_HEADER_SKIP,  /* nothing */
	CSV_HEADER_MATCH, /* it has to have the names of the columns */
	CSV_HEADER_NAMES  /* it says them */
} csv_header;

/* The options of COPY that there are here, too.  Texts are UTF-8. */
typedef struct csv_options
{
	csv_header header;
	char delimiter;
	char quote;
	char escape;
	const char *null;
	List *columns; /* of char *: the names; NIL with CSV_HEADER_NAMES */
} csv_options;

extern bool csv_read(const csv_options *options, const char *text, size_t length, size_t limit,
					 const char **json, size_t *json_length, split_result *result,
					 page_failure *failure);

#endif /* ETL_CSV_H */
