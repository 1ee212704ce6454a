/*-------------------------------------------------------------------------
 *
 * slice.c
 *	  Committing pages: rows, quarantine, counts and cursor in one transaction.
 *
 * Pages that have come meanwhile are committed together, so that a fast source does not
 * wait for one flush of the log each; a page that fails takes none of the others with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "call_sql.h"
#include "extract/extraction.h"

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
reuse_slice(extraction *e, const page_fetch *fetch)
{
	Oid types[] = {INT8OID, INT4OID, INT8OID, INT4OID, INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(e->target.task_run_id), Int32GetDatum(e->target.attempt),
					  Int64GetDatum(e->target.load_id),		Int32GetDatum(e->next_slice),
					  Int64GetDatum(fetch->held_load),		Int32GetDatum(fetch->held_slice)};
	raw_counts counts = {0};

	sql_call("SELECT loaded, quarantined FROM etl._reuse_slice($1, $2, $3, $4, $5, $6)", 6, types,
			 values, NULL);
	counts.loaded = sql_bigint(0, 1, 0);
	counts.quarantined = sql_bigint(0, 2, 0);
	counts.fetched = counts.loaded + counts.quarantined;
	return counts;
}

/* A header of an answer as text; NULL when it has none. */
static Datum
header_datum(const http_response *response, const char *name, char *null)
{
	const char *value = http_response_header(response, name);

	*null = value == NULL ? 'n' : ' ';
	return value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/* Writes a slice within the current transaction; its number is e->next_slice. */
static raw_counts
write_slice(extraction *e, const page_fetch *fetch)
{
	const http_response *response = fetch->exchange.response;
	const http_request *request = &fetch->exchange.request;
	const extract_item *item = fetch->item;
	Oid types[] = {INT8OID, INT4OID, INT8OID, INT4OID,	INT4OID, INT4OID, INT4OID, INT4OID,
				   TEXTOID, INT4OID, INT4OID, JSONBOID, INT8OID, INT8OID, INT8OID, INT8OID,
				   INT8OID, TEXTOID, TEXTOID, TEXTOID,	BOOLOID, INT8OID};
	Datum values[22];
	char nulls[23] = "                      ";
	bool at_end;
	char *shown = psprintf("%s %s", request->method, http_url_redact(request->url));
	raw_counts counts;

	if (fetch->outcome == PAGE_NOT_MODIFIED)
		counts = reuse_slice(e, fetch);
	else
	{
		e->target.item = item->number;
		counts = raw_write(&e->target, e->next_slice, response->body, &fetch->records, item->values,
						   !item->has_values, GetCurrentTimestamp(), shown);
	}
	values[0] = Int64GetDatum(e->target.task_run_id);
	values[1] = Int32GetDatum(e->target.attempt);
	values[2] = Int64GetDatum(e->target.load_id);
	values[3] = Int32GetDatum(e->next_slice);
	values[4] = Int32GetDatum(item->number);
	values[5] = Int32GetDatum(fetch->page);
	values[6] = Int32GetDatum(item->page_count);
	values[7] = Int32GetDatum(item->page_size);
	values[8] = CStringGetTextDatum(shown);
	values[9] = Int32GetDatum(response->status);
	values[10] = Int32GetDatum(fetch->exchange.outcome.attempts);
	values[11] = cursor_as_jsonb(&fetch->next, &at_end);
	nulls[11] = at_end ? 'n' : ' ';
	values[12] = Int64GetDatum((int64) fetch->digest);
	nulls[12] = fetch->digest == 0 ? 'n' : ' ';
	values[13] = Int64GetDatum((int64) fetch->bytes);
	values[14] = Int64GetDatum(counts.fetched);
	values[15] = Int64GetDatum(counts.loaded);
	values[16] = Int64GetDatum(counts.quarantined);
	values[17] = header_datum(response, "etag", &nulls[17]);
	values[18] = header_datum(response, "last-modified", &nulls[18]);
	values[19] = CStringGetTextDatum(conditional_request_key(fetch));
	nulls[19] = nulls[17] == 'n' && nulls[18] == 'n' ? 'n' : ' ';
	values[20] = BoolGetDatum(fetch->outcome == PAGE_ABSENT);
	values[21] = Int64GetDatum(counts.skipped);
	sql_call(
		"SELECT etl._commit_slice($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
		"$15, $16, $17, $18, $19, $20, $21, $22)",
		22, types, values, nulls);
	return counts;
}

/* Writes a slice in a subtransaction.  Returns what kept it from being written, or NULL. */
static ErrorData *
try_slice(extraction *e, const page_fetch *fetch, raw_counts *counts)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		*counts = write_slice(e, fetch);
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
	return error;
}

/*
 * Commits pages that have come, in their order, up to the first that cannot be; *error
 * tells why and *failed which one, or they become NULL.  Raises what keeps all of them
 * from being committed.
 */
void
slices_commit(extraction *e, List *fetches, ErrorData **error, page_fetch **failed)
{
	ListCell *cell;

	*error = NULL;
	*failed = NULL;
	maybe_own_partition(e);
	sql_begin();
	foreach (cell, fetches)
	{
		page_fetch *fetch = lfirst(cell);
		raw_counts counts = {0};

		*error = try_slice(e, fetch, &counts);
		if (*error != NULL)
		{
			*failed = fetch;
			break;
		}
		e->next_slice++;
		e->bytes += fetch->exchange.response->body_length;
		e->records += counts.fetched;
	}
	record_shape_save(e->target.shape);
	sql_commit();
}
