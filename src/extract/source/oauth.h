/*-------------------------------------------------------------------------
 *
 * oauth.h
 *	  OAuth 2.0 client credentials (RFC 6749, 4.4): a secret becomes an access token.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_OAUTH_H
#define ETL_OAUTH_H

#include "postgres.h"

#include "extract/source/source.h"

/* Who asks for a token, and for what. */
typedef struct oauth_client
{
	char *token_url;
	char *client_id;
	char *client_secret;
	char *scope;	/* NULL: none */
	char *audience; /* NULL: none */
	bool in_body;	/* id and secret are parameters, not a header */
} oauth_client;

/* What the token endpoint answered. */
typedef struct oauth_answer
{
	const oauth_client *client;
	TimestampTz asked_at;
	http_response *response;
	http_outcome outcome;
} oauth_answer;

extern const char *oauth_cached_token(const oauth_client *client);
extern void oauth_forget_token(const oauth_client *client);
extern List *oauth_known_tokens(const oauth_client *client);
extern char *oauth_basic_credentials(const oauth_client *client);
extern oauth_answer *oauth_ask(source *from, http_client *http, const oauth_client *client);
extern bool oauth_client_is_refused(const oauth_answer *answer);
extern const char *oauth_take_token(source *from, const oauth_answer *answer);

#endif /* ETL_OAUTH_H */
