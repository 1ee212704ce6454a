/*-------------------------------------------------------------------------
 *
 * publish.c
 *	  Write-audit-publish: the transaction in which a run becomes visible.
 *
 * SQL does the work (sql/publish.sql).  What SQL cannot do is take the locks of the
 * targets before the snapshot: here they are locked in OID order, so that publications
 * that share dimensions queue instead of deadlocking, and the snapshot that follows sees
 * all that the one before committed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "call_sql.h"
#include "progress.h"
#include "run/publish.h"

/* How often a publication is tried again after a serialization failure or deadlock. */
#define MAX_SERIALIZATION_RETRIES 5

/* How often it looks for loads to reclaim and finds none that can go. */
#define MAX_RECLAIM_REFUSALS 3

/* The tables to lock, in OID order, in the caller's memory context. */
static List *
targets_to_lock(int64 task_run_id, int attempt)
{
	List *result = NIL;
	Oid types[] = {INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(task_run_id), Int32GetDatum(attempt)};
	MemoryContext context = CurrentMemoryContext;

	sql_begin();
	sql_call("SELECT t::bigint FROM etl._publish_lock_targets($1, $2) t", 2, types, values, NULL);
	MemoryContextSwitchTo(context);
	for (int row = 0; row < SPI_processed; row++)
		result = lappend_oid(result, (Oid) sql_bigint(row, 1, 0));
	sql_commit();
	MemoryContextSwitchTo(context);
	return result;
}

/*
 * The DDL that loads need, or their refusal, in a transaction of its own: the publication
 * itself then takes no lock that readers would feel.
 */
static void
prepare_targets(int64 task_run_id, int attempt)
{
	Oid types[] = {INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(task_run_id), Int32GetDatum(attempt)};

	evidence_reset();
	sql_begin();
	sql_call("SELECT etl._prepare_targets($1, $2)", 2, types, values, NULL);
	sql_commit();
}

/* One try: everything from the locks to the commit. */
static void
publish_once(int64 task_run_id, int attempt, List *targets)
{
	Oid types[] = {INT8OID, INT4OID, JSONBOID};
	Datum values[3] = {Int64GetDatum(task_run_id), Int32GetDatum(attempt)};
	ListCell *cell;

	evidence_reset();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = XACT_REPEATABLE_READ;
	progress_report("publishing: waiting for the locks of %d tables", list_length(targets));
	foreach (cell, targets)
	{
		Oid relation = lfirst_oid(cell);

		/* as LOCK TABLE: who may not write a table may not lock it; the load will say so */
		if (pg_class_aclcheck(relation, GetUserId(), ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE) ==
			ACLCHECK_OK)
			LockRelationOid(relation, ShareRowExclusiveLock);
	}
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	sql_call("SELECT etl._publish($1, $2)", 2, types, values, NULL);
	values[2] = evidence_as_jsonb();
	sql_call("SELECT etl._finish_publish($1, $2, $3)", 3, types, values, NULL);
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
}

/* Removes what the publication made superfluous; a failure here is for the log only. */
static void
reclaim(int64 task_run_id)
{
	MemoryContext context = CurrentMemoryContext;
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(task_run_id)};

	PG_TRY();
	{
		int refusals = 0;

		/* a table that is being read all the time gives its lock away only now and then */
		while (refusals < MAX_RECLAIM_REFUSALS)
		{
			sql_begin();
			sql_call("SELECT etl._reclaim_after($1)", 1, types, values, NULL);
			if (sql_is_null(0, 1))
				refusals = MAX_RECLAIM_REFUSALS;
			else if (!DatumGetBool(sql_datum(0, 1)))
				refusals++;
			sql_commit();
			CHECK_FOR_INTERRUPTS();
		}
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
}

/*
 * Publishes a run: raw loads, targets and checks, in one transaction.  Raises what made
 * it fail; then nothing is published and the notes taken on the way are still there.
 */
void
publish_run(int64 task_run_id, int attempt)
{
	MemoryContext context = CurrentMemoryContext;
	List *volatile targets;

	prepare_targets(task_run_id, attempt);
	MemoryContextSwitchTo(context);
	targets = targets_to_lock(task_run_id, attempt);
	for (int retry = 0;; retry++)
	{
		volatile bool again = false;

		PG_TRY();
		{
			publish_once(task_run_id, attempt, targets);
		}
		PG_CATCH();
		{
			int code = geterrcode();

			if (retry >= MAX_SERIALIZATION_RETRIES || (code != ERRCODE_T_R_SERIALIZATION_FAILURE &&
													   code != ERRCODE_T_R_DEADLOCK_DETECTED))
				PG_RE_THROW();
			MemoryContextSwitchTo(context);
			FlushErrorState();
			AbortOutOfAnyTransaction();
			again = true;
		}
		PG_END_TRY();
		if (!again)
			break;
		progress_report("publishing again after a serialization failure (%d of %d)", retry + 1,
						MAX_SERIALIZATION_RETRIES);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 (long) (pg_prng_double(&pg_global_prng_state) * 50 * (retry + 1)),
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(context);
	reclaim(task_run_id);
}
