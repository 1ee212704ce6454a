/*-------------------------------------------------------------------------
 *
 * validate.c
 *	  A document against a compiled schema: one schema node applied to one value.
 *
 * Nothing here can run away: the schemas applied to one value at a time are bounded, so
 * that a reference that leads back to itself ends in an error; all steps of a validation
 * are bounded, in proportion to the document; and every step can be interrupted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "schema/compile.h"
#include "schema/validation.h"

/* What a validation may cost: a start, and so much for every byte of the document. */
#define STEPS_BASE INT64CONST(10000000)
#define STEPS_PER_BYTE 100
#define STEPS_BETWEEN_PAUSES 1024

#define ALIAS_HOPS_MAX 16

/* How many schemas may apply to one value at once, each because of the one before. */
#define SCHEMAS_AT_ONCE_BASE 64
#define SCHEMAS_AT_ONCE_MAX 20000

static const schema_node *follow_dynamic(const validation *v, const schema_node *node);
static bool enter_scope(validation *v, schema_resource *resource);
static void leave_scope(validation *v);
static bool validate_applicators(validation *v, const schema_node *node, const json_view *value,
								 instance_place *place, evaluated_set *evaluated);
static bool apply_keywords(validation *v, const schema_node *node, const json_view *value,
						   instance_place *place, evaluated_set *evaluated);
static bool validate_branch(validation *v, const schema_node *node, const json_view *value,
							instance_place *place, evaluated_set *evaluated);
static bool validate_any_of(validation *v, const schema_node *node, const json_view *value,
							instance_place *place, evaluated_set *evaluated);
static bool validate_one_of(validation *v, const schema_node *node, const json_view *value,
							instance_place *place, evaluated_set *evaluated);
static bool validate_silently(validation *v, const schema_node *node, const json_view *value,
							  instance_place *place, evaluated_set *evaluated);

/*
 * Serves interrupts; raises when the budget of the validation is used up.
 */
void
validation_pause(validation *v)
{
	CHECK_FOR_INTERRUPTS();
	v->steps_left += v->steps_to_pause - STEPS_BETWEEN_PAUSES;
	v->steps_to_pause = STEPS_BETWEEN_PAUSES;
	if (v->steps_left < 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("JSON Schema validation takes too many steps"),
				 errhint("A schema whose branches lead to each other many times costs more with "
						 "every level; tell the alternatives apart, for example by \"if\" and "
						 "\"then\".")));
}

/*
 * Where a $dynamicRef or $recursiveRef leads: to the anchor of its name in the outermost
 * resource of the dynamic scope that has one.
 */
static const schema_node *
follow_dynamic(const validation *v, const schema_node *node)
{
	if (node->dynamic_name < 0)
		return node->dynamic_reference;
	for (int i = 0; i < v->scope_count; i++)
	{
		ListCell *cell;

		foreach (cell, v->scope[i]->dynamic_anchors)
		{
			const dynamic_anchor *anchor = lfirst(cell);

			if (anchor->name == node->dynamic_name)
				return anchor->node;
		}
	}
	return node->dynamic_reference;
}

/*
 * Adds a resource to the dynamic scope; false when it is there already, which changes
 * nothing since the outermost one counts.
 */
static bool
enter_scope(validation *v, schema_resource *resource)
{
	if (v->in_scope[resource->number])
		return false;
	v->in_scope[resource->number] = true;
	v->scope[v->scope_count++] = resource;
	return true;
}

static void
leave_scope(validation *v)
{
	v->in_scope[v->scope[--v->scope_count]->number] = false;
}

/*
 * Applies a schema, nothing reported.
 */
static bool
validate_silently(validation *v, const schema_node *node, const json_view *value,
				  instance_place *place, evaluated_set *evaluated)
{
	schema_report report = v->report;
	bool valid;

	v->report = NULL;
	valid = validate_node(v, node, value, place, evaluated);
	v->report = report;
	return valid;
}

/*
 * Applies a schema that may fail without failing the whole: what it evaluated counts only
 * if it succeeds.
 */
static bool
validate_branch(validation *v, const schema_node *node, const json_view *value,
				instance_place *place, evaluated_set *evaluated)
{
	evaluated_set own;
	bool valid;

	if (evaluated == NULL)
		return validate_silently(v, node, value, place, NULL);
	evaluated_start(&own, evaluated->count);
	valid = validate_silently(v, node, value, place, &own);
	if (valid)
		evaluated_merge(evaluated, &own);
	evaluated_end(&own);
	return valid;
}

static bool
validate_any_of(validation *v, const schema_node *node, const json_view *value,
				instance_place *place, evaluated_set *evaluated)
{
	bool valid = false;

	for (int i = 0; i < node->any_of.count; i++)
	{
		if (validate_branch(v, node->any_of.node[i], value, place, evaluated))
		{
			valid = true;
			if (evaluated == NULL)
				break;
		}
	}
	if (valid || v->report == NULL)
		return valid;
	for (int i = 0; i < node->any_of.count; i++)
		validate_node(v, node->any_of.node[i], value, place, NULL);
	return validation_fail(v, node, "anyOf", place, "none of the %d schemas matches",
						   node->any_of.count);
}

static bool
validate_one_of(validation *v, const schema_node *node, const json_view *value,
				instance_place *place, evaluated_set *evaluated)
{
	int first = -1;

	for (int i = 0; i < node->one_of.count; i++)
	{
		if (!validate_branch(v, node->one_of.node[i], value, place, evaluated))
			continue;
		if (first >= 0)
			return validation_fail(v, node, "oneOf", place,
								   "more than one schema matches: %d and %d of %d", first, i,
								   node->one_of.count);
		first = i;
	}
	if (first >= 0 || v->report == NULL)
		return first >= 0;
	for (int i = 0; i < node->one_of.count; i++)
		validate_node(v, node->one_of.node[i], value, place, NULL);
	return validation_fail(v, node, "oneOf", place, "none of the %d schemas matches",
						   node->one_of.count);
}

/*
 * The keywords that apply further schemas to the same value.
 */
static bool
validate_applicators(validation *v, const schema_node *node, const json_view *value,
					 instance_place *place, evaluated_set *evaluated)
{
	bool valid = true;

	if (node->reference != NULL)
		VALIDATION_CHECK(validate_node(v, node->reference, value, place, evaluated));
	if (node->dynamic_reference != NULL)
		VALIDATION_CHECK(validate_node(v, follow_dynamic(v, node), value, place, evaluated));
	for (int i = 0; i < node->all_of.count; i++)
		VALIDATION_CHECK(validate_node(v, node->all_of.node[i], value, place, evaluated));
	if (node->any_of.count > 0)
		VALIDATION_CHECK(validate_any_of(v, node, value, place, evaluated));
	if (node->one_of.count > 0)
		VALIDATION_CHECK(validate_one_of(v, node, value, place, evaluated));
	if (node->negated != NULL && validate_silently(v, node->negated, value, place, NULL))
		VALIDATION_CHECK(
			validation_fail(v, node, "not", place, "the value matches what it must not match"));
	if (node->condition != NULL)
	{
		const schema_node *next = validate_branch(v, node->condition, value, place, evaluated)
									  ? node->consequence
									  : node->alternative;

		if (next != NULL)
			VALIDATION_CHECK(validate_node(v, next, value, place, evaluated));
	}
	return valid;
}

/*
 * All keywords of a node on a value.
 */
static bool
apply_keywords(validation *v, const schema_node *node, const json_view *value,
			   instance_place *place, evaluated_set *evaluated)
{
	bool valid = true;

	if (node->types != 0 && (node->types & TYPE_BIT(value->kind)) == 0)
		VALIDATION_CHECK(validate_type(v, node, value, place));
	if (node->allowed != NULL || node->constant != NULL)
		VALIDATION_CHECK(validate_values(v, node, value, place));
	if (value->kind == JV_STRING && node->string != NULL)
		VALIDATION_CHECK(validate_string(v, node, value, place));
	else if (value->kind == JV_NUMBER && node->number != NULL)
		VALIDATION_CHECK(validate_number(v, node, value, place));
	else if (value->kind == JV_OBJECT && node->object != NULL)
		VALIDATION_CHECK(validate_object(v, node, value, place, evaluated));
	else if (value->kind == JV_ARRAY && node->array != NULL)
		VALIDATION_CHECK(validate_array(v, node, value, place, evaluated));
	if (node->has_applicators)
		VALIDATION_CHECK(validate_applicators(v, node, value, place, evaluated));
	if (value->kind == JV_OBJECT && node->object != NULL && node->object->unevaluated != NULL)
		VALIDATION_CHECK(validate_unevaluated_members(v, node, value, place, evaluated));
	if (value->kind == JV_ARRAY && node->array != NULL && node->array->unevaluated != NULL)
		VALIDATION_CHECK(validate_unevaluated_items(v, node, value, place, evaluated));
	return valid;
}

/*
 * Applies a schema to a value.  evaluated, unless NULL, receives the members or items of
 * the value that the schema evaluated; it means nothing after a failure.
 */
bool
validate_node(validation *v, const schema_node *node, const json_view *value, instance_place *place,
			  evaluated_set *evaluated)
{
	evaluated_set own;
	evaluated_set *outer = NULL;
	bool entered = false;
	bool valid;

	/* a mere $ref is skipped, unless it enters the dynamic scope or leads in a circle */
	for (int hops = 0; node->is_alias && v->scope == NULL && hops < ALIAS_HOPS_MAX; hops++)
		node = node->reference;
	if (node->is_boolean)
		return node->verdict ||
			   validation_fail(v, node, "false", place, "no value is allowed here");

	validation_count_steps(v, 1 + (value->kind == JV_STRING ? 0 : value->length / 16));
	/* most values are scalars under a schema of their own: nothing below can recurse */
	if (value->kind < JV_ARRAY && !node->has_applicators)
		return apply_keywords(v, node, value, place, NULL);

	check_stack_depth();
	if (++place->schemas > v->schemas_limit)
		ereport(ERROR, (errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
						errmsg("JSON Schema recurses without end on one value"),
						errdetail("The recursion passes through \"%s\".",
								  schema_step_text(node->resource, node->path, NULL)),
						errhint("A reference must not lead back to its own schema without going "
								"into a property or an item.")));
	if (v->scope != NULL)
		entered = enter_scope(v, node->resource);

	if (value->kind < JV_ARRAY)
		evaluated = NULL;
	else if ((node->object != NULL && node->object->unevaluated != NULL) ||
			 (node->array != NULL && node->array->unevaluated != NULL))
	{
		evaluated_start(&own, value->length);
		outer = evaluated;
		evaluated = &own;
	}

	valid = apply_keywords(v, node, value, place, evaluated);

	if (evaluated == &own)
	{
		if (outer != NULL && valid)
			evaluated_merge(outer, &own);
		evaluated_end(&own);
	}
	if (entered)
		leave_scope(v);
	place->schemas--;
	return valid;
}

/*
 * See schema.h.
 */
bool
schema_validate(const compiled_schema *schema, const Jsonb *document, bool assert_format,
				schema_report report, void *argument)
{
	validation v = {0};
	instance_place root = {0};
	json_view value;
	bool valid;

	v.schema = schema;
	v.assert_format = assert_format;
	v.report = report;
	v.argument = argument;
	v.steps_left = STEPS_BASE + (int64) VARSIZE(document) * STEPS_PER_BYTE;
	v.schemas_limit = Min(SCHEMAS_AT_ONCE_BASE + 2 * schema->node_count, SCHEMAS_AT_ONCE_MAX);
	if (schema->has_dynamic)
	{
		v.scope = palloc(sizeof(schema_resource *) * schema->resource_count);
		v.in_scope = palloc0(sizeof(bool) * schema->resource_count);
	}
	json_view_root(document, &value);
	valid = validate_node(&v, schema->root, &value, &root, NULL);
	if (v.scope != NULL)
	{
		pfree(v.scope);
		pfree(v.in_scope);
	}
	return valid;
}
