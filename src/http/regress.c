/*-------------------------------------------------------------------------
 *
 * regress.c
 *	  Entry points of the regression tests: what answers mean, without a network and at
 *	  any time.
 *
 * No SQL of the extension declares them; a superuser's test does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "http/quota.h"

PG_FUNCTION_INFO_V1(etl_regress_quota);
PG_FUNCTION_INFO_V1(etl_regress_attempts);

/*
 * An answer with headers given as an array of name, value, name, value, …
 */
static http_response *
make_answer(ArrayType *headers)
{
	http_response *response = palloc0(sizeof(http_response));
	Datum *elements;
	bool *nulls;
	int count;

	deconstruct_array(headers, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i + 1 < count; i += 2)
	{
		http_header *header = palloc0(sizeof(http_header));

		header->name = TextDatumGetCString(elements[i]);
		header->value = TextDatumGetCString(elements[i + 1]);
		response->headers = lappend(response->headers, header);
	}
	response->body = "";
	return response;
}

/* "in N s", rounded up, or a word for none. */
static char *
from_now(TimestampTz now, TimestampTz until)
{
	if (until == 0)
		return "-";
	return psprintf("%lld s",
					(long long) ((until - now) / 1000000 + ((until - now) % 1000000 > 0)));
}

/*
 * SQL: (headers text[], now timestamptz, seconds float8) RETURNS text.  What
 * http_quota_read and http_quota_hold make of an answer that took so many seconds.
 */
Datum
etl_regress_quota(PG_FUNCTION_ARGS)
{
	http_response *response = make_answer(PG_GETARG_ARRAYTYPE_P(0));
	TimestampTz now = PG_GETARG_TIMESTAMPTZ(1);
	http_quota quota;
	bool known;

	response->seconds = PG_GETARG_FLOAT8(2);
	known = http_quota_read(response, now, &quota);
	PG_RETURN_TEXT_P(cstring_to_text(
		psprintf("%s limit %lld remaining %lld reset %s hold %s%s%s", known ? "known" : "unknown",
				 (long long) quota.limit, (long long) quota.remaining, from_now(now, quota.reset),
				 from_now(now, http_quota_hold(&quota, now)), quota.resource[0] ? " of " : "",
				 quota.resource)));
}

/*
 * SQL: (status integer, headers text[], body text, now timestamptz, max_wait_ms bigint)
 * RETURNS text.  What is waited for when a source gives this answer again and again, five
 * attempts being allowed; without the random part of the waits.
 */
Datum
etl_regress_attempts(PG_FUNCTION_ARGS)
{
	static const char *const verdicts[] = {
		[HTTP_VERDICT_SUCCESS] = "success",
		[HTTP_VERDICT_RETRY] = "retry",
		[HTTP_VERDICT_RATE_LIMITED] = "rate limited",
		[HTTP_VERDICT_FAIL] = "fail",
	};
	http_response *response = make_answer(PG_GETARG_ARRAYTYPE_P(1));
	TimestampTz now = PG_GETARG_TIMESTAMPTZ(3);
	http_retry_policy policy;
	http_retry_state state = {0};
	StringInfoData result;

	http_retry_policy_init(&policy);
	policy.base_delay_ms = 1;
	policy.max_delay_ms = 1;
	policy.max_rate_limit_wait_ms = PG_GETARG_INT64(4);
	response->status = PG_GETARG_INT32(0);
	response->body = text_to_cstring(PG_GETARG_TEXT_PP(2));
	response->body_length = strlen(response->body);
	initStringInfo(&result);
	for (int i = 0; i < 20; i++)
	{
		TimestampTz not_before;
		TimestampTz until;
		bool too_long;
		http_verdict verdict = http_classify(response, now, &not_before);

		if (i == 0)
			appendStringInfoString(&result, verdicts[verdict]);
		if (verdict == HTTP_VERDICT_SUCCESS || verdict == HTTP_VERDICT_FAIL)
			break;
		if (!http_retry_at(&policy, &state, response, verdict, now, not_before, &until, &too_long))
		{
			if (too_long)
				appendStringInfo(&result, ", too long: %lld s",
								 (long long) ((until - now) / 1000000));
			else
				appendStringInfoString(&result, ", end");
			break;
		}
		appendStringInfo(&result, ", %lld s", (long long) ((until - now) / 1000000));
		now = until;
	}
	PG_RETURN_TEXT_P(cstring_to_text(result.data));
}
