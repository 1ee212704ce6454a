/*-------------------------------------------------------------------------
 *
 * secret.h
 *	  Secrets: inline, in a file of etl.secret_directory, in the server's environment.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SECRET_H
#define ETL_SECRET_H

#include "postgres.h"
#include "nodes/pg_list.h"

#include "extract/source/options.h"

extern void secret_check_rights(const char *option, Oid server_owner);
extern char *secret_read_file(const char *option, const char *file_name, Oid server_owner);
extern char *secret_read(const source_option *option, const char *value, Oid server_owner);
extern List *secret_read_list(const source_option *option, const char *value, Oid server_owner);

#endif /* ETL_SECRET_H */
