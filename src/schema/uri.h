/*-------------------------------------------------------------------------
 *
 * uri.h
 *	  URI references: resolved against a base, fragments split and decoded.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_URI_H
#define ETL_SCHEMA_URI_H

#include "postgres.h"

extern char *schema_uri_resolve(const char *base, const char *reference);
extern char *schema_uri_split(char *uri);
extern char *schema_uri_decode(const char *text, int *length);

#endif /* ETL_SCHEMA_URI_H */
