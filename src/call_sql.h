/*-------------------------------------------------------------------------
 *
 * call_sql.h
 *	  Short transactions of a background worker, and SQL calls within them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_CALL_SQL_H
#define ETL_CALL_SQL_H

#include "postgres.h"
#include "executor/spi.h"
#include "utils/timestamp.h"

extern void sql_begin(void);
extern void sql_commit(void);
extern void sql_call(const char *query, int nargs, Oid *types, Datum *values, const char *nulls);

/* Column "column" (from 1) of row "row" of the last result. */
extern bool sql_is_null(int row, int column);
extern Datum sql_datum(int row, int column);
extern int64 sql_bigint(int row, int column, int64 if_null);
extern char *sql_text(int row, int column);
extern List *sql_text_array(int row, int column);

#endif /* ETL_CALL_SQL_H */
