/*-------------------------------------------------------------------------
 *
 * notification.h
 *	  Sending what is in the outbox of notifications.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_NOTIFICATION_H
#define ETL_NOTIFICATION_H

#include "postgres.h"

extern bool notification_send_next(MemoryContext context);

#endif /* ETL_NOTIFICATION_H */
