/*-------------------------------------------------------------------------
 *
 * idna.h
 *	  Labels of internationalised host names (IDNA 2008).
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_IDNA_H
#define ETL_SCHEMA_IDNA_H

#include "postgres.h"

#include "mb/pg_wchar.h"

extern bool idna_label_valid(const pg_wchar *label, int length);
extern bool idna_a_label_valid(const char *label, int length);

#endif /* ETL_SCHEMA_IDNA_H */
