/*-------------------------------------------------------------------------
 *
 * answer.c
 *	  Answers that are not a page: errors that say what to do.
 *
 * Every error names the request without its secrets, the status, the number of attempts,
 * and what to do about it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

#include "extract/source/answer.h"

/* How much of an error's body is shown. */
#define BODY_EXCERPT_BYTES 300

/*
 * The start of what a source said, for an error's detail: one line, valid, without
 * secrets; palloc'd.
 */
char *
answer_quote(const source *from, const char *text, size_t length)
{
	char *excerpt = source_excerpt(from, text, length, BODY_EXCERPT_BYTES);
	bool shown = GetDatabaseEncoding() == PG_UTF8;

	length = Min(strlen(excerpt), BODY_EXCERPT_BYTES);

	/* cut between characters, then see whether they are any */
	if (shown)
	{
		length = pg_encoding_mbcliplen(PG_UTF8, excerpt, length, length);
		excerpt[length] = '\0';
		shown = pg_verify_mbstr(PG_UTF8, excerpt, length, true);
	}
	excerpt[length] = '\0';
	for (char *c = excerpt; *c; c++)
	{
		if ((unsigned char) *c < ' ' || (!shown && IS_HIGHBIT_SET(*c)))
			*c = ' ';
	}
	return excerpt;
}

/* The start of a body, likewise. */
char *
answer_excerpt(const source *from, const http_response *response)
{
	return answer_quote(from, response->body, response->body_length);
}

static const char *
advice(const http_response *response, const http_outcome *outcome)
{
	if (outcome->rate_limited_until != 0 && response->error == HTTP_ERROR_ADMISSION &&
		strstr(response->error_message, "quota") != NULL)
		return "Run the interval again after that time, or raise the server's max_wait. "
			   "etl.source_quotas shows what the source has said; after etl.forget_quotas(server) "
			   "it is asked again.";
	if (outcome->rate_limited_until != 0)
		return "Run the interval again after that time, or raise the server's max_wait.";
	if (response->error_hint != NULL)
		return response->error_hint;
	switch (response->error)
	{
		case HTTP_OK:
			break;
		case HTTP_ERROR_TLS:
			return "Check the certificate: the server's ca_file names its authority, "
				   "client_certificate_file one to show.";
		case HTTP_ERROR_TOO_LARGE:
			return "Ask for smaller pages, or raise the server's max_body_size.";
		case HTTP_ERROR_REDIRECT:
			return "Check the server's base_url: is it where the source redirects to?";
		case HTTP_ERROR_URL:
			return "Check the server's base_url and the path of the task.";
		default:
			return "Run the interval again when the source answers: it goes on at this page.";
	}
	switch (response->status)
	{
		case 401:
			return "Check the credentials of the user mapping.";
		case 403:
			return "Check what the credentials of the user mapping are allowed to read.";
		case 404:
			return "Check the server's base_url, and the path of the task.";
		default:
			return response->status >= 500 || response->status == 429
					   ? "Run the interval again when the source answers: it goes on at this page."
					   : "Check the request: path, query and headers of the task.";
	}
}

/* Raises an answer that is not a success: request, status, attempts, what to do. */
void
answer_raise(const source *from, const http_request *request, const http_response *response,
			 const http_outcome *outcome)
{
	char *url = http_url_redact(request->url);
	const char *plural = outcome->attempts == 1 ? "" : "s";
	int code;

	if (outcome->rate_limited_until != 0)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("%s %s is rate limited until %s", request->method, url,
							   timestamptz_to_str(outcome->rate_limited_until)),
						response->error == HTTP_ERROR_ADMISSION
							? errdetail("%s; waiting that long would pass the server's max_wait.",
										response->error_message)
							: errdetail("Status %d after %d attempt%s; waiting that long would "
										"pass the server's max_wait.",
										response->status, outcome->attempts, plural),
						errhint("%s", advice(response, outcome))));
	if (response->error != HTTP_OK)
	{
		code = response->error == HTTP_ERROR_TLS || response->error == HTTP_ERROR_TOO_LARGE ||
					   response->error == HTTP_ERROR_REDIRECT ||
					   response->error == HTTP_ERROR_URL || response->error == HTTP_ERROR_ADDRESS
				   ? ERRCODE_FDW_ERROR
				   : ERRCODE_CONNECTION_FAILURE;
		ereport(ERROR,
				(errcode(code),
				 errmsg("%s %s failed after %d attempt%s: %s", request->method, url,
						outcome->attempts, plural, http_error_name(response->error)),
				 response->error_message
					 ? errdetail("%s%s", source_hide_secrets(from, response->error_message),
								 response->status ? psprintf(" (status %d)", response->status) : "")
					 : 0,
				 errhint("%s", advice(response, outcome))));
	}
	code = response->status == 401 || response->status == 403
			   ? ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION
		   : outcome->verdict == HTTP_VERDICT_FAIL ? ERRCODE_FDW_ERROR
												   : ERRCODE_CONNECTION_FAILURE;
	ereport(ERROR, (errcode(code),
					errmsg("%s %s failed with status %d after %d attempt%s", request->method, url,
						   response->status, outcome->attempts, plural),
					response->body_length > 0
						? errdetail("The answer begins: %s", answer_excerpt(from, response))
						: errdetail("The answer has no body."),
					errhint("%s", advice(response, outcome))));
}
