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

#include "extract/page_value.h"
#include "extract/pagination.h"

/* The type of that name, as etl._check_pagination allows it. */
pagination_type
pagination_type_by_name(const char *name)
{
	static const char *const names[] = {
		[PAGINATION_NONE] = "none",
		[PAGINATION_LINK_HEADER] = "link_header",
		[PAGINATION_PAGE_NUMBER] = "page_number",
		[PAGINATION_OFFSET] = "offset",
		[PAGINATION_CURSOR] = "cursor",
		[PAGINATION_NEXT_URL] = "next_url",
	};

	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(names[i], name) == 0)
			return (pagination_type) i;
	}
	elog(ERROR, "unknown pagination type \"%s\"", name);
}

/* Where an item begins. */
cursor
pagination_start(const pagination *p)
{
	cursor first = {.position = p->start};

	return first;
}

/* The URL of the page at a cursor, in the current context. */
char *
pagination_url(const pagination *p, const cursor *at, const char *item_url)
{
	if (at->url != NULL)
		return pstrdup(at->url);
	if (at->token != NULL)
		return http_url_add_parameter(item_url, p->parameter, at->token);
	if (p->type == PAGINATION_PAGE_NUMBER || p->type == PAGINATION_OFFSET)
		return http_url_add_parameter(item_url, p->parameter, psprintf(INT64_FORMAT, at->position));
	return pstrdup(item_url);
}

/*
 * A link as an absolute URL.  Raises for one that leads to another origin than base_url:
 * it would take the credentials there.
 */
static char *
follow(const char *link, const char *base_url, const http_request *request,
	   const http_response *response)
{
	char *url =
		http_url_resolve(response->effective_url ? response->effective_url : request->url, link);

	if (url == NULL || !http_url_same_origin(url, base_url))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("the next page after %s %s is on another host", request->method,
						http_url_redact(request->url)),
				 errdetail("The link is %s.", http_url_redact(url ? url : link)),
				 errhint("Links are followed on the host of the server's base_url only; check "
						 "base_url.")));
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

/* Whether the body says that there is nothing after this page. */
static bool
body_says_end(const pagination *p, const cursor *next, const http_request *request,
			  const http_response *response)
{
	char *value;
	char *end;
	int64 total;

	if (p->has_more != NIL)
	{
		value = page_value(response->body, response->body_length, p->has_more);
		if (value == NULL)
			raise_not_said(request, "whether there is more", "has_more");
		if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0)
			return true;
	}
	if (p->total != NIL)
	{
		value = page_value(response->body, response->body_length, p->total);
		total = value != NULL ? strtoll(value, &end, 10) : 0;
		if (value == NULL || end == value || *end != '\0')
			raise_not_said(request, "how many records there are", "total");
		if (next->records >= total)
			return true;
	}
	return false;
}

/*
 * Where the item goes on after an answer.  Strings of the cursor are palloc'd.  Raises
 * for a link to another host.
 */
cursor
pagination_next(const pagination *p, const cursor *at, const char *base_url,
				const http_request *request, const http_response *response,
				const split_result *records)
{
	cursor next = {.at_end = true,
				   .records = at->records + records->count,
				   .largest_page = Max(at->largest_page, records->count)};
	const char *links;
	char *link;
	bool malformed;

	switch (p->type)
	{
		case PAGINATION_NONE:
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
				next.url = follow(link, base_url, request, response);
			next.at_end = next.url == NULL;
			break;
		case PAGINATION_NEXT_URL:
			link = page_value(response->body, response->body_length, p->value);
			if (link != NULL && link[0] != '\0')
				next.url = follow(link, base_url, request, response);
			next.at_end = next.url == NULL;
			break;
		case PAGINATION_CURSOR:
			if (p->value != NIL)
				next.token = page_value(response->body, response->body_length, p->value);
			else if (http_response_header(response, p->header) != NULL)
				next.token = pstrdup(http_response_header(response, p->header));
			next.at_end =
				next.token == NULL || next.token[0] == '\0' || strcmp(next.token, "false") == 0;
			break;
		case PAGINATION_PAGE_NUMBER:
		case PAGINATION_OFFSET:
			next.position = at->position + (p->type == PAGINATION_PAGE_NUMBER ? 1 : records->count);
			/* short is what is shorter than another page was: sources cap the size asked for */
			next.at_end = records->count == 0 || (p->size > 0 && records->count < p->size &&
												  records->count < at->largest_page);
			break;
	}
	if (!next.at_end && body_says_end(p, &next, request, response))
		next.at_end = true;
	return next;
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
