/*-------------------------------------------------------------------------
 *
 * regex_run.c
 *	  Nondeterministic automata run over a text, all their states at a time.
 *
 * First each lookaround is run over the whole text and notes where it holds: a lookbehind
 * reads forward and holds where a match of it ends, a lookahead reads backward and holds
 * where one begins.  Then the pattern itself is run.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "schema/ascii.h"
#include "schema/regex_nfa.h"
#include "schema/validation.h"

/* So many states of an automaton are worth one step of a validation. */
#define STATES_PER_STEP 4

typedef struct nfa_run
{
	struct validation *v; /* counts the work */
	const pg_wchar *text;
	int length;
	uint8 **holds; /* by lookaround: a bit for each position */
} nfa_run;

typedef struct state_list
{
	int count;
	int *states;
} state_list;

static int decode(const char *text, int length, pg_wchar *out);
static bool is_word(const nfa_run *run, int at);
static bool condition_holds(const nfa_run *run, const nfa_state *state, int at);
static bool add_states(const nfa_run *run, const nfa_program *program, int from, int at,
					   state_list *list, int *marks, int mark, int *stack);
static bool run_program(const nfa_run *run, const nfa_program *program, uint8 *matches);

/*
 * Decodes UTF-8; out has room for length code points.
 */
static int
decode(const char *text, int length, pg_wchar *out)
{
	const unsigned char *c = (const unsigned char *) text;
	const unsigned char *end = c + length;
	int count = 0;

	while (c < end)
	{
		int bytes = pg_utf_mblen(c);

		if (*c < 0x80 || c + bytes > end)
		{
			out[count++] = *c++;
			continue;
		}
		out[count++] = utf8_to_unicode(c);
		c += bytes;
	}
	return count;
}

static bool
is_word(const nfa_run *run, int at)
{
	return at >= 0 && at < run->length && (ascii_is_alnum(run->text[at]) || run->text[at] == '_');
}

/*
 * Does the condition of a state hold at a position?
 */
static bool
condition_holds(const nfa_run *run, const nfa_state *state, int at)
{
	switch (state->kind)
	{
		case NFA_START:
			return at == 0;
		case NFA_END:
			return at == run->length;
		case NFA_WORD_BOUNDARY:
			return (is_word(run, at - 1) != is_word(run, at)) != state->negative;
		case NFA_LOOK:
			return ((run->holds[state->other][at / 8] & (1 << (at % 8))) != 0) != state->negative;
		default:
			return true;
	}
}

/*
 * Adds to a list all states that take a character and that a state leads to at a position.
 * Returns whether the end of the program is among them.
 */
static bool
add_states(const nfa_run *run, const nfa_program *program, int from, int at, state_list *list,
		   int *marks, int mark, int *stack)
{
	bool matched = false;
	int depth = 0;

	stack[depth++] = from;
	while (depth > 0)
	{
		int number = stack[--depth];
		const nfa_state *state = &program->states[number];

		if (marks[number] == mark)
			continue;
		marks[number] = mark;
		if (state->kind == NFA_SET)
			list->states[list->count++] = number;
		else if (state->kind == NFA_MATCH)
			matched = true;
		else if (condition_holds(run, state, at))
		{
			if (state->kind == NFA_SPLIT)
				stack[depth++] = state->other;
			stack[depth++] = state->next;
		}
	}
	return matched;
}

/*
 * Runs a program.  matches, unless NULL, receives a bit for each position where a match
 * ends (begins, if it reads backward); else the first match ends the run.
 */
static bool
run_program(const nfa_run *run, const nfa_program *program, uint8 *matches)
{
	int count = program->count;
	int *memory = palloc0(sizeof(int) * (5 * count + 2));
	int *marks = memory;
	int *stack = memory + count;
	state_list current = {.states = memory + 3 * count + 2};
	state_list next = {.states = memory + 4 * count + 2};
	int at = program->backward ? run->length : 0;
	int step = program->backward ? -1 : 1;
	bool found = false;

	for (int i = 0; i <= run->length; i++, at += step)
	{
		int mark = i + 1;
		bool matched = false;
		state_list swap = current;

		validation_count_steps(run->v, 1 + current.count / STATES_PER_STEP);
		/* the states that the character before this position has led to, then a new start */
		next.count = 0;
		if (i > 0)
		{
			pg_wchar c = run->text[program->backward ? at : at - 1];

			for (int s = 0; s < current.count; s++)
			{
				const nfa_state *state = &program->states[current.states[s]];

				if (code_set_contains(state->set, c))
					matched |= add_states(run, program, state->next, at, &next, marks, mark, stack);
			}
		}
		matched |= add_states(run, program, program->start, at, &next, marks, mark, stack);
		current = next;
		next = swap;
		if (!matched)
			continue;
		found = true;
		if (matches == NULL)
			break;
		matches[at / 8] |= 1 << (at % 8);
	}
	pfree(memory);
	return found;
}

/*
 * Does a text in UTF-8 hold a match?
 */
bool
regex_nfa_matches(struct validation *v, const schema_nfa *nfa, const char *text, int length)
{
	MemoryContext work =
		AllocSetContextCreate(CurrentMemoryContext, "regular expression", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(work);
	pg_wchar *characters = palloc_extended(sizeof(pg_wchar) * ((Size) length + 1), MCXT_ALLOC_HUGE);
	nfa_run run = {0};
	bool found;

	run.v = v;
	run.length = decode(text, length, characters);
	run.text = characters;
	run.holds = palloc(sizeof(uint8 *) * (nfa->look_count + 1));
	for (int i = 0; i < nfa->look_count; i++)
	{
		run.holds[i] = palloc0(run.length / 8 + 1);
		run_program(&run, &nfa->looks[i], run.holds[i]);
	}
	found = run_program(&run, &nfa->main, NULL);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(work);
	return found;
}
