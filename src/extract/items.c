/*-------------------------------------------------------------------------
 *
 * items.c
 *	  The items of an extraction: one, or a row of for_each each.
 *
 * They are read some at once, as there is room for their requests, so that many of them
 * take no more memory than a few.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "call_sql.h"
#include "extract/extraction.h"

/* Items whose requests are read at once. */
#define ITEMS_AT_ONCE 64

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

/*
 * Reads the next unfinished items, some at once, to the end of e->items.  Opens a short
 * transaction.
 */
void
items_read(extraction *e)
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
 * Gives an item up, with what is under way of it.
 */
void
items_drop(extraction *e, extract_item *item)
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
