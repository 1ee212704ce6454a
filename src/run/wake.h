/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  Waking processes by pid, and having somebody come at commit.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_WAKE_H
#define ETL_WAKE_H

extern void wake_process(int pid);
extern void coordinate_on_commit(Oid database);
extern void list_databases_on_commit(void);

#endif /* ETL_WAKE_H */
