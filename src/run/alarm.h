/*-------------------------------------------------------------------------
 *
 * alarm.h
 *	  Sleeping until an instant of the system's clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_ALARM_H
#define ETL_ALARM_H

#include "postgres.h"
#include "datatype/timestamp.h"

extern void alarm_init(void);
extern void alarm_wait(TimestampTz until);

#endif /* ETL_ALARM_H */
