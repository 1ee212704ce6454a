/*-------------------------------------------------------------------------
 *
 * database_hooks.h
 *	  Noticing that databases and extensions come, change and go.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_DATABASE_HOOKS_H
#define ETL_DATABASE_HOOKS_H

extern void install_database_hooks(void);

#endif /* ETL_DATABASE_HOOKS_H */
