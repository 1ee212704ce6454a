/*-------------------------------------------------------------------------
 *
 * wait_events.h
 *	  WaitEventSet as PostgreSQL 15 to 18 have it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_HTTP_WAIT_EVENTS_H
#define ETL_HTTP_WAIT_EVENTS_H

#include "postgres.h"
#include "storage/latch.h"

#if PG_VERSION_NUM >= 170000
#include "utils/resowner.h"
#endif

/*
 * Make a set of room for "size" events that lives until FreeWaitEventSet, whatever
 * becomes of the transaction.  Before 17 it is allocated in "context", which has to
 * live as long.  Raises when there is no descriptor or memory left.
 */
static inline WaitEventSet *
etl_create_wait_event_set(MemoryContext context, int size)
{
#if PG_VERSION_NUM >= 170000
	(void) context;
	return CreateWaitEventSet(NULL, size);
#else
	return CreateWaitEventSet(context, size);
#endif
}

#endif /* ETL_HTTP_WAIT_EVENTS_H */
