/*-------------------------------------------------------------------------
 *
 * launcher_state.h
 *	  What launcher, coordinators and sessions tell each other in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_LAUNCHER_STATE_H
#define ETL_LAUNCHER_STATE_H

#include "postgres.h"
#include "datatype/timestamp.h"

/* How things stand with one database. */
typedef struct database_status
{
	Oid database;		  /* InvalidOid: the slot is free */
	uint64 changes;		  /* of what there is to do; grows at each commit that may matter */
	uint64 seen;		  /* changes that a coordinator has looked at and reported */
	uint64 reports;		  /* grows whenever a coordinator ends in good order */
	TimestampTz next_due; /* DT_NOEND: nothing is going to be */
	bool led;			  /* a coordinator is at work */
} database_status;

/* Set up at module load, by the postmaster. */
extern int launcher_max_databases;
extern void launcher_state_init(void);

/* For everybody: is there a launcher to be told, and telling it.  These never raise. */
extern bool launcher_exists(void);
extern void launcher_note_change(Oid database);
extern void launcher_note_databases(void);

/* For coordinators. */
extern void launcher_lead(void);
extern uint64 launcher_changes(void);
extern bool launcher_end(uint64 looked_at, TimestampTz next_due);
extern void launcher_yield(void);
extern bool launcher_wake_coordinator(void);

/* For the launcher. */
extern int launcher_attach(void);
extern bool launcher_take_news(bool *databases_changed);
extern database_status launcher_status(int slot);
extern void launcher_look_again(void);
extern int launcher_keep_databases(const Oid *databases, int count);

#endif /* ETL_LAUNCHER_STATE_H */
