/*-------------------------------------------------------------------------
 *
 * notification.c
 *	  Sending what is in the outbox of notifications: a worker's part.
 *
 * What is due, and what becomes of an attempt, is decided in SQL
 * (sql/notification_delivery.sql).  A server is asked as extractions ask theirs: the same
 * client, allowed hosts, credentials, budget of requests.  The lock of a delivery keeps
 * workers from sending it at the same time; a crash after the answer and before its commit
 * sends it twice, with the same Idempotency-Key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "call_sql.h"
#include "extract/source/credentials.h"
#include "extract/source/rate_budget.h"
#include "extract/source/source.h"
#include "extract/source/token_pool.h"
#include "http/http.h"
#include "progress.h"
#include "run/locks.h"
#include "run/notification.h"

/* A receiver that takes longer holds a worker up that others wait for. */
#define MAX_TIMEOUT_MS 30000
/* How long to wait for the server's own budget of requests. */
#define MAX_WAIT_MS 10000
/* Of an answer that is an error. */
#define EXCERPT_BYTES 200
/* Stands for the key of the user mapping, in paths: some receivers know one by its URL. */
#define KEY_PLACEHOLDER "{api_key}"

/* What is to be sent, and the attempt this is. */
typedef struct delivery
{
	int64 id;
	int attempt;
	char *server;
	char *path;
	char *body; /* in the encoding of the database */
	char *event;
	char *idempotency_key;
} delivery;

/* What became of an attempt. */
typedef struct delivery_result
{
	bool delivered;
	bool for_good; /* not to be tried again */
	int status;	   /* 0: no answer */
	char *error;   /* NULL: none; no secrets */
	TimestampTz retry_after;
} delivery_result;

PG_FUNCTION_INFO_V1(etl_holds_delivery);

/* SQL: etl._holds_delivery(bigint) */
Datum
etl_holds_delivery(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(etl_worker_holds(ETL_LOCK_DELIVERY, PG_GETARG_INT64(0)));
}

/*
 * Takes a delivery; false when it is not to be had.  Its texts are in the current context.
 * The caller holds the delivery's lock.
 */
static bool
claim(int64 id, delivery *taken)
{
	MemoryContext context = CurrentMemoryContext;
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};

	memset(taken, 0, sizeof(*taken));
	sql_begin();
	sql_call("SELECT attempt, server, path, body, event, idempotency_key, subject FROM "
			 "etl._claim_delivery($1)",
			 1, types, values, NULL);
	if (!sql_is_null(0, 1))
	{
		taken->id = id;
		taken->attempt = (int) sql_bigint(0, 1, 0);
		taken->server = MemoryContextStrdup(context, sql_text(0, 2));
		taken->path = MemoryContextStrdup(context, sql_text(0, 3));
		taken->body = MemoryContextStrdup(context, sql_text(0, 4));
		taken->event = MemoryContextStrdup(context, sql_text(0, 5));
		taken->idempotency_key = MemoryContextStrdup(context, sql_text(0, 6));
		progress_set_subject(sql_text(0, 7));
	}
	sql_commit();
	return taken->id != 0;
}

/* Writes what became of an attempt. */
static void
settle(const delivery *taken, const delivery_result *result)
{
	Oid types[] = {INT8OID, INT4OID, BOOLOID, BOOLOID, INT4OID, TEXTOID, TIMESTAMPTZOID};
	Datum values[7];
	char nulls[8] = "       ";

	sql_begin();
	values[0] = Int64GetDatum(taken->id);
	values[1] = Int32GetDatum(taken->attempt);
	values[2] = BoolGetDatum(result->delivered);
	values[3] = BoolGetDatum(result->for_good);
	values[4] = Int32GetDatum(result->status);
	nulls[4] = result->status != 0 ? ' ' : 'n';
	values[5] = CStringGetTextDatum(result->error ? result->error : "");
	nulls[5] = result->error ? ' ' : 'n';
	values[6] = TimestampTzGetDatum(result->retry_after);
	nulls[6] = result->retry_after != 0 ? ' ' : 'n';
	sql_call("SELECT etl._settle_delivery($1, $2, $3, $4, $5, $6, $7)", 7, types, values, nulls);
	sql_commit();
}

/* A List of http_header * with one more. */
static List *
with_header(List *headers, const char *name, const char *value)
{
	http_header *header = palloc0(sizeof(http_header));

	header->name = pstrdup(name);
	header->value = pstrdup(value);
	return lappend(headers, header);
}

/* The path of a URL with {api_key} replaced; {{ and }} stand for braces. */
static char *
url_with_key(const char *url, const char *key)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *c = url; *c != '\0'; c++)
	{
		if (strncmp(c, KEY_PLACEHOLDER, strlen(KEY_PLACEHOLDER)) == 0)
		{
			http_append_encoded(&out, key, true);
			c += strlen(KEY_PLACEHOLDER) - 1;
			continue;
		}
		if ((c[0] == '{' || c[0] == '}') && c[1] == c[0])
			c++;
		appendStringInfoChar(&out, *c);
	}
	return out.data;
}

/*
 * Makes what goes over the wire.  A key that is in the path goes into no header.
 */
static void
authorize(source *to, http_client *client, const http_request *plain, http_request *authorized)
{
	const credentials *c;
	List *headers = NIL;
	ListCell *cell;

	source_authorize(to, client, plain, authorized);
	if (strchr(plain->url, '{') == NULL && strchr(plain->url, '}') == NULL)
		return;
	c = to->credentials;
	if (strstr(plain->url, KEY_PLACEHOLDER) == NULL)
	{
		authorized->url = url_with_key(authorized->url, "");
		return;
	}
	if (c->kind != AUTH_API_KEY || c->tokens == NIL)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
						errmsg("the path has %s, and the user mapping for server \"%s\" has none",
							   KEY_PLACEHOLDER, to->name)));
	authorized->url = url_with_key(authorized->url, ((pool_token *) linitial(c->tokens))->value);
	foreach (cell, authorized->headers)
	{
		http_header *header = lfirst(cell);

		if (c->header == NULL || pg_strcasecmp(header->name, c->header) != 0)
			headers = lappend(headers, header);
	}
	authorized->headers = headers;
}

/* The beginning of an answer, in characters that every encoding has. */
static char *
excerpt(const source *to, const http_response *response)
{
	char *text = source_excerpt(to, response->body, response->body_length, EXCERPT_BYTES);

	for (char *c = text; *c != '\0'; c++)
	{
		if ((unsigned char) *c < ' ' || (unsigned char) *c > '~')
			*c = ' ';
	}
	return text;
}

/* What an answer, or none, means.  The texts are in the current context. */
static void
judge(source *to, const http_response *response, http_verdict verdict, TimestampTz not_before,
	  delivery_result *result)
{
	result->status = response->status;
	result->delivered = verdict == HTTP_VERDICT_SUCCESS && response->status / 100 == 2;
	result->for_good = verdict == HTTP_VERDICT_FAIL || verdict == HTTP_VERDICT_REFRESH_AUTH;
	if (verdict == HTTP_VERDICT_RATE_LIMITED)
		result->retry_after = not_before;
	if (result->delivered)
		return;
	if (response->error != HTTP_OK)
		result->error =
			psprintf("%s: %s", http_error_name(response->error),
					 source_hide_secrets(to, response->error_message ? response->error_message
																	 : "no answer"));
	else
		result->error = psprintf("HTTP %d: %s", response->status, excerpt(to, response));
}

/*
 * One request, and another one where credentials have to be read again; what came of the
 * last one.
 */
static void
ask(source *to, http_client *client, const http_request *plain, rate_budget *budget,
	delivery_result *result)
{
	http_retry_policy policy = to->retry;
	http_request authorized;
	http_response *response;
	http_outcome outcome;
	http_verdict verdict;
	TimestampTz not_before = 0;
	int refusals = 0;

	policy.max_attempts = 1; /* the outbox has its own */
	policy.max_rate_limit_wait_ms = MAX_WAIT_MS;
	do
	{
		authorize(to, client, plain, &authorized);
		authorized.admission = rate_budget_admission(budget);
		response = http_fetch(client, &authorized, &policy, NULL, NULL, &outcome);
		verdict = http_classify(response, GetCurrentTimestamp(), &not_before);
		verdict = source_note_answer(to, &authorized, response, verdict, &not_before);
	} while (verdict == HTTP_VERDICT_REFRESH_AUTH &&
			 source_refresh_credentials(to, &authorized, &refusals));
	judge(to, response, verdict, Max(not_before, outcome.rate_limited_until), result);
}

/*
 * Sends a delivery.  No transaction is open while it waits.  Raises when the server or its
 * secrets are not to be had.
 */
static void
send(const delivery *taken, delivery_result *result)
{
	MemoryContext context = CurrentMemoryContext;
	http_request plain = {.method = "POST"};
	http_client *client;
	rate_budget *budget;
	source *to;

	sql_begin();
	MemoryContextSwitchTo(context);
	to = source_open(taken->server);
	sql_commit();

	plain.url = source_url(to, taken->path, NIL, NIL);
	plain.body = pg_server_to_any(taken->body, strlen(taken->body), PG_UTF8);
	plain.body_length = strlen(plain.body);
	plain.headers = with_header(NIL, "Content-Type", "application/json");
	plain.headers = with_header(plain.headers, "Idempotency-Key", taken->idempotency_key);
	plain.headers = with_header(plain.headers, "X-Etl-Event", taken->event);
	to->client.timeout_ms = Min(to->client.timeout_ms, MAX_TIMEOUT_MS);
	client = http_client_create(context, &to->client);
	budget = rate_budget_open(to->name, to->rate_windows);
	PG_TRY();
	{
		ask(to, client, &plain, budget, result);
	}
	PG_FINALLY();
	{
		rate_budget_close(budget);
	}
	PG_END_TRY();
	http_client_destroy(client);
}

/*
 * Makes an attempt and writes what became of it.  Errors are its outcome; only FATAL, and a
 * failure to write, get out of here.
 */
static void
attempt(const delivery *taken, MemoryContext context)
{
	delivery_result result = {0};
	ErrorData *volatile error = NULL;

	progress_report("notification, attempt %d", taken->attempt);
	PG_TRY();
	{
		send(taken, &result);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	if (error != NULL)
		result = (delivery_result){.error = error->message ? error->message : "unknown error"};
	HOLD_INTERRUPTS(); /* a cancel must not undo the report */
	settle(taken, &result);
	QueryCancelPending = false;
	RESUME_INTERRUPTS();
}

/*
 * Makes one attempt at what is due as the role of this worker; false when nothing is.
 * "context" is for what it needs meanwhile; the caller resets it.
 */
bool
notification_send_next(MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	int64 *ids;
	int count;
	bool sent = false;

	sql_begin();
	sql_call("SELECT d FROM etl._my_due_deliveries() d", 0, NULL, NULL, NULL);
	count = (int) SPI_processed;
	ids = MemoryContextAlloc(context, sizeof(int64) * Max(count, 1));
	for (int row = 0; row < count; row++)
		ids[row] = sql_bigint(row, 1, 0);
	sql_commit();
	for (int i = 0; i < count && !sent; i++)
	{
		delivery taken;

		if (!etl_lock(ETL_LOCK_DELIVERY, ids[i], ExclusiveLock))
			continue; /* another worker is at it */
		if (claim(ids[i], &taken))
		{
			attempt(&taken, context);
			sent = true;
		}
		etl_unlock(ETL_LOCK_DELIVERY, ids[i], ExclusiveLock);
	}
	progress_set_subject("");
	MemoryContextSwitchTo(old);
	return sent;
}
