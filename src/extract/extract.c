/*-------------------------------------------------------------------------
 *
 * extract.c
 *	  An extraction: a source to raw rows, slice by slice.
 *
 * Fetch a page with no transaction open, then write its records, its quarantine and the
 * cursor to the next page in one.  Whatever kills the process, the load goes on at the
 * first slice that is not committed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "call_sql.h"
#include "extract/answer.h"
#include "extract/extract.h"
#include "extract/pagination.h"
#include "extract/raw_writer.h"
#include "extract/record_path.h"
#include "extract/source.h"
#include "extract/split.h"
#include "http/http.h"
#include "progress.h"

/* A load that has grown beyond this many bytes gets a partition of its own. */
#define OWN_PARTITION_BYTES (8 * 1024 * 1024)
/* How often a page that is not whole is fetched again. */
#define MAX_BROKEN_PAGES 3

PG_FUNCTION_INFO_V1(etl_encode_url);

/* All about one extraction.  Strings live in "context". */
typedef struct extraction
{
	MemoryContext context;
	source *from;
	http_client *client;
	raw_target target;
	List *records_path;

	pagination pages;

	int slice; /* the next one to commit */
	int item;
	int item_count;
	int item_pages; /* committed already, of the item to go on with */
	int64 bytes;	/* of the load so far */
	int64 records;	/* of this attempt, for progress */
	uint8 last_digest[PG_SHA256_DIGEST_LENGTH];
	bool has_last_digest;
	bool partition_tried;
} extraction;

/* One item of for_each, or the one there is without it. */
typedef struct item_request
{
	char *url;	   /* with its query, without page */
	List *headers; /* of http_header * */
	Datum item;
	bool item_is_null;
} item_request;

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

/* Copies a column of the last result into the extraction's context; NULL stays NULL. */
static char *
keep_text(extraction *e, int column)
{
	char *text = sql_text(0, column);

	return text == NULL ? NULL : MemoryContextStrdup(e->context, text);
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

/*
 * Opens or resumes the load and reads where it goes on.  Returns false when the load is
 * complete already; then the task is finished.
 */
static bool
begin(extraction *e, cursor *resume)
{
	Oid types[] = {INT8OID, INT4OID, INT8OID};
	Datum values[3] = {Int64GetDatum(e->target.task_run_id), Int32GetDatum(e->target.attempt)};
	char *server;
	ListCell *cell;
	MemoryContext old;
	bool is_complete;

	sql_begin();
	sql_call("SELECT load_id, is_complete, server, records, key, p ->> 'type', p ->> 'parameter', "
			 "(p ->> 'start')::integer, p ->> 'size_parameter', (p ->> 'size')::integer, "
			 "(p ->> 'max_pages')::integer, coalesce(p ->> 'cursor', p ->> 'url'), p ->> 'header', "
			 "p ->> 'total', p ->> 'has_more', record_schema, on_invalid "
			 "FROM etl._begin_extract($1, $2), LATERAL (SELECT pagination AS p) x",
			 2, types, values, NULL);
	e->target.load_id = sql_bigint(0, 1, 0);
	is_complete = DatumGetBool(sql_datum(0, 2));
	values[2] = Int64GetDatum(e->target.load_id);
	if (is_complete)
	{
		/* fetched by a run that did not get to publish it: nothing is fetched twice */
		sql_call("SELECT etl._finish_extract($1, $2, $3)", 3, types, values, NULL);
		sql_commit();
		return false;
	}
	server = keep_text(e, 3);
	old = MemoryContextSwitchTo(e->context);
	e->records_path = record_path_parse(sql_text(0, 4), true);
	foreach (cell, sql_text_array(0, 5))
		e->target.keys = lappend(e->target.keys, record_path_parse(lfirst(cell), false));
	e->pages.type = pagination_type_by_name(sql_text(0, 6));
	e->pages.parameter = sql_text(0, 7);
	e->pages.start = (int) sql_bigint(0, 8, 0);
	e->pages.size_parameter = sql_text(0, 9);
	e->pages.size = (int) sql_bigint(0, 10, 0);
	e->pages.max_pages = (int) sql_bigint(0, 11, 10000);
	e->pages.value = optional_path(12);
	e->pages.header = sql_text(0, 13);
	e->pages.total = optional_path(14);
	e->pages.has_more = optional_path(15);
	if (!sql_is_null(0, 16))
		e->target.record_schema = (Jsonb *) DatumGetPointer(
			datumCopy(PointerGetDatum(PG_DETOAST_DATUM(sql_datum(0, 16))), false, -1));
	e->target.on_invalid = invalid_record_policy_by_name(sql_text(0, 17));
	MemoryContextSwitchTo(old);

	sql_call(
		"SELECT next_slice, item, cursor ->> 'url', (cursor ->> 'position')::bigint, item_count, "
		"bytes, partition_key, raw_schema, raw_table, data_interval_start, data_interval_end, "
		"cursor IS NULL, last_digest, item_pages, cursor ->> 'token', item_records "
		"FROM etl._load_position($1, $2, $3)",
		3, types, values, NULL);
	e->slice = (int) sql_bigint(0, 1, 0);
	e->item = (int) sql_bigint(0, 2, 0);
	resume->url = keep_text(e, 3);
	resume->position = sql_bigint(0, 4, 0);
	e->item_count = (int) sql_bigint(0, 5, 0);
	e->bytes = sql_bigint(0, 6, 0);
	e->target.partition_key = sql_bigint(0, 7, 0);
	e->partition_tried = e->target.partition_key != 0;
	e->target.schema = keep_text(e, 8);
	e->target.table = keep_text(e, 9);
	e->target.interval_start = DatumGetTimestampTz(sql_datum(0, 10));
	e->target.interval_end = DatumGetTimestampTz(sql_datum(0, 11));
	resume->at_end = DatumGetBool(sql_datum(0, 12));
	e->item_pages = (int) sql_bigint(0, 14, 0);
	resume->token = keep_text(e, 15);
	resume->records = sql_bigint(0, 16, 0);
	if (!sql_is_null(0, 13))
	{
		bytea *digest = DatumGetByteaPP(sql_datum(0, 13));

		if (VARSIZE_ANY_EXHDR(digest) == PG_SHA256_DIGEST_LENGTH)
		{
			memcpy(e->last_digest, VARDATA_ANY(digest), PG_SHA256_DIGEST_LENGTH);
			e->has_last_digest = true;
		}
	}
	old = MemoryContextSwitchTo(e->context);
	e->from = source_open(server);
	MemoryContextSwitchTo(old);
	sql_commit();
	return true;
}

/* The URL of a request: base_url, path, and query in the order of its names. */
static char *
build_url(const char *base_url, const char *path, List *names, List *values)
{
	size_t base_length = strlen(base_url);
	char *url;
	ListCell *name;
	ListCell *value;

	while (base_length > 0 && base_url[base_length - 1] == '/')
		base_length--;
	url = psprintf("%.*s%s%s", (int) base_length, base_url,
				   path[0] == '\0' || path[0] == '/' || path[0] == '?' ? "" : "/", path);
	forboth (name, names, value, values)
	{
		char *text = lfirst(value);

		url = http_url_add_parameter(url, lfirst(name),
									 pg_server_to_any(text, strlen(text), PG_UTF8));
	}
	return url;
}

/* Reads the request of an item.  The result lives in the current context. */
static item_request *
read_item(extraction *e, int item)
{
	MemoryContext context = CurrentMemoryContext;
	item_request *result = palloc0(sizeof(item_request));
	Oid types[] = {INT8OID, INT4OID, INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(e->target.task_run_id), Int32GetDatum(e->target.attempt),
					  Int64GetDatum(e->target.load_id), Int32GetDatum(item)};
	List *names;
	List *texts;
	ListCell *name;
	ListCell *text;

	sql_begin();
	sql_call("SELECT path, query_names, query_values, header_names, header_values, item "
			 "FROM etl._item_request($1, $2, $3, $4)",
			 4, types, values, NULL);
	MemoryContextSwitchTo(context);
	result->url = build_url(e->from->base_url, sql_text(0, 1) ? sql_text(0, 1) : "",
							sql_text_array(0, 2), sql_text_array(0, 3));
	if (e->pages.size_parameter != NULL)
		result->url = http_url_add_parameter(result->url, e->pages.size_parameter,
											 psprintf("%d", e->pages.size));
	if (!http_url_same_origin(result->url, e->from->base_url))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the request leads to another host than the server's base_url"),
						errdetail("The URL is %s.", http_url_redact(result->url)),
						errhint("A path begins with / and is added to base_url.")));
	result->headers = list_copy(e->from->headers);
	names = sql_text_array(0, 4);
	texts = sql_text_array(0, 5);
	forboth (name, names, text, texts)
	{
		http_header *header = palloc0(sizeof(http_header));

		header->name = lfirst(name);
		header->value = lfirst(text);
		result->headers = lappend(result->headers, header);
	}
	result->item_is_null = sql_is_null(0, 6);
	if (!result->item_is_null)
		result->item = datumCopy(sql_datum(0, 6), false, -1);
	sql_commit();
	MemoryContextSwitchTo(context);
	return result;
}

/* http_wait_callback: makes waits visible. */
static void
show_wait(void *arg, http_wait_reason reason, TimestampTz until, int next_attempt,
		  const http_response *response)
{
	extraction *e = arg;

	if (reason == HTTP_WAIT_RATE_LIMIT)
		progress_report("page %d, waiting for rate limit until %s", e->slice + 1,
						timestamptz_to_str(until));
	else
		progress_report("page %d, attempt %d at %s (%s%s)", e->slice + 1, next_attempt,
						timestamptz_to_str(until),
						response->error == HTTP_OK ? "status " : http_error_name(response->error),
						response->error == HTTP_OK ? psprintf("%d", response->status) : "");
}

/* Waits, answering interrupts. */
static void
wait_ms(int64 ms)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
	long left;

	while ((left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until)) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Fetches a page and finds its records; a page that arrives broken is asked for again.
 * No transaction is open.  Everything lives in the current context.
 */
static http_response *
fetch_page(extraction *e, const http_request *request, split_result *records, int *attempts)
{
	*attempts = 0;
	for (int broken = 1;; broken++)
	{
		http_outcome outcome = {0};
		http_response *response =
			http_fetch(e->client, request, &e->from->retry, show_wait, e, &outcome);

		*attempts += outcome.attempts;
		outcome.attempts = *attempts;
		if (response->error != HTTP_OK || outcome.verdict != HTTP_VERDICT_SUCCESS ||
			response->status / 100 != 2)
			answer_raise(e->from, request, response, &outcome);
		if (response->status == 204)
		{
			memset(records, 0, sizeof(*records));
			return response;
		}
		split_records(response->body, response->body_length, e->records_path, records);
		if (records->problem == NULL && records->count == 0 &&
			(records->missing != NULL || records->missing_array))
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_JSON_TEXT),
				 records->missing != NULL
					 ? errmsg("the answer to %s %s has no member \"%s\"", request->method,
							  http_url_redact(request->url), records->missing)
					 : errmsg("the answer to %s %s has no array where its records should be",
							  request->method, http_url_redact(request->url)),
				 errdetail("Status %d after %d attempt%s; the answer begins: %s", response->status,
						   *attempts, *attempts == 1 ? "" : "s", answer_excerpt(e->from, response)),
				 errhint("An answer without records is not an empty page. Check the records "
						 "path of the task; $ takes a whole object as one record.")));
		if (records->problem == NULL)
			return response;
		if (broken >= MAX_BROKEN_PAGES)
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_JSON_TEXT),
				 errmsg("the answer to %s %s is not whole JSON: %s", request->method,
						http_url_redact(request->url), records->problem),
				 errdetail("At byte %lu of %lu, with status %d, after %d attempt%s; the answer "
						   "begins: %s",
						   (unsigned long) records->problem_offset,
						   (unsigned long) response->body_length, response->status, *attempts,
						   *attempts == 1 ? "" : "s", answer_excerpt(e->from, response)),
				 errhint("Nothing of the page is loaded; run the interval again when the source "
						 "is well: it goes on at this page.")));
		progress_report("page %d, attempt %d: the answer was not whole", e->slice + 1,
						*attempts + 1);
		MemoryContextDelete(response->context);
		wait_ms((int64) e->from->retry.base_delay_ms << (broken - 1));
	}
}

/* SHA-256 of a body.  Needs a transaction: the hash is a resource of its owner. */
static void
digest_body(const http_response *response, uint8 *digest)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

	if (hash == NULL || pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) response->body, response->body_length) < 0 ||
		pg_cryptohash_final(hash, digest, PG_SHA256_DIGEST_LENGTH) < 0)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a digest")));
	pg_cryptohash_free(hash);
}

/* A page that is the same as the one before it means that the source ignores the cursor. */
static void
check_progress(extraction *e, const http_request *request, const split_result *records,
			   const uint8 *digest)
{
	if (records->count > 0 && e->has_last_digest &&
		memcmp(digest, e->last_digest, PG_SHA256_DIGEST_LENGTH) == 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_ERROR),
			 errmsg(
				 "pagination goes in a circle: %s %s gave the same page as the request before it",
				 request->method, http_url_redact(request->url)),
			 errhint("Check the pagination of the task: the source seems to ignore its "
					 "parameter.")));
	memcpy(e->last_digest, digest, PG_SHA256_DIGEST_LENGTH);
	e->has_last_digest = true;
}

/* Moves a load that has grown large to a partition of its own, in a step before its slice. */
static void
maybe_own_partition(extraction *e)
{
	Oid types[] = {INT8OID, INT4OID, INT8OID};
	Datum values[] = {Int64GetDatum(e->target.task_run_id), Int32GetDatum(e->target.attempt),
					  Int64GetDatum(e->target.load_id)};

	if (e->partition_tried || e->bytes < OWN_PARTITION_BYTES)
		return;
	e->partition_tried = true;
	sql_begin();
	sql_call("SELECT etl._give_own_partition($1, $2, $3)", 3, types, values, NULL);
	if (DatumGetBool(sql_datum(0, 1)))
		e->target.partition_key = e->target.load_id;
	sql_commit();
}

/* Commits a slice: rows, quarantine, counts and cursor in one transaction. */
static void
commit_slice(extraction *e, const item_request *item, const http_request *request,
			 const http_response *response, int attempts, const split_result *records,
			 const cursor *next)
{
	Oid types[] = {INT8OID, INT4OID,  INT8OID,	INT4OID, INT4OID, TEXTOID, INT4OID,
				   INT4OID, JSONBOID, BYTEAOID, INT8OID, INT8OID, INT8OID, INT8OID};
	Datum values[14];
	char nulls[15] = "              ";
	bool at_end;
	uint8 digest[PG_SHA256_DIGEST_LENGTH];
	char *shown = psprintf("%s %s", request->method, http_url_redact(request->url));
	raw_counts counts;

	maybe_own_partition(e);
	sql_begin();
	digest_body(response, digest);
	check_progress(e, request, records, digest);
	counts = raw_write(&e->target, e->slice, response->body, records, item->item,
					   item->item_is_null, GetCurrentTimestamp(), shown);
	values[0] = Int64GetDatum(e->target.task_run_id);
	values[1] = Int32GetDatum(e->target.attempt);
	values[2] = Int64GetDatum(e->target.load_id);
	values[3] = Int32GetDatum(e->slice);
	values[4] = Int32GetDatum(e->item);
	values[5] = CStringGetTextDatum(shown);
	values[6] = Int32GetDatum(response->status);
	values[7] = Int32GetDatum(attempts);
	values[8] = cursor_as_jsonb(next, &at_end);
	nulls[8] = at_end ? 'n' : ' ';
	values[9] = PointerGetDatum(cstring_to_text_with_len((char *) digest, sizeof(digest)));
	values[10] = Int64GetDatum((int64) response->body_length);
	values[11] = Int64GetDatum(counts.fetched);
	values[12] = Int64GetDatum(counts.loaded);
	values[13] = Int64GetDatum(counts.quarantined);
	sql_call(
		"SELECT etl._commit_slice($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)", 14,
		types, values, nulls);
	sql_commit();
	e->slice++;
	e->bytes += response->body_length;
	e->records += counts.fetched;
}

/* The pages of one item, from a cursor on (at_end: from its beginning). */
static void
extract_item(extraction *e, const cursor *resume)
{
	MemoryContext item_context =
		AllocSetContextCreate(e->context, "etl item", ALLOCSET_DEFAULT_SIZES);
	MemoryContext page_context =
		AllocSetContextCreate(item_context, "etl page", ALLOCSET_DEFAULT_SIZES);
	item_request *item;
	cursor at = pagination_start(&e->pages);

	MemoryContextSwitchTo(item_context);
	item = read_item(e, e->item);
	if (!resume->at_end)
		at = *resume;
	for (int page = e->item_pages + 1; !at.at_end; page++)
	{
		http_request request = {.method = "GET", .headers = item->headers};
		http_response *response;
		split_result records;
		cursor next;
		int attempts;

		MemoryContextSwitchTo(page_context);
		request.url = pagination_url(&e->pages, &at, item->url);
		if (page > e->pages.max_pages)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("more than %d pages: %s %s would be one too many", e->pages.max_pages,
							request.method, http_url_redact(request.url)),
					 errhint("Raise max_pages in the pagination of the task, if the source "
							 "really has that many.")));
		progress_report("page %d, " INT64_FORMAT " records", e->slice + 1, e->records);
		response = fetch_page(e, &request, &records, &attempts);
		next = pagination_next(&e->pages, &at, e->from->base_url, &request, response, &records);
		commit_slice(e, item, &request, response, attempts, &records, &next);

		MemoryContextSwitchTo(item_context);
		at = next;
		at.url = next.url ? pstrdup(next.url) : NULL;
		at.token = next.token ? pstrdup(next.token) : NULL;
		MemoryContextReset(page_context);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(e->context);
	MemoryContextDelete(item_context);
	e->has_last_digest = false;
	e->item_pages = 0;
}

/*
 * Runs one attempt of an extract task.  context: reset by the caller afterwards.  Raises
 * what makes the attempt fail; committed slices stay and the next attempt goes on.
 */
void
extract_run(int64 task_run_id, int attempt, MemoryContext context)
{
	extraction *e = MemoryContextAllocZero(context, sizeof(extraction));
	cursor resume = {0};
	Oid types[] = {INT8OID, INT4OID, INT8OID};
	Datum values[3];

	e->context = context;
	e->target.task_run_id = task_run_id;
	e->target.attempt = attempt;
	if (!begin(e, &resume))
		return;
	MemoryContextSwitchTo(context);
	e->client = http_client_create(context, &e->from->client);
	for (; e->item < e->item_count; e->item++)
	{
		extract_item(e, &resume);
		resume.at_end = true; /* the items after it begin at their beginning */
	}
	http_client_destroy(e->client);

	sql_begin();
	values[0] = Int64GetDatum(task_run_id);
	values[1] = Int32GetDatum(attempt);
	values[2] = Int64GetDatum(e->target.load_id);
	sql_call("SELECT etl._finish_extract($1, $2, $3)", 3, types, values, NULL);
	sql_commit();
}
