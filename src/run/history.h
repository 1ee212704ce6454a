/*-------------------------------------------------------------------------
 *
 * history.h
 *	  Settings of history and what is told of it; pruning it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_HISTORY_H
#define ETL_HISTORY_H

extern void history_define_settings(void);
extern void history_prune_a_bit(void);
extern bool history_prune_while_idle(void);

#endif /* ETL_HISTORY_H */
