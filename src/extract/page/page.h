/*-------------------------------------------------------------------------
 *
 * page.h
 *	  The body of an answer as records.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_PAGE_H
#define ETL_PAGE_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "extract/page/charset.h"
#include "extract/page/csv.h"
#include "extract/page/decompress.h"
#include "extract/page/page_failure.h"
#include "extract/page/split.h"
#include "http/http.h"

typedef enum page_format
{
	PAGE_JSON,
	PAGE_NDJSON,
	PAGE_CSV
} page_format;

/* How a task's pages are read: what etl._check_format() returns. */
typedef struct page_options
{
	page_format format;
	List *records_path;	 /* of path_step *: of PAGE_JSON */
	const char *charset; /* NULL: byte order mark, then Content-Type, then UTF-8 */
	page_compression compression;
	csv_options csv; /* of PAGE_CSV */
} page_options;

/* A body as text; the bytes it was received in tell where a record comes from. */
typedef struct page_text
{
	const char *bytes; /* decompressed */
	size_t length;
	size_t mark; /* of bytes: is no text; in UTF-8 it stays, so that offsets are those received */
	charset from;
	const char *document; /* in UTF-8 as far as it is valid */
	size_t document_length;
} page_text;

extern page_options *page_options_create(Jsonb *decode, const char *records);
extern const char *page_format_name(page_format format);
extern bool page_decode(const page_options *options, const http_response *response, size_t limit,
						page_text *text, page_failure *failure);
extern bool page_read_text(const page_options *options, http_response *response,
						   const page_text *text, size_t limit, split_result *records,
						   page_failure *failure);
extern bool page_read(const page_options *options, http_response *response, size_t limit,
					  split_result *records, page_failure *failure);

#endif /* ETL_PAGE_H */
