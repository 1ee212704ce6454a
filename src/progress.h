/*-------------------------------------------------------------------------
 *
 * progress.h
 *	  What a worker does right now, and what it found out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_PROGRESS_H
#define ETL_PROGRESS_H

#include "postgres.h"
#include "utils/jsonb.h"

extern void progress_set_subject(const char *subject);
extern void progress_report(const char *format, ...) pg_attribute_printf(1, 2);
extern void evidence_reset(void);
extern Datum evidence_as_jsonb(void);

#endif /* ETL_PROGRESS_H */
