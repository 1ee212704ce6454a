/*-------------------------------------------------------------------------
 *
 * kept_plans.h
 *	  Statements that are planned once and run many times.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_KEPT_PLANS_H
#define ETL_KEPT_PLANS_H

#include "postgres.h"

extern int kept_plan_execute(const char *query, int nargs, Oid *types, Datum *values,
							 const char *nulls);

#endif /* ETL_KEPT_PLANS_H */
