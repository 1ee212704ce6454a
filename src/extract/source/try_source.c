/*-------------------------------------------------------------------------
 *
 * try_source.c
 *	  One request to a source by hand, before anything is declared.
 *
 * This runs in the session of whoever asks, with that role's user mapping, and waits there
 * for the answer as any statement waits: it can be cancelled, and is made once.  It counts
 * in the budget of the server like any other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "extract/page/pagination.h"
#include "extract/source/rate_budget.h"
#include "extract/source/source.h"
#include "http/http.h"
#include "http/quota.h"

/* How long somebody at a terminal waits for a rate limit. */
#define MAX_WAIT_MS 10000

PG_FUNCTION_INFO_V1(etl_try_source);

/* An argument of type text[] as a list of strings. */
static List *
text_list(ArrayType *array)
{
	List *result = NIL;
	Datum *elements;
	bool *nulls;
	int count;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
		result = lappend(result, nulls[i] ? pstrdup("") : TextDatumGetCString(elements[i]));
	return result;
}

/* Text from the network, such as a header, as text of this database. */
static Datum
safe_text(const source *from, const char *bytes)
{
	char *text = source_excerpt(from, bytes, strlen(bytes), 8192);

	return CStringGetTextDatum(text);
}

/* The pagination that an answer leads to, as etl.add_extract takes it; 0 when none does. */
static Datum
detected_pagination(const http_response *response)
{
	pagination pages = {.type = PAGINATION_AUTO};
	StringInfoData text;

	if (!pagination_detect(&pages, response))
		return (Datum) 0;
	initStringInfo(&text);
	appendStringInfo(&text, "{\"type\": \"%s\"", pagination_type_name(pages.type));
	/* known places and names: nothing to escape but the quotes of one path */
	if (pages.detected_path != NULL)
	{
		appendStringInfo(&text, ", \"%s\": ", pages.type == PAGINATION_NEXT_URL ? "url" : "cursor");
		escape_json(&text, pages.detected_path);
	}
	if (pages.type == PAGINATION_CURSOR)
	{
		appendStringInfoString(&text, ", \"parameter\": ");
		escape_json(&text, pages.parameter);
	}
	appendStringInfoChar(&text, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data));
}

/*
 * SQL: etl._try_source(server text, method text, path text, query_names text[], query_values
 * text[], header_names text[], header_values text[], body text).  Returns what came of one
 * request; what went wrong on the network is a value, not an error.
 */
Datum
etl_try_source(PG_FUNCTION_ARGS)
{
	source *from = source_open(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	http_client *client = http_client_create(CurrentMemoryContext, &from->client);
	http_request request = {.method = text_to_cstring(PG_GETARG_TEXT_PP(1))};
	http_request authorized;
	http_response *response;
	http_quota quota = {0};
	http_retry_policy policy = from->retry;
	http_outcome outcome;
	rate_budget *budget;
	TupleDesc row;
	Datum values[11];
	bool nulls[11] = {false};
	const char *content_type;
	const char *path = text_to_cstring(PG_GETARG_TEXT_PP(2));
	List *names = text_list(PG_GETARG_ARRAYTYPE_P(5));
	List *texts = text_list(PG_GETARG_ARRAYTYPE_P(6));
	ListCell *name;
	ListCell *value;

	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	request.url = source_url(from, path, text_list(PG_GETARG_ARRAYTYPE_P(3)),
							 text_list(PG_GETARG_ARRAYTYPE_P(4)));
	forboth (name, names, value, texts)
	{
		http_header *header = palloc0(sizeof(http_header));

		header->name = lfirst(name);
		header->value = lfirst(value);
		request.headers = lappend(request.headers, header);
	}
	if (!PG_ARGISNULL(7))
	{
		char *body = text_to_cstring(PG_GETARG_TEXT_PP(7));

		request.body = pg_server_to_any(body, strlen(body), PG_UTF8);
		request.body_length = strlen(request.body);
	}
	budget = rate_budget_open(from->name, from->rate_windows);
	from->admission = rate_budget_admission(budget);
	source_authorize(from, client, &request, &authorized);
	authorized.admission = from->admission;
	policy.max_attempts = 1;
	policy.max_rate_limit_wait_ms = MAX_WAIT_MS;
	response = http_fetch(client, &authorized, &policy, NULL, NULL, &outcome);
	rate_budget_close(budget);

	values[0] = CStringGetTextDatum(http_url_redact(request.url));
	values[1] = Int32GetDatum(response->status);
	nulls[1] = response->status == 0;
	values[2] = Float8GetDatum(response->seconds);
	content_type = http_response_header(response, "content-type");
	nulls[3] = content_type == NULL;
	if (content_type != NULL)
		values[3] = safe_text(from, content_type);
	values[4] = PointerGetDatum(cstring_to_text_with_len(response->body, response->body_length));
	nulls[5] = response->error == HTTP_OK;
	if (response->error != HTTP_OK)
		values[5] = CStringGetTextDatum(
			psprintf("%s: %s", http_error_name(response->error),
					 source_hide_secrets(from, response->error_message ? response->error_message
																	   : "no answer")));
	nulls[6] = nulls[7] = nulls[8] = true;
	if (http_quota_read(response, GetCurrentTimestamp(), &quota) && quota.known)
	{
		nulls[6] = quota.limit < 0;
		values[6] = Int64GetDatum(quota.limit);
		nulls[7] = false;
		values[7] = Int64GetDatum(quota.remaining);
		nulls[8] = quota.reset == 0;
		values[8] = TimestampTzGetDatum(quota.reset);
	}
	values[9] = detected_pagination(response);
	nulls[9] = values[9] == (Datum) 0;
	values[10] =
		CStringGetTextDatum(source_excerpt(from, response->body, response->body_length, 300));
	nulls[10] = response->body_length == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(row, values, nulls)));
}
