/*-------------------------------------------------------------------------
 *
 * record_shape.c
 *	  The shape of a load's records, held against what is declared or was there before.
 *
 * Every record that is JSON counts, also one that then goes to quarantine: that a field has
 * become a string is why it went there.  What is expected of a path comes from the task's
 * record_schema or, where that says nothing of the members of an object, from the loads
 * published before.  A difference is recorded when the load is complete; a contract other
 * than "evolve" wants to know it at once, and looks at the record_schema only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "call_sql.h"
#include "extract/raw/record_shape_internal.h"

/* How deep records are looked at: $.orders[*].lines[*] has four steps. */
#define MAX_STEPS 4
/* How many paths that nobody expected are told apart in a load. */
#define MAX_NEW_PATHS 5000
/* Longer names are not told apart: they are data. */
#define MAX_NAME 500
/* In how many records, all of a load's, a field must be for its absence to be noteworthy. */
#define MIN_ALWAYS 10

static record_shape *create(MemoryContext context, record_contract contract);
static bool is_other_member(void *argument, shape_node *parent, const char *name, int length);
static void judge_value(void *argument, shape_node *node, shape_type type, const json_view *value);

/*
 * Some types as text, "integer or null", palloc'd.
 */
char *
record_types_text(int types)
{
	StringInfoData text;

	/* a number may be an integer */
	if ((types & (1 << SHAPE_NUMBER)) != 0)
		types &= ~(1 << SHAPE_INTEGER);
	initStringInfo(&text);
	for (int type = SHAPE_TYPES - 1; type >= 0; type--)
	{
		if ((types & (1 << type)) != 0)
			appendStringInfo(&text, "%s%s", text.len > 0 ? " or " : "", shape_type_name(type));
	}
	return text.data;
}

/*
 * The path of a node as text, palloc'd.
 */
char *
record_path_text(const shape_node *node)
{
	StringInfoData path;

	initStringInfo(&path);
	shape_append_path(&path, node);
	return path.data;
}

/* A text[] column of types as bits; null is any. */
static int
types_of_column(int row, int column)
{
	int types = 0;
	ListCell *cell;

	if (sql_is_null(row, column))
		return SHAPE_ANY_TYPE;
	foreach (cell, sql_text_array(row, column))
	{
		int type = shape_type_by_name(lfirst(cell));

		if (type >= 0)
			types |= 1 << type;
	}
	return types;
}

/* Compiles the patterns of member names that .* is for. */
static const compiled_schema *
compile_patterns(record_shape *shape, List *patterns)
{
	StringInfoData text;
	ListCell *cell;

	if (patterns == NIL)
		return NULL;
	initStringInfo(&text);
	appendStringInfoString(&text, "{\"anyOf\": [");
	foreach (cell, patterns)
	{
		appendStringInfoString(&text, foreach_current_index(cell) > 0 ? ", {\"pattern\": "
																	  : "{\"pattern\": ");
		escape_json(&text, lfirst(cell));
		appendStringInfoChar(&text, '}');
	}
	appendStringInfoString(&text, "]}");
	return schema_acquire(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data))),
						  shape->context);
}

/*
 * Puts an expectation where its path is: row of the last result.  What loads before had
 * counts only where the record_schema leaves it open.
 */
static void
expect(record_shape *shape, int row)
{
	shape_node *node = shape_node_at(shape->seen, sql_text(row, 1));
	expected_field *field = node->more;
	const expected_field *above = node->parent == NULL ? NULL : node->parent->more;
	const char *members = sql_text(row, 3);
	int types = types_of_column(row, 2);

	if (field != NULL)
		field->was_object = (types & (1 << SHAPE_OBJECT)) != 0;
	if (field != NULL ||
		(members == NULL && node->parent != NULL &&
		 (above == NULL || (node != node->parent->elements && above->unlisted != UNLISTED_OPEN))))
		return;
	field = node->more = MemoryContextAllocZero(shape->context, sizeof(expected_field));
	field->is_declared = members != NULL;
	field->unlisted = UNLISTED_OPEN;
	field->shown = types;
	if (field->is_declared)
	{
		field->types = types;
		if (strcmp(members, "listed") == 0)
			field->unlisted = UNLISTED_NEW;
		else if (strcmp(members, "any") == 0)
			field->unlisted = UNLISTED_ANY;
		field->names = compile_patterns(shape, sql_text_array(row, 4));
		return;
	}
	if (node->name != NULL)
		node->parent->new_members++; /* an object keyed by data shall not grow for ever */
	field->was_object = (types & (1 << SHAPE_OBJECT)) != 0;
	field->always = !sql_is_null(row, 5) && DatumGetBool(sql_datum(row, 5));
	/* null is the absence of a value, not a type of its own */
	field->types = types | (1 << SHAPE_NULL);
	if ((types & (1 << SHAPE_NUMBER)) != 0)
		field->types |= 1 << SHAPE_INTEGER;
	if (types == (1 << SHAPE_NULL))
		field->types = SHAPE_ANY_TYPE;
}

static record_shape *
create(MemoryContext context, record_contract contract)
{
	record_shape *shape = MemoryContextAllocZero(context, sizeof(record_shape));

	shape->context = context;
	shape->contract = contract;
	shape->seen = shape_create(context);
	shape->seen->max_steps = MAX_STEPS;
	shape->seen->max_nodes = MAX_NEW_PATHS;
	shape->seen->max_name = MAX_NAME;
	shape->seen->is_other = is_other_member;
	shape->seen->argument = shape;
	if (contract != CONTRACT_EVOLVE)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		shape->seen->visit = judge_value;
		shape->refusal = makeStringInfo();
		MemoryContextSwitchTo(old);
	}
	return shape;
}

/*
 * The shape of records that no load has yet: record_shape_add tells which of them a contract
 * other than "evolve" refuses.  Needs a transaction and SPI.  The result lives in the
 * context.
 */
record_shape *
record_shape_declared(MemoryContext context, Jsonb *record_schema)
{
	record_shape *shape = create(context, CONTRACT_DISCARD_RECORD);
	Oid types[] = {JSONBOID, INT4OID};
	Datum values[] = {JsonbPGetDatum(record_schema), Int32GetDatum(MAX_STEPS)};

	sql_call("SELECT path, types, members, name_patterns, NULL::boolean "
			 "FROM etl._schema_fields($1, $2) ORDER BY length(path)",
			 2, types, values, NULL);
	for (int row = 0; row < SPI_processed; row++)
		expect(shape, row);
	return shape;
}

/*
 * Starts, or goes on with, the shape of a load.  Needs a transaction.  The result lives in
 * the context.
 */
record_shape *
record_shape_open(MemoryContext context, int64 task_run_id, int attempt, int64 load_id)
{
	record_shape *shape;
	Oid types[] = {INT8OID, INT4OID, INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(task_run_id), Int32GetDatum(attempt), Int64GetDatum(load_id),
					  Int32GetDatum(MAX_STEPS)};
	char *contract;

	sql_call("SELECT contract, records, is_whole FROM etl._load_shape($1, $2, $3)", 3, types,
			 values, NULL);
	contract = sql_text(0, 1);
	shape = create(context, contract == NULL				  ? CONTRACT_EVOLVE
							: strcmp(contract, "freeze") == 0 ? CONTRACT_FREEZE
															  : CONTRACT_DISCARD_RECORD);
	shape->task_run_id = task_run_id;
	shape->attempt = attempt;
	shape->load_id = load_id;
	shape->seen->document_count = sql_bigint(0, 2, 0);
	shape->saved_all = DatumGetBool(sql_datum(0, 3));

	sql_call("SELECT path, types, members, name_patterns, always "
			 "FROM etl._expected_fields($1, $2, $3, $4)",
			 4, types, values, NULL);
	for (int row = 0; row < SPI_processed; row++)
		expect(shape, row);

	sql_call("SELECT f.path, t.type, t.records FROM etl._load_shape($1, $2, $3), "
			 "jsonb_each(shape) f(path, facts), jsonb_each_text(f.facts -> 'types') x(type, n), "
			 "LATERAL (SELECT x.type, x.n::bigint) t(type, records)",
			 3, types, values, NULL);
	for (int row = 0; row < SPI_processed; row++)
	{
		shape_node *node = shape_node_at(shape->seen, sql_text(row, 1));
		int type = shape_type_by_name(sql_text(row, 2));

		if (type < 0)
			continue;
		node->documents[type] = node->values[type] = sql_bigint(row, 3, 0);
		shape->seen->facts++;
	}
	shape->saved_facts = shape->seen->facts;
	return shape;
}

/* shape.is_other: the name of a member against the patterns of .* */
static bool
is_other_member(void *argument, shape_node *parent, const char *name, int length)
{
	const expected_field *field = parent->others->more;
	JsonbValue value;
	Jsonb *text;
	bool matches;

	if (field == NULL || field->names == NULL)
		return true;
	value.type = jbvString;
	value.val.string.val = (char *) name;
	value.val.string.len = length;
	text = JsonbValueToJsonb(&value);
	matches = schema_validate(field->names, text, false, NULL, NULL);
	pfree(text);
	return matches;
}

/*
 * Is a path one that the record_schema does not have, in an object whose members it lists?
 */
bool
record_field_is_undeclared(const shape_node *node)
{
	const expected_field *above = node->parent == NULL ? NULL : node->parent->more;

	return node->more == NULL && above != NULL && above->is_declared &&
		   above->unlisted == UNLISTED_NEW && node != node->parent->elements;
}

/* shape.visit: what a contract refuses. */
static void
judge_value(void *argument, shape_node *node, shape_type type, const json_view *value)
{
	record_shape *shape = argument;
	const expected_field *field = node->more;

	if (record_field_is_undeclared(node))
	{
		if (++shape->refused_fields <= MAX_SHOWN_CHANGES)
			appendStringInfo(shape->refusal, "%s%s (%s) is not in the record_schema",
							 shape->refused_fields > 1 ? "; " : "", record_path_text(node),
							 shape_type_name(type));
	}
	else if (field != NULL && field->is_declared && (field->types & (1 << type)) == 0)
	{
		if (++shape->refused_fields <= MAX_SHOWN_CHANGES)
			appendStringInfo(shape->refusal, "%s%s is %s, not %s as in the record_schema",
							 shape->refused_fields > 1 ? "; " : "", record_path_text(node),
							 shape_type_name(type), record_types_text(field->types));
	}
}

/*
 * Adds a record.  Returns why the contract wants it set aside, palloc'd; NULL if it does not.
 */
char *
record_shape_add(record_shape *shape, const Jsonb *record)
{
	if (shape->refusal != NULL)
		resetStringInfo(shape->refusal);
	shape->refused_fields = 0;
	shape_add(shape->seen, record);
	if (shape->refused_fields == 0)
		return NULL;
	shape->has_drift = true;
	if (shape->contract != CONTRACT_DISCARD_RECORD)
		return NULL;
	if (shape->refused_fields > MAX_SHOWN_CHANGES)
		appendStringInfo(shape->refusal, "; and %d more",
						 shape->refused_fields - MAX_SHOWN_CHANGES);
	return pstrdup(shape->refusal->data);
}

/*
 * The nodes right below another.
 */
List *
record_shape_children(const shape_node *node)
{
	List *children = NIL;

	for (shape_node *member = node->members; member != NULL; member = member->next)
		children = lappend(children, member);
	if (node->others != NULL)
		children = lappend(children, node->others);
	if (node->overflow != NULL)
		children = lappend(children, node->overflow);
	if (node->elements != NULL)
		children = lappend(children, node->elements);
	return children;
}

/* Keeps what has been seen so far. */
static void
save(record_shape *shape)
{
	StringInfoData out;
	List *nodes = list_make1(shape->seen->root);
	Oid types[] = {INT8OID, INT4OID, INT8OID, INT8OID, JSONBOID};
	Datum values[5];

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	while (nodes != NIL)
	{
		const shape_node *node = llast(nodes);
		int observed = shape_types(node);
		const char *separator = "";

		nodes = list_concat(list_delete_last(nodes), record_shape_children(node));
		if (observed == 0)
			continue;
		if (out.len > 1)
			appendStringInfoString(&out, ", ");
		escape_json(&out, record_path_text(node));
		appendStringInfoString(&out, ": {\"types\": {");
		for (int type = 0; type < SHAPE_TYPES; type++)
		{
			if (node->documents[type] == 0)
				continue;
			appendStringInfo(&out, "%s\"%s\": " INT64_FORMAT, separator, shape_type_name(type),
							 node->documents[type]);
			separator = ", ";
		}
		appendStringInfoChar(&out, '}');
		if (node->name != NULL && shape->saved_all)
		{
			int64 possible = node->parent->documents[SHAPE_OBJECT];

			if (shape_total(node->documents, observed) < possible)
				appendStringInfoString(&out, ", \"always\": false");
			else if (possible >= MIN_ALWAYS)
				appendStringInfoString(&out, ", \"always\": true");
		}
		appendStringInfoChar(&out, '}');
	}
	appendStringInfoChar(&out, '}');
	values[0] = Int64GetDatum(shape->task_run_id);
	values[1] = Int32GetDatum(shape->attempt);
	values[2] = Int64GetDatum(shape->load_id);
	values[3] = Int64GetDatum(shape->seen->document_count);
	values[4] = DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
	sql_call("SELECT etl._save_shape($1, $2, $3, $4, $5)", 5, types, values, NULL);
}

/*
 * Keeps which paths and types have been seen, in the transaction that commits slices; the
 * counts follow when the load is complete.  An attempt that goes on after another knows what
 * there was, if not how often.  After an error of record_shape_check, keeps why.
 */
void
record_shape_save(record_shape *shape)
{
	if (shape->contract == CONTRACT_FREEZE && shape->has_drift)
		record_drift_keep(shape, false);
	else if (shape->seen->facts != shape->saved_facts)
	{
		save(shape);
		shape->saved_facts = shape->seen->facts;
	}
}

/*
 * Records the shape of the complete load and how it differs, in the transaction that
 * completes it.
 */
void
record_shape_finish(record_shape *shape)
{
	if (shape->seen->document_count > 0)
		save(shape);
	record_drift_keep(shape, true);
}
