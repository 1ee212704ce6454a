/*-------------------------------------------------------------------------
 *
 * option_values.c
 *	  Values of options: checked when they are declared, read when they are used.
 *
 * No error shows a value: it may be a secret put into the wrong option.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "extract/source/options.h"
#include "extract/source/rate_budget.h"
#include "extract/source/source.h"
#include "http/http.h"

#define DAY_MS INT64CONST(86400000)
#define LONGEST_DURATION_MS (7 * DAY_MS)

static const char duration_hint[] = "It is a duration from 1 ms to 7 days, such as '30 seconds'.";
static const char headers_hint[] =
	"It is a JSON object of names and values, such as '{\"Accept\": \"application/json\"}'.";
static const char hosts_hint[] =
	"It is a list of hosts without scheme and path, such as 'files.example.com, "
	"cdn.example.com:8443'.";

/* Headers that say how a request is framed, and those that hold credentials. */
static const char *const framing_headers[] = {"Host",
											  "Content-Length",
											  "Transfer-Encoding",
											  "Connection",
											  "Accept-Encoding",
											  "Upgrade",
											  "Keep-Alive",
											  "TE",
											  "Trailer",
											  "Expect"};
static const char *const credential_headers[] = {
	"Authorization", "Proxy-Authorization", "Cookie",		 "X-API-Key",			"API-Key",
	"ApiKey",		 "X-Auth-Token",		"Private-Token", "X-Amz-Security-Token"};

static void
raise_invalid(const char *name, const char *allowed)
{
	ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
					errmsg("invalid value for option \"%s\"", name), errhint("%s", allowed)));
}

/*
 * What a type's input function makes of a text; (Datum) 0 when it raises.  For functions
 * that need no subtransaction to clean up after them.
 */
static Datum
try_input(PGFunction input, const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum result = (Datum) 0;

	PG_TRY();
	{
		result = DirectFunctionCall3(input, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
									 Int32GetDatum(-1));
	}
	PG_CATCH();
	{
		/* whatever it says, the error the caller raises says it better */
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return result;
}

/* A duration in milliseconds; 0 for what is none of 1 ms to 7 days. */
static int64
duration_ms(const char *text)
{
	Interval *interval = DatumGetIntervalP(try_input(interval_in, text));
	int64 ms;

	if (interval == NULL || interval->month != 0 || interval->day < 0 || interval->day > 7)
		return 0;
	ms = interval->day * DAY_MS + interval->time / 1000;
	return ms < 1 || ms > LONGEST_DURATION_MS ? 0 : ms;
}

/*
 * A duration option in milliseconds: an interval such as '30 seconds' or '500 ms'.
 * Raises for anything else, and for what is not between 1 ms and a week.
 */
int64
source_option_duration_ms(const char *name, const char *value)
{
	int64 ms = duration_ms(value);

	if (ms == 0)
		raise_invalid(name, duration_hint);
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
			if (!parse_int(value, &number, 0, NULL) || number < option->low ||
				number > option->high)
				raise_invalid(option->name, psprintf("It is a whole number from %d to %d.",
													 option->low, option->high));
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

/* Cuts blanks off both ends of a text, in place; what is left. */
static char *
trim(char *text)
{
	char *end;

	while (scanner_isspace(*text))
		text++;
	end = text + strlen(text);
	while (end > text && scanner_isspace(end[-1]))
		*--end = '\0';
	return text;
}

/* Splits a list at its commas: trimmed palloc'd parts, some of which may be empty. */
static List *
split_list(const char *value)
{
	List *parts = NIL;
	char *rest = pstrdup(value);

	while (rest != NULL)
	{
		char *comma = strchr(rest, ',');

		if (comma != NULL)
			*comma = '\0';
		parts = lappend(parts, trim(rest));
		rest = comma != NULL ? comma + 1 : NULL;
	}
	return parts;
}

/*
 * The hosts of a list option, with their ports if they have some: a List of palloc'd
 * strings.  Raises for what is no host.
 */
List *
source_option_hosts(const char *name, const char *value)
{
	List *hosts = split_list(value);
	ListCell *cell;

	foreach (cell, hosts)
	{
		const char *host = lfirst(cell);
		char *url = psprintf("https://%s", host);

		if (host[0] == '\0' || strpbrk(host, "/?#@\\* \t\r\n") != NULL ||
			!http_url_same_origin(url, url))
			raise_invalid(name, hosts_hint);
	}
	return hosts;
}

static bool
is_one_of(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (pg_strcasecmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

/* Is it the name of a header that may be set (RFC 9110: a token)? */
static bool
is_header_name(const char *name)
{
	return name[0] != '\0' &&
		   strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
						"!#$%&'*+-.^_`|~") == strlen(name);
}

/* Raises unless a header can be set for all requests of a server. */
static void
check_server_header(const char *option, const http_header *header)
{
	if (!is_header_name(header->name))
		raise_invalid(option, "A header name has letters, digits and hyphens.");
	if (is_one_of(header->name, framing_headers, lengthof(framing_headers)))
		raise_invalid(option, psprintf("Header \"%s\" belongs to the connection.", header->name));
	if (is_one_of(header->name, credential_headers, lengthof(credential_headers)))
		raise_invalid(option, psprintf("Header \"%s\" holds credentials: they belong to the user "
									   "mapping, where they are kept secret.",
									   header->name));
	for (const char *c = header->value; *c; c++)
	{
		if (((unsigned char) *c < ' ' && *c != '\t') || *c == 127)
			raise_invalid(option, "The value of a header has no control characters.");
	}
}

/*
 * The headers of a headers option, a JSON object: a List of http_header *, palloc'd.
 * Raises for other JSON, and for headers that hold credentials or frame the request.
 */
List *
source_option_headers(const char *name, const char *value)
{
	Datum document = try_input(jsonb_in, value);
	List *headers = NIL;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue v;
	http_header *header = NULL;

	if (document == (Datum) 0 || !JB_ROOT_IS_OBJECT(DatumGetJsonbP(document)))
		raise_invalid(name, headers_hint);
	iterator = JsonbIteratorInit(&DatumGetJsonbP(document)->root);
	while ((token = JsonbIteratorNext(&iterator, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			header = palloc0(sizeof(http_header));
			header->name = pnstrdup(v.val.string.val, v.val.string.len);
			continue;
		}
		if (token != WJB_VALUE)
			continue;
		if (v.type == jbvString)
			header->value = pnstrdup(v.val.string.val, v.val.string.len);
		else if (v.type == jbvNumeric)
			header->value =
				DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(v.val.numeric)));
		else if (v.type == jbvBool)
			header->value = pstrdup(v.val.boolean ? "true" : "false");
		else
			raise_invalid(name, headers_hint);
		check_server_header(name, header);
		headers = lappend(headers, header);
	}
	return headers;
}

/* Raises unless a value is a URL to which paths, or with_query nothing, can be added. */
static void
check_url(const char *name, const char *value, bool with_query)
{
	if (pg_strncasecmp(value, "http://", 7) != 0 && pg_strncasecmp(value, "https://", 8) != 0)
		raise_invalid(name, "It is a URL that begins with http:// or https://.");
	if (!http_url_same_origin(value, value))
		raise_invalid(name, "It is a well-formed URL, such as https://api.example.com.");
	if (with_query && strchr(value, '#') != NULL)
		raise_invalid(name, "It has no fragment.");
	if (!with_query && strpbrk(value, "?#") != NULL)
		raise_invalid(name, "It has no query and no fragment: those belong to the task.");
	if (strchr(value, '@') != NULL)
		raise_invalid(name, "Credentials belong to the user mapping, not into a URL.");
}

/* Raises unless a value is one of an option's choices, named in the hint. */
static void
check_choice(const source_option *option, const char *value)
{
	StringInfoData allowed;

	initStringInfo(&allowed);
	appendStringInfoString(&allowed, "It is ");
	for (const char *const *choice = option->choices; *choice != NULL; choice++)
	{
		if (strcmp(*choice, value) == 0)
			return;
		appendStringInfo(&allowed, "%s%s",
						 choice == option->choices ? ""
						 : choice[1] == NULL	   ? " or "
												   : ", ",
						 *choice);
	}
	appendStringInfoChar(&allowed, '.');
	raise_invalid(option->name, allowed.data);
}

/*
 * Raises unless a value is of the option's type.  Needs a transaction.
 */
void
source_option_check(const source_option *option, const char *value)
{
	const char *problem;

	switch (option->type)
	{
		case OPTION_TEXT:
			if (strpbrk(value, "\r\n") != NULL)
				raise_invalid(option->name, "It must not contain line breaks.");
			if (value[0] == '\0')
				raise_invalid(option->name, "It must not be empty.");
			if (strcmp(option->name, "username") == 0 && strchr(value, ':') != NULL)
				raise_invalid(option->name, "A user name of basic authentication has no colon.");
			break;
		case OPTION_URL:
		case OPTION_URL_WITH_QUERY:
			check_url(option->name, value, option->type == OPTION_URL_WITH_QUERY);
			break;
		case OPTION_DURATION:
			(void) source_option_duration_ms(option->name, value);
			break;
		case OPTION_COUNT:
		case OPTION_SIZE:
		case OPTION_BOOLEAN:
			(void) source_option_number(option, value);
			break;
		case OPTION_CHOICE:
			check_choice(option, value);
			break;
		case OPTION_HEADERS:
			(void) source_option_headers(option->name, value);
			break;
		case OPTION_HOSTS:
			(void) source_option_hosts(option->name, value);
			break;
		case OPTION_RATE_LIMIT:
			if (rate_budget_parse(value, &problem) == NIL)
				raise_invalid(option->name, RATE_LIMIT_HINT);
			break;
		case OPTION_HEADER_NAME:
			if (!is_header_name(value))
				raise_invalid(option->name, "It is the name of a header, such as X-API-Key.");
			if (is_one_of(value, framing_headers, lengthof(framing_headers)))
				raise_invalid(option->name, "That header belongs to the connection.");
			break;
		case OPTION_PARAMETER_NAME:
			if (value[0] == '\0' || strpbrk(value, "&=?#/ \t\r\n%+") != NULL)
				raise_invalid(option->name, "It is the name of a query parameter, such as key.");
			break;
		case OPTION_FILE_NAME:
			if (value[0] == '\0' || value[0] == '.' || strpbrk(value, "/\\\r\n") != NULL ||
				strlen(value) > 255)
				raise_invalid(option->name,
							  "It is the name of a file in etl.secret_directory, without a path.");
			break;
		case OPTION_VARIABLE_NAME:
			if (value[0] == '\0' || strchr(value, '=') != NULL)
				raise_invalid(option->name,
							  "It is the name of an environment variable of the server.");
			break;
	}
}
