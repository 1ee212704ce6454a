/*-------------------------------------------------------------------------
 *
 * regex_class.c
 *	  Escapes and classes in brackets, parsed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "schema/ascii.h"
#include "schema/regex_parser.h"

static int hex_digits(regex_parser *p, int count, pg_wchar *out);
static bool unicode_escape(regex_parser *p, pg_wchar *out);
static bool class_atom(regex_parser *p, code_set *set, pg_wchar *out, bool *is_set);

/*
 * Reads up to count hexadecimal digits; returns how many there were.
 */
static int
hex_digits(regex_parser *p, int count, pg_wchar *out)
{
	int i;

	*out = 0;
	for (i = 0; i < count && p->next < p->end && ascii_is_hex(*p->next); i++, p->next++)
		*out = *out * 16 + (*p->next <= '9' ? *p->next - '0' : (*p->next | 32) - 'a' + 10);
	return i;
}

/*
 * What follows \u: four digits, two such escapes as a surrogate pair, or {digits}.
 */
static bool
unicode_escape(regex_parser *p, pg_wchar *out)
{
	pg_wchar low;

	if (regex_take(p, "{"))
		return hex_digits(p, 6, out) > 0 && regex_take(p, "}") && *out <= CODE_POINT_MAX;
	if (hex_digits(p, 4, out) != 4)
		return false;
	if (*out >= 0xD800 && *out <= 0xDBFF)
	{
		const unsigned char *back = p->next;

		if (regex_take(p, "\\u") && hex_digits(p, 4, &low) == 4 && low >= 0xDC00 && low <= 0xDFFF)
			*out = 0x10000 + ((*out - 0xD800) << 10) + (low - 0xDC00);
		else
			p->next = back;
	}
	return true;
}

/*
 * \d \w \s and their opposites, \p{...}; the backslash is consumed.  False: something else.
 */
bool
regex_class_escape(regex_parser *p, code_set *set)
{
	code_set *meant = code_set_new();
	unsigned char letter = p->next < p->end ? *p->next : 0;

	switch (letter)
	{
		case 'd':
		case 'D':
			code_set_add(meant, '0', '9');
			break;
		case 'w':
		case 'W':
			code_set_add(meant, '0', '9');
			code_set_add(meant, 'A', 'Z');
			code_set_add(meant, '_', '_');
			code_set_add(meant, 'a', 'z');
			break;
		case 's':
		case 'S':
			code_set_add(meant, '\t', '\r');
			code_set_add(meant, ' ', ' ');
			code_set_add(meant, 0xA0, 0xA0);
			code_set_add(meant, 0x1680, 0x1680);
			code_set_add(meant, 0x2000, 0x200A);
			code_set_add(meant, 0x2028, 0x2029);
			code_set_add(meant, 0x202F, 0x202F);
			code_set_add(meant, 0x205F, 0x205F);
			code_set_add(meant, 0x3000, 0x3000);
			code_set_add(meant, 0xFEFF, 0xFEFF);
			break;
		case 'p':
		case 'P':
		{
			const unsigned char *name = p->next + 2;
			const unsigned char *close;

			if (p->end - p->next < 3 || p->next[1] != '{' ||
				(close = memchr(name, '}', p->end - name)) == NULL)
			{
				regex_fail(p, "\\p must be followed by a property in braces");
				return true;
			}
			if (!code_set_add_property(meant, (const char *) name, close - name))
				regex_fail(p, "this Unicode property is not supported; general categories such as "
							  "\\p{L} or \\p{Lu} are");
			p->next = close;
			break;
		}
		default:
			return false;
	}
	p->next++;
	code_set_union(set, letter >= 'a' ? meant : code_set_complement(meant));
	return true;
}

/*
 * An escape that means one character; the backslash is consumed.
 */
bool
regex_character_escape(regex_parser *p, bool in_class, pg_wchar *out)
{
	unsigned char letter;

	if (p->next >= p->end)
		return regex_fail(p, "it ends with a backslash"), false;
	letter = *p->next;
	if (letter == 'b' && !in_class)
		return regex_fail(p, "\\b is misplaced"), false;
	if (letter >= 0x80)
		return *out = regex_next(p), true;
	p->next++;
	switch (letter)
	{
		case 'b':
			return *out = '\b', true;
		case 'f':
			return *out = '\f', true;
		case 'n':
			return *out = '\n', true;
		case 'r':
			return *out = '\r', true;
		case 't':
			return *out = '\t', true;
		case 'v':
			return *out = '\v', true;
		case '0':
			if (p->next < p->end && ascii_is_digit(*p->next))
				return regex_fail(p, "octal escapes are not part of ECMA-262"), false;
			return *out = 0, true;
		case 'c':
			if (p->next >= p->end || !ascii_is_alpha(*p->next))
				return regex_fail(p, "\\c must be followed by a letter"), false;
			return *out = *p->next++ & 31, true;
		case 'x':
			if (hex_digits(p, 2, out) != 2)
				return regex_fail(p, "\\x must be followed by two hexadecimal digits"), false;
			return true;
		case 'u':
			if (!unicode_escape(p, out))
				return regex_fail(p, "\\u must be followed by four hexadecimal digits or {...}"),
					   false;
			return true;
		default:
			if (ascii_is_alnum(letter))
				return regex_fail(p, "there is no such escape in ECMA-262"), false;
			return *out = letter, true;
	}
}

/*
 * One atom of a class: a set added to set, or a character.
 */
static bool
class_atom(regex_parser *p, code_set *set, pg_wchar *out, bool *is_set)
{
	*is_set = false;
	if (!regex_take(p, "\\"))
		return *out = regex_next(p), true;
	*is_set = regex_class_escape(p, set);
	return *is_set ? p->problem == NULL : regex_character_escape(p, true, out);
}

/*
 * A class, its opening bracket consumed.
 */
regex_node *
regex_parse_class(regex_parser *p)
{
	code_set *set = code_set_new();
	bool negated = regex_take(p, "^");

	for (;;)
	{
		pg_wchar first;
		pg_wchar last;
		bool is_set;

		if (p->next >= p->end)
			return regex_fail(p, "a bracket is not closed");
		if (regex_take(p, "]"))
			break;
		if (!class_atom(p, set, &first, &is_set))
			return NULL;
		if (!is_set)
			code_set_add(set, first, first);
		if (is_set || p->end - p->next < 2 || p->next[0] != '-' || p->next[1] == ']')
			continue;
		p->next++;
		if (!class_atom(p, set, &last, &is_set))
			return NULL;
		if (is_set)
		{
			code_set_add(set, '-', '-');
			continue;
		}
		if (last < first)
			return regex_fail(p, "a range in brackets is out of order");
		code_set_add(set, first, last);
	}
	return regex_new_set(negated ? code_set_complement(set) : set);
}
