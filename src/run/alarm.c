/*-------------------------------------------------------------------------
 *
 * alarm.c
 *	  Sleeping until an instant of the system's clock.
 *
 * A timeout is a span: it runs on when the clock is set, and would end hours too late or
 * too early.  Linux tells: a timerfd on the wall clock fires at the instant, and also when
 * the clock jumps.  Elsewhere a look a minute has to do.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef __linux__
#include <sys/timerfd.h>
#endif
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "http/wait_events.h"
#include "run/alarm.h"

/* Where nobody tells that the clock was set, milliseconds. */
#define LOOK_AT_CLOCK_MS 60000
/* Later than any run is due, seconds since 1970. */
#define NEVER (INT64CONST(1) << 33)

static WaitEventSet *events = NULL;
static int timer = -1;

/*
 * Makes what alarm_wait() needs, for the life of the process.
 */
void
alarm_init(void)
{
	events = etl_create_wait_event_set(TopMemoryContext, 3);
	AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
#ifdef __linux__
	timer = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (timer < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("etl: could not create a timer: %m")));
	ReserveExternalFD();
	AddWaitEventToSet(events, WL_SOCKET_READABLE, timer, NULL, NULL);
#endif
}

/*
 * Sleeps until an instant (DT_NOEND: for ever), until the latch is set, or until the
 * clock jumps.  The caller looks at the time again, and resets the latch.
 */
void
alarm_wait(TimestampTz until)
{
	WaitEvent event;
	long timeout = -1;

#ifdef __linux__
	struct itimerspec at = {.it_value = {.tv_sec = NEVER}};
	uint64 expirations;

	if (until < DT_NOEND)
	{
		int64 usecs = until + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

		at.it_value.tv_sec = Min(usecs / USECS_PER_SEC, NEVER);
		at.it_value.tv_nsec = (usecs % USECS_PER_SEC) * 1000;
	}
	/* a time that has passed fires at once */
	if (timerfd_settime(timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, NULL) < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("etl: could not set a timer: %m")));
#else
	timeout = LOOK_AT_CLOCK_MS;
	if (until < DT_NOEND)
		timeout = Min(timeout, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until));
#endif
	(void) WaitEventSetWait(events, timeout, &event, 1, PG_WAIT_EXTENSION);
#ifdef __linux__
	/* EAGAIN: it was the latch; ECANCELED: the clock was set */
	(void) !read(timer, &expirations, sizeof(expirations));
#endif
}
