/*-------------------------------------------------------------------------
 *
 * oauth.c
 *	  OAuth 2.0 client credentials (RFC 6749, 4.4): a secret becomes an access token.
 *
 * Tokens are kept in the memory of the process until shortly before they expire, so that
 * the extractions of a worker share one.  They are found by all that they were asked with,
 * the secret included: who has that could ask for one as well.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "extract/source/answer.h"
#include "extract/source/oauth.h"
#include "extract/page/page_value.h"
#include "extract/page/record_path.h"
#include "progress.h"

/* How many clients a process keeps tokens of. */
#define MAX_KEPT_TOKENS 32
/* A token is replaced so long before it expires, or a fifth of its life if that is less. */
#define EXPIRY_MARGIN_MS 60000
/* Longer lives are cut: times must not overflow. */
#define LONGEST_LIFE_SECONDS (366 * 86400.0)

/* A token of a client.  Each in a context of its own. */
typedef struct kept_token
{
	MemoryContext context;
	oauth_client client;
	char *value;		   /* NULL: given up */
	char *former;		   /* the one before; may still be quoted by an answer; NULL: none */
	TimestampTz use_until; /* DT_NOEND: until it is refused */
} kept_token;

static List *kept_tokens = NIL; /* in TopMemoryContext; the one fetched last is last */

/* A form's text: encoded as application/x-www-form-urlencoded. */
static void
append_parameter(StringInfo form, const char *name, const char *value)
{
	if (value == NULL)
		return;
	if (form->len > 0)
		appendStringInfoChar(form, '&');
	appendStringInfo(form, "%s=", name);
	http_append_encoded(form, value, false);
}

/*
 * Id and secret as a Basic header has them (RFC 6749, 2.3.1: form-encoded first),
 * palloc'd.
 */
char *
oauth_basic_credentials(const oauth_client *client)
{
	StringInfoData plain;

	initStringInfo(&plain);
	http_append_encoded(&plain, client->client_id, false);
	appendStringInfoChar(&plain, ':');
	http_append_encoded(&plain, client->client_secret, false);
	return etl_base64(plain.data, plain.len);
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* What is kept for a client; NULL: nothing. */
static kept_token *
find_kept(const oauth_client *client)
{
	ListCell *cell;

	foreach (cell, kept_tokens)
	{
		kept_token *kept = lfirst(cell);

		if (same_text(kept->client.token_url, client->token_url) &&
			same_text(kept->client.client_id, client->client_id) &&
			same_text(kept->client.client_secret, client->client_secret) &&
			same_text(kept->client.scope, client->scope) &&
			same_text(kept->client.audience, client->audience) &&
			kept->client.in_body == client->in_body)
			return kept;
	}
	return NULL;
}

/* Forgets the token fetched longest ago, if there are too many. */
static void
make_room(void)
{
	if (list_length(kept_tokens) < MAX_KEPT_TOKENS)
		return;
	MemoryContextDelete(((kept_token *) linitial(kept_tokens))->context);
	kept_tokens = list_delete_first(kept_tokens);
}

/* Keeps a token. */
static const char *
keep(const oauth_client *client, const char *value, TimestampTz use_until)
{
	kept_token *former = find_kept(client);
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "etl access token", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	kept_token *kept = palloc0(sizeof(kept_token));

	kept->context = context;
	kept->client = *client;
	kept->client.token_url = pstrdup(client->token_url);
	kept->client.client_id = pstrdup(client->client_id);
	kept->client.client_secret = pstrdup(client->client_secret);
	kept->client.scope = client->scope ? pstrdup(client->scope) : NULL;
	kept->client.audience = client->audience ? pstrdup(client->audience) : NULL;
	kept->value = pstrdup(value);
	kept->use_until = use_until;
	if (former != NULL && former->value != NULL)
		kept->former = pstrdup(former->value);
	else if (former != NULL && former->former != NULL)
		kept->former = pstrdup(former->former);
	MemoryContextSwitchTo(TopMemoryContext);
	if (former != NULL)
	{
		kept_tokens = list_delete_ptr(kept_tokens, former);
		MemoryContextDelete(former->context);
	}
	make_room();
	kept_tokens = lappend(kept_tokens, kept);
	MemoryContextSwitchTo(old);
	return kept->value;
}

/*
 * The token of a client that is good for a while yet; NULL: there is none.  Valid until
 * another one is fetched or it is forgotten.
 */
const char *
oauth_cached_token(const oauth_client *client)
{
	kept_token *kept = find_kept(client);

	return kept != NULL && kept->value != NULL && GetCurrentTimestamp() < kept->use_until
			   ? kept->value
			   : NULL;
}

/*
 * Gives up the token of a client: the source has refused it.
 */
void
oauth_forget_token(const oauth_client *client)
{
	kept_token *kept = find_kept(client);

	if (kept == NULL || kept->value == NULL)
		return;
	kept->former = kept->value;
	kept->value = NULL;
}

/*
 * The tokens of a client that an answer may quote: a List of char *, palloc'd, valid as
 * long as a token is.
 */
List *
oauth_known_tokens(const oauth_client *client)
{
	kept_token *kept = find_kept(client);
	List *tokens = NIL;

	if (kept != NULL && kept->value != NULL)
		tokens = lappend(tokens, kept->value);
	if (kept != NULL && kept->former != NULL)
		tokens = lappend(tokens, kept->former);
	return tokens;
}

/* http_wait_callback: makes waits visible. */
static void
show_wait(void *arg, http_wait_reason reason, TimestampTz until, int next_attempt,
		  const http_response *response)
{
	progress_report("waiting for the token endpoint until %s, attempt %d",
					timestamptz_to_str(until), next_attempt);
}

/* Adds a header to a list. */
static List *
add_header(List *headers, char *name, char *value, bool secret)
{
	http_header *header = palloc0(sizeof(http_header));

	header->name = name;
	header->value = value;
	header->secret = secret;
	return lappend(headers, header);
}

/*
 * Asks the token endpoint, with the attempts and waits that the source's policy allows.
 * The answer is palloc'd.  Raises what waiting does, nothing else.
 */
oauth_answer *
oauth_ask(source *from, http_client *http, const oauth_client *client)
{
	oauth_answer *answer = palloc0(sizeof(oauth_answer));
	http_request request = {.method = "POST", .url = client->token_url, .secret_body = true};
	StringInfoData form;

	initStringInfo(&form);
	append_parameter(&form, "grant_type", "client_credentials");
	append_parameter(&form, "scope", client->scope);
	append_parameter(&form, "audience", client->audience);
	if (client->in_body)
	{
		append_parameter(&form, "client_id", client->client_id);
		append_parameter(&form, "client_secret", client->client_secret);
	}
	else
		request.headers = add_header(request.headers, "Authorization",
									 psprintf("Basic %s", oauth_basic_credentials(client)), true);
	request.headers =
		add_header(request.headers, "Content-Type", "application/x-www-form-urlencoded", false);
	request.headers = add_header(request.headers, "Accept", "application/json", false);
	request.body = form.data;
	request.body_length = form.len;

	/* of the same source: in its budget; an endpoint elsewhere has its own limits */
	if (http_url_same_origin(client->token_url, from->base_url))
		request.admission = from->admission;
	answer->client = client;
	answer->asked_at = GetCurrentTimestamp();
	answer->response = http_fetch(http, &request, &from->retry, show_wait, NULL, &answer->outcome);
	return answer;
}

/*
 * Whether the endpoint does not accept the client: with another secret it may.
 */
bool
oauth_client_is_refused(const oauth_answer *answer)
{
	return answer->response->error == HTTP_OK && answer->outcome.verdict == HTTP_VERDICT_FAIL &&
		   (answer->response->status == 400 || answer->response->status == 401 ||
			answer->response->status == 403);
}

/* A member of an answer, which is an object, as text; NULL when it is not there. */
static char *
member(const http_response *response, const char *name)
{
	return page_value(response->body, response->body_length,
					  record_path_parse(psprintf("$.%s", name), false));
}

/* Raises an answer that is an error, saying what the endpoint says about it. */
static void
raise_refusal(source *from, const oauth_answer *answer)
{
	const http_response *response = answer->response;
	http_request shown = {.method = "POST", .url = answer->client->token_url};
	char *error = member(response, "error");
	char *description = member(response, "error_description");
	char *said;

	if (response->error != HTTP_OK || answer->outcome.verdict != HTTP_VERDICT_FAIL)
		answer_raise(from, &shown, response, &answer->outcome);
	if (error == NULL)
		said = answer_excerpt(from, response);
	else
	{
		said = description == NULL ? error : psprintf("%s: %s", error, description);
		said = answer_quote(from, said, strlen(said));
	}
	ereport(ERROR,
			(errcode(oauth_client_is_refused(answer) ? ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION
													 : ERRCODE_FDW_ERROR),
			 errmsg("could not get an access token: POST %s failed with status %d",
					http_url_redact(shown.url), response->status),
			 said[0] != '\0' ? errdetail("The answer says: %s", said)
							 : errdetail("The answer has no body."),
			 errhint("Check token_url, client_id, client_secret, client_auth, scope and "
					 "audience of the user mapping of server \"%s\".",
					 from->name)));
}

/* Can a text be the rest of a header? */
static bool
is_visible(const char *text)
{
	for (const unsigned char *c = (const unsigned char *) text; *c; c++)
	{
		if (*c <= ' ' || *c >= 127)
			return false;
	}
	return true;
}

/*
 * Until when a token may be used: it is given up a while before it expires.  The time
 * counts from before it was asked for.
 */
static TimestampTz
use_until(const oauth_answer *answer)
{
	char *expires_in = member(answer->response, "expires_in");
	char *end;
	double seconds = expires_in != NULL ? strtod(expires_in, &end) : 0;

	if (expires_in == NULL || end == expires_in || *end != '\0' || isnan(seconds))
		return DT_NOEND;
	seconds = Min(Max(seconds, 0), LONGEST_LIFE_SECONDS);
	return answer->asked_at +
		   (int64) ((seconds - Min(seconds / 5, EXPIRY_MARGIN_MS / 1000.0)) * USECS_PER_SEC);
}

/*
 * The token of an answer, kept for as long as it is good; valid like a cached one.  Frees
 * the response.  Raises when there is none, with what the endpoint says about it.
 */
const char *
oauth_take_token(source *from, const oauth_answer *answer)
{
	const http_response *response = answer->response;
	const char *problem = NULL;
	const char *kept;
	char *token;
	char *type;

	if (response->error != HTTP_OK || response->status / 100 != 2)
		raise_refusal(from, answer);
	token = member(response, "access_token");
	type = member(response, "token_type");
	if (token == NULL || token[0] == '\0')
		problem = "it has no access_token";
	else if (!is_visible(token))
		problem = "its access_token has characters that a header cannot have";
	else if (type != NULL && pg_strncasecmp(type, "bearer", 6) != 0)
		problem = "its token_type is not Bearer";
	/* what it says is not shown: a token may be in it */
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("could not get an access token: the answer to POST %s cannot be "
						"used",
						http_url_redact(answer->client->token_url)),
				 errdetail("Status %d; %s.", response->status, problem),
				 errhint("Check token_url in the user mapping of server \"%s\".", from->name)));
	kept = keep(answer->client, token, use_until(answer));
	MemoryContextDelete(response->context);
	return kept;
}
