/*-------------------------------------------------------------------------
 *
 * canary.c
 *	  A planted error, for scripts/sanitize.sh to see that it would be found.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(guard_canary);

/* SQL: guard_canary(integer) RETURNS integer: the byte behind so many of a palloc'd chunk. */
Datum
guard_canary(PG_FUNCTION_ARGS)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "canary", ALLOCSET_DEFAULT_SIZES);
	volatile char *chunk = MemoryContextAllocZero(context, PG_GETARG_INT32(0));

	PG_RETURN_INT32(chunk[PG_GETARG_INT32(0)]);
}
