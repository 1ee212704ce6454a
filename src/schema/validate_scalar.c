/*-------------------------------------------------------------------------
 *
 * validate_scalar.c
 *	  Keywords about one value by itself: its type, its value, numbers, strings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "schema/formats.h"
#include "schema/number.h"
#include "schema/pattern.h"
#include "schema/text.h"
#include "schema/validation.h"

static bool is_integer(const schema_node *node, Numeric number);
static bool is_allowed(const enum_rules *allowed, const json_view *value);

/*
 * Draft 4 takes a number for an integer only when it is written without a fraction.
 */
static bool
is_integer(const schema_node *node, Numeric number)
{
	if (node->strict_integer)
		return json_number_is_written_as_integer(number);
	return json_number_is_integer(number);
}

bool
validate_type(validation *v, const schema_node *node, const json_view *value, instance_place *place)
{
	if ((node->types & TYPE_BIT(value->kind)) != 0)
		return true;
	if (value->kind == JV_NUMBER && (node->types & TYPE_INTEGER) != 0 &&
		is_integer(node, value->u.number))
		return true;
	if (v->report == NULL)
		return false;
	return validation_fail(v, node, "type", place, "%s is not of type %s", describe_value(value),
						   describe_types(node->types));
}

static bool
is_allowed(const enum_rules *allowed, const json_view *value)
{
	uint64 hash;
	int low = 0;
	int high = allowed->count;

	if (allowed->hashes == NULL)
	{
		for (int i = 0; i < allowed->count; i++)
		{
			if (json_equal(&allowed->values[i], value))
				return true;
		}
		return false;
	}
	hash = json_hash(value, 0);
	while (low < high)
	{
		int middle = (low + high) / 2;

		if (allowed->hashes[middle] < hash)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < allowed->count && allowed->hashes[low] == hash; low++)
	{
		if (json_equal(&allowed->values[low], value))
			return true;
	}
	return false;
}

/*
 * enum and const.
 */
bool
validate_values(validation *v, const schema_node *node, const json_view *value,
				instance_place *place)
{
	bool valid = true;

	if (node->allowed != NULL && !is_allowed(node->allowed, value))
	{
		if (v->report == NULL)
			return false;
		valid = validation_fail(v, node, "enum", place, "%s is not one of the %d allowed values",
								describe_value(value), node->allowed->count);
	}
	if (node->constant != NULL && !json_equal(node->constant, value))
	{
		if (v->report == NULL)
			return false;
		valid = validation_fail(v, node, "const", place, "%s is not the required value %s",
								describe_value(value), describe_value(node->constant));
	}
	return valid;
}

bool
validate_number(validation *v, const schema_node *node, const json_view *value,
				instance_place *place)
{
	const number_rules *rules = node->number;
	Numeric number = value->u.number;
	bool valid = true;

#define LIMIT(limit, keyword, breaks, text)                                                        \
	if (rules->limit != NULL && json_number_compare(number, rules->limit) breaks 0)                \
	{                                                                                              \
		json_view bound = {.kind = JV_NUMBER, .u.number = rules->limit};                           \
                                                                                                   \
		if (v->report == NULL)                                                                     \
			return false;                                                                          \
		valid = validation_fail(v, node, keyword, place, "%s is " text " %s",                      \
								describe_value(value), describe_value(&bound));                    \
	}

	LIMIT(minimum, "minimum", <, "less than the minimum");
	LIMIT(maximum, "maximum", >, "greater than the maximum");
	/* draft 4 qualifies minimum and maximum, later drafts have keywords of their own */
	LIMIT(exclusive_minimum, node->strict_integer ? "minimum" : "exclusiveMinimum", <=,
		  "not greater than");
	LIMIT(exclusive_maximum, node->strict_integer ? "maximum" : "exclusiveMaximum", >=,
		  "not less than");
	if (rules->multiple_of != NULL && !json_number_is_multiple(number, rules->multiple_of))
	{
		json_view divisor = {.kind = JV_NUMBER, .u.number = rules->multiple_of};

		if (v->report == NULL)
			return false;
		valid = validation_fail(v, node, "multipleOf", place, "%s is not a multiple of %s",
								describe_value(value), describe_value(&divisor));
	}
	return valid;
}

bool
validate_string(validation *v, const schema_node *node, const json_view *value,
				instance_place *place)
{
	const string_rules *rules = node->string;
	bool valid = true;

	/* a character takes one to four bytes: mostly that decides */
	if (value->length < rules->min_length * MAX_MULTIBYTE_CHAR_LEN ||
		(rules->max_length >= 0 && value->length > rules->max_length))
	{
		int64 characters = text_count_characters(value->u.string, value->length);

		if (characters < rules->min_length)
		{
			valid = validation_fail(v, node, "minLength", place,
									"too short: %lld of at least %lld characters",
									(long long) characters, (long long) rules->min_length);
			if (v->report == NULL)
				return false;
		}
		if (rules->max_length >= 0 && characters > rules->max_length)
		{
			valid = validation_fail(v, node, "maxLength", place,
									"too long: %lld of at most %lld characters",
									(long long) characters, (long long) rules->max_length);
			if (v->report == NULL)
				return false;
		}
	}
	if (rules->pattern != NULL &&
		!schema_pattern_matches(v, rules->pattern, value->u.string, value->length))
	{
		if (v->report == NULL)
			return false;
		valid = validation_fail(v, node, "pattern", place, "%s does not match the pattern %s",
								describe_value(value), schema_pattern_source(rules->pattern));
	}
	if (rules->format != NULL && (v->assert_format || node->asserts_format) &&
		!schema_format_check(rules->format, value->u.string, value->length))
	{
		if (v->report == NULL)
			return false;
		valid = validation_fail(v, node, "format", place, "%s is not a valid %s",
								describe_value(value), rules->format->name);
	}
	return valid;
}
