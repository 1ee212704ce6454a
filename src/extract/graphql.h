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

extern char *graphql_error(const char *document, size_t length, char **kind);

#endif /* ETL_GRAPHQL_H */
