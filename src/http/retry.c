/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  What an answer means for the next attempt, and the loop of attempts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <math.h>

#include "common/pg_prng.h"
#include "http/transfer.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A body that speaks of limits does so early. */
#define BODY_SEARCH_BYTES 65536

/* A server that names less than this has not really named a time. */
#define MIN_NAMED_WAIT_MS 1000

static bool body_mentions(const http_response *response, const char *phrase);
static bool quota_is_used_up(const http_response *response, bool *known);
static bool quota_reset(const http_response *response, TimestampTz now, TimestampTz *until);
static void wait_ms(int64 milliseconds);

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
 * Does the answer say that nothing is left of the quota?  *known tells whether it says
 * anything about that.
 */
static bool
quota_is_used_up(const http_response *response, bool *known)
{
	const char *left = http_response_header(response, "x-ratelimit-remaining");

	if (left == NULL)
		left = http_response_header(response, "ratelimit-remaining");
	*known = left != NULL;
	return left != NULL && left[0] != '\0' && strspn(left, "0") == strlen(left);
}

/*
 * When does the quota return?  The header holds epoch seconds in most APIs, seconds
 * from now in some; a number tells which it is.  False when there is none.
 */
static bool
quota_reset(const http_response *response, TimestampTz now, TimestampTz *until)
{
	const char *value = http_response_header(response, "x-ratelimit-reset");
	TimestampTz parsed;

	if (value == NULL)
		value = http_response_header(response, "ratelimit-reset");
	if (value == NULL || value[0] < '0' || value[0] > '9')
		return false;

	/* as seconds from now: checks the number and bounds it */
	if (!http_parse_retry_after(value, now, &parsed))
		return false;
	if (strspn(value, "0123456789") < 10)
	{
		*until = parsed;
		return true;
	}
	else
	{
		double seconds = strtod(value, NULL);

		if (seconds > 1e11) /* milliseconds */
			seconds /= 1000;
		if (seconds > 1e11)
			return false;
		*until = time_t_to_timestamptz((pg_time_t) ceil(seconds));
		return true;
	}
}

/*
 * What an answer says of the quota it was taken from: how many requests are left, and
 * when the quota returns (0: not said).  False when it says nothing.
 */
bool
http_quota(const http_response *response, TimestampTz now, int64 *remaining, TimestampTz *reset)
{
	const char *left = http_response_header(response, "x-ratelimit-remaining");
	char *end;

	if (left == NULL)
		left = http_response_header(response, "ratelimit-remaining");
	if (left == NULL || left[0] < '0' || left[0] > '9')
		return false;
	*remaining = strtoll(left, &end, 10);
	if (*end != '\0')
		return false;
	if (!quota_reset(response, now, reset))
		*reset = 0;
	return true;
}

/*
 * What to do about an answer.  *not_before (may be NULL) becomes the time the server
 * named for the next attempt, which may be past, or 0 when it named none.
 */
http_verdict
http_classify(const http_response *response, TimestampTz now, TimestampTz *not_before)
{
	TimestampTz ignored;
	bool named;
	bool known;
	bool used_up;
	int status = response->status;

	if (not_before == NULL)
		not_before = &ignored;
	*not_before = 0;

	switch (response->error)
	{
		case HTTP_OK:
			break;
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

	named = http_parse_retry_after(http_response_header(response, "retry-after"), now, not_before);
	if (status == 503)
		return HTTP_VERDICT_RETRY;

	/* With quota left the limit met is another one, and the reset says nothing about it. */
	used_up = quota_is_used_up(response, &known);
	if (status == 403 && !named && !used_up && !body_mentions(response, "secondary rate limit") &&
		!body_mentions(response, "rate limit exceeded"))
		return HTTP_VERDICT_FAIL;
	if (!named && (used_up || !known))
		(void) quota_reset(response, now, not_before);
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
 * Wait, by a clock that is never set.  Raises what CHECK_FOR_INTERRUPTS() raises.
 */
static void
wait_ms(int64 milliseconds)
{
	instr_time start;

	INSTR_TIME_SET_CURRENT(start);
	for (;;)
	{
		instr_time elapsed;
		double left;

		CHECK_FOR_INTERRUPTS();
		INSTR_TIME_SET_CURRENT(elapsed);
		INSTR_TIME_SUBTRACT(elapsed, start);
		left = (double) milliseconds - INSTR_TIME_GET_MILLISEC(elapsed);
		if (left <= 0)
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 (long) Min(left, INT_MAX / 2) + 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/*
 * A request with as many attempts as the policy (NULL: the default one) allows; returns
 * the last answer, in a child of the current memory context, and fills *outcome.
 *
 * A wait for a rate limit whose end the server names does not count as an attempt; all
 * waits that servers ask for are bounded together by max_rate_limit_wait_ms, and one
 * that would pass it ends the matter at once, with rate_limited_until set.  "waiting"
 * (may be NULL) is called before each wait.  Raises what http_perform and "waiting"
 * raise, and what CHECK_FOR_INTERRUPTS() raises while waiting.
 */
http_response *
http_fetch(http_client *client, const http_request *request, const http_retry_policy *policy,
		   http_wait_callback waiting, void *arg, http_outcome *outcome)
{
	http_retry_policy defaults;
	int64 limit_waited = 0;
	int counted = 0;

	if (policy == NULL)
	{
		http_retry_policy_init(&defaults);
		policy = &defaults;
	}
	memset(outcome, 0, sizeof(*outcome));

	for (;;)
	{
		http_response *response = http_perform(client, request);
		TimestampTz now = GetCurrentTimestamp();
		TimestampTz not_before;
		TimestampTz until;
		bool limited;
		int64 named_ms = 0;
		int64 delay;

		outcome->attempts++;
		outcome->verdict = http_classify(response, now, &not_before);
		if (outcome->verdict == HTTP_VERDICT_SUCCESS || outcome->verdict == HTTP_VERDICT_FAIL)
			return response;
		limited = outcome->verdict == HTTP_VERDICT_RATE_LIMITED;

		if (not_before > now)
			named_ms = (not_before - now + 999) / 1000;
		if (!limited || named_ms < MIN_NAMED_WAIT_MS)
		{
			if (++counted >= policy->max_attempts)
				return response;
		}

		/*
		 * What the server asks for, and a little more lest all clients come at the same
		 * instant.  A time that is all but over has to be asked for ever more patiently.
		 */
		delay = (int64) http_backoff_ms(policy, named_ms < MIN_NAMED_WAIT_MS ? counted : 1);
		if (not_before != 0)
			delay = Max(named_ms + delay, policy->base_delay_ms);
		until = now + delay * 1000;

		if (limited || not_before != 0)
		{
			if (delay > policy->max_rate_limit_wait_ms - limit_waited)
			{
				outcome->rate_limited_until = until;
				return response;
			}
			limit_waited += delay;
		}

		if (waiting != NULL)
			waiting(arg, limited ? HTTP_WAIT_RATE_LIMIT : HTTP_WAIT_RETRY, until,
					outcome->attempts + 1, response);
		MemoryContextDelete(response->context);
		wait_ms(delay);
		outcome->waited_ms += delay;
	}
}
