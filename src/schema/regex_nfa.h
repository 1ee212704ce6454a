/*-------------------------------------------------------------------------
 *
 * regex_nfa.h
 *	  Regular expressions as nondeterministic automata (Thompson's).
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_REGEX_NFA_H
#define ETL_SCHEMA_REGEX_NFA_H

#include "postgres.h"

#include "schema/pattern.h"

typedef enum nfa_kind
{
	NFA_SET,   /* takes a character of a set */
	NFA_SPLIT, /* to next and other */
	NFA_START,
	NFA_END,
	NFA_WORD_BOUNDARY,
	NFA_LOOK, /* what the lookaround of number other says */
	NFA_MATCH,
} nfa_kind;

typedef struct nfa_state
{
	nfa_kind kind;
	bool negative;
	int next;
	int other;
	const code_set *set;
} nfa_state;

typedef struct nfa_program
{
	int count;
	int start;
	bool backward; /* reads the text from its end: the inside of a lookahead */
	nfa_state *states;
} nfa_program;

/* A pattern: its lookarounds, inner ones first, and the whole. */
typedef struct schema_nfa
{
	bool is_plain; /* neither lookarounds nor word boundaries */
	int look_count;
	nfa_program *looks;
	nfa_program main;
} schema_nfa;

struct validation;

extern schema_nfa *regex_nfa_build(const regex_node *node, const char **problem);

/* regex_run.c */
extern bool regex_nfa_matches(struct validation *v, const schema_nfa *nfa, const char *text,
							  int length);

/* regex_dfa.c */
typedef struct schema_dfa schema_dfa;

extern schema_dfa *regex_dfa_build(const schema_nfa *nfa, MemoryContext result);
extern bool regex_dfa_matches(const schema_dfa *dfa, const char *text, int length);

#endif /* ETL_SCHEMA_REGEX_NFA_H */
