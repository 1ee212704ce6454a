/*-------------------------------------------------------------------------
 *
 * format_uri.c
 *	  URIs (RFC 3986), IRIs (RFC 3987), URI templates (RFC 6570).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "schema/ascii.h"
#include "schema/formats.h"

#define UNRESERVED_PUNCTUATION "-._~"
#define SUB_DELIMITERS "!$&'()*+,;="

static bool is_international(pg_wchar c, bool in_query);
static bool characters_valid(const char *text, int length, const char *punctuation,
							 bool international, bool in_query);
static bool authority_valid(const char *text, int length, bool international);
static bool reference_valid(const char *text, int length, bool international, bool absolute);
static bool expression_valid(const char *text, int length);

/*
 * The characters that IRIs allow beyond ASCII.
 */
static bool
is_international(pg_wchar c, bool in_query)
{
	if ((c >= 0xA0 && c <= 0xD7FF) || (c >= 0xF900 && c <= 0xFDCF) || (c >= 0xFDF0 && c <= 0xFFEF))
		return true;
	if (c >= 0x10000 && c <= 0xEFFFD)
		return (c & 0xFFFF) <= 0xFFFD && (c < 0xE0000 || c >= 0xE1000);
	return in_query && ((c >= 0xE000 && c <= 0xF8FF) || (c >= 0xF0000 && (c & 0xFFFF) <= 0xFFFD));
}

/*
 * Are all characters letters, digits, percent-encoded, of the punctuation, or allowed in
 * IRIs if it is one?
 */
static bool
characters_valid(const char *text, int length, const char *punctuation, bool international,
				 bool in_query)
{
	const unsigned char *c = (const unsigned char *) text;
	const unsigned char *end = c + length;

	while (c < end)
	{
		if (*c == '%')
		{
			if (end - c < 3 || !ascii_is_hex(c[1]) || !ascii_is_hex(c[2]))
				return false;
			c += 3;
		}
		else if (*c < 0x80)
		{
			if (!ascii_is_alnum(*c) && strchr(UNRESERVED_PUNCTUATION, *c) == NULL &&
				strchr(punctuation, *c) == NULL)
				return false;
			c++;
		}
		else
		{
			int bytes = pg_utf_mblen(c);

			if (!international || c + bytes > end ||
				!is_international(utf8_to_unicode(c), in_query))
				return false;
			c += bytes;
		}
	}
	return true;
}

/*
 * [userinfo@]host[:port]
 */
static bool
authority_valid(const char *text, int length, bool international)
{
	const char *end = text + length;
	const char *at = memchr(text, '@', length);
	const char *port;

	if (at != NULL)
	{
		if (!characters_valid(text, at - text, SUB_DELIMITERS ":", international, false))
			return false;
		text = at + 1;
	}
	if (text < end && *text == '[')
	{
		const char *close = memchr(text, ']', end - text);

		if (close == NULL)
			return false;
		if (text[1] == 'v' || text[1] == 'V')
		{
			const char *dot = memchr(text, '.', close - text);

			if (dot == NULL || dot == text + 2 || dot + 1 == close ||
				!characters_valid(dot + 1, close - dot - 1, SUB_DELIMITERS ":", false, false))
				return false;
			for (const char *c = text + 2; c < dot; c++)
			{
				if (!ascii_is_hex((unsigned char) *c))
					return false;
			}
		}
		else if (!format_is_ipv6(text + 1, close - text - 1))
			return false;
		port = close + 1;
		if (port < end && *port != ':')
			return false;
	}
	else
	{
		port = memchr(text, ':', end - text);
		if (!characters_valid(text, (port == NULL ? end : port) - text, SUB_DELIMITERS,
							  international, false))
			return false;
		if (port == NULL)
			port = end;
	}
	for (const char *c = port + 1; c < end; c++)
	{
		if (*c < '0' || *c > '9')
			return false;
	}
	return true;
}

static bool
reference_valid(const char *text, int length, bool international, bool absolute)
{
	const char *end = text + length;
	const char *c = text;
	const char *stop;
	bool has_scheme = false;
	bool has_authority = false;

	while (c < end && (ascii_is_alnum((unsigned char) *c) || *c == '+' || *c == '-' || *c == '.'))
		c++;
	if (c > text && c < end && *c == ':' && ascii_is_alpha((unsigned char) *text))
	{
		has_scheme = true;
		text = c + 1;
	}
	if (absolute && !has_scheme)
		return false;
	if (end - text >= 2 && text[0] == '/' && text[1] == '/')
	{
		has_authority = true;
		text += 2;
		for (stop = text; stop < end && strchr("/?#", *stop) == NULL; stop++)
			;
		if (!authority_valid(text, stop - text, international))
			return false;
		text = stop;
	}
	for (stop = text; stop < end && *stop != '?' && *stop != '#'; stop++)
	{
		/* the first segment of a relative path must not look like a scheme */
		if (*stop == ':' && !has_scheme && !has_authority && memchr(text, '/', stop - text) == NULL)
			return false;
	}
	if (!characters_valid(text, stop - text, SUB_DELIMITERS ":@/", international, false))
		return false;
	text = stop;
	if (text < end && *text == '?')
	{
		text++;
		for (stop = text; stop < end && *stop != '#'; stop++)
			;
		if (!characters_valid(text, stop - text, SUB_DELIMITERS ":@/?", international, true))
			return false;
		text = stop;
	}
	if (text < end && *text == '#')
		return characters_valid(text + 1, end - text - 1, SUB_DELIMITERS ":@/?", international,
								false);
	return true;
}

bool
format_is_uri(const char *text, int length)
{
	return reference_valid(text, length, false, true);
}

bool
format_is_uri_reference(const char *text, int length)
{
	return reference_valid(text, length, false, false);
}

bool
format_is_iri(const char *text, int length)
{
	return reference_valid(text, length, true, true);
}

bool
format_is_iri_reference(const char *text, int length)
{
	return reference_valid(text, length, true, false);
}

/*
 * What stands in the braces of a template: an operator, then variables.
 */
static bool
expression_valid(const char *text, int length)
{
	const char *end = text + length;

	if (text < end && strchr("+#./;?&=,!@|", *text) != NULL)
		text++;
	for (;;)
	{
		const char *name = text;

		while (text < end && (ascii_is_alnum((unsigned char) *text) || *text == '_' ||
							  *text == '.' || (*text == '%' && end - text >= 3)))
		{
			if (*text == '%')
			{
				if (!ascii_is_hex((unsigned char) text[1]) ||
					!ascii_is_hex((unsigned char) text[2]))
					return false;
				text += 2;
			}
			text++;
		}
		if (text == name || *name == '.' || text[-1] == '.')
			return false;
		for (const char *c = name; c < text; c++)
		{
			if (c[0] == '.' && c[1] == '.')
				return false;
		}
		if (text < end && *text == '*')
			text++;
		else if (text < end && *text == ':')
		{
			const char *digits = ++text;

			while (text < end && ascii_is_digit((unsigned char) *text))
				text++;
			if (text == digits || text - digits > 4 || *digits == '0')
				return false;
		}
		if (text == end)
			return true;
		if (*text++ != ',')
			return false;
	}
}

bool
format_is_uri_template(const char *text, int length)
{
	const char *end = text + length;

	while (text < end)
	{
		if (*text == '{')
		{
			const char *close = memchr(text, '}', end - text);

			if (close == NULL || !expression_valid(text + 1, close - text - 1))
				return false;
			text = close + 1;
		}
		else if ((unsigned char) *text <= ' ' || *text == 0x7F ||
				 strchr("\"<>\\^`|}", *text) != NULL)
			return false;
		else if (*text == '%' && (end - text < 3 || !ascii_is_hex((unsigned char) text[1]) ||
								  !ascii_is_hex((unsigned char) text[2])))
			return false;
		else
			text++;
	}
	return true;
}
