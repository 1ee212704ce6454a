/*-------------------------------------------------------------------------
 *
 * shape.c
 *	  The shape of JSON documents: which paths they have, with values of which types.
 *
 * A tree with a node a path.  Members of an object come in the order JSONB keeps them in,
 * and so does the list of a node's members: documents are merged with the tree, without
 * hashing and without memory for what has been seen before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "schema/number.h"
#include "schema/shape.h"

#define DEFAULT_MAX_STEPS 16
#define DEFAULT_MAX_MEMBERS 1000
#define DEFAULT_MAX_NODES 50000

static const char *const type_names[SHAPE_TYPES] = {"null",	  "boolean", "integer", "number",
													"string", "array",	 "object"};

static shape_node *new_node(shape *s, shape_node *parent);
static shape_node *insert_member(shape *s, shape_node *parent, shape_node **link, const char *name,
								 int length);
static shape_node *unknown_member(shape *s, shape_node *parent, shape_node **link, const char *name,
								  int length);
static void observe(shape *s, shape_node *node, const json_view *value);

/*
 * A shape without paths; it lives in its own part of the parent context.  The callbacks and
 * limits may be set afterwards.
 */
shape *
shape_create(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "etl shape", ALLOCSET_DEFAULT_SIZES);
	shape *s = MemoryContextAllocZero(context, sizeof(shape));

	s->context = context;
	s->max_steps = DEFAULT_MAX_STEPS;
	s->max_members = DEFAULT_MAX_MEMBERS;
	s->max_nodes = DEFAULT_MAX_NODES;
	s->root = new_node(s, NULL);
	return s;
}

static shape_node *
new_node(shape *s, shape_node *parent)
{
	shape_node *node = MemoryContextAllocZero(s->context, sizeof(shape_node));

	node->parent = parent;
	node->steps = parent == NULL ? 0 : parent->steps + 1;
	return node;
}

/* Puts a new member where link points. */
static shape_node *
insert_member(shape *s, shape_node *parent, shape_node **link, const char *name, int length)
{
	shape_node *node = new_node(s, parent);

	node->name = MemoryContextAlloc(s->context, length + 1);
	memcpy(node->name, name, length);
	node->name[length] = '\0';
	node->name_length = length;
	node->next = *link;
	*link = node;
	return node;
}

/* The node of a member that has none of its own yet. */
static shape_node *
unknown_member(shape *s, shape_node *parent, shape_node **link, const char *name, int length)
{
	if (parent->others != NULL &&
		(s->is_other == NULL || s->is_other(s->argument, parent, name, length)))
		return parent->others;
	if (parent->new_members >= s->max_members || s->new_nodes >= s->max_nodes ||
		(s->max_name > 0 && length > s->max_name))
	{
		if (parent->overflow == NULL)
			parent->overflow = new_node(s, parent);
		return parent->overflow;
	}
	parent->new_members++;
	s->new_nodes++;
	return insert_member(s, parent, link, name, length);
}

static inline shape_type
type_of(const json_view *value)
{
	switch (value->kind)
	{
		case JV_NULL:
			return SHAPE_NULL;
		case JV_BOOLEAN:
			return SHAPE_BOOLEAN;
		case JV_NUMBER:
			return json_number_is_integer(value->u.number) ? SHAPE_INTEGER : SHAPE_NUMBER;
		case JV_STRING:
			return SHAPE_STRING;
		case JV_ARRAY:
			return SHAPE_ARRAY;
		case JV_OBJECT:
			return SHAPE_OBJECT;
	}
	return SHAPE_NULL; /* not reached */
}

/* Counts a value and what is in it; goes no deeper than max_steps. */
static void
observe(shape *s, shape_node *node, const json_view *value)
{
	shape_type type = type_of(value);
	json_walk walk;
	json_view child;

	if (node->values[type]++ == 0)
		s->facts++;
	if (node->last[type] != s->document_count)
	{
		node->last[type] = s->document_count;
		node->documents[type]++;
	}
	if (s->visit != NULL)
		s->visit(s->argument, node, type, value);
	if (node->steps >= s->max_steps)
		return;
	if (type == SHAPE_OBJECT)
	{
		shape_node **link = &node->members;
		const char *name;
		int length;

		json_walk_start(&walk, value);
		while (json_walk_member(&walk, &name, &length, &child))
		{
			int order = 1;

			while (*link != NULL && (order = json_key_compare((*link)->name, (*link)->name_length,
															  name, length)) < 0)
				link = &(*link)->next;
			observe(s,
					*link != NULL && order == 0 ? *link
												: unknown_member(s, node, link, name, length),
					&child);
		}
	}
	else if (type == SHAPE_ARRAY && value->length > 0)
	{
		if (node->elements == NULL)
			node->elements = new_node(s, node);
		json_walk_start(&walk, value);
		while (json_walk_element(&walk, &child))
			observe(s, node->elements, &child);
	}
}

/*
 * Adds a document.
 */
void
shape_add(shape *s, const Jsonb *document)
{
	json_view root;

	s->document_count++;
	json_view_root(document, &root);
	observe(s, s->root, &root);
}

/* A member by its name; made if it is not there. */
static shape_node *
member_at(shape *s, shape_node *parent, const char *name, int length)
{
	shape_node **link = &parent->members;
	int order = 1;

	while (*link != NULL &&
		   (order = json_key_compare((*link)->name, (*link)->name_length, name, length)) < 0)
		link = &(*link)->next;
	return *link != NULL && order == 0 ? *link : insert_member(s, parent, link, name, length);
}

/* May a byte stand in a name that is not quoted? */
static inline bool
is_plain(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		   (!first && c >= '0' && c <= '9');
}

/*
 * The node of a path as shape_append_path writes it; made if it is not there, whatever the
 * limits.  Raises for what is no path.
 */
shape_node *
shape_node_at(shape *s, const char *path)
{
	shape_node *node = s->root;
	const char *c = path;
	StringInfoData name;

	initStringInfo(&name);
	if (*c++ != '$')
		c = "?";
	while (*c != '\0')
	{
		resetStringInfo(&name);
		if (c[0] == '.' && c[1] == '*')
		{
			if (node->others == NULL)
				node->others = new_node(s, node);
			node = node->others;
			c += 2;
		}
		else if (strncmp(c, "[*]", 3) == 0)
		{
			if (node->elements == NULL)
				node->elements = new_node(s, node);
			node = node->elements;
			c += 3;
		}
		else if (c[0] == '.' && is_plain(c[1], true))
		{
			for (c++; is_plain(*c, false); c++)
				appendStringInfoChar(&name, *c);
			node = member_at(s, node, name.data, name.len);
		}
		else if (c[0] == '[' && c[1] == '"')
		{
			for (c += 2; *c != '"' && *c != '\0'; c++)
			{
				if (c[0] == '\\' && c[1] != '\0')
					c++;
				appendStringInfoChar(&name, *c);
			}
			if (strncmp(c, "\"]", 2) != 0)
				elog(ERROR, "not the path of a shape: %s", path);
			c += 2;
			node = member_at(s, node, name.data, name.len);
		}
		else
			elog(ERROR, "not the path of a shape: %s", path);
	}
	pfree(name.data);
	return node;
}

/*
 * Writes the path of a node: $, .name or ["any name"], [*], .* for members not told apart.
 */
void
shape_append_path(StringInfo out, const shape_node *node)
{
	bool plain = true;

	if (node->parent == NULL)
	{
		appendStringInfoChar(out, '$');
		return;
	}
	shape_append_path(out, node->parent);
	if (node->name == NULL)
	{
		appendStringInfoString(out, node == node->parent->elements ? "[*]" : ".*");
		return;
	}
	for (int i = 0; plain && i < node->name_length; i++)
		plain = is_plain(node->name[i], i == 0);
	if (plain && node->name_length > 0)
	{
		appendStringInfo(out, ".%s", node->name);
		return;
	}
	appendStringInfoString(out, "[\"");
	for (int i = 0; i < node->name_length; i++)
	{
		if (node->name[i] == '"' || node->name[i] == '\\')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, node->name[i]);
	}
	appendStringInfoString(out, "\"]");
}

/*
 * The types a node had as bits, 1 << type.
 */
int
shape_types(const shape_node *node)
{
	int types = 0;

	for (int type = 0; type < SHAPE_TYPES; type++)
	{
		if (node->values[type] > 0)
			types |= 1 << type;
	}
	return types;
}

/*
 * The total of the counts of some types.
 */
int64
shape_total(const int64 *counts, int types)
{
	int64 total = 0;

	for (int type = 0; type < SHAPE_TYPES; type++)
	{
		if ((types & (1 << type)) != 0)
			total += counts[type];
	}
	return total;
}

/*
 * The name of a type in JSON Schema, and the reverse: -1 if there is no such type.
 */
const char *
shape_type_name(shape_type type)
{
	return type_names[type];
}

int
shape_type_by_name(const char *name)
{
	for (int type = 0; type < SHAPE_TYPES; type++)
	{
		if (strcmp(type_names[type], name) == 0)
			return type;
	}
	return -1;
}
