/*-------------------------------------------------------------------------
 *
 * token_pool.h
 *	  Several tokens for one source, used by what is left of their quotas.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_TOKEN_POOL_H
#define ETL_TOKEN_POOL_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "http/http.h"

/* One token, or whatever else a source counts by, and what its answers said about it. */
typedef struct pool_token
{
	char *value;			/* as sent; NULL: it is no token */
	int64 remaining;		/* requests left; QUOTA_UNKNOWN until an answer said so */
	TimestampTz reset;		/* till when that holds; 0: nobody said */
	char resource[32];		/* which of the source's quotas that is; "" */
	bool is_news;			/* not yet kept for others */
	TimestampTz not_before; /* when it has quota again; 0: it has */
	int64 last_used;		/* a count, not a time */
	bool is_refused;		/* by a 401: not used while there are others */
} pool_token;

#define QUOTA_UNKNOWN PG_INT64_MAX

extern pool_token *pool_token_create(char *value);
extern pool_token *pool_find(List *tokens, const char *value);
extern pool_token *pool_choose(List *tokens, TimestampTz now);
extern void pool_note_limit(pool_token *token, TimestampTz not_before, TimestampTz now);
extern void pool_note_answer(pool_token *token, const http_response *response, TimestampTz now);
extern TimestampTz pool_not_before(List *tokens, TimestampTz now);
extern int pool_position(List *tokens, const pool_token *token);
extern bool pool_is_refused(List *tokens);

#endif /* ETL_TOKEN_POOL_H */
