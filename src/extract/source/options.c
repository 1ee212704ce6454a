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
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/varlena.h"

#include "extract/source/options.h"

/* How far a name may be from an option's to be taken for a misspelling of it. */
#define MAX_MISSPELLING 3

static const char *const auth_names[] = {
	[AUTH_NONE] = "none",
	[AUTH_BEARER] = "bearer",
	[AUTH_BASIC] = "basic",
	[AUTH_API_KEY] = "api_key",
	[AUTH_OAUTH2] = "oauth2_client_credentials",
	[AUTH_ANY] = NULL,
};
static const char *const tls_versions[] = {"1.2", "1.3", NULL};
static const char *const client_auths[] = {"basic", "body", NULL};

#define SERVER(option_name, option_type, ...)                                                      \
	{                                                                                              \
		.name = option_name, .catalog = ForeignServerRelationId, .type = option_type, __VA_ARGS__  \
	}
#define MAPPING(option_name, option_type, kind, ...)                                               \
	{                                                                                              \
		.name = option_name, .catalog = UserMappingRelationId, .type = option_type, .auth = kind,  \
		__VA_ARGS__                                                                                \
	}
/* A secret: itself, a file that has it, an environment variable that has it. */
#define SECRET(option_name, kind)                                                                  \
	MAPPING(option_name, OPTION_TEXT, kind, .is_secret = true),                                    \
		MAPPING(option_name "_file", OPTION_FILE_NAME, kind, .is_secret = true),                   \
		MAPPING(option_name "_env", OPTION_VARIABLE_NAME, kind, .is_secret = true)

/* docs/reference/sources.md says what each is for; hints name them in this order. */
static const source_option source_options[] = {
	SERVER("base_url", OPTION_URL),
	SERVER("headers", OPTION_HEADERS),
	SERVER("connect_timeout", OPTION_DURATION),
	SERVER("timeout", OPTION_DURATION),
	SERVER("max_attempts", OPTION_COUNT, .low = 1, .high = 1000),
	SERVER("retry_delay", OPTION_DURATION),
	SERVER("max_retry_delay", OPTION_DURATION),
	SERVER("max_wait", OPTION_DURATION),
	SERVER("rate_limit", OPTION_RATE_LIMIT),
	SERVER("concurrency", OPTION_COUNT, .low = 1, .high = 256),
	SERVER("max_body_size", OPTION_SIZE),
	SERVER("max_redirects", OPTION_COUNT, .low = 0, .high = 1000),
	SERVER("next_hosts", OPTION_HOSTS),
	SERVER("verify_tls", OPTION_BOOLEAN),
	SERVER("ca_file", OPTION_TEXT),
	SERVER("min_tls_version", OPTION_CHOICE, .choices = tls_versions),
	SERVER("client_certificate_file", OPTION_FILE_NAME),
	SERVER("client_key_file", OPTION_FILE_NAME),
	SERVER("proxy", OPTION_URL),
	SERVER("user_agent", OPTION_TEXT),

	MAPPING("auth", OPTION_CHOICE, AUTH_ANY, .choices = auth_names),
	SECRET("token", AUTH_BEARER),
	SECRET("tokens", AUTH_BEARER),
	MAPPING("username", OPTION_TEXT, AUTH_BASIC),
	SECRET("password", AUTH_BASIC),
	SECRET("api_key", AUTH_API_KEY),
	MAPPING("api_key_header", OPTION_HEADER_NAME, AUTH_API_KEY),
	MAPPING("api_key_parameter", OPTION_PARAMETER_NAME, AUTH_API_KEY),
	MAPPING("token_url", OPTION_URL_WITH_QUERY, AUTH_OAUTH2),
	MAPPING("client_id", OPTION_TEXT, AUTH_OAUTH2),
	SECRET("client_secret", AUTH_OAUTH2),
	MAPPING("client_auth", OPTION_CHOICE, AUTH_OAUTH2, .choices = client_auths),
	MAPPING("scope", OPTION_TEXT, AUTH_OAUTH2),
	MAPPING("audience", OPTION_TEXT, AUTH_OAUTH2),
};

/* What each kind of auth needs besides exactly one secret. */
static const struct
{
	const char *companions; /* for an error: what belongs to it */
	const char *example;
	const char *required[2]; /* options; NULL: none */
} auth_rules[] = {
	[AUTH_NONE] = {0},
	[AUTH_BEARER] = {" and a token", "token_file 'shop'", {NULL}},
	[AUTH_BASIC] = {", a username and a password",
					"username 'me', password_file 'shop'",
					{"username"}},
	[AUTH_API_KEY] = {" and a key", "api_key_file 'shop'", {NULL}},
	[AUTH_OAUTH2] = {", a token_url, a client_id and a client_secret",
					 "token_url 'https://login.example.com/token', client_id 'me', "
					 "client_secret_file 'shop'",
					 {"token_url", "client_id"}},
};

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

/*
 * The kind of auth of that name; AUTH_ANY when there is none.
 */
auth_kind
source_auth_kind(const char *name)
{
	for (int i = 0; i < AUTH_ANY; i++)
	{
		if (strcmp(auth_names[i], name) == 0)
			return (auth_kind) i;
	}
	return AUTH_ANY;
}

/* The option of a catalog that a name may be a misspelling of; NULL when it is like none. */
static const char *
closest_option(const char *name, Oid catalog)
{
	char *lower = asc_tolower(name, strlen(name));
	int length = strlen(lower);
	int best = Min(MAX_MISSPELLING, length / 2) + 1;
	const char *closest = NULL;

	if (length > NAMEDATALEN)
		return NULL;
	for (int i = 0; i < lengthof(source_options); i++)
	{
		const char *candidate = source_options[i].name;
		int distance;

		if (source_options[i].catalog != catalog)
			continue;
		distance = varstr_levenshtein_less_equal(lower, length, candidate, strlen(candidate), 1, 1,
												 1, best - 1, true);
		if (distance < best)
		{
			best = distance;
			closest = candidate;
		}
	}
	return closest;
}

/* Raises: there is no such option.  Says which there are, and which may have been meant. */
static void
raise_unknown(const char *name, Oid catalog)
{
	StringInfoData hint;
	const char *closest = closest_option(name, catalog);
	const char *before = "Valid options in this context are: ";

	initStringInfo(&hint);
	if (catalog == ForeignServerRelationId && source_option_find(name, UserMappingRelationId))
		appendStringInfo(&hint, "Option \"%s\" belongs to the user mapping. ", name);
	else if (catalog == UserMappingRelationId && source_option_find(name, ForeignServerRelationId))
		appendStringInfo(&hint, "Option \"%s\" belongs to the server. ", name);
	else if (closest != NULL)
		appendStringInfo(&hint, "Perhaps you meant \"%s\". ", closest);
	for (int i = 0; i < lengthof(source_options); i++)
	{
		if (source_options[i].catalog != catalog)
			continue;
		appendStringInfo(&hint, "%s%s", before, source_options[i].name);
		before = ", ";
	}
	ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errmsg("invalid option \"%s\"", name),
					before[0] == ',' ? errhint("%s.", hint.data)
									 : errhint("There are no valid options in this context.")));
}

/* The value of an option in a list; NULL without it. */
static const char *
value_of(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *element = lfirst(cell);

		if (strcmp(element->defname, name) == 0)
			return defGetString(element);
	}
	return NULL;
}

/*
 * Turning verification off lets whoever is on the way read and forge what the pipelines of
 * all who use the server get.  Raises unless the current role may decide that.
 */
static void
check_may_turn_verification_off(void)
{
	Oid admin = get_role_oid("etl_admin", true);

	if (superuser() || (OidIsValid(admin) && has_privs_of_role(GetUserId(), admin)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to turn verify_tls off"),
			 OidIsValid(admin) ? errdetail("Only superusers and members of role etl_admin may.")
							   : errdetail("Only superusers may."),
			 errhint("Name the authority of the source's certificate by ca_file.")));
}

/* Raises for options of a server that do not go together, or that the role may not set. */
static void
check_server(List *options)
{
	const char *verify_tls = value_of(options, "verify_tls");
	bool verify;

	if (value_of(options, "base_url") == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
						errmsg("option \"base_url\" is required"),
						errhint("For example OPTIONS (base_url 'https://api.example.com').")));
	if ((value_of(options, "client_certificate_file") == NULL) !=
		(value_of(options, "client_key_file") == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("client_certificate_file and client_key_file belong together"),
				 errhint("Both name files in etl.secret_directory, in PEM format; they may name "
						 "one that has both.")));
	if (verify_tls != NULL && parse_bool(verify_tls, &verify) && !verify)
		check_may_turn_verification_off();
}

/* Raises: the option auth and what belongs to it are not together. */
static void
raise_incomplete(auth_kind auth)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("auth '%s'%s belong together", auth_names[auth], auth_rules[auth].companions),
			 errhint("For example OPTIONS (auth '%s', %s).", auth_names[auth],
					 auth_rules[auth].example)));
}

/* Raises for options of a user mapping that do not go together. */
static void
check_user_mapping(List *options)
{
	const char *auth_name = value_of(options, "auth");
	auth_kind auth = auth_name != NULL ? source_auth_kind(auth_name) : AUTH_NONE;
	int secrets[AUTH_ANY] = {0};
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *element = lfirst(cell);
		const source_option *option = source_option_find(element->defname, UserMappingRelationId);

		if (option->is_secret && ++secrets[option->auth] > 1)
			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
							errmsg("a secret is given more than once"),
							errhint("Give it inline, by file or by environment variable.")));
	}
	foreach (cell, options)
	{
		DefElem *element = lfirst(cell);
		const source_option *option = source_option_find(element->defname, UserMappingRelationId);

		if (option->auth != AUTH_ANY && option->auth != auth)
			raise_incomplete(option->auth);
	}
	if (auth != AUTH_NONE && secrets[auth] == 0)
		raise_incomplete(auth);
	for (int i = 0; i < lengthof(auth_rules[auth].required); i++)
	{
		const char *required = auth_rules[auth].required[i];

		if (required != NULL && value_of(options, required) == NULL)
			raise_incomplete(auth);
	}
	if (value_of(options, "api_key_header") != NULL &&
		value_of(options, "api_key_parameter") != NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("the key cannot be both in a header and in a parameter"),
						errhint("Give api_key_header or api_key_parameter.")));
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
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *element = lfirst(cell);
		const source_option *option = source_option_find(element->defname, catalog);

		if (option == NULL)
			raise_unknown(element->defname, catalog);
		source_option_check(option, defGetString(element));
	}
	if (catalog == ForeignServerRelationId)
		check_server(options);
	if (catalog == UserMappingRelationId)
		check_user_mapping(options);
	PG_RETURN_VOID();
}
