/*-------------------------------------------------------------------------
 *
 * fuzz_retry_after.c
 *	  http_parse_retry_after() on any value, at any time.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "http/http.h"
#include "utils/timestamp.h"

#define FAR_SECONDS INT64CONST(1000000000)

/*
 * Input: 4 bytes of "now" in seconds since 2000, a value.  Seconds never lead back, nothing
 * leads further than some 30 years, and seconds mean seconds.
 */
FUZZ_TARGET(retry_after)
{
	uint32 seconds = 0;
	TimestampTz now;
	TimestampTz until;
	char *value;
	char *end;
	long number;

	if (size < sizeof(seconds))
		return;
	memcpy(&seconds, input, sizeof(seconds));
	now = (int64) seconds * USECS_PER_SEC;
	value = fuzz_text(input + sizeof(seconds), size - sizeof(seconds));
	if (!http_parse_retry_after(value, now, &until))
		return;
	fuzz_require(until <= now + FAR_SECONDS * USECS_PER_SEC);
	fuzz_require(!TIMESTAMP_NOT_FINITE(until));
	number = strtol(value, &end, 10);
	if (end != value)
		fuzz_require(until >= now);
	if (end != value && *end == '\0')
		fuzz_require(until == now + Min(number, FAR_SECONDS) * USECS_PER_SEC);
}
