/*-------------------------------------------------------------------------
 *
 * horizon.c
 *	  The horizon behind which nobody can see a row version any more.
 *
 * A superseded partition may be dropped only when no snapshot taken before it was
 * superseded is still in use: a DROP, unlike a DELETE, takes rows away from all of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "fmgr.h"
#include "storage/procarray.h"
#include "utils/xid8.h"

PG_FUNCTION_INFO_V1(etl_oldest_xmin);

/*
 * SQL: etl._oldest_xmin().  The horizon behind which no snapshot of this database, no
 * standby with feedback and no replication slot can see a row version.
 */
Datum
etl_oldest_xmin(PG_FUNCTION_ARGS)
{
	FullTransactionId next = ReadNextFullTransactionId();
	TransactionId xmin = GetOldestNonRemovableTransactionId(NULL);
	uint32 epoch = EpochFromFullTransactionId(next);

	/* the horizon is never ahead of the next xid: a larger one is of the epoch before */
	if (xmin > XidFromFullTransactionId(next))
		epoch--;
	PG_RETURN_FULLTRANSACTIONID(FullTransactionIdFromEpochAndXid(epoch, xmin));
}
