/*-------------------------------------------------------------------------
 *
 * redact.c
 *	  Secrets out of what is shown and kept.
 *
 * A source may repeat what it was sent: in an error, in the link to its next page.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "extract/source/credentials.h"
#include "extract/source/secret_spelling.h"
#include "extract/source/source.h"

/* Shorter ones cannot be told from ordinary text, or from ordinary parameters. */
#define MIN_SECRET_BYTES 4
#define MIN_PARAMETER_BYTES 8

/* The secrets of a source as they are, the former ones too: a List of char *. */
static List *
known_secrets(const source *from)
{
	const credentials *generations[] = {from->credentials, from->former_credentials};
	List *secrets = NIL;

	for (int i = 0; i < lengthof(generations); i++)
	{
		if (generations[i] == NULL)
			continue;
		secrets = list_concat(secrets, generations[i]->secrets);
		if (generations[i]->oauth != NULL)
			secrets = list_concat(secrets, oauth_known_tokens(generations[i]->oauth));
	}
	return secrets;
}

/*
 * The first bytes of a text with every secret of the source replaced by ***, palloc'd,
 * NUL-terminated; NULs in it become blanks.  At most "limit" bytes, so that a secret at
 * the end is hidden and not cut in two.
 */
char *
source_excerpt(const source *from, const char *text, size_t length, size_t limit)
{
	List *hidden = secret_spellings(known_secrets(from), MIN_SECRET_BYTES);
	StringInfoData out;
	size_t at = 0;

	initStringInfo(&out);
	while (at < length && out.len < limit)
	{
		size_t found = 0;
		ListCell *cell;

		foreach (cell, hidden)
		{
			size_t size = secret_spelled_at(text + at, length - at, lfirst(cell));

			found = Max(found, size);
		}
		if (found > 0)
			appendStringInfoString(&out, "***");
		else
			appendStringInfoChar(&out, text[at] != '\0' ? text[at] : ' ');
		at += Max(found, 1);
	}
	return out.data;
}

/*
 * A palloc'd copy of a text in which every secret of the source is ***.
 */
char *
source_hide_secrets(const source *from, const char *text)
{
	return source_excerpt(from, text, strlen(text), SIZE_MAX);
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* A part of a query, decoded. */
static char *
decode(const char *text, size_t length)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	char *result = palloc(length + 1);
	char *out = result;

	for (size_t i = 0; i < length; i++)
	{
		if (text[i] == '%' && i + 2 < length && strchr(digits, text[i + 1]) != NULL &&
			strchr(digits, text[i + 2]) != NULL)
		{
			*out++ = (char) (hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
			i += 2;
		}
		else
			*out++ = text[i] == '+' ? ' ' : text[i];
	}
	*out = '\0';
	return result;
}

/* Is a parameter of a query the one for the key, or is its value a secret? */
static bool
holds_credentials(const source *from, List *secrets, const char *parameter, size_t length)
{
	const char *equals = memchr(parameter, '=', length);
	size_t name_length = equals != NULL ? equals - parameter : length;
	const char *key_parameter = from->credentials ? from->credentials->parameter : NULL;
	ListCell *cell;

	if (key_parameter != NULL && pg_strcasecmp(decode(parameter, name_length), key_parameter) == 0)
		return true;
	if (equals == NULL)
		return false;
	length -= name_length + 1;
	foreach (cell, secrets)
	{
		size_t size = secret_spelled_at(equals + 1, length, lfirst(cell));

		if (size > 0 && size == length)
			return true;
	}
	return false;
}

/*
 * A URL without the parameters that hold credentials: the one that takes the key, and any
 * whose value is a secret of the source.  Its fragment, which is never sent, goes as well.
 * The rest is as it was; palloc'd.  For links that a source gives: they are kept and shown.
 */
char *
source_without_credentials(const source *from, const char *url)
{
	size_t end = strcspn(url, "#");
	const char *query = memchr(url, '?', end);
	List *secrets = secret_spellings(known_secrets(from), MIN_PARAMETER_BYTES);
	StringInfoData out;
	char before = '?';

	if (query == NULL)
		return pnstrdup(url, end);
	initStringInfo(&out);
	appendBinaryStringInfo(&out, url, query - url);
	for (const char *at = query + 1; at <= url + end;)
	{
		size_t length = Min(strcspn(at, "&"), (size_t) (url + end - at));

		if (!holds_credentials(from, secrets, at, length))
		{
			appendStringInfoChar(&out, before);
			appendBinaryStringInfo(&out, at, length);
			before = '&';
		}
		at += length + 1;
	}
	return out.data;
}
