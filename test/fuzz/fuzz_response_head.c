/*-------------------------------------------------------------------------
 *
 * fuzz_response_head.c
 *	  http_head_parse() and who reads the headers: the head of any answer.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "http/quota.h"
#include "http/transfer.h"
#include "utils/timestamp.h"

/* 2026-11-21, and as long as a quota may want to be waited for */
#define NOW (INT64CONST(848534400) * USECS_PER_SEC)
#define YEAR (INT64CONST(367) * USECS_PER_DAY)

/* What the headers say about quotas and waiting; no answer is waited for longer than a year. */
static void
read_headers(http_response *response)
{
	static const int statuses[] = {200, 403, 429, 503};
	http_quota quota;

	if (http_quota_read(response, NOW, &quota))
	{
		fuzz_require(quota.limit >= -1 && quota.remaining >= -1);
		fuzz_require(quota.reset <= NOW + YEAR);
		fuzz_require(memchr(quota.resource, '\0', sizeof(quota.resource)) != NULL);
		fuzz_require(http_quota_hold(&quota, NOW) <= NOW + YEAR);
	}
	for (int i = 0; i < lengthof(statuses); i++)
	{
		TimestampTz not_before;

		response->status = statuses[i];
		(void) http_classify(response, NOW, &not_before);
		fuzz_require(!TIMESTAMP_NOT_FINITE(not_before));
	}
}

/*
 * Input: a head.  A header that was parsed is found under its name and is one line.
 */
FUZZ_TARGET(response_head)
{
	http_buffer head = {.context = CurrentMemoryContext, .limit = size + 1};
	http_response response = {.context = CurrentMemoryContext, .body = "", .seconds = 0.5};
	ListCell *cell;

	fuzz_require(http_buffer_append(&head, input, size));
	response.headers = http_head_parse(&head);
	foreach (cell, response.headers)
	{
		http_header *header = lfirst(cell);

		fuzz_require(header->name[0] != '\0' && http_head_value(&head, header->name) != NULL);
		fuzz_require(strpbrk(header->value, "\r\n") == NULL);
	}
	read_headers(&response);
}
