/*-------------------------------------------------------------------------
 *
 * record_parser.h
 *	  The bytes of a record to JSONB, or the reason why not.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_RECORD_PARSER_H
#define ETL_RECORD_PARSER_H

#include "postgres.h"
#include "utils/jsonb.h"

#include "extract/page/split.h"

typedef struct parsed_record
{
	Jsonb *payload;	   /* NULL: the record is refused */
	char *reason_code; /* SQLSTATE */
	char *reason;
} parsed_record;

extern void parse_records(const char *body, const record_range *ranges, int count,
						  parsed_record *results);

#endif /* ETL_RECORD_PARSER_H */
