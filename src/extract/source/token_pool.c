/*-------------------------------------------------------------------------
 *
 * token_pool.c
 *	  Several tokens for one source, used by what is left of their quotas.
 *
 * The source's own account of a quota is what counts: an answer's headers replace what was
 * known.  Between answers a request is taken off, so that requests that are under way
 * together are spread.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "extract/source/token_pool.h"
#include "http/quota.h"

/* How long a token rests that is limited without a word about when to come back. */
#define UNNAMED_LIMIT_MS 60000
/* The least a limited token rests: a time that is all but over is none. */
#define MIN_LIMIT_MS 1000

static int64 uses = 0;

/*
 * A token about which nothing is known, palloc'd; keeps the value.
 */
pool_token *
pool_token_create(char *value)
{
	pool_token *token = palloc0(sizeof(pool_token));

	token->value = value;
	token->remaining = QUOTA_UNKNOWN;
	return token;
}

/*
 * The token of that value; NULL when there is none.
 */
pool_token *
pool_find(List *tokens, const char *value)
{
	ListCell *cell;

	foreach (cell, tokens)
	{
		pool_token *token = lfirst(cell);

		if (strcmp(token->value, value) == 0)
			return token;
	}
	return NULL;
}

/* Forgets what has passed: what is left of a new window the next answer tells. */
static void
renew(pool_token *token, TimestampTz now)
{
	if (token->not_before != 0 && token->not_before <= now)
	{
		token->not_before = 0;
		token->remaining = QUOTA_UNKNOWN;
	}
	if (token->reset != 0 && token->reset <= now)
	{
		token->reset = 0;
		token->remaining = QUOTA_UNKNOWN;
	}
}

/* Whether the first token is better to use now than the second. */
static bool
is_better(const pool_token *a, const pool_token *b, TimestampTz now)
{
	bool a_waits = a->not_before > now;
	bool b_waits = b->not_before > now;

	if (a->is_refused != b->is_refused)
		return b->is_refused;
	if (a_waits != b_waits)
		return b_waits;
	if (a_waits && a->not_before != b->not_before)
		return a->not_before < b->not_before;
	if (a->remaining != b->remaining)
		return a->remaining > b->remaining;
	return a->last_used < b->last_used;
}

/*
 * The token to use for the next request, counted as used: the one with the most quota, of
 * those used up the one that has some again first.  NULL for an empty list.
 */
pool_token *
pool_choose(List *tokens, TimestampTz now)
{
	pool_token *best = NULL;
	ListCell *cell;

	foreach (cell, tokens)
	{
		pool_token *token = lfirst(cell);

		renew(token, now);
		if (best == NULL || is_better(token, best, now))
			best = token;
	}
	if (best == NULL)
		return NULL;
	best->last_used = ++uses;
	if (best->remaining != QUOTA_UNKNOWN && best->remaining > 0)
		best->remaining--;
	return best;
}

/*
 * Notes that a token has met a limit; not_before: when it may be used again, 0 if nobody
 * said.
 */
void
pool_note_limit(pool_token *token, TimestampTz not_before, TimestampTz now)
{
	if (not_before == 0)
		not_before = TimestampTzPlusMilliseconds(now, UNNAMED_LIMIT_MS);
	token->not_before = Max(not_before, TimestampTzPlusMilliseconds(now, MIN_LIMIT_MS));
	token->is_news = true;
}

/* Keeps the name of a quota; of bytes from the network those that are text anywhere. */
static void
take_name(pool_token *token, const char *name)
{
	strlcpy(token->resource, name, sizeof(token->resource));
	for (char *c = token->resource; *c; c++)
	{
		if (*c <= ' ' || *c >= 127)
			*c = '?';
	}
}

/*
 * Notes what an answer says about the quota of the token it was asked with.
 */
void
pool_note_answer(pool_token *token, const http_response *response, TimestampTz now)
{
	http_quota quota;

	if (!http_quota_read(response, now, &quota))
		return;
	/* a limit met meanwhile stands, whatever an answer to an older request says */
	token->remaining = quota.remaining;
	token->reset = quota.reset;
	take_name(token, quota.resource);
	token->is_news = true;
	token->not_before = Max(token->not_before, http_quota_hold(&quota, now));
}

/*
 * 0 while some token can be used; else when the first one can again.
 */
TimestampTz
pool_not_before(List *tokens, TimestampTz now)
{
	TimestampTz first = 0;
	ListCell *cell;

	foreach (cell, tokens)
	{
		pool_token *token = lfirst(cell);

		if (token->is_refused)
			continue;
		if (token->not_before <= now)
			return 0;
		if (first == 0 || token->not_before < first)
			first = token->not_before;
	}
	return first;
}

/*
 * The number of a token in the list, from 1: what it is called where its value must not
 * be shown.
 */
int
pool_position(List *tokens, const pool_token *token)
{
	ListCell *cell;

	foreach (cell, tokens)
	{
		if (lfirst(cell) == token)
			return foreach_current_index(cell) + 1;
	}
	return 0;
}

/*
 * Whether the source has refused every token.
 */
bool
pool_is_refused(List *tokens)
{
	ListCell *cell;

	foreach (cell, tokens)
	{
		if (!((pool_token *) lfirst(cell))->is_refused)
			return false;
	}
	return true;
}
