/*-------------------------------------------------------------------------
 *
 * schema.h
 *	  JSON Schema: compiled once, documents validated as JSONB.  What other rooms use.
 *
 * Drafts 4, 6, 7, 2019-09 and 2020-12, chosen by "$schema".  References lead into the
 * schema itself, the metaschemas, or etl.registered_schema; nothing is fetched.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_H
#define ETL_SCHEMA_H

#include "postgres.h"

#include "utils/jsonb.h"

typedef struct compiled_schema compiled_schema;

/* One way in which a document breaks its schema.  Strings live until the report returns. */
typedef struct schema_violation
{
	const char *instance_path; /* JSON pointer into the document, "" for all of it */
	const char *keyword;
	const char *schema_path; /* where the keyword is: a URI reference with a JSON pointer */
	const char *message;
} schema_violation;

typedef void (*schema_report)(void *argument, const schema_violation *violation);

/*
 * Compiles a schema, or takes it from the cache of this backend.  It stays valid until the
 * memory context owner is reset or deleted.  Raises for a schema that is not valid.
 */
extern const compiled_schema *schema_acquire(const Jsonb *schema, MemoryContext owner);

/*
 * Has a registered schema it refers to changed since it was compiled?
 */
extern bool schema_is_stale(const compiled_schema *schema);

/*
 * Does the document satisfy the schema?  With a report function every violation is
 * reported; without, the first ends the work.  Formats count if assert_format is set or
 * the schema's own metaschema says so.  Raises when the schema recurses without end or
 * takes too many steps on this document.
 */
extern bool schema_validate(const compiled_schema *schema, const Jsonb *document,
							bool assert_format, schema_report report, void *argument);

#endif /* ETL_SCHEMA_H */
