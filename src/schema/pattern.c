/*-------------------------------------------------------------------------
 *
 * pattern.c
 *	  Patterns: compiled once, matched in time that is in proportion to the text.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "schema/compile.h"
#include "schema/pattern.h"
#include "schema/regex_nfa.h"
#include "schema/text.h"

#define PATTERN_MAX_LENGTH 10000
#define SHOWN_MAX_LENGTH 100

struct schema_pattern
{
	char *shown;	 /* for messages */
	schema_dfa *dfa; /* NULL: the pattern needs more */
	schema_nfa *nfa;
};

/*
 * Compiles a pattern into the current memory context.  Raises an error about the keyword of
 * the node when the pattern is not valid, not supported, or too complex.
 */
schema_pattern *
schema_pattern_compile(const schema_node *node, const char *keyword, const char *pattern,
					   int length)
{
	schema_pattern *result = palloc0(sizeof(schema_pattern));
	MemoryContext kept = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(kept, "regular expression", ALLOCSET_SMALL_SIZES);
	int utf8_length;
	char *utf8 = text_to_utf8(pattern, length, &utf8_length);
	const char *problem = NULL;
	regex_node *parsed = NULL;

	result->shown = text_shown(pattern, length);
	MemoryContextSwitchTo(work);
	if (utf8_length > PATTERN_MAX_LENGTH)
		problem = "it is longer than 10000 bytes";
	else
		parsed = regex_parse(utf8, utf8_length, &problem);
	if (parsed != NULL)
		result->nfa = regex_nfa_build(parsed, &problem);
	if (result->nfa == NULL)
		schema_error(node, keyword, "the regular expression \"%s%s\" cannot be used: %s",
					 pnstrdup(result->shown,
							  pg_mbcliplen(result->shown, strlen(result->shown), SHOWN_MAX_LENGTH)),
					 strlen(result->shown) > SHOWN_MAX_LENGTH ? "..." : "", problem);
	result->dfa = regex_dfa_build(result->nfa, kept);
	MemoryContextSwitchTo(kept);

	if (result->dfa != NULL)
	{
		result->nfa = NULL;
		MemoryContextDelete(work);
	}
	return result;
}

/*
 * Does a text in the database's encoding hold a match?  Its cost is counted in v.
 */
bool
schema_pattern_matches(struct validation *v, const schema_pattern *pattern, const char *text,
					   int length)
{
	char *utf8 = text_to_utf8(text, length, &length);
	bool matches;

	matches = pattern->dfa != NULL ? regex_dfa_matches(pattern->dfa, utf8, length)
								   : regex_nfa_matches(v, pattern->nfa, utf8, length);
	if (utf8 != text)
		pfree(utf8);
	return matches;
}

/*
 * The pattern as the schema has it, for messages.
 */
const char *
schema_pattern_source(const schema_pattern *pattern)
{
	return pattern->shown;
}
