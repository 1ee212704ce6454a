/*-------------------------------------------------------------------------
 *
 * source.h
 *	  A source: what a server and its user mapping say about how to ask.
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
	char *name;
	char *base_url;
	http_client_options client;
	http_retry_policy retry;
	int concurrency; /* requests under way at once */
	List *headers;	 /* of http_header *, credentials among them, marked secret */
	List *secrets;	 /* of char *: what must not be shown, whatever quotes it */
} source;

/* One option of a server or user mapping. */
typedef enum option_type
{
	OPTION_TEXT,
	OPTION_URL,
	OPTION_DURATION,
	OPTION_COUNT,
	OPTION_SIZE,
	OPTION_BOOLEAN,
	OPTION_AUTH,
	OPTION_FILE_NAME,
	OPTION_HEADER_NAME,
	OPTION_VARIABLE_NAME
} option_type;

typedef struct source_option
{
	const char *name;
	Oid catalog; /* ForeignServerRelationId or UserMappingRelationId */
	option_type type;
	const char *meaning; /* for hints */
} source_option;

extern const source_option *source_option_find(const char *name, Oid catalog);
extern int64 source_option_duration_ms(const char *name, const char *value);
extern int64 source_option_number(const source_option *option, const char *value);

extern source *source_open(const char *server_name);
extern char *source_hide_secrets(const source *from, const char *text);
extern bool source_may_follow(const source *from, const char *url);
extern char *source_without_credentials(const source *from, const char *url);

#endif /* ETL_SOURCE_H */
