/*-------------------------------------------------------------------------
 *
 * conditional.c
 *	  Conditional requests: a page that has not changed is not sent again.
 *
 * The ledger is what slices of published loads have kept: the validators of their answers
 * (RFC 9110, section 8.8), under a key of the request.  A 304 re-uses the rows of such a
 * slice, as long as they are there and the task is declared as it was.
 *
 * A page that has not changed is to cost less than one that has: the ledger is asked for
 * many at once, in the order they came in last time, and rows are copied for all pages that
 * are committed together.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "nodes/makefuncs.h"
#include "partitioning/partdesc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "call_sql.h"
#include "extract/extraction.h"

/* Answers that are asked for at once, and those that are kept. */
#define HELD_AT_ONCE 64
#define MAX_HELD 1024

/* Each is locked by a plan that is made once, and looked at by one that is made anew. */
#define MAX_PARTITIONS_PLANNED_ONCE 100

/* Digits of a request's key. */
#define KEY_LENGTH 32

/* An answer that is held: the slice whose records a 304 stands for. */
typedef struct held_answer
{
	char key[KEY_LENGTH + 1];
	int64 load;
	int slice;
	char *etag; /* NULL: there is none, but the time */
	char *last_modified;
	cursor next;
	int page_count;
	int records;
	int quarantined;
	int64 partitions[2];
	bool has_pages; /* what "auto" turned out to be, and is something */
	pagination pages;
} held_answer;

/* Answers that were told along with others, until they are asked for. */
typedef struct held_answers
{
	MemoryContext context; /* also of itself */
	HTAB *by_key;
	int taken_in; /* since it was made */
} held_answers;

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

/* An empty set of answers in place of a full one. */
static void
renew_held(extraction *e)
{
	MemoryContext context;
	HASHCTL control = {.keysize = KEY_LENGTH + 1, .entrysize = sizeof(held_answer)};

	if (e->held != NULL && e->held->taken_in < MAX_HELD)
		return;
	if (e->held != NULL)
		MemoryContextDelete(e->held->context);
	e->held = NULL;
	context = AllocSetContextCreate(e->context, "etl held answers", ALLOCSET_DEFAULT_SIZES);
	control.hcxt = context;
	e->held = MemoryContextAllocZero(context, sizeof(held_answers));
	e->held->context = context;
	e->held->by_key = hash_create("etl held answers", MAX_HELD, &control,
								  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* Takes in a row of etl._held_slices. */
static void
take_in(held_answers *held, int row)
{
	char *type = sql_text(row, 15);
	held_answer *answer = hash_search(held->by_key, sql_text(row, 1), HASH_ENTER, NULL);
	MemoryContext old = MemoryContextSwitchTo(held->context);

	answer->load = sql_bigint(row, 2, 0);
	answer->slice = (int) sql_bigint(row, 3, 0);
	answer->etag = sql_text(row, 4);
	answer->last_modified = sql_text(row, 5);
	memset(&answer->next, 0, sizeof(answer->next));
	answer->next.at_end = DatumGetBool(sql_datum(row, 6));
	answer->next.url = sql_text(row, 7);
	answer->next.token = sql_text(row, 8);
	answer->next.position = sql_bigint(row, 9, 0);
	answer->page_count = (int) sql_bigint(row, 10, 0);
	answer->records = (int) sql_bigint(row, 11, 0);
	answer->quarantined = (int) sql_bigint(row, 12, 0);
	answer->partitions[0] = sql_bigint(row, 13, 0);
	answer->partitions[1] = sql_bigint(row, 14, 0);
	answer->has_pages = type != NULL && strcmp(type, "none") != 0;
	memset(&answer->pages, 0, sizeof(answer->pages));
	if (answer->has_pages)
	{
		answer->pages.type = pagination_type_by_name(type);
		answer->pages.detected_path = sql_text(row, 16);
		answer->pages.parameter = sql_text(row, 17);
	}
	MemoryContextSwitchTo(old);
	held->taken_in++;
}

/* Asks for the answer to a request, and for those that came after it.  A short transaction. */
static void
ask_for_held(extraction *e, const char *key)
{
	Oid types[] = {INT8OID, INT4OID, INT8OID, TEXTOID, INT4OID};
	Datum values[] = {Int64GetDatum(e->target.task_run_id), Int32GetDatum(e->target.attempt),
					  Int64GetDatum(e->target.load_id), (Datum) 0, Int32GetDatum(HELD_AT_ONCE)};

	renew_held(e);
	sql_begin();
	values[3] = CStringGetTextDatum(key);
	sql_call("SELECT key, held_load, held_slice, etag, last_modified, next_cursor IS NULL, "
			 "next_cursor ->> 'url', next_cursor ->> 'token', (next_cursor ->> "
			 "'position')::bigint, page_count, records, quarantined, partition_keys[1], "
			 "partition_keys[2], pagination ->> 'type', coalesce(pagination ->> 'cursor', "
			 "pagination ->> 'url'), pagination ->> 'parameter' "
			 "FROM etl._held_slices($1, $2, $3, $4, $5)",
			 5, types, values, NULL);
	for (int row = 0; row < (int) SPI_processed; row++)
		take_in(e->held, row);
	sql_commit();
}

static char *
copy_text(const char *text)
{
	return text == NULL ? NULL : pstrdup(text);
}

/*
 * Makes a page's request conditional when its answer is held.  May open a short
 * transaction.
 */
void
conditional_prepare(page_fetch *fetch)
{
	extraction *e = fetch->e;
	MemoryContext old = MemoryContextSwitchTo(fetch->exchange.context);
	char *key = conditional_request_key(fetch);
	held_answer *answer;

	if (e->held == NULL || hash_search(e->held->by_key, key, HASH_FIND, NULL) == NULL)
		ask_for_held(e, key);
	MemoryContextSwitchTo(fetch->exchange.context);
	/* asked for once: whoever asks the same again, for another item, is told anew */
	answer = hash_search(e->held->by_key, key, HASH_REMOVE, NULL);
	if (answer != NULL)
	{
		fetch->held_load = answer->load;
		fetch->held_slice = answer->slice;
		if (answer->etag != NULL)
			add_header(fetch, "If-None-Match", pstrdup(answer->etag));
		else
			add_header(fetch, "If-Modified-Since", pstrdup(answer->last_modified));
		fetch->held_next = answer->next;
		fetch->held_next.url = copy_text(answer->next.url);
		fetch->held_next.token = copy_text(answer->next.token);
		fetch->held_page_count = answer->page_count;
		fetch->held_records = answer->records;
		fetch->held_quarantined = answer->quarantined;
		memcpy(fetch->held_partitions, answer->partitions, sizeof(fetch->held_partitions));
		fetch->held_pages_differ = answer->has_pages;
		fetch->held_pages = answer->pages;
		fetch->held_pages.detected_path = copy_text(answer->pages.detected_path);
		fetch->held_pages.parameter = copy_text(answer->pages.parameter);
	}
	MemoryContextSwitchTo(old);
}

static ArrayType *
integers(const int *values, int count)
{
	Datum *elements = palloc(sizeof(Datum) * count);

	for (int i = 0; i < count; i++)
		elements[i] = Int32GetDatum(values[i]);
	return construct_array(elements, count, INT4OID, sizeof(int32), true, TYPALIGN_INT);
}

static ArrayType *
bigints(const int64 *values, int count)
{
	Datum *elements = palloc(sizeof(Datum) * count);

	for (int i = 0; i < count; i++)
		elements[i] = Int64GetDatum(values[i]);
	return construct_array(elements, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
						   TYPALIGN_DOUBLE);
}

/* The page among these that has become that slice. */
static page_fetch *
page_of_slice(page_fetch **fetches, const int *slices, int count, int slice)
{
	for (int i = 0; i < count; i++)
	{
		if (slices[i] == slice)
			return fetches[i];
	}
	elog(ERROR, "slice %d is none of those that are re-used", slice);
}

/* Copies the quarantined records of what is held, where there are some, and counts them. */
static void
reuse_quarantined(extraction *e, page_fetch **fetches, const int *slices, int count)
{
	Oid types[] = {INT8OID, INT4OID, INT8OID, INT4ARRAYOID, INT8ARRAYOID, INT4ARRAYOID};
	Datum values[6];
	int64 *loads = palloc(sizeof(int64) * count);
	int *held_slices = palloc(sizeof(int) * count);
	int *wanted = palloc(sizeof(int) * count);
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		if (fetches[i]->held_quarantined == 0)
			continue;
		loads[found] = fetches[i]->held_load;
		held_slices[found] = fetches[i]->held_slice;
		wanted[found++] = slices[i];
	}
	if (found == 0)
		return;
	values[0] = Int64GetDatum(e->target.task_run_id);
	values[1] = Int32GetDatum(e->target.attempt);
	values[2] = Int64GetDatum(e->target.load_id);
	values[3] = PointerGetDatum(integers(wanted, found));
	values[4] = PointerGetDatum(bigints(loads, found));
	values[5] = PointerGetDatum(integers(held_slices, found));
	sql_call("SELECT slice, quarantined FROM etl._reuse_quarantined($1, $2, $3, $4, $5, $6)", 6,
			 types, values, NULL);
	for (int row = 0; row < (int) SPI_processed; row++)
		page_of_slice(fetches, slices, count, (int) sql_bigint(row, 1, 0))->counts.quarantined =
			sql_bigint(row, 2, 0);
}

/* Adds a number to a set in an array, unless it is in there. */
static void
add_number(int64 *numbers, int *count, int64 number)
{
	for (int i = 0; i < *count; i++)
	{
		if (numbers[i] == number)
			return;
	}
	numbers[(*count)++] = number;
}

/* How many partitions the raw table has. */
static int
partition_count(const raw_target *target)
{
	RangeVar *name = makeRangeVar(pstrdup(target->schema), pstrdup(target->table), -1);
	Relation table = table_openrv(name, AccessShareLock);
	int count = RelationGetPartitionDesc(table, true)->nparts;

	table_close(table, NoLock);
	return count;
}

/*
 * The statement that copies rows is planned once by slices_commit, but not for so many
 * partitions that to lock them costs more; and by the index, however small the table is when
 * that is done.
 */
static void
set_planning(const raw_target *target)
{
	if (partition_count(target) > MAX_PARTITIONS_PLANNED_ONCE)
		(void) set_config_option("plan_cache_mode", "auto", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("enable_seqscan", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/*
 * Takes the rows and the quarantined records of the pages whose answers were not sent again,
 * as these slices, within the current transaction; fills in their counts.  They are rows of
 * the items they are asked for now.  etl._commit_slices makes sure that the loads they are
 * taken from are published.
 */
void
conditional_reuse(extraction *e, page_fetch **fetches, const int *slices, int count)
{
	const raw_target *target = &e->target;
	const char *table = quote_qualified_identifier(target->schema, target->table);
	Oid types[] = {INT8OID,		 INT8OID,	   TIMESTAMPTZOID, TIMESTAMPTZOID, INT4ARRAYOID,
				   INT8ARRAYOID, INT4ARRAYOID, JSONBARRAYOID,  INT8ARRAYOID};
	Datum values[9];
	int64 *loads = palloc(sizeof(int64) * count);
	int *held_slices = palloc(sizeof(int) * count);
	Datum *items = palloc0(sizeof(Datum) * count);
	bool *no_item = palloc(sizeof(bool) * count);
	int64 *partitions = palloc(sizeof(int64) * count * 2);
	int found = 0; /* partitions */
	int level;

	for (int i = 0; i < count; i++)
	{
		loads[i] = fetches[i]->held_load;
		held_slices[i] = fetches[i]->held_slice;
		items[i] = fetches[i]->item->values;
		no_item[i] = !fetches[i]->item->has_values;
		add_number(partitions, &found, fetches[i]->held_partitions[0]);
		add_number(partitions, &found, fetches[i]->held_partitions[1]);
		memset(&fetches[i]->counts, 0, sizeof(raw_counts));
	}
	reuse_quarantined(e, fetches, slices, count);
	values[0] = Int64GetDatum(target->load_id);
	values[1] = Int64GetDatum(target->partition_key);
	values[2] = TimestampTzGetDatum(target->interval_start);
	values[3] = TimestampTzGetDatum(target->interval_end);
	values[4] = PointerGetDatum(integers(slices, count));
	values[5] = PointerGetDatum(bigints(loads, count));
	values[6] = PointerGetDatum(integers(held_slices, count));
	values[7] = PointerGetDatum(construct_md_array(items, no_item, 1, &count, &(int){1}, JSONBOID,
												   -1, false, TYPALIGN_INT));
	values[8] = PointerGetDatum(bigints(partitions, found));
	level = NewGUCNestLevel();
	set_planning(target);
	/* OFFSET: a look into the index for each slice, whatever is thought of their number */
	sql_call(
		psprintf("WITH reused AS (INSERT INTO %s (load_id, partition_key, data_interval_start, "
				 "data_interval_end, slice, record_number, item, payload, fetched_at) "
				 "SELECT $1, $2, $3, $4, u.slice, r.record_number, u.item, r.payload, "
				 "r.fetched_at FROM ROWS FROM (pg_catalog.unnest($5), pg_catalog.unnest($6), "
				 "pg_catalog.unnest($7), pg_catalog.unnest($8)) u(slice, held_load, "
				 "held_slice, item) CROSS JOIN LATERAL (SELECT x.record_number, x.payload, "
				 "x.fetched_at FROM %s x WHERE x.load_id = u.held_load AND x.slice = "
				 "u.held_slice AND x.partition_key = ANY ($9) OFFSET 0) r RETURNING slice) "
				 "SELECT slice, pg_catalog.count(*) FROM reused GROUP BY slice",
				 table, table),
		9, types, values, NULL);
	AtEOXact_GUC(true, level);
	for (int row = 0; row < (int) SPI_processed; row++)
		page_of_slice(fetches, slices, count, (int) sql_bigint(row, 1, 0))->counts.loaded =
			sql_bigint(row, 2, 0);
	for (int i = 0; i < count; i++)
		fetches[i]->counts.fetched = fetches[i]->counts.loaded + fetches[i]->counts.quarantined;
}
