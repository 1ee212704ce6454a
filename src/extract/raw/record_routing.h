/*-------------------------------------------------------------------------
 *
 * record_routing.h
 *	  Which load each record of a page belongs to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_RECORD_ROUTING_H
#define ETL_RECORD_ROUTING_H

#include "postgres.h"

/* What becomes of a record. */
typedef enum route_action
{
	ROUTE_LOAD, /* a row of the load it was fetched for, or of "load_id" */
	ROUTE_SKIP, /* of another interval, or loaded before: not counted as fetched */
	ROUTE_QUARANTINE
} route_action;

typedef struct record_route
{
	route_action action;
	int64 load_id; /* 0: the load it was fetched for */
	char *reason;  /* for quarantine */
} record_route;

extern record_route *record_routes(int64 task_run_id, int attempt, int64 load_id, int item,
								   Datum *payloads, int count);

#endif /* ETL_RECORD_ROUTING_H */
