/*-------------------------------------------------------------------------
 *
 * registry.c
 *	  Registered schemas: read from etl.registered_schema, and noticed when they change.
 *
 * Every change of the table sends an invalidation of its relcache entry (a trigger does),
 * which arrives in every backend when the change commits and costs nothing to look for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "schema/compile.h"

PG_FUNCTION_INFO_V1(etl_registered_schema_changed);

static uint64 generation = 1;
static Oid registry_table = InvalidOid;

static void note_invalidation(Datum argument, Oid relation);

static void
note_invalidation(Datum argument, Oid relation)
{
	if (relation == InvalidOid || relation == registry_table)
		generation++;
}

/*
 * A number that changes whenever a registered schema may have.
 */
uint64
schema_registry_generation(void)
{
	static bool is_watching = false;

	if (!is_watching)
	{
		CacheRegisterRelcacheCallback(note_invalidation, (Datum) 0);
		is_watching = true;
	}
	return generation;
}

/*
 * The schema registered under a URI, palloc'd, or NULL.  Reads what is committed now, not
 * what the transaction's snapshot shows: compiled schemas outlive transactions.
 */
const Jsonb *
schema_registry_find(const char *uri)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid types[1] = {TEXTOID};
	Datum values[1];
	Jsonb *result = NULL;
	int code;

	registry_table = get_relname_relid("registered_schema", get_namespace_oid("etl", false));
	values[0] = CStringGetTextDatum(uri);
	/* a parallel query has one snapshot for all its processes */
	PushActiveSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
	if ((code = SPI_connect()) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed: %s", SPI_result_code_string(code));
	code = SPI_execute_with_args("SELECT s.schema FROM etl.registered_schema s "
								 "WHERE s.uri OPERATOR(pg_catalog.=) $1",
								 1, types, values, NULL, true, 1);
	if (code != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(code));
	if (SPI_processed > 0)
	{
		bool is_null;
		Datum datum = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);

		if (!is_null)
		{
			MemoryContext spi = MemoryContextSwitchTo(caller);

			result = DatumGetJsonbPCopy(datum);
			MemoryContextSwitchTo(spi);
		}
	}
	SPI_finish();
	PopActiveSnapshot();
	return result;
}

/*
 * Trigger of etl.registered_schema: tells all backends that it changed.
 */
Datum
etl_registered_schema_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("this function is a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}
