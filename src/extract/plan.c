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

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "call_sql.h"
#include "extract/extraction.h"

/* Items whose requests are read at once. */
#define ITEMS_AT_ONCE 64
/* Pages of one item that an answer may announce. */
#define MAX_PLANNED_PAGES 10000000

static void read_items(extraction *e);
static bool is_finished(const extract_item *item);

/* Says that the body is JSON, unless the task says what it is. */
static void
say_json(extract_item *item)
{
	http_header *header = palloc0(sizeof(http_header));
	ListCell *cell;

	foreach (cell, item->headers)
	{
		if (pg_strcasecmp(((http_header *) lfirst(cell))->name, "content-type") == 0)
			return;
	}
	header->name = "Content-Type";
	header->value = "application/json";
	item->headers = lappend(item->headers, header);
}

/* The request of an item, from a row of etl._next_items.  In the item's context. */
static void
read_request(extraction *e, extract_item *item, int row)
{
	List *names = sql_text_array(row, 5);
	List *texts = sql_text_array(row, 6);
	ListCell *name;
	ListCell *text;

	item->method = sql_text(row, 8);
	item->body = sql_text(row, 9);
	item->url = source_url(e->from, sql_text(row, 2) ? sql_text(row, 2) : "",
						   sql_text_array(row, 3), sql_text_array(row, 4));
	if (e->pages.size_parameter != NULL)
		item->url = http_url_add_parameter(item->url, e->pages.size_parameter,
										   psprintf("%d", e->pages.size));
	if (!http_url_same_origin(item->url, e->from->base_url))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the request leads to another host than the server's base_url"),
						errdetail("The URL is %s.", http_url_redact(item->url)),
						errhint("A path begins with / and is added to base_url.")));
	forboth (name, names, text, texts)
	{
		http_header *header = palloc0(sizeof(http_header));

		header->name = lfirst(name);
		header->value = lfirst(text);
		item->headers = lappend(item->headers, header);
	}
	if (item->body != NULL)
	{
		item->body = pg_server_to_any(item->body, strlen(item->body), PG_UTF8);
		say_json(item);
	}
	item->has_values = !sql_is_null(row, 7);
	if (item->has_values)
		item->values = datumCopy(sql_datum(row, 7), false, -1);
}

/* Where an item goes on, from a row of etl._next_items.  In the item's context. */
static void
read_position(extraction *e, extract_item *item, int row)
{
	item->next_page = (int) sql_bigint(row, 10, 0);
	if (item->next_page == 0)
	{
		item->at = pagination_start(&e->pages);
		return;
	}
	item->at.at_end = DatumGetBool(sql_datum(row, 11));
	item->at.url = sql_text(row, 12);
	item->at.token = sql_text(row, 13);
	item->at.position = sql_bigint(row, 14, 0);
	item->at.records = sql_bigint(row, 15, 0);
	item->page_count = (int) sql_bigint(row, 16, 0);
	item->page_size = (int) sql_bigint(row, 17, 0);
	item->last_digest = (uint64) sql_bigint(row, 18, 0);
	if (!sql_is_null(row, 19))
	{
		ArrayType *pages = DatumGetArrayTypePCopy(sql_datum(row, 19));

		item->missing_count = ARR_DIMS(pages)[0];
		item->missing = (int *) ARR_DATA_PTR(pages);
		item->digests = palloc0(sizeof(uint64) * item->page_count);
	}
}

/* Reads the next unfinished items, some at once. */
static void
read_items(extraction *e)
{
	Oid types[] = {INT8OID, INT4OID, INT8OID, INT4OID, INT4OID};
	Datum values[] = {Int64GetDatum(e->target.task_run_id), Int32GetDatum(e->target.attempt),
					  Int64GetDatum(e->target.load_id), Int32GetDatum(e->items_read),
					  Int32GetDatum(ITEMS_AT_ONCE)};
	int count;

	sql_begin();
	sql_call(
		"SELECT item_number, path, query_names, query_values, header_names, header_values, item, "
		"method, body, next_page, cursor IS NULL, cursor ->> 'url', cursor ->> 'token', "
		"(cursor ->> 'position')::bigint, item_records, page_count, page_size, last_digest, "
		"missing_pages FROM etl._next_items($1, $2, $3, $4, $5)",
		5, types, values, NULL);
	count = (int) SPI_processed;
	for (int row = 0; row < count; row++)
	{
		MemoryContext context = AllocSetContextCreate(e->context, "etl item", ALLOCSET_SMALL_SIZES);
		MemoryContext old = MemoryContextSwitchTo(context);
		extract_item *item = palloc0(sizeof(extract_item));

		item->context = context;
		item->number = (int) sql_bigint(row, 1, 0);
		dlist_init(&item->fetches);
		read_request(e, item, row);
		read_position(e, item, row);
		dlist_push_tail(&e->items, &item->node);
		e->begun++;
		e->items_read = item->number + 1;
		MemoryContextSwitchTo(old);
	}
	if (count < ITEMS_AT_ONCE)
		e->items_read = e->item_count;
	sql_commit();
}

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
		read_items(e);
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

/*
 * Gives an item up, with what is under way of it.
 */
void
plan_drop_item(extraction *e, extract_item *item)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &item->fetches)
	{
		page_fetch *fetch = dlist_container(page_fetch, node, iter.cur);

		if (fetch->in_pool)
			http_pool_abandon(e->pool, &fetch->exchange);
	}
	dlist_delete(&item->node);
	e->begun--;
	MemoryContextDelete(item->context);
}
