/*-------------------------------------------------------------------------
 *
 * applicators.c
 *	  Keywords that hold subschemas, compiled: in place, for members, for items.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "schema/compile.h"
#include "schema/pattern.h"

static int compare_members(const void *a, const void *b);
static named_member *add_members(object_rules *rules, int count);
static json_view *read_names(schema_node *node, const char *keyword, const json_view *value);

/*
 * A keyword whose value is one schema.
 */
void
compile_subschema(schema_compiler *compiler, schema_node *node, const char *keyword,
				  const json_view *value)
{
	schema_node *child = schema_compile_child(compiler, node, value, keyword, NULL, 0);

	if (strcmp(keyword, "not") == 0)
		node->negated = child;
	else if (strcmp(keyword, "if") == 0)
		node->condition = child;
	else if (strcmp(keyword, "then") == 0)
		node->consequence = child;
	else if (strcmp(keyword, "else") == 0)
		node->alternative = child;
	else if (strcmp(keyword, "additionalProperties") == 0)
		schema_object_rules(node)->additional = child;
	else if (strcmp(keyword, "propertyNames") == 0)
		schema_object_rules(node)->names = child;
	else if (strcmp(keyword, "unevaluatedProperties") == 0)
		schema_object_rules(node)->unevaluated = child;
	else if (strcmp(keyword, "unevaluatedItems") == 0)
		schema_array_rules(node)->unevaluated = child;
	else
	{
		schema_array_rules(node)->contains = child;
		schema_array_rules(node)->contains_evaluates = node->resource->dialect.draft == DRAFT_2020;
	}
}

/*
 * allOf, anyOf, oneOf.
 */
void
compile_branches(schema_compiler *compiler, schema_node *node, const char *keyword,
				 const json_view *value)
{
	schema_nodes *branches = strcmp(keyword, "allOf") == 0	 ? &node->all_of
							 : strcmp(keyword, "anyOf") == 0 ? &node->any_of
															 : &node->one_of;
	json_walk walk;
	json_view child;

	schema_require(node, keyword, value, JV_ARRAY);
	if (value->length == 0)
		schema_error(node, keyword, "\"%s\" must hold at least one schema", keyword);
	branches->node = palloc(sizeof(schema_node *) * value->length);
	json_walk_start(&walk, value);
	while (json_walk_element(&walk, &child))
	{
		char *token = psprintf("%d", branches->count);

		branches->node[branches->count] =
			schema_compile_child(compiler, node, &child, keyword, token, strlen(token));
		branches->count++;
	}
}

/*
 * $defs and definitions: subschemas to refer to.
 */
void
compile_definitions(schema_compiler *compiler, schema_node *node, const char *keyword,
					const json_view *value)
{
	json_walk walk;
	json_view child;
	const char *key;
	int length;

	schema_require(node, keyword, value, JV_OBJECT);
	json_walk_start(&walk, value);
	while (json_walk_member(&walk, &key, &length, &child))
		schema_compile_child(compiler, node, &child, keyword, key, length);
}

/*
 * Room for count more named members.
 */
static named_member *
add_members(object_rules *rules, int count)
{
	Size size = sizeof(named_member) * (rules->member_count + count + 1);
	named_member *first;

	rules->members = rules->members == NULL ? palloc(size) : repalloc_huge(rules->members, size);
	first = rules->members + rules->member_count;
	memset(first, 0, sizeof(named_member) * count);
	rules->member_count += count;
	return first;
}

void
compile_properties(schema_compiler *compiler, schema_node *node, const char *keyword,
				   const json_view *value)
{
	object_rules *rules = schema_object_rules(node);
	named_member *member;
	json_walk walk;
	json_view child;
	const char *key;
	int length;

	schema_require(node, keyword, value, JV_OBJECT);
	member = add_members(rules, value->length);
	json_walk_start(&walk, value);
	while (json_walk_member(&walk, &key, &length, &child))
	{
		member->key = key;
		member->length = length;
		member->node = schema_compile_child(compiler, node, &child, keyword, key, length);
		member++;
	}
}

/*
 * required; in draft 4 it must name something, later it may be empty.
 */
void
compile_required(schema_compiler *compiler, schema_node *node, const char *keyword,
				 const json_view *value)
{
	object_rules *rules = schema_object_rules(node);
	json_view *names = read_names(node, keyword, value);
	named_member *member = add_members(rules, value->length);

	for (int i = 0; i < value->length; i++, member++)
	{
		member->key = names[i].u.string;
		member->length = names[i].length;
		member->required = true;
		rules->has_required = true;
	}
}

static int
compare_members(const void *a, const void *b)
{
	const named_member *member_a = a;
	const named_member *member_b = b;

	return json_key_compare(member_a->key, member_a->length, member_b->key, member_b->length);
}

/*
 * Sorts the named members and makes one of those that "properties" and "required" share.
 */
void
schema_finish_members(schema_node *node)
{
	object_rules *rules = node->object;
	int used = 0;

	if (rules == NULL || rules->member_count == 0)
		return;
	qsort(rules->members, rules->member_count, sizeof(named_member), compare_members);
	for (int i = 1; i < rules->member_count; i++)
	{
		named_member *last = &rules->members[used];
		named_member *member = &rules->members[i];

		if (compare_members(last, member) == 0)
		{
			last->required |= member->required;
			if (member->node != NULL)
				last->node = member->node;
		}
		else
			rules->members[++used] = *member;
	}
	rules->member_count = used + 1;
}

void
compile_pattern_properties(schema_compiler *compiler, schema_node *node, const char *keyword,
						   const json_view *value)
{
	object_rules *rules = schema_object_rules(node);
	json_walk walk;
	json_view child;
	const char *key;
	int length;

	schema_require(node, keyword, value, JV_OBJECT);
	rules->patterns = palloc0(sizeof(pattern_member) * Max(value->length, 1));
	json_walk_start(&walk, value);
	while (json_walk_member(&walk, &key, &length, &child))
	{
		pattern_member *member = &rules->patterns[rules->pattern_count++];

		member->pattern = schema_pattern_compile(node, keyword, key, length);
		member->node = schema_compile_child(compiler, node, &child, keyword, key, length);
	}
}

/*
 * The strings of an array.
 */
static json_view *
read_names(schema_node *node, const char *keyword, const json_view *value)
{
	json_view *names = palloc(sizeof(json_view) * Max(value->length, 1));
	json_walk walk;

	if (value->kind != JV_ARRAY)
		schema_error(node, keyword, "\"%s\" must list names of properties", keyword);
	json_walk_start(&walk, value);
	for (int i = 0; i < value->length; i++)
	{
		json_walk_element(&walk, &names[i]);
		if (names[i].kind != JV_STRING)
			schema_error(node, keyword, "\"%s\" must list names of properties, not %s", keyword,
						 json_text(&names[i]));
	}
	return names;
}

/*
 * dependencies, dependentRequired, dependentSchemas.
 */
void
compile_dependencies(schema_compiler *compiler, schema_node *node, const char *keyword,
					 const json_view *value)
{
	object_rules *rules = schema_object_rules(node);
	json_walk walk;
	json_view child;
	const char *key;
	int length;
	Size size;

	schema_require(node, keyword, value, JV_OBJECT);
	size = sizeof(dependency) * (rules->dependency_count + value->length + 1);
	rules->dependencies =
		rules->dependencies == NULL ? palloc(size) : repalloc_huge(rules->dependencies, size);
	json_walk_start(&walk, value);
	while (json_walk_member(&walk, &key, &length, &child))
	{
		dependency *added = &rules->dependencies[rules->dependency_count++];

		memset(added, 0, sizeof(dependency));
		added->keyword = keyword;
		added->key = key;
		added->length = length;
		if (strcmp(keyword, "dependentRequired") == 0 ||
			(child.kind == JV_ARRAY && strcmp(keyword, "dependencies") == 0))
		{
			added->required = read_names(node, keyword, &child);
			added->required_count = child.length;
		}
		else
			added->node = schema_compile_child(compiler, node, &child, keyword, key, length);
	}
}

/*
 * An array of schemas for the first items.
 */
void
compile_prefix_items(schema_compiler *compiler, schema_node *node, const char *keyword,
					 const json_view *value)
{
	array_rules *rules = schema_array_rules(node);
	json_walk walk;
	json_view child;

	schema_require(node, keyword, value, JV_ARRAY);
	rules->prefix_keyword = keyword;
	rules->prefix.node = palloc(sizeof(schema_node *) * Max(value->length, 1));
	json_walk_start(&walk, value);
	while (json_walk_element(&walk, &child))
	{
		char *token = psprintf("%d", rules->prefix.count);

		rules->prefix.node[rules->prefix.count] =
			schema_compile_child(compiler, node, &child, keyword, token, strlen(token));
		rules->prefix.count++;
	}
}

/*
 * items: until 2019-09 possibly the prefix, else for all items (after the prefix).
 */
void
compile_items(schema_compiler *compiler, schema_node *node, const char *keyword,
			  const json_view *value)
{
	if (value->kind == JV_ARRAY && node->resource->dialect.draft != DRAFT_2020)
		compile_prefix_items(compiler, node, keyword, value);
	else
		schema_array_rules(node)->rest =
			schema_compile_child(compiler, node, value, keyword, NULL, 0);
}

/*
 * additionalItems means something only beside an array of items.
 */
void
compile_additional_items(schema_compiler *compiler, schema_node *node, const char *keyword,
						 const json_view *value)
{
	schema_node *child = schema_compile_child(compiler, node, value, keyword, NULL, 0);
	json_view items;

	if (json_find_name(&node->source, "items", &items) && items.kind == JV_ARRAY)
		schema_array_rules(node)->rest = child;
}
