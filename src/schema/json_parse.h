/*-------------------------------------------------------------------------
 *
 * json_parse.h
 *	  JSON text to JSONB in memory, for documents that may hold \u0000.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_JSON_PARSE_H
#define ETL_SCHEMA_JSON_PARSE_H

#include "postgres.h"

#include "utils/jsonb.h"

extern Jsonb *json_parse_text(const char *text, int length);

#endif /* ETL_SCHEMA_JSON_PARSE_H */
