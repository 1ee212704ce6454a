/*-------------------------------------------------------------------------
 *
 * graphql.h
 *	  Answers of GraphQL, which call an error a success.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_GRAPHQL_H
#define ETL_GRAPHQL_H

#include "postgres.h"

extern bool graphql_is_rate_limit(const char *kind);
extern char *graphql_error(const char *document, size_t length, char **kind);

#endif /* ETL_GRAPHQL_H */
