/*-------------------------------------------------------------------------
 *
 * plan.c
 *	  What an extraction fetches next: items, and the pages of each.
 *
 * An item's pages follow each other, each naming the next; or, once an answer has said how
 * many there are and they can be asked for by number, they are independent, fetched at
 * once and committed in any order.  Items are independent of each other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "extract/extraction.h"

/* Pages of one item that an answer may announce. */
#define MAX_PLANNED_PAGES 10000000

static bool is_finished(const extract_item *item);

/*
 * An item that would go on beyond max_pages, once all before is committed; NULL when there
 * is none.
 */
extract_item *
plan_item_with_too_many_pages(const extraction *e)
{
	dlist_iter iter;

	dlist_foreach (iter, unconstify(dlist_head *, &e->items))
	{
		extract_item *item = dlist_container(extract_item, node, iter.cur);

		if (!item->at.at_end && item->next_page >= e->pages.max_pages && item->missing_count == 0 &&
			dlist_is_empty(&item->fetches))
			return item;
	}
	return NULL;
}

/*
 * Raises what is wrong with such an item.
 */
void
plan_raise_too_many_pages(const extraction *e, const extract_item *item)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("more than %d pages: %s %s would be one too many", e->pages.max_pages,
					item->method, http_url_redact(pagination_url(&e->pages, &item->at, item->url))),
			 errhint("Raise max_pages in the pagination of the task, if the source "
					 "really has that many.")));
}

/*
 * The next page to fetch, or NULL when there is none now: what is under way has to come
 * first, or everything is fetched.  The caller submits it.
 */
page_fetch *
plan_next_page(extraction *e)
{
	for (;;)
	{
		dlist_iter iter;

		dlist_foreach (iter, &e->items)
		{
			extract_item *item = dlist_container(extract_item, node, iter.cur);
			page_fetch *fetch = NULL;

			if (item->missing_count > 0)
			{
				int page = item->missing[--item->missing_count];
				cursor at = pagination_at_page(&e->pages, page, item->page_size);

				fetch = page_fetch_create(item, e, page, &at);
			}
			else if (!item->at.at_end && !item->at_asked)
			{
				/* after the pages that are known, and only then */
				if (item->page_count > 0 && !dlist_is_empty(&item->fetches))
					continue;
				if (item->next_page >= e->pages.max_pages)
					continue; /* see plan_item_with_too_many_pages */
				item->at_asked = true;
				fetch = page_fetch_create(item, e, item->next_page, &item->at);
			}
			if (fetch != NULL)
				return fetch;
		}
		if (e->items_read >= e->item_count)
			return NULL;
		items_read(e);
	}
}

/* A page that is the same as its neighbour means that the source ignores the cursor. */
static void
check_progress(page_fetch *fetch)
{
	extract_item *item = fetch->item;
	const http_request *request = &fetch->exchange.request;
	bool same;

	if (item->digests != NULL && fetch->page < item->page_count)
	{
		same =
			(fetch->page > 0 && item->digests[fetch->page - 1] == fetch->digest) ||
			(fetch->page + 1 < item->page_count && item->digests[fetch->page + 1] == fetch->digest);
		item->digests[fetch->page] = fetch->digest;
	}
	else
	{
		same = item->last_digest == fetch->digest;
		item->last_digest = fetch->digest;
	}
	if (same && fetch->records.count > 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_ERROR),
			 errmsg(
				 "pagination goes in a circle: %s %s gave the same page as the request before it",
				 request->method, http_url_redact(request->url)),
			 errhint("Check the pagination of the task: the source seems to ignore its "
					 "parameter.")));
}

/*
 * After the first page: when it says how many there are and they can be asked for by
 * number, all of them become independent.  page_size: its records.
 */
static void
plan_pages(extraction *e, page_fetch *fetch, int64 count, int page_size)
{
	extract_item *item = fetch->item;
	int limit = Min(e->pages.max_pages, MAX_PLANNED_PAGES);
	MemoryContext old;

	if (count < 2)
		return;
	if (count > limit)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d pages: %s %s says that there are " INT64_FORMAT, limit,
						fetch->exchange.request.method,
						http_url_redact(fetch->exchange.request.url), count),
				 limit < e->pages.max_pages
					 ? errhint("Set \"parallel\": false in the pagination of the task, if "
							   "the source really has that many.")
					 : errhint("Raise max_pages in the pagination of the task, if the source "
							   "really has that many.")));
	old = MemoryContextSwitchTo(item->context);
	item->page_count = (int) count;
	item->page_size = page_size;
	item->digests = palloc0(sizeof(uint64) * count);
	item->digests[0] = fetch->digest;
	item->missing = palloc(sizeof(int) * count);
	/* taken from the end: the lowest number last */
	for (int page = item->page_count - 1; page > 0; page--)
		item->missing[item->missing_count++] = page;
	MemoryContextSwitchTo(old);
}

/* Keeps where an item goes on. */
static void
go_on_at(extract_item *item, const cursor *next, int page)
{
	MemoryContext old = MemoryContextSwitchTo(item->context);

	if (item->at.url != NULL)
		pfree(item->at.url);
	if (item->at.token != NULL)
		pfree(item->at.token);
	item->at = *next;
	item->at.url = next->url ? pstrdup(next->url) : NULL;
	item->at.token = next->token ? pstrdup(next->token) : NULL;
	item->at_asked = false;
	item->next_page = page;
	MemoryContextSwitchTo(old);
}

/* Stops an item whose pages were known beforehand behind one of them. */
static void
stop_behind(extraction *e, extract_item *item, int page)
{
	dlist_mutable_iter iter;
	int left = 0;

	for (int i = 0; i < item->missing_count; i++)
	{
		if (item->missing[i] < page)
			item->missing[left++] = item->missing[i];
	}
	item->missing_count = left;
	item->at.at_end = true;
	dlist_foreach_modify (iter, &item->fetches)
	{
		page_fetch *fetch = dlist_container(page_fetch, node, iter.cur);

		if (fetch->page <= page || !fetch->in_pool)
			continue;
		http_pool_abandon(e->pool, &fetch->exchange);
		page_fetch_free(fetch);
	}
}

/* One of the pages whose number was known beforehand. */
static void
planned_page_came(extraction *e, page_fetch *fetch)
{
	extract_item *item = fetch->item;
	const http_request *request = &fetch->exchange.request;
	bool is_last = fetch->page == item->page_count - 1;
	int missing = item->page_size - fetch->records.count;

	if (fetch->outcome == PAGE_END && fetch->rule->action == RULE_STOP_PAGINATION)
	{
		stop_behind(e, item, fetch->page);
		return;
	}

	/* fewer records are right where the source has shrunk; else what is left out is unknown */
	if (!is_last && e->pages.type == PAGINATION_OFFSET && fetch->outcome == PAGE_RECORDS &&
		(missing < 0 || (missing > 0 && !pagination_total_is_reached(
											&e->pages, fetch->at.records + fetch->records.count,
											request, fetch->exchange.response))))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("%s %s gave %d records where the first page had %d", request->method,
						http_url_redact(request->url), fetch->records.count, item->page_size),
				 errhint("Pages of different sizes cannot be asked for by offset at once; set "
						 "\"parallel\": false in the pagination of the task.")));
	if (is_last)
		go_on_at(item, &fetch->next, item->page_count);
	else
	{
		fetch->next = pagination_at_page(&e->pages, fetch->page + 1, item->page_size);
		fetch->next.records = fetch->at.records + fetch->records.count;
	}
}

/* What a first page tells about the others, when nobody has said it. */
static void
detect_pagination(page_fetch *fetch)
{
	extraction *e = fetch->e;
	MemoryContext old = MemoryContextSwitchTo(e->context);

	if (fetch->outcome == PAGE_RECORDS)
		e->pages_detected = pagination_detect(&e->pages, fetch->exchange.response);
	else if (fetch->outcome == PAGE_NOT_MODIFIED && fetch->held_pages_differ)
	{
		pagination_take_detected(&e->pages, &fetch->held_pages);
		e->pages_detected = true;
	}
	MemoryContextSwitchTo(old);
}

/*
 * Whether an answer without a body tells by its headers how its page leads on, and nothing
 * else does: an ETag need not cover them.
 */
static bool
headers_lead_on(const pagination *p, const http_response *response)
{
	if (p->has_more != NIL || p->total != NIL || p->total_pages != NIL)
		return false;
	if (p->type == PAGINATION_LINK_HEADER)
		return http_response_header(response, "link") != NULL;
	return (p->total_header != NULL && http_response_header(response, p->total_header) != NULL) ||
		   (p->total_pages_header != NULL &&
			http_response_header(response, p->total_pages_header) != NULL);
}

/* Where an item goes on after a page that has not changed. */
static void
page_not_modified(page_fetch *fetch)
{
	extraction *e = fetch->e;
	extract_item *item = fetch->item;
	const http_request *request = &fetch->exchange.request;
	const http_response *response = fetch->exchange.response;
	split_result held = {.count = fetch->held_records};
	int64 page_count = fetch->held_page_count;

	item->last_digest = 0;
	fetch->next = fetch->held_next;
	if (headers_lead_on(&e->pages, response))
	{
		fetch->next = pagination_next(&e->pages, &fetch->at, e->from, request, response, &held);
		page_count = pagination_page_count(&e->pages, request, response, held.count);
	}
	fetch->next.records = fetch->at.records + held.count;
	if (fetch->page == 0 && item->page_count == 0 && !fetch->next.at_end)
		plan_pages(e, fetch, page_count, held.count);
}

/*
 * Takes note of a page that has come, before it is committed: what it says about the pages
 * after it.  Fills in fetch->next.  Raises for a circle, and for a page that does not say
 * what the pagination reads there.
 */
void
plan_page_came(page_fetch *fetch)
{
	extraction *e = fetch->e;
	extract_item *item = fetch->item;
	MemoryContext old = MemoryContextSwitchTo(fetch->exchange.context);
	bool planned;

	if (e->pages.type == PAGINATION_AUTO)
		detect_pagination(fetch);
	if (fetch->outcome == PAGE_RECORDS)
	{
		fetch->digest = page_digest(fetch);
		fetch->next = pagination_next(&e->pages, &fetch->at, e->from, &fetch->exchange.request,
									  fetch->exchange.response, &fetch->records);
		check_progress(fetch);
		if (fetch->page == 0 && item->page_count == 0 && !fetch->next.at_end)
			plan_pages(e, fetch,
					   pagination_page_count(&e->pages, &fetch->exchange.request,
											 fetch->exchange.response, fetch->records.count),
					   fetch->records.count);
	}
	else if (fetch->outcome == PAGE_NOT_MODIFIED)
		page_not_modified(fetch);
	else
		fetch->next.at_end = true;
	planned = fetch->page < item->page_count;
	if (planned)
		planned_page_came(e, fetch);
	else
		go_on_at(item, &fetch->next, fetch->page + 1);
	if (planned && fetch->page == 0)
		item->at.at_end = true; /* until the last of them has come */
	MemoryContextSwitchTo(old);
}

/* Whether nothing of an item is left to be fetched or committed. */
static bool
is_finished(const extract_item *item)
{
	return item->at.at_end && item->missing_count == 0 &&
		   dlist_is_empty(unconstify(dlist_head *, &item->fetches));
}

/*
 * Lets go of a page that has been committed, and of its item when that was the last one.
 */
void
plan_page_committed(page_fetch *fetch)
{
	extraction *e = fetch->e;
	extract_item *item = fetch->item;

	page_fetch_free(fetch);
	if (is_finished(item))
	{
		dlist_delete(&item->node);
		e->begun--;
		MemoryContextDelete(item->context);
	}
}
