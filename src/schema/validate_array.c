/*-------------------------------------------------------------------------
 *
 * validate_array.c
 *	  Keywords about arrays.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"

#include "schema/validation.h"

/* Up to this many items are compared pair by pair, more by hash. */
#define UNIQUE_PAIRS_LIMIT 12

typedef struct hashed_item
{
	uint64 hash;
	int index;
	json_view value;
} hashed_item;

static bool validate_counts(validation *v, const schema_node *node, const json_view *value,
							instance_place *place);
static bool validate_items(validation *v, const schema_node *node, const json_view *value,
						   instance_place *place, evaluated_set *evaluated);
static bool validate_unique(validation *v, const schema_node *node, const json_view *value,
							instance_place *place);
static bool validate_contains(validation *v, const schema_node *node, const json_view *value,
							  instance_place *place, evaluated_set *evaluated);
static int compare_items(const void *a, const void *b);

static bool
validate_counts(validation *v, const schema_node *node, const json_view *value,
				instance_place *place)
{
	const array_rules *rules = node->array;

	if (value->length < rules->min_items)
		return validation_fail(v, node, "minItems", place, "too few items: %d of at least %lld",
							   value->length, (long long) rules->min_items);
	if (rules->max_items >= 0 && value->length > rules->max_items)
		return validation_fail(v, node, "maxItems", place, "too many items: %d of at most %lld",
							   value->length, (long long) rules->max_items);
	return true;
}

/*
 * prefixItems, items, additionalItems.
 */
static bool
validate_items(validation *v, const schema_node *node, const json_view *value,
			   instance_place *place, evaluated_set *evaluated)
{
	const array_rules *rules = node->array;
	instance_place at = {.parent = place};
	json_walk walk;
	json_view item;
	bool valid = true;

	json_walk_start(&walk, value);
	for (; json_walk_element(&walk, &item); at.index++)
	{
		const schema_node *applied =
			at.index < rules->prefix.count ? rules->prefix.node[at.index] : rules->rest;

		if (applied == NULL)
			break;
		VALIDATION_CHECK(validate_node(v, applied, &item, &at, NULL));
		if (evaluated != NULL)
			evaluated_add(evaluated, at.index);
	}
	if (evaluated != NULL && rules->rest != NULL)
		evaluated->all = true;
	return valid;
}

static int
compare_items(const void *a, const void *b)
{
	const hashed_item *item_a = a;
	const hashed_item *item_b = b;

	if (item_a->hash != item_b->hash)
		return item_a->hash < item_b->hash ? -1 : 1;
	return item_a->index - item_b->index;
}

static bool
validate_unique(validation *v, const schema_node *node, const json_view *value,
				instance_place *place)
{
	static uint64 seed = 0;
	int count = value->length;
	bool by_hash = count > UNIQUE_PAIRS_LIMIT;
	hashed_item few[UNIQUE_PAIRS_LIMIT];
	hashed_item *items = few;
	json_walk walk;
	bool valid = true;

	if (count < 2)
		return true;
	if (by_hash)
	{
		/* nobody shall be able to make documents whose items share a hash */
		if (seed == 0)
			seed = pg_prng_uint64(&pg_global_prng_state) | 1;
		items = palloc_extended(sizeof(hashed_item) * count, MCXT_ALLOC_HUGE);
	}
	json_walk_start(&walk, value);
	for (int i = 0; i < count; i++)
	{
		json_walk_element(&walk, &items[i].value);
		items[i].index = i;
		items[i].hash = by_hash ? json_hash(&items[i].value, seed) : 0;
	}
	if (by_hash)
		qsort(items, count, sizeof(hashed_item), compare_items);
	for (int i = 0; i < count && valid; i++)
	{
		for (int j = i + 1; j < count && items[j].hash == items[i].hash && valid; j++)
		{
			validation_count_steps(v, 1);
			if (json_equal(&items[i].value, &items[j].value))
				valid = validation_fail(v, node, "uniqueItems", place, "items %d and %d are equal",
										items[i].index, items[j].index);
		}
	}
	if (by_hash)
		pfree(items);
	return valid;
}

/*
 * contains, minContains, maxContains.
 */
static bool
validate_contains(validation *v, const schema_node *node, const json_view *value,
				  instance_place *place, evaluated_set *evaluated)
{
	const array_rules *rules = node->array;
	instance_place at = {.parent = place};
	evaluated_set *found = rules->contains_evaluates ? evaluated : NULL;
	schema_report report = v->report;
	int64 count = 0;
	json_walk walk;
	json_view item;

	v->report = NULL;
	json_walk_start(&walk, value);
	for (; json_walk_element(&walk, &item); at.index++)
	{
		if (!validate_node(v, rules->contains, &item, &at, NULL))
			continue;
		count++;
		if (found != NULL)
			evaluated_add(found, at.index);
		else if (count >= rules->min_contains && rules->max_contains < 0)
			break;
		else if (rules->max_contains >= 0 && count > rules->max_contains)
			break;
	}
	v->report = report;
	if (count < rules->min_contains)
		return validation_fail(v, node, rules->min_contains == 1 ? "contains" : "minContains",
							   place, "too few items match: %lld of at least %lld",
							   (long long) count, (long long) rules->min_contains);
	if (rules->max_contains >= 0 && count > rules->max_contains)
		return validation_fail(v, node, "maxContains", place,
							   "too many items match: more than %lld",
							   (long long) rules->max_contains);
	return true;
}

bool
validate_array(validation *v, const schema_node *node, const json_view *value,
			   instance_place *place, evaluated_set *evaluated)
{
	const array_rules *rules = node->array;
	bool valid = true;

	VALIDATION_CHECK(validate_counts(v, node, value, place));
	if (rules->prefix.count > 0 || rules->rest != NULL)
		VALIDATION_CHECK(validate_items(v, node, value, place, evaluated));
	if (rules->unique)
		VALIDATION_CHECK(validate_unique(v, node, value, place));
	if (rules->contains != NULL)
		VALIDATION_CHECK(validate_contains(v, node, value, place, evaluated));
	return valid;
}

/*
 * unevaluatedItems: the items that nothing before it has evaluated.
 */
bool
validate_unevaluated_items(validation *v, const schema_node *node, const json_view *value,
						   instance_place *place, evaluated_set *evaluated)
{
	const schema_node *unevaluated = node->array->unevaluated;
	instance_place at = {.parent = place};
	json_walk walk;
	json_view item;
	bool valid = true;

	json_walk_start(&walk, value);
	for (; json_walk_element(&walk, &item); at.index++)
	{
		if (evaluated_has(evaluated, at.index))
			continue;
		if (unevaluated->is_boolean && !unevaluated->verdict)
			VALIDATION_CHECK(validation_fail(v, node, "unevaluatedItems", &at,
											 "item %d is not allowed", at.index));
		else
			VALIDATION_CHECK(validate_node(v, unevaluated, &item, &at, NULL));
	}
	evaluated->all = true;
	return valid;
}
