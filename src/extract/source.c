/*-------------------------------------------------------------------------
 *
 * source.c
 *	  A source: what a server and its user mapping say about how to ask.
 *
 * Secrets are read when an extraction begins, so that rotating a key is overwriting a
 * file, and with the rights of the pipeline's owner, checked here and now: a file or an
 * environment variable of the server only for members of pg_read_server_files.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "common/base64.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "compat.h"
#include "etl.h"
#include "extract/source.h"

#define MAX_SECRET_BYTES 65536

/* Raises unless the current role may use secrets that lie on the server. */
static void
check_may_read_server(const char *option)
{
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to use option \"%s\"", option),
				 errdetail("Role \"%s\" may not read files or environment variables of the server.",
						   GetUserNameFromId(GetUserId(), false)),
				 errhint("GRANT pg_read_server_files to it, or give the secret inline in its user "
						 "mapping.")));
}

/* Cuts white space off the end of a secret, and refuses what cannot be in a header. */
static char *
clean_secret(char *secret, const char *option)
{
	size_t length = strlen(secret);

	while (length > 0 && strchr(" \t\r\n", secret[length - 1]) != NULL)
		secret[--length] = '\0';
	for (size_t i = 0; i < length; i++)
	{
		if ((unsigned char) secret[i] < ' ' || secret[i] == 127)
			length = 0;
	}
	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("the secret of option \"%s\" is empty or has control characters", option)));
	return secret;
}

/* Reads a secret from a file in etl.secret_directory. */
static char *
read_secret_file(const char *option, const char *file_name)
{
	char path[MAXPGPATH];
	struct stat status;
	char *secret;
	int file;
	ssize_t got;

	check_may_read_server(option);
	if (is_absolute_path(etl_secret_directory))
		snprintf(path, sizeof(path), "%s/%s", etl_secret_directory, file_name);
	else
		snprintf(path, sizeof(path), "%s/%s/%s", DataDir, etl_secret_directory, file_name);
	file = OpenTransientFile(path, O_RDONLY | PG_BINARY | O_NOFOLLOW | O_NONBLOCK);
	if (file < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open the secret file \"%s\": %m", file_name),
				 errhint("Files of secrets are in the directory etl.secret_directory names.")));
	if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > MAX_SECRET_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("secret file \"%s\" is not a regular file of up to 64 kB", file_name)));
	secret = palloc0(status.st_size + 1);
	got = read(file, secret, status.st_size);
	CloseTransientFile(file);
	if (got != status.st_size)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read the secret file \"%s\": %m", file_name)));
	return clean_secret(secret, option);
}

/* Reads a secret from the server's environment. */
static char *
read_secret_variable(const char *option, const char *variable)
{
	const char *value;

	check_may_read_server(option);
	value = getenv(variable);
	if (value == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("environment variable \"%s\" of option \"%s\" is not set", variable,
							   option),
						errhint("It must be set in the environment of the server process.")));
	return clean_secret(pstrdup(value), option);
}

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

/* Adds a header with credentials and remembers what must not be shown. */
static void
add_credentials(source *result, const char *name, const char *scheme, char *credentials)
{
	http_header *header = palloc0(sizeof(http_header));

	header->name = pstrdup(name);
	header->value = psprintf("%s%s", scheme, credentials);
	header->secret = true;
	result->headers = lappend(result->headers, header);
	result->secrets = lappend(result->secrets, credentials);
}

/* Credentials as the user mapping has them. */
static void
read_credentials(source *result, List *options)
{
	char *token = NULL;
	char *username = NULL;
	char *password = NULL;
	char *api_key = NULL;
	char *api_key_header = "X-API-Key";
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *element = lfirst(cell);
		char *name = element->defname;
		char *value = defGetString(element);

		if (strcmp(name, "token") == 0)
			token = clean_secret(pstrdup(value), name);
		else if (strcmp(name, "token_file") == 0)
			token = read_secret_file(name, value);
		else if (strcmp(name, "token_env") == 0)
			token = read_secret_variable(name, value);
		else if (strcmp(name, "username") == 0)
			username = value;
		else if (strcmp(name, "password") == 0)
			password = clean_secret(pstrdup(value), name);
		else if (strcmp(name, "password_file") == 0)
			password = read_secret_file(name, value);
		else if (strcmp(name, "password_env") == 0)
			password = read_secret_variable(name, value);
		else if (strcmp(name, "api_key") == 0)
			api_key = clean_secret(pstrdup(value), name);
		else if (strcmp(name, "api_key_file") == 0)
			api_key = read_secret_file(name, value);
		else if (strcmp(name, "api_key_env") == 0)
			api_key = read_secret_variable(name, value);
		else if (strcmp(name, "api_key_header") == 0)
			api_key_header = value;
	}
	if (token != NULL)
		add_credentials(result, "Authorization", "Bearer ", token);
	if (api_key != NULL)
		add_credentials(result, api_key_header, "", api_key);
	if (username != NULL && password != NULL)
	{
		char *plain = psprintf("%s:%s", username, password);
		int size = pg_b64_enc_len(strlen(plain));
		char *encoded = palloc0(size + 1);

		etl_b64_encode(plain, strlen(plain), encoded, size);
		add_credentials(result, "Authorization", "Basic ", encoded);
		result->secrets = lappend(result->secrets, password);
	}
}

/*
 * Reads a server and the current role's user mapping.  Needs a transaction; the result is
 * palloc'd in the current context.  Raises when the role may not use the server, or a
 * secret cannot be read.
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

	result->name = pstrdup(server_name);
	http_client_options_init(&result->client);
	http_retry_policy_init(&result->retry);
	result->concurrency = 8;
	result->client.allowed_hosts = pstrdup(etl_allowed_hosts);
	foreach (cell, server->options)
	{
		DefElem *element = lfirst(cell);
		const source_option *option = source_option_find(element->defname, ForeignServerRelationId);
		char *value = defGetString(element);

		if (option == NULL)
			continue; /* of another version */
		if (strcmp(option->name, "base_url") == 0)
			result->base_url = pstrdup(value);
		else if (strcmp(option->name, "connect_timeout") == 0)
			result->client.connect_timeout_ms = source_option_duration_ms(option->name, value);
		else if (strcmp(option->name, "timeout") == 0)
			result->client.timeout_ms = source_option_duration_ms(option->name, value);
		else if (strcmp(option->name, "max_attempts") == 0)
			result->retry.max_attempts = source_option_number(option, value);
		else if (strcmp(option->name, "retry_delay") == 0)
			result->retry.base_delay_ms = source_option_duration_ms(option->name, value);
		else if (strcmp(option->name, "max_retry_delay") == 0)
			result->retry.max_delay_ms = source_option_duration_ms(option->name, value);
		else if (strcmp(option->name, "max_wait") == 0)
			result->retry.max_rate_limit_wait_ms = source_option_duration_ms(option->name, value);
		else if (strcmp(option->name, "max_body_size") == 0)
			result->client.max_body_bytes = source_option_number(option, value);
		else if (strcmp(option->name, "max_redirects") == 0)
			result->client.max_redirects = source_option_number(option, value);
		else if (strcmp(option->name, "verify_tls") == 0)
			result->client.verify_tls = source_option_number(option, value) != 0;
		else if (strcmp(option->name, "ca_file") == 0)
		{
			check_may_read_server(option->name);
			result->client.ca_file = pstrdup(value);
		}
		else if (strcmp(option->name, "proxy") == 0)
			result->client.proxy = pstrdup(value);
		else if (strcmp(option->name, "user_agent") == 0)
			result->client.user_agent = pstrdup(value);
	}
	if (result->base_url == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
						errmsg("server \"%s\" has no base_url", server_name),
						errhint("ALTER SERVER … OPTIONS (ADD base_url 'https://…').")));
	read_credentials(result, user_mapping_options(server->serverid));
	return result;
}

/*
 * A palloc'd copy of a text in which every secret of the source is ***.
 */
char *
source_hide_secrets(const source *from, const char *text)
{
	char *result = pstrdup(text);
	ListCell *cell;

	foreach (cell, from->secrets)
	{
		const char *secret = lfirst(cell);
		StringInfoData hidden;
		char *rest = result;
		char *found;

		if (strlen(secret) < 4)
			continue; /* too short to be told from ordinary text */
		initStringInfo(&hidden);
		while ((found = strstr(rest, secret)) != NULL)
		{
			appendBinaryStringInfo(&hidden, rest, found - rest);
			appendStringInfoString(&hidden, "***");
			rest = found + strlen(secret);
		}
		appendStringInfoString(&hidden, rest);
		result = hidden.data;
	}
	return result;
}

/* Whether a next link may be followed there. */
bool
source_may_follow(const source *from, const char *url)
{
	return http_url_same_origin(url, from->base_url);
}

/* A URL without what is secret in it. */
char *
source_without_credentials(const source *from, const char *url)
{
	return pstrdup(url);
}
