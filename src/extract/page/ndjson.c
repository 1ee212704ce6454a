/*-------------------------------------------------------------------------
 *
 * ndjson.c
 *	  Records on a line each.
 *
 * A line break is never within a JSON text of one line, so that a broken line is one
 * broken record: PostgreSQL's parser finds it, and it alone goes to quarantine.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "extract/page/charset.h"
#include "extract/page/ndjson.h"
#include "miscadmin.h"

static inline bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Whether a line begins as JSON does; an error message in plain words does not. */
static bool
begins_like_json(const char *line, size_t length)
{
	return strchr("{[\"-0123456789", line[0]) != NULL ||
		   (length == 4 && (memcmp(line, "true", 4) == 0 || memcmp(line, "null", 4) == 0)) ||
		   (length == 5 && memcmp(line, "false", 5) == 0);
}

/* Whether a first line is the beginning of a document that goes on: no line of it would be
 * a record. */
static bool
begins_document(const char *line, size_t length)
{
	return (line[0] == '{' && length == 1) || (line[0] == '[' && line[length - 1] != ']');
}

/*
 * The lines of a text that are not blank.  Returns false, with the failure, when it is
 * something else altogether.  Raises what CHECK_FOR_INTERRUPTS() raises, and when there is
 * no memory.
 */
bool
ndjson_read(const char *text, size_t length, split_result *result, page_failure *failure)
{
	const char *at = text + charset_utf8_mark(text, length);
	const char *end = text + length;
	bool is_json = false;

	while (at < end)
	{
		const char *line = at;
		const char *stop = memchr(at, '\n', end - at);

		if (stop == NULL)
			stop = end;
		at = stop + 1;
		while (line < stop && is_space(*line))
			line++;
		while (stop > line && is_space(stop[-1]))
			stop--;
		if (line == stop)
			continue;
		if (result->count == 0)
		{
			if (*line == '<')
				return page_is_broken(failure, line - text, "it begins like HTML or XML");
			if (begins_document(line, stop - line))
				return page_is_unreadable(
					failure, ERRCODE_INVALID_JSON_TEXT, line - text,
					"it is one JSON document over several lines, not a record on each",
					"Declare the task with format => 'json' and the path to its records.");
		}
		is_json = is_json || begins_like_json(line, stop - line);
		split_add_record(result, line - text, stop - line);
		if ((result->count & 1023) == 0)
			CHECK_FOR_INTERRUPTS();
	}
	if (result->count > 0 && !is_json)
	{
		result->count = 0;
		return page_is_broken(failure, 0, "no line of it begins like JSON");
	}
	return true;
}
