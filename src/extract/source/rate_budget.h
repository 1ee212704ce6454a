/*-------------------------------------------------------------------------
 *
 * rate_budget.h
 *	  A server's own budget of requests, shared by all processes of the database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_RATE_BUDGET_H
#define ETL_RATE_BUDGET_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "http/http.h"

typedef struct rate_budget rate_budget;

/* In any time of this length no more requests than that. */
typedef struct rate_window
{
	int requests;
	int64 length_ms;
} rate_window;

/* The grant a process holds: what it may send until when. */
typedef struct rate_grant
{
	char id[40]; /* a uuid; "" for none */
	int requests;
	TimestampTz expires_at;
} rate_grant;

/* What etl._grant_requests is asked, and what it answers. */
typedef struct rate_request
{
	char server[NAMEDATALEN];
	int wanted;
	int validity_ms;
	rate_grant settled; /* the grant before, of which so many were used, the last one then */
	int settled_used;
	TimestampTz settled_at; /* 0: not known yet; counts as its expiry */

	rate_grant granted; /* requests 0: none, ask again then */
	TimestampTz ask_again_at;
} rate_request;

/* What the option's value means, for hints. */
#define RATE_LIMIT_HINT                                                                            \
	"It is a number of requests and a time from 100 ms to 31 days, such as '5000/hour', or "       \
	"several of them: '20/second, 5000/hour', '100/15 minutes'."

extern List *rate_budget_parse(const char *text, const char **problem);
extern rate_budget *rate_budget_open(const char *server, List *windows);
extern int rate_budget_take(rate_budget *budget, int wanted, TimestampTz *until);
extern TimestampTz rate_budget_valid_until(const rate_budget *budget);
extern void rate_budget_return(rate_budget *budget, int unused);
extern void rate_budget_close(rate_budget *budget);
extern const http_admission *rate_budget_admission(rate_budget *budget);

/* rate_ledger.c */
extern void rate_ledger_ask(rate_request *request);

#endif /* ETL_RATE_BUDGET_H */
