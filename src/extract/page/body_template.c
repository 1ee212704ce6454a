/*-------------------------------------------------------------------------
 *
 * body_template.c
 *	  The body of a request, with another value in one place.
 *
 * What leads to the next page may have to be said in a POST's body: GraphQL's
 * $.variables.after.  The body is JSON text that SQL has written once for an item; the
 * value in it is replaced in the bytes, and no other byte is touched.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "lib/stringinfo.h"
#include "utils/json.h"

#include "extract/page/body_template.h"
#include "extract/page/split.h"

/*
 * A copy of a JSON text, palloc'd, in which the value at a path of members is another one:
 * "value" as a number when is_number, or when it is one and so is what it replaces (a body
 * that begins with 0 wants numbers), else as a string.  All in UTF-8.  Needs no
 * transaction.  Raises 22023 when there is no value at the path.
 */
char *
body_template_fill(const char *body, List *path, const char *value, bool is_number)
{
	size_t length = strlen(body);
	split_result found;
	StringInfoData filled;
	size_t start;
	size_t end;
	char first;

	split_records(body, length, path, &found);
	if (found.problem != NULL || found.count != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the body of the request has no value to be replaced"),
						errhint("Check body_parameter in the pagination of the task.")));
	start = found.records[0].offset;
	end = start + found.records[0].length;
	first = body[start];

	initStringInfo(&filled);
	appendBinaryStringInfo(&filled, body, start);
	if (is_number || ((first == '-' || (first >= '0' && first <= '9')) &&
					  IsValidJsonNumber(value, strlen(value))))
		appendStringInfoString(&filled, value);
	else
		escape_json(&filled, value);
	appendBinaryStringInfo(&filled, body + end, length - end);
	return filled.data;
}
