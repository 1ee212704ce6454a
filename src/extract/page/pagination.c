/*-------------------------------------------------------------------------
 *
 * pagination.c
 *	  How one page leads to the next.
 *
 * What leads on is opaque to us, and what ends an item is what its type says: a missing
 * link or token, an empty or short page, a total reached, has_more being false.  That a
 * source goes in a circle is noticed where slices are committed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "extract/page/body_template.h"
#include "extract/page/page_value.h"
#include "extract/page/pagination.h"
#include "extract/page/record_path.h"

static const char *const type_names[] = {
	[PAGINATION_NONE] = "none",
	[PAGINATION_LINK_HEADER] = "link_header",
	[PAGINATION_PAGE_NUMBER] = "page_number",
	[PAGINATION_OFFSET] = "offset",
	[PAGINATION_CURSOR] = "cursor",
	[PAGINATION_NEXT_URL] = "next_url",
	[PAGINATION_AUTO] = "auto",
};

/* The type of that name, as etl._check_pagination allows it. */
pagination_type
pagination_type_by_name(const char *name)
{
	for (int i = 0; i < lengthof(type_names); i++)
	{
		if (strcmp(type_names[i], name) == 0)
			return (pagination_type) i;
	}
	elog(ERROR, "unknown pagination type \"%s\"", name);
}

/* The name of a type. */
const char *
pagination_type_name(pagination_type type)
{
	return type_names[type];
}

/* Where an item begins. */
cursor
pagination_start(const pagination *p)
{
	cursor first = {.position = p->start};

	return first;
}

/*
 * The cursor of a page by its number, counted from 0, where pages can be told from it;
 * page_size: records of a full page.
 */
cursor
pagination_at_page(const pagination *p, int page, int page_size)
{
	int64 before = (int64) page * page_size;
	cursor at = {.position = p->start + (p->type == PAGINATION_PAGE_NUMBER ? page : before),
				 .records = before,
				 .largest_page = page_size};

	return at;
}

/*
 * What the parameter of a page is set to, palloc'd; NULL: the request is sent without it,
 * or its URL says it all.
 */
char *
pagination_value(const pagination *p, const cursor *at)
{
	if (at->url != NULL)
		return NULL;
	if (at->token != NULL)
		return pstrdup(at->token);
	if (p->type == PAGINATION_PAGE_NUMBER || p->type == PAGINATION_OFFSET)
		return psprintf(INT64_FORMAT, at->position);
	return NULL;
}

/* The URL of the page at a cursor, in the current context. */
char *
pagination_url(const pagination *p, const cursor *at, const char *item_url)
{
	char *value = pagination_value(p, at);

	if (at->url != NULL)
		return pstrdup(at->url);
	if (value != NULL && p->body_parameter == NIL)
		return http_url_add_parameter(item_url, p->parameter, value);
	return pstrdup(item_url);
}

/* The body of the request for the page at a cursor; NULL when it has none. */
const char *
pagination_body(const pagination *p, const cursor *at, const char *item_body)
{
	char *value = pagination_value(p, at);

	if (p->body_parameter == NIL || item_body == NULL || value == NULL)
		return item_body;
	return body_template_fill(item_body, p->body_parameter, value, at->token == NULL);
}

/*
 * A link as an absolute URL, without the credentials that the source may have repeated in
 * it.  Raises for one that leads to a host that the source does not go to.
 */
static char *
follow(const char *link, const source *from, const http_request *request,
	   const http_response *response)
{
	char *url =
		http_url_resolve(response->effective_url ? response->effective_url : request->url, link);

	if (url != NULL)
		url = source_without_credentials(from, url);
	if (url == NULL || !source_may_follow(from, url))
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("the next page after %s %s is on another host", request->method,
							   http_url_redact(request->url)),
						errdetail("The link is %s.",
								  source_hide_secrets(from, http_url_redact(url ? url : link))),
						errhint("Links are followed on the host of the server's base_url and "
								"those of its next_hosts.")));
	return url;
}

/* Raises for a page that does not say what the pagination reads there. */
static void
raise_not_said(const http_request *request, const char *what, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_JSON_TEXT),
			 errmsg("the answer to %s %s does not say %s", request->method,
					http_url_redact(request->url), what),
			 errhint("Check \"%s\" in the pagination of the task: without it a page could be "
					 "taken for the last one.",
					 wanted)));
}

/* A number that the body has at a path, or a header.  Raises when there is none. */
static int64
count_said(const http_request *request, const http_response *response, List *path,
		   const char *header, const char *what, const char *wanted)
{
	const char *value = path != NIL ? page_value(response->body, response->body_length, path)
									: http_response_header(response, header);
	char *end;
	int64 count = value != NULL ? strtoll(value, &end, 10) : 0;

	if (value == NULL || end == value || *end != '\0' || count < 0)
		raise_not_said(request, what, wanted);
	return count;
}

/* The number of records of all pages, or of pages, as an answer says it; -1: not declared. */
static int64
total_said(const pagination *p, const http_request *request, const http_response *response)
{
	if (p->total == NIL && p->total_header == NULL)
		return -1;
	return count_said(request, response, p->total, p->total_header, "how many records there are",
					  p->total != NIL ? "total" : "total_header");
}

static int64
total_pages_said(const pagination *p, const http_request *request, const http_response *response)
{
	if (p->total_pages == NIL && p->total_pages_header == NULL)
		return -1;
	return count_said(request, response, p->total_pages, p->total_pages_header,
					  "how many pages there are",
					  p->total_pages != NIL ? "total_pages" : "total_pages_header");
}

/*
 * What the body says about there being more: 1, 0, or -1 when it is not asked, or says
 * nothing where that is no harm.
 */
static int
more_said(const pagination *p, const http_request *request, const http_response *response,
		  bool must_say)
{
	char *value;

	if (p->has_more == NIL)
		return -1;
	value = page_value(response->body, response->body_length, p->has_more);
	if (value == NULL && must_say)
		raise_not_said(request, "whether there is more", "has_more");
	if (value == NULL)
		return -1;
	return strcmp(value, "false") != 0 && strcmp(value, "0") != 0;
}

/*
 * Whether a page that was asked for by number or offset is the last one.  What the source
 * says decides; a short page is the last one only where it says nothing.  A total that has
 * been passed is not to be believed: then an empty page is the end.
 */
static bool
is_last_numbered(const pagination *p, const cursor *at, const cursor *next,
				 const http_request *request, const http_response *response, int count)
{
	int more = more_said(p, request, response, count > 0);
	int64 pages = total_pages_said(p, request, response);
	int64 total = count > 0 ? total_said(p, request, response) : -1;
	int64 pages_so_far = at->position - p->start + 1;

	if (more == 0 || (pages >= 0 && pages == pages_so_far) ||
		(total >= 0 && total == next->records))
		return true;
	if (p->type == PAGINATION_PAGE_NUMBER && (more == 1 || pages > pages_so_far))
		return false;
	if (count == 0)
		return more != 1; /* else the same offset again: a circle, which is told */
	if (more == 1 || pages >= 0 || total >= 0)
		return false;
	/* short is what is shorter than another page was: sources cap the size asked for */
	return p->size > 0 && count < p->size && count < at->largest_page;
}

/*
 * How many pages there are, as an answer says it; -1 when it is not known, or the pages
 * cannot be asked for by number.  page_size: records of this, the first page.  Raises for
 * an answer that does not say what the pagination reads there.
 */
int64
pagination_page_count(const pagination *p, const http_request *request,
					  const http_response *response, int page_size)
{
	int64 total;

	if (!p->parallel || (p->type != PAGINATION_PAGE_NUMBER && p->type != PAGINATION_OFFSET))
		return -1;
	total = total_pages_said(p, request, response);
	if (total >= 0)
		return total;
	total = total_said(p, request, response);
	if (total < 0 || page_size == 0)
		return -1;
	return total / page_size + (total % page_size != 0);
}

/*
 * Whether an answer says that there is nothing behind so many records.
 */
bool
pagination_total_is_reached(const pagination *p, int64 records, const http_request *request,
							const http_response *response)
{
	int64 total = total_said(p, request, response);

	return total >= 0 && records >= total;
}

/*
 * Where the item goes on after an answer.  Strings of the cursor are palloc'd.  Raises
 * for a link to another host.
 */
cursor
pagination_next(const pagination *p, const cursor *at, const source *from,
				const http_request *request, const http_response *response,
				const split_result *records)
{
	cursor next = {.at_end = true,
				   .records = at->records + records->count,
				   .largest_page = Max(at->largest_page, records->count)};
	const char *links;
	char *link;
	bool malformed;

	if (response->status == 204 && p->type != PAGINATION_LINK_HEADER)
		return next; /* no content: it says nothing, and there is nothing */
	switch (p->type)
	{
		case PAGINATION_NONE:
		case PAGINATION_AUTO: /* nothing was found that leads on */
			break;
		case PAGINATION_LINK_HEADER:
			links = http_response_header(response, "link");
			link = links ? http_link_target(links, "next", &malformed) : NULL;
			if (links != NULL && link == NULL && malformed)
				ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
								errmsg("the Link header of the answer to %s %s cannot be read",
									   request->method, http_url_redact(request->url)),
								errhint("It is what says whether there is a next page; a page "
										"without it is not taken for the last one.")));
			if (link != NULL)
				next.url = follow(link, from, request, response);
			next.at_end = next.url == NULL;
			break;
		case PAGINATION_NEXT_URL:
			link = page_value(response->body, response->body_length, p->value);
			if (link != NULL && link[0] != '\0')
				next.url = follow(link, from, request, response);
			next.at_end = next.url == NULL;
			break;
		case PAGINATION_CURSOR:
			if (p->value != NIL)
				next.token = page_value(response->body, response->body_length, p->value);
			else if (p->last_record != NIL && records->count > 0)
			{
				const record_range *last = &records->records[records->count - 1];

				next.token =
					page_value(response->body + last->offset, last->length, p->last_record);
				if (next.token == NULL)
					raise_not_said(request, "where its last record stands", "last_record");
			}
			else if (p->header != NULL && http_response_header(response, p->header) != NULL)
				next.token = pstrdup(http_response_header(response, p->header));
			/* 0 is where sources begin, and what those that count say at the end */
			next.at_end = next.token == NULL || next.token[0] == '\0' ||
						  strcmp(next.token, "false") == 0 || strcmp(next.token, "0") == 0;
			break;
		case PAGINATION_PAGE_NUMBER:
		case PAGINATION_OFFSET:
			next.position = at->position + (p->type == PAGINATION_PAGE_NUMBER ? 1 : records->count);
			next.at_end = is_last_numbered(p, at, &next, request, response, records->count);
			return next;
	}
	if (!next.at_end && (more_said(p, request, response, true) == 0 ||
						 total_said(p, request, response) == next.records))
		next.at_end = true;
	return next;
}

/* Where APIs put what leads on; "parameter" is what a token goes back in. */
typedef struct well_known
{
	const char *path;
	const char *parameter; /* NULL: the value is a URL */
} well_known;

static const well_known known_places[] = {
	{"$.next", NULL},
	{"$.links.next", NULL},
	{"$.links.next.href", NULL},
	{"$._links.next.href", NULL},
	{"$._links.next", NULL},
	{"$.next_page_url", NULL},
	{"$.nextPageUrl", NULL},
	{"$.next_url", NULL},
	{"$.paging.next", NULL},
	{"$.pagination.next_url", NULL},
	{"$.meta.next", NULL},
	{"$.info.next", NULL},
	{"$[\"@odata.nextLink\"]", NULL},
	{"$.next_cursor", "cursor"},
	{"$.nextCursor", "cursor"},
	{"$.meta.next_cursor", "cursor"},
	{"$.pagination.next_cursor", "cursor"},
	{"$.response_metadata.next_cursor", "cursor"},
	{"$.paging.cursors.after", "after"},
	{"$.paging.next.after", "after"},
	{"$.nextPageToken", "pageToken"},
	{"$.next_page_token", "page_token"},
	{"$.next_token", "next_token"},
	{"$.continuation_token", "continuation_token"},
};

/*
 * Finds out from the first page which pagination a source has: a Link header, or a link or
 * token at one of the places where APIs put it.  Fills in type and what belongs to it, in
 * the current context.  False when nothing leads on; then the type stays.
 */
bool
pagination_detect(pagination *p, const http_response *response)
{
	const char *links = http_response_header(response, "link");
	bool malformed;

	if (links != NULL && (http_link_target(links, "next", &malformed) != NULL || malformed))
	{
		p->type = PAGINATION_LINK_HEADER;
		return true;
	}
	for (int i = 0; i < lengthof(known_places); i++)
	{
		List *path = record_path_parse(known_places[i].path, false);
		char *value = page_value(response->body, response->body_length, path);
		bool is_url;

		if (value == NULL || value[0] == '\0' || strcmp(value, "false") == 0)
			continue;
		is_url = value[0] == '/' || value[0] == '?' || strncmp(value, "http://", 7) == 0 ||
				 strncmp(value, "https://", 8) == 0;
		if (is_url != (known_places[i].parameter == NULL))
			continue;
		p->value = path;
		p->detected_path = known_places[i].path;
		p->parameter = known_places[i].parameter ? pstrdup(known_places[i].parameter) : NULL;
		p->type = is_url ? PAGINATION_NEXT_URL : PAGINATION_CURSOR;
		return true;
	}
	return false;
}

/*
 * Makes the pagination of an earlier load of the task this one's: its type, detected_path
 * and parameter.  In the current context.
 */
void
pagination_take_detected(pagination *p, const pagination *detected)
{
	p->type = detected->type;
	p->detected_path = detected->detected_path ? pstrdup(detected->detected_path) : NULL;
	p->value = p->detected_path ? record_path_parse(p->detected_path, true) : NIL;
	p->parameter = detected->parameter ? pstrdup(detected->parameter) : NULL;
}

/* A cursor as jsonb, as slices keep it: SQL null at the end of an item. */
Datum
cursor_as_jsonb(const cursor *next, bool *isnull)
{
	StringInfoData text;

	*isnull = next->at_end;
	if (next->at_end)
		return (Datum) 0;
	initStringInfo(&text);
	if (next->url != NULL || next->token != NULL)
	{
		appendStringInfo(&text, "{\"%s\": ", next->url ? "url" : "token");
		escape_json(&text, next->url ? next->url : next->token);
		appendStringInfoChar(&text, '}');
	}
	else
		appendStringInfo(&text, "{\"position\": " INT64_FORMAT "}", next->position);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data));
}
