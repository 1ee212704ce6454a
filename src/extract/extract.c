/*-------------------------------------------------------------------------
 *
 * extract.c
 *	  An extraction: a source to raw rows, slice by slice.
 *
 * Pages are fetched with no transaction open, as many at once as the source allows; then
 * the records, the quarantine and the cursor of each are committed in one.  Whatever kills
 * the process, the load goes on at what is not committed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "call_sql.h"
#include "extract/extract.h"
#include "extract/extraction.h"
#include "extract/page/record_path.h"
#include "progress.h"

/* Pages that are committed together, and their bytes. */
#define BATCH_PAGES 32
#define BATCH_BYTES (8 * 1024 * 1024)

PG_FUNCTION_INFO_V1(etl_encode_url);

/* SQL: etl._encode_url(text) */
Datum
etl_encode_url(PG_FUNCTION_ARGS)
{
	StringInfoData encoded;
	char *plain = text_to_cstring(PG_GETARG_TEXT_PP(0));

	initStringInfo(&encoded);
	http_append_encoded(&encoded, pg_server_to_any(plain, strlen(plain), PG_UTF8), false);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(encoded.data, encoded.len));
}

/* The policy of that name; NULL is the default. */
static invalid_record_policy
invalid_record_policy_by_name(const char *name)
{
	if (name != NULL && strcmp(name, "fail") == 0)
		return INVALID_FAIL;
	if (name != NULL && strcmp(name, "warn") == 0)
		return INVALID_WARN;
	return INVALID_QUARANTINE;
}

/* A path of members in a column of the last result; NIL if null. */
static List *
optional_path(int column)
{
	char *path = sql_text(0, column);

	return path == NULL ? NIL : record_path_parse(path, true);
}

/* A jsonb column of the last result in the current context; NULL if null. */
static Jsonb *
optional_jsonb(int column)
{
	if (sql_is_null(0, column))
		return NULL;
	return (Jsonb *) DatumGetPointer(
		datumCopy(PointerGetDatum(PG_DETOAST_DATUM(sql_datum(0, column))), false, -1));
}

/* Reads the pagination of the task in the current context. */
static void
read_pagination(extraction *e)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(e->target.load_id)};
	pagination *p = &e->pages;

	sql_call(
		"SELECT p ->> 'type', p ->> 'parameter', (p ->> 'start')::integer, p ->> 'size_parameter', "
		"(p ->> 'size')::integer, (p ->> 'max_pages')::integer, coalesce(p ->> 'cursor', p ->> "
		"'url'), p ->> 'header', p ->> 'last_record', p ->> 'total', p ->> 'total_header', "
		"p ->> 'total_pages', p ->> 'total_pages_header', p ->> 'has_more', p ->> "
		"'body_parameter', coalesce((p ->> 'parallel')::boolean, true) "
		"FROM etl._load_pagination($1) p",
		1, types, values, NULL);
	p->type = pagination_type_by_name(sql_text(0, 1));
	p->parameter = sql_text(0, 2);
	p->start = (int) sql_bigint(0, 3, 0);
	p->size_parameter = sql_text(0, 4);
	p->size = (int) sql_bigint(0, 5, 0);
	p->max_pages = (int) sql_bigint(0, 6, 10000);
	p->value = optional_path(7);
	p->header = sql_text(0, 8);
	p->last_record = optional_path(9);
	p->total = optional_path(10);
	p->total_header = sql_text(0, 11);
	p->total_pages = optional_path(12);
	p->total_pages_header = sql_text(0, 13);
	p->has_more = optional_path(14);
	p->body_parameter = optional_path(15);
	p->parallel = DatumGetBool(sql_datum(0, 16));
}

/*
 * Opens or resumes the load and reads what is to be fetched.  Returns false when the load
 * is complete already; then the task is finished.
 */
static bool
begin(extraction *e)
{
	Oid types[] = {INT8OID, INT4OID, INT8OID};
	Datum values[3] = {Int64GetDatum(e->target.task_run_id), Int32GetDatum(e->target.attempt)};
	ListCell *cell;
	char *server;

	sql_begin();
	sql_call(
		"SELECT load_id, is_complete, server, records, key, record_schema, on_invalid, rules, "
		"skip_failed_items, has_validators, next_slice, item_count, bytes, partition_key, "
		"raw_schema, raw_table, data_interval_start, data_interval_end, routes_records, decode, "
		"is_graphql "
		"FROM etl._begin_extract($1, $2)",
		2, types, values, NULL);
	e->target.load_id = sql_bigint(0, 1, 0);
	if (DatumGetBool(sql_datum(0, 2)))
	{
		/* fetched by a run that did not get to publish it: nothing is fetched twice */
		values[2] = Int64GetDatum(e->target.load_id);
		sql_call("SELECT etl._finish_extract($1, $2, $3)", 3, types, values, NULL);
		sql_commit();
		return false;
	}
	MemoryContextSwitchTo(e->context);
	server = sql_text(0, 3);
	e->decode = page_options_create(optional_jsonb(20), sql_text(0, 4));
	e->is_graphql = DatumGetBool(sql_datum(0, 21));
	foreach (cell, sql_text_array(0, 5))
		e->target.keys = lappend(e->target.keys, record_path_parse(lfirst(cell), false));
	e->target.record_schema = optional_jsonb(6);
	e->target.on_invalid = invalid_record_policy_by_name(sql_text(0, 7));
	e->rules = error_rules_read(optional_jsonb(8));
	e->skip_failed_items = DatumGetBool(sql_datum(0, 9));
	e->has_validators = DatumGetBool(sql_datum(0, 10));
	e->next_slice = (int) sql_bigint(0, 11, 0);
	e->item_count = (int) sql_bigint(0, 12, 0);
	e->bytes = sql_bigint(0, 13, 0);
	e->target.partition_key = sql_bigint(0, 14, 0);
	e->partition_tried = e->target.partition_key > 0;
	e->target.schema = sql_text(0, 15);
	e->target.table = sql_text(0, 16);
	e->target.interval_start = DatumGetTimestampTz(sql_datum(0, 17));
	e->target.interval_end = DatumGetTimestampTz(sql_datum(0, 18));
	e->target.routes = DatumGetBool(sql_datum(0, 19));
	read_pagination(e);
	e->from = source_open(server);
	source_quota_read(e->from, e->target.task_run_id, e->target.attempt);
	MemoryContextSwitchTo(e->context);
	e->target.shape =
		record_shape_open(e->context, e->target.task_run_id, e->target.attempt, e->target.load_id);
	sql_commit();
	MemoryContextSwitchTo(e->context);
	return true;
}

/*
 * Keeps the pagination that a first page has told, before anything depends on it; in the
 * end "none" when no page has.
 */
static void
keep_pagination(extraction *e)
{
	Oid types[] = {INT8OID, INT4OID, INT8OID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[] = {Int64GetDatum(e->target.task_run_id),
					  Int32GetDatum(e->target.attempt),
					  Int64GetDatum(e->target.load_id),
					  CStringGetTextDatum(pagination_type_name(
						  e->pages.type == PAGINATION_AUTO ? PAGINATION_NONE : e->pages.type)),
					  0,
					  0};
	char nulls[] = "      ";

	nulls[4] = e->pages.detected_path ? ' ' : 'n';
	nulls[5] = e->pages.parameter ? ' ' : 'n';
	if (e->pages.detected_path != NULL)
		values[4] = CStringGetTextDatum(e->pages.detected_path);
	if (e->pages.parameter != NULL)
		values[5] = CStringGetTextDatum(e->pages.parameter);
	sql_begin();
	sql_call("SELECT etl._keep_pagination($1, $2, $3, $4, $5, $6)", 6, types, values, nulls);
	sql_commit();
	e->pages_detected = false;
}

/* Calls "action"; returns what it raised, or NULL. */
static ErrorData *
caught(void (*action)(void *), void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		action(argument);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return error;
}

/* What a page that has come says; raises what is wrong with it. */
static void
look_at_page(void *argument)
{
	page_fetch *fetch = argument;

	if (fetch->exchange.outcome.verdict != HTTP_VERDICT_SUCCESS)
	{
		MemoryContextSwitchTo(fetch->exchange.context);
		page_fetch_raise(fetch);
	}
	plan_page_came(fetch);
}

/* Raises what is wrong with an item that would go on beyond max_pages. */
static void
raise_too_many_pages(void *argument)
{
	extraction *e = argument;

	plan_raise_too_many_pages(e, plan_item_with_too_many_pages(e));
}

/* Gives up items that would go on beyond max_pages, or raises for the first of them. */
static void
give_up_endless_items(extraction *e)
{
	extract_item *item;

	while ((item = plan_item_with_too_many_pages(e)) != NULL)
	{
		ErrorData *error = caught(raise_too_many_pages, e);

		if (!item_error_is_own(e, error, NULL))
			ReThrowError(error);
		item_skip(e, item, error);
	}
}

/* Sends what may be sent, and takes what has come, without waiting. */
static void
look_after_network(extraction *e)
{
	if (e->ending)
		return;
	page_fetch_submit(e);
	http_pool_pump(e->pool);
}

/* Commits pages that have come; raises what is not one item's alone. */
static void
commit_pages(extraction *e, List *fetches)
{
	while (fetches != NIL)
	{
		ErrorData *error;
		page_fetch *failed;
		int committed = slices_commit(e, fetches, &error, &failed);
		extract_item *item = failed ? failed->item : NULL;
		List *rest = NIL;
		ListCell *cell;

		if (failed != NULL && !item_error_is_own(e, error, failed))
			ReThrowError(error);
		foreach (cell, fetches)
		{
			page_fetch *fetch = lfirst(cell);

			if (foreach_current_index(cell) < committed)
				plan_page_committed(fetch);
			else if (fetch->item != item)
				rest = lappend(rest, fetch);
		}
		if (failed != NULL)
			item_skip(e, item, error);
		fetches = rest;
		if (fetches != NIL)
			look_after_network(e);
	}
}

/*
 * Commits what has come of other pages when an error ends the attempt, so that it is not
 * asked for again, and raises the error.  What is wrong with these the next attempt meets.
 */
static void
end_attempt(extraction *e, List *fetches, ErrorData *error)
{
	http_exchange *exchange;

	e->ending = true;
	while ((exchange = http_pool_take(e->pool)) != NULL)
	{
		page_fetch *fetch = exchange->user;

		fetch->in_pool = false;
		if (caught(look_at_page, fetch) == NULL)
			fetches = lappend(fetches, fetch);
	}
	commit_pages(e, fetches);
	source_quota_save(e->from, e->target.task_run_id, e->target.attempt);
	ReThrowError(error);
}

/* Takes pages that are there, the first of which is given, and commits them. */
static void
take_pages(extraction *e, http_exchange *first)
{
	List *fetches = NIL;
	int64 bytes = 0;
	http_exchange *exchange = first;

	while (exchange != NULL)
	{
		page_fetch *fetch = exchange->user;
		ErrorData *error;

		fetch->in_pool = false;
		error = caught(look_at_page, fetch);
		if (e->pages_detected)
			keep_pagination(e);
		if (error != NULL)
		{
			if (!item_error_is_own(e, error, fetch))
				end_attempt(e, fetches, error);
			/* what came before it is committed first */
			commit_pages(e, fetches);
			fetches = NIL;
			item_skip(e, fetch->item, error);
		}
		else
		{
			fetches = lappend(fetches, fetch);
			bytes += exchange->response->body_length;
		}
		if (list_length(fetches) >= BATCH_PAGES || bytes >= BATCH_BYTES)
			break;
		exchange = http_pool_take(e->pool);
	}
	/* what comes next is under way while these are parsed and written */
	look_after_network(e);
	commit_pages(e, fetches);
	list_free(fetches);
}

/* Fetches and commits until nothing is left. */
static void
fetch_all(extraction *e)
{
	MemoryContext round = AllocSetContextCreate(e->context, "etl round", ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		http_exchange *exchange;

		MemoryContextReset(round);
		MemoryContextSwitchTo(round);
		page_fetch_submit(e);
		give_up_endless_items(e);
		progress_report("page %d, " INT64_FORMAT " records", e->next_slice + 1, e->records);
		exchange = http_pool_next(e->pool);
		if (exchange == NULL)
			break;
		take_pages(e, exchange);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(e->context);
	Assert(dlist_is_empty(&e->items));
	if (e->pages.type == PAGINATION_AUTO && e->records > 0)
		keep_pagination(e);
}

/*
 * Runs one attempt of an extract task.  context: reset by the caller afterwards.  Raises
 * what makes the attempt fail; committed slices stay and the next attempt goes on.
 */
void
extract_run(int64 task_run_id, int attempt, MemoryContext context)
{
	extraction *e = MemoryContextAllocZero(context, sizeof(extraction));
	Oid types[] = {INT8OID, INT4OID, INT8OID};
	Datum values[3];

	e->context = context;
	e->target.task_run_id = task_run_id;
	e->target.attempt = attempt;
	dlist_init(&e->items);
	if (!begin(e))
		return;
	e->client = http_client_create(context, &e->from->client);
	e->budget = rate_budget_open(e->from->name, e->from->rate_windows);
	e->from->admission = rate_budget_admission(e->budget);
	e->pool = page_fetch_pool(e);
	PG_TRY();
	{
		fetch_all(e);
	}
	PG_FINALLY();
	{
		/* before the requests it still works on are freed with their items */
		http_client_destroy(e->client);
	}
	PG_END_TRY();
	rate_budget_close(e->budget);
	source_quota_save(e->from, e->target.task_run_id, e->target.attempt);
	items_check_some_came(e);

	sql_begin();
	values[0] = Int64GetDatum(task_run_id);
	values[1] = Int32GetDatum(attempt);
	values[2] = Int64GetDatum(e->target.load_id);
	sql_call("SELECT etl._count_load($1, $2, $3)", 3, types, values, NULL);
	record_shape_finish(e->target.shape);
	sql_call("SELECT etl._finish_extract($1, $2, $3)", 3, types, values, NULL);
	sql_commit();
}
