/*-------------------------------------------------------------------------
 *
 * call.c
 *	  Calls that are no part of a publication: procedures that may commit.
 *
 * The statement runs at top level, as one that a client sends: SPI would let a procedure
 * commit only from within another one's portal.  What the procedure leaves uncommitted
 * commits together with the success of its task.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "call_sql.h"
#include "compat.h"
#include "progress.h"
#include "run/call.h"

/* What the procedure may ask for: etl.run_id() and its like, beyond its own commits too. */
static const char *const context_settings[] = {"etl.run_id", "etl.data_interval_start",
											   "etl.data_interval_end", "etl.run_date"};

/* The statement and its only parameter, a text[]. */
typedef struct call_statement
{
	char *text;
	Datum arguments;
	char *context[lengthof(context_settings)];
} call_statement;

/* Asks what to call; the result lives in the current memory context. */
static void
read_statement(int64 task_run_id, int attempt, call_statement *call)
{
	MemoryContext context = CurrentMemoryContext;
	Oid types[] = {INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(task_run_id), Int32GetDatum(attempt)};

	sql_begin();
	sql_call("SELECT statement, arguments, run_id, data_interval_start, data_interval_end, "
			 "run_date FROM etl._begin_call($1, $2)",
			 2, types, values, NULL);
	MemoryContextSwitchTo(context);
	call->text = pstrdup(sql_text(0, 1));
	call->arguments = PointerGetDatum(PG_DETOAST_DATUM_COPY(sql_datum(0, 2)));
	for (int i = 0; i < lengthof(context_settings); i++)
		call->context[i] = pstrdup(sql_text(0, 3 + i));
	sql_commit();
	MemoryContextSwitchTo(context);
}

/* Sets the context of the call for the rest of the session. */
static void
set_context(const call_statement *call)
{
	for (int i = 0; i < lengthof(context_settings); i++)
		SetConfigOption(context_settings[i], call->context[i], PGC_USERSET, PGC_S_SESSION);
}

/*
 * Runs the statement as a client's would be, within a transaction that is open and that it
 * may end and begin anew.  Allocates in the current memory context, which outlives it.
 */
static void
run_at_top_level(const call_statement *call)
{
	MemoryContext context = CurrentMemoryContext;
	RawStmt *parsed = linitial_node(RawStmt, pg_parse_query(call->text));
	Oid type = TEXTARRAYOID;
	List *plans;
	ParamListInfo parameters = makeParamList(1);
	Portal portal;

	parameters->params[0].value = call->arguments;
	parameters->params[0].isnull = false;
	parameters->params[0].pflags = PARAM_FLAG_CONST;
	parameters->params[0].ptype = TEXTARRAYOID;

	PushActiveSnapshot(GetTransactionSnapshot());
	plans = pg_plan_queries(pg_analyze_and_rewrite_fixedparams(parsed, call->text, &type, 1, NULL),
							call->text, CURSOR_OPT_PARALLEL_OK, parameters);
	PopActiveSnapshot();

	portal = CreatePortal("", true, true);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, call->text, CreateCommandTag(parsed->stmt), plans, NULL);
	PortalStart(portal, parameters, 0, InvalidSnapshot);
	etl_portal_run(portal, FETCH_ALL, true, None_Receiver, None_Receiver, NULL);
	PortalDrop(portal, false);
	MemoryContextSwitchTo(context);
}

/* Marks the task successful, in the transaction that is open. */
static void
finish(int64 task_run_id, int attempt)
{
	Oid types[] = {INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(task_run_id), Int32GetDatum(attempt)};

	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	sql_call("SELECT etl._finish_publish($1, $2, '[]')", 2, types, values, NULL);
	PopActiveSnapshot();
	SPI_finish();
}

/*
 * Runs one attempt of a call that commits by itself.  context: reset by the caller
 * afterwards.  Raises what the procedure raises; what it had committed stays.
 *
 * The procedure may have left anything in the session: the caller ends it.
 */
void
call_run(int64 task_run_id, int attempt, MemoryContext context)
{
	call_statement call;

	evidence_reset();
	MemoryContextSwitchTo(context);
	read_statement(task_run_id, attempt, &call);
	set_context(&call);
	progress_report("calling");
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	run_at_top_level(&call);
	finish(task_run_id, attempt);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}
