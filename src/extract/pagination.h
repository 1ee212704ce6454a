/*-------------------------------------------------------------------------
 *
 * pagination.h
 *	  How one page leads to the next.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_PAGINATION_H
#define ETL_PAGINATION_H

#include "postgres.h"

#include "extract/split.h"
#include "http/http.h"

typedef enum pagination_type
{
	PAGINATION_NONE,
	PAGINATION_LINK_HEADER,
	PAGINATION_PAGE_NUMBER
} pagination_type;

/* The pagination of a task.  Strings live as long as the task. */
typedef struct pagination
{
	pagination_type type;
	char *page_parameter;
	int first_page;
	char *size_parameter; /* NULL: none */
	int page_size;		  /* 0: not known */
	int max_pages;
} pagination;

/* Where an item goes on: a URL, a page number, or nowhere. */
typedef struct cursor
{
	bool at_end;
	char *url;
	int page;
} cursor;

extern pagination_type pagination_type_by_name(const char *name);
extern char *pagination_url(const pagination *p, const cursor *at, const char *item_url);
extern cursor pagination_next(const pagination *p, const cursor *at, const char *base_url,
							  const http_request *request, const http_response *response,
							  const split_result *records);
extern Datum cursor_as_jsonb(const cursor *next, bool *isnull);

#endif /* ETL_PAGINATION_H */
