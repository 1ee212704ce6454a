/*-------------------------------------------------------------------------
 *
 * regex_parse.c
 *	  Regular expressions as ECMA-262 writes them, to a tree.
 *
 * The grammar is that of the "u" flag, with three liberties that patterns in the wild take:
 * braces and a closing bracket may stand for themselves, so may a hyphen beside a class in
 * brackets, and punctuation may be escaped without need.  Lazy quantifiers match the same strings as greedy ones.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "schema/ascii.h"
#include "schema/pattern.h"

#define REPEAT_MAX 10000

typedef struct regex_parser
{
	const unsigned char *next;
	const unsigned char *end;
	const char *problem;
	int groups;			/* that capture, so far */
	int last_reference; /* the highest number a back reference names */
	List *names;		/* of groups */
	List *references;	/* names in back references */
} regex_parser;

static regex_node *new_node(regex_kind kind);
static regex_node *new_set(code_set *set);
static regex_node *fail(regex_parser *p, const char *problem);
static pg_wchar next_character(regex_parser *p);
static bool take(regex_parser *p, const char *text);
static int hex_digits(regex_parser *p, int count, pg_wchar *out);
static bool unicode_escape(regex_parser *p, pg_wchar *out);
static bool class_escape(regex_parser *p, code_set *set);
static bool character_escape(regex_parser *p, bool in_class, pg_wchar *out);
static bool class_atom(regex_parser *p, code_set *set, pg_wchar *out, bool *is_set);
static regex_node *parse_class(regex_parser *p);
static regex_node *parse_choice(regex_parser *p);
static char *group_name(regex_parser *p);
static regex_node *parse_back_reference(regex_parser *p);
static bool references_valid(const regex_parser *p);
static regex_node *parse_group(regex_parser *p);
static regex_node *parse_atom(regex_parser *p);
static bool parse_bounds(regex_parser *p, int *minimum, int *maximum);
static regex_node *parse_quantifier(regex_parser *p, regex_node *atom);

static regex_node *
new_node(regex_kind kind)
{
	regex_node *node = palloc0(sizeof(regex_node));

	node->kind = kind;
	return node;
}

static regex_node *
new_set(code_set *set)
{
	regex_node *node = new_node(REGEX_SET);

	node->set = set;
	return node;
}

static regex_node *
fail(regex_parser *p, const char *problem)
{
	if (p->problem == NULL)
		p->problem = problem;
	return NULL;
}

/*
 * The next code point; the pattern is valid UTF-8 and not at its end.
 */
static pg_wchar
next_character(regex_parser *p)
{
	int length = Min(pg_utf_mblen(p->next), (int) (p->end - p->next));
	pg_wchar c = length == pg_utf_mblen(p->next) ? utf8_to_unicode(p->next) : *p->next;

	p->next += length;
	return c;
}

/*
 * Consumes a text if it comes next.
 */
static bool
take(regex_parser *p, const char *text)
{
	int length = strlen(text);

	if (p->end - p->next < length || memcmp(p->next, text, length) != 0)
		return false;
	p->next += length;
	return true;
}

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

	if (take(p, "{"))
		return hex_digits(p, 6, out) > 0 && take(p, "}") && *out <= CODE_POINT_MAX;
	if (hex_digits(p, 4, out) != 4)
		return false;
	if (*out >= 0xD800 && *out <= 0xDBFF)
	{
		const unsigned char *back = p->next;

		if (take(p, "\\u") && hex_digits(p, 4, &low) == 4 && low >= 0xDC00 && low <= 0xDFFF)
			*out = 0x10000 + ((*out - 0xD800) << 10) + (low - 0xDC00);
		else
			p->next = back;
	}
	return true;
}

/*
 * \d \w \s and their opposites, \p{...}; the backslash is consumed.  False: something else.
 */
static bool
class_escape(regex_parser *p, code_set *set)
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
					fail(p, "\\p must be followed by a property in braces");
					return true;
				}
				if (!code_set_add_property(meant, (const char *) name, close - name))
					fail(p, "this Unicode property is not supported; general categories such as "
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
static bool
character_escape(regex_parser *p, bool in_class, pg_wchar *out)
{
	unsigned char letter;

	if (p->next >= p->end)
		return fail(p, "it ends with a backslash"), false;
	letter = *p->next;
	if (letter == 'b' && !in_class)
		return fail(p, "\\b is misplaced"), false;
	if (letter >= 0x80)
		return *out = next_character(p), true;
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
				return fail(p, "octal escapes are not part of ECMA-262"), false;
			return *out = 0, true;
		case 'c':
			if (p->next >= p->end || !ascii_is_alpha(*p->next))
				return fail(p, "\\c must be followed by a letter"), false;
			return *out = *p->next++ & 31, true;
		case 'x':
			if (hex_digits(p, 2, out) != 2)
				return fail(p, "\\x must be followed by two hexadecimal digits"), false;
			return true;
		case 'u':
			if (!unicode_escape(p, out))
				return fail(p, "\\u must be followed by four hexadecimal digits or {...}"), false;
			return true;
		default:
			if (ascii_is_alnum(letter))
				return fail(p, "there is no such escape in ECMA-262"), false;
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
	if (!take(p, "\\"))
		return *out = next_character(p), true;
	*is_set = class_escape(p, set);
	return *is_set ? p->problem == NULL : character_escape(p, true, out);
}

/*
 * A class, its opening bracket consumed.
 */
static regex_node *
parse_class(regex_parser *p)
{
	code_set *set = code_set_new();
	bool negated = take(p, "^");

	for (;;)
	{
		pg_wchar first;
		pg_wchar last;
		bool is_set;

		if (p->next >= p->end)
			return fail(p, "a bracket is not closed");
		if (take(p, "]"))
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
			return fail(p, "a range in brackets is out of order");
		code_set_add(set, first, last);
	}
	return new_set(negated ? code_set_complement(set) : set);
}

/*
 * The name of a group up to its closing bracket, palloc'd.
 */
static char *
group_name(regex_parser *p)
{
	const unsigned char *start = p->next;

	while (p->next < p->end &&
		   (ascii_is_alnum(*p->next) || *p->next == '_' || *p->next == '$' || *p->next >= 0x80))
		p->next++;
	if (p->next == start || ascii_is_digit(*start) || !take(p, ">"))
	{
		fail(p, "the name of a group is not valid");
		return NULL;
	}
	return pnstrdup((const char *) start, p->next - 1 - start);
}

/*
 * \1 or \k<name>, the backslash consumed.
 */
static regex_node *
parse_back_reference(regex_parser *p)
{
	int number = 0;

	if (take(p, "k"))
	{
		char *name;

		if (!take(p, "<"))
			return fail(p, "\\k must be followed by the name of a group in angle brackets");
		name = group_name(p);
		if (name == NULL)
			return NULL;
		p->references = lappend(p->references, name);
	}
	while (p->next < p->end && p->next[-1] != '>' && ascii_is_digit(*p->next))
	{
		number = Min(number * 10 + (*p->next - '0'), 100000);
		p->next++;
	}
	p->last_reference = Max(p->last_reference, number);
	return new_node(REGEX_BACK);
}

/*
 * Is every back reference one to a group there is?
 */
static bool
references_valid(const regex_parser *p)
{
	ListCell *reference;
	ListCell *name;

	foreach (reference, p->references)
	{
		bool found = false;

		foreach (name, p->names)
			found |= strcmp(lfirst(reference), lfirst(name)) == 0;
		if (!found)
			return false;
	}
	return p->last_reference <= p->groups;
}

/*
 * A group or lookaround, its opening parenthesis consumed.
 */
static regex_node *
parse_group(regex_parser *p)
{
	regex_node *look = NULL;
	regex_node *inner;

	if (take(p, "?"))
	{
		if (take(p, ":"))
			;
		else if (take(p, "="))
			look = new_node(REGEX_LOOK);
		else if (take(p, "!"))
		{
			look = new_node(REGEX_LOOK);
			look->negative = true;
		}
		else if (take(p, "<="))
		{
			look = new_node(REGEX_LOOK);
			look->behind = true;
		}
		else if (take(p, "<!"))
		{
			look = new_node(REGEX_LOOK);
			look->behind = look->negative = true;
		}
		else if (take(p, "<"))
		{
			char *name = group_name(p);

			if (name == NULL)
				return NULL;
			p->names = lappend(p->names, name);
			p->groups++;
		}
		else
			return fail(p, "there is no such group in ECMA-262");
	}
	else
		p->groups++;
	inner = parse_choice(p);
	if (inner == NULL)
		return NULL;
	if (!take(p, ")"))
		return fail(p, "a parenthesis is not closed");
	if (look == NULL)
		return inner;
	look->children = list_make1(inner);
	return look;
}

/*
 * An atom or assertion without its quantifier.
 */
static regex_node *
parse_atom(regex_parser *p)
{
	code_set *set = code_set_new();
	regex_node *node;
	pg_wchar c;

	CHECK_FOR_INTERRUPTS();
	if (take(p, "("))
		return parse_group(p);
	if (take(p, "["))
		return parse_class(p);
	if (take(p, "^"))
		return new_node(REGEX_START);
	if (take(p, "$"))
		return new_node(REGEX_END);
	if (take(p, "."))
	{
		code_set_add(set, '\n', '\n');
		code_set_add(set, '\r', '\r');
		code_set_add(set, 0x2028, 0x2029);
		return new_set(code_set_complement(set));
	}
	if (take(p, "\\b") || take(p, "\\B"))
	{
		node = new_node(REGEX_WORD_BOUNDARY);
		node->negative = p->next[-1] == 'B';
		return node;
	}
	if (take(p, "\\"))
	{
		if (p->next < p->end && (*p->next == 'k' || (*p->next >= '1' && *p->next <= '9')))
			return parse_back_reference(p);
		if (class_escape(p, set))
			return p->problem == NULL ? new_set(set) : NULL;
		if (!character_escape(p, false, &c))
			return NULL;
	}
	else
	{
		if (strchr("*+?", *p->next) != NULL)
			return fail(p, "a quantifier has nothing to repeat");
		c = next_character(p);
	}
	code_set_add(set, c, c);
	return new_set(set);
}

/*
 * {n}, {n,} or {n,m}; what looks otherwise is left alone.
 */
static bool
parse_bounds(regex_parser *p, int *minimum, int *maximum)
{
	const unsigned char *back = p->next;
	int64 bounds[2] = {-1, -1};
	int i = 0;

	if (!take(p, "{"))
		return false;
	for (i = 0; i < 2; i++)
	{
		while (p->next < p->end && ascii_is_digit(*p->next))
		{
			bounds[i] = Min(Max(bounds[i], 0) * 10 + (*p->next - '0'), PG_INT32_MAX);
			p->next++;
		}
		if (i == 0 && !take(p, ","))
		{
			bounds[1] = bounds[0];
			break;
		}
	}
	if (bounds[0] < 0 || !take(p, "}"))
	{
		p->next = back;
		return false;
	}
	*minimum = bounds[0];
	*maximum = bounds[1];
	return true;
}

/*
 * An atom with the quantifier that follows it, if one does.
 */
static regex_node *
parse_quantifier(regex_parser *p, regex_node *atom)
{
	regex_node *node;
	int minimum;
	int maximum;

	if (take(p, "*"))
		minimum = 0, maximum = -1;
	else if (take(p, "+"))
		minimum = 1, maximum = -1;
	else if (take(p, "?"))
		minimum = 0, maximum = 1;
	else if (!parse_bounds(p, &minimum, &maximum))
		return atom;
	take(p, "?");
	if (maximum >= 0 && maximum < minimum)
		return fail(p, "the bounds of a quantifier are out of order");
	if (minimum > REPEAT_MAX || maximum > REPEAT_MAX)
		return fail(p, "a quantifier repeats more than 10000 times");
	if (p->next < p->end && strchr("*+?", *p->next) != NULL)
		return fail(p, "a quantifier has nothing to repeat");

	/* an assertion holds once or any number of times alike */
	if (atom->kind >= REGEX_START && atom->kind <= REGEX_LOOK)
		return minimum == 0 ? new_node(REGEX_EMPTY) : atom;
	if (atom->kind == REGEX_EMPTY)
		return atom;
	node = new_node(REGEX_REPEAT);
	node->minimum = minimum;
	node->maximum = maximum;
	node->children = list_make1(atom);
	return node;
}

/*
 * Alternatives up to the end or a closing parenthesis.
 */
static regex_node *
parse_choice(regex_parser *p)
{
	regex_node *choice = new_node(REGEX_CHOICE);
	regex_node *sequence = new_node(REGEX_SEQUENCE);

	check_stack_depth();
	for (;;)
	{
		regex_node *atom;

		if (p->next >= p->end || *p->next == ')' || *p->next == '|')
		{
			choice->children = lappend(choice->children, sequence);
			if (!take(p, "|"))
				break;
			sequence = new_node(REGEX_SEQUENCE);
			continue;
		}
		atom = parse_atom(p);
		if (atom != NULL)
			atom = parse_quantifier(p, atom);
		if (atom == NULL)
			return NULL;
		sequence->children = lappend(sequence->children, atom);
	}
	return list_length(choice->children) == 1 ? linitial(choice->children) : choice;
}

/*
 * Parses a pattern in UTF-8.  Returns NULL and says why when it is not valid.
 */
regex_node *
regex_parse(const char *pattern, int length, const char **problem)
{
	regex_parser p = {0};
	regex_node *node;

	p.next = (const unsigned char *) pattern;
	p.end = p.next + length;
	node = parse_choice(&p);
	if (node != NULL && p.next < p.end)
		node = fail(&p, "a closing parenthesis has no opening one");
	if (node != NULL && !references_valid(&p))
		node = fail(&p, "a back reference names no group");
	*problem = p.problem;
	return node;
}
