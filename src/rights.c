/*-------------------------------------------------------------------------
 *
 * rights.c
 *	  Whose rights count: calls with the extension's rights on behalf of a role.
 *
 * The catalog belongs to the extension; roles change it through functions that check who
 * asks.  SECURITY DEFINER cannot tell them who: inside it current_user is the extension's
 * owner, and the session's role is not who called either - within somebody's SECURITY
 * DEFINER function or an index expression under ANALYZE it is the victim.  So the
 * functions that check are not callable by anybody, and what is callable is this: it
 * notes the role that calls, and runs the function of the same name with _as_owner behind
 * it with the extension's rights.
 *
 * Besides, what views ask for every row: whether a role may see it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* The function behind a callable one; in fn_extra. */
typedef struct target_function
{
	FmgrInfo function;
	Oid owner;
} target_function;

/* The role on whose behalf a function with the extension's rights runs; else invalid. */
static Oid acting_role = InvalidOid;

PG_FUNCTION_INFO_V1(etl_call_as_owner);
PG_FUNCTION_INFO_V1(etl_acting_role);
PG_FUNCTION_INFO_V1(etl_equality_operator);
PG_FUNCTION_INFO_V1(etl_is_member);
PG_FUNCTION_INFO_V1(etl_owns);
PG_FUNCTION_INFO_V1(etl_may_see);

/*
 * Finds etl._<name>_as_owner with the same argument types.  Raises when there is none.
 */
static target_function *
find_target(FmgrInfo *caller)
{
	target_function *target = MemoryContextAllocZero(caller->fn_mcxt, sizeof(target_function));
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(caller->fn_oid));
	Form_pg_proc form;
	char *name;
	Oid oid;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", caller->fn_oid);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	name = psprintf("%s%s_as_owner", NameStr(form->proname)[0] == '_' ? "" : "_",
					NameStr(form->proname));
	oid = LookupFuncName(
		list_make2(makeString(get_namespace_name(form->pronamespace)), makeString(name)),
		form->pronargs, form->proargtypes.values, false);
	target->owner = form->proowner;
	ReleaseSysCache(tuple);
	fmgr_info_cxt(oid, &target->function, caller->fn_mcxt);
	return target;
}

/*
 * SQL: the callable face of etl._<name>_as_owner.  Its arguments and result are that
 * function's; so are its errors.
 */
Datum
etl_call_as_owner(PG_FUNCTION_ARGS)
{
	LOCAL_FCINFO(inner, FUNC_MAX_ARGS);
	target_function *volatile target = fcinfo->flinfo->fn_extra;
	Oid saved_acting_role = acting_role;
	Oid saved_user;
	int saved_context;
	volatile Datum result = (Datum) 0;

	if (target == NULL)
		fcinfo->flinfo->fn_extra = target = find_target(fcinfo->flinfo);
	InitFunctionCallInfoData(*inner, &target->function, fcinfo->nargs, fcinfo->fncollation, NULL,
							 NULL);
	for (int i = 0; i < fcinfo->nargs; i++)
		inner->args[i] = fcinfo->args[i];
	GetUserIdAndSecContext(&saved_user, &saved_context);
	PG_TRY();
	{
		/* a call from within such a function is on behalf of the same role */
		if (!OidIsValid(acting_role) || saved_user != target->owner)
			acting_role = saved_user;
		SetUserIdAndSecContext(target->owner, saved_context | SECURITY_LOCAL_USERID_CHANGE);
		result = FunctionCallInvoke(inner);
		fcinfo->isnull = inner->isnull;
	}
	PG_FINALLY();
	{
		SetUserIdAndSecContext(saved_user, saved_context);
		acting_role = saved_acting_role;
	}
	PG_END_TRY();
	return result;
}

/*
 * SQL: etl._acting_role().  The role that called the function that asks, whatever rights
 * it runs with.
 */
Datum
etl_acting_role(PG_FUNCTION_ARGS)
{
	Name result = (Name) palloc0(NAMEDATALEN);

	namestrcpy(result,
			   GetUserNameFromId(OidIsValid(acting_role) ? acting_role : GetUserId(), false));
	PG_RETURN_NAME(result);
}

/* Has a role the rights of the role of that name?  Superusers have all; nobody, of none. */
static bool
has_rights_of(Oid member, const char *role_name)
{
	Oid role;

	if (superuser_arg(member))
		return true;
	role = get_role_oid(role_name, true);
	return OidIsValid(role) && has_privs_of_role(member, role);
}

/*
 * SQL: etl._is_member(role_name, member).  False when either does not exist.
 */
Datum
etl_is_member(PG_FUNCTION_ARGS)
{
	Oid member = get_role_oid(NameStr(*PG_GETARG_NAME(1)), true);

	PG_RETURN_BOOL(OidIsValid(member) && has_rights_of(member, NameStr(*PG_GETARG_NAME(0))));
}

/*
 * SQL: etl._owns(owner).  Has the current role the owner's rights?
 */
Datum
etl_owns(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(has_rights_of(GetUserId(), NameStr(*PG_GETARG_NAME(0))));
}

/*
 * SQL: etl._may_see(owner).  Has the current role the owner's rights, or those of a reader?
 */
Datum
etl_may_see(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(has_rights_of(GetUserId(), NameStr(*PG_GETARG_NAME(0))) ||
				   has_rights_of(GetUserId(), "etl_reader"));
}

/*
 * SQL: etl._equality_operator(oid).  The equality of a type's default operator class as
 * OPERATOR(schema.=), whatever the search_path; NULL for a type without one.
 */
Datum
etl_equality_operator(PG_FUNCTION_ARGS)
{
	TypeCacheEntry *entry = lookup_type_cache(PG_GETARG_OID(0), TYPECACHE_EQ_OPR);
	Oid operator_id = entry->eq_opr;
	char *schema;
	char *name;

	if (!OidIsValid(operator_id))
		PG_RETURN_NULL();
	name = get_opname(operator_id);
	schema = get_namespace_name(get_func_namespace(get_opcode(operator_id)));
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("OPERATOR(%s.%s)", quote_identifier(schema), name)));
}
