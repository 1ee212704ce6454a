/*-------------------------------------------------------------------------
 *
 * shape.h
 *	  The shape of JSON documents: which paths they have, with values of which types.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_SHAPE_H
#define ETL_SCHEMA_SHAPE_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "schema/json_view.h"

/* Types of values; an integer is any number without a fraction, 1.0 too. */
typedef enum shape_type
{
	SHAPE_NULL,
	SHAPE_BOOLEAN,
	SHAPE_INTEGER,
	SHAPE_NUMBER,
	SHAPE_STRING,
	SHAPE_ARRAY,
	SHAPE_OBJECT,
} shape_type;

#define SHAPE_TYPES (SHAPE_OBJECT + 1)
#define SHAPE_ANY_TYPE ((1 << SHAPE_TYPES) - 1)

typedef struct shape_node shape_node;

/* A path. */
struct shape_node
{
	shape_node *parent;	  /* NULL: the document */
	shape_node *members;  /* the first; in the order of keys in JSONB */
	shape_node *next;	  /* of the parent's members */
	shape_node *elements; /* of arrays, all alike; NULL: none seen */
	shape_node *others;	  /* members described by one rule; NULL: there is none */
	shape_node *overflow; /* members too many to be told apart; NULL: none */
	char *name;			  /* of a member; NULL: of none */
	int name_length;
	int steps;		 /* from the document */
	int new_members; /* of those, how many came from documents */

	int64 values[SHAPE_TYPES];	  /* how many there were */
	int64 documents[SHAPE_TYPES]; /* in how many documents */
	int64 last[SHAPE_TYPES];	  /* the document last counted */

	void *more; /* what the user keeps */
};

typedef struct shape
{
	MemoryContext context;
	shape_node *root;
	int64 document_count;
	int max_steps;	 /* what is deeper is not looked at */
	int max_members; /* new ones of an object that are told apart */
	int max_nodes;	 /* new ones in all */
	int max_name;	 /* bytes of a new member's name; 0: any */
	int new_nodes;
	int facts; /* pairs of a path and a type seen there */

	/* Is told of every value; may be NULL. */
	void (*visit)(void *argument, shape_node *node, shape_type type, const json_view *value);
	/* Does a member belong to the parent's "others"?  NULL: if there are any. */
	bool (*is_other)(void *argument, shape_node *parent, const char *name, int length);
	void *argument;
} shape;

extern shape *shape_create(MemoryContext parent);
extern void shape_add(shape *s, const Jsonb *document);
extern shape_node *shape_node_at(shape *s, const char *path);
extern void shape_append_path(StringInfo out, const shape_node *node);
extern int shape_types(const shape_node *node);
extern int64 shape_total(const int64 *counts, int types);
extern const char *shape_type_name(shape_type type);
extern int shape_type_by_name(const char *name);

#endif /* ETL_SCHEMA_SHAPE_H */
