/*-------------------------------------------------------------------------
 *
 * json_number.h
 *	  Numbers of JSON text: found, judged, and written as numeric is stored.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_JSON_NUMBER_H
#define ETL_JSON_NUMBER_H

#include "postgres.h"

#include "extract/json/json_tape.h"

typedef enum json_number_verdict
{
	JSON_NUMBER_OK,
	JSON_NUMBER_MALFORMED,
	JSON_NUMBER_OVERFLOW
} json_number_verdict;

/* A small number takes no more bytes than this, with its varlena header. */
#define JSON_SMALL_NUMBER_BYTES 16

extern json_number_verdict json_number_scan(const char *start, const char *end, json_node *node,
											const char **after);
extern size_t json_number_bytes(const json_node *node);
extern size_t json_number_write(const json_node *node, char *out);

#endif /* ETL_JSON_NUMBER_H */
