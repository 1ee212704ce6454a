/*-------------------------------------------------------------------------
 *
 * nodes.h
 *	  The compiled form of a schema: one node a subschema, references as pointers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_NODES_H
#define ETL_SCHEMA_NODES_H

#include "postgres.h"

#include "lib/ilist.h"
#include "nodes/pg_list.h"

#include "schema/json_view.h"
#include "schema/schema.h"

/* The dialects, as bits so that tables can say in which of them a row holds. */
typedef enum schema_draft
{
	DRAFT_4 = 1 << 0,
	DRAFT_6 = 1 << 1,
	DRAFT_7 = 1 << 2,
	DRAFT_2019 = 1 << 3,
	DRAFT_2020 = 1 << 4,
} schema_draft;

#define DRAFTS_ALL (DRAFT_4 | DRAFT_6 | DRAFT_7 | DRAFT_2019 | DRAFT_2020)
#define DRAFTS_SINCE_6 (DRAFTS_ALL & ~DRAFT_4)
#define DRAFTS_SINCE_7 (DRAFT_7 | DRAFT_2019 | DRAFT_2020)
#define DRAFTS_SINCE_2019 (DRAFT_2019 | DRAFT_2020)
#define DRAFTS_UNTIL_7 (DRAFT_4 | DRAFT_6 | DRAFT_7)

typedef enum schema_vocabulary
{
	VOCABULARY_CORE = 1 << 0,
	VOCABULARY_APPLICATOR = 1 << 1,
	VOCABULARY_UNEVALUATED = 1 << 2,
	VOCABULARY_VALIDATION = 1 << 3,
	VOCABULARY_FORMAT = 1 << 4,
	VOCABULARY_FORMAT_ASSERTION = 1 << 5,
	VOCABULARY_OTHER = 1 << 6, /* annotations that need no work */
} schema_vocabulary;

typedef struct schema_dialect
{
	schema_draft draft;
	uint32 vocabularies;
} schema_dialect;

/* Types a value may have; an integer is a number, too. */
#define TYPE_BIT(kind) (1 << (kind))
#define TYPE_INTEGER (1 << 6)

/* Above this many values an enum is looked up by hash. */
#define ENUM_SCAN_LIMIT 8

typedef struct schema_node schema_node;
typedef struct schema_pattern schema_pattern;
typedef struct schema_format schema_format;

/* A step of a JSON pointer, linked upwards; NULL is the whole document. */
typedef struct schema_step
{
	const struct schema_step *parent;
	const char *token;
	int length;
} schema_step;

typedef struct schema_document
{
	const char *uri; /* as registered; "" for the schema at hand */
	json_view root;
} schema_document;

typedef struct dynamic_anchor
{
	int name; /* number of the name, 0 for $recursiveAnchor */
	schema_node *node;
} dynamic_anchor;

/* A schema with an identifier of its own, or a whole document. */
typedef struct schema_resource
{
	int number;
	const char *uri; /* without fragment */
	const schema_document *document;
	schema_dialect dialect;
	schema_node *root;
	List *dynamic_anchors; /* of dynamic_anchor */
} schema_resource;

typedef struct schema_nodes
{
	int count;
	schema_node **node;
} schema_nodes;

typedef struct number_rules
{
	Numeric minimum;
	Numeric maximum;
	Numeric exclusive_minimum;
	Numeric exclusive_maximum;
	Numeric multiple_of;
} number_rules;

typedef struct string_rules
{
	int64 min_length;
	int64 max_length; /* -1: any */
	schema_pattern *pattern;
	const schema_format *format;
} string_rules;

typedef struct array_rules
{
	int64 min_items;
	int64 max_items; /* -1: any */
	bool unique;
	schema_nodes prefix;
	schema_node *rest; /* for the items after the prefix */
	const char *prefix_keyword;
	schema_node *contains;
	int64 min_contains;
	int64 max_contains; /* -1: any */
	bool contains_evaluates;
	schema_node *unevaluated;
} array_rules;

/* A member a schema names; sorted as JSONB sorts keys. */
typedef struct named_member
{
	const char *key;
	int length;
	bool required;
	schema_node *node; /* or NULL */
} named_member;

typedef struct pattern_member
{
	schema_pattern *pattern;
	schema_node *node;
} pattern_member;

/* What the presence of a member demands. */
typedef struct dependency
{
	const char *keyword;
	const char *key;
	int length;
	int required_count;
	json_view *required; /* names of members */
	schema_node *node;	 /* or NULL */
} dependency;

typedef struct object_rules
{
	int64 min_properties;
	int64 max_properties; /* -1: any */
	int member_count;
	named_member *members;
	bool has_required;
	int pattern_count;
	pattern_member *patterns;
	schema_node *additional;
	schema_node *names;
	int dependency_count;
	dependency *dependencies;
	schema_node *unevaluated;
} object_rules;

/* The values of "enum": in a table of hashes when there are many. */
typedef struct enum_rules
{
	int count;
	json_view *values;
	uint64 *hashes; /* sorted, values in the same order; or NULL */
} enum_rules;

struct schema_node
{
	const schema_step *path;
	schema_resource *resource;
	json_view source;
	bool is_boolean;
	bool verdict;		 /* of a boolean schema */
	bool strict_integer; /* draft 4: 1.0 is not an integer */
	bool asserts_format;
	bool has_applicators; /* any of the in-place ones below */
	bool is_alias;		  /* nothing but a $ref */
	int types;			  /* bits, 0: any */
	enum_rules *allowed;
	json_view *constant;
	number_rules *number;
	string_rules *string;
	array_rules *array;
	object_rules *object;
	schema_node *reference;
	schema_node *dynamic_reference; /* where it leads unless the scope says otherwise */
	int dynamic_name;				/* -1: only there */
	schema_nodes all_of;
	schema_nodes any_of;
	schema_nodes one_of;
	schema_node *negated;
	schema_node *condition;
	schema_node *consequence;
	schema_node *alternative;
};

struct compiled_schema
{
	MemoryContext context;
	schema_node *root;
	int node_count;
	int resource_count;
	bool has_dynamic;
	bool uses_registry;
	uint64 generation; /* of the registry it was compiled with */

	/* the cache's part */
	uint64 digest;
	Jsonb *source;
	int pins;
	bool is_cached;
	dlist_node link;
};

#endif /* ETL_SCHEMA_NODES_H */
