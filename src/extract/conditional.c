/*-------------------------------------------------------------------------
 *
 * conditional.c
 *	  Conditional requests: a page that has not changed is not sent again.
 *
 * The ledger is what slices of published loads have kept: the validators of their answers
 * (RFC 9110, section 8.8), under a key of the request.  A 304 re-uses the rows of such a
 * slice, as long as they are there and the task is declared as it was.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"

#include "call_sql.h"
#include "extract/extraction.h"

/* Adds a header to a page's request, whose list is its own from then on. */
static void
add_header(page_fetch *fetch, const char *name, char *value)
{
	http_header *header = palloc0(sizeof(http_header));

	header->name = pstrdup(name);
	header->value = value;
	fetch->exchange.request.headers = lappend(list_copy(fetch->exchange.request.headers), header);
}

/*
 * A key of a page's request: method, URL, body and headers without credentials.  Palloc'd
 * text of 32 digits; 128 bits, so that two requests of a task have the same one by no
 * chance worth counting.
 */
char *
conditional_request_key(const page_fetch *fetch)
{
	const http_request *request = &fetch->exchange.request;
	StringInfoData text;
	ListCell *cell;

	initStringInfo(&text);
	appendStringInfo(&text, "%s %s\n%s\n", request->method, request->url,
					 request->body ? request->body : "");
	foreach (cell, fetch->item->headers)
	{
		const http_header *header = lfirst(cell);

		if (!header->secret)
			appendStringInfo(&text, "%s: %s\n", header->name, header->value);
	}
	return psprintf(
		"%016llx%016llx",
		(unsigned long long) hash_bytes_extended((unsigned char *) text.data, text.len, 1),
		(unsigned long long) hash_bytes_extended((unsigned char *) text.data, text.len, 2));
}

/*
 * Makes a page's request conditional when its answer is held.  Opens a short transaction.
 */
void
conditional_prepare(page_fetch *fetch)
{
	extraction *e = fetch->e;
	MemoryContext old = MemoryContextSwitchTo(fetch->exchange.context);
	Oid types[] = {INT8OID, INT4OID, INT8OID, TEXTOID};
	Datum values[] = {Int64GetDatum(e->target.task_run_id), Int32GetDatum(e->target.attempt),
					  Int64GetDatum(e->target.load_id),
					  CStringGetTextDatum(conditional_request_key(fetch))};

	sql_begin();
	sql_call(
		"SELECT held_load, held_slice, etag, last_modified, next_cursor IS NULL, "
		"next_cursor ->> 'url', next_cursor ->> 'token', (next_cursor ->> 'position')::bigint, "
		"page_count, records, pagination ->> 'type', coalesce(pagination ->> 'cursor', "
		"pagination ->> 'url'), pagination ->> 'parameter' FROM etl._held_slice($1, $2, $3, $4)",
		4, types, values, NULL);
	if (!sql_is_null(0, 1))
	{
		MemoryContextSwitchTo(fetch->exchange.context);
		fetch->held_load = sql_bigint(0, 1, 0);
		fetch->held_slice = (int) sql_bigint(0, 2, 0);
		if (!sql_is_null(0, 3))
			add_header(fetch, "If-None-Match", sql_text(0, 3));
		else
			add_header(fetch, "If-Modified-Since", sql_text(0, 4));
		fetch->held_next.at_end = DatumGetBool(sql_datum(0, 5));
		fetch->held_next.url = sql_text(0, 6);
		fetch->held_next.token = sql_text(0, 7);
		fetch->held_next.position = sql_bigint(0, 8, 0);
		fetch->held_page_count = (int) sql_bigint(0, 9, 0);
		fetch->held_records = (int) sql_bigint(0, 10, 0);
		fetch->held_pages_differ = !sql_is_null(0, 11) && strcmp(sql_text(0, 11), "none") != 0;
		if (fetch->held_pages_differ)
		{
			fetch->held_pages.type = pagination_type_by_name(sql_text(0, 11));
			fetch->held_pages.detected_path = sql_text(0, 12);
			fetch->held_pages.parameter = sql_text(0, 13);
		}
	}
	sql_commit();
	MemoryContextSwitchTo(old);
}
