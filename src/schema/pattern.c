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

#define PATTERN_MAX_LENGTH 10000
#define SHOWN_MAX_LENGTH 100

struct schema_pattern
{
	char *source;
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
	char *utf8 = pg_server_to_any(pattern, length, PG_UTF8);
	const char *problem = NULL;
	regex_node *parsed = NULL;

	result->source = pnstrdup(pattern, length);
	if (utf8 != pattern)
		length = strlen(utf8);

	MemoryContextSwitchTo(work);
	if (length > PATTERN_MAX_LENGTH)
		problem = "it is longer than 10000 bytes";
	else
		parsed = regex_parse(utf8, length, &problem);
	if (parsed != NULL)
		result->nfa = regex_nfa_build(parsed, &problem);
	if (result->nfa == NULL)
		schema_error(node, keyword, "the regular expression \"%s%s\" cannot be used: %s",
					 pnstrdup(result->source, pg_mbcliplen(result->source, strlen(result->source),
														   SHOWN_MAX_LENGTH)),
					 strlen(result->source) > SHOWN_MAX_LENGTH ? "..." : "", problem);
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
	char *utf8 = GetDatabaseEncoding() == PG_UTF8 ? unconstify(char *, text)
												  : pg_server_to_any(text, length, PG_UTF8);
	bool matches;

	if (utf8 != text)
		length = strlen(utf8);
	matches = pattern->dfa != NULL ? regex_dfa_matches(pattern->dfa, utf8, length)
								   : regex_nfa_matches(v, pattern->nfa, utf8, length);
	if (utf8 != text)
		pfree(utf8);
	return matches;
}

/*
 * The pattern as the schema has it.
 */
const char *
schema_pattern_source(const schema_pattern *pattern)
{
	return pattern->source;
}
