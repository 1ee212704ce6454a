/*-------------------------------------------------------------------------
 *
 * source.h
 *	  A source: what a server and its user mapping say about how to ask.
 *
 * What goes over the wire is made by source_authorize(), for one attempt of one request:
 * a request as the rest of the extension knows it has no credentials, so that it can be
 * shown and kept.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SOURCE_H
#define ETL_SOURCE_H

#include "postgres.h"
#include "nodes/pg_list.h"

#include "http/http.h"

typedef struct source
{
	MemoryContext context; /* holds it and what it learns */
	char *name;
	Oid server;
	Oid owner; /* of the server */
	char *base_url;
	http_client_options client;
	http_retry_policy retry;
	List *rate_windows; /* of rate_window *: our own budget; NIL: none */
	int concurrency;	/* requests at once */
	List *headers;		/* of http_header *: for all requests, not secret */
	List *next_hosts;	/* of char *, "host" or "host:port" */

	struct pool_token *quota; /* what it says about that, where there is no choice of tokens */
	const http_admission *admission; /* to its own budget; NULL: it needs none, or nobody set it */

	/* Secrets; the ones before the current ones may still be quoted by an answer. */
	struct credentials *credentials;
	struct credentials *former_credentials; /* NULL: none */
} source;

/* source.c */
extern source *source_open(const char *server_name);
extern char *source_url(const source *from, const char *path, List *names, List *values);
extern bool source_may_follow(const source *from, const char *url);

/* credentials.c */
extern void source_authorize(source *from, http_client *client, const http_request *plain,
							 http_request *authorized);
extern http_verdict source_note_answer(source *from, const http_request *authorized,
									   const http_response *response, http_verdict verdict,
									   TimestampTz *not_before);
extern bool source_refresh_credentials(source *from, const http_request *authorized, int *refusals);
extern TimestampTz source_not_before(source *from);
extern bool source_has_several_tokens(const source *from);

/* source_quota.c */
extern void source_quota_read(source *from, int64 task_run_id, int attempt);
extern void source_quota_save(source *from, int64 task_run_id, int attempt);

/* redact.c */
extern char *source_hide_secrets(const source *from, const char *text);
extern char *source_excerpt(const source *from, const char *text, size_t length, size_t limit);
extern char *source_without_credentials(const source *from, const char *url);

#endif /* ETL_SOURCE_H */
