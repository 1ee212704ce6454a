/*-------------------------------------------------------------------------
 *
 * json_view.c
 *	  Reading JSONB in place: lookups, equality and hashes as JSON Schema means them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "schema/json_view.h"
#include "schema/number.h"
#include "schema/text.h"

static void view_child(const JsonbContainer *container, uint32 index, uint32 entries,
					   json_view *out);
static void append_value(StringInfo out, const json_view *value);

/*
 * The child at an index among the entries of a container (keys count, too).
 */
static void
view_child(const JsonbContainer *container, uint32 index, uint32 entries, json_view *out)
{
	const char *data = (const char *) &container->children[entries];
	uint32 offset = getJsonbOffset(container, index);

	json_view_entry(container->children[index], data, offset,
					offset + getJsonbLength(container, index), out);
}

/*
 * The value a datum holds.
 */
void
json_view_root(const Jsonb *jsonb, json_view *out)
{
	const JsonbContainer *root = &jsonb->root;

	if (JsonContainerIsScalar(root))
		view_child(root, 0, 1, out);
	else
	{
		out->kind = JsonContainerIsObject(root) ? JV_OBJECT : JV_ARRAY;
		out->length = JsonContainerSize(root);
		out->u.container = root;
	}
}

/*
 * Starts a walk over an array (json_walk_element) or object (json_walk_member).
 */
void
json_walk_start(json_walk *walk, const json_view *container)
{
	const JsonbContainer *root = container->u.container;
	uint32 count = JsonContainerSize(root);
	bool is_object = container->kind == JV_OBJECT;

	walk->container = root;
	walk->count = count;
	walk->next = 0;
	walk->data = (const char *) &root->children[is_object ? 2 * count : count];
	walk->key_offset = 0;
	walk->value_offset = is_object && count > 0 ? getJsonbOffset(root, count) : 0;
}

/*
 * Looks a member up by its key.
 */
bool
json_find(const json_view *object, const char *key, int length, json_view *out)
{
	const JsonbContainer *root = object->u.container;
	const char *data;
	uint32 count;
	uint32 low = 0;
	uint32 high;

	if (object->kind != JV_OBJECT)
		return false;
	high = count = JsonContainerSize(root);
	data = (const char *) &root->children[2 * count];
	while (low < high)
	{
		uint32 middle = low + (high - low) / 2;
		int order = json_key_compare(data + getJsonbOffset(root, middle),
									 getJsonbLength(root, middle), key, length);

		if (order == 0)
		{
			view_child(root, count + middle, 2 * count, out);
			return true;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/*
 * Looks a member up by a terminated key.
 */
bool
json_find_name(const json_view *object, const char *key, json_view *out)
{
	return json_find(object, key, strlen(key), out);
}

/*
 * The element at an index; false when the array is shorter.
 */
bool
json_element(const json_view *array, uint32 index, json_view *out)
{
	if (array->kind != JV_ARRAY || index >= JsonContainerSize(array->u.container))
		return false;
	view_child(array->u.container, index, JsonContainerSize(array->u.container), out);
	return true;
}

/*
 * Equality of JSON Schema: numbers by value, members in any order, strings by bytes.
 */
bool
json_equal(const json_view *a, const json_view *b)
{
	json_walk walk_a;
	json_walk walk_b;
	json_view child_a;
	json_view child_b;

	if (a->kind != b->kind || a->length != b->length)
		return false;
	switch (a->kind)
	{
		case JV_NULL:
			return true;
		case JV_BOOLEAN:
			return a->u.boolean == b->u.boolean;
		case JV_STRING:
			return memcmp(a->u.string, b->u.string, a->length) == 0;
		case JV_NUMBER:
			return json_number_compare(a->u.number, b->u.number) == 0;
		case JV_ARRAY:
			check_stack_depth();
			json_walk_start(&walk_a, a);
			json_walk_start(&walk_b, b);
			while (json_walk_element(&walk_a, &child_a))
			{
				CHECK_FOR_INTERRUPTS();
				json_walk_element(&walk_b, &child_b);
				if (!json_equal(&child_a, &child_b))
					return false;
			}
			return true;
		case JV_OBJECT:
			check_stack_depth();
			json_walk_start(&walk_a, a);
			json_walk_start(&walk_b, b);
			for (;;)
			{
				const char *key_a;
				const char *key_b;
				int length_a;
				int length_b;

				CHECK_FOR_INTERRUPTS();
				if (!json_walk_member(&walk_a, &key_a, &length_a, &child_a) ||
					!json_walk_member(&walk_b, &key_b, &length_b, &child_b))
					return true;
				if (json_key_compare(key_a, length_a, key_b, length_b) != 0 ||
					!json_equal(&child_a, &child_b))
					return false;
			}
	}
	return false;
}

/*
 * A hash that equal values share.
 */
uint64
json_hash(const json_view *value, uint64 seed)
{
	json_walk walk;
	json_view child;
	uint64 hash = seed + value->kind + 1;

	switch (value->kind)
	{
		case JV_NULL:
			break;
		case JV_BOOLEAN:
			hash = hash_combine64(hash, value->u.boolean);
			break;
		case JV_STRING:
			return hash_bytes_extended((const unsigned char *) value->u.string, value->length,
									   hash);
		case JV_NUMBER:
			return DatumGetUInt64(DirectFunctionCall2(
				hash_numeric_extended, NumericGetDatum(value->u.number), UInt64GetDatum(hash)));
		case JV_ARRAY:
			check_stack_depth();
			json_walk_start(&walk, value);
			while (json_walk_element(&walk, &child))
			{
				CHECK_FOR_INTERRUPTS();
				hash = hash_combine64(hash, json_hash(&child, seed));
			}
			break;
		case JV_OBJECT:
		{
			const char *key;
			int length;

			check_stack_depth();
			json_walk_start(&walk, value);
			while (json_walk_member(&walk, &key, &length, &child))
			{
				CHECK_FOR_INTERRUPTS();
				hash = hash_combine64(
					hash, hash_bytes_extended((const unsigned char *) key, length, seed));
				hash = hash_combine64(hash, json_hash(&child, seed));
			}
			break;
		}
	}
	return hash;
}

static void
append_value(StringInfo out, const json_view *value)
{
	json_walk walk;
	json_view child;
	const char *key;
	int length;

	check_stack_depth();
	switch (value->kind)
	{
		case JV_NULL:
			appendStringInfoString(out, "null");
			break;
		case JV_BOOLEAN:
			appendStringInfoString(out, value->u.boolean ? "true" : "false");
			break;
		case JV_NUMBER:
			appendStringInfoString(out, DatumGetCString(DirectFunctionCall1(
											numeric_out, NumericGetDatum(value->u.number))));
			break;
		case JV_STRING:
			text_append_json(out, value->u.string, value->length);
			break;
		case JV_ARRAY:
			appendStringInfoChar(out, '[');
			json_walk_start(&walk, value);
			while (json_walk_element(&walk, &child))
			{
				appendStringInfoString(out, walk.next > 1 ? ", " : "");
				append_value(out, &child);
			}
			appendStringInfoChar(out, ']');
			break;
		case JV_OBJECT:
			appendStringInfoChar(out, '{');
			json_walk_start(&walk, value);
			while (json_walk_member(&walk, &key, &length, &child))
			{
				appendStringInfoString(out, walk.next > 1 ? ", " : "");
				text_append_json(out, key, length);
				appendStringInfoString(out, ": ");
				append_value(out, &child);
			}
			appendStringInfoChar(out, '}');
			break;
	}
}

/*
 * A value as JSON text, for messages; palloc'd.
 */
char *
json_text(const json_view *value)
{
	StringInfoData out;

	initStringInfo(&out);
	append_value(&out, value);
	return out.data;
}
