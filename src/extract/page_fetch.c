/*-------------------------------------------------------------------------
 *
 * page_fetch.c
 *	  Fetching one page: its request, what its answer means, what is wrong with it.
 *
 * No transaction is open here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "extract/source/answer.h"
#include "extract/extraction.h"
#include "extract/page/graphql.h"
#include "progress.h"

/* How often a page that is not whole is fetched again. */
#define MAX_BROKEN_PAGES 3

static void authorize(void *arg, http_exchange *exchange);
static bool refresh(void *arg, http_exchange *exchange);
static TimestampTz hold(void *arg);
static http_verdict judge(void *arg, http_exchange *exchange, TimestampTz now,
						  TimestampTz *not_before);
static http_verdict read_answer(void *arg, http_exchange *exchange);
static void submit_pages(void *arg);
static void show_wait(void *arg, http_wait_reason reason, TimestampTz until,
					  const http_exchange *exchange);

/*
 * The pool that an extraction's pages are fetched by, in its context.
 */
http_pool *
page_fetch_pool(extraction *e)
{
	http_pool_hooks hooks = {.arg = e,
							 .admission = rate_budget_admission(e->budget),
							 .authorize = authorize,
							 .judge = judge,
							 .read = read_answer,
							 .more = submit_pages,
							 .refresh = refresh,
							 .hold = hold,
							 .waiting = show_wait};

	return http_pool_create(e->context, e->client, &e->from->retry, e->from->concurrency, &hooks);
}

/*
 * A page of an item, ready to be submitted; e->pages says how its request differs from the
 * item's.  It is in a child of the item's context.
 */
page_fetch *
page_fetch_create(extract_item *item, extraction *e, int page, const cursor *at)
{
	MemoryContext context =
		AllocSetContextCreate(item->context, "etl page", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	page_fetch *fetch = palloc0(sizeof(page_fetch));

	fetch->e = e;
	fetch->item = item;
	fetch->page = page;
	fetch->at = *at;
	fetch->at.url = at->url ? pstrdup(at->url) : NULL;
	fetch->at.token = at->token ? pstrdup(at->token) : NULL;
	fetch->exchange.context = context;
	fetch->exchange.user = fetch;
	fetch->exchange.request.method = item->method;
	fetch->exchange.request.headers = item->headers;
	fetch->exchange.request.url = pagination_url(&e->pages, at, item->url);
	fetch->exchange.request.body = pagination_body(&e->pages, at, item->body);
	fetch->exchange.request.body_length =
		fetch->exchange.request.body ? strlen(fetch->exchange.request.body) : 0;
	MemoryContextSwitchTo(old);
	dlist_push_tail(&item->fetches, &fetch->node);
	return fetch;
}

/*
 * Frees a page that the pool has given back.
 */
void
page_fetch_free(page_fetch *fetch)
{
	dlist_delete(&fetch->node);
	MemoryContextDelete(fetch->exchange.context);
}

/* http_pool_hooks.authorize */
static void
authorize(void *arg, http_exchange *exchange)
{
	extraction *e = arg;

	source_authorize(e->from, e->client, &exchange->request, &exchange->sent);
}

/* http_pool_hooks.refresh */
static bool
refresh(void *arg, http_exchange *exchange)
{
	extraction *e = arg;

	return source_refresh_credentials(e->from, &exchange->sent, &exchange->refusals);
}

/* http_pool_hooks.hold: while the quota is used up. */
static TimestampTz
hold(void *arg)
{
	extraction *e = arg;

	return source_not_before(e->from);
}

/* http_pool_hooks.waiting: makes waits visible, and lets others know why. */
static void
show_wait(void *arg, http_wait_reason reason, TimestampTz until, const http_exchange *exchange)
{
	extraction *e = arg;
	const http_response *response = exchange ? exchange->response : NULL;

	if (reason == HTTP_WAIT_RATE_LIMIT)
		source_quota_save(e->from, e->target.task_run_id, e->target.attempt);
	if (reason == HTTP_WAIT_RATE_LIMIT || response == NULL)
		progress_report("page %d, waiting for rate limit until %s", e->next_slice + 1,
						timestamptz_to_str(until));
	else
		progress_report("page %d, attempt %d at %s (%s%s)", e->next_slice + 1,
						exchange->outcome.attempts + 1, timestamptz_to_str(until),
						response->error == HTTP_OK ? "status " : http_error_name(response->error),
						response->error == HTTP_OK ? psprintf("%d", response->status) : "");
}

/* http_pool_hooks.more */
static void
submit_pages(void *arg)
{
	extraction *e = arg;

	if (!e->rule_met)
		page_fetch_submit(e);
}

/*
 * Submits the next pages, as many as there is room for.  May open short transactions.
 */
void
page_fetch_submit(extraction *e)
{
	page_fetch *fetch;

	e->rule_met = false;
	while (http_pool_has_room(e->pool) && (fetch = plan_next_page(e)) != NULL)
	{
		if (e->has_validators)
			conditional_prepare(fetch);
		fetch->in_pool = true;
		http_pool_submit(e->pool, &fetch->exchange);
	}
}

/* Finds the records of an answer that is a success. */
static http_verdict
read_page(page_fetch *fetch)
{
	extraction *e = fetch->e;
	http_response *response = fetch->exchange.response;
	split_result *records = &fetch->records;
	size_t limit = e->from->client.max_body_bytes;
	char *kind;

	memset(records, 0, sizeof(*records));
	if (response->status == 304)
	{
		fetch->outcome = PAGE_NOT_MODIFIED;
		return HTTP_VERDICT_SUCCESS;
	}
	if (response->status == 204)
	{
		fetch->outcome = PAGE_RECORDS;
		return HTTP_VERDICT_SUCCESS;
	}
	if (fetch->text != NULL
			? !page_read_text(e->decode, response, fetch->text, limit, records, &fetch->failure)
			: !page_read(e->decode, response, limit, records, &fetch->failure))
	{
		fetch->outcome = PAGE_UNREADABLE;
		return HTTP_VERDICT_FAIL;
	}
	fetch->bytes = records->received;
	if (e->is_graphql && (fetch->error_message =
							  graphql_error(response->body, response->body_length, &kind)) != NULL)
	{
		fetch->outcome = PAGE_IS_ERROR;
		return graphql_is_rate_limit(kind) ? HTTP_VERDICT_RATE_LIMITED : HTTP_VERDICT_FAIL;
	}
	if (records->problem != NULL)
	{
		fetch->outcome = PAGE_NOT_WHOLE;
		fetch->exchange.retry.counted = 0; /* such answers have a limit of their own */
		return ++fetch->broken < MAX_BROKEN_PAGES ? HTTP_VERDICT_RETRY : HTTP_VERDICT_FAIL;
	}
	if (records->count == 0 && (records->missing != NULL || records->missing_array))
	{
		fetch->outcome = PAGE_NO_RECORDS;
		return HTTP_VERDICT_FAIL;
	}
	fetch->outcome = PAGE_RECORDS;
	return HTTP_VERDICT_SUCCESS;
}

/* http_pool_hooks.read */
static http_verdict
read_answer(void *arg, http_exchange *exchange)
{
	page_fetch *fetch = exchange->user;
	http_verdict verdict = HTTP_VERDICT_SUCCESS;

	if (fetch->outcome == PAGE_FAILED) /* nobody has said yet what it is */
	{
		MemoryContext old = MemoryContextSwitchTo(exchange->response->context);

		verdict = read_page(fetch);
		MemoryContextSwitchTo(old);
	}
	return verdict;
}

/*
 * The rule of the task that fits an answer; NULL when none does.  What a body says is not in
 * its bytes when these are compressed, or of another charset.  In the response's context.
 */
static const error_rule *
find_rule(page_fetch *fetch)
{
	const extraction *e = fetch->e;
	const http_response *response = fetch->exchange.response;
	page_failure ignored; /* an error need not be what the task reads */
	page_text text;

	fetch->text = NULL;
	if (!error_rules_look_at_body(e->rules, response) ||
		!page_decode(e->decode, response, e->from->client.max_body_bytes, &text, &ignored))
		return error_rules_match(e->rules, response, response->body, response->body_length);
	fetch->text = palloc(sizeof(page_text));
	*fetch->text = text;
	return error_rules_match(e->rules, response, text.document, text.document_length);
}

/* http_pool_hooks.judge: the rules of the task, then what HTTP says. */
static http_verdict
judge(void *arg, http_exchange *exchange, TimestampTz now, TimestampTz *not_before)
{
	extraction *e = arg;
	page_fetch *fetch = exchange->user;
	const http_response *response = exchange->response;
	MemoryContext old = MemoryContextSwitchTo(response->context);
	http_verdict verdict = http_classify(response, now, not_before);

	fetch->outcome = PAGE_FAILED;
	fetch->bytes = response->body_length;
	fetch->rule = find_rule(fetch);
	e->rule_met |= fetch->rule != NULL;
	switch (fetch->rule ? fetch->rule->action : RULE_NONE)
	{
		case RULE_NONE:
			if (response->error == HTTP_OK && response->status == 401)
				verdict = HTTP_VERDICT_REFRESH_AUTH;
			if (verdict == HTTP_VERDICT_SUCCESS && response->status / 100 != 2 &&
				(response->status != 304 || fetch->held_load == 0))
				verdict = HTTP_VERDICT_FAIL;
			/* what is a rate limit has to be known before more is sent */
			if (verdict == HTTP_VERDICT_SUCCESS && e->is_graphql)
				verdict = read_page(fetch);
			break;
		case RULE_RETRY:
			verdict = HTTP_VERDICT_RETRY;
			break;
		case RULE_FAIL:
			verdict = HTTP_VERDICT_FAIL;
			break;
		case RULE_REFRESH_AUTH:
			verdict = HTTP_VERDICT_REFRESH_AUTH;
			break;
		case RULE_RATE_LIMITED:
			if (*not_before == 0)
				(void) http_parse_retry_after(http_response_header(response, "retry-after"), now,
											  not_before);
			verdict = HTTP_VERDICT_RATE_LIMITED;
			break;
		case RULE_IGNORE:
		case RULE_STOP_PAGINATION:
			fetch->outcome = PAGE_END;
			verdict = HTTP_VERDICT_SUCCESS;
			break;
		case RULE_ABSENT:
			fetch->outcome = PAGE_ABSENT;
			verdict = HTTP_VERDICT_SUCCESS;
			break;
	}
	verdict = source_note_answer(e->from, &exchange->sent, response, verdict, not_before);
	MemoryContextSwitchTo(old);
	return verdict;
}

/* What a rule of the task takes for an error, at once or in the end. */
static void
raise_by_rule(const page_fetch *fetch)
{
	const http_response *response = fetch->exchange.response;
	const http_request *request = &fetch->exchange.request;
	const error_rule *rule = fetch->rule;
	const char *url = http_url_redact(request->url);
	int attempts = fetch->exchange.outcome.attempts;
	const char *plural = attempts == 1 ? "" : "s";
	const char *excerpt = fetch->text != NULL ? answer_quote(fetch->e->from, fetch->text->document,
															 fetch->text->document_length)
											  : answer_excerpt(fetch->e->from, response);
	int code = rule->action == RULE_FAIL		   ? ERRCODE_FDW_ERROR
			   : rule->action == RULE_REFRESH_AUTH ? ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION
												   : ERRCODE_CONNECTION_FAILURE;

	ereport(ERROR, (errcode(code),
					rule->action == RULE_FAIL
						? errmsg("%s %s failed by a rule of the task: %s", request->method, url,
								 rule->message ? rule->message : "the answer is an error")
						: errmsg("%s %s failed with status %d after %d attempt%s", request->method,
								 url, response->status, attempts, plural),
					errdetail("Status %d after %d attempt%s; the answer begins: %s",
							  response->status, attempts, plural, excerpt),
					errhint("By error_rules or on_status of the task the answer means \"%s\".",
							error_rule_action_name(rule))));
}

/*
 * Whether what kept a page from coming is not about this page but about us: a rate limit,
 * or credentials that are refused.
 */
bool
page_fetch_concerns_all(const page_fetch *fetch)
{
	const http_exchange *exchange = &fetch->exchange;

	if (exchange->outcome.verdict == HTTP_VERDICT_SUCCESS)
		return false;
	return exchange->outcome.verdict == HTTP_VERDICT_RATE_LIMITED ||
		   exchange->outcome.rate_limited_until != 0 ||
		   (fetch->rule != NULL && fetch->rule->action == RULE_REFRESH_AUTH) ||
		   (exchange->response != NULL && exchange->response->error == HTTP_OK &&
			exchange->response->status == 401);
}

/*
 * Raises what kept a page from coming: request, status, attempts, what to do.
 */
void
page_fetch_raise(const page_fetch *fetch)
{
	const http_request *request = &fetch->exchange.request;
	const http_response *response = fetch->exchange.response;
	int attempts = fetch->exchange.outcome.attempts;
	const char *plural = attempts == 1 ? "" : "s";
	const char *url = http_url_redact(request->url);

	if (response != NULL && fetch->rule != NULL && fetch->exchange.outcome.rate_limited_until == 0)
		raise_by_rule(fetch);
	if (response != NULL && fetch->outcome == PAGE_NO_RECORDS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_JSON_TEXT),
				 fetch->records.missing != NULL
					 ? errmsg("the answer to %s %s has no member \"%s\"", request->method, url,
							  fetch->records.missing)
					 : errmsg("the answer to %s %s has no array where its records should be",
							  request->method, url),
				 errdetail("Status %d after %d attempt%s; the answer begins: %s", response->status,
						   attempts, plural, answer_excerpt(fetch->e->from, response)),
				 errhint("An answer without records is not an empty page. Check the records "
						 "path of the task; $ takes a whole object as one record.")));
	if (response != NULL && fetch->outcome == PAGE_UNREADABLE)
		ereport(ERROR,
				(errcode(fetch->failure.sqlstate),
				 errmsg("the answer to %s %s cannot be read: %s", request->method, url,
						fetch->failure.message),
				 errdetail("Status %d after %d attempt%s.", response->status, attempts, plural),
				 fetch->failure.hint ? errhint("%s", fetch->failure.hint) : 0));
	if (response != NULL && fetch->outcome == PAGE_IS_ERROR)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("the answer to %s %s is an error: %s", request->method, url,
						source_hide_secrets(fetch->e->from, fetch->error_message)),
				 errdetail("Status %d after %d attempt%s; the answer begins: %s", response->status,
						   attempts, plural, answer_excerpt(fetch->e->from, response)),
				 errhint("Check the query and its variables in the body of the task, and what the "
						 "credentials of the user mapping are allowed to read.")));
	if (response != NULL && fetch->outcome == PAGE_NOT_WHOLE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_JSON_TEXT),
				 errmsg("the answer to %s %s is not whole %s: %s", request->method, url,
						page_format_name(fetch->e->decode->format), fetch->records.problem),
				 errdetail("At byte %lu of %lu, with status %d, after %d attempt%s; the answer "
						   "begins: %s",
						   (unsigned long) fetch->records.problem_offset,
						   (unsigned long) response->body_length, response->status, attempts,
						   plural, answer_excerpt(fetch->e->from, response)),
				 errhint("Nothing of the page is loaded; run the interval again when the source "
						 "is well: it goes on at this page.")));
	answer_raise(fetch->e->from, request, response, &fetch->exchange.outcome);
}
