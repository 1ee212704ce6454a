/*-------------------------------------------------------------------------
 *
 * written_here.c
 *	  Which rows the current transaction wrote.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"

PG_FUNCTION_INFO_V1(etl_written_here);

/*
 * SQL: etl._written_here(xmin).  Whether a row version was written by this transaction,
 * its subtransactions included: each block with an EXCEPTION clause is one.
 */
Datum
etl_written_here(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(TransactionIdIsCurrentTransactionId(PG_GETARG_TRANSACTIONID(0)));
}
