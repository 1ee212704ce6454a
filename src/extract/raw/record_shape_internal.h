/*-------------------------------------------------------------------------
 *
 * record_shape_internal.h
 *	  What record_shape.c and record_drift.c share: the shape of a load's records, and what is
 *	  expected of each path.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_RECORD_SHAPE_INTERNAL_H
#define ETL_RECORD_SHAPE_INTERNAL_H

#include "postgres.h"

#include "extract/raw/record_shape.h"
#include "schema/schema.h"
#include "schema/shape.h"

/* How many differences a message names. */
#define MAX_SHOWN_CHANGES 3

typedef enum record_contract
{
	CONTRACT_EVOLVE,
	CONTRACT_FREEZE,
	CONTRACT_DISCARD_RECORD
} record_contract;

/* What is known of the members of an object that are not expected. */
typedef enum unlisted_members
{
	UNLISTED_NEW,  /* they are new */
	UNLISTED_OPEN, /* nothing is said of members: what was there before counts */
	UNLISTED_ANY   /* they are welcome */
} unlisted_members;

/* What is expected of a path; shape_node.more. */
typedef struct expected_field
{
	bool is_declared; /* by the record_schema; else known from loads before */
	int types;		  /* bits */
	int shown;		  /* those to be named */
	unlisted_members unlisted;
	bool was_object;			  /* loads before had objects here */
	bool always;				  /* known, and in all records that could have it */
	const compiled_schema *names; /* which members .* is for; NULL: all */
} expected_field;

/* The shape of a load's records. */
struct record_shape
{
	MemoryContext context;
	shape *seen;
	record_contract contract;
	int64 task_run_id;
	int attempt;
	int64 load_id;
	int saved_facts;
	bool saved_all;		/* the counts are those of all records of the load */
	bool has_drift;		/* of a kind that the contract refuses */
	StringInfo refusal; /* of the record at hand */
	int refused_fields;
};

/* record_shape.c */
extern bool record_field_is_undeclared(const shape_node *node);
extern char *record_path_text(const shape_node *node);
extern char *record_types_text(int types);
extern List *record_shape_children(const shape_node *node);

/* record_drift.c */
extern void record_drift_keep(record_shape *shape, bool with_missing);

#endif /* ETL_RECORD_SHAPE_INTERNAL_H */
