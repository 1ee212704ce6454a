/*-------------------------------------------------------------------------
 *
 * jsonb_writer.h
 *	  JSON text to JSONB, without going through jsonb_in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_JSONB_WRITER_H
#define ETL_JSONB_WRITER_H

#include "postgres.h"
#include "utils/jsonb.h"

#include "extract/json/json_tape.h"

typedef struct jsonb_writer jsonb_writer;

extern jsonb_writer *jsonb_writer_create(MemoryContext parent);
extern Jsonb *jsonb_write(jsonb_writer *writer, const char *document, size_t length,
						  json_error *error);
extern void jsonb_writer_trim(jsonb_writer *writer);

#endif /* ETL_JSONB_WRITER_H */
