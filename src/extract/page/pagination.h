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

#include "extract/source/source.h"
#include "extract/page/split.h"
#include "http/http.h"

typedef enum pagination_type
{
	PAGINATION_NONE,
	PAGINATION_LINK_HEADER, /* RFC 8288, rel="next" */
	PAGINATION_PAGE_NUMBER, /* ?page=1, 2, 3 … */
	PAGINATION_OFFSET,		/* ?offset=0, 100, 200 … */
	PAGINATION_CURSOR,		/* a token of the answer becomes a parameter */
	PAGINATION_NEXT_URL,	/* the body names the next page */
	PAGINATION_AUTO			/* the first page tells which of these it is */
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
	List *value;			   /* path to the token or URL; NIL: it is elsewhere */
	char *header;			   /* the header of the token */
	List *last_record;		   /* path to the token in the last record of a page */
	List *total;			   /* path to the number of records of all pages; NIL: none */
	char *total_header;		   /* the header that has it instead */
	List *total_pages;		   /* path to the number of pages; NIL: none */
	char *total_pages_header;  /* the header that has it instead */
	List *has_more;			   /* path to a boolean; NIL: none */
	List *body_parameter;	   /* path in the request's body instead of parameter */
	const char *detected_path; /* of "auto": where "value" was found; NULL: elsewhere */
	bool parallel;			   /* pages may be asked for out of order once their number is known */
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
extern const char *pagination_type_name(pagination_type type);
extern cursor pagination_start(const pagination *p);
extern cursor pagination_at_page(const pagination *p, int page, int page_size);
extern char *pagination_url(const pagination *p, const cursor *at, const char *item_url);
extern const char *pagination_body(const pagination *p, const cursor *at, const char *item_body);
extern char *pagination_value(const pagination *p, const cursor *at);
extern cursor pagination_next(const pagination *p, const cursor *at, const source *from,
							  const http_request *request, const http_response *response,
							  const split_result *records);
extern int64 pagination_page_count(const pagination *p, const http_request *request,
								   const http_response *response, int page_size);
extern bool pagination_total_is_reached(const pagination *p, int64 records,
										const http_request *request, const http_response *response);
extern bool pagination_detect(pagination *p, const http_response *response);
extern void pagination_take_detected(pagination *p, const pagination *detected);
extern Datum cursor_as_jsonb(const cursor *next, bool *isnull);

#endif /* ETL_PAGINATION_H */
