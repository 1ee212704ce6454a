/*-------------------------------------------------------------------------
 *
 * pool.h
 *	  Many requests to one source at once, each with its attempts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_HTTP_POOL_H
#define ETL_HTTP_POOL_H

#include "http/http.h"
#include "lib/ilist.h"

typedef struct http_pool http_pool;

/*
 * A request and what becomes of it.  The caller makes it, with a context of its own that
 * holds the request and, later, the answer; it stays the caller's.
 */
typedef struct http_exchange
{
	MemoryContext context;
	http_request request; /* as asked for: shown, never with credentials */
	void *user;

	/* filled by the pool */
	http_response *response; /* of the last attempt, in context */
	http_outcome outcome;

	/* the pool's own */
	dlist_node node;
	struct http_transfer *transfer;
	http_request sent; /* of the attempt under way, with credentials */
	int refusals;	   /* for the refresh hook: how often credentials were refused */
	http_retry_state retry;
	http_hop hop;	/* where it goes on; hop.url NULL: at its beginning */
	int unadmitted; /* how often in a row it was stopped before it was sent */
	TimestampTz not_before;
	http_wait_reason wait_reason; /* why it waits until then */
} http_exchange;

/*
 * What the pool asks its user.  Any may be NULL but judge.  All are called with no
 * transaction open, none of them from inside libcurl, and all may raise.
 */
typedef struct http_pool_hooks
{
	void *arg;

	/* Asked before every single send; not with the arg above. */
	const http_admission *admission;

	/* Fills exchange->sent from exchange->request; NULL: it is sent as it is. */
	void (*authorize)(void *arg, http_exchange *exchange);

	/*
	 * What an answer means, as far as that is known without reading all of it; *not_before:
	 * when the next attempt may start, 0 if it does not say.
	 */
	http_verdict (*judge)(void *arg, http_exchange *exchange, TimestampTz now,
						  TimestampTz *not_before);

	/* Reads what was judged to be a success, which takes its time, and tells if it is one. */
	http_verdict (*read)(void *arg, http_exchange *exchange);

	/* There may be room, and no answer speaks against it: to submit what is fetched next. */
	void (*more)(void *arg);

	/* After HTTP_VERDICT_REFRESH_AUTH: are there other credentials to try?  Bounds that itself. */
	bool (*refresh)(void *arg, http_exchange *exchange);

	/* Until when no request may be sent, from what all answers so far said; 0: at once. */
	TimestampTz (*hold)(void *arg);

	/* Before a wait in which nothing is under way; exchange is the one that is due first, or
	 * NULL for one that has not been sent yet. */
	void (*waiting)(void *arg, http_wait_reason reason, TimestampTz until,
					const http_exchange *exchange);
} http_pool_hooks;

extern http_pool *http_pool_create(MemoryContext parent, http_client *client,
								   const http_retry_policy *policy, int concurrency,
								   const http_pool_hooks *hooks);
extern void http_pool_submit(http_pool *pool, http_exchange *exchange);
extern bool http_pool_has_room(const http_pool *pool);
extern void http_pool_pump(http_pool *pool);
extern http_exchange *http_pool_take(http_pool *pool);
extern http_exchange *http_pool_next(http_pool *pool);
extern void http_pool_abandon(http_pool *pool, http_exchange *exchange);

#endif /* ETL_HTTP_POOL_H */
