/*-------------------------------------------------------------------------
 *
 * validation.h
 *	  What the parts of the validator share: its state, places in the document, which
 *	  members and items have been evaluated.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_VALIDATION_H
#define ETL_SCHEMA_VALIDATION_H

#include "postgres.h"

#include "miscadmin.h"

#include "schema/nodes.h"

/* Where a value is in the document; text is made only for reports. */
typedef struct instance_place
{
	const struct instance_place *parent;
	const char *key; /* or NULL: an item */
	int length;
	int index;
	int schemas; /* how many schemas are being applied to this very value */
} instance_place;

/* The members or items of one value that some schema has evaluated. */
typedef struct evaluated_set
{
	bool all;
	int count;
	uint64 *words;
	uint64 inline_words[4];
} evaluated_set;

typedef struct validation
{
	const compiled_schema *schema;
	bool assert_format;
	schema_report report;
	void *argument;
	int64 steps_left;	  /* after the next pause */
	int64 steps_to_pause; /* negative: so many too many */
	int schemas_limit;

	/* dynamic scope: the resources entered, outermost first; only if references need it */
	schema_resource **scope;
	bool *in_scope;
	int scope_count;
} validation;

/* validate.c */
extern bool validate_node(validation *v, const schema_node *node, const json_view *value,
						  instance_place *place, evaluated_set *evaluated);
extern void validation_pause(validation *v);

/* validate_object.c */
extern bool validate_object(validation *v, const schema_node *node, const json_view *value,
							instance_place *place, evaluated_set *evaluated);
extern bool validate_unevaluated_members(validation *v, const schema_node *node,
										 const json_view *value, instance_place *place,
										 evaluated_set *evaluated);

/* validate_array.c */
extern bool validate_array(validation *v, const schema_node *node, const json_view *value,
						   instance_place *place, evaluated_set *evaluated);
extern bool validate_unevaluated_items(validation *v, const schema_node *node,
									   const json_view *value, instance_place *place,
									   evaluated_set *evaluated);

/* validate_scalar.c */
extern bool validate_type(validation *v, const schema_node *node, const json_view *value,
						  instance_place *place);
extern bool validate_values(validation *v, const schema_node *node, const json_view *value,
							instance_place *place);
extern bool validate_number(validation *v, const schema_node *node, const json_view *value,
							instance_place *place);
extern bool validate_string(validation *v, const schema_node *node, const json_view *value,
							instance_place *place);

/*
 * Counts work done; interrupts are served and the budget is checked every so often.
 */
static inline void
validation_count_steps(validation *v, int64 steps)
{
	v->steps_to_pause -= steps;
	if (unlikely(v->steps_to_pause < 0))
		validation_pause(v);
}

/* evaluated.c */
extern void evaluated_start(evaluated_set *set, int count);
extern void evaluated_end(evaluated_set *set);
extern void evaluated_merge(evaluated_set *into, const evaluated_set *from);

static inline void
evaluated_add(evaluated_set *set, int index)
{
	set->words[index / 64] |= UINT64CONST(1) << (index % 64);
}

static inline bool
evaluated_has(const evaluated_set *set, int index)
{
	return set->all || (set->words[index / 64] & (UINT64CONST(1) << (index % 64))) != 0;
}

/* report.c */
extern bool validation_fail(validation *v, const schema_node *node, const char *keyword,
							const instance_place *place, const char *format, ...)
	pg_attribute_printf(5, 6);
extern bool validation_fail_member(validation *v, const schema_node *node, const char *keyword,
								   const instance_place *place, const char *key, int length,
								   const char *format, ...) pg_attribute_printf(7, 8);
extern const char *describe_value(const json_view *value);
extern const char *describe_types(int types);

/*
 * Notes that a check failed; without a report function that ends the work of the function.
 * Needs v and valid.
 */
#define VALIDATION_CHECK(check)                                                                    \
	do                                                                                             \
	{                                                                                              \
		if (!(check))                                                                              \
		{                                                                                          \
			valid = false;                                                                         \
			if (v->report == NULL)                                                                 \
				return false;                                                                      \
		}                                                                                          \
	} while (0)

#endif /* ETL_SCHEMA_VALIDATION_H */
