/*-------------------------------------------------------------------------
 *
 * ndjson.h
 *	  Records on a line each.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_NDJSON_H
#define ETL_NDJSON_H

#include "postgres.h"

#include "extract/page/page_failure.h"
#include "extract/page/split.h"

extern bool ndjson_read(const char *text, size_t length, split_result *result,
						page_failure *failure);

#endif /* ETL_NDJSON_H */
