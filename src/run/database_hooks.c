/*-------------------------------------------------------------------------
 *
 * database_hooks.c
 *	  Noticing that databases and extensions come, change and go.
 *
 * The launcher is told at commit and looks; a look too many costs a few milliseconds.
 * The hook is in every session of a server that preloads the library.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/objectaccess.h"
#include "catalog/pg_database.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"

#include "run/database_hooks.h"
#include "run/wake.h"

static object_access_hook_type previous_hook = NULL;

/*
 * object_access_hook.  A database that was created is none of them: it has no pipelines,
 * or those of its template, which stay paused until etl.resume() tells the launcher; and
 * a look at it would be in the way of who is about to copy or drop it.
 */
static void
notice_object(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	bool changes = access == OAT_DROP || access == OAT_POST_ALTER;

	if (previous_hook)
		previous_hook(access, class_id, object_id, sub_id, arg);
	if (class_id == DatabaseRelationId && changes)
		list_databases_on_commit();
	else if (class_id == ExtensionRelationId && (changes || access == OAT_POST_CREATE))
		coordinate_on_commit(MyDatabaseId);
	else if (class_id == DbRoleSettingRelationId && changes && OidIsValid(object_id))
		coordinate_on_commit(object_id); /* may be etl.clock */
}

/*
 * For _PG_init of a library that is preloaded.
 */
void
install_database_hooks(void)
{
	previous_hook = object_access_hook;
	object_access_hook = notice_object;
}
