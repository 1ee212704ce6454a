/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  Waking processes by pid.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_WAKE_H
#define ETL_WAKE_H

extern void wake_process(int pid);

#endif /* ETL_WAKE_H */
