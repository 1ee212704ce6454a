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
#include "utils/guc.h"
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

/* Records that are taken from an earlier load before the network is looked after again. */
#define BATCH_REUSED_RECORDS 1000

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

/* How a request is shown, without its secrets. */
static char *
shown_request(const page_fetch *fetch)
{
	const http_request *request = &fetch->exchange.request;

	return psprintf("%s %s", request->method, http_url_redact(request->url));
}

/* Writes the rows of a page that has come as a slice. */
static void
write_rows(extraction *e, page_fetch *fetch, int slice)
{
	const extract_item *item = fetch->item;

	e->target.item = item->number;
	fetch->counts =
		raw_write(&e->target, slice, fetch->exchange.response->body, &fetch->records, item->values,
				  !item->has_values, GetCurrentTimestamp(), shown_request(fetch));
}

/*
 * Takes the rows of those among the first pages that have not changed; "count" pages become
 * slices from e->next_slice on.
 */
static void
reuse_rows(extraction *e, const List *fetches, int count)
{
	page_fetch **unchanged = palloc(sizeof(page_fetch *) * count);
	int *slices = palloc(sizeof(int) * count);
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		page_fetch *fetch = list_nth(fetches, i);

		if (fetch->outcome != PAGE_NOT_MODIFIED)
			continue;
		unchanged[found] = fetch;
		slices[found++] = e->next_slice + i;
	}
	if (found > 0)
		conditional_reuse(e, unchanged, slices, found);
}

/* Adds a slice to the arrays for etl._commit_slices, which are in the context "batch". */
static void
add_slice(const page_fetch *fetch, int slice, ArrayBuildState **columns, MemoryContext batch)
{
	const http_response *response = fetch->exchange.response;
	const extract_item *item = fetch->item;
	const raw_counts *counts = &fetch->counts;
	Datum values[SLICE_COLUMNS];
	bool nulls[SLICE_COLUMNS] = {false};

	values[0] = Int32GetDatum(slice);
	values[1] = Int32GetDatum(item->number);
	values[2] = Int32GetDatum(fetch->page);
	values[3] = Int32GetDatum(item->page_count);
	values[4] = Int32GetDatum(item->page_size);
	values[5] = CStringGetTextDatum(shown_request(fetch));
	values[6] = Int32GetDatum(response->status);
	values[7] = Int32GetDatum(fetch->exchange.outcome.attempts);
	values[8] = cursor_as_jsonb(&fetch->next, &nulls[8]);
	values[9] = Int64GetDatum((int64) fetch->digest);
	nulls[9] = fetch->digest == 0;
	values[10] = Int64GetDatum((int64) fetch->bytes);
	values[11] = Int64GetDatum(counts->fetched);
	values[12] = Int64GetDatum(counts->loaded);
	values[13] = Int64GetDatum(counts->quarantined);
	values[14] = Int64GetDatum(counts->skipped);
	values[15] = header_datum(response, "etag", &nulls[15]);
	values[16] = header_datum(response, "last-modified", &nulls[16]);
	nulls[17] = nulls[15] && nulls[16];
	values[17] = nulls[17] ? (Datum) 0 : CStringGetTextDatum(conditional_request_key(fetch));
	values[18] = BoolGetDatum(fetch->outcome == PAGE_ABSENT);
	for (int i = 0; i < SLICE_COLUMNS; i++)
		columns[i] = accumArrayResult(columns[i], values[i], nulls[i], slice_columns[i], batch);
}

/* The loads that the rows of pages that have not changed come from; 0 without one. */
static Datum
held_loads(const List *fetches, int count)
{
	Datum *loads = palloc(sizeof(Datum) * count);
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		const page_fetch *fetch = list_nth(fetches, i);

		if (fetch->outcome == PAGE_NOT_MODIFIED)
			loads[found++] = Int64GetDatum(fetch->held_load);
	}
	return found == 0 ? (Datum) 0
					  : PointerGetDatum(construct_array(loads, found, INT8OID, sizeof(int64),
														FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Records slices in the transaction that has written their rows. */
static void
record_slices(extraction *e, ArrayBuildState **columns, Datum held_loads)
{
	Oid types[3 + SLICE_COLUMNS + 1] = {INT8OID, INT4OID, INT8OID};
	Datum values[3 + SLICE_COLUMNS + 1] = {Int64GetDatum(e->target.task_run_id),
										   Int32GetDatum(e->target.attempt),
										   Int64GetDatum(e->target.load_id)};
	char nulls[3 + SLICE_COLUMNS + 1];

	memset(nulls, ' ', sizeof(nulls));
	for (int i = 0; i < SLICE_COLUMNS; i++)
	{
		types[3 + i] = get_array_type(slice_columns[i]);
		values[3 + i] = makeArrayResult(columns[i], CurrentMemoryContext);
	}
	types[3 + SLICE_COLUMNS] = INT8ARRAYOID;
	values[3 + SLICE_COLUMNS] = held_loads;
	nulls[3 + SLICE_COLUMNS] = held_loads == (Datum) 0 ? 'n' : ' ';
	sql_call(
		"SELECT etl._commit_slices($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
		"$15, $16, $17, $18, $19, $20, $21, $22, $23)",
		3 + SLICE_COLUMNS + 1, types, values, nulls);
}

/*
 * Plans the statements below once: what they look for is always a row or a page by its key,
 * and to plan them anew takes up to a fourth of the time of a small page.  Until the GUC level that
 * it returns ends.
 */
static int
plan_once(void)
{
	int level = NewGUCNestLevel();

	(void) set_config_option("plan_cache_mode", "force_generic_plan", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
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
		int64 reused = 0;
		int level = plan_once();

		INSTR_TIME_SET_CURRENT(began);
		while (count < list_length(fetches))
		{
			page_fetch *fetch = list_nth(fetches, count++);

			/* what a page takes is given back before the next one */
			MemoryContextReset(page);
			MemoryContextSwitchTo(page);
			if (fetch->outcome == PAGE_NOT_MODIFIED)
				reused += fetch->held_records;
			else
				write_rows(e, fetch, e->next_slice + count - 1);
			INSTR_TIME_SET_CURRENT(now);
			if (elapsed_ms(began, now) >= Max(BATCH_MS, BATCH_COMMITS * e->commit_ms) ||
				reused >= BATCH_REUSED_RECORDS)
				break;
		}
		reuse_rows(e, fetches, count);
		for (int i = 0; i < count; i++)
		{
			page_fetch *fetch = list_nth(fetches, i);

			MemoryContextReset(page);
			MemoryContextSwitchTo(page);
			add_slice(fetch, e->next_slice + i, columns, context);
			records += fetch->counts.fetched;
			bytes += fetch->exchange.response->body_length;
		}
		MemoryContextSwitchTo(context);
		record_slices(e, columns, held_loads(fetches, count));
		AtEOXact_GUC(true, level);
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
