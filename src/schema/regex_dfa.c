/*-------------------------------------------------------------------------
 *
 * regex_dfa.c
 *	  Plain regular expressions as a table: one look-up a character.
 *
 * Most patterns of schemas are short and have neither lookaround nor word boundaries;
 * PostgreSQL's engine spends more on setting up a match of those than on the match.  What
 * does not fit into a small table is left to it.
 *
 * A state of the table is a set of states of a nondeterministic automaton (Thompson's), to
 * which the first one is added at every position, since a match may begin anywhere.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "schema/regex_dfa.h"

#define NFA_MAX 2000
#define DFA_MAX 256
#define CLASSES_MAX 128
#define ASCII 128

typedef enum nfa_kind
{
	NFA_SET,
	NFA_SPLIT, /* to next and other */
	NFA_START,
	NFA_END,
	NFA_MATCH,
} nfa_kind;

typedef struct nfa_state
{
	nfa_kind kind;
	int next;
	int other;
	const code_set *set;
} nfa_state;

typedef struct state_set
{
	int count;
	uint32 hash;
	bool at_start;
	int *states;
} state_set;

typedef struct dfa_builder
{
	nfa_state *nfa;
	int nfa_count;
	int start;
	bool failed;

	int *marks; /* which closure a state was last seen in */
	int mark;
	int *stack;

	state_set *sets;
	schema_dfa *dfa;
} dfa_builder;

struct schema_dfa
{
	int class_count;
	uint8 ascii_class[ASCII];
	int boundary_count; /* beyond ASCII: sorted starts of ranges of one class each */
	pg_wchar *boundaries;
	uint8 *boundary_class;
	int state_count;
	int16 *next;   /* by state and class */
	uint8 *accept; /* by state */
};

#define ACCEPT_HERE 1
#define ACCEPT_AT_END 2
#define DEAD 4

static int add_state(dfa_builder *b, nfa_kind kind, int next, int other);
static int build_node(dfa_builder *b, const regex_node *node, int next);
static int build_repeat(dfa_builder *b, const regex_node *node, int next);
static int compare_points(const void *a, const void *b);
static bool build_classes(dfa_builder *b);
static void closure(dfa_builder *b, int from, bool at_start, bool at_end, state_set *out);
static int find_state(dfa_builder *b, state_set *set);
static void describe_state(dfa_builder *b, int state);
static bool build_table(dfa_builder *b, const pg_wchar *representatives);

static int
add_state(dfa_builder *b, nfa_kind kind, int next, int other)
{
	nfa_state *state;

	if (b->nfa_count >= NFA_MAX)
	{
		b->failed = true;
		return 0;
	}
	state = &b->nfa[b->nfa_count];
	state->kind = kind;
	state->next = next;
	state->other = other;
	state->set = NULL;
	return b->nfa_count++;
}

/*
 * The states of a repetition: as many copies as its bounds say, a loop if it has no end.
 */
static int
build_repeat(dfa_builder *b, const regex_node *node, int next)
{
	const regex_node *child = linitial(node->children);
	int state = next;

	if (node->maximum < 0)
	{
		int loop = add_state(b, NFA_SPLIT, 0, next);

		b->nfa[loop].next = build_node(b, child, loop);
		state = loop;
	}
	for (int i = node->minimum; i < node->maximum && !b->failed; i++)
		state = add_state(b, NFA_SPLIT, build_node(b, child, state), next);
	for (int i = 0; i < node->minimum && !b->failed; i++)
		state = build_node(b, child, state);
	return state;
}

/*
 * The states of a node, built from behind; returns the first.
 */
static int
build_node(dfa_builder *b, const regex_node *node, int next)
{
	int state = next;

	check_stack_depth();
	if (b->failed)
		return 0;
	switch (node->kind)
	{
		case REGEX_EMPTY:
			break;
		case REGEX_SET:
			state = add_state(b, NFA_SET, next, 0);
			b->nfa[state].set = node->set;
			break;
		case REGEX_SEQUENCE:
			for (int i = list_length(node->children) - 1; i >= 0; i--)
				state = build_node(b, list_nth(node->children, i), state);
			break;
		case REGEX_CHOICE:
			state = build_node(b, linitial(node->children), next);
			for (int i = 1; i < list_length(node->children); i++)
				state =
					add_state(b, NFA_SPLIT, state, build_node(b, list_nth(node->children, i), next));
			break;
		case REGEX_REPEAT:
			state = build_repeat(b, node, next);
			break;
		case REGEX_START:
			state = add_state(b, NFA_START, next, 0);
			break;
		case REGEX_END:
			state = add_state(b, NFA_END, next, 0);
			break;
		default:
			b->failed = true;
			break;
	}
	return state;
}

static int
compare_points(const void *a, const void *b)
{
	pg_wchar point_a = *(const pg_wchar *) a;
	pg_wchar point_b = *(const pg_wchar *) b;

	return point_a < point_b ? -1 : point_a > point_b;
}

/*
 * Cuts the code points into classes that no set of the pattern tells apart.  Adjacent
 * ranges only are joined: sets of many ranges exceed the limit and fail.
 */
static bool
build_classes(dfa_builder *b)
{
	schema_dfa *dfa = b->dfa;
	pg_wchar *points;
	pg_wchar representatives[CLASSES_MAX];
	int count = 0;
	int used = 0;

	for (int i = 0; i < b->nfa_count; i++)
		count += b->nfa[i].set == NULL ? 0 : 2 * b->nfa[i].set->count;
	points = palloc(sizeof(pg_wchar) * (count + 2));
	count = 0;
	points[count++] = 0;
	points[count++] = ASCII;
	for (int i = 0; i < b->nfa_count; i++)
	{
		const code_set *set = b->nfa[i].set;

		for (int r = 0; set != NULL && r < set->count; r++)
		{
			points[count++] = set->ranges[r].first;
			points[count++] = set->ranges[r].last + 1;
		}
	}
	qsort(points, count, sizeof(pg_wchar), compare_points);
	for (int i = 1; i < count; i++)
	{
		if (points[i] != points[used] && points[i] <= CODE_POINT_MAX)
			points[++used] = points[i];
	}
	count = used + 1;

	dfa->boundaries = palloc(sizeof(pg_wchar) * count);
	dfa->boundary_class = palloc(count);
	for (int i = 0; i < count; i++)
	{
		int class;

		CHECK_FOR_INTERRUPTS();
		/* a class seen before has the same sets */
		for (class = 0; class < dfa->class_count; class ++)
		{
			bool same = true;

			for (int s = 0; s < b->nfa_count && same; s++)
				same = b->nfa[s].set == NULL ||
					   code_set_contains(b->nfa[s].set, points[i]) ==
						   code_set_contains(b->nfa[s].set, representatives[class]);
			if (same)
				break;
		}
		if (class == dfa->class_count)
		{
			if (class == CLASSES_MAX)
				return false;
			representatives[dfa->class_count++] = points[i];
		}
		if (points[i] >= ASCII)
		{
			dfa->boundaries[dfa->boundary_count] = points[i];
			dfa->boundary_class[dfa->boundary_count++] = class;
			continue;
		}
		for (int c = points[i]; c < ASCII && (i + 1 >= count || c < points[i + 1]); c++)
			dfa->ascii_class[c] = class;
	}
	return build_table(b, representatives);
}

/*
 * Adds to a set all states that a state leads to without a character.
 */
static void
closure(dfa_builder *b, int from, bool at_start, bool at_end, state_set *out)
{
	int depth = 0;

	b->stack[depth++] = from;
	while (depth > 0)
	{
		int state = b->stack[--depth];
		const nfa_state *n = &b->nfa[state];

		if (b->marks[state] == b->mark)
			continue;
		b->marks[state] = b->mark;
		switch (n->kind)
		{
			case NFA_SPLIT:
				b->stack[depth++] = n->other;
				b->stack[depth++] = n->next;
				break;
			case NFA_START:
				if (at_start)
					b->stack[depth++] = n->next;
				break;
			case NFA_END:
				if (at_end)
					b->stack[depth++] = n->next;
				else
					out->states[out->count++] = state;
				break;
			default:
				out->states[out->count++] = state;
				break;
		}
	}
}

/*
 * The number of a set of states, new or known; -1 when there are too many.
 */
static int
find_state(dfa_builder *b, state_set *set)
{
	schema_dfa *dfa = b->dfa;
	state_set *added;

	set->hash = hash_bytes((const unsigned char *) set->states, sizeof(int) * set->count);
	for (int i = 0; i < dfa->state_count; i++)
	{
		const state_set *known = &b->sets[i];

		if (known->hash == set->hash && known->count == set->count && !known->at_start &&
			!set->at_start &&
			memcmp(known->states, set->states, sizeof(int) * set->count) == 0)
			return i;
	}
	if (dfa->state_count == DFA_MAX)
		return -1;
	added = &b->sets[dfa->state_count];
	*added = *set;
	added->states = palloc(sizeof(int) * Max(set->count, 1));
	memcpy(added->states, set->states, sizeof(int) * set->count);
	describe_state(b, dfa->state_count);
	return dfa->state_count++;
}

/*
 * Does a state accept, here or at the end?
 */
static void
describe_state(dfa_builder *b, int state)
{
	const state_set *set = &b->sets[state];
	state_set at_end = {.states = palloc(sizeof(int) * b->nfa_count)};
	uint8 accept = 0;

	b->mark++;
	for (int i = 0; i < set->count; i++)
	{
		if (b->nfa[set->states[i]].kind == NFA_MATCH)
			accept |= ACCEPT_HERE | ACCEPT_AT_END;
		if (b->nfa[set->states[i]].kind == NFA_END)
			closure(b, set->states[i], set->at_start, true, &at_end);
	}
	for (int i = 0; i < at_end.count; i++)
	{
		if (b->nfa[at_end.states[i]].kind == NFA_MATCH)
			accept |= ACCEPT_AT_END;
	}
	if (set->count == 0)
		accept |= DEAD;
	b->dfa->accept[state] = accept;
	pfree(at_end.states);
}

/*
 * All states and where each class of characters leads.
 */
static bool
build_table(dfa_builder *b, const pg_wchar *representatives)
{
	schema_dfa *dfa = b->dfa;
	state_set set = {0};

	b->marks = palloc0(sizeof(int) * b->nfa_count);
	b->stack = palloc(sizeof(int) * (2 * b->nfa_count + 2));
	b->sets = palloc0(sizeof(state_set) * DFA_MAX);
	dfa->next = palloc0(sizeof(int16) * DFA_MAX * dfa->class_count);
	dfa->accept = palloc0(DFA_MAX);
	set.states = palloc(sizeof(int) * (b->nfa_count + 1));

	set.at_start = true;
	b->mark++;
	closure(b, b->start, true, false, &set);
	find_state(b, &set);
	set.at_start = false;

	for (int state = 0; state < dfa->state_count; state++)
	{
		for (int class = 0; class < dfa->class_count; class ++)
		{
			const state_set *from = &b->sets[state];
			int next;

			CHECK_FOR_INTERRUPTS();
			set.count = 0;
			b->mark++;
			for (int i = 0; i < from->count; i++)
			{
				const nfa_state *n = &b->nfa[from->states[i]];

				if (n->kind == NFA_SET && code_set_contains(n->set, representatives[class]))
					closure(b, n->next, false, false, &set);
			}
			closure(b, b->start, false, false, &set);
			next = find_state(b, &set);
			if (next < 0)
				return false;
			dfa->next[state * dfa->class_count + class] = next;
		}
	}
	return true;
}

/*
 * The table of a pattern in the memory context result; NULL when it does not fit or needs
 * more than a table.  Works in the current memory context.
 */
schema_dfa *
regex_dfa_build(const regex_node *node, MemoryContext result)
{
	dfa_builder b = {0};
	schema_dfa work = {0};
	schema_dfa *dfa;
	Size cells;

	b.nfa = palloc0(sizeof(nfa_state) * NFA_MAX);
	b.dfa = &work;
	b.start = build_node(&b, node, add_state(&b, NFA_MATCH, 0, 0));
	if (b.failed || !build_classes(&b))
		return NULL;

	/* what is kept has its final size */
	dfa = MemoryContextAlloc(result, sizeof(schema_dfa));
	*dfa = work;
	cells = (Size) work.state_count * work.class_count;
	dfa->next = MemoryContextAlloc(result, sizeof(int16) * cells);
	memcpy(dfa->next, work.next, sizeof(int16) * cells);
	dfa->accept = MemoryContextAlloc(result, work.state_count);
	memcpy(dfa->accept, work.accept, work.state_count);
	dfa->boundaries = MemoryContextAlloc(result, sizeof(pg_wchar) * work.boundary_count);
	memcpy(dfa->boundaries, work.boundaries, sizeof(pg_wchar) * work.boundary_count);
	dfa->boundary_class = MemoryContextAlloc(result, work.boundary_count);
	memcpy(dfa->boundary_class, work.boundary_class, work.boundary_count);
	return dfa;
}

/*
 * Does a text in UTF-8 hold a match?
 */
bool
regex_dfa_matches(const schema_dfa *dfa, const char *text, int length)
{
	const unsigned char *c = (const unsigned char *) text;
	const unsigned char *end = c + length;
	const int class_count = dfa->class_count;
	int state = 0;

	for (;;)
	{
		int class;

		if ((dfa->accept[state] & (ACCEPT_HERE | DEAD)) != 0)
			return (dfa->accept[state] & ACCEPT_HERE) != 0;
		if (c >= end)
			return (dfa->accept[state] & ACCEPT_AT_END) != 0;
		if (*c < ASCII)
			class = dfa->ascii_class[*c++];
		else
		{
			int bytes = pg_utf_mblen(c);
			pg_wchar point = c + bytes <= end ? utf8_to_unicode(c) : *c;
			int low = 0;
			int high = dfa->boundary_count;

			while (high - low > 1)
			{
				int middle = (low + high) / 2;

				if (dfa->boundaries[middle] <= point)
					low = middle;
				else
					high = middle;
			}
			class = dfa->boundary_class[low];
			c += Min(bytes, end - c);
		}
		state = dfa->next[state * class_count + class];
	}
}
