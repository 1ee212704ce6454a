/*-------------------------------------------------------------------------
 *
 * secret_spelling.c
 *	  Secrets recognized in a text, however that spells them.
 *
 * What repeats a secret may do so percent-encoded, as URLs and forms are, once or twice, in
 * upper or lower case, all of it or what needs it; with the escapes of a JSON string; with
 * the character references of HTML.  That is too many spellings to list them, so the text is
 * read character by character, each of which may be spelled in any of these ways.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "extract/source/secret_spelling.h"

/*
 * A backslash, say, can be itself or begin an escape, so that a text may spell the beginning
 * of a secret in several ways of different length.  That many are followed at once; only a
 * secret that itself looks escaped comes near.
 */
#define ENDS_MAX 64

/* Characters in UTF-8 have up to four bytes. */
#define CHARACTER_BYTES 4

/* What one way to spell characters makes of the beginning of a text. */
typedef struct spelled
{
	size_t size; /* bytes of the text; 0: it is not spelled so */
	size_t length;
	unsigned char bytes[CHARACTER_BYTES]; /* in UTF-8 */
} spelled;

/* Where a beginning of the secret ends in the text; sorted. */
typedef struct ends
{
	int count;
	size_t at[ENDS_MAX];
} ends;

typedef spelled (*spelling)(const char *text, const char *end);

static bool read_number(const char *text, const char *end, int base, int count, pg_wchar *out);
static spelled one_byte(size_t size, unsigned char byte);
static spelled one_character(size_t size, pg_wchar c);
static spelled percent(const char *text, const char *end);
static spelled percent_twice(const char *text, const char *end);
static spelled plus(const char *text, const char *end);
static spelled json_escape(const char *text, const char *end);
static spelled html_reference(const char *text, const char *end);
static void add_end(ends *set, size_t at);

static const spelling ways[] = {percent_twice, percent, plus, json_escape, html_reference};

/*
 * Reads count digits.
 */
static bool
read_number(const char *text, const char *end, int base, int count, pg_wchar *out)
{
	*out = 0;
	if (end - text < count)
		return false;
	for (int i = 0; i < count; i++)
	{
		char c = text[i];
		int digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (base == 16 && ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'))
			digit = (c | 0x20) - 'a' + 10;
		else
			return false;
		*out = *out * base + digit;
	}
	return true;
}

static spelled
one_byte(size_t size, unsigned char byte)
{
	spelled result = {.size = size, .length = 1, .bytes = {byte}};

	return result;
}

static spelled
one_character(size_t size, pg_wchar c)
{
	spelled result = {.size = size};

	if (c > 0x10FFFF)
		result.size = 0;
	else
	{
		unicode_to_utf8(c, result.bytes);
		result.length = pg_utf_mblen(result.bytes);
	}
	return result;
}

/* %2F */
static spelled
percent(const char *text, const char *end)
{
	pg_wchar byte;

	if (*text != '%' || !read_number(text + 1, end, 16, 2, &byte))
		return one_byte(0, 0);
	return one_byte(3, byte);
}

/* %252F, in a URL that is a parameter of another */
static spelled
percent_twice(const char *text, const char *end)
{
	pg_wchar byte;

	if (end - text < 5 || memcmp(text, "%25", 3) != 0 || !read_number(text + 3, end, 16, 2, &byte))
		return one_byte(0, 0);
	return one_byte(5, byte);
}

/* + for a blank, as forms have it */
static spelled
plus(const char *text, const char *end)
{
	return one_byte(*text == '+' ? 1 : 0, ' ');
}

/* \/ or \u002f */
static spelled
json_escape(const char *text, const char *end)
{
	static const char letters[] = "\"\\/bfnrt";
	static const char meant[] = "\"\\/\b\f\n\r\t";
	const char *letter;
	pg_wchar first;
	pg_wchar second;

	if (*text != '\\' || end - text < 2 || text[1] == '\0')
		return one_byte(0, 0);
	letter = strchr(letters, text[1]);
	if (letter != NULL)
		return one_byte(2, meant[letter - letters]);
	if (text[1] != 'u' || !read_number(text + 2, end, 16, 4, &first))
		return one_byte(0, 0);
	if (!is_utf16_surrogate_first(first))
		return one_character(6, first);
	if (end - text < 12 || text[6] != '\\' || text[7] != 'u' ||
		!read_number(text + 8, end, 16, 4, &second) || !is_utf16_surrogate_second(second))
		return one_byte(0, 0);
	return one_character(12, surrogate_pair_to_codepoint(first, second));
}

/* &amp; or &#38; or &#x26; */
static spelled
html_reference(const char *text, const char *end)
{
	static const struct
	{
		const char *reference;
		unsigned char byte;
	} names[] = {
		{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''},
	};
	int base = 10;
	const char *digits = text + 2;
	pg_wchar c;

	if (*text != '&')
		return one_byte(0, 0);
	for (int i = 0; i < lengthof(names); i++)
	{
		size_t size = strlen(names[i].reference);

		if (size <= end - text && memcmp(text, names[i].reference, size) == 0)
			return one_byte(size, names[i].byte);
	}
	if (end - text < 3 || text[1] != '#')
		return one_byte(0, 0);
	if ((*digits | 0x20) == 'x')
	{
		base = 16;
		digits++;
	}
	for (int count = 7; count > 0; count--)
	{
		if (digits + count < end && digits[count] == ';' &&
			read_number(digits, end, base, count, &c))
			return one_character(digits + count + 1 - text, c);
	}
	return one_byte(0, 0);
}

/*
 * Adds an end; of too many the shortest stay, the literal one among them.
 */
static void
add_end(ends *set, size_t at)
{
	int i = set->count;

	while (i > 0 && set->at[i - 1] > at)
		i--;
	if ((i > 0 && set->at[i - 1] == at) || i == ENDS_MAX)
		return;
	set->count = Min(set->count + 1, ENDS_MAX);
	memmove(&set->at[i + 1], &set->at[i], sizeof(size_t) * (set->count - i - 1));
	set->at[i] = at;
}

/*
 * How many bytes at the beginning of a text (UTF-8) spell a secret; 0: they do not.
 */
size_t
secret_spelled_at(const char *text, size_t length, const char *secret)
{
	/* for so much of the secret, and the next few bytes */
	ends reached[CHARACTER_BYTES + 1];
	const char *end = text + length;
	size_t secret_length;
	size_t furthest = 0;
	const ends *all;

	if (length == 0 || *secret == '\0' ||
		(*text != *secret && (*text == '\0' || strchr("%+\\&", *text) == NULL)))
		return 0;
	secret_length = strlen(secret);
	for (int i = 0; i < lengthof(reached); i++)
		reached[i].count = 0;
	add_end(&reached[0], 0);
	for (size_t i = 0; i < secret_length; i++)
	{
		ends *here = &reached[i % lengthof(reached)];

		if (i > furthest)
			return 0;
		for (int e = 0; e < here->count && here->at[e] < length; e++)
		{
			const char *c = text + here->at[e];

			if (*c == secret[i])
			{
				add_end(&reached[(i + 1) % lengthof(reached)], here->at[e] + 1);
				furthest = Max(furthest, i + 1);
			}
			for (int w = 0; w < lengthof(ways) && strchr("%+\\&", *c) != NULL; w++)
			{
				spelled way = ways[w](c, end);

				if (way.size == 0 || way.length > secret_length - i ||
					memcmp(secret + i, way.bytes, way.length) != 0)
					continue;
				add_end(&reached[(i + way.length) % lengthof(reached)], here->at[e] + way.size);
				furthest = Max(furthest, i + way.length);
			}
		}
		here->count = 0;
	}
	all = &reached[secret_length % lengthof(reached)];
	return all->count > 0 ? all->at[all->count - 1] : 0;
}

/*
 * Secrets as a text may be searched for: those that are not shorter than so many bytes, and
 * what is base64 without its padding and in the alphabet of URLs, too.  A List of char *.
 */
List *
secret_spellings(List *secrets, size_t shortest)
{
	List *result = NIL;
	ListCell *cell;

	foreach (cell, secrets)
	{
		char *secret = lfirst(cell);
		size_t length = strlen(secret);
		size_t bare = length;

		if (length < shortest)
			continue;
		result = lappend(result, secret);
		while (bare > shortest && secret[bare - 1] == '=')
			bare--;
		if (strspn(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") <
			bare)
			continue;
		if (bare < length)
			result = lappend(result, pnstrdup(secret, bare));
		if (memchr(secret, '+', bare) != NULL || memchr(secret, '/', bare) != NULL)
		{
			char *for_url = pnstrdup(secret, bare);

			for (char *c = for_url; *c != '\0'; c++)
				*c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
			result = lappend(result, for_url);
		}
	}
	return result;
}
