/*-------------------------------------------------------------------------
 *
 * keywords.c
 *	  The keywords of all dialects in one table, and the assertions among them compiled.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "schema/compile.h"
#include "schema/formats.h"
#include "schema/number.h"
#include "schema/pattern.h"

typedef struct keyword
{
	const char *name;
	int drafts;
	uint32 vocabulary;
	keyword_handler handler;
} keyword;

static int type_bit(const schema_node *node, const json_view *name);
static void compile_type(schema_compiler *, schema_node *, const char *, const json_view *);
static void compile_enum(schema_compiler *, schema_node *, const char *, const json_view *);
static void compile_const(schema_compiler *, schema_node *, const char *, const json_view *);
static void compile_number(schema_compiler *, schema_node *, const char *, const json_view *);
static void compile_count(schema_compiler *, schema_node *, const char *, const json_view *);
static void compile_unique(schema_compiler *, schema_node *, const char *, const json_view *);
static void compile_pattern(schema_compiler *, schema_node *, const char *, const json_view *);
static void compile_format(schema_compiler *, schema_node *, const char *, const json_view *);
static void compile_reference(schema_compiler *, schema_node *, const char *, const json_view *);

/* Sorted by name. */
static const keyword keywords[] = {
	{"$defs", DRAFTS_SINCE_2019, VOCABULARY_CORE, compile_definitions},
	{"$dynamicRef", DRAFT_2020, VOCABULARY_CORE, compile_reference},
	{"$recursiveRef", DRAFT_2019, VOCABULARY_CORE, compile_reference},
	{"$ref", DRAFTS_ALL, VOCABULARY_CORE, compile_reference},
	{"additionalItems", DRAFTS_ALL & ~DRAFT_2020, VOCABULARY_APPLICATOR, compile_additional_items},
	{"additionalProperties", DRAFTS_ALL, VOCABULARY_APPLICATOR, compile_subschema},
	{"allOf", DRAFTS_ALL, VOCABULARY_APPLICATOR, compile_branches},
	{"anyOf", DRAFTS_ALL, VOCABULARY_APPLICATOR, compile_branches},
	{"const", DRAFTS_SINCE_6, VOCABULARY_VALIDATION, compile_const},
	{"contains", DRAFTS_SINCE_6, VOCABULARY_APPLICATOR, compile_subschema},
	{"definitions", DRAFTS_ALL, VOCABULARY_CORE, compile_definitions},
	{"dependencies", DRAFTS_ALL, VOCABULARY_APPLICATOR, compile_dependencies},
	{"dependentRequired", DRAFTS_SINCE_2019, VOCABULARY_VALIDATION, compile_dependencies},
	{"dependentSchemas", DRAFTS_SINCE_2019, VOCABULARY_APPLICATOR, compile_dependencies},
	{"else", DRAFTS_SINCE_7, VOCABULARY_APPLICATOR, compile_subschema},
	{"enum", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_enum},
	{"exclusiveMaximum", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_number},
	{"exclusiveMinimum", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_number},
	{"format", DRAFTS_ALL, VOCABULARY_FORMAT, compile_format},
	{"if", DRAFTS_SINCE_7, VOCABULARY_APPLICATOR, compile_subschema},
	{"items", DRAFTS_ALL, VOCABULARY_APPLICATOR, compile_items},
	{"maxContains", DRAFTS_SINCE_2019, VOCABULARY_VALIDATION, compile_count},
	{"maxItems", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_count},
	{"maxLength", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_count},
	{"maxProperties", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_count},
	{"maximum", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_number},
	{"minContains", DRAFTS_SINCE_2019, VOCABULARY_VALIDATION, compile_count},
	{"minItems", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_count},
	{"minLength", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_count},
	{"minProperties", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_count},
	{"minimum", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_number},
	{"multipleOf", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_number},
	{"not", DRAFTS_ALL, VOCABULARY_APPLICATOR, compile_subschema},
	{"oneOf", DRAFTS_ALL, VOCABULARY_APPLICATOR, compile_branches},
	{"pattern", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_pattern},
	{"patternProperties", DRAFTS_ALL, VOCABULARY_APPLICATOR, compile_pattern_properties},
	{"prefixItems", DRAFT_2020, VOCABULARY_APPLICATOR, compile_prefix_items},
	{"properties", DRAFTS_ALL, VOCABULARY_APPLICATOR, compile_properties},
	{"propertyNames", DRAFTS_SINCE_6, VOCABULARY_APPLICATOR, compile_subschema},
	{"required", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_required},
	{"then", DRAFTS_SINCE_7, VOCABULARY_APPLICATOR, compile_subschema},
	{"type", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_type},
	{"unevaluatedItems", DRAFTS_SINCE_2019, VOCABULARY_UNEVALUATED, compile_subschema},
	{"unevaluatedProperties", DRAFTS_SINCE_2019, VOCABULARY_UNEVALUATED, compile_subschema},
	{"uniqueItems", DRAFTS_ALL, VOCABULARY_VALIDATION, compile_unique},
};

static const struct
{
	const char *name;
	int bit;
} types[] = {
	{"null", TYPE_BIT(JV_NULL)},	 {"boolean", TYPE_BIT(JV_BOOLEAN)},
	{"number", TYPE_BIT(JV_NUMBER)}, {"integer", TYPE_INTEGER},
	{"string", TYPE_BIT(JV_STRING)}, {"array", TYPE_BIT(JV_ARRAY)},
	{"object", TYPE_BIT(JV_OBJECT)},
};

static const char *const kind_names[] = {"null",	 "a boolean", "a number",
										 "a string", "an array",  "an object"};

/*
 * Compiles one member of a schema into its node; members that are no keyword of the
 * dialect are ignored, as the specifications want.
 */
void
schema_compile_keyword(schema_compiler *compiler, schema_node *node, const char *key, int length,
					   const json_view *value)
{
	int low = 0;
	int high = lengthof(keywords);

	while (low < high)
	{
		int middle = (low + high) / 2;
		const keyword *candidate = &keywords[middle];
		int name_length = strlen(candidate->name);
		int order = memcmp(candidate->name, key, Min(name_length, length));

		if (order == 0)
			order = name_length - length;
		if (order == 0)
		{
			const schema_dialect *dialect = &node->resource->dialect;

			if ((candidate->drafts & dialect->draft) != 0 &&
				(candidate->vocabulary & dialect->vocabularies) != 0)
				candidate->handler(compiler, node, candidate->name, value);
			return;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
}

/*
 * Raises unless the value of a keyword is of a kind.
 */
void
schema_require(const schema_node *node, const char *keyword, const json_view *value, json_kind kind)
{
	if (value->kind != kind)
		schema_error(node, keyword, "\"%s\" must be %s", keyword, kind_names[kind]);
}

static number_rules *
get_number_rules(schema_node *node)
{
	if (node->number == NULL)
		node->number = palloc0(sizeof(number_rules));
	return node->number;
}

static string_rules *
get_string_rules(schema_node *node)
{
	if (node->string == NULL)
	{
		node->string = palloc0(sizeof(string_rules));
		node->string->max_length = -1;
	}
	return node->string;
}

array_rules *
schema_array_rules(schema_node *node)
{
	if (node->array == NULL)
	{
		node->array = palloc0(sizeof(array_rules));
		node->array->max_items = -1;
		node->array->min_contains = 1;
		node->array->max_contains = -1;
	}
	return node->array;
}

object_rules *
schema_object_rules(schema_node *node)
{
	if (node->object == NULL)
	{
		node->object = palloc0(sizeof(object_rules));
		node->object->max_properties = -1;
	}
	return node->object;
}

/*
 * The bit of the type a value names.
 */
static int
type_bit(const schema_node *node, const json_view *name)
{
	for (int i = 0; i < lengthof(types) && name->kind == JV_STRING; i++)
	{
		if (strlen(types[i].name) == name->length &&
			memcmp(types[i].name, name->u.string, name->length) == 0)
			return types[i].bit;
	}
	schema_error(node, "type",
				 "\"type\" must name one or several of null, boolean, integer, number, string, "
				 "array and object, not %s",
				 json_text(name));
}

static void
compile_type(schema_compiler *compiler, schema_node *node, const char *keyword,
			 const json_view *value)
{
	json_walk walk;
	json_view name;

	if (value->kind != JV_ARRAY)
	{
		node->types = type_bit(node, value);
		return;
	}
	if (value->length == 0)
		schema_error(node, keyword, "\"type\" must name at least one type");
	json_walk_start(&walk, value);
	while (json_walk_element(&walk, &name))
		node->types |= type_bit(node, &name);
}

typedef struct hashed_value
{
	uint64 hash;
	json_view value;
} hashed_value;

static int
compare_hashes(const void *a, const void *b)
{
	uint64 hash_a = ((const hashed_value *) a)->hash;
	uint64 hash_b = ((const hashed_value *) b)->hash;

	return hash_a < hash_b ? -1 : hash_a > hash_b;
}

static void
compile_enum(schema_compiler *compiler, schema_node *node, const char *keyword,
			 const json_view *value)
{
	enum_rules *allowed = palloc0(sizeof(enum_rules));
	hashed_value *sorted;
	json_walk walk;

	schema_require(node, keyword, value, JV_ARRAY);
	allowed->count = value->length;
	allowed->values = palloc(sizeof(json_view) * Max(value->length, 1));
	node->allowed = allowed;
	json_walk_start(&walk, value);
	for (int i = 0; i < value->length; i++)
		json_walk_element(&walk, &allowed->values[i]);
	if (allowed->count <= ENUM_SCAN_LIMIT)
		return;

	sorted = palloc(sizeof(hashed_value) * allowed->count);
	for (int i = 0; i < allowed->count; i++)
	{
		sorted[i].value = allowed->values[i];
		sorted[i].hash = json_hash(&sorted[i].value, 0);
	}
	qsort(sorted, allowed->count, sizeof(hashed_value), compare_hashes);
	allowed->hashes = palloc(sizeof(uint64) * allowed->count);
	for (int i = 0; i < allowed->count; i++)
	{
		allowed->values[i] = sorted[i].value;
		allowed->hashes[i] = sorted[i].hash;
	}
	pfree(sorted);
}

static void
compile_const(schema_compiler *compiler, schema_node *node, const char *keyword,
			  const json_view *value)
{
	node->constant = palloc(sizeof(json_view));
	*node->constant = *value;
}

/*
 * The limits of numbers.  In draft 4 the exclusive ones are booleans that qualify others.
 */
static void
compile_number(schema_compiler *compiler, schema_node *node, const char *keyword,
			   const json_view *value)
{
	number_rules *rules = get_number_rules(node);
	bool draft_4 = node->resource->dialect.draft == DRAFT_4;
	json_view other;

	if (draft_4 && strncmp(keyword, "exclusive", 9) == 0)
	{
		schema_require(node, keyword, value, JV_BOOLEAN);
		return;
	}
	schema_require(node, keyword, value, JV_NUMBER);
	if (strcmp(keyword, "multipleOf") == 0)
	{
		if (DatumGetBool(DirectFunctionCall2(numeric_le, NumericGetDatum(value->u.number),
											 DirectFunctionCall1(int8_numeric, Int64GetDatum(0)))))
			schema_error(node, keyword, "\"multipleOf\" must be greater than 0");
		rules->multiple_of = value->u.number;
	}
	else if (strcmp(keyword, "exclusiveMinimum") == 0)
		rules->exclusive_minimum = value->u.number;
	else if (strcmp(keyword, "exclusiveMaximum") == 0)
		rules->exclusive_maximum = value->u.number;
	else if (strcmp(keyword, "minimum") == 0)
	{
		if (draft_4 && json_find_name(&node->source, "exclusiveMinimum", &other) &&
			other.kind == JV_BOOLEAN && other.u.boolean)
			rules->exclusive_minimum = value->u.number;
		else
			rules->minimum = value->u.number;
	}
	else
	{
		if (draft_4 && json_find_name(&node->source, "exclusiveMaximum", &other) &&
			other.kind == JV_BOOLEAN && other.u.boolean)
			rules->exclusive_maximum = value->u.number;
		else
			rules->maximum = value->u.number;
	}
}

/*
 * The limits of lengths and counts.
 */
static void
compile_count(schema_compiler *compiler, schema_node *node, const char *keyword,
			  const json_view *value)
{
	int64 count;
	bool is_minimum = keyword[1] == 'i';
	const char *subject = keyword + 3;

	if (value->kind != JV_NUMBER || !json_number_to_count(value->u.number, &count))
		schema_error(node, keyword, "\"%s\" must be an integer that is not negative", keyword);
	if (strcmp(subject, "Length") == 0)
		*(is_minimum ? &get_string_rules(node)->min_length : &get_string_rules(node)->max_length) =
			count;
	else if (strcmp(subject, "Items") == 0)
		*(is_minimum ? &schema_array_rules(node)->min_items
					 : &schema_array_rules(node)->max_items) = count;
	else if (strcmp(subject, "Contains") == 0)
		*(is_minimum ? &schema_array_rules(node)->min_contains
					 : &schema_array_rules(node)->max_contains) = count;
	else
		*(is_minimum ? &schema_object_rules(node)->min_properties
					 : &schema_object_rules(node)->max_properties) = count;
}

static void
compile_unique(schema_compiler *compiler, schema_node *node, const char *keyword,
			   const json_view *value)
{
	schema_require(node, keyword, value, JV_BOOLEAN);
	if (value->u.boolean)
		schema_array_rules(node)->unique = true;
}

static void
compile_pattern(schema_compiler *compiler, schema_node *node, const char *keyword,
				const json_view *value)
{
	schema_require(node, keyword, value, JV_STRING);
	get_string_rules(node)->pattern =
		schema_pattern_compile(node, keyword, value->u.string, value->length);
}

static void
compile_format(schema_compiler *compiler, schema_node *node, const char *keyword,
			   const json_view *value)
{
	const schema_format *format;

	schema_require(node, keyword, value, JV_STRING);
	format = schema_format_find(value->u.string, value->length, node->resource->dialect.draft);
	if (format != NULL)
		get_string_rules(node)->format = format;
}

/*
 * Any of the references; resolved later, when all nodes exist.
 */
static void
compile_reference(schema_compiler *compiler, schema_node *node, const char *keyword,
				  const json_view *value)
{
	schema_reference *reference = palloc(sizeof(schema_reference));

	schema_require(node, keyword, value, JV_STRING);
	reference->node = node;
	reference->keyword = keyword;
	reference->text = schema_uri_text(node, keyword, value);
	compiler->references = lappend(compiler->references, reference);
}
