/*-------------------------------------------------------------------------
 *
 * validate_object.c
 *	  Keywords about objects.  Members come in the order in which JSONB stores them, the
 *	  members a schema names are sorted alike: one pass over both.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "schema/pattern.h"
#include "schema/text.h"
#include "schema/validation.h"

static bool validate_counts(validation *v, const schema_node *node, const json_view *value,
							instance_place *place);
static bool validate_members(validation *v, const schema_node *node, const json_view *value,
							 instance_place *place, evaluated_set *evaluated);
static bool validate_dependencies(validation *v, const schema_node *node, const json_view *value,
								  instance_place *place, evaluated_set *evaluated);
static bool fail_missing(validation *v, const schema_node *node, const named_member *member,
						 const instance_place *place);
static bool fail_not_allowed(validation *v, const schema_node *node, const char *keyword,
							 const instance_place *member);
static bool fail_dependent(validation *v, const schema_node *node, const dependency *wanted,
						   const json_view *name, const instance_place *place);

static bool
validate_counts(validation *v, const schema_node *node, const json_view *value,
				instance_place *place)
{
	const object_rules *rules = node->object;

	if (value->length < rules->min_properties)
		return validation_fail(v, node, "minProperties", place,
							   "too few properties: %d of at least %lld", value->length,
							   (long long) rules->min_properties);
	if (rules->max_properties >= 0 && value->length > rules->max_properties)
		return validation_fail(v, node, "maxProperties", place,
							   "too many properties: %d of at most %lld", value->length,
							   (long long) rules->max_properties);
	return true;
}

static bool
fail_missing(validation *v, const schema_node *node, const named_member *member,
			 const instance_place *place)
{
	if (v->report == NULL)
		return false;
	return validation_fail(v, node, "required", place, "the property \"%s\" is missing",
						   text_shown(member->key, member->length));
}

static bool
fail_not_allowed(validation *v, const schema_node *node, const char *keyword,
				 const instance_place *member)
{
	if (v->report == NULL)
		return false;
	return validation_fail(v, node, keyword, member, "the property \"%s\" is not allowed",
						   text_shown(member->key, member->length));
}

static bool
fail_dependent(validation *v, const schema_node *node, const dependency *wanted,
			   const json_view *name, const instance_place *place)
{
	if (v->report == NULL)
		return false;
	return validation_fail(
		v, node, wanted->keyword, place, "the property \"%s\" is missing, which \"%s\" requires",
		text_shown(name->u.string, name->length), text_shown(wanted->key, wanted->length));
}

/*
 * properties, required, patternProperties, additionalProperties, propertyNames.
 */
static bool
validate_members(validation *v, const schema_node *node, const json_view *value,
				 instance_place *place, evaluated_set *evaluated)
{
	const object_rules *rules = node->object;
	const named_member *member = rules->members;
	const named_member *end = member + rules->member_count;
	instance_place at = {.parent = place};
	json_walk walk;
	json_view child;
	bool valid = true;

	json_walk_start(&walk, value);
	for (int i = 0; json_walk_member(&walk, &at.key, &at.length, &child); i++)
	{
		int order = -1;
		bool known = false;

		while (member < end &&
			   (order = json_key_compare(member->key, member->length, at.key, at.length)) < 0)
		{
			if (member->required)
				VALIDATION_CHECK(fail_missing(v, node, member, place));
			member++;
		}
		if (member < end && order == 0)
		{
			if (member->node != NULL)
			{
				known = true;
				VALIDATION_CHECK(validate_node(v, member->node, &child, &at, NULL));
			}
			member++;
		}
		for (int p = 0; p < rules->pattern_count; p++)
		{
			if (schema_pattern_matches(v, rules->patterns[p].pattern, at.key, at.length))
			{
				known = true;
				VALIDATION_CHECK(validate_node(v, rules->patterns[p].node, &child, &at, NULL));
			}
		}
		if (!known && rules->additional != NULL)
		{
			known = true;
			if (rules->additional->is_boolean && !rules->additional->verdict)
				VALIDATION_CHECK(fail_not_allowed(v, node, "additionalProperties", &at));
			else
				VALIDATION_CHECK(validate_node(v, rules->additional, &child, &at, NULL));
		}
		if (known && evaluated != NULL)
			evaluated_add(evaluated, i);
		if (rules->names != NULL)
		{
			json_view name = {.kind = JV_STRING, .length = at.length, .u.string = at.key};

			VALIDATION_CHECK(validate_node(v, rules->names, &name, &at, NULL));
		}
	}
	for (; member < end; member++)
	{
		if (member->required)
			VALIDATION_CHECK(fail_missing(v, node, member, place));
	}
	return valid;
}

/*
 * dependencies, dependentRequired, dependentSchemas.
 */
static bool
validate_dependencies(validation *v, const schema_node *node, const json_view *value,
					  instance_place *place, evaluated_set *evaluated)
{
	const object_rules *rules = node->object;
	json_view found;
	bool valid = true;

	for (int i = 0; i < rules->dependency_count; i++)
	{
		const dependency *each = &rules->dependencies[i];

		if (!json_find(value, each->key, each->length, &found))
			continue;
		for (int r = 0; r < each->required_count; r++)
		{
			const json_view *name = &each->required[r];

			if (!json_find(value, name->u.string, name->length, &found))
				VALIDATION_CHECK(fail_dependent(v, node, each, name, place));
		}
		if (each->node != NULL)
			VALIDATION_CHECK(validate_node(v, each->node, value, place, evaluated));
	}
	return valid;
}

bool
validate_object(validation *v, const schema_node *node, const json_view *value,
				instance_place *place, evaluated_set *evaluated)
{
	const object_rules *rules = node->object;
	bool valid = true;

	VALIDATION_CHECK(validate_counts(v, node, value, place));
	if (rules->member_count > 0 || rules->pattern_count > 0 || rules->additional != NULL ||
		rules->names != NULL)
	{
		validation_count_steps(v, (int64) rules->member_count / 16 +
									  (int64) value->length * rules->pattern_count);
		VALIDATION_CHECK(validate_members(v, node, value, place, evaluated));
	}
	if (rules->dependency_count > 0)
	{
		validation_count_steps(v, rules->dependency_count);
		VALIDATION_CHECK(validate_dependencies(v, node, value, place, evaluated));
	}
	return valid;
}

/*
 * unevaluatedProperties: the members that nothing before it has evaluated.
 */
bool
validate_unevaluated_members(validation *v, const schema_node *node, const json_view *value,
							 instance_place *place, evaluated_set *evaluated)
{
	const schema_node *unevaluated = node->object->unevaluated;
	instance_place at = {.parent = place};
	json_walk walk;
	json_view child;
	bool valid = true;

	json_walk_start(&walk, value);
	for (int i = 0; json_walk_member(&walk, &at.key, &at.length, &child); i++)
	{
		if (evaluated_has(evaluated, i))
			continue;
		if (unevaluated->is_boolean && !unevaluated->verdict)
			VALIDATION_CHECK(fail_not_allowed(v, node, "unevaluatedProperties", &at));
		else
			VALIDATION_CHECK(validate_node(v, unevaluated, &child, &at, NULL));
	}
	evaluated->all = true;
	return valid;
}
