/*-------------------------------------------------------------------------
 *
 * compile.c
 *	  A schema as JSONB to nodes: documents, resources, identifiers, one node a subschema.
 *
 * First every subschema of a document becomes a node and every identifier and anchor a
 * name; then the references are resolved, which may bring in further documents.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "schema/compile.h"
#include "schema/uri.h"

typedef struct node_entry
{
	const JsonbContainer *object;
	schema_node *node;
} node_entry;

static bool has_sibling_blind_reference(const json_view *source, schema_draft draft);
static bool is_alias(const schema_node *node);
static void identify(schema_compiler *compiler, schema_node *node, bool is_document);
static void name_anchors(schema_compiler *compiler, schema_node *node);

/*
 * Raises an error about a keyword of a schema, or about the schema when keyword is NULL.
 */
void
schema_error(const schema_node *node, const char *keyword, const char *format, ...)
{
	StringInfoData reason;

	initStringInfo(&reason);
	for (;;)
	{
		va_list arguments;
		int needed;

		va_start(arguments, format);
		needed = appendStringInfoVA(&reason, format, arguments);
		va_end(arguments);
		if (needed == 0)
			break;
		enlargeStringInfo(&reason, needed);
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid JSON Schema: %s", reason.data),
					errdetail("The schema is wrong at \"%s\".",
							  schema_step_text(node->resource, node->path, keyword))));
}

/*
 * The string of a keyword that is a URI, a reference or a name: terminated, palloc'd.
 */
char *
schema_uri_text(const schema_node *node, const char *keyword, const json_view *value)
{
	if (memchr(value->u.string, '\0', value->length) != NULL)
		schema_error(node, keyword, "\"%s\" must not hold \\u0000", keyword);
	return pnstrdup(value->u.string, value->length);
}

/*
 * A path one token longer; token must live as long as the compiled schema.
 */
const schema_step *
schema_step_add(const schema_step *parent, const char *token, int length)
{
	schema_step *step = palloc(sizeof(schema_step));

	step->parent = parent;
	step->token = token;
	step->length = length;
	return step;
}

const schema_step *
schema_step_add_index(const schema_step *parent, int index)
{
	char *token = psprintf("%d", index);

	return schema_step_add(parent, token, strlen(token));
}

/*
 * A new resource; its root is set by whoever compiles it.
 */
schema_resource *
schema_add_resource(schema_compiler *compiler, const schema_document *document, const char *uri,
					schema_dialect dialect)
{
	schema_resource *resource = palloc0(sizeof(schema_resource));

	resource->number = compiler->schema->resource_count++;
	resource->uri = uri;
	resource->document = document;
	resource->dialect = dialect;
	return resource;
}

/*
 * Until draft 7 a $ref makes all its siblings invisible.
 */
static bool
has_sibling_blind_reference(const json_view *source, schema_draft draft)
{
	json_view value;

	return (draft & DRAFTS_UNTIL_7) != 0 && json_find_name(source, "$ref", &value) &&
		   value.kind == JV_STRING;
}

/*
 * Has a node no keyword but $ref?  Definitions and names do not matter.
 */
static bool
is_alias(const schema_node *node)
{
	json_view value;

	return json_find_name(&node->source, "$ref", &value) &&
		   !json_find_name(&node->source, "$dynamicRef", &value) &&
		   !json_find_name(&node->source, "$recursiveRef", &value) && node->types == 0 &&
		   node->allowed == NULL && node->constant == NULL && node->number == NULL &&
		   node->string == NULL && node->array == NULL && node->object == NULL &&
		   node->all_of.count == 0 && node->any_of.count == 0 && node->one_of.count == 0 &&
		   node->negated == NULL && node->condition == NULL;
}

/*
 * Gives a node its resource: the one around it, or its own when it has an identifier.
 */
static void
identify(schema_compiler *compiler, schema_node *node, bool is_document)
{
	const schema_resource *around = node->resource;
	schema_dialect dialect = around->dialect;
	const char *keyword;
	json_view value;
	char *uri;
	char *fragment;

	if (is_document || json_find_name(&node->source, "$id", &value) ||
		json_find_name(&node->source, "id", &value))
	{
		if (json_find_name(&node->source, "$schema", &value) && value.kind == JV_STRING)
			dialect = schema_find_dialect(compiler, node, schema_uri_text(node, "$schema", &value));
		if (is_document)
			node->resource->dialect = dialect;
	}
	keyword = dialect.draft == DRAFT_4 ? "id" : "$id";
	if (!json_find_name(&node->source, keyword, &value) ||
		has_sibling_blind_reference(&node->source, dialect.draft))
		return;
	if (value.kind != JV_STRING)
	{
		if (dialect.draft == DRAFT_4)
			return;
		schema_error(node, keyword, "\"%s\" must be a string", keyword);
	}

	uri = schema_uri_resolve(around->uri, schema_uri_text(node, keyword, &value));
	fragment = schema_uri_split(uri);
	if (value.length == 0 || value.u.string[0] != '#')
	{
		node->resource = schema_add_resource(compiler, around->document, uri, dialect);
		node->resource->root = node;
		schema_alias_resource(compiler, uri, node);
	}
	if (*fragment != '\0')
	{
		if ((dialect.draft & DRAFTS_UNTIL_7) == 0)
			schema_error(node, keyword, "\"$id\" must not have a fragment; use \"$anchor\"");
		schema_name_node(compiler, node->resource, fragment, node);
	}
}

/*
 * Makes the anchors of a node known.
 */
static void
name_anchors(schema_compiler *compiler, schema_node *node)
{
	const schema_dialect *dialect = &node->resource->dialect;
	json_view value;

	if ((dialect->draft & DRAFTS_SINCE_2019) == 0)
		return;
	if (json_find_name(&node->source, "$anchor", &value))
	{
		schema_require(node, "$anchor", &value, JV_STRING);
		schema_name_node(compiler, node->resource, schema_uri_text(node, "$anchor", &value), node);
	}
	if (dialect->draft == DRAFT_2020 && json_find_name(&node->source, "$dynamicAnchor", &value))
	{
		schema_require(node, "$dynamicAnchor", &value, JV_STRING);
		schema_add_dynamic_anchor(compiler, node, schema_uri_text(node, "$dynamicAnchor", &value));
	}
	if (dialect->draft == DRAFT_2019 && json_find_name(&node->source, "$recursiveAnchor", &value))
	{
		schema_require(node, "$recursiveAnchor", &value, JV_BOOLEAN);
		if (value.u.boolean && node->resource->root == node)
			schema_add_dynamic_anchor(compiler, node, "");
	}
}

/*
 * The node of a subschema: made now unless it exists.  parent is NULL for the root of a
 * document, whose resource is given; else the resource is the parent's.
 */
schema_node *
schema_compile_node(schema_compiler *compiler, const json_view *source, schema_node *parent,
					const schema_step *path, schema_resource *resource)
{
	schema_node *node;
	json_walk walk;
	json_view value;
	const char *key;
	int length;
	bool blind;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	if (source->kind == JV_OBJECT)
	{
		node_entry *entry;
		bool found;

		entry = hash_search(compiler->nodes, &source->u.container, HASH_ENTER, &found);
		if (found)
			return entry->node;
		node = entry->node = palloc0(sizeof(schema_node));
	}
	else
		node = palloc0(sizeof(schema_node));
	compiler->schema->node_count++;
	node->path = path;
	node->source = *source;
	node->resource = resource;
	node->dynamic_name = -1;
	if (resource->root == NULL)
	{
		resource->root = node;
		schema_alias_resource(compiler, resource->uri, node);
	}
	if (source->kind == JV_BOOLEAN)
	{
		node->is_boolean = true;
		node->verdict = source->u.boolean;
		return node;
	}
	if (source->kind != JV_OBJECT)
		schema_error(node, NULL, "a schema must be an object or a boolean");

	identify(compiler, node, parent == NULL);
	name_anchors(compiler, node);
	resource = node->resource;
	node->strict_integer = resource->dialect.draft == DRAFT_4;
	node->asserts_format = (resource->dialect.vocabularies & VOCABULARY_FORMAT_ASSERTION) != 0;

	blind = has_sibling_blind_reference(source, resource->dialect.draft);
	json_walk_start(&walk, source);
	while (json_walk_member(&walk, &key, &length, &value))
	{
		if (blind && !(length == 4 && memcmp(key, "$ref", 4) == 0) &&
			!(length == 11 && memcmp(key, "definitions", 11) == 0))
			continue;
		schema_compile_keyword(compiler, node, key, length, &value);
	}
	schema_finish_members(node);
	node->is_alias = is_alias(node);
	node->has_applicators = node->reference != NULL || node->dynamic_reference != NULL ||
							node->all_of.count > 0 || node->any_of.count > 0 ||
							node->one_of.count > 0 || node->negated != NULL ||
							node->condition != NULL;
	return node;
}

/*
 * The node of a subschema below a keyword: at keyword, or at keyword/token.
 */
schema_node *
schema_compile_child(schema_compiler *compiler, schema_node *parent, const json_view *source,
					 const char *keyword, const char *token, int length)
{
	const schema_step *path = schema_step_add(parent->path, keyword, strlen(keyword));

	if (token != NULL)
		path = schema_step_add(path, token, length);
	return schema_compile_node(compiler, source, parent, path, parent->resource);
}

/*
 * Compiles a document; returns its root.  jsonb must live as long as the compiled schema.
 */
schema_node *
schema_add_document(schema_compiler *compiler, const char *uri, const Jsonb *jsonb,
					const schema_dialect *inherited)
{
	schema_document *document = palloc0(sizeof(schema_document));
	schema_resource *resource;
	schema_node *root;

	document->uri = uri;
	json_view_root(jsonb, &document->root);
	resource = schema_add_resource(compiler, document, uri, *inherited);
	root = schema_compile_node(compiler, &document->root, NULL, NULL, resource);
	return root;
}

/*
 * Compiles a schema in a memory context of its own, a child of the current one.  uri: what
 * it will be registered as, else "".  allow_unresolved: references to schemas that are not
 * registered are left alone; such a schema can be checked, not used.
 */
compiled_schema *
schema_compile(const Jsonb *schema, const char *uri, bool allow_unresolved)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "compiled JSON Schema", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	schema_compiler compiler = {0};
	HASHCTL control = {0};
	schema_dialect dialect = schema_default_dialect();
	compiled_schema *result = palloc0(sizeof(compiled_schema));

	result->context = context;
	result->generation = schema_registry_generation();
	result->source = palloc(VARSIZE(schema));
	memcpy(result->source, schema, VARSIZE(schema));

	compiler.schema = result;
	compiler.allow_unresolved = allow_unresolved;
	control.keysize = sizeof(void *);
	control.entrysize = sizeof(node_entry);
	control.hcxt = context;
	compiler.nodes = hash_create("subschemas", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	result->root = schema_add_document(&compiler, pstrdup(uri), result->source, &dialect);
	schema_resolve_references(&compiler);

	hash_destroy(compiler.nodes);
	if (compiler.names != NULL)
		hash_destroy(compiler.names);
	MemoryContextSwitchTo(caller);
	return result;
}
