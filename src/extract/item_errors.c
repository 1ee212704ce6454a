/*-------------------------------------------------------------------------
 *
 * item_errors.c
 *	  Items of for_each that fail alone (on_item_error "skip").
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "call_sql.h"
#include "extract/extraction.h"

/*
 * Notes that an item failed alone, and goes on without it.  A short transaction.
 */
void
item_skip(extraction *e, extract_item *item, const ErrorData *error)
{
	Oid types[] = {INT8OID, INT4OID, INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[7];
	char nulls[] = "       ";

	sql_begin();
	values[0] = Int64GetDatum(e->target.task_run_id);
	values[1] = Int32GetDatum(e->target.attempt);
	values[2] = Int64GetDatum(e->target.load_id);
	values[3] = Int32GetDatum(item->number);
	values[4] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
	values[5] = CStringGetTextDatum(error->message);
	nulls[6] = error->detail ? ' ' : 'n';
	values[6] = error->detail ? CStringGetTextDatum(error->detail) : (Datum) 0;
	sql_call("SELECT etl._skip_item($1, $2, $3, $4, $5, $6, $7)", 7, types, values, nulls);
	sql_commit();
	items_drop(e, item);
}

/*
 * When every item has failed nothing was one item's own: raises as the last one did, so
 * that a source which is down is not taken for an empty one.  All are asked again.  A short
 * transaction.
 */
void
items_check_some_came(extraction *e)
{
	Oid types[] = {INT8OID, INT4OID, INT8OID};
	Datum values[] = {Int64GetDatum(e->target.task_run_id), Int32GetDatum(e->target.attempt),
					  Int64GetDatum(e->target.load_id)};
	char *code;
	char *message;
	char *detail;

	if (!e->skip_failed_items)
		return;
	sql_begin();
	sql_call("SELECT error_code, error_message, error_detail FROM etl._forget_failed_items($1, $2, "
			 "$3)",
			 3, types, values, NULL);
	MemoryContextSwitchTo(e->context);
	code = sql_text(0, 1);
	message = sql_text(0, 2);
	detail = sql_text(0, 3);
	sql_commit();
	MemoryContextSwitchTo(e->context);
	if (code != NULL)
		ereport(ERROR,
				(errcode(MAKE_SQLSTATE(code[0], code[1], code[2], code[3], code[4])),
				 errmsg("every item failed, %d of %d; the last one: %s", e->item_count,
						e->item_count, message),
				 detail ? errdetail("%s", detail) : 0,
				 errhint("With on_item_error \"skip\" items are left out as long as one of them "
						 "can be loaded; etl.log has the error of each.")));
}

/*
 * Whether an error is one item's own: what the source says about it, or what its pages
 * hold.  Refused credentials, an exhausted quota and our own resources concern them all.
 * fetch: the page it came with; NULL: none.
 */
bool
item_error_is_own(const extraction *e, const ErrorData *error, const page_fetch *fetch)
{
	const http_response *response = fetch ? fetch->exchange.response : NULL;
	int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	if (!e->skip_failed_items || (fetch != NULL && page_fetch_concerns_all(fetch)))
		return false;
	if (fetch != NULL && fetch->outcome == PAGE_UNREADABLE)
		return true;
	/* 401 is about who asks, 403 about what is asked for */
	if (error->sqlerrcode == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION)
		return response != NULL && response->status == 403;
	return category == ERRCODE_TO_CATEGORY(ERRCODE_FDW_ERROR) ||
		   category == ERRCODE_TO_CATEGORY(ERRCODE_CONNECTION_FAILURE) ||
		   error->sqlerrcode == ERRCODE_INVALID_JSON_TEXT ||
		   error->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}
