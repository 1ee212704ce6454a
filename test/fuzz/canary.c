/*-------------------------------------------------------------------------
 *
 * canary.c
 *	  A planted error: scripts/fuzz.sh finds it, or has lost its sight.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

/*
 * Reads one byte behind a palloc'd chunk, inside the block it is cut out of, for an input
 * that only a fuzzer guided by coverage comes upon.
 */
FUZZ_TARGET(canary)
{
	volatile char *chunk = palloc0(13);

	if (size > 3 && input[0] == 'b' && input[1] == 'i' && input[2] == 'r' && input[3] == 'd')
		(void) chunk[13];
}
