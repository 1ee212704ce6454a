/*-------------------------------------------------------------------------
 *
 * caller.h
 *	  A session that waits for runs: looking, waiting, and what may go wrong meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_CALLER_H
#define ETL_CALLER_H

#include "postgres.h"

#include "compat.h"
#include "run/launch.h"

/* How often a waiting caller looks, milliseconds; also how soon it finds it blocks its own run. */
#define CALLER_TICK_MS 500
/* How many coordinators may end under a waiting caller. */
#define MAX_COORDINATOR_RESTARTS 5

extern void query_now(const char *query, int64 argument);
extern char *result_text(int column);
extern void wait_ms(long ms);
extern void raise_blocked(const char *detail) pg_attribute_noreturn();
extern void start_coordinator(run_request *request, dsm_handle handle);

#endif /* ETL_CALLER_H */
