/*-------------------------------------------------------------------------
 *
 * launcher_state.c
 *	  Shared memory of the launcher: a slot a database, under one lock.
 *
 * A slot holds counters, a time, and the latch of who coordinates; what has to outlive
 * the server is in tables.  Who changes what there is to do raises "changes" at commit
 * and wakes the coordinator if there is one, else the launcher.  A coordinator ends only
 * if nothing has changed since it last looked: so no change is ever overlooked between
 * the two, and neither needs to poll.
 *
 * Latches are those in PGPROC, which stay where they are; each is taken out by who put it
 * in, when its process ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "run/launcher_state.h"

/* A server that crashes within this time of its start makes the launcher wait, microseconds. */
#define CRASH_LOOP_USECS (2 * USECS_PER_SEC)
/* How long at most, seconds. */
#define MAX_START_DELAY 8

typedef struct database_slot
{
	database_status status;
	Latch *coordinator; /* NULL: nobody */
} database_slot;

typedef struct launcher_shared
{
	LWLock *lock;
	Latch *launcher; /* NULL: it is not there, and looks at everything when it comes */
	bool databases_changed;
	bool overflow;	 /* a database found no slot */
	int start_delay; /* seconds */
	database_slot slots[FLEXIBLE_ARRAY_MEMBER];
} launcher_shared;

int launcher_max_databases = 1024;

static launcher_shared *shared = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;
static database_slot *led_slot = NULL; /* of this coordinator */

static Size
shared_size(void)
{
	return add_size(offsetof(launcher_shared, slots),
					mul_size(launcher_max_databases, sizeof(database_slot)));
}

static void
request_shared(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche("etl", 1);
}

/*
 * Runs in the postmaster, at its start and after each crash: its own memory remembers how
 * soon after the last start that was.  Something of ours that crashes at once must not keep
 * the whole server restarting without a pause.
 */
static int
start_delay(void)
{
	static TimestampTz last_start = 0;
	static int last_delay = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (last_start != 0 && now - last_start < CRASH_LOOP_USECS + last_delay * USECS_PER_SEC)
		last_delay = Min(Max(last_delay * 2, 1), MAX_START_DELAY);
	else
		last_delay = 0;
	last_start = now;
	return last_delay;
}

static void
startup_shared(void)
{
	bool found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("etl launcher", shared_size(), &found);
	if (!found)
	{
		memset(shared, 0, shared_size());
		shared->lock = &GetNamedLWLockTranche("etl")->lock;
		shared->start_delay = start_delay();
	}
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Asks for the shared memory.  For _PG_init of a library that is preloaded.
 */
void
launcher_state_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shared;
}

/*
 * Whether the library is preloaded: schedules fire, and queued runs are begun, without
 * somebody who calls.
 */
bool
launcher_exists(void)
{
	return shared != NULL;
}

/* The slot of a database, or NULL.  The lock must be held. */
static database_slot *
find_slot(Oid database)
{
	for (int i = 0; i < launcher_max_databases; i++)
	{
		if (shared->slots[i].status.database == database)
			return &shared->slots[i];
	}
	return NULL;
}

/* The slot of a database, a new one if need be; NULL when there is none left. */
static database_slot *
find_or_make_slot(Oid database)
{
	database_slot *slot = find_slot(database);

	if (slot == NULL && (slot = find_slot(InvalidOid)) != NULL)
	{
		memset(slot, 0, sizeof(database_slot));
		slot->status.database = database;
		slot->status.changes = 1; /* nobody has looked yet */
		slot->status.next_due = DT_NOEND;
	}
	if (slot == NULL)
		shared->overflow = true;
	return slot;
}

static void
wake_launcher(void)
{
	if (shared->launcher != NULL)
		SetLatch(shared->launcher);
}

/*
 * Something to do in a database may have changed, and is committed.  Must not raise:
 * transaction callbacks call it.
 */
void
launcher_note_change(Oid database)
{
	database_slot *slot;

	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_or_make_slot(database);
	if (slot != NULL)
		slot->status.changes++;
	if (slot != NULL && slot->coordinator != NULL)
		SetLatch(slot->coordinator);
	else
		wake_launcher();
	LWLockRelease(shared->lock);
}

/*
 * The databases of the server are others, and that is committed.  Must not raise.
 */
void
launcher_note_databases(void)
{
	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->databases_changed = true;
	wake_launcher();
	LWLockRelease(shared->lock);
}

/* At the end of a coordinator, however it comes about. */
static void
stop_leading(int code, Datum argument)
{
	if (led_slot == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	led_slot->coordinator = NULL;
	led_slot = NULL;
	wake_launcher();
	LWLockRelease(shared->lock);
}

/*
 * This process coordinates its database from now on: it is woken for changes.
 */
void
launcher_lead(void)
{
	static bool registered = false;

	if (shared == NULL)
		return;
	if (!registered)
	{
		on_shmem_exit(stop_leading, (Datum) 0);
		registered = true;
	}
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	led_slot = find_or_make_slot(MyDatabaseId);
	if (led_slot != NULL)
		led_slot->coordinator = MyLatch;
	LWLockRelease(shared->lock);
}

/*
 * The changes up to now in this process' database: to be asked for before looking at the
 * tables.
 */
uint64
launcher_changes(void)
{
	database_slot *slot;
	uint64 changes = 0;

	if (shared == NULL)
		return 0;
	LWLockAcquire(shared->lock, LW_SHARED);
	slot = find_slot(MyDatabaseId);
	if (slot != NULL)
		changes = slot->status.changes;
	LWLockRelease(shared->lock);
	return changes;
}

/*
 * A coordinator is about to end: leaves the time the next run is due at.  Returns false,
 * and it must go on, when something has changed since it looked.
 */
bool
launcher_end(uint64 looked_at, TimestampTz next_due)
{
	database_slot *slot;
	bool ends = true;

	if (shared == NULL)
		return true;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_or_make_slot(MyDatabaseId);
	if (slot != NULL)
	{
		ends = looked_at == 0 || slot->status.changes == looked_at;
		if (ends)
		{
			slot->status.seen = slot->status.changes;
			slot->status.next_due = next_due;
			slot->status.reports++;
			slot->coordinator = NULL;
			led_slot = NULL;
			wake_launcher();
		}
	}
	LWLockRelease(shared->lock);
	return ends;
}

/*
 * A coordinator ends because another one is at work: not a failure.
 */
void
launcher_yield(void)
{
	database_slot *slot;

	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_slot(MyDatabaseId);
	if (slot != NULL)
		slot->status.reports++;
	LWLockRelease(shared->lock);
}

/*
 * Wakes the coordinator of this process' database.  Returns whether there is one that is
 * known here.
 */
bool
launcher_wake_coordinator(void)
{
	database_slot *slot;
	bool woken;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	slot = find_slot(MyDatabaseId);
	woken = slot != NULL && slot->coordinator != NULL;
	if (woken)
		SetLatch(slot->coordinator);
	LWLockRelease(shared->lock);
	return woken;
}

/* At the end of the launcher. */
static void
detach(int code, Datum argument)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher = NULL;
	LWLockRelease(shared->lock);
}

/*
 * This process is the launcher.  Returns how many seconds it shall wait before it starts
 * anything.  What an earlier one knew is looked at again.
 */
int
launcher_attach(void)
{
	int delay;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher = MyLatch;
	shared->databases_changed = true;
	delay = shared->start_delay;
	shared->start_delay = 0;
	LWLockRelease(shared->lock);
	on_shmem_exit(detach, (Datum) 0);
	launcher_look_again();
	return delay;
}

/*
 * What has come up for the launcher itself since it last asked: whether the databases are
 * others; returns whether some found no slot.
 */
bool
launcher_take_news(bool *databases_changed)
{
	bool overflow;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	*databases_changed = shared->databases_changed;
	overflow = shared->overflow;
	shared->databases_changed = shared->overflow = false;
	LWLockRelease(shared->lock);
	return overflow;
}

/* A slot as it is now. */
database_status
launcher_status(int slot)
{
	database_status status;

	LWLockAcquire(shared->lock, LW_SHARED);
	status = shared->slots[slot].status;
	status.led = shared->slots[slot].coordinator != NULL;
	LWLockRelease(shared->lock);
	return status;
}

/*
 * Has every database looked at again.
 */
void
launcher_look_again(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < launcher_max_databases; i++)
		shared->slots[i].status.changes++;
	LWLockRelease(shared->lock);
}

/*
 * These are all databases to look after: makes slots for new ones and frees those of
 * others.  Returns for how many there was none.
 */
int
launcher_keep_databases(const Oid *databases, int count)
{
	int missing = 0;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < launcher_max_databases; i++)
	{
		database_slot *slot = &shared->slots[i];
		bool kept = false;

		for (int j = 0; j < count && !kept; j++)
			kept = slot->status.database == databases[j];
		if (!kept && slot->coordinator == NULL)
			memset(slot, 0, sizeof(database_slot));
	}
	for (int j = 0; j < count; j++)
	{
		if (find_or_make_slot(databases[j]) == NULL)
			missing++;
	}
	shared->overflow = false;
	LWLockRelease(shared->lock);
	return missing;
}
