/*-------------------------------------------------------------------------
 *
 * regex_dfa.c
 *	  Plain regular expressions as a table: one look-up a character.
 *
 * Most patterns of schemas are short and have neither lookarounds nor word boundaries.  A
 * state of the table is a set of states of the nondeterministic automaton, to which the
 * first one is added at every position, since a match may begin anywhere.  What does not
 * fit into a small table is run as it is (regex_run.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "schema/regex_nfa.h"

#define NFA_MAX 1000
#define DFA_MAX 256
#define CLASSES_MAX 128
#define ASCII 128

typedef struct state_set
{
	int count;
	uint32 hash;
	bool at_start;
	int *states;
} state_set;

typedef struct dfa_builder
{
	const nfa_state *nfa;
	int nfa_count;
	int start;
	int set_count;
	const code_set **code_sets;

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

static void collect_sets(dfa_builder *b);
static int compare_points(const void *a, const void *b);
static bool build_classes(dfa_builder *b);
static void closure(dfa_builder *b, int from, bool at_start, bool at_end, state_set *out);
static int find_state(dfa_builder *b, state_set *set);
static void describe_state(dfa_builder *b, int state);
static bool build_table(dfa_builder *b, const pg_wchar *representatives);

/*
 * Collects the different sets of the pattern; copies of a repetition share theirs.
 */
static void
collect_sets(dfa_builder *b)
{
	b->code_sets = palloc(sizeof(code_set *) * (b->nfa_count + 1));
	for (int i = 0; i < b->nfa_count; i++)
	{
		bool known = b->nfa[i].set == NULL;

		for (int s = b->set_count - 1; s >= 0 && !known; s--)
			known = b->code_sets[s] == b->nfa[i].set;
		if (!known)
			b->code_sets[b->set_count++] = b->nfa[i].set;
	}
}

static int
compare_points(const void *a, const void *b)
{
	pg_wchar point_a = *(const pg_wchar *) a;
	pg_wchar point_b = *(const pg_wchar *) b;

	return point_a < point_b ? -1 : point_a > point_b;
}

/*
 * Cuts the code points into classes that no set of the pattern tells apart: those with the
 * same signature, a bit for each set.  False when there are too many.
 */
static bool
build_classes(dfa_builder *b)
{
	schema_dfa *dfa = b->dfa;
	pg_wchar *points;
	pg_wchar representatives[CLASSES_MAX];
	int signature_size = b->set_count / 8 + 1;
	uint8 *signatures = palloc((CLASSES_MAX + 1) * signature_size);
	int count = 0;
	int used = 0;

	for (int i = 0; i < b->set_count; i++)
		count += 2 * b->code_sets[i]->count;
	points = palloc(sizeof(pg_wchar) * (count + 2));
	count = 0;
	points[count++] = 0;
	points[count++] = ASCII;
	for (int i = 0; i < b->set_count; i++)
	{
		const code_set *set = b->code_sets[i];

		for (int r = 0; r < set->count; r++)
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
		uint8 *signature = signatures + dfa->class_count * signature_size;
		int class = 0;

		CHECK_FOR_INTERRUPTS();
		memset(signature, 0, signature_size);
		for (int s = 0; s < b->set_count; s++)
		{
			if (code_set_contains(b->code_sets[s], points[i]))
				signature[s / 8] |= 1 << (s % 8);
		}
		while (memcmp(signatures + class * signature_size, signature, signature_size) != 0)
			class ++;
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
			!set->at_start && memcmp(known->states, set->states, sizeof(int) * set->count) == 0)
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
 * The table of an automaton in the memory context result; NULL when it does not fit or
 * needs more than a table.  Works in the current memory context.
 */
schema_dfa *
regex_dfa_build(const schema_nfa *nfa, MemoryContext result)
{
	dfa_builder b = {0};
	schema_dfa work = {0};
	schema_dfa *dfa;
	Size cells;

	if (!nfa->is_plain || nfa->main.count > NFA_MAX)
		return NULL;
	b.nfa = nfa->main.states;
	b.nfa_count = nfa->main.count;
	b.start = nfa->main.start;
	b.dfa = &work;
	collect_sets(&b);
	if (!build_classes(&b))
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
