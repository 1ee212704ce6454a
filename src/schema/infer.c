/*-------------------------------------------------------------------------
 *
 * infer.c
 *	  A JSON Schema from documents: the aggregate behind etl.infer_schema.
 *
 * The schema says what all documents have in common and nothing else: each of them
 * satisfies it, its formats too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "schema/formats.h"
#include "schema/shape.h"

/* Longer strings are never values of an enum. */
#define MAX_ENUM_BYTES 64

PG_FUNCTION_INFO_V1(etl_infer_schema_step);
PG_FUNCTION_INFO_V1(etl_infer_schema_final);

/* The formats proposed, in the order of preference. */
static const char *const proposed_formats[] = {"date-time", "date", "uuid", "email", "uri"};

/* The state of the aggregate. */
typedef struct inference
{
	shape *seen;
	int max_enum;		/* distinct strings of an enum; 0: none are proposed */
	int64 min_evidence; /* strings it takes to believe in a format, times a value in an enum */
	const schema_format *formats[lengthof(proposed_formats)];
} inference;

/* The strings of a path. */
typedef struct string_facts
{
	int formats; /* bits: those that all strings so far have */
	bool too_many;
	int distinct;
	char **values; /* in order; max_enum of them at most */
} string_facts;

static void learn_string(void *argument, shape_node *node, shape_type type, const json_view *value);
static void append_schema(StringInfo out, const inference *state, const shape_node *node,
						  bool is_root);

/* Is a string what the formats say it is?  A URI without // may be any text with a colon. */
static bool
has_format(const schema_format *format, const char *text, int length)
{
	if (strcmp(format->name, "uri") == 0)
	{
		const char *colon = memchr(text, ':', length);

		if (colon == NULL || length - (colon - text) < 3 || colon[1] != '/' || colon[2] != '/')
			return false;
	}
	return schema_format_check(format, text, length);
}

/* Notes a string among the distinct values of a path, unless they are too many already. */
static void
learn_value(const inference *state, string_facts *facts, const char *text, int length)
{
	int low = 0;
	int high = facts->distinct;

	if (facts->too_many)
		return;
	while (low < high)
	{
		int middle = (low + high) / 2;
		int order = strncmp(facts->values[middle], text, length);

		if (order == 0 && facts->values[middle][length] != '\0')
			order = 1;
		if (order == 0)
			return;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (length > MAX_ENUM_BYTES || facts->distinct == state->max_enum)
	{
		facts->too_many = true;
		return;
	}
	memmove(facts->values + low + 1, facts->values + low, sizeof(char *) * (facts->distinct - low));
	facts->values[low] = MemoryContextAlloc(state->seen->context, length + 1);
	memcpy(facts->values[low], text, length);
	facts->values[low][length] = '\0';
	facts->distinct++;
}

/* Visits a value: of strings more than their type is of interest. */
static void
learn_string(void *argument, shape_node *node, shape_type type, const json_view *value)
{
	inference *state = argument;
	string_facts *facts = node->more;

	if (type != SHAPE_STRING)
		return;
	if (facts == NULL)
	{
		facts = node->more = MemoryContextAllocZero(state->seen->context, sizeof(string_facts));
		facts->formats = (1 << lengthof(proposed_formats)) - 1;
		facts->too_many = state->max_enum == 0;
		if (!facts->too_many)
			facts->values =
				MemoryContextAlloc(state->seen->context, sizeof(char *) * state->max_enum);
	}
	for (int i = 0; facts->formats != 0 && i < lengthof(proposed_formats); i++)
	{
		if ((facts->formats & (1 << i)) != 0 &&
			!has_format(state->formats[i], value->u.string, value->length))
			facts->formats &= ~(1 << i);
	}
	learn_value(state, facts, value->u.string, value->length);
}

/* Appends "type": its name, or names. */
static void
append_types(StringInfo out, int types)
{
	/* what a reader wants to know first */
	static const shape_type order[] = {SHAPE_OBJECT,  SHAPE_ARRAY,	 SHAPE_STRING, SHAPE_NUMBER,
									   SHAPE_INTEGER, SHAPE_BOOLEAN, SHAPE_NULL};
	bool several;
	const char *separator = "";

	if ((types & (1 << SHAPE_NUMBER)) != 0)
		types &= ~(1 << SHAPE_INTEGER);
	several = (types & (types - 1)) != 0;
	appendStringInfo(out, "\"type\": %s", several ? "[" : "");
	for (int i = 0; i < lengthof(order); i++)
	{
		if ((types & (1 << order[i])) == 0)
			continue;
		appendStringInfo(out, "%s\"%s\"", separator, shape_type_name(order[i]));
		separator = ", ";
	}
	if (several)
		appendStringInfoChar(out, ']');
}

/* Appends what the strings of a path have in common: an enum, or a format. */
static void
append_string_facts(StringInfo out, const inference *state, const shape_node *node, int types)
{
	const string_facts *facts = node->more;
	int64 count = node->values[SHAPE_STRING];

	if (!facts->too_many && (types & ~((1 << SHAPE_STRING) | (1 << SHAPE_NULL))) == 0 &&
		count >= state->min_evidence * facts->distinct)
	{
		appendStringInfoString(out, ", \"enum\": [");
		for (int i = 0; i < facts->distinct; i++)
		{
			if (i > 0)
				appendStringInfoString(out, ", ");
			escape_json(out, facts->values[i]);
		}
		if ((types & (1 << SHAPE_NULL)) != 0)
			appendStringInfoString(out, ", null");
		appendStringInfoChar(out, ']');
		return;
	}
	for (int i = 0; count >= state->min_evidence && i < lengthof(proposed_formats); i++)
	{
		if ((facts->formats & (1 << i)) != 0)
		{
			appendStringInfo(out, ", \"format\": \"%s\"", proposed_formats[i]);
			return;
		}
	}
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* Appends properties and required of an object. */
static void
append_members(StringInfo out, const inference *state, const shape_node *node)
{
	List *required = NIL;
	ListCell *cell;

	if (node->members == NULL || node->overflow != NULL)
		return; /* keyed by data: names that say nothing about the next document */
	appendStringInfoString(out, ", \"properties\": {");
	for (const shape_node *member = node->members; member != NULL; member = member->next)
	{
		if (member != node->members)
			appendStringInfoString(out, ", ");
		escape_json(out, member->name);
		appendStringInfoString(out, ": {");
		append_schema(out, state, member, false);
		appendStringInfoChar(out, '}');
		if (shape_total(member->values, SHAPE_ANY_TYPE) == node->values[SHAPE_OBJECT])
			required = lappend(required, member->name);
	}
	appendStringInfoChar(out, '}');
	if (required == NIL)
		return;
	list_sort(required, compare_names);
	appendStringInfoString(out, ", \"required\": [");
	foreach (cell, required)
	{
		if (foreach_current_index(cell) > 0)
			appendStringInfoString(out, ", ");
		escape_json(out, lfirst(cell));
	}
	appendStringInfoChar(out, ']');
}

/* Appends the members of the schema of a path. */
static void
append_schema(StringInfo out, const inference *state, const shape_node *node, bool is_root)
{
	int types = shape_types(node);

	if (is_root)
		appendStringInfoString(out,
							   "\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", ");
	append_types(out, types);
	if ((types & (1 << SHAPE_STRING)) != 0)
		append_string_facts(out, state, node, types);
	append_members(out, state, node);
	if (node->elements != NULL)
	{
		appendStringInfoString(out, ", \"items\": {");
		append_schema(out, state, node->elements, false);
		appendStringInfoChar(out, '}');
	}
}

/*
 * SQL: etl._infer_schema_step(internal, document jsonb, max_depth integer, max_enum integer,
 * min_evidence integer).  A null document is none.
 */
Datum
etl_infer_schema_step(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	inference *state = PG_ARGISNULL(0) ? NULL : (inference *) PG_GETARG_POINTER(0);
	Jsonb *document;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "etl._infer_schema_step called outside an aggregate");
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3) || PG_ARGISNULL(4))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	if (state == NULL)
	{
		state = MemoryContextAllocZero(context, sizeof(inference));
		state->seen = shape_create(context);
		state->seen->max_steps = PG_GETARG_INT32(2);
		state->seen->visit = learn_string;
		state->seen->argument = state;
		state->max_enum = PG_GETARG_INT32(3);
		state->min_evidence = PG_GETARG_INT32(4);
		for (int i = 0; i < lengthof(proposed_formats); i++)
			state->formats[i] =
				schema_format_find(proposed_formats[i], strlen(proposed_formats[i]), DRAFT_2020);
	}
	CHECK_FOR_INTERRUPTS();
	document = PG_GETARG_JSONB_P(1);
	shape_add(state->seen, document);
	PG_FREE_IF_COPY(document, 1);
	PG_RETURN_POINTER(state);
}

/*
 * SQL: etl._infer_schema_final(internal) returns jsonb.  NULL for no documents.
 */
Datum
etl_infer_schema_final(PG_FUNCTION_ARGS)
{
	StringInfoData out;
	const inference *state;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (inference *) PG_GETARG_POINTER(0);
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	append_schema(&out, state, state->seen->root, true);
	appendStringInfoChar(&out, '}');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}
