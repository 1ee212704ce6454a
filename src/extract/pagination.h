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
	PAGINATION_LINK_HEADER, /* RFC 8288, rel="next" */
	PAGINATION_PAGE_NUMBER, /* ?page=1, 2, 3 … */
	PAGINATION_OFFSET,		/* ?offset=0, 100, 200 … */
	PAGINATION_CURSOR,		/* a token of the answer becomes a parameter */
	PAGINATION_NEXT_URL		/* the body names the next page */
} pagination_type;

/* The pagination of a task, as etl._check_pagination() has checked it. */
typedef struct pagination
{
	pagination_type type;
	char *parameter;	  /* of the page number, offset or token */
	int start;			  /* first page number or offset */
	char *size_parameter; /* NULL: none */
	int size;			  /* records a full page has; 0: not known */
	int max_pages;
	List *value;	/* path to the token or URL; NIL: it is in a header */
	char *header;	/* the header of the token */
	List *total;	/* path to the number of records of all pages; NIL: none */
	List *has_more; /* path to a boolean; NIL: none */
} pagination;

/* Where an item goes on: by a URL, a token, a position (page number or offset), or nowhere. */
typedef struct cursor
{
	bool at_end;
	char *url;
	char *token;
	int64 position;
	int64 records;	  /* of the pages so far */
	int largest_page; /* records of the largest page so far, as far as this attempt knows */
} cursor;

extern pagination_type pagination_type_by_name(const char *name);
extern cursor pagination_start(const pagination *p);
extern char *pagination_url(const pagination *p, const cursor *at, const char *item_url);
extern cursor pagination_next(const pagination *p, const cursor *at, const char *base_url,
							  const http_request *request, const http_response *response,
							  const split_result *records);
extern Datum cursor_as_jsonb(const cursor *next, bool *isnull);

#endif /* ETL_PAGINATION_H */
