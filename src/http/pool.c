/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  Many requests to one source at once, each with its attempts.
 *
 * An exchange waits (to be sent, for its backoff, for a rate limit), is under way, or is
 * done.  What one answer says about a rate limit holds for all: they are of one source.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "http/pool.h"
#include "http/transfer.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A server that names less than this has not really named a time. */
#define MIN_NAMED_WAIT_MS 1000

struct http_pool
{
	http_client *client;
	http_retry_policy policy;
	http_pool_hooks hooks;
	int concurrency;
	dlist_head waiting;
	dlist_head active;
	dlist_head done;
	int waiting_count;
	int active_count;
	TimestampTz hold_until; /* no request before, by what an answer said */
	TimestampTz held_until; /* until when everything is held back just now; 0: it is not */
	TimestampTz wake_at;	/* when to look again without anything happening; 0: never */
};

static void start(http_pool *pool, http_exchange *exchange);
static void send_due(http_pool *pool);
static void hold_back(http_pool *pool, TimestampTz until, TimestampTz now);
static void show_wait(http_pool *pool);
static void collect(http_pool *pool);
static void one_round(http_pool *pool, bool wait);
static void settle(http_pool *pool, http_exchange *exchange);
static void try_again(http_pool *pool, http_exchange *exchange, TimestampTz not_before,
					  TimestampTz now);

/*
 * Makes a pool in "parent" on a client, which must outlive it.  "policy" and "hooks" are
 * copied.  concurrency: exchanges under way or waiting at the same time, at least 1.
 */
http_pool *
http_pool_create(MemoryContext parent, http_client *client, const http_retry_policy *policy,
				 int concurrency, const http_pool_hooks *hooks)
{
	http_pool *pool = MemoryContextAllocZero(parent, sizeof(http_pool));

	Assert(concurrency > 0 && hooks->judge != NULL);
	pool->client = client;
	pool->policy = *policy;
	pool->hooks = *hooks;
	pool->concurrency = concurrency;
	dlist_init(&pool->waiting);
	dlist_init(&pool->active);
	dlist_init(&pool->done);
	return pool;
}

/*
 * Whether another exchange may be submitted now.
 */
bool
http_pool_has_room(const http_pool *pool)
{
	return pool->waiting_count + pool->active_count < pool->concurrency;
}

/*
 * Hands an exchange over; http_pool_next gives it back when it is done.
 */
void
http_pool_submit(http_pool *pool, http_exchange *exchange)
{
	memset(&exchange->outcome, 0, sizeof(exchange->outcome));
	exchange->response = NULL;
	exchange->transfer = NULL;
	exchange->refusals = 0;
	exchange->counted = 0;
	exchange->limit_waited = 0;
	exchange->submitted = GetCurrentTimestamp();
	exchange->not_before = 0;
	dlist_push_tail(&pool->waiting, &exchange->node);
	pool->waiting_count++;
}

/* Sends one attempt of a waiting exchange. */
static void
start(http_pool *pool, http_exchange *exchange)
{
	MemoryContext old = MemoryContextSwitchTo(exchange->context);

	if (exchange->response != NULL)
		MemoryContextDelete(exchange->response->context);
	exchange->response = NULL;
	exchange->sent = exchange->request;
	if (pool->hooks.authorize != NULL)
		pool->hooks.authorize(pool->hooks.arg, exchange);
	exchange->transfer = http_transfer_start(pool->client, &exchange->sent);
	MemoryContextSwitchTo(old);
	exchange->outcome.attempts++;
	dlist_delete(&exchange->node);
	pool->waiting_count--;
	dlist_push_tail(&pool->active, &exchange->node);
	pool->active_count++;
}

/* Keeps what waits waiting, but for those that would wait longer than they may. */
static void
hold_back(http_pool *pool, TimestampTz until, TimestampTz now)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &pool->waiting)
	{
		http_exchange *exchange = dlist_container(http_exchange, node, iter.cur);

		if ((until - exchange->submitted) / 1000 <= pool->policy.max_rate_limit_wait_ms)
			continue;
		exchange->outcome.verdict = HTTP_VERDICT_RATE_LIMITED;
		exchange->outcome.rate_limited_until = until;
		dlist_delete(&exchange->node);
		pool->waiting_count--;
		dlist_push_tail(&pool->done, &exchange->node);
	}
	pool->wake_at = pool->wake_at == 0 ? until : Min(pool->wake_at, until);
	pool->held_until = until;
}

/*
 * Sends what is due and may be sent.  Raises what the hooks raise, and 22023 for a request
 * that cannot be sent.
 */
static void
send_due(http_pool *pool)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz hold = pool->hold_until;
	TimestampTz until = 0;
	dlist_mutable_iter iter;
	int due = 0;
	int granted;

	pool->wake_at = 0;
	pool->held_until = 0;
	dlist_foreach_modify (iter, &pool->waiting)
	{
		http_exchange *exchange = dlist_container(http_exchange, node, iter.cur);

		if (exchange->not_before <= now)
			due++;
		else if (pool->wake_at == 0 || exchange->not_before < pool->wake_at)
			pool->wake_at = exchange->not_before;
	}
	if (due == 0)
		return;
	if (pool->hooks.hold != NULL)
		hold = Max(hold, pool->hooks.hold(pool->hooks.arg));
	if (hold > now)
	{
		hold_back(pool, hold, now);
		return;
	}
	granted = pool->hooks.admit ? pool->hooks.admit(pool->hooks.arg, due, &until) : due;
	if (granted < due && until > now)
		hold_back(pool, until, now);
	dlist_foreach_modify (iter, &pool->waiting)
	{
		http_exchange *exchange = dlist_container(http_exchange, node, iter.cur);

		if (granted == 0)
			break;
		if (exchange->not_before > now)
			continue;
		start(pool, exchange);
		granted--;
	}
	if (granted > 0 && pool->hooks.unused != NULL)
		pool->hooks.unused(pool->hooks.arg, granted);
}

/* Puts an exchange back to wait for its next attempt. */
static void
try_again(http_pool *pool, http_exchange *exchange, TimestampTz not_before, TimestampTz now)
{
	exchange->outcome.verdict = HTTP_VERDICT_NONE;
	exchange->not_before = not_before;
	if (not_before > now)
		exchange->outcome.waited_ms += (not_before - now) / 1000;
	dlist_push_tail(&pool->waiting, &exchange->node);
	pool->waiting_count++;
}

/* Decides what becomes of an exchange whose attempt has been answered. */
static void
settle(http_pool *pool, http_exchange *exchange)
{
	const http_retry_policy *policy = &pool->policy;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz not_before = 0;
	http_verdict verdict = pool->hooks.judge(pool->hooks.arg, exchange, now, &not_before);
	bool limited = verdict == HTTP_VERDICT_RATE_LIMITED;
	int64 named_ms = not_before > now ? (not_before - now + 999) / 1000 : 0;
	int64 delay;

	exchange->outcome.verdict = verdict;
	if (verdict == HTTP_VERDICT_REFRESH_AUTH)
	{
		if (pool->hooks.refresh != NULL && pool->hooks.refresh(pool->hooks.arg, exchange))
		{
			try_again(pool, exchange, now, now);
			return;
		}
		exchange->outcome.verdict = HTTP_VERDICT_FAIL;
	}
	if ((!limited && verdict != HTTP_VERDICT_RETRY) ||
		((!limited || named_ms < MIN_NAMED_WAIT_MS) && ++exchange->counted >= policy->max_attempts))
	{
		dlist_push_tail(&pool->done, &exchange->node);
		return;
	}

	/*
	 * What the server asks for, and a little more lest all clients come at the same
	 * instant.  A time that is all but over has to be asked for ever more patiently.
	 */
	delay = (int64) http_backoff_ms(policy, named_ms < MIN_NAMED_WAIT_MS ? exchange->counted : 1);
	if (not_before != 0)
		delay = Max(named_ms + delay, policy->base_delay_ms);
	if (limited || not_before != 0)
	{
		if (delay > policy->max_rate_limit_wait_ms - exchange->limit_waited)
		{
			exchange->outcome.rate_limited_until = now + delay * 1000;
			dlist_push_tail(&pool->done, &exchange->node);
			return;
		}
		exchange->limit_waited += delay;
		exchange->submitted += delay * 1000; /* counted here, not again while held back */
		pool->hold_until = Max(pool->hold_until, not_before);
	}
	exchange->wait_reason = limited ? HTTP_WAIT_RATE_LIMIT : HTTP_WAIT_RETRY;
	try_again(pool, exchange, now + delay * 1000, now);
}

/* Tells about a wait in which nothing is under way. */
static void
show_wait(http_pool *pool)
{
	http_exchange *first = NULL;
	dlist_iter iter;

	dlist_foreach (iter, &pool->waiting)
	{
		http_exchange *exchange = dlist_container(http_exchange, node, iter.cur);

		if (first == NULL || exchange->not_before < first->not_before)
			first = exchange;
	}
	if (pool->held_until != 0)
		pool->hooks.waiting(pool->hooks.arg, HTTP_WAIT_RATE_LIMIT, pool->held_until,
							first->response ? first : NULL);
	else if (first->not_before > GetCurrentTimestamp())
		pool->hooks.waiting(pool->hooks.arg, first->wait_reason, first->not_before, first);
}

/* Takes the answers that have arrived. */
static void
collect(http_pool *pool)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &pool->active)
	{
		http_exchange *exchange = dlist_container(http_exchange, node, iter.cur);

		if (!exchange->transfer->finished)
			continue;
		exchange->response = http_transfer_finish(exchange->transfer);
		exchange->transfer = NULL;
		dlist_delete(&exchange->node);
		pool->active_count--;
		settle(pool, exchange);
	}
}

/*
 * One round: sends what may be sent, waits for something to happen (not at all unless
 * "wait"), and takes what has arrived.  Raises what the hooks and CHECK_FOR_INTERRUPTS()
 * raise; the pool's client has to be destroyed then.
 */
static void
one_round(http_pool *pool, bool wait)
{
	int timeout = wait ? -1 : 0;

	send_due(pool);
	collect(pool); /* a request that could not even begin is answered */
	if (wait && !dlist_is_empty(&pool->done))
		return;
	if (pool->active_count == 0 && pool->waiting_count == 0)
		return;
	if (wait && pool->active_count == 0 && pool->hooks.waiting != NULL)
		show_wait(pool);
	if (wait && pool->wake_at != 0)
		timeout = (int) Min(Max(pool->wake_at - GetCurrentTimestamp(), 0) / 1000 + 1, INT_MAX / 2);
	http_client_step(pool->client, timeout);
	collect(pool);
}

/*
 * Sends what may be sent and takes what has arrived, without waiting.  Raises as
 * http_pool_next does.
 */
void
http_pool_pump(http_pool *pool)
{
	one_round(pool, false);
}

/*
 * An exchange that is done already, in the order they got so; NULL when there is none.
 */
http_exchange *
http_pool_take(http_pool *pool)
{
	if (dlist_is_empty(&pool->done))
		return NULL;
	return dlist_container(http_exchange, node, dlist_pop_head_node(&pool->done));
}

/*
 * Waits for an exchange to be done; NULL when none is waiting or under way any more.
 * Raises what the hooks and CHECK_FOR_INTERRUPTS() raise; the pool's client has to be
 * destroyed then.
 */
http_exchange *
http_pool_next(http_pool *pool)
{
	while (dlist_is_empty(&pool->done) && pool->active_count + pool->waiting_count > 0)
		one_round(pool, true);
	return http_pool_take(pool);
}

/*
 * Takes an exchange out of the pool, whatever it is doing.
 */
void
http_pool_abandon(http_pool *pool, http_exchange *exchange)
{
	dlist_delete(&exchange->node);
	if (exchange->transfer != NULL)
	{
		http_transfer_abandon(exchange->transfer);
		exchange->transfer = NULL;
		pool->active_count--;
	}
	else if (exchange->outcome.verdict == HTTP_VERDICT_NONE)
		pool->waiting_count--;
}
