/*-------------------------------------------------------------------------
 *
 * regex_nfa.c
 *	  Regular expressions to nondeterministic automata.
 *
 * A lookaround is a program of its own and a condition in the one around it, so that a
 * match takes time in proportion to the text, whatever the pattern.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "schema/regex_nfa.h"

#define NFA_STATES_MAX 20000
#define NFA_LOOKS_MAX 64

typedef struct nfa_builder
{
	schema_nfa *nfa;
	int total; /* states of all programs */
	const char *problem;
} nfa_builder;

static int add_state(nfa_builder *b, nfa_program *p, nfa_kind kind, int next, int other);
static int build_repeat(nfa_builder *b, nfa_program *p, const regex_node *node, int next);
static int build_look(nfa_builder *b, nfa_program *p, const regex_node *node, int next);
static int build_node(nfa_builder *b, nfa_program *p, const regex_node *node, int next);
static void build_program(nfa_builder *b, nfa_program *p, const regex_node *node, bool backward);

static int
add_state(nfa_builder *b, nfa_program *p, nfa_kind kind, int next, int other)
{
	nfa_state *state;

	if (b->total >= NFA_STATES_MAX)
		b->problem = "it is too complex: with its repetitions spelled out it has more than "
					 "20000 steps";
	if (b->problem != NULL)
		return 0;
	b->total++;
	if ((p->count & (p->count - 1)) == 0)
		p->states = p->states == NULL ? palloc(sizeof(nfa_state))
									  : repalloc(p->states, sizeof(nfa_state) * 2 * p->count);
	state = &p->states[p->count];
	memset(state, 0, sizeof(nfa_state));
	state->kind = kind;
	state->next = next;
	state->other = other;
	return p->count++;
}

/*
 * As many copies as the bounds say, and a loop if there is no upper one.
 */
static int
build_repeat(nfa_builder *b, nfa_program *p, const regex_node *node, int next)
{
	const regex_node *child = linitial(node->children);
	int state = next;

	if (node->maximum < 0)
	{
		int loop = add_state(b, p, NFA_SPLIT, 0, next);
		int inner = build_node(b, p, child, loop);

		if (b->problem == NULL)
			p->states[loop].next = inner;
		state = loop;
	}
	for (int i = node->minimum; i < node->maximum && b->problem == NULL; i++)
		state = add_state(b, p, NFA_SPLIT, build_node(b, p, child, state), next);
	for (int i = 0; i < node->minimum && b->problem == NULL; i++)
		state = build_node(b, p, child, state);
	return state;
}

static int
build_look(nfa_builder *b, nfa_program *p, const regex_node *node, int next)
{
	nfa_program look = {0};
	int state;

	b->nfa->is_plain = false;
	build_program(b, &look, linitial(node->children), !node->behind);
	if (b->nfa->look_count >= NFA_LOOKS_MAX)
		b->problem = "it has more than 64 lookarounds";
	state = add_state(b, p, NFA_LOOK, next, b->nfa->look_count);
	if (b->problem != NULL)
		return 0;
	p->states[state].negative = node->negative;
	b->nfa->looks[b->nfa->look_count++] = look;
	return state;
}

/*
 * The states of a node, built from the one that comes after it; returns the first.
 */
static int
build_node(nfa_builder *b, nfa_program *p, const regex_node *node, int next)
{
	int count = list_length(node->children);
	int state = next;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (b->problem != NULL)
		return 0;
	switch (node->kind)
	{
		case REGEX_EMPTY:
			break;
		case REGEX_SET:
			state = add_state(b, p, NFA_SET, next, 0);
			if (b->problem == NULL)
				p->states[state].set = node->set;
			break;
		case REGEX_SEQUENCE:
			for (int i = 0; i < count; i++)
				state = build_node(b, p, list_nth(node->children, p->backward ? i : count - 1 - i),
								   state);
			break;
		case REGEX_CHOICE:
			state = build_node(b, p, linitial(node->children), next);
			for (int i = 1; i < count; i++)
			{
				int other = build_node(b, p, list_nth(node->children, i), next);

				state = add_state(b, p, NFA_SPLIT, state, other);
			}
			break;
		case REGEX_REPEAT:
			state = build_repeat(b, p, node, next);
			break;
		case REGEX_START:
			state = add_state(b, p, NFA_START, next, 0);
			break;
		case REGEX_END:
			state = add_state(b, p, NFA_END, next, 0);
			break;
		case REGEX_WORD_BOUNDARY:
			b->nfa->is_plain = false;
			state = add_state(b, p, NFA_WORD_BOUNDARY, next, 0);
			if (b->problem == NULL)
				p->states[state].negative = node->negative;
			break;
		case REGEX_LOOK:
			state = build_look(b, p, node, next);
			break;
		case REGEX_BACK:
			/* these take exponential time */
			b->problem = "back references are not supported";
			break;
	}
	return state;
}

static void
build_program(nfa_builder *b, nfa_program *p, const regex_node *node, bool backward)
{
	p->backward = backward;
	p->start = build_node(b, p, node, add_state(b, p, NFA_MATCH, 0, 0));
}

/*
 * The automaton of a parsed pattern, whose sets it shares; NULL and why when it cannot be
 * used.
 */
schema_nfa *
regex_nfa_build(const regex_node *node, const char **problem)
{
	nfa_builder b = {0};

	b.nfa = palloc0(sizeof(schema_nfa));
	b.nfa->is_plain = true;
	b.nfa->looks = palloc0(sizeof(nfa_program) * NFA_LOOKS_MAX);
	build_program(&b, &b.nfa->main, node, false);
	*problem = b.problem;
	return b.problem == NULL ? b.nfa : NULL;
}
