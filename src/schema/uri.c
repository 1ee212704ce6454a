/*-------------------------------------------------------------------------
 *
 * uri.c
 *	  URI references of schemas (RFC 3986): any scheme, urn: included, nothing fetched.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "schema/uri.h"

typedef struct uri_parts
{
	const char *scheme;
	const char *authority;
	const char *path;
	const char *query;
	const char *fragment;
	int scheme_length;
	int authority_length;
	int path_length;
	int query_length;
} uri_parts;

static void parse(const char *text, uri_parts *out);
static char *merge_paths(const uri_parts *base, const uri_parts *reference);
static char *remove_dot_segments(const char *path, int length);
static int hex_value(char c);

/*
 * Splits a URI reference into its five parts; a part that is absent is NULL, the path never is.
 */
static void
parse(const char *text, uri_parts *out)
{
	const char *c = text;
	size_t length;

	memset(out, 0, sizeof(*out));
	length = strcspn(c, ":/?#");
	if (length > 0 && c[length] == ':')
	{
		out->scheme = c;
		out->scheme_length = length;
		c += length + 1;
	}
	if (c[0] == '/' && c[1] == '/')
	{
		out->authority = c + 2;
		out->authority_length = strcspn(c + 2, "/?#");
		c += 2 + out->authority_length;
	}
	out->path = c;
	out->path_length = strcspn(c, "?#");
	c += out->path_length;
	if (*c == '?')
	{
		out->query = c + 1;
		out->query_length = strcspn(c + 1, "#");
		c += 1 + out->query_length;
	}
	if (*c == '#')
		out->fragment = c + 1;
}

/*
 * RFC 3986, 5.2.4.
 */
static char *
remove_dot_segments(const char *path, int length)
{
	char *out = palloc(length + 1);
	int used = 0;
	int i = 0;

	while (i < length)
	{
		int end = i + 1;

		/* a segment with its leading slash, if any */
		while (end < length && path[end] != '/')
			end++;
		if ((end - i == 2 && memcmp(path + i, "/.", 2) == 0) ||
			(end - i == 3 && memcmp(path + i, "/..", 3) == 0))
		{
			if (end - i == 3)
			{
				while (used > 0 && out[--used] != '/')
					;
			}
			if (end == length)
				out[used++] = '/';
		}
		else
		{
			memcpy(out + used, path + i, end - i);
			used += end - i;
		}
		i = end;
	}
	out[used] = '\0';
	return out;
}

/*
 * RFC 3986, 5.2.3.
 */
static char *
merge_paths(const uri_parts *base, const uri_parts *reference)
{
	int keep = base->path_length;

	if (base->authority != NULL && base->path_length == 0)
		return psprintf("/%.*s", reference->path_length, reference->path);
	while (keep > 0 && base->path[keep - 1] != '/')
		keep--;
	return psprintf("%.*s%.*s", keep, base->path, reference->path_length, reference->path);
}

/*
 * Resolves a reference against a base URI (which may be ""); the fragment stays.  palloc'd.
 */
char *
schema_uri_resolve(const char *base, const char *reference)
{
	uri_parts b;
	uri_parts r;
	uri_parts *authority = &b;
	uri_parts *query = &r;
	char *path;
	StringInfoData out;

	parse(base, &b);
	parse(reference, &r);
	if (r.scheme != NULL)
		path = remove_dot_segments(r.path, r.path_length), authority = &r;
	else if (r.authority != NULL)
		path = remove_dot_segments(r.path, r.path_length), authority = &r;
	else if (r.path_length == 0)
	{
		path = pnstrdup(b.path, b.path_length);
		if (r.query == NULL)
			query = &b;
	}
	else if (r.path[0] == '/')
		path = remove_dot_segments(r.path, r.path_length);
	else
	{
		path = merge_paths(&b, &r);
		if (b.scheme != NULL || path[0] == '/')
			path = remove_dot_segments(path, strlen(path));
	}

	initStringInfo(&out);
	if (r.scheme != NULL)
		appendStringInfo(&out, "%.*s:", r.scheme_length, r.scheme);
	else if (b.scheme != NULL)
		appendStringInfo(&out, "%.*s:", b.scheme_length, b.scheme);
	if (authority->authority != NULL)
		appendStringInfo(&out, "//%.*s", authority->authority_length, authority->authority);
	appendStringInfoString(&out, path);
	if (query->query != NULL)
		appendStringInfo(&out, "?%.*s", query->query_length, query->query);
	if (r.fragment != NULL)
		appendStringInfo(&out, "#%s", r.fragment);
	pfree(path);
	return out.data;
}

/*
 * Cuts the fragment off a URI, in place, and returns it; "" when there is none.
 */
char *
schema_uri_split(char *uri)
{
	char *hash = strchr(uri, '#');

	if (hash == NULL)
		return uri + strlen(uri);
	*hash = '\0';
	return hash + 1;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * Text with its percent-encoding undone (malformed escapes stay), terminated, palloc'd; it
 * may hold NUL.
 */
char *
schema_uri_decode(const char *text, int *length)
{
	char *out = palloc(strlen(text) + 1);
	char *end = out;

	for (const char *c = text; *c != '\0'; c++)
	{
		int high = c[0] == '%' ? hex_value(c[1]) : -1;
		int low = high >= 0 ? hex_value(c[2]) : -1;

		if (low >= 0)
		{
			*end++ = (char) (high * 16 + low);
			c += 2;
		}
		else
			*end++ = *c;
	}
	*end = '\0';
	*length = end - out;
	return out;
}
