/*-------------------------------------------------------------------------
 *
 * regex_dfa.h
 *	  Plain regular expressions as a table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_REGEX_DFA_H
#define ETL_SCHEMA_REGEX_DFA_H

#include "postgres.h"

#include "schema/pattern.h"

typedef struct schema_dfa schema_dfa;

extern schema_dfa *regex_dfa_build(const regex_node *node, MemoryContext result);
extern bool regex_dfa_matches(const schema_dfa *dfa, const char *text, int length);

#endif /* ETL_SCHEMA_REGEX_DFA_H */
