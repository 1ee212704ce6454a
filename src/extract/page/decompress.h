/*-------------------------------------------------------------------------
 *
 * decompress.h
 *	  Bodies that are compressed files.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_DECOMPRESS_H
#define ETL_DECOMPRESS_H

#include "postgres.h"

#include "extract/page/page_failure.h"

typedef enum page_compression
{
	COMPRESSION_AUTO, /* by the first bytes */
	COMPRESSION_NONE,
	COMPRESSION_GZIP,
	COMPRESSION_ZSTD
} page_compression;

extern bool compression_by_name(const char *name, page_compression *compression);
extern bool decompress_body(page_compression wanted, const char *body, size_t length, size_t limit,
							const char **plain, size_t *plain_length, page_failure *failure);

#endif /* ETL_DECOMPRESS_H */
