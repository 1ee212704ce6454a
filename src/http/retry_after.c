/*-------------------------------------------------------------------------
 *
 * retry_after.c
 *	  The times a server names: Retry-After.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "http/http.h"

#include <curl/curl.h>
#include <time.h>

#include "utils/timestamp.h"

/* nobody means more than this: some 30 years */
#define MAX_SECONDS INT64CONST(1000000000)

/*
 * Parse a Retry-After value: seconds (a fraction is not in the standard, but is sent)
 * or an HTTP date.  Sets *until to the time meant, which may be past, and returns
 * true; false for anything else, such as negative seconds.  Far times are cut to
 * some 30 years from "now".  Never raises.
 */
bool
http_parse_retry_after(const char *value, TimestampTz now, TimestampTz *until)
{
	const char *p = value;
	TimestampTz latest = now + MAX_SECONDS * USECS_PER_SEC;

	if (p == NULL)
		return false;
	while (*p == ' ' || *p == '\t')
		p++;

	if (*p >= '0' && *p <= '9')
	{
		int64 microseconds = 0;
		int64 unit = USECS_PER_SEC;

		for (; *p >= '0' && *p <= '9'; p++)
			microseconds = Min(microseconds * 10 + (*p - '0'), MAX_SECONDS);
		microseconds *= USECS_PER_SEC;
		if (*p == '.')
		{
			for (p++; *p >= '0' && *p <= '9'; p++)
			{
				unit /= 10;
				microseconds += (*p - '0') * unit;
			}
		}
		while (*p == ' ' || *p == '\t')
			p++;
		if (*p != '\0')
			return false;
		*until = Min(now + microseconds, latest);
		return true;
	}

	/* All forms of an HTTP date begin with a day's name; curl_getdate knows many more. */
	if ((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z'))
	{
		time_t seconds = curl_getdate(p, NULL);

		if (seconds < 0)
			return false;
		*until = Min(time_t_to_timestamptz((pg_time_t) Min((int64) seconds, INT64CONST(1) << 40)),
					 latest);
		return true;
	}
	return false;
}
