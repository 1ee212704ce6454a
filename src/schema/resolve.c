/*-------------------------------------------------------------------------
 *
 * resolve.c
 *	  Names of subschemas (URIs and anchors), and references followed to them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "schema/compile.h"
#include "schema/text.h"
#include "schema/uri.h"

typedef struct name_entry
{
	const char *name;
	schema_node *node;
} name_entry;

static uint32 hash_name(const void *key, Size size);
static int compare_names(const void *a, const void *b, Size size);
static HTAB *get_names(schema_compiler *compiler);
static schema_node *find_name(schema_compiler *compiler, const char *name);
static void add_name(schema_compiler *compiler, const char *name, schema_node *node);
static int number_of_name(schema_compiler *compiler, const char *name);
static schema_node *find_resource(schema_compiler *compiler, const schema_reference *reference,
								  const char *uri);
static schema_node *follow_pointer(schema_compiler *compiler, const schema_reference *reference,
								   schema_node *start, const char *pointer, int length);
static bool next_token(const char **pointer, const char *end, char **token, int *length);
static bool step_into(json_view *value, const char *token, int length);
static schema_node *find_target(schema_compiler *compiler, const schema_reference *reference);
static void resolve(schema_compiler *compiler, const schema_reference *reference);

static uint32
hash_name(const void *key, Size size)
{
	const char *name = *(const char *const *) key;

	return hash_bytes((const unsigned char *) name, strlen(name));
}

static int
compare_names(const void *a, const void *b, Size size)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static HTAB *
get_names(schema_compiler *compiler)
{
	if (compiler->names == NULL)
	{
		HASHCTL control = {0};

		control.keysize = sizeof(char *);
		control.entrysize = sizeof(name_entry);
		control.hash = hash_name;
		control.match = compare_names;
		control.hcxt = CurrentMemoryContext;
		compiler->names = hash_create("schema names", 64, &control,
									  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	}
	return compiler->names;
}

static schema_node *
find_name(schema_compiler *compiler, const char *name)
{
	name_entry *entry = hash_search(get_names(compiler), &name, HASH_FIND, NULL);

	return entry == NULL ? NULL : entry->node;
}

/*
 * Names a node; the name must stay.  In one document a name is given once; between
 * documents the one seen first keeps it.
 */
static void
add_name(schema_compiler *compiler, const char *name, schema_node *node)
{
	bool found;
	name_entry *entry = hash_search(get_names(compiler), &name, HASH_ENTER, &found);

	if (!found)
	{
		entry->name = name;
		entry->node = node;
	}
	else if (entry->node != node && entry->node->resource->document == node->resource->document)
		schema_error(node, NULL, "the identifier \"%s\" is given twice", name);
}

/*
 * Names the root of a resource by its URI.
 */
void
schema_alias_resource(schema_compiler *compiler, const char *uri, schema_node *root)
{
	add_name(compiler, uri, root);
}

/*
 * Names a node by an anchor of its resource.
 */
void
schema_name_node(schema_compiler *compiler, const schema_resource *resource, const char *anchor,
				 schema_node *node)
{
	add_name(compiler, psprintf("%s#%s", resource->uri, anchor), node);
}

static int
number_of_name(schema_compiler *compiler, const char *name)
{
	ListCell *cell;

	foreach (cell, compiler->anchor_names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return foreach_current_index(cell);
	}
	compiler->anchor_names = lappend(compiler->anchor_names, pstrdup(name));
	return list_length(compiler->anchor_names) - 1;
}

/*
 * Notes that a resource can be entered by a dynamic anchor; "" is $recursiveAnchor.
 */
void
schema_add_dynamic_anchor(schema_compiler *compiler, schema_node *node, const char *name)
{
	dynamic_anchor *anchor = palloc(sizeof(dynamic_anchor));

	anchor->name = number_of_name(compiler, name);
	anchor->node = node;
	node->resource->dynamic_anchors = lappend(node->resource->dynamic_anchors, anchor);
	if (*name != '\0')
		schema_name_node(compiler, node->resource, name, node);
}

/*
 * The root of the resource with a URI, from the documents at hand, the metaschemas or the
 * registered schemas.
 */
static schema_node *
find_resource(schema_compiler *compiler, const schema_reference *reference, const char *uri)
{
	schema_node *root = find_name(compiler, uri);
	const char *builtin;
	const Jsonb *jsonb;

	if (root != NULL)
		return root;
	builtin = schema_builtin(uri);
	if (builtin != NULL)
		jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(builtin)));
	else
	{
		compiler->schema->uses_registry = true;
		jsonb = schema_registry_find(uri);
	}
	if (jsonb == NULL)
	{
		if (compiler->allow_unresolved)
			return NULL;
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("JSON Schema refers to \"%s\", which is not registered", uri),
						errdetail("The reference is at \"%s\".",
								  schema_step_text(reference->node->resource, reference->node->path,
												   reference->keyword)),
						errhint("Nothing is fetched from the network. Register the schema with "
								"SELECT etl.register_schema(%s, ...).",
								quote_literal_cstr(uri))));
	}
	return schema_add_document(compiler, pstrdup(uri), jsonb, &reference->node->resource->dialect);
}

/*
 * Takes the next token off a JSON pointer, unescaped and terminated; false at its end.
 */
static bool
next_token(const char **pointer, const char *end, char **token, int *length)
{
	const char *c = *pointer;
	char *out;

	if (c == end || *c != '/')
		return false;
	c++;
	out = *token = palloc(end - c + 1);
	for (; c < end && *c != '/'; c++)
	{
		if (c[0] == '~' && c + 1 < end && (c[1] == '0' || c[1] == '1'))
		{
			*out++ = c[1] == '0' ? '~' : '/';
			c++;
		}
		else
			*out++ = *c;
	}
	*out = '\0';
	*length = out - *token;
	*pointer = c;
	return true;
}

/*
 * Replaces a value by the member or element that a token names.
 */
static bool
step_into(json_view *value, const char *token, int length)
{
	json_view container = *value;

	if (container.kind == JV_OBJECT)
		return json_find(&container, token, length, value);
	if (container.kind == JV_ARRAY && length > 0 && length < 10 &&
		strspn(token, "0123456789") == length)
		return json_element(&container, atoi(token), value);
	return false;
}

/*
 * The node a JSON pointer leads to; what no keyword made a subschema becomes one now.
 */
static schema_node *
follow_pointer(schema_compiler *compiler, const schema_reference *reference, schema_node *start,
			   const char *pointer, int length)
{
	const char *end = pointer + length;
	schema_node *around = start;
	const schema_step *path = start->path;
	json_view value = start->source;
	const char *rest = pointer;
	char *token;
	int token_length;

	while (next_token(&rest, end, &token, &token_length))
	{
		schema_node **known;

		if (!step_into(&value, token, token_length))
			schema_error(reference->node, reference->keyword,
						 "nothing is at \"%s\", where a reference leads", reference->text);
		path = schema_step_add(path, token, token_length);
		if (value.kind != JV_OBJECT)
			continue;
		known = (schema_node **) hash_search(compiler->nodes, &value.u.container, HASH_FIND, NULL);
		if (known != NULL)
			around = ((schema_node **) known)[1];
	}
	if (rest < end)
		schema_error(reference->node, reference->keyword, "\"%s\" is not a valid reference",
					 reference->text);
	return schema_compile_node(compiler, &value, around, path, around->resource);
}

/*
 * The node a reference names by itself, dynamic scope left aside.
 */
static schema_node *
find_target(schema_compiler *compiler, const schema_reference *reference)
{
	char *uri = schema_uri_resolve(reference->node->resource->uri, reference->text);
	char *fragment = schema_uri_split(uri);
	schema_node *root = find_resource(compiler, reference, uri);
	schema_node *target;
	int length;

	if (root == NULL || *fragment == '\0')
		return root;
	fragment = schema_uri_decode(fragment, &length);
	if (*fragment == '/')
		return follow_pointer(compiler, reference, root, fragment, length);
	target = strlen(fragment) < length
				 ? NULL
				 : find_name(compiler, psprintf("%s#%s", root->resource->uri, fragment));
	if (target == NULL)
		schema_error(reference->node, reference->keyword,
					 "there is no anchor \"%s\" where \"%s\" leads", text_shown(fragment, length),
					 reference->text);
	return target;
}

static void
resolve(schema_compiler *compiler, const schema_reference *reference)
{
	schema_node *node = reference->node;
	schema_node *target = find_target(compiler, reference);
	const char *name = NULL;
	ListCell *cell;

	if (target == NULL)
		return;
	if (strcmp(reference->keyword, "$ref") == 0)
	{
		node->reference = target;
		return;
	}
	node->dynamic_reference = target;
	if (strcmp(reference->keyword, "$recursiveRef") == 0)
		name = "";
	else
	{
		const char *hash = strchr(reference->text, '#');

		if (hash != NULL && hash[1] != '\0' && hash[1] != '/')
			name = hash + 1;
	}
	if (name == NULL)
		return;
	foreach (cell, target->resource->dynamic_anchors)
	{
		dynamic_anchor *anchor = lfirst(cell);

		if (anchor->node == target && anchor->name == number_of_name(compiler, name))
		{
			node->dynamic_name = anchor->name;
			compiler->schema->has_dynamic = true;
		}
	}
}

/*
 * Resolves all references, those of the documents they bring in included.
 */
void
schema_resolve_references(schema_compiler *compiler)
{
	while (compiler->references != NIL)
	{
		schema_reference *reference = llast(compiler->references);

		CHECK_FOR_INTERRUPTS();
		compiler->references = list_delete_last(compiler->references);
		resolve(compiler, reference);
		reference->node->has_applicators = true;
	}
}
