/*-------------------------------------------------------------------------
 *
 * record_drift.c
 *	  How the records of a load differ from what is expected of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "call_sql.h"
#include "extract/raw/record_shape_internal.h"

/* One difference, appended to the JSON array of all. */
static void
append_change(StringInfo out, const shape_node *node, const char *change, int declared,
			  int observed, int64 records)
{
	appendStringInfoString(out, out->len > 1 ? ", {\"path\": " : "{\"path\": ");
	escape_json(out, record_path_text(node));
	appendStringInfo(out, ", \"change\": \"%s\", \"records\": " INT64_FORMAT, change, records);
	if (declared != 0)
		appendStringInfo(out, ", \"declared\": \"%s\"",
						 declared == SHAPE_ANY_TYPE ? "any" : record_types_text(declared));
	if (observed != 0)
		appendStringInfo(out, ", \"observed\": \"%s\"", record_types_text(observed));
	appendStringInfoChar(out, '}');
}

/*
 * Appends the differences at and below a node.  What is below a field that is new, missing
 * or of another type says nothing more.
 */
static void
append_drift(StringInfo out, const shape_node *node, bool with_missing)
{
	const expected_field *field = node->more;
	const shape_node *parent = node->parent;
	int observed = shape_types(node);
	ListCell *cell;

	if (field == NULL)
	{
		const expected_field *above = parent == NULL ? NULL : parent->more;

		/* one line for members too many to be told apart */
		if (observed == 0 || above == NULL || node == parent->elements ||
			(node->name != NULL && parent->overflow != NULL))
			return;
		if (above->unlisted == UNLISTED_NEW ||
			(above->unlisted == UNLISTED_OPEN && above->was_object))
			append_change(out, node, "new", 0, observed, shape_total(node->documents, observed));
		return;
	}
	if (observed == 0)
	{
		if (with_missing && parent != NULL && node->name != NULL &&
			parent->values[SHAPE_OBJECT] > 0 && field->types != 0 &&
			(field->is_declared || field->always))
			append_change(out, node, "missing", field->shown, 0, 0);
		return;
	}
	if ((observed & ~field->types) != 0)
	{
		append_change(out, node, "retyped", field->shown, observed & ~field->types,
					  shape_total(node->documents, observed & ~field->types));
		return;
	}
	foreach (cell, record_shape_children(node))
		append_drift(out, lfirst(cell), with_missing);
}

/* All differences, as a JSON array. */
static Datum
drift_as_jsonb(record_shape *shape, bool with_missing)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	append_drift(&out, shape->seen->root, with_missing);
	appendStringInfoChar(&out, ']');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
}

/*
 * Keeps the differences, in the current transaction; with_missing: the load is complete.
 */
void
record_drift_keep(record_shape *shape, bool with_missing)
{
	Oid types[] = {INT8OID, INT4OID, INT8OID, JSONBOID};
	Datum values[] = {Int64GetDatum(shape->task_run_id), Int32GetDatum(shape->attempt),
					  Int64GetDatum(shape->load_id), drift_as_jsonb(shape, with_missing)};

	sql_call("SELECT etl._record_drift($1, $2, $3, $4)", 4, types, values, NULL);
}

/* The differences as a sentence: the first few of them. */
static void
append_sentence(StringInfo out, const shape_node *node, int *count)
{
	const expected_field *field = node->more;
	int strange = field == NULL || !field->is_declared ? 0 : shape_types(node) & ~field->types;
	ListCell *cell;

	if (!record_field_is_undeclared(node) && strange == 0)
	{
		foreach (cell, record_shape_children(node))
			append_sentence(out, lfirst(cell), count);
		return;
	}
	if (shape_types(node) == 0 || ++*count > 2 * MAX_SHOWN_CHANGES)
		return;
	if (*count > 1)
		appendStringInfoString(out, "; ");
	if (strange == 0)
		appendStringInfo(out, "%s (%s) is not in the record_schema", record_path_text(node),
						 record_types_text(shape_types(node)));
	else
		appendStringInfo(out, "%s is %s, not %s as in the record_schema", record_path_text(node),
						 record_types_text(strange), record_types_text(field->types));
}

/*
 * With contract "freeze": raises if records have differed from the record_schema.
 */
void
record_shape_check(record_shape *shape)
{
	StringInfoData sentence;
	int count = 0;

	if (shape->contract != CONTRACT_FREEZE || !shape->has_drift)
		return;
	initStringInfo(&sentence);
	append_sentence(&sentence, shape->seen->root, &count);
	if (count > 2 * MAX_SHOWN_CHANGES)
		appendStringInfo(&sentence, "; and %d more", count - 2 * MAX_SHOWN_CHANGES);
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("the records have changed, and the contract of the task is \"freeze\""),
			 errdetail("%s.", sentence.data),
			 errhint("Nothing of the load is published. To take the records as they are, declare "
					 "the task with a record_schema that has these fields, or with contract => "
					 "'evolve', and run the interval again: it goes on at this page. "
					 "etl.schema_drift lists the changes; etl.infer_schema proposes a "
					 "record_schema from published records.")));
}
