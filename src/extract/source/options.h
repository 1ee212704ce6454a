/*-------------------------------------------------------------------------
 *
 * options.h
 *	  The options of servers and user mappings of etl_http.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_OPTIONS_H
#define ETL_OPTIONS_H

#include "postgres.h"
#include "nodes/pg_list.h"

/* How a source wants to know who asks: the values of the option auth. */
typedef enum auth_kind
{
	AUTH_NONE,
	AUTH_BEARER,
	AUTH_BASIC,
	AUTH_API_KEY,
	AUTH_OAUTH2, /* client credentials */
	AUTH_ANY	 /* not a kind: of an option that belongs to all of them */
} auth_kind;

/* What the value of an option looks like. */
typedef enum option_type
{
	OPTION_TEXT,
	OPTION_URL,
	OPTION_URL_WITH_QUERY,
	OPTION_DURATION,
	OPTION_COUNT, /* from low to high */
	OPTION_SIZE,
	OPTION_BOOLEAN,
	OPTION_CHOICE,
	OPTION_HEADERS,
	OPTION_HOSTS,
	OPTION_RATE_LIMIT,
	OPTION_HEADER_NAME,
	OPTION_PARAMETER_NAME,
	OPTION_FILE_NAME,
	OPTION_VARIABLE_NAME
} option_type;

typedef struct source_option
{
	const char *name;
	Oid catalog; /* ForeignServerRelationId or UserMappingRelationId */
	option_type type;
	auth_kind auth;				/* user mappings: the kind it belongs to */
	bool is_secret;				/* it is one, or says where one is: exactly one of a kind */
	int low;					/* OPTION_COUNT */
	int high;					/* OPTION_COUNT */
	const char *const *choices; /* OPTION_CHOICE: ends with NULL */
} source_option;

/* options.c */
extern const source_option *source_option_find(const char *name, Oid catalog);
extern auth_kind source_auth_kind(const char *name);

/* option_values.c */
extern void source_option_check(const source_option *option, const char *value);
extern int64 source_option_duration_ms(const char *name, const char *value);
extern int64 source_option_number(const source_option *option, const char *value);
extern List *source_option_headers(const char *name, const char *value);
extern List *source_option_hosts(const char *name, const char *value);

#endif /* ETL_OPTIONS_H */
