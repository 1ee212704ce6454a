/*-------------------------------------------------------------------------
 *
 * schedule_internal.h
 *	  A parsed schedule, as the parser leaves it and the walk from tick to tick reads it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEDULE_INTERNAL_H
#define ETL_SCHEDULE_INTERNAL_H

#include "run/schedule.h"

struct schedule
{
	pg_tz *tz;
	int64 period;	  /* seconds between ticks; 0 for cron, and then: */
	uint64 minutes;	  /* bits 0-59 */
	uint64 hours;	  /* bits 0-23 */
	uint64 days;	  /* of the month, bits 1-31 */
	uint64 months;	  /* bits 1-12 */
	uint64 weekdays;  /* bits 0-6, 0 is Sunday */
	bool either_day;  /* days and weekdays both restricted: one is enough */
	bool follow_real; /* minute or hour begins with '*' */
};

/* Days of the week and leap years repeat exactly after this many days, 400 years. */
#define CALENDAR_CYCLE_DAYS 146097

/* The first matching day from "day" to "last", in days since 1970-01-01; false if none is. */
extern bool schedule_next_day(const schedule *s, int64 day, int64 last, int64 *match);

#endif /* ETL_SCHEDULE_INTERNAL_H */
