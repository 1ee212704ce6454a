/*-------------------------------------------------------------------------
 *
 * slice.c
 *	  Committing pages: rows, quarantine, counts and cursor in one transaction.
 *
 * Pages that have come meanwhile are committed together, so that a fast source does not
 * wait for one flush of the log each.  When one of them fails, they are tried one by one:
 * it takes none of the others with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "call_sql.h"
#include "extract/extraction.h"

/*
 * How long pages are written before they are committed and the network is looked after
 * again, ms; longer where commits take long, lest most of the time go into them.
 */
#define BATCH_MS 10
#define BATCH_COMMITS 4

/* A load that has grown beyond this many bytes gets a partition of its own. */
#define OWN_PARTITION_BYTES (8 * 1024 * 1024)

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

/* Takes the rows and the quarantined records of the slice whose answer was not sent again. */
static raw_counts
reuse_slice(extraction *e, const page_fetch *fetch, int slice)
{
	Oid types[] = {INT8OID, INT4OID, INT8OID, INT4OID, INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(e->target.task_run_id), Int32GetDatum(e->target.attempt),
					  Int64GetDatum(e->target.load_id),		Int32GetDatum(slice),
					  Int64GetDatum(fetch->held_load),		Int32GetDatum(fetch->held_slice)};
	raw_counts counts = {0};

	sql_call("SELECT loaded, quarantined FROM etl._reuse_slice($1, $2, $3, $4, $5, $6)", 6, types,
			 values, NULL);
	counts.loaded = sql_bigint(0, 1, 0);
	counts.quarantined = sql_bigint(0, 2, 0);
	counts.fetched = counts.loaded + counts.quarantined;
	return counts;
}

/* The columns of etl.slice that etl._commit_slices takes arrays of. */
#define SLICE_COLUMNS 19

static const Oid slice_columns[SLICE_COLUMNS] = {
	INT4OID, INT4OID, INT4OID, INT4OID, INT4OID, TEXTOID, INT4OID, INT4OID, JSONBOID, INT8OID,
	INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, BOOLOID};

/* A header of an answer as text; null when it has none. */
static Datum
header_datum(const http_response *response, const char *name, bool *isnull)
{
	const char *value = http_response_header(response, name);

	*isnull = value == NULL;
	return value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/*
 * Writes the rows of a slice, and adds it to the arrays for etl._commit_slices, which are in
 * the context "batch".
 */
static raw_counts
write_slice(extraction *e, const page_fetch *fetch, int slice, ArrayBuildState **columns,
			MemoryContext batch)
{
	const http_response *response = fetch->exchange.response;
	const http_request *request = &fetch->exchange.request;
	const extract_item *item = fetch->item;
	Datum values[SLICE_COLUMNS];
	bool nulls[SLICE_COLUMNS] = {false};
	char *shown = psprintf("%s %s", request->method, http_url_redact(request->url));
	raw_counts counts;

	if (fetch->outcome == PAGE_NOT_MODIFIED)
		counts = reuse_slice(e, fetch, slice);
	else
	{
		e->target.item = item->number;
		counts = raw_write(&e->target, slice, response->body, &fetch->records, item->values,
						   !item->has_values, GetCurrentTimestamp(), shown);
	}
	values[0] = Int32GetDatum(slice);
	values[1] = Int32GetDatum(item->number);
	values[2] = Int32GetDatum(fetch->page);
	values[3] = Int32GetDatum(item->page_count);
	values[4] = Int32GetDatum(item->page_size);
	values[5] = CStringGetTextDatum(shown);
	values[6] = Int32GetDatum(response->status);
	values[7] = Int32GetDatum(fetch->exchange.outcome.attempts);
	values[8] = cursor_as_jsonb(&fetch->next, &nulls[8]);
	values[9] = Int64GetDatum((int64) fetch->digest);
	nulls[9] = fetch->digest == 0;
	values[10] = Int64GetDatum((int64) fetch->bytes);
	values[11] = Int64GetDatum(counts.fetched);
	values[12] = Int64GetDatum(counts.loaded);
	values[13] = Int64GetDatum(counts.quarantined);
	values[14] = Int64GetDatum(counts.skipped);
	values[15] = header_datum(response, "etag", &nulls[15]);
	values[16] = header_datum(response, "last-modified", &nulls[16]);
	nulls[17] = nulls[15] && nulls[16];
	values[17] = nulls[17] ? (Datum) 0 : CStringGetTextDatum(conditional_request_key(fetch));
	values[18] = BoolGetDatum(fetch->outcome == PAGE_ABSENT);
	for (int i = 0; i < SLICE_COLUMNS; i++)
		columns[i] = accumArrayResult(columns[i], values[i], nulls[i], slice_columns[i], batch);
	return counts;
}

/* Records slices in the transaction that has written their rows. */
static void
record_slices(extraction *e, ArrayBuildState **columns)
{
	Oid types[3 + SLICE_COLUMNS] = {INT8OID, INT4OID, INT8OID};
	Datum values[3 + SLICE_COLUMNS] = {Int64GetDatum(e->target.task_run_id),
									   Int32GetDatum(e->target.attempt),
									   Int64GetDatum(e->target.load_id)};

	for (int i = 0; i < SLICE_COLUMNS; i++)
	{
		types[3 + i] = get_array_type(slice_columns[i]);
		values[3 + i] = makeArrayResult(columns[i], CurrentMemoryContext);
	}
	sql_call(
		"SELECT etl._commit_slices($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
		"$15, $16, $17, $18, $19, $20, $21, $22)",
		3 + SLICE_COLUMNS, types, values, NULL);
}

/* Milliseconds between two times. */
static double
elapsed_ms(instr_time from, instr_time until)
{
	INSTR_TIME_SUBTRACT(until, from);
	return INSTR_TIME_GET_MILLISEC(until);
}

/*
 * Writes slices in a subtransaction: as many as there is time for, all of them or none.
 * *written tells how many.  Returns what kept them from being written, or NULL.
 */
static ErrorData *
try_slices(extraction *e, const List *fetches, int *written)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext page = AllocSetContextCreate(context, "etl slice", ALLOCSET_DEFAULT_SIZES);
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;
	volatile int64 bytes = 0;
	volatile int64 records = 0;
	volatile int count = 0;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		ArrayBuildState *columns[SLICE_COLUMNS] = {NULL};
		instr_time began;
		instr_time now;
		ListCell *cell;

		INSTR_TIME_SET_CURRENT(began);

		foreach (cell, fetches)
		{
			const page_fetch *fetch = lfirst(cell);

			/* what a page takes is given back before the next one */
			MemoryContextReset(page);
			MemoryContextSwitchTo(page);
			records += write_slice(e, fetch, e->next_slice + count, columns, context).fetched;
			bytes += fetch->exchange.response->body_length;
			count++;
			INSTR_TIME_SET_CURRENT(now);
			if (elapsed_ms(began, now) >= Max(BATCH_MS, BATCH_COMMITS * e->commit_ms))
				break;
		}
		MemoryContextSwitchTo(context);
		record_slices(e, columns);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(e->context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
	}
	PG_END_TRY();
	MemoryContextDelete(page);
	*written = error == NULL ? count : 0;
	if (error == NULL)
	{
		e->next_slice += count;
		e->bytes += bytes;
		e->records += records;
	}
	return error;
}

/*
 * Commits pages that have come, in their order: as many as there is time for, up to the
 * first that cannot be.  Returns how many; *error tells why the next one was not, and
 * *failed which one it is, or they become NULL.  Raises what keeps all of them from being
 * committed.
 */
int
slices_commit(extraction *e, List *fetches, ErrorData **error, page_fetch **failed)
{
	int committed = 0;
	instr_time began;
	instr_time now;

	*error = NULL;
	*failed = NULL;
	maybe_own_partition(e);
	sql_begin();
	if (list_length(fetches) < 2 || try_slices(e, fetches, &committed) != NULL)
	{
		ListCell *cell;

		foreach (cell, fetches)
		{
			int written;

			*error = try_slices(e, list_make1(lfirst(cell)), &written);
			if (*error != NULL)
			{
				*failed = lfirst(cell);
				break;
			}
			committed++;
		}
	}
	/* pages written anew one by one are counted again: shares stay right, figures need not */
	record_shape_save(e->target.shape);
	INSTR_TIME_SET_CURRENT(began);
	sql_commit();
	INSTR_TIME_SET_CURRENT(now);
	e->commit_ms = elapsed_ms(began, now);
	return committed;
}
