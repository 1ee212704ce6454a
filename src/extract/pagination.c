/*-------------------------------------------------------------------------
 *
 * pagination.c
 *	  How one page leads to the next.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "extract/pagination.h"

/* The type of that name, as etl._check_pagination allows it. */
pagination_type
pagination_type_by_name(const char *name)
{
	if (strcmp(name, "link_header") == 0)
		return PAGINATION_LINK_HEADER;
	if (strcmp(name, "page_number") == 0)
		return PAGINATION_PAGE_NUMBER;
	return PAGINATION_NONE;
}

/* The URL of the page at a cursor, in the current context. */
char *
pagination_url(const pagination *p, const cursor *at, const char *item_url)
{
	if (at->url != NULL)
		return at->url;
	if (p->type == PAGINATION_PAGE_NUMBER)
		return http_url_add_parameter(item_url, p->page_parameter, psprintf("%d", at->page));
	return pstrdup(item_url);
}

/*
 * Where the item goes on after an answer.  The cursor's URL is palloc'd.  Raises for a
 * link that leads to another origin than base_url: it would take the credentials there.
 */
cursor
pagination_next(const pagination *p, const cursor *at, const char *base_url,
				const http_request *request, const http_response *response,
				const split_result *records)
{
	cursor next = {.at_end = true};
	const char *links;
	char *target;

	switch (p->type)
	{
		case PAGINATION_NONE:
			break;
		case PAGINATION_LINK_HEADER:
			links = http_response_header(response, "link");
			target = links ? http_link_target(links, "next") : NULL;
			if (target == NULL)
				break;
			next.url = http_url_resolve(
				response->effective_url ? response->effective_url : request->url, target);
			if (next.url == NULL || !http_url_same_origin(next.url, base_url))
				ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
								errmsg("the next page after %s %s is on another host",
									   request->method, http_url_redact(request->url)),
								errdetail("The link is %s.",
										  http_url_redact(next.url ? next.url : target)),
								errhint("Links are followed on the host of the server's base_url "
										"only; check base_url.")));
			next.at_end = false;
			break;
		case PAGINATION_PAGE_NUMBER:
			next.page = at->page + 1;
			next.at_end =
				records->count == 0 || (p->page_size > 0 && records->count < p->page_size);
			break;
	}
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
	if (next->url != NULL)
	{
		appendStringInfoString(&text, "{\"url\": ");
		escape_json(&text, next->url);
		appendStringInfoChar(&text, '}');
	}
	else
		appendStringInfo(&text, "{\"page\": %d}", next->page);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data));
}
