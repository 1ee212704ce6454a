/*-------------------------------------------------------------------------
 *
 * secret_spelling.h
 *	  Secrets recognized in a text, however that spells them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SECRET_SPELLING_H
#define ETL_SECRET_SPELLING_H

#include "postgres.h"
#include "nodes/pg_list.h"

extern List *secret_spellings(List *secrets, size_t shortest);
extern size_t secret_spelled_at(const char *text, size_t length, const char *secret);

#endif /* ETL_SECRET_SPELLING_H */
