/*-------------------------------------------------------------------------
 *
 * locks.c
 *	  The advisory locks that say who is alive; see locks.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "compat.h"
#include "run/locks.h"

PG_FUNCTION_INFO_V1(etl_holds_attempt);

/* The fourth field of the lock tag: pg_advisory_lock() uses 1 and 2, Citus 4 and up. */
#define ETL_LOCK_SPACE 231

/*
 * The tag of a lock.  The kind takes the top byte of the second field, the id the 56
 * bits below it.
 */
static void
set_tag(LOCKTAG *tag, etl_lock_kind kind, int64 id)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId,
						 ((uint32) kind << 24) | ((uint32) (id >> 32) & 0xffffff),
						 (uint32) (id & 0xffffffff), ETL_LOCK_SPACE);
}

/*
 * Takes a lock for the session if it is to be had at once; returns whether.
 */
bool
etl_lock(etl_lock_kind kind, int64 id, LOCKMODE mode)
{
	LOCKTAG tag;

	set_tag(&tag, kind, id);
	return LockAcquire(&tag, mode, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Takes a lock for the session, waiting for it.  Answers interrupts while it waits.
 */
void
etl_lock_wait(etl_lock_kind kind, int64 id, LOCKMODE mode)
{
	LOCKTAG tag;

	set_tag(&tag, kind, id);
	(void) LockAcquire(&tag, mode, true, false);
}

/*
 * Gives a session lock back.  A lock not held is a warning, as in PostgreSQL.
 */
void
etl_unlock(etl_lock_kind kind, int64 id, LOCKMODE mode)
{
	LOCKTAG tag;

	set_tag(&tag, kind, id);
	LockRelease(&tag, mode, true);
}

/*
 * Whether this is a background worker that holds a lock, exclusively.
 */
bool
etl_worker_holds(etl_lock_kind kind, int64 id)
{
	LOCKTAG tag;

	set_tag(&tag, kind, id);
	return MyBackendType == B_BG_WORKER && etl_lock_held_by_me(&tag, ExclusiveLock);
}

/*
 * SQL: etl._holds_attempt(bigint).  Whether this is a background worker that holds the
 * lock of a task run's attempt, as only the worker that claimed it does.
 */
Datum
etl_holds_attempt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(etl_worker_holds(ETL_LOCK_ATTEMPT, PG_GETARG_INT64(0)));
}
