/*-------------------------------------------------------------------------
 *
 * record_routing.c
 *	  Which load each record of a page belongs to.
 *
 * The rules are SQL (sql/record_routing.sql): they need what the catalog knows, and tasks
 * without a watermark or a record_time never ask.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "call_sql.h"
#include "extract/raw/record_routing.h"

/*
 * The routes of records, palloc'd, in the order of the payloads (jsonb).  Within the
 * transaction that writes their rows: it moves the load's watermark on.  Raises for a
 * record without a cursor, where the task says so.
 */
record_route *
record_routes(int64 task_run_id, int attempt, int64 load_id, int item, Datum *payloads, int count)
{
	record_route *routes = palloc0(sizeof(record_route) * Max(count, 1));
	Oid types[] = {INT8OID, INT4OID, INT8OID, INT4OID, JSONBARRAYOID};
	Datum values[] = {Int64GetDatum(task_run_id), Int32GetDatum(attempt), Int64GetDatum(load_id),
					  Int32GetDatum(item), 0};

	if (count == 0)
		return routes;
	values[4] =
		PointerGetDatum(construct_array(payloads, count, JSONBOID, -1, false, TYPALIGN_INT));
	sql_call("SELECT record_number, action, load_id, reason FROM etl._route_records($1, $2, $3, "
			 "$4, $5)",
			 5, types, values, NULL);
	for (int row = 0; row < (int) SPI_processed; row++)
	{
		int64 number = sql_bigint(row, 1, -1);
		const char *action = sql_text(row, 2);
		record_route *route;

		if (number < 0 || number >= count)
			elog(ERROR, "route of a record that there is not");
		route = &routes[number];
		route->action = strcmp(action, "skip") == 0	  ? ROUTE_SKIP
						: strcmp(action, "load") == 0 ? ROUTE_LOAD
													  : ROUTE_QUARANTINE;
		route->load_id = sql_bigint(row, 3, 0);
		route->reason = sql_text(row, 4);
	}
	return routes;
}
