/*-------------------------------------------------------------------------
 *
 * pattern.h
 *	  Regular expressions of ECMA-262.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_PATTERN_H
#define ETL_SCHEMA_PATTERN_H

#include "postgres.h"

#include "mb/pg_wchar.h"

#include "schema/nodes.h"

/* A sorted list of ranges of code points that neither overlap nor touch. */
typedef struct code_range
{
	pg_wchar first;
	pg_wchar last;
} code_range;

typedef struct code_set
{
	int count;
	int allocated;
	code_range *ranges;
} code_set;

#define CODE_POINT_MAX 0x10FFFF

typedef enum regex_kind
{
	REGEX_EMPTY,
	REGEX_SET,		/* one character of a set */
	REGEX_SEQUENCE, /* children, one after the other */
	REGEX_CHOICE,	/* one of the children */
	REGEX_REPEAT,	/* the child, minimum to maximum times */
	REGEX_START,
	REGEX_END,
	REGEX_WORD_BOUNDARY,
	REGEX_LOOK, /* the child must (not) match here, ahead or behind */
	REGEX_BACK, /* what a group matched; not supported, but valid ECMA-262 */
} regex_kind;

typedef struct regex_node
{
	regex_kind kind;
	bool negative;
	bool behind;
	int minimum;
	int maximum; /* -1: any */
	code_set *set;
	List *children;
} regex_node;

struct validation;

/* code_set.c */
extern code_set *code_set_new(void);
extern void code_set_add(code_set *set, pg_wchar first, pg_wchar last);
extern void code_set_union(code_set *set, const code_set *other);
extern code_set *code_set_complement(const code_set *set);
extern bool code_set_add_property(code_set *set, const char *name, int length);
extern bool code_set_contains(const code_set *set, pg_wchar c);

/* regex_parse.c */
extern regex_node *regex_parse(const char *pattern, int length, const char **problem);

/* pattern.c */
extern schema_pattern *schema_pattern_compile(const schema_node *node, const char *keyword,
											  const char *pattern, int length);
extern bool schema_pattern_matches(struct validation *v, const schema_pattern *pattern,
								   const char *text, int length);
extern const char *schema_pattern_source(const schema_pattern *pattern);

#endif /* ETL_SCHEMA_PATTERN_H */
