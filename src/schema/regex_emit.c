/*-------------------------------------------------------------------------
 *
 * regex_emit.c
 *	  A parsed regular expression to the syntax of PostgreSQL's engine.
 *
 * All classes are spelled out as ranges of code points, so that neither the locale nor
 * the encoding of the database has a say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "schema/ascii.h"
#include "schema/pattern.h"

/* PostgreSQL's engine repeats at most so often at a time. */
#define ENGINE_REPEAT_MAX 255

#define EMIT_MAX (1024 * 1024)

typedef struct regex_emitter
{
	pg_wchar *text;
	int length;
	int allocated;
	const char *problem;
} regex_emitter;

static void emit_code(regex_emitter *e, pg_wchar c);
static void emit_text(regex_emitter *e, const char *text);
static void emit_escaped(regex_emitter *e, pg_wchar c);
static void emit_set(regex_emitter *e, const code_set *set);
static void emit_bounds(regex_emitter *e, int minimum, int maximum);
static void emit_repeat(regex_emitter *e, const regex_node *node);
static void emit_node(regex_emitter *e, const regex_node *node);

static void
emit_code(regex_emitter *e, pg_wchar c)
{
	if (e->length >= EMIT_MAX)
	{
		e->problem = "it is too long";
		return;
	}
	if (e->length == e->allocated)
	{
		e->allocated *= 2;
		e->text = repalloc(e->text, sizeof(pg_wchar) * e->allocated);
	}
	e->text[e->length++] = c;
}

static void
emit_text(regex_emitter *e, const char *text)
{
	for (; *text != '\0'; text++)
		emit_code(e, *text);
}

/*
 * A character that means itself, in brackets and outside.
 */
static void
emit_escaped(regex_emitter *e, pg_wchar c)
{
	char text[16];

	if (c < 0x80 && ascii_is_alnum(c))
		emit_code(e, c);
	else
	{
		snprintf(text, sizeof(text), c <= 0xFFFF ? "\\u%04X" : "\\U%08X", c);
		emit_text(e, text);
	}
}

static void
emit_set(regex_emitter *e, const code_set *set)
{
	if (set->count == 0)
	{
		/* matches nothing: beyond all code points */
		emit_text(e, "\\U00110000");
		return;
	}
	if (set->count == 1 && set->ranges[0].first == set->ranges[0].last)
	{
		emit_escaped(e, set->ranges[0].first);
		return;
	}
	emit_code(e, '[');
	for (int i = 0; i < set->count; i++)
	{
		emit_escaped(e, set->ranges[i].first);
		if (set->ranges[i].last > set->ranges[i].first)
		{
			emit_code(e, '-');
			emit_escaped(e, set->ranges[i].last);
		}
	}
	emit_code(e, ']');
}

static void
emit_bounds(regex_emitter *e, int minimum, int maximum)
{
	char text[32];

	if (maximum < 0)
		snprintf(text, sizeof(text), "{%d,}", minimum);
	else
		snprintf(text, sizeof(text), "{%d,%d}", minimum, maximum);
	emit_text(e, text);
}

/*
 * A repetition, cut into as many as the engine's limit demands.
 */
static void
emit_repeat(regex_emitter *e, const regex_node *node)
{
	const regex_node *child = linitial(node->children);
	int minimum = node->minimum;
	int maximum = node->maximum;

	if (maximum == 0)
	{
		emit_text(e, "(?:)");
		return;
	}
	do
	{
		int at_least = Min(minimum, ENGINE_REPEAT_MAX);
		int at_most = maximum < 0 ? -1 : Min(maximum, ENGINE_REPEAT_MAX);

		if (maximum < 0 && minimum > ENGINE_REPEAT_MAX)
			at_most = at_least;
		else if (maximum > ENGINE_REPEAT_MAX && minimum >= ENGINE_REPEAT_MAX)
			at_most = at_least;
		emit_text(e, "(?:");
		emit_node(e, child);
		emit_text(e, ")");
		if (at_least == 0 && at_most < 0)
			emit_code(e, '*');
		else if (at_least == 1 && at_most < 0)
			emit_code(e, '+');
		else if (at_least == 0 && at_most == 1)
			emit_code(e, '?');
		else
			emit_bounds(e, at_least, at_most);
		minimum -= at_least;
		if (maximum >= 0)
			maximum -= at_most;
		else if (at_most < 0)
			break;
	} while (e->problem == NULL && (minimum > 0 || maximum != 0));
}

static void
emit_node(regex_emitter *e, const regex_node *node)
{
	ListCell *cell;

	check_stack_depth();
	switch (node->kind)
	{
		case REGEX_EMPTY:
			emit_text(e, "(?:)");
			break;
		case REGEX_SET:
			emit_set(e, node->set);
			break;
		case REGEX_SEQUENCE:
			if (node->children == NIL)
				emit_text(e, "(?:)");
			foreach (cell, node->children)
				emit_node(e, lfirst(cell));
			break;
		case REGEX_CHOICE:
			emit_text(e, "(?:");
			foreach (cell, node->children)
			{
				if (foreach_current_index(cell) > 0)
					emit_code(e, '|');
				emit_node(e, lfirst(cell));
			}
			emit_code(e, ')');
			break;
		case REGEX_REPEAT:
			emit_repeat(e, node);
			break;
		case REGEX_START:
			emit_text(e, "(?:^)");
			break;
		case REGEX_END:
			emit_text(e, "(?:$)");
			break;
		case REGEX_WORD_BOUNDARY:
			emit_text(e, node->negative ? "\\Y" : "\\y");
			break;
		case REGEX_LOOK:
			emit_text(e, node->behind ? "(?<" : "(?");
			emit_code(e, node->negative ? '!' : '=');
			emit_node(e, linitial(node->children));
			emit_code(e, ')');
			break;
		case REGEX_BACK:
			/* matching them can take exponential time */
			e->problem = "back references are not supported";
			break;
	}
}

/*
 * The pattern for PostgreSQL's engine, palloc'd; NULL and why when it cannot be used.
 */
pg_wchar *
regex_emit(const regex_node *node, int *length, const char **problem)
{
	regex_emitter e = {0};

	e.allocated = 64;
	e.text = palloc(sizeof(pg_wchar) * e.allocated);
	emit_node(&e, node);
	*length = e.length;
	*problem = e.problem;
	return e.problem == NULL ? e.text : NULL;
}
