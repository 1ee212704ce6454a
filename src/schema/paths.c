/*-------------------------------------------------------------------------
 *
 * paths.c
 *	  JSON pointers as text: where in a schema, where in a document.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "schema/compile.h"
#include "schema/text.h"

static void append_steps(StringInfo out, const schema_step *step);

/*
 * Appends "/token" with ~ and / escaped, and NUL, which no text can hold, as \u0000.
 */
void
append_pointer_token(StringInfo out, const char *token, int length)
{
	appendStringInfoChar(out, '/');
	for (int i = 0; i < length; i++)
	{
		if (token[i] == '~')
			appendStringInfoString(out, "~0");
		else if (token[i] == '/')
			appendStringInfoString(out, "~1");
		else
			text_append_shown(out, token + i, 1);
	}
}

static void
append_steps(StringInfo out, const schema_step *step)
{
	List *steps = NIL;

	for (; step != NULL; step = step->parent)
		steps = lappend(steps, unconstify(schema_step *, step));
	for (int i = list_length(steps) - 1; i >= 0; i--)
	{
		const schema_step *each = list_nth(steps, i);

		append_pointer_token(out, each->token, each->length);
	}
	list_free(steps);
}

/*
 * Where a keyword is (or a subschema, when keyword is NULL): "#/properties/a/type" in the
 * schema at hand, with the URI in front in another one.  palloc'd.
 */
char *
schema_step_text(const schema_resource *resource, const schema_step *path, const char *keyword)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, resource->document->uri);
	appendStringInfoChar(&out, '#');
	append_steps(&out, path);
	if (keyword != NULL)
		append_pointer_token(&out, keyword, strlen(keyword));
	return out.data;
}
