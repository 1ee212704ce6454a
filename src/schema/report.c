/*-------------------------------------------------------------------------
 *
 * report.c
 *	  Violations put into words.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "schema/compile.h"
#include "schema/text.h"
#include "schema/validation.h"

#define VALUE_MAX_LENGTH 80

/* A violation costs more than a look at a value, and takes space. */
#define STEPS_PER_VIOLATION 50

static void append_place(StringInfo out, const instance_place *place);
static void report(validation *v, const schema_node *node, const char *keyword,
				   const instance_place *place, const char *format, va_list arguments)
	pg_attribute_printf(5, 0);

static void
append_place(StringInfo out, const instance_place *place)
{
	List *places = NIL;

	for (; place != NULL && place->parent != NULL; place = place->parent)
		places = lappend(places, unconstify(instance_place *, place));
	for (int i = list_length(places) - 1; i >= 0; i--)
	{
		const instance_place *each = list_nth(places, i);

		if (each->key != NULL)
			append_pointer_token(out, each->key, each->length);
		else
			appendStringInfo(out, "/%d", each->index);
	}
}

static void
report(validation *v, const schema_node *node, const char *keyword, const instance_place *place,
	   const char *format, va_list arguments)
{
	schema_violation violation;
	StringInfoData instance_path;
	char message[1024];

	validation_count_steps(v, STEPS_PER_VIOLATION);
	vsnprintf(message, sizeof(message), format, arguments);
	message[pg_mbcliplen(message, strlen(message), sizeof(message) - 1)] = '\0';
	initStringInfo(&instance_path);
	append_place(&instance_path, place);

	violation.instance_path = instance_path.data;
	violation.keyword = keyword;
	violation.schema_path =
		schema_step_text(node->resource, node->path, node->is_boolean ? NULL : keyword);
	violation.message = message;
	v->report(v->argument, &violation);
	pfree(instance_path.data);
	pfree(unconstify(char *, violation.schema_path));
}

/*
 * A violation of a keyword at a place.  Returns false, the verdict.
 */
bool
validation_fail(validation *v, const schema_node *node, const char *keyword,
				const instance_place *place, const char *format, ...)
{
	va_list arguments;

	if (v->report == NULL)
		return false;
	va_start(arguments, format);
	report(v, node, keyword, place, format, arguments);
	va_end(arguments);
	return false;
}

/*
 * The same at a member of the place.
 */
bool
validation_fail_member(validation *v, const schema_node *node, const char *keyword,
					   const instance_place *place, const char *key, int length, const char *format,
					   ...)
{
	instance_place member = {.parent = place, .key = key, .length = length};
	va_list arguments;

	if (v->report == NULL)
		return false;
	va_start(arguments, format);
	report(v, node, keyword, &member, format, arguments);
	va_end(arguments);
	return false;
}

/*
 * A value as JSON, shortened; palloc'd.  Arrays and objects are only named.
 */
const char *
describe_value(const json_view *value)
{
	json_view shortened = *value;
	char *text;

	if (value->kind == JV_ARRAY)
		return "an array";
	if (value->kind == JV_OBJECT)
		return "an object";
	if (value->kind == JV_STRING && value->length > VALUE_MAX_LENGTH)
	{
		shortened.length = text_clip(value->u.string, value->length, VALUE_MAX_LENGTH);
		return psprintf("%s...", json_text(&shortened));
	}
	text = json_text(&shortened);
	if (strlen(text) > VALUE_MAX_LENGTH)
		return psprintf("%.*s...", VALUE_MAX_LENGTH, text);
	return text;
}

/*
 * "string or null"; palloc'd.
 */
const char *
describe_types(int types)
{
	static const char *const names[] = {"null",	 "boolean", "number", "string",
										"array", "object",	"integer"};
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < lengthof(names); i++)
	{
		if ((types & (1 << i)) != 0)
			appendStringInfo(&out, "%s%s", out.len > 0 ? " or " : "", names[i]);
	}
	return out.data;
}
