/*-------------------------------------------------------------------------
 *
 * quota.h
 *	  What an answer's headers say about the provider's quota.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_HTTP_QUOTA_H
#define ETL_HTTP_QUOTA_H

#include "postgres.h"
#include "datatype/timestamp.h"

#include "http/http.h"

typedef struct http_quota
{
	bool known;		   /* the answer says how much is left */
	int64 limit;	   /* requests a window; -1: not said */
	int64 remaining;   /* requests left; -1: not said */
	TimestampTz reset; /* when there will be more, by our clock, maybe past; 0: not said */
	char resource[32]; /* which of the provider's quotas it is (GitHub's "core", "search"); "" */
} http_quota;

extern bool http_quota_read(const http_response *response, TimestampTz now, http_quota *quota);
extern TimestampTz http_quota_hold(const http_quota *quota, TimestampTz now);
extern TimestampTz http_on_our_clock(const http_response *response, TimestampTz now,
									 TimestampTz theirs);

#endif /* ETL_HTTP_QUOTA_H */
