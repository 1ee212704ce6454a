/*-------------------------------------------------------------------------
 *
 * graphql.c
 *	  Answers of GraphQL, which call an error a success.
 *
 * With status 200, {"data": …, "errors": [{"message": …}]}: what could not be resolved is
 * null in the data, and a null list looks like one without records.  So any error counts,
 * whatever data came with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "extract/page/graphql.h"
#include "extract/page/page_value.h"
#include "extract/page/record_path.h"
#include "extract/page/split.h"

/* Errors whose messages are shown. */
#define SHOWN_ERRORS 3

/* The errors at a path of the document, as ranges of it; false when there are none. */
static bool
find_errors(const char *document, size_t length, const char *path, split_result *errors)
{
	split_records(document, length, record_path_parse(path, true), errors);
	return errors->problem == NULL && errors->count > 0;
}

/*
 * Whether a sort of error (NULL: it did not say) is a quota that is used up, as GitHub,
 * Shopify and others spell it.
 */
bool
graphql_is_rate_limit(const char *kind)
{
	static const char *const kinds[] = {"RATE_LIMITED", "RATE_LIMIT", "RATE_LIMIT_EXCEEDED",
										"THROTTLED", "TOO_MANY_REQUESTS"};

	for (int i = 0; kind != NULL && i < lengthof(kinds); i++)
	{
		if (pg_strcasecmp(kinds[i], kind) == 0)
			return true;
	}
	return false;
}

/*
 * What a GraphQL answer says went wrong: the messages of its first errors, palloc'd; NULL
 * when it names none.  *kind (may be NULL) becomes what sort of error the first one is, such
 * as RATE_LIMITED or THROTTLED (its type, or its extensions' code), NULL when it does not
 * say.  The document is the answer's body in UTF-8; broken JSON has no errors.  An array of
 * answers, as to several requests at once, is looked through too.  Raises nothing.
 */
char *
graphql_error(const char *document, size_t length, char **kind)
{
	split_result errors;
	StringInfoData messages;
	char *ignored;

	if (kind == NULL)
		kind = &ignored;
	*kind = NULL;
	if (!find_errors(document, length, "$.errors[*]", &errors) &&
		!find_errors(document, length, "$[*].errors[*]", &errors))
		return NULL;

	initStringInfo(&messages);
	for (int i = 0; i < errors.count && i < SHOWN_ERRORS; i++)
	{
		const char *error = document + errors.records[i].offset;
		size_t error_length = errors.records[i].length;
		char *message = page_value(error, error_length, record_path_parse("$.message", true));

		appendStringInfo(&messages, "%s%s", i > 0 ? "; " : "",
						 message ? message : "an error without a message");
		if (i > 0)
			continue;
		*kind = page_value(error, error_length, record_path_parse("$.type", true));
		if (*kind == NULL)
			*kind = page_value(error, error_length, record_path_parse("$.extensions.code", true));
	}
	if (errors.count > SHOWN_ERRORS)
		appendStringInfo(&messages, "; and %d more", errors.count - SHOWN_ERRORS);
	return messages.data;
}
