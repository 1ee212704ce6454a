/*-------------------------------------------------------------------------
 *
 * page_value.h
 *	  One value of a page, such as the cursor to the next one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_PAGE_VALUE_H
#define ETL_PAGE_VALUE_H

#include "postgres.h"
#include "nodes/pg_list.h"

extern char *page_value(const char *body, size_t length, List *path);

#endif /* ETL_PAGE_VALUE_H */
