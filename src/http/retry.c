/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  What an answer means, and when there is a next attempt.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/pg_prng.h"
#include "http/quota.h"
#include "http/transfer.h"
#include "utils/timestamp.h"

/* A body that speaks of limits does so early. */
#define BODY_SEARCH_BYTES 65536

/* A server that names less than this has not really named a time. */
#define MIN_NAMED_WAIT_MS 1000

/* GitHub: "wait for at least one minute", then "an exponentially increasing amount of time". */
#define OPEN_ENDED_WAIT_MS INT64CONST(60000)
#define MAX_DOUBLINGS 10

static bool body_mentions(const http_response *response, const char *phrase);
static bool is_open_ended(const http_response *response, TimestampTz now);

/*
 * Fill in the defaults.
 */
void
http_retry_policy_init(http_retry_policy *policy)
{
	memset(policy, 0, sizeof(*policy));
	policy->max_attempts = 5;
	policy->base_delay_ms = 500;
	policy->max_delay_ms = 60000;
	policy->max_rate_limit_wait_ms = INT64CONST(3600) * 1000;
}

/*
 * Does the beginning of the body contain the phrase (lower case), in any case?
 */
static bool
body_mentions(const http_response *response, const char *phrase)
{
	size_t length = strlen(phrase);
	size_t limit = Min(response->body_length, BODY_SEARCH_BYTES);

	for (size_t i = 0; i + length <= limit; i++)
	{
		if (pg_ascii_tolower((unsigned char) response->body[i]) == (unsigned char) phrase[0] &&
			pg_strncasecmp(response->body + i, phrase, length) == 0)
			return true;
	}
	return false;
}

/*
 * Is this a limit whose end nobody knows, as GitHub's against haste?  All there is, is
 * what the body says: the source wants patience.
 */
static bool
is_open_ended(const http_response *response, TimestampTz now)
{
	http_quota quota;
	TimestampTz until;

	if (http_parse_retry_after(http_response_header(response, "retry-after"), now, &until))
		return false;
	(void) http_quota_read(response, now, &quota);
	if (!(quota.known && quota.remaining > 0) && quota.reset > now)
		return false;
	return body_mentions(response, "secondary rate limit") ||
		   body_mentions(response, "abuse detection");
}

/*
 * What to do about an answer.  *not_before (may be NULL) becomes the time the server
 * named for the next attempt, which may be past, or 0 when it named none.
 */
http_verdict
http_classify(const http_response *response, TimestampTz now, TimestampTz *not_before)
{
	TimestampTz ignored;
	const char *retry_after;
	http_quota quota;
	bool named;
	bool open_ended;
	int status = response->status;

	if (not_before == NULL)
		not_before = &ignored;
	*not_before = 0;

	switch (response->error)
	{
		case HTTP_OK:
			break;
		case HTTP_ERROR_ADMISSION:
		case HTTP_ERROR_RESOLVE:
		case HTTP_ERROR_CONNECT:
		case HTTP_ERROR_TIMEOUT:
		case HTTP_ERROR_RESET:
		case HTTP_ERROR_DECODE:
			return HTTP_VERDICT_RETRY;
		default:
			return HTTP_VERDICT_FAIL;
	}

	if ((status >= 200 && status <= 299) || status == 304)
		return HTTP_VERDICT_SUCCESS;
	if (status == 408 || status == 425 || (status >= 500 && status != 501 && status != 503))
		return HTTP_VERDICT_RETRY;
	if (status != 403 && status != 429 && status != 503)
		return HTTP_VERDICT_FAIL;

	retry_after = http_response_header(response, "retry-after");
	named = http_parse_retry_after(retry_after, now, not_before);
	if (named && (*retry_after < '0' || *retry_after > '9'))
		*not_before = http_on_our_clock(response, now, *not_before);
	if (status == 503)
		return HTTP_VERDICT_RETRY;

	(void) http_quota_read(response, now, &quota);
	open_ended = is_open_ended(response, now);
	if (status == 403 && !named && !(quota.known && quota.remaining == 0) && !open_ended &&
		!body_mentions(response, "rate limit exceeded"))
		return HTTP_VERDICT_FAIL;

	/* With quota left the limit met is another one, and the reset says nothing about it. */
	if (!named && !(quota.known && quota.remaining > 0))
		*not_before = quota.reset;
	if (open_ended)
		*not_before = now + OPEN_ENDED_WAIT_MS * 1000;
	return HTTP_VERDICT_RATE_LIMITED;
}

/*
 * How long to wait after so many attempts: exponential with full jitter, so that
 * many clients do not come back together.
 */
double
http_backoff_ms(const http_retry_policy *policy, int attempts)
{
	double ceiling = ldexp(Max(policy->base_delay_ms, 1), Min(Max(attempts - 1, 0), 40));

	return 1 + pg_prng_double(&pg_global_prng_state) * Min(ceiling, Max(policy->max_delay_ms, 1));
}

/*
 * Decide after an answer that is neither success nor failure for good.  True: the next
 * attempt may start at *until.  False: there is none; *too_long tells that it is because
 * the source asks for a wait, until *until, that would make all of them together longer
 * than the policy allows.  "state" is the request's; "verdict" and "not_before" are
 * http_classify's, or somebody's who knows better.
 *
 * A wait for a rate limit whose end the source names does not count as an attempt, nor
 * does one for a limit without a known end, each of which is twice as long as the last.
 */
bool
http_retry_at(const http_retry_policy *policy, http_retry_state *state,
			  const http_response *response, http_verdict verdict, TimestampTz now,
			  TimestampTz not_before, TimestampTz *until, bool *too_long)
{
	bool limited = verdict == HTTP_VERDICT_RATE_LIMITED;
	int64 named_ms = not_before > now ? (not_before - now + 999) / 1000 : 0;
	int64 delay;

	*too_long = false;
	if (limited && is_open_ended(response, now))
	{
		named_ms = Max(named_ms, OPEN_ENDED_WAIT_MS << Min(state->open_ended, MAX_DOUBLINGS));
		state->open_ended++;
	}
	else
		state->open_ended = 0;
	if ((!limited || named_ms < MIN_NAMED_WAIT_MS) && ++state->counted >= policy->max_attempts)
		return false;

	/*
	 * What the server asks for, and a little more lest all clients come at the same
	 * instant.  A time that is all but over has to be asked for ever more patiently.
	 */
	delay =
		(int64) http_backoff_ms(policy, named_ms < MIN_NAMED_WAIT_MS ? Max(state->counted, 1) : 1);
	if (named_ms > 0 || not_before != 0)
		delay = Max(named_ms + delay, policy->base_delay_ms);
	*until = now + delay * 1000;

	if (limited || not_before != 0)
	{
		/* the little more was not asked for */
		int64 asked_for = Max(named_ms, delay - policy->base_delay_ms);

		if (asked_for > policy->max_rate_limit_wait_ms - state->limit_waited)
		{
			*too_long = true;
			return false;
		}
		state->limit_waited += asked_for;
	}
	return true;
}
