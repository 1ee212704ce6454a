/*-------------------------------------------------------------------------
 *
 * body_template.h
 *	  The body of a request, with another value in one place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_BODY_TEMPLATE_H
#define ETL_BODY_TEMPLATE_H

#include "postgres.h"
#include "nodes/pg_list.h"

extern char *body_template_fill(const char *body, List *path, const char *value, bool is_number);

#endif /* ETL_BODY_TEMPLATE_H */
