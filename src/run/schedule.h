/*-------------------------------------------------------------------------
 *
 * schedule.h
 *	  Schedules: when a pipeline is due, and which data interval an instant lies in.
 *
 * A schedule is five cron fields, a word such as @daily, or an interval.  Cron is
 * read on the wall clock of a time zone, with Vixie's rules where that clock
 * jumps; intervals lie on a grid that starts at the Unix epoch and know no zone.
 * This file knows no pipeline and no table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEDULE_H
#define ETL_SCHEDULE_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "pgtime.h"
#include "utils/date.h"

typedef struct schedule schedule;

/* Parse and check; raise what a user should read.  The result is one palloc'd chunk. */
extern schedule *schedule_parse(const char *text, const char *timezone);

/* First tick after, last tick before an instant, both strictly; false if there is none. */
extern bool schedule_next(const schedule *s, TimestampTz after, TimestampTz *tick);
extern bool schedule_prev(const schedule *s, TimestampTz before, TimestampTz *tick);

/* The zone of a schedule, which lives as long as the process. */
extern pg_tz *schedule_timezone(const schedule *s);

/* A zone by name, or an error that says where the names are. */
extern pg_tz *timezone_by_name(const char *name);

/* Days on the wall clock of a zone. */
extern DateADT local_date(pg_tz *tz, TimestampTz instant);
extern TimestampTz local_day_start(pg_tz *tz, DateADT date);
extern TimestampTz local_day_last(pg_tz *tz, DateADT date);

#endif /* ETL_SCHEDULE_H */
