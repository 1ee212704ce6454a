/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  Many requests to one source at once, each with its attempts.
 *
 * An exchange waits (to be sent, for its backoff, for a rate limit), is under way, or is
 * done.  What one answer says about a rate limit holds for all: they are of one source.
 * Our own limit is the admission, which is asked before every single send.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "http/pool.h"
#include "http/transfer.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How often who waits to be admitted asks again: somebody may have given back. */
#define ASK_AGAIN_US (INT64CONST(60) * USECS_PER_SEC)
/* A budget by the hour and a max_wait of an hour go together, however long asking takes. */
#define ADMISSION_SLACK_MS 2000
/* How often in a row an exchange may be stopped before it is sent. */
#define MAX_UNADMITTED 30

struct http_pool
{
	http_client *client;
	http_retry_policy policy;
	http_pool_hooks hooks;
	int concurrency;
	dlist_head waiting;
	dlist_head active;
	dlist_head unread; /* successes so far; empty but within one_round */
	dlist_head done;
	int waiting_count;
	int active_count;
	int unread_count;
	TimestampTz hold_until; /* no request before, by what an answer said */
	TimestampTz not_admitted_until;
	TimestampTz asked_at;	/* the admission, in vain */
	TimestampTz held_until; /* until when everything is held back just now; 0: it is not */
	TimestampTz wake_at;	/* when to look again without anything happening; 0: never */
};

static void start(http_pool *pool, http_exchange *exchange, TimestampTz admitted_until);
static void give_up(http_pool *pool, http_exchange *exchange, TimestampTz until,
					const char *reason);
static void wake_by(http_pool *pool, TimestampTz when);
static int admit(http_pool *pool, int wanted, TimestampTz now, TimestampTz *admitted_until);
static void send_due(http_pool *pool);
static void hold_back(http_pool *pool, TimestampTz until, TimestampTz now, int64 slack_ms,
					  const char *reason);
static bool goes_on_elsewhere(http_pool *pool, http_exchange *exchange);
static void show_wait(http_pool *pool);
static bool collect(http_pool *pool);
static void one_round(http_pool *pool, bool wait);
static void settle(http_pool *pool, http_exchange *exchange, http_verdict verdict,
				   TimestampTz not_before, TimestampTz now);
static void read_answers(http_pool *pool);
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
	dlist_init(&pool->unread);
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
	memset(&exchange->retry, 0, sizeof(exchange->retry));
	exchange->hop.url = NULL;
	exchange->unadmitted = 0;
	exchange->not_before = 0;
	dlist_push_tail(&pool->waiting, &exchange->node);
	pool->waiting_count++;
}

/* Sends one attempt of a waiting exchange, or what is left of it. */
static void
start(http_pool *pool, http_exchange *exchange, TimestampTz admitted_until)
{
	MemoryContext old = MemoryContextSwitchTo(exchange->context);

	if (exchange->response != NULL)
		MemoryContextDelete(exchange->response->context);
	exchange->response = NULL;
	exchange->sent = exchange->request;
	if (pool->hooks.authorize != NULL)
		pool->hooks.authorize(pool->hooks.arg, exchange);
	exchange->sent.admission = pool->hooks.admission;
	exchange->sent.admitted_until = admitted_until;
	exchange->sent.hop = exchange->hop.url != NULL ? &exchange->hop : NULL;
	exchange->transfer = http_transfer_start(pool->client, &exchange->sent);
	MemoryContextSwitchTo(old);
	exchange->outcome.attempts++;
	dlist_delete(&exchange->node);
	pool->waiting_count--;
	dlist_push_tail(&pool->active, &exchange->node);
	pool->active_count++;
}

/* Ends a waiting exchange that would have to wait for too long. */
static void
give_up(http_pool *pool, http_exchange *exchange, TimestampTz until, const char *reason)
{
	http_response *response;
	MemoryContext old;

	if (exchange->response != NULL)
		MemoryContextDelete(exchange->response->context);
	old = MemoryContextSwitchTo(
		AllocSetContextCreate(exchange->context, "etl http response", ALLOCSET_SMALL_SIZES));
	response = palloc0(sizeof(http_response));
	response->context = CurrentMemoryContext;
	response->error = HTTP_ERROR_ADMISSION;
	response->error_message = reason;
	response->body = pstrdup("");
	response->effective_url = exchange->request.url;
	MemoryContextSwitchTo(old);

	exchange->response = response;
	exchange->outcome.verdict = HTTP_VERDICT_RATE_LIMITED;
	exchange->outcome.rate_limited_until = until;
	dlist_delete(&exchange->node);
	pool->waiting_count--;
	dlist_push_tail(&pool->done, &exchange->node);
}

/*
 * Keeps what waits waiting.  When that is longer than the policy allows, it ends once
 * nothing is under way any more: what has been asked for is not thrown away.
 */
static void
hold_back(http_pool *pool, TimestampTz until, TimestampTz now, int64 slack_ms, const char *reason)
{
	dlist_mutable_iter iter;

	pool->held_until = until;
	if (pool->active_count > 0 ||
		(until - now) / 1000 - slack_ms <= pool->policy.max_rate_limit_wait_ms)
		return;
	dlist_foreach_modify (iter, &pool->waiting)
		give_up(pool, dlist_container(http_exchange, node, iter.cur), until, reason);
}

/* Notes when to look again at the latest. */
static void
wake_by(http_pool *pool, TimestampTz when)
{
	if (pool->wake_at == 0 || when < pool->wake_at)
		pool->wake_at = when;
}

/*
 * How many of so many requests may be sent now, and until when.  Asks no sooner than it
 * makes sense.
 */
static int
admit(http_pool *pool, int wanted, TimestampTz now, TimestampTz *admitted_until)
{
	const http_admission *admission = pool->hooks.admission;
	int granted;

	*admitted_until = 0;
	if (admission == NULL)
		return wanted;
	if (now < pool->not_admitted_until && now < pool->asked_at + ASK_AGAIN_US)
		return 0;
	granted = admission->admit(admission->arg, wanted, admitted_until, &pool->not_admitted_until);
	pool->asked_at = GetCurrentTimestamp();
	if (granted > 0)
		pool->not_admitted_until = 0;
	return granted;
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
	dlist_mutable_iter iter;
	int due = 0;

	pool->wake_at = 0;
	pool->held_until = 0;
	dlist_foreach_modify (iter, &pool->waiting)
	{
		http_exchange *exchange = dlist_container(http_exchange, node, iter.cur);

		if (exchange->not_before <= now)
			due++;
		else
			wake_by(pool, exchange->not_before);
	}
	if (due == 0)
		return;
	if (pool->hooks.hold != NULL)
		hold = Max(hold, pool->hooks.hold(pool->hooks.arg));
	if (hold > now)
	{
		wake_by(pool, hold);
		hold_back(pool, hold, now, 0, "The source's quota is used up");
		return;
	}
	while (due > 0)
	{
		TimestampTz admitted_until;
		int granted = admit(pool, due, now, &admitted_until);

		if (granted == 0)
			break;
		due -= granted;
		dlist_foreach_modify (iter, &pool->waiting)
		{
			http_exchange *exchange = dlist_container(http_exchange, node, iter.cur);

			if (exchange->not_before > now)
				continue;
			start(pool, exchange, admitted_until);
			if (--granted == 0)
				break;
		}
	}
	if (due > 0)
	{
		wake_by(pool, Min(pool->not_admitted_until, pool->asked_at + ASK_AGAIN_US));
		hold_back(pool, pool->not_admitted_until, now, ADMISSION_SLACK_MS,
				  "The server's rate_limit is used up");
	}
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

/*
 * Was the exchange stopped before it was sent, for want of admission?  Then it goes on
 * where it was, and that was no attempt.
 */
static bool
goes_on_elsewhere(http_pool *pool, http_exchange *exchange)
{
	TimestampTz now = GetCurrentTimestamp();

	if (exchange->response->error != HTTP_ERROR_ADMISSION ||
		++exchange->unadmitted > MAX_UNADMITTED)
	{
		exchange->hop.url = NULL;
		exchange->unadmitted = 0;
		return false;
	}
	/* before any redirect it is begun anew, with credentials as they are then */
	exchange->hop = exchange->response->hop;
	exchange->hop.url = exchange->hop.redirects > 0
							? MemoryContextStrdup(exchange->context, exchange->hop.url)
							: NULL;
	exchange->outcome.attempts--;
	try_again(pool, exchange, now, now);
	return true;
}

/* Decides what becomes of an exchange by what its answer means. */
static void
settle(http_pool *pool, http_exchange *exchange, http_verdict verdict, TimestampTz not_before,
	   TimestampTz now)
{
	TimestampTz until;
	bool too_long;

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
	if (verdict != HTTP_VERDICT_RATE_LIMITED && verdict != HTTP_VERDICT_RETRY)
	{
		dlist_push_tail(&pool->done, &exchange->node);
		return;
	}
	if (!http_retry_at(&pool->policy, &exchange->retry, exchange->response, verdict, now,
					   not_before, &until, &too_long))
	{
		if (too_long)
			exchange->outcome.rate_limited_until = until;
		dlist_push_tail(&pool->done, &exchange->node);
		return;
	}
	/* the others need not find out for themselves */
	exchange->wait_reason = HTTP_WAIT_RETRY;
	if (verdict == HTTP_VERDICT_RATE_LIMITED)
	{
		exchange->wait_reason = HTTP_WAIT_RATE_LIMIT;
		pool->hold_until = Max(pool->hold_until, until);
	}
	else if (not_before > now)
		pool->hold_until = Max(pool->hold_until, not_before);
	try_again(pool, exchange, until, now);
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

/* Takes the answers that have arrived; whether all of them are successes so far. */
static bool
collect(http_pool *pool)
{
	dlist_mutable_iter iter;
	bool good = true;

	dlist_foreach_modify (iter, &pool->active)
	{
		http_exchange *exchange = dlist_container(http_exchange, node, iter.cur);
		TimestampTz now;
		TimestampTz not_before = 0;
		http_verdict verdict;

		if (!exchange->transfer->finished)
			continue;
		exchange->response = http_transfer_finish(exchange->transfer);
		exchange->transfer = NULL;
		dlist_delete(&exchange->node);
		pool->active_count--;
		if (goes_on_elsewhere(pool, exchange))
			continue;
		now = GetCurrentTimestamp();
		verdict = pool->hooks.judge(pool->hooks.arg, exchange, now, &not_before);
		good = good && verdict == HTTP_VERDICT_SUCCESS;
		if (verdict == HTTP_VERDICT_SUCCESS && pool->hooks.read != NULL)
		{
			dlist_push_tail(&pool->unread, &exchange->node);
			pool->unread_count++;
		}
		else
			settle(pool, exchange, verdict, not_before, now);
	}
	return good;
}

/* Reads the answers that were put off while others were coming. */
static void
read_answers(http_pool *pool)
{
	while (!dlist_is_empty(&pool->unread))
	{
		http_exchange *exchange =
			dlist_container(http_exchange, node, dlist_pop_head_node(&pool->unread));

		pool->unread_count--;
		settle(pool, exchange, pool->hooks.read(pool->hooks.arg, exchange), 0,
			   GetCurrentTimestamp());
	}
}

/*
 * One round: sends what may be sent, waits for something to happen (not at all unless
 * "wait"), and takes what has arrived.  Raises what the hooks and CHECK_FOR_INTERRUPTS()
 * raise; the pool's client has to be destroyed then.
 *
 * What takes time, reading, comes after all connections that have become free are in use
 * again; unless one of the answers is none to go on from as if nothing was.
 */
static void
one_round(http_pool *pool, bool wait)
{
	int timeout = 0;
	bool happened;
	bool good;

	send_due(pool);
	good = collect(pool); /* a request that could not even begin is answered */
	if (pool->unread_count == 0)
	{
		if (pool->active_count == 0 && pool->waiting_count == 0)
			return;
		if (wait && !dlist_is_empty(&pool->done))
			return;
		if (wait && pool->active_count == 0 && pool->hooks.waiting != NULL)
			show_wait(pool);
		if (wait)
			timeout = pool->wake_at == 0
						  ? -1
						  : (int) Min(Max(pool->wake_at - GetCurrentTimestamp(), 0) / 1000 + 1,
									  INT_MAX / 2);
	}
	happened = http_client_step(pool->client, timeout);
	good = collect(pool) && good;
	while (happened && pool->unread_count > 0 && pool->unread_count <= pool->concurrency)
	{
		if (good && pool->hooks.more != NULL)
			pool->hooks.more(pool->hooks.arg);
		send_due(pool);
		happened = http_client_step(pool->client, 0);
		good = collect(pool) && good;
	}
	read_answers(pool);
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
