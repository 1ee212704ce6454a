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

extern int idna_label_size(const pg_wchar *label, int length);
extern int idna_decode(const char *label, int length, pg_wchar *out);
extern bool idna_is_right_to_left(const pg_wchar *label, int length);
extern bool idna_bidi_valid(const pg_wchar *label, int length);

#define IDNA_LABEL_MAX 63

#endif /* ETL_SCHEMA_IDNA_H */
