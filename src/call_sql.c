/*-------------------------------------------------------------------------
 *
 * call_sql.c
 *	  Short transactions of a background worker, and SQL calls within them.
 *
 * Between sql_commit() and the next sql_begin() no transaction is open: that is where a
 * worker waits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "call_sql.h"
#include "kept_plans.h"

/* Where sql_begin() was called in: what comes after the transaction goes on there. */
static MemoryContext caller_context;

/*
 * Starts a transaction with a snapshot and SPI.  CurrentMemoryContext is the
 * transaction's until sql_commit().
 */
void
sql_begin(void)
{
	caller_context = CurrentMemoryContext;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * Commits what sql_begin() started, and goes back to the memory context it was called in.
 */
void
sql_commit(void)
{
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller_context);
}

/*
 * Runs one statement; its result is SPI_tuptable.  Its plan is kept.  Raises what the
 * statement raises.
 */
void
sql_call(const char *query, int nargs, Oid *types, Datum *values, const char *nulls)
{
	MemoryContext old = CurrentMemoryContext;
	int code = kept_plan_execute(query, nargs, types, values, nulls);

	MemoryContextSwitchTo(old); /* SPI leaves its own */
	if (code < 0)
		elog(ERROR, "SPI call failed: %s: %s", SPI_result_code_string(code), query);
}

/* Whether a column of the last result is NULL; also when the row is not there. */
bool
sql_is_null(int row, int column)
{
	bool isnull;

	if (SPI_tuptable == NULL || SPI_processed <= row)
		return true;
	SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
	return isnull;
}

/* A column of the last result, valid until the transaction ends. */
Datum
sql_datum(int row, int column)
{
	bool isnull;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
}

/* A bigint or integer column of the last result. */
int64
sql_bigint(int row, int column, int64 if_null)
{
	if (sql_is_null(row, column))
		return if_null;
	if (SPI_gettypeid(SPI_tuptable->tupdesc, column) == INT4OID)
		return DatumGetInt32(sql_datum(row, column));
	return DatumGetInt64(sql_datum(row, column));
}

/* A column of the last result as text, palloc'd in the transaction's context; NULL if null. */
char *
sql_text(int row, int column)
{
	if (sql_is_null(row, column))
		return NULL;
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

/* A text[] column of the last result as a list of palloc'd strings; NIL if null. */
List *
sql_text_array(int row, int column)
{
	List *result = NIL;
	Datum *elements;
	bool *nulls;
	int count;

	if (sql_is_null(row, column))
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(sql_datum(row, column)), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
		result = lappend(result, nulls[i] ? NULL : TextDatumGetCString(elements[i]));
	return result;
}
