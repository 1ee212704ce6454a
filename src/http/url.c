/*-------------------------------------------------------------------------
 *
 * url.c
 *	  URLs: resolved, compared, printed without secrets, extended.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "http/http.h"

#include <curl/curl.h>

static char *take_curl_string(char *text);
static char *get_part(CURLU *handle, CURLUPart part, unsigned int flags);
static CURLU *parse_url(const char *url);
static bool is_allowed_scheme(CURLU *handle);
static bool is_secret_name(const char *name, size_t length);
static bool holds_userinfo(const char *value, size_t length);
static void redact_parameters(StringInfo out, const char *text, size_t length);

/*
 * Copy a string of curl into palloc'd memory and free it, also when that raises.
 */
static char *
take_curl_string(char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = MemoryContextAllocExtended(CurrentMemoryContext, size, MCXT_ALLOC_NO_OOM);

	if (copy != NULL)
		memcpy(copy, text, size);
	curl_free(text);
	if (copy == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return copy;
}

/*
 * A part of a parsed URL as curl's string (curl_free it), or NULL.
 */
static char *
get_part(CURLU *handle, CURLUPart part, unsigned int flags)
{
	char *text = NULL;

	if (curl_url_get(handle, part, &text, flags) != CURLUE_OK)
		return NULL;
	return text;
}

/*
 * Is the scheme http or https, and is there a host?
 */
static bool
is_allowed_scheme(CURLU *handle)
{
	char *scheme = get_part(handle, CURLUPART_SCHEME, 0);
	char *host = get_part(handle, CURLUPART_HOST, 0);
	bool allowed = scheme != NULL && host != NULL && host[0] != '\0' &&
				   (pg_strcasecmp(scheme, "http") == 0 || pg_strcasecmp(scheme, "https") == 0);

	curl_free(scheme);
	curl_free(host);
	return allowed;
}

/*
 * Parse an absolute URL of an allowed scheme: a handle to clean up, or NULL.
 */
static CURLU *
parse_url(const char *url)
{
	CURLU *handle = curl_url();

	if (handle == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	if (curl_url_set(handle, CURLUPART_URL, url, CURLU_URLENCODE) == CURLUE_OK &&
		is_allowed_scheme(handle))
		return handle;
	curl_url_cleanup(handle);
	return NULL;
}

/*
 * A palloc'd copy of a URL in which bytes that a URL cannot have - blanks, controls and
 * all above ASCII - are percent-encoded; what a source sends must not become text of
 * unknown encoding.  NULL when that is no URL any more: some of its parts may not have
 * percent-encoded bytes, which ones depends on libcurl.
 */
static char *
encode_unsafe(const char *url)
{
	StringInfoData encoded;
	CURLU *handle;
	bool valid;

	initStringInfo(&encoded);
	for (const unsigned char *c = (const unsigned char *) url; *c != '\0'; c++)
	{
		if (*c <= ' ' || *c >= 127)
			appendStringInfo(&encoded, "%%%02X", *c);
		else
			appendStringInfoCharMacro(&encoded, *c);
	}
	handle = curl_url();
	if (handle == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	valid = curl_url_set(handle, CURLUPART_URL, encoded.data, 0) == CURLUE_OK;
	curl_url_cleanup(handle);
	return valid ? encoded.data : NULL;
}

/*
 * The URL that "reference" means on the page "base", palloc'd.  With base NULL the
 * reference has to be absolute.  NULL when it is malformed or neither http nor https.
 * An absolute reference comes back as it was, but for bytes that cannot be sent
 * (blanks, bytes beyond ASCII), which are percent-encoded.
 */
char *
http_url_resolve(const char *base, const char *reference)
{
	CURLU *handle = curl_url();
	CURLUcode code = CURLUE_OK;
	char *url = NULL;

	if (handle == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));

	/* An absolute one that can be sent is left alone: it may be signed. */
	if (curl_url_set(handle, CURLUPART_URL, reference, 0) == CURLUE_OK)
	{
		bool allowed = is_allowed_scheme(handle);

		curl_url_cleanup(handle);
		return allowed ? encode_unsafe(reference) : NULL;
	}

	if (base != NULL)
		code = curl_url_set(handle, CURLUPART_URL, base, CURLU_URLENCODE);

	/* "" and "#part" mean the page itself; older libcurl takes them for its directory. */
	if (base != NULL && code == CURLUE_OK && (reference[0] == '\0' || reference[0] == '#'))
	{
		bool allowed = is_allowed_scheme(handle);

		curl_url_cleanup(handle);
		return allowed
				   ? encode_unsafe(psprintf("%.*s%s", (int) strcspn(base, "#"), base, reference))
				   : NULL;
	}
	if (code == CURLUE_OK)
		code = curl_url_set(handle, CURLUPART_URL, reference, CURLU_URLENCODE);
	if (code == CURLUE_OK && is_allowed_scheme(handle))
		url = get_part(handle, CURLUPART_URL, 0);
	curl_url_cleanup(handle);
	/* a host beyond ASCII stays as it was written on the page "base" */
	return url != NULL ? encode_unsafe(take_curl_string(url)) : NULL;
}

/*
 * The host of an absolute URL, brackets of IPv6 addresses taken off, in a memory context;
 * NULL when the URL is malformed.  *port is the one it names or its scheme's.
 */
char *
http_url_host(MemoryContext context, const char *url, int *port)
{
	CURLU *handle = parse_url(url);
	char *part = handle != NULL ? get_part(handle, CURLUPART_HOST, 0) : NULL;
	char *number = handle != NULL ? get_part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT) : NULL;
	char *host = NULL;

	*port = number != NULL ? atoi(number) : 0;
	curl_free(number);

	if (part != NULL)
	{
		size_t length = strlen(part);

		host = part[0] == '[' ? MemoryContextStrdup(context, part + 1)
							  : MemoryContextStrdup(context, part);
		if (part[0] == '[' && length >= 2)
			host[length - 2] = '\0';
		curl_free(part);
	}
	if (handle != NULL)
		curl_url_cleanup(handle);
	return host;
}

/*
 * Is there a user or a password in the absolute URL?  False when it is malformed.
 */
bool
http_url_has_userinfo(const char *url)
{
	CURLU *handle = parse_url(url);
	char *user = handle != NULL ? get_part(handle, CURLUPART_USER, 0) : NULL;
	char *password = handle != NULL ? get_part(handle, CURLUPART_PASSWORD, 0) : NULL;
	bool found = user != NULL || password != NULL;

	curl_free(user);
	curl_free(password);
	curl_url_cleanup(handle);
	return found;
}

/*
 * Have the two absolute URLs the same scheme, host and port?  False when either is
 * malformed.
 */
bool
http_url_same_origin(const char *a, const char *b)
{
	static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
	CURLU *handle_a = parse_url(a);
	CURLU *handle_b = handle_a != NULL ? parse_url(b) : NULL;
	bool same = handle_b != NULL;

	for (int i = 0; same && i < lengthof(parts); i++)
	{
		char *part_a = get_part(handle_a, parts[i], CURLU_DEFAULT_PORT);
		char *part_b = get_part(handle_b, parts[i], CURLU_DEFAULT_PORT);

		same = part_a != NULL && part_b != NULL && pg_strcasecmp(part_a, part_b) == 0;
		curl_free(part_a);
		curl_free(part_b);
	}
	curl_url_cleanup(handle_a);
	curl_url_cleanup(handle_b);
	return same;
}

/*
 * Does the name of a query parameter, possibly percent-encoded, announce a secret?
 */
static bool
is_secret_name(const char *name, size_t length)
{
	static const char *const names[] = {"token",
										"access_token",
										"refresh_token",
										"id_token",
										"auth_token",
										"private_token",
										"api_token",
										"api_key",
										"apikey",
										"api-key",
										"x-api-key",
										"key",
										"secret",
										"client_secret",
										"password",
										"passwd",
										"pwd",
										"signature",
										"sig",
										"x-amz-signature",
										"x-amz-credential",
										"x-amz-security-token",
										"x-goog-signature",
										"x-goog-credential",
										"auth",
										"authorization",
										"client_assertion",
										"assertion",
										"subscription-key",
										"app_key",
										"appkey",
										"app_secret"};
	char plain[64];
	size_t n = 0;

	for (size_t i = 0; i < length; i++)
	{
		unsigned char c = (unsigned char) name[i];

		if (n + 1 >= sizeof(plain))
			return false; /* longer than any of them */
		if (c == '%' && i + 2 < length && isxdigit((unsigned char) name[i + 1]) &&
			isxdigit((unsigned char) name[i + 2]))
		{
			char digits[3] = {name[i + 1], name[i + 2], '\0'};

			c = (unsigned char) strtol(digits, NULL, 16);
			i += 2;
		}
		plain[n++] = c;
	}
	plain[n] = '\0';

	for (int i = 0; i < lengthof(names); i++)
	{
		if (pg_strcasecmp(plain, names[i]) == 0)
			return true;
	}
	return false;
}

/*
 * Could the value of a parameter be a URL with a user and password in it?
 */
static bool
holds_userinfo(const char *value, size_t length)
{
	bool url = false;

	for (size_t i = 0; i < length; i++)
	{
		const char *p = value + i;

		if ((length - i >= 3 && strncmp(p, "://", 3) == 0) ||
			(length - i >= 9 && pg_strncasecmp(p, "%3a%2f%2f", 9) == 0))
			url = true;
		if (url && (*p == '@' || (length - i >= 3 && strncmp(p, "%40", 3) == 0)))
			return true;
	}
	return false;
}

/*
 * Append "a=1&b=2" with the values of secret names replaced.
 */
static void
redact_parameters(StringInfo out, const char *text, size_t length)
{
	const char *end = text + length;

	while (text < end)
	{
		const char *next = text;
		const char *equals;

		while (next < end && *next != '&' && *next != ';')
			next++;
		equals = memchr(text, '=', next - text);
		if (equals != NULL &&
			(is_secret_name(text, equals - text) || holds_userinfo(equals + 1, next - equals - 1)))
		{
			appendBinaryStringInfo(out, text, equals - text + 1);
			appendStringInfoString(out, "***");
		}
		else
			appendBinaryStringInfo(out, text, next - text);
		if (next < end)
			appendStringInfoChar(out, *next++);
		text = next;
	}
}

/*
 * The URL fit to be printed, palloc'd: without user and password, and with *** for
 * the values of query parameters whose names look secret.  Works on what curl cannot
 * parse too, and then rather drops too much.
 */
char *
http_url_redact(const char *url)
{
	StringInfoData out;
	const char *authority = strstr(url, "://");
	const char *rest = url;
	CURLU *parsed = parse_url(url);
	const char *query;
	const char *fragment;

	initStringInfo(&out);
	query = url + strcspn(url, "?#");
	if (parsed == NULL)
	{
		/* a malformed password can hold any of the delimiters */
		const char *at = strrchr(url, '@');

		if (at != NULL && authority != NULL && authority < at)
			appendBinaryStringInfo(&out, url, authority + 3 - url);
		if (at != NULL && query < at)
		{
			/* the end of a password, or the middle of a parameter: nobody can tell */
			appendStringInfoString(&out, "***");
			return out.data;
		}
		if (at != NULL)
			rest = at + 1;
		query = rest + strcspn(rest, "?#");
	}
	else
	{
		curl_url_cleanup(parsed);
		if (authority != NULL && authority < query)
		{
			const char *host = authority + 3;
			const char *end = host + strcspn(host, "/?#");

			appendBinaryStringInfo(&out, url, host - url);
			for (const char *p = host; p < end; p++)
			{
				if (*p == '@')
					host = p + 1;
			}
			rest = host;
		}
	}

	appendBinaryStringInfo(&out, rest, query - rest);
	fragment = query + strcspn(query, "#");
	if (*query == '?')
	{
		appendStringInfoChar(&out, '?');
		redact_parameters(&out, query + 1, fragment - query - 1);
	}
	if (*fragment == '#')
	{
		appendStringInfoChar(&out, '#');
		redact_parameters(&out, fragment + 1, strlen(fragment + 1));
	}
	return out.data;
}

/*
 * Append "text" percent-encoded: RFC 3986's unreserved characters stay, and slashes
 * if asked for.
 */
void
http_append_encoded(StringInfo out, const char *text, bool keep_slashes)
{
	static const char digits[] = "0123456789ABCDEF";

	for (const char *p = text; *p != '\0'; p++)
	{
		unsigned char c = (unsigned char) *p;

		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			c == '-' || c == '.' || c == '_' || c == '~' || (c == '/' && keep_slashes))
			appendStringInfoChar(out, c);
		else
		{
			appendStringInfoChar(out, '%');
			appendStringInfoChar(out, digits[c >> 4]);
			appendStringInfoChar(out, digits[c & 0xf]);
		}
	}
}

/*
 * The URL with "name=value", both encoded, added to its query and before its
 * fragment, palloc'd.  With value NULL the name stands alone.
 */
char *
http_url_add_parameter(const char *url, const char *name, const char *value)
{
	StringInfoData out;
	size_t length = strcspn(url, "#");
	const char *query = memchr(url, '?', length);

	initStringInfo(&out);
	appendBinaryStringInfo(&out, url, length);
	if (query == NULL)
		appendStringInfoChar(&out, '?');
	else if (query != url + length - 1 && url[length - 1] != '&')
		appendStringInfoChar(&out, '&');
	http_append_encoded(&out, name, false);
	if (value != NULL)
	{
		appendStringInfoChar(&out, '=');
		http_append_encoded(&out, value, false);
	}
	appendStringInfoString(&out, url + length);
	return out.data;
}
