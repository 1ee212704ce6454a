/*-------------------------------------------------------------------------
 *
 * replay.c
 *	  Quarantined records tried again: judged as an extraction would judge them today, and
 *	  inserted with the rights of their pipeline's owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#include "call_sql.h"
#include "extract/raw/raw_writer.h"
#include "extract/page/record_path.h"

PG_FUNCTION_INFO_V1(etl_judge_records);
PG_FUNCTION_INFO_V1(etl_insert_replayed);

/* A member of a declaration; NULL when it has none. */
static JsonbValue *
definition_member(Jsonb *definition, const char *name)
{
	return getKeyJsonValueFromContainer(&definition->root, name, strlen(name), NULL);
}

/* The paths of the key of a declaration; NIL without one. */
static List *
key_paths(Jsonb *definition)
{
	JsonbValue *key = definition_member(definition, "key");
	List *paths = NIL;

	if (key == NULL || key->type != jbvBinary)
		return NIL;
	for (int i = 0; i < JsonContainerSize(key->val.binary.data); i++)
	{
		JsonbValue *path = getIthJsonbValueFromContainer(key->val.binary.data, i);

		paths = lappend(
			paths, record_path_parse(pnstrdup(path->val.string.val, path->val.string.len), false));
	}
	return paths;
}

/*
 * What an extraction as declared would hold records against.  Where it would fail, the
 * record is refused, and so it is where the contract wants no other fields.
 */
static raw_target
declared_target(Jsonb *definition)
{
	raw_target target = {.keys = key_paths(definition), .on_invalid = INVALID_QUARANTINE};
	JsonbValue *schema = definition_member(definition, "record_schema");
	JsonbValue *policy = definition_member(definition, "on_invalid");

	if (schema == NULL)
		return target;
	target.record_schema = JsonbValueToJsonb(schema);
	if (policy != NULL && policy->type == jbvString &&
		strncmp(policy->val.string.val, "warn", policy->val.string.len) == 0)
		target.on_invalid = INVALID_WARN;
	if (definition_member(definition, "contract") != NULL)
		target.shape = record_shape_declared(CurrentMemoryContext, target.record_schema);
	return target;
}

/*
 * SQL: etl._judge_records(definition jsonb, records bytea[]) returns table (record_index
 * integer, payload jsonb, reason_code text, reason text): a row a record, in UTF-8, from 1.
 */
Datum
etl_judge_records(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext work =
		AllocSetContextCreate(CurrentMemoryContext, "etl replay", ALLOCSET_DEFAULT_SIZES);
	raw_target target;
	Datum *records;
	int count;

	InitMaterializedSRF(fcinfo, 0);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), BYTEAOID, -1, false, TYPALIGN_INT, &records, NULL,
					  &count);
	SPI_connect();
	MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	target = declared_target(PG_GETARG_JSONB_P(0));
	for (int i = 0; i < count; i++)
	{
		bytea *record;
		raw_verdict verdict;
		Datum values[4];
		bool nulls[4] = {false};

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(work);
		record = DatumGetByteaPP(records[i]);
		verdict = raw_judge(&target, VARDATA_ANY(record), VARSIZE_ANY_EXHDR(record));
		values[0] = Int32GetDatum(i + 1);
		values[1] = verdict.payload;
		nulls[1] = verdict.reason != NULL;
		nulls[2] = nulls[3] = verdict.reason == NULL;
		if (verdict.reason != NULL)
		{
			values[2] = CStringGetTextDatum(verdict.reason_code);
			values[3] = CStringGetTextDatum(verdict.reason);
		}
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		MemoryContextReset(work);
	}
	SPI_finish();
	return (Datum) 0;
}

/*
 * SQL: etl._insert_replayed(owner name, raw_schema name, raw_table name, load_id bigint,
 * partition_key bigint, interval_start timestamptz, interval_end timestamptz,
 * slices integer[], record_numbers integer[], items jsonb[], fetched_at timestamptz[],
 * payloads jsonb[]).
 *
 * Triggers and index expressions of the table are its owner's code: it runs with the
 * owner's rights and cannot get at those of a caller who has more.  Raises unless the
 * caller has the owner's rights.
 */
Datum
etl_insert_replayed(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT8OID,		 INT8OID,		TIMESTAMPTZOID,		 TIMESTAMPTZOID, INT4ARRAYOID,
				   INT4ARRAYOID, JSONBARRAYOID, TIMESTAMPTZARRAYOID, JSONBARRAYOID};
	Datum values[9];
	Oid owner = get_role_oid(NameStr(*PG_GETARG_NAME(0)), false);
	char *table =
		quote_qualified_identifier(NameStr(*PG_GETARG_NAME(1)), NameStr(*PG_GETARG_NAME(2)));
	ArrayType *payloads = PG_GETARG_ARRAYTYPE_P(11);
	uint64 expected = ArrayGetNItems(ARR_NDIM(payloads), ARR_DIMS(payloads));
	Oid user;
	int context;
	int code;

	GetUserIdAndSecContext(&user, &context);
	if (!has_privs_of_role(user, owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for table %s", table)));
	for (int i = 0; i < lengthof(values); i++)
		values[i] = PG_GETARG_DATUM(i + 3);

	PG_TRY();
	{
		if (user != owner)
			SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE |
											  SECURITY_RESTRICTED_OPERATION);
		SPI_connect();
		/* its plan is not kept: it is the owner's */
		code = SPI_execute_with_args(
			psprintf("INSERT INTO %s (load_id, partition_key, data_interval_start, "
					 "data_interval_end, slice, record_number, item, fetched_at, payload) "
					 "SELECT $1, $2, $3, $4, u.* FROM unnest($5, $6, $7, $8, $9) u",
					 table),
			9, types, values, NULL, false, 0);
		if (code < 0)
			elog(ERROR, "SPI call failed: %s", SPI_result_code_string(code));
		if (SPI_processed != expected)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("%lu records were inserted into raw table %s, but only %lu arrived",
							(unsigned long) expected, table, (unsigned long) SPI_processed),
					 errhint("A trigger or row security policy of the table drops rows.")));
		SPI_finish();
	}
	PG_FINALLY();
	{
		SetUserIdAndSecContext(user, context);
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}
