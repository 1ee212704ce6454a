/*-------------------------------------------------------------------------
 *
 * pattern.c
 *	  Patterns compiled and matched: plain ones by a table, others by PostgreSQL's engine.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "utils/memutils.h"

#include "schema/compile.h"
#include "schema/pattern.h"
#include "schema/regex_dfa.h"

#define PATTERN_MAX_LENGTH (64 * 1024)
#define CHARACTERS_ON_STACK 256

struct schema_pattern
{
	char *source;
	schema_dfa *dfa; /* or else: */
	regex_t compiled;
	MemoryContextCallback release;
};

static void release_pattern(void *argument);
static bool engine_matches(schema_pattern *pattern, const char *text, int length);
static int to_code_points(const char *text, int length, pg_wchar *out);

static void
release_pattern(void *argument)
{
	pg_regfree(&((schema_pattern *) argument)->compiled);
}

/*
 * Decodes UTF-8; out has room for length code points.
 */
static int
to_code_points(const char *text, int length, pg_wchar *out)
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

/*
 * Compiles a pattern into the current memory context.  Raises an error about the keyword of
 * the node when the pattern is not valid, not supported, or too complex.
 */
schema_pattern *
schema_pattern_compile(const schema_node *node, const char *keyword, const char *pattern,
					   int length)
{
	schema_pattern *result = palloc0(sizeof(schema_pattern));
	const char *problem = NULL;
	char *utf8 = pg_server_to_any(pattern, length, PG_UTF8);
	regex_node *parsed = NULL;
	pg_wchar *text = NULL;
	int text_length;
	int code;
	MemoryContext work;
	MemoryContext caller;

	result->source = pnstrdup(pattern, length);
	if (utf8 != pattern)
		length = strlen(utf8);

	work = AllocSetContextCreate(CurrentMemoryContext, "regular expression", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(work);
	if (length > PATTERN_MAX_LENGTH)
		problem = "it is longer than 65536 bytes";
	else
		parsed = regex_parse(utf8, length, &problem);
	if (parsed != NULL)
		text = regex_emit(parsed, &text_length, &problem);
	if (text == NULL)
		schema_error(node, keyword, "the regular expression \"%s\" cannot be used: %s",
					 result->source, problem);
	result->dfa = regex_dfa_build(parsed, caller);
	MemoryContextSwitchTo(caller);
	if (result->dfa != NULL)
	{
		MemoryContextDelete(work);
		return result;
	}

	code = pg_regcomp(&result->compiled, text, text_length, REG_ADVANCED | REG_NOSUB,
					  C_COLLATION_OID);
	if (code != REG_OKAY)
	{
		char message[100];

		CHECK_FOR_INTERRUPTS();
		pg_regerror(code, &result->compiled, message, sizeof(message));
		schema_error(node, keyword, "the regular expression \"%s\" cannot be used: %s",
					 result->source, message);
	}
	MemoryContextDelete(work);

	result->release.func = release_pattern;
	result->release.arg = result;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &result->release);
	return result;
}

/*
 * Has PostgreSQL's engine a match in a text in UTF-8?
 */
static bool
engine_matches(schema_pattern *pattern, const char *text, int length)
{
	pg_wchar few[CHARACTERS_ON_STACK];
	pg_wchar *characters = few;
	int count;
	int code;

	few[0] = 0;
	if (length > CHARACTERS_ON_STACK)
		characters = MemoryContextAllocHuge(CurrentMemoryContext,
											sizeof(pg_wchar) * (Size) length);
	count = to_code_points(text, length, characters);
	code = pg_regexec(&pattern->compiled, characters, count, 0, NULL, 0, NULL, 0);
	if (characters != few)
		pfree(characters);
	if (code != REG_OKAY && code != REG_NOMATCH)
	{
		char message[100];

		CHECK_FOR_INTERRUPTS();
		pg_regerror(code, &pattern->compiled, message, sizeof(message));
		ereport(ERROR, (errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
						errmsg("regular expression failed: %s", message)));
	}
	return code == REG_OKAY;
}

/*
 * Does a text in the database's encoding hold a match?
 */
bool
schema_pattern_matches(schema_pattern *pattern, const char *text, int length)
{
	char *utf8 = GetDatabaseEncoding() == PG_UTF8 ? unconstify(char *, text)
												  : pg_server_to_any(text, length, PG_UTF8);
	bool matches;

	if (utf8 != text)
		length = strlen(utf8);
	matches = pattern->dfa != NULL ? regex_dfa_matches(pattern->dfa, utf8, length)
								   : engine_matches(pattern, utf8, length);
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
