/*-------------------------------------------------------------------------
 *
 * regex_parser.h
 *	  What the two parts of the parser of regular expressions share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_REGEX_PARSER_H
#define ETL_SCHEMA_REGEX_PARSER_H

#include "postgres.h"

#include "schema/pattern.h"

typedef struct regex_parser
{
	const unsigned char *next;
	const unsigned char *end;
	const char *problem;
	int groups;			/* that capture, so far */
	int last_reference; /* the highest number a back reference names */
	List *names;		/* of groups */
	List *references;	/* names in back references */
} regex_parser;

/* regex_parse.c */
extern regex_node *regex_fail(regex_parser *p, const char *problem);
extern regex_node *regex_new_set(code_set *set);
extern pg_wchar regex_next(regex_parser *p);
extern bool regex_take(regex_parser *p, const char *text);

/* regex_class.c */
extern bool regex_class_escape(regex_parser *p, code_set *set);
extern bool regex_character_escape(regex_parser *p, bool in_class, pg_wchar *out);
extern regex_node *regex_parse_class(regex_parser *p);

#endif /* ETL_SCHEMA_REGEX_PARSER_H */
