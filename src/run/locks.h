/*-------------------------------------------------------------------------
 *
 * locks.h
 *	  The advisory locks that say who is alive.
 *
 * They live in the advisory lock space of the database with a fourth field that
 * pg_advisory_lock() cannot reach, are held by the session, and so vanish with the
 * process however it ends.  sql/run_coordinate.sql reads them in pg_locks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_LOCKS_H
#define ETL_LOCKS_H

#include "postgres.h"
#include "storage/lock.h"

typedef enum etl_lock_kind
{
	ETL_LOCK_COORDINATOR = 1, /* id 0: the one coordinator of the database */
	ETL_LOCK_WORKER = 2,	  /* id: the role a worker is connected as; shared */
	ETL_LOCK_ATTEMPT = 3,	  /* id: the task run a worker works on */
	ETL_LOCK_CALLER = 4,	  /* id: the request whose caller still waits */
	ETL_LOCK_DELIVERY = 5,	  /* id: the delivery of a notification a worker is at */
	ETL_LOCK_REPAIR = 6		  /* id 0: a coordinator cleans up what a crash has left */
} etl_lock_kind;

extern bool etl_lock(etl_lock_kind kind, int64 id, LOCKMODE mode);
extern void etl_lock_wait(etl_lock_kind kind, int64 id, LOCKMODE mode);
extern void etl_unlock(etl_lock_kind kind, int64 id, LOCKMODE mode);
extern bool etl_worker_holds(etl_lock_kind kind, int64 id);

#endif /* ETL_LOCKS_H */
