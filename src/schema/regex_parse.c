/*-------------------------------------------------------------------------
 *
 * regex_parse.c
 *	  Regular expressions as ECMA-262 writes them, to a tree.
 *
 * The grammar is that of the "u" flag, with three liberties that patterns in the wild take:
 * braces and a closing bracket may stand for themselves, so may a hyphen beside a class in
 * brackets, and punctuation may be escaped without need.  Lazy quantifiers match the same strings
 * as greedy ones.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "schema/ascii.h"
#include "schema/regex_parser.h"

#define REPEAT_MAX 10000

static regex_node *new_node(regex_kind kind);
static regex_node *parse_choice(regex_parser *p);
static bool is_quantifier(unsigned char c);
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

/*
 * A node that takes one character of a set.
 */
regex_node *
regex_new_set(code_set *set)
{
	regex_node *node = new_node(REGEX_SET);

	node->set = set;
	return node;
}

/*
 * Notes what is wrong with the pattern, the first time; returns NULL.
 */
regex_node *
regex_fail(regex_parser *p, const char *problem)
{
	if (p->problem == NULL)
		p->problem = problem;
	return NULL;
}

/*
 * The next code point; the pattern is valid UTF-8 and not at its end.
 */
pg_wchar
regex_next(regex_parser *p)
{
	int length = Min(pg_utf_mblen(p->next), (int) (p->end - p->next));
	pg_wchar c = length == pg_utf_mblen(p->next) ? utf8_to_unicode(p->next) : *p->next;

	p->next += length;
	return c;
}

/*
 * Consumes a text if it comes next.
 */
bool
regex_take(regex_parser *p, const char *text)
{
	int length = strlen(text);

	if (p->end - p->next < length || memcmp(p->next, text, length) != 0)
		return false;
	p->next += length;
	return true;
}

static bool
is_quantifier(unsigned char c)
{
	return c == '*' || c == '+' || c == '?';
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
	if (p->next == start || ascii_is_digit(*start) || !regex_take(p, ">"))
	{
		regex_fail(p, "the name of a group is not valid");
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

	if (regex_take(p, "k"))
	{
		char *name;

		if (!regex_take(p, "<"))
			return regex_fail(p, "\\k must be followed by the name of a group in angle brackets");
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

	if (regex_take(p, "?"))
	{
		if (regex_take(p, ":"))
			;
		else if (regex_take(p, "="))
			look = new_node(REGEX_LOOK);
		else if (regex_take(p, "!"))
		{
			look = new_node(REGEX_LOOK);
			look->negative = true;
		}
		else if (regex_take(p, "<="))
		{
			look = new_node(REGEX_LOOK);
			look->behind = true;
		}
		else if (regex_take(p, "<!"))
		{
			look = new_node(REGEX_LOOK);
			look->behind = look->negative = true;
		}
		else if (regex_take(p, "<"))
		{
			char *name = group_name(p);

			if (name == NULL)
				return NULL;
			p->names = lappend(p->names, name);
			p->groups++;
		}
		else
			return regex_fail(p, "there is no such group in ECMA-262");
	}
	else
		p->groups++;
	inner = parse_choice(p);
	if (inner == NULL)
		return NULL;
	if (!regex_take(p, ")"))
		return regex_fail(p, "a parenthesis is not closed");
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
	if (regex_take(p, "("))
		return parse_group(p);
	if (regex_take(p, "["))
		return regex_parse_class(p);
	if (regex_take(p, "^"))
		return new_node(REGEX_START);
	if (regex_take(p, "$"))
		return new_node(REGEX_END);
	if (regex_take(p, "."))
	{
		code_set_add(set, '\n', '\n');
		code_set_add(set, '\r', '\r');
		code_set_add(set, 0x2028, 0x2029);
		return regex_new_set(code_set_complement(set));
	}
	if (regex_take(p, "\\b") || regex_take(p, "\\B"))
	{
		node = new_node(REGEX_WORD_BOUNDARY);
		node->negative = p->next[-1] == 'B';
		return node;
	}
	if (regex_take(p, "\\"))
	{
		if (p->next < p->end && (*p->next == 'k' || (*p->next >= '1' && *p->next <= '9')))
			return parse_back_reference(p);
		if (regex_class_escape(p, set))
			return p->problem == NULL ? regex_new_set(set) : NULL;
		if (!regex_character_escape(p, false, &c))
			return NULL;
	}
	else
	{
		if (is_quantifier(*p->next))
			return regex_fail(p, "a quantifier has nothing to repeat");
		c = regex_next(p);
	}
	code_set_add(set, c, c);
	return regex_new_set(set);
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

	if (!regex_take(p, "{"))
		return false;
	for (i = 0; i < 2; i++)
	{
		while (p->next < p->end && ascii_is_digit(*p->next))
		{
			bounds[i] = Min(Max(bounds[i], 0) * 10 + (*p->next - '0'), PG_INT32_MAX);
			p->next++;
		}
		if (i == 0 && !regex_take(p, ","))
		{
			bounds[1] = bounds[0];
			break;
		}
	}
	if (bounds[0] < 0 || !regex_take(p, "}"))
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

	if (regex_take(p, "*"))
		minimum = 0, maximum = -1;
	else if (regex_take(p, "+"))
		minimum = 1, maximum = -1;
	else if (regex_take(p, "?"))
		minimum = 0, maximum = 1;
	else if (!parse_bounds(p, &minimum, &maximum))
		return atom;
	regex_take(p, "?");
	if (maximum >= 0 && maximum < minimum)
		return regex_fail(p, "the bounds of a quantifier are out of order");
	if (minimum > REPEAT_MAX || maximum > REPEAT_MAX)
		return regex_fail(p, "a quantifier repeats more than 10000 times");
	if (p->next < p->end && is_quantifier(*p->next))
		return regex_fail(p, "a quantifier has nothing to repeat");

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
			if (!regex_take(p, "|"))
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
		node = regex_fail(&p, "a closing parenthesis has no opening one");
	if (node != NULL && !references_valid(&p))
		node = regex_fail(&p, "a back reference names no group");
	*problem = p.problem;
	return node;
}
