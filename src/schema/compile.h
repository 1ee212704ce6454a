/*-------------------------------------------------------------------------
 *
 * compile.h
 *	  What the parts of the compiler share: its state, children, errors, references.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_COMPILE_H
#define ETL_SCHEMA_COMPILE_H

#include "postgres.h"

#include "utils/hsearch.h"

#include "compat.h"
#include "schema/nodes.h"

/* A reference to be resolved once all nodes of the documents at hand exist. */
typedef struct schema_reference
{
	schema_node *node;
	const char *keyword;
	const char *text;
} schema_reference;

typedef struct schema_compiler
{
	compiled_schema *schema;
	HTAB *nodes; /* by the address of their object */
	HTAB *names; /* by URI, with or without an anchor */
	List *references;
	List *anchor_names;
	bool allow_unresolved;
	int metaschema_depth;
} schema_compiler;

/* compile.c */
extern compiled_schema *schema_compile(const Jsonb *schema, const char *uri, bool allow_unresolved);
extern schema_resource *schema_add_resource(schema_compiler *compiler,
											const schema_document *document, const char *uri,
											schema_dialect dialect);
extern schema_node *schema_add_document(schema_compiler *compiler, const char *uri,
										const Jsonb *jsonb, const schema_dialect *inherited);
extern schema_node *schema_compile_node(schema_compiler *compiler, const json_view *source,
										schema_node *parent, const schema_step *path,
										schema_resource *resource);
extern schema_node *schema_compile_child(schema_compiler *compiler, schema_node *parent,
										 const json_view *source, const char *keyword,
										 const char *token, int length);
extern char *schema_uri_text(const schema_node *node, const char *keyword, const json_view *value);
extern const schema_step *schema_step_add(const schema_step *parent, const char *token, int length);
extern const schema_step *schema_step_add_index(const schema_step *parent, int index);
extern void schema_error(const schema_node *node, const char *keyword, const char *format, ...)
	pg_attribute_printf(3, 4) pg_attribute_noreturn();

/* keywords.c */
extern void schema_compile_keyword(schema_compiler *compiler, schema_node *node, const char *key,
								   int length, const json_view *value);
extern object_rules *schema_object_rules(schema_node *node);
extern array_rules *schema_array_rules(schema_node *node);
extern void schema_require(const schema_node *node, const char *keyword, const json_view *value,
						   json_kind kind);

/* applicators.c */
typedef void (*keyword_handler)(schema_compiler *compiler, schema_node *node, const char *keyword,
								const json_view *value);
extern void compile_subschema(schema_compiler *, schema_node *, const char *, const json_view *);
extern void compile_branches(schema_compiler *, schema_node *, const char *, const json_view *);
extern void compile_definitions(schema_compiler *, schema_node *, const char *, const json_view *);
extern void compile_properties(schema_compiler *, schema_node *, const char *, const json_view *);
extern void compile_pattern_properties(schema_compiler *, schema_node *, const char *,
									   const json_view *);
extern void compile_required(schema_compiler *, schema_node *, const char *, const json_view *);
extern void compile_dependencies(schema_compiler *, schema_node *, const char *, const json_view *);
extern void compile_items(schema_compiler *, schema_node *, const char *, const json_view *);
extern void compile_prefix_items(schema_compiler *, schema_node *, const char *, const json_view *);
extern void compile_additional_items(schema_compiler *, schema_node *, const char *,
									 const json_view *);
extern void schema_finish_members(schema_node *node);

/* resolve.c */
extern void schema_name_node(schema_compiler *compiler, const schema_resource *resource,
							 const char *anchor, schema_node *node);
extern void schema_alias_resource(schema_compiler *compiler, const char *uri, schema_node *root);
extern void schema_add_dynamic_anchor(schema_compiler *compiler, schema_node *node,
									  const char *name);
extern void schema_resolve_references(schema_compiler *compiler);

/* dialects.c */
extern schema_dialect schema_default_dialect(void);
extern schema_dialect schema_find_dialect(schema_compiler *compiler, const schema_node *node,
										  const char *uri);

/* metaschemas.c */
extern const char *schema_builtin(const char *uri);

/* registry.c */
extern const Jsonb *schema_registry_find(const char *uri);
extern uint64 schema_registry_generation(void);

/* paths.c */
extern char *schema_step_text(const schema_resource *resource, const schema_step *path,
							  const char *keyword);
extern void append_pointer_token(StringInfo out, const char *token, int length);

#endif /* ETL_SCHEMA_COMPILE_H */
