/*-------------------------------------------------------------------------
 *
 * options.c
 *	  The options of servers and user mappings of etl_http, in one table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "extract/source.h"

static const source_option source_options[] = {
	{"base_url", ForeignServerRelationId, OPTION_URL, "where the API is, http or https"},
	{"connect_timeout", ForeignServerRelationId, OPTION_DURATION,
	 "for one connection, default 10 seconds"},
	{"timeout", ForeignServerRelationId, OPTION_DURATION,
	 "for one whole transfer, default 60 seconds"},
	{"max_attempts", ForeignServerRelationId, OPTION_COUNT, "attempts of one request, default 5"},
	{"retry_delay", ForeignServerRelationId, OPTION_DURATION,
	 "first delay of the backoff, default 500 ms"},
	{"max_retry_delay", ForeignServerRelationId, OPTION_DURATION,
	 "longest delay of the backoff, default 60 seconds"},
	{"max_wait", ForeignServerRelationId, OPTION_DURATION,
	 "longest wait for a rate limit, default 1 hour"},
	{"max_body_size", ForeignServerRelationId, OPTION_SIZE,
	 "of one answer, decompressed, default 256MB"},
	{"max_redirects", ForeignServerRelationId, OPTION_COUNT, "default 5"},
	{"verify_tls", ForeignServerRelationId, OPTION_BOOLEAN, "default true"},
	{"ca_file", ForeignServerRelationId, OPTION_TEXT,
	 "certificates to trust instead of the system's"},
	{"proxy", ForeignServerRelationId, OPTION_URL, "an http or https proxy"},
	{"user_agent", ForeignServerRelationId, OPTION_TEXT, "default etl/1.0"},
	{"auth", UserMappingRelationId, OPTION_AUTH, "none, bearer, basic or api_key"},
	{"token", UserMappingRelationId, OPTION_TEXT, "bearer: the token itself"},
	{"token_file", UserMappingRelationId, OPTION_FILE_NAME,
	 "bearer: a file in etl.secret_directory"},
	{"token_env", UserMappingRelationId, OPTION_VARIABLE_NAME,
	 "bearer: an environment variable of the server"},
	{"username", UserMappingRelationId, OPTION_TEXT, "basic: the user"},
	{"password", UserMappingRelationId, OPTION_TEXT, "basic: the password itself"},
	{"password_file", UserMappingRelationId, OPTION_FILE_NAME,
	 "basic: a file in etl.secret_directory"},
	{"password_env", UserMappingRelationId, OPTION_VARIABLE_NAME,
	 "basic: an environment variable of the server"},
	{"api_key", UserMappingRelationId, OPTION_TEXT, "api_key: the key itself"},
	{"api_key_file", UserMappingRelationId, OPTION_FILE_NAME,
	 "api_key: a file in etl.secret_directory"},
	{"api_key_env", UserMappingRelationId, OPTION_VARIABLE_NAME,
	 "api_key: an environment variable of the server"},
	{"api_key_header", UserMappingRelationId, OPTION_HEADER_NAME,
	 "api_key: the header that takes it, default X-API-Key"},
};

/* Headers that say how a request is framed: no place for a key. */
static const char *const framing_headers[] = {"Host", "Content-Length", "Transfer-Encoding",
											  "Connection", "Accept-Encoding"};

PG_FUNCTION_INFO_V1(etl_http_options_validator);

/*
 * The option of that name that may appear in a catalog; NULL when there is none.
 */
const source_option *
source_option_find(const char *name, Oid catalog)
{
	for (int i = 0; i < lengthof(source_options); i++)
	{
		if (source_options[i].catalog == catalog && strcmp(source_options[i].name, name) == 0)
			return &source_options[i];
	}
	return NULL;
}

/* Names of the options of a catalog, for a hint. */
static char *
valid_options(Oid catalog)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(source_options); i++)
	{
		if (source_options[i].catalog == catalog)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", source_options[i].name);
	}
	return names.data;
}

static void
raise_invalid(const char *name, const char *allowed)
{
	/* the value is not shown: it may be a secret put into the wrong option */
	ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
					errmsg("invalid value for option \"%s\"", name), errhint("%s", allowed)));
}

/*
 * A duration option in milliseconds: an interval such as '30 seconds' or '500 ms'.
 * Raises for anything else, and for what is not between 1 ms and a week.
 */
int64
source_option_duration_ms(const char *name, const char *value)
{
	Interval *volatile interval = NULL;
	int64 ms;

	PG_TRY();
	{
		interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(value),
														 InvalidOid, Int32GetDatum(-1)));
	}
	PG_CATCH();
	{
		/* whatever it says, the error raised below says it better */
		FlushErrorState();
	}
	PG_END_TRY();

	if (interval == NULL || interval->month != 0 || interval->day < 0 || interval->day > 7)
		raise_invalid(name, "It is a duration from 1 ms to 7 days, such as '30 seconds'.");
	ms = interval->day * INT64CONST(86400000) + interval->time / 1000;
	if (ms < 1 || ms > 7 * INT64CONST(86400000))
		raise_invalid(name, "It is a duration from 1 ms to 7 days, such as '30 seconds'.");
	return ms;
}

/*
 * The value of a count, size (in bytes) or boolean (0 or 1) option.  Raises when it has
 * none.
 */
int64
source_option_number(const source_option *option, const char *value)
{
	int number;
	bool flag;

	switch (option->type)
	{
		case OPTION_COUNT:
			if (!parse_int(value, &number, 0, NULL) || number > 1000 ||
				number < (strcmp(option->name, "max_redirects") == 0 ? 0 : 1))
				raise_invalid(option->name,
							  "It is a whole number up to 1000, at least 1 but for max_redirects.");
			return number;
		case OPTION_SIZE:
			if (!parse_int(value, &number, GUC_UNIT_KB, NULL) || number < 1 || number > 1048576)
				raise_invalid(option->name, "It is a size up to 1GB, such as '256MB'.");
			return number * INT64CONST(1024);
		default:
			if (!parse_bool(value, &flag))
				raise_invalid(option->name, "It is true or false.");
			return flag;
	}
}

/* Raises unless a value is of the option's type. */
static void
check_value(const source_option *option, const char *value)
{
	switch (option->type)
	{
		case OPTION_TEXT:
			for (const char *c = value; *c; c++)
			{
				if (*c == '\r' || *c == '\n')
					raise_invalid(option->name, "It must not contain line breaks.");
			}
			if (value[0] == '\0')
				raise_invalid(option->name, "It must not be empty.");
			if (strcmp(option->name, "username") == 0 && strchr(value, ':') != NULL)
				raise_invalid(option->name, "A user name of basic authentication has no colon.");
			break;
		case OPTION_URL:
			if (pg_strncasecmp(value, "http://", 7) != 0 &&
				pg_strncasecmp(value, "https://", 8) != 0)
				raise_invalid(option->name, "It is a URL that begins with http:// or https://.");
			if (!http_url_same_origin(value, value))
				raise_invalid(option->name,
							  "It is a well-formed URL, such as https://api.example.com.");
			if (strpbrk(value, "?#") != NULL)
				raise_invalid(option->name,
							  "It has no query and no fragment: those belong to the task.");
			if (strchr(value, '@') != NULL)
				raise_invalid(option->name,
							  "Credentials belong to the user mapping, not into a URL.");
			break;
		case OPTION_DURATION:
			(void) source_option_duration_ms(option->name, value);
			break;
		case OPTION_COUNT:
		case OPTION_SIZE:
		case OPTION_BOOLEAN:
			(void) source_option_number(option, value);
			break;
		case OPTION_AUTH:
			if (strcmp(value, "none") != 0 && strcmp(value, "bearer") != 0 &&
				strcmp(value, "basic") != 0 && strcmp(value, "api_key") != 0)
				raise_invalid(option->name, "It is none, bearer, basic or api_key.");
			break;
		case OPTION_FILE_NAME:
			if (value[0] == '\0' || value[0] == '.' || strchr(value, '/') != NULL ||
				strchr(value, '\\') != NULL || strlen(value) > 255)
				raise_invalid(option->name,
							  "It is the name of a file in etl.secret_directory, without a path.");
			break;
		case OPTION_HEADER_NAME:
			if (value[0] == '\0' ||
				strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") <
					strlen(value))
				raise_invalid(option->name, "It is the name of a header, such as X-API-Key.");
			for (int i = 0; i < lengthof(framing_headers); i++)
			{
				if (pg_strcasecmp(value, framing_headers[i]) == 0)
					raise_invalid(option->name, "That header belongs to the connection.");
			}
			break;
		case OPTION_VARIABLE_NAME:
			if (value[0] == '\0' || strchr(value, '=') != NULL)
				raise_invalid(option->name,
							  "It is the name of an environment variable of the server.");
			break;
	}
}

/*
 * SQL: etl.http_options_validator(text[], oid).  Raises for options that do not exist in
 * that catalog, or have no valid value, or lack another they need.
 */
Datum
etl_http_options_validator(PG_FUNCTION_ARGS)
{
	List *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid catalog = PG_GETARG_OID(1);
	const char *auth = NULL;
	int tokens = 0;
	int passwords = 0;
	int keys = 0;
	bool has_username = false;
	bool has_base_url = false;
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *element = lfirst(cell);
		const source_option *option = source_option_find(element->defname, catalog);

		if (option == NULL)
		{
			char *names = valid_options(catalog);

			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
							errmsg("invalid option \"%s\"", element->defname),
							names[0] ? errhint("Valid options in this context are: %s.", names)
									 : errhint("There are no valid options in this context.")));
		}
		check_value(option, defGetString(element));
		has_base_url |= strcmp(option->name, "base_url") == 0;
		has_username |= strcmp(option->name, "username") == 0;
		tokens += strncmp(option->name, "token", 5) == 0;
		passwords += strncmp(option->name, "password", 8) == 0;
		keys +=
			strncmp(option->name, "api_key", 7) == 0 && strcmp(option->name, "api_key_header") != 0;
		if (strcmp(option->name, "auth") == 0)
			auth = defGetString(element);
	}
	if (catalog == ForeignServerRelationId && !has_base_url)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
						errmsg("option \"base_url\" is required"),
						errhint("For example OPTIONS (base_url 'https://api.example.com').")));
	if (catalog == UserMappingRelationId && options != NIL)
	{
		if (tokens > 1 || passwords > 1 || keys > 1)
			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
							errmsg("a secret is given more than once"),
							errhint("Give it inline, by file or by environment variable.")));
		if ((tokens > 0) != (auth != NULL && strcmp(auth, "bearer") == 0))
			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
							errmsg("auth 'bearer' and a token belong together"),
							errhint("For example OPTIONS (auth 'bearer', token_file 'shop').")));
		if ((keys > 0) != (auth != NULL && strcmp(auth, "api_key") == 0))
			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
							errmsg("auth 'api_key' and a key belong together"),
							errhint("For example OPTIONS (auth 'api_key', api_key_file 'shop').")));
		if ((passwords > 0 || has_username) != (auth != NULL && strcmp(auth, "basic") == 0) ||
			(passwords > 0) != has_username)
			ereport(
				ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("auth 'basic', a username and a password belong together"),
				 errhint(
					 "For example OPTIONS (auth 'basic', username 'me', password_file 'shop').")));
	}
	PG_RETURN_VOID();
}
