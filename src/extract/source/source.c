/*-------------------------------------------------------------------------
 *
 * source.c
 *	  A source: what a server says about how to ask.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_foreign_server.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "compat.h"
#include "etl.h"
#include "extract/source/credentials.h"
#include "extract/source/rate_budget.h"
#include "extract/source/secret.h"
#include "extract/source/source.h"
#include "extract/source/token_pool.h"

#define DEFAULT_CONCURRENCY 8

/* Options that are numbers or durations. */
static void
read_limit(source *result, const source_option *option, const char *value)
{
	const char *name = option->name;
	const char *problem;

	if (strcmp(name, "connect_timeout") == 0)
		result->client.connect_timeout_ms = source_option_duration_ms(name, value);
	else if (strcmp(name, "timeout") == 0)
		result->client.timeout_ms = source_option_duration_ms(name, value);
	else if (strcmp(name, "max_attempts") == 0)
		result->retry.max_attempts = source_option_number(option, value);
	else if (strcmp(name, "retry_delay") == 0)
		result->retry.base_delay_ms = source_option_duration_ms(name, value);
	else if (strcmp(name, "max_retry_delay") == 0)
		result->retry.max_delay_ms = source_option_duration_ms(name, value);
	else if (strcmp(name, "max_wait") == 0)
		result->retry.max_rate_limit_wait_ms = source_option_duration_ms(name, value);
	else if (strcmp(name, "max_body_size") == 0)
		result->client.max_body_bytes = source_option_number(option, value);
	else if (strcmp(name, "max_redirects") == 0)
		result->client.max_redirects = source_option_number(option, value);
	else if (strcmp(name, "concurrency") == 0)
		result->concurrency = source_option_number(option, value);
	else if (strcmp(name, "rate_limit") == 0)
		result->rate_windows = rate_budget_parse(value, &problem);
}

/* Other options.  Raises for files that the roles may not read. */
static void
read_setting(source *result, const source_option *option, char *value)
{
	const char *name = option->name;

	if (strcmp(name, "base_url") == 0)
		result->base_url = value;
	else if (strcmp(name, "headers") == 0)
		result->headers = source_option_headers(name, value);
	else if (strcmp(name, "next_hosts") == 0)
		result->next_hosts = source_option_hosts(name, value);
	else if (strcmp(name, "verify_tls") == 0)
		result->client.verify_tls = source_option_number(option, value) != 0;
	else if (strcmp(name, "min_tls_version") == 0)
		result->client.tls_1_3 = strcmp(value, "1.3") == 0;
	else if (strcmp(name, "ca_file") == 0)
	{
		secret_check_rights(name, result->owner);
		result->client.ca_file = value;
	}
	else if (strcmp(name, "client_certificate_file") == 0)
		result->client.certificate = secret_read_file(name, value, result->owner);
	else if (strcmp(name, "client_key_file") == 0)
		result->client.key = secret_read_file(name, value, result->owner);
	else if (strcmp(name, "proxy") == 0)
		result->client.proxy = value;
	else if (strcmp(name, "user_agent") == 0)
		result->client.user_agent = value;
}

/*
 * Reads a server and the current role's user mapping.  Needs a transaction; the result is
 * palloc'd in the current context, which has to live as long.  Raises when the role may
 * not use the server, or a secret cannot be read.
 */
source *
source_open(const char *server_name)
{
	ForeignServer *server = GetForeignServerByName(server_name, true);
	ForeignDataWrapper *wrapper;
	source *result = palloc0(sizeof(source));
	ListCell *cell;

	if (server == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("server \"%s\" does not exist", server_name),
						errhint("It was there when the task was declared; create it again.")));
	wrapper = GetForeignDataWrapper(server->fdwid);
	if (strcmp(wrapper->fdwname, "etl_http") != 0)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("server \"%s\" is not a source", server_name),
						errhint("Sources are servers of the foreign-data wrapper etl_http.")));
	if (etl_server_aclcheck(server->serverid, GetUserId()) != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for server \"%s\"", server_name),
						errhint("Its owner can GRANT USAGE ON FOREIGN SERVER.")));

	result->context = CurrentMemoryContext;
	result->name = pstrdup(server_name);
	result->server = server->serverid;
	result->owner = server->owner;
	http_client_options_init(&result->client);
	http_retry_policy_init(&result->retry);
	result->client.allowed_hosts = pstrdup(etl_allowed_hosts);
	result->concurrency = DEFAULT_CONCURRENCY;
	result->quota = pool_token_create(NULL);
	foreach (cell, server->options)
	{
		DefElem *element = lfirst(cell);
		const source_option *option = source_option_find(element->defname, ForeignServerRelationId);

		if (option == NULL)
			continue; /* of another version */
		read_limit(result, option, defGetString(element));
		read_setting(result, option, pstrdup(defGetString(element)));
	}
	if (result->base_url == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
						errmsg("server \"%s\" has no base_url", server_name),
						errhint("ALTER SERVER … OPTIONS (ADD base_url 'https://…').")));
	/* one more, so that an access token can be fetched while all are busy */
	result->client.max_connections = result->concurrency + 1;
	credentials_read(result);
	return result;
}

/*
 * Whether the link to a next page may be followed: to base_url's origin, or to one of
 * next_hosts, over https or, if base_url is, http.  Credentials go to the first only.
 */
bool
source_may_follow(const source *from, const char *url)
{
	ListCell *cell;

	if (http_url_same_origin(url, from->base_url))
		return true;
	foreach (cell, from->next_hosts)
	{
		const char *host = lfirst(cell);

		if (http_url_same_origin(url, psprintf("https://%s", host)) ||
			(pg_strncasecmp(from->base_url, "http:", 5) == 0 &&
			 http_url_same_origin(url, psprintf("http://%s", host))))
			return true;
	}
	return false;
}

/*
 * The URL of a request, palloc'd: base_url, path (percent-encoded already), and the query
 * in the order of its names, of char * in the encoding of the database.
 */
char *
source_url(const source *from, const char *path, List *names, List *values)
{
	const char *base_url = from->base_url;
	size_t base_length = strlen(base_url);
	char *url;
	ListCell *name;
	ListCell *value;

	while (base_length > 0 && base_url[base_length - 1] == '/')
		base_length--;
	url = psprintf("%.*s%s%s", (int) base_length, base_url,
				   path[0] == '\0' || path[0] == '/' || path[0] == '?' ? "" : "/", path);
	forboth (name, names, value, values)
	{
		char *text = lfirst(value);

		url = http_url_add_parameter(url, lfirst(name),
									 pg_server_to_any(text, strlen(text), PG_UTF8));
	}
	return url;
}
