/*-------------------------------------------------------------------------
 *
 * fetch.c
 *	  One request with its attempts, waited for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "http/pool.h"

/* Who is told of waits. */
typedef struct listener
{
	http_wait_callback waiting;
	void *arg;
} listener;

/* http_pool_hooks.judge */
static http_verdict
judge(void *arg, http_exchange *exchange, TimestampTz now, TimestampTz *not_before)
{
	return http_classify(exchange->response, now, not_before);
}

/* http_pool_hooks.waiting */
static void
tell(void *arg, http_wait_reason reason, TimestampTz until, const http_exchange *exchange)
{
	const listener *told = arg;

	if (told->waiting != NULL)
		told->waiting(told->arg, reason, until, exchange ? exchange->outcome.attempts + 1 : 1,
					  exchange ? exchange->response : NULL);
}

/*
 * A request with as many attempts as the policy (NULL: the default one) allows; returns
 * the last answer, in a child of the current memory context, and fills *outcome.
 *
 * A wait for a rate limit that would be longer than max_rate_limit_wait_ms, or makes those
 * that answers asked for longer than that together, ends the matter at once, with
 * rate_limited_until set.  "waiting" (may be NULL) is called before each wait.  Raises what
 * the request's admission and "waiting" raise, 22023 for a request that cannot be sent, and
 * what CHECK_FOR_INTERRUPTS() raises while waiting; the client can be used after that.
 */
http_response *
http_fetch(http_client *client, const http_request *request, const http_retry_policy *policy,
		   http_wait_callback waiting, void *arg, http_outcome *outcome)
{
	listener told = {.waiting = waiting, .arg = arg};
	http_pool_hooks hooks = {
		.arg = &told, .admission = request->admission, .judge = judge, .waiting = tell};
	http_exchange exchange = {.context = CurrentMemoryContext, .request = *request};
	http_retry_policy defaults;
	http_pool *pool;

	http_retry_policy_init(&defaults);
	pool = http_pool_create(CurrentMemoryContext, client, policy ? policy : &defaults, 1, &hooks);
	http_pool_submit(pool, &exchange);
	PG_TRY();
	{
		(void) http_pool_next(pool);
	}
	PG_CATCH();
	{
		http_pool_abandon(pool, &exchange);
		PG_RE_THROW();
	}
	PG_END_TRY();
	pfree(pool);
	*outcome = exchange.outcome;
	return exchange.response;
}
