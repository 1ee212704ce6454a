/*-------------------------------------------------------------------------
 *
 * credentials.c
 *	  As whom a source is asked: credentials into requests, and new ones when they fail.
 *
 * Secrets are read when a source is opened and again when it refuses them, so that
 * rotating a key is overwriting a file, in the middle of a run as well.  They go to the
 * origin of base_url and nowhere else.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/xact.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "call_sql.h"
#include "compat.h"
#include "extract/source/credentials.h"
#include "extract/source/secret.h"
#include "extract/source/token_pool.h"

/* The options of the current role's user mapping, or PUBLIC's; NIL without one. */
static List *
user_mapping_options(Oid server)
{
	HeapTuple tuple;
	Datum options;
	bool isnull;
	List *result = NIL;

	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(GetUserId()),
							ObjectIdGetDatum(server));
	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(server));
	if (!HeapTupleIsValid(tuple))
		return NIL;
	options =
		SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions, &isnull);
	if (!isnull)
		result = untransformRelOptions(options);
	ReleaseSysCache(tuple);
	return result;
}

/* A token as it is sent; what an earlier reading learnt about it is kept. */
static pool_token *
make_token(const source *from, char *value)
{
	pool_token *token = pool_token_create(value);
	pool_token *known =
		from->credentials != NULL ? pool_find(from->credentials->tokens, value) : NULL;

	if (known != NULL)
	{
		*token = *known;
		token->value = value;
	}
	return token;
}

/* What basic authentication sends, palloc'd. */
static char *
basic_credentials(const char *username, const char *password)
{
	char *plain = psprintf("%s:%s", username, password);

	return etl_base64(plain, strlen(plain));
}

/* Fills in what is sent for a kind of auth, from the secrets read and the other options. */
static void
complete_credentials(const source *from, credentials *c, const char *username)
{
	ListCell *cell;

	switch (c->kind)
	{
		case AUTH_BEARER:
			foreach (cell, c->secrets)
				c->tokens = lappend(c->tokens,
									make_token(from, psprintf("Bearer %s", (char *) lfirst(cell))));
			break;
		case AUTH_BASIC:
			if (username != NULL && c->secrets != NIL)
			{
				char *encoded = basic_credentials(username, linitial(c->secrets));

				c->tokens = list_make1(make_token(from, psprintf("Basic %s", encoded)));
				c->secrets = lappend(c->secrets, encoded);
			}
			break;
		case AUTH_API_KEY:
			if (c->secrets != NIL)
				c->tokens = list_make1(make_token(from, linitial(c->secrets)));
			if (c->header == NULL && c->parameter == NULL)
				c->header = "X-API-Key";
			return;
		case AUTH_OAUTH2:
			if (c->oauth->token_url == NULL || c->oauth->client_id == NULL || c->secrets == NIL)
				elog(ERROR, "user mapping for server \"%s\" is incomplete", from->name);
			c->oauth->client_secret = linitial(c->secrets);
			c->secrets = lappend(c->secrets, oauth_basic_credentials(c->oauth));
			break;
		default:
			break;
	}
	c->header = "Authorization";
}

/*
 * Reads the credentials of the current role for a source: its user mapping and what that
 * names.  They replace the ones read before, which are kept until the next time.  Needs a
 * transaction.  Raises when a secret cannot be read; then the source is as it was.
 */
void
credentials_read(source *from)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context =
		AllocSetContextCreate(from->context, "etl credentials", ALLOCSET_SMALL_SIZES);
	credentials *c = MemoryContextAllocZero(context, sizeof(credentials));
	char *username = NULL;
	ListCell *cell;

	MemoryContextSwitchTo(context);
	c->context = context;
	foreach (cell, user_mapping_options(from->server))
	{
		DefElem *element = lfirst(cell);
		const source_option *option = source_option_find(element->defname, UserMappingRelationId);
		char *value = defGetString(element);

		if (option == NULL)
			continue; /* of another version */
		if (option->auth == AUTH_OAUTH2 && c->oauth == NULL)
			c->oauth = palloc0(sizeof(oauth_client));
		if (option->is_secret)
			c->secrets = strncmp(option->name, "tokens", 6) == 0
							 ? secret_read_list(option, value, from->owner)
							 : list_make1(secret_read(option, value, from->owner));
		else if (strcmp(option->name, "auth") == 0)
			c->kind = source_auth_kind(value);
		else if (strcmp(option->name, "username") == 0)
			username = value;
		else if (strcmp(option->name, "api_key_header") == 0)
			c->header = value;
		else if (strcmp(option->name, "api_key_parameter") == 0)
			c->parameter = value;
		else if (strcmp(option->name, "token_url") == 0)
			c->oauth->token_url = value;
		else if (strcmp(option->name, "client_id") == 0)
			c->oauth->client_id = value;
		else if (strcmp(option->name, "client_auth") == 0)
			c->oauth->in_body = strcmp(value, "body") == 0;
		else if (strcmp(option->name, "scope") == 0)
			c->oauth->scope = value;
		else if (strcmp(option->name, "audience") == 0)
			c->oauth->audience = value;
	}
	complete_credentials(from, c, username);
	MemoryContextSwitchTo(old);

	if (from->former_credentials != NULL)
		MemoryContextDelete(from->former_credentials->context);
	from->former_credentials = from->credentials;
	from->credentials = c;
}

/* The same from wherever: in a transaction of its own when none is open. */
static void
read_again(source *from)
{
	MemoryContext old = CurrentMemoryContext;

	if (IsTransactionState())
	{
		credentials_read(from);
		return;
	}
	sql_begin();
	MemoryContextSwitchTo(old);
	credentials_read(from);
	sql_commit();
	MemoryContextSwitchTo(old);
}

/* A token of OAuth that is good for a while: the one there is, or a new one. */
static const char *
oauth_token(source *from, http_client *http)
{
	const char *token = oauth_cached_token(from->credentials->oauth);
	oauth_answer *answer;

	if (token != NULL)
		return token;
	answer = oauth_ask(from, http, from->credentials->oauth);
	if (oauth_client_is_refused(answer))
	{
		/* the secret may have been rotated since it was read */
		char *refused = pstrdup(from->credentials->oauth->client_secret);

		read_again(from);
		if (from->credentials->oauth != NULL &&
			strcmp(from->credentials->oauth->client_secret, refused) != 0)
			answer = oauth_ask(from, http, from->credentials->oauth);
	}
	return oauth_take_token(from, answer);
}

/* What the next request sends, palloc'd; NULL: nothing. */
static char *
current_value(source *from, http_client *http)
{
	pool_token *token;

	if (from->credentials->oauth != NULL)
		return psprintf("Bearer %s", oauth_token(from, http));
	token = pool_choose(from->credentials->tokens, GetCurrentTimestamp());
	return token != NULL ? pstrdup(token->value) : NULL;
}

/* Adds a copy of a header to a list. */
static List *
add_header(List *headers, const char *name, const char *value, bool secret)
{
	http_header *header = palloc0(sizeof(http_header));

	header->name = pstrdup(name);
	header->value = pstrdup(value);
	header->secret = secret;
	return lappend(headers, header);
}

static bool
has_header(List *headers, const char *name)
{
	ListCell *cell;

	foreach (cell, headers)
	{
		if (pg_strcasecmp(((http_header *) lfirst(cell))->name, name) == 0)
			return true;
	}
	return false;
}

/*
 * Makes what is sent of a request: the server's headers, unless the request has its own,
 * and the credentials, if it goes to base_url's origin; no other gets any, nor a client
 * certificate.  To be called before each attempt, outside of a transaction: it may fetch
 * an access token, waiting as the retry policy says, and raises what that meets.
 *
 * What is new in "authorized" is palloc'd in the current context and holds secrets: it is
 * for sending, and for source_refresh_credentials and source_note_answer.
 */
void
source_authorize(source *from, http_client *client, const http_request *plain,
				 http_request *authorized)
{
	bool at_home = http_url_same_origin(plain->url, from->base_url);
	char *value = at_home ? current_value(from, client) : NULL;
	const char *name = value != NULL ? from->credentials->header : NULL;
	List *headers = NIL;
	ListCell *cell;

	*authorized = *plain;
	authorized->anonymous = !at_home;
	foreach (cell, from->headers)
	{
		const http_header *header = lfirst(cell);

		if (!has_header(plain->headers, header->name) &&
			(name == NULL || pg_strcasecmp(header->name, name) != 0))
			headers = add_header(headers, header->name, header->value, false);
	}
	foreach (cell, plain->headers)
	{
		const http_header *header = lfirst(cell);

		if (name == NULL || pg_strcasecmp(header->name, name) != 0)
			headers = add_header(headers, header->name, header->value, header->secret);
	}
	if (name != NULL)
		headers = add_header(headers, name, value, true);
	authorized->headers = headers;
	authorized->url = source_without_credentials(from, plain->url);
	if (value != NULL && from->credentials->parameter != NULL)
		authorized->url =
			http_url_add_parameter(authorized->url, from->credentials->parameter, value);
}

/* Whether a request carries these credentials. */
static bool
carries(const credentials *c, const http_request *request, const char *value)
{
	ListCell *cell;

	if (c->parameter != NULL)
	{
		char *last = http_url_add_parameter("?", c->parameter, value);
		size_t length = strlen(request->url);

		/* source_authorize puts it last; the separator may be ? or & */
		return length >= strlen(last) &&
			   strcmp(request->url + length - strlen(last) + 1, last + 1) == 0;
	}
	foreach (cell, request->headers)
	{
		const http_header *header = lfirst(cell);

		if (pg_strcasecmp(header->name, c->header) == 0 && strcmp(header->value, value) == 0)
			return true;
	}
	return false;
}

/* The token a request carries, if it is a current one; else NULL. */
static pool_token *
token_of(const credentials *c, const http_request *request)
{
	ListCell *cell;

	foreach (cell, c->tokens)
	{
		pool_token *token = lfirst(cell);

		if (carries(c, request, token->value))
			return token;
	}
	return NULL;
}

/*
 * Whether there are tokens to choose from: then each has a quota, else the source has one.
 */
bool
source_has_several_tokens(const source *from)
{
	return list_length(from->credentials->tokens) > 1;
}

/*
 * Notes what an answer says about the quota of the token that its request carried, or of
 * the source when there is no choice of tokens, and returns what the answer means then.  With
 * several tokens a limit that one has met is not the source's: HTTP_VERDICT_REFRESH_AUTH while
 * another has quota, else *not_before is when the first has some again.  Otherwise verdict and
 * *not_before stay.  For every answer.
 */
http_verdict
source_note_answer(source *from, const http_request *authorized, const http_response *response,
				   http_verdict verdict, TimestampTz *not_before)
{
	TimestampTz now = GetCurrentTimestamp();
	pool_token *token;
	TimestampTz first;

	if (authorized->anonymous)
		return verdict;
	if (!source_has_several_tokens(from))
	{
		pool_note_answer(from->quota, response, now);
		return verdict;
	}
	token = token_of(from->credentials, authorized);
	if (token == NULL)
		return verdict == HTTP_VERDICT_RATE_LIMITED ? HTTP_VERDICT_REFRESH_AUTH : verdict;
	if (verdict != HTTP_VERDICT_RATE_LIMITED)
	{
		pool_note_answer(token, response, now);
		return verdict;
	}
	pool_note_limit(token, *not_before, now);
	first = pool_not_before(from->credentials->tokens, now);
	if (first == 0)
		return HTTP_VERDICT_REFRESH_AUTH;
	*not_before = first;
	return verdict;
}

/*
 * After HTTP_VERDICT_REFRESH_AUTH, a 401 for instance: whether another attempt makes
 * sense, because it would send something else.  Secrets are read again, in a transaction of
 * its own if none is open; a token got by OAuth is given up; of several tokens the refused
 * one is not used any more.
 *
 * "authorized" is the request that was refused: if another one has met the same meanwhile,
 * nothing has to be read.  *refusals counts those of this one request; 0 at first, it
 * bounds its attempts.  Raises when a secret cannot be read.
 */
bool
source_refresh_credentials(source *from, const http_request *authorized, int *refusals)
{
	TimestampTz now = GetCurrentTimestamp();
	credentials *c = from->credentials;
	pool_token *token;

	if (authorized->anonymous)
		return false;
	token = token_of(c, authorized);
	/* it rests: another one is used, and each rests at least a second before it is again */
	if (token != NULL && token->not_before > now && pool_not_before(c->tokens, now) == 0)
		return true;
	if ((*refusals)++ >= Max(1, list_length(c->tokens)))
		return false;
	if (c->oauth != NULL)
	{
		const char *known = oauth_cached_token(c->oauth);

		if (known != NULL && !carries(c, authorized, psprintf("Bearer %s", known)))
			return true;
		oauth_forget_token(c->oauth);
		read_again(from);
		return true;
	}
	if (c->tokens != NIL && token == NULL)
		return true;
	read_again(from);
	c = from->credentials;
	token = token_of(c, authorized);
	if (token == NULL)
		return c->tokens != NIL || c->oauth != NULL;
	token->is_refused = true;
	if (pool_is_refused(c->tokens))
		return false;
	ereport(WARNING, (errmsg("server \"%s\": one of %d tokens is refused, the others are "
							 "used on",
							 from->name, list_length(c->tokens)),
					  errdetail("It is number %d.", pool_position(c->tokens, token))));
	return true;
}

/*
 * Until when no request makes sense, by what answers have said, in other processes too: 0 while a
 * token has quota, else when the first one, or the source where there is no choice, has some again.
 */
TimestampTz
source_not_before(source *from)
{
	if (!source_has_several_tokens(from))
		return from->quota->not_before;
	return pool_not_before(from->credentials->tokens, GetCurrentTimestamp());
}
