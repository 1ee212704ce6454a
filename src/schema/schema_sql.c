/*-------------------------------------------------------------------------
 *
 * schema_sql.c
 *	  JSON Schema for SQL: etl.is_valid_json, etl.validate_json, the check of a schema that
 *	  is to be registered.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "schema/compile.h"
#include "schema/schema.h"

PG_FUNCTION_INFO_V1(etl_is_valid_json);
PG_FUNCTION_INFO_V1(etl_validate_json);
PG_FUNCTION_INFO_V1(etl_check_schema);

/* What a call site keeps between calls. */
typedef struct call_site
{
	bool is_constant; /* the schema is the same in all calls */
	const compiled_schema *schema;
} call_site;

typedef struct row_sink
{
	Tuplestorestate *rows;
	TupleDesc descriptor;
	MemoryContext work;
} row_sink;

static const compiled_schema *get_schema(FunctionCallInfo fcinfo);
static void put_row(void *argument, const schema_violation *violation);

/*
 * The compiled schema of argument 0: looked up once where it is a constant.
 */
static const compiled_schema *
get_schema(FunctionCallInfo fcinfo)
{
	FmgrInfo *function = fcinfo->flinfo;
	call_site *site = function->fn_extra;

	if (site == NULL)
	{
		site = MemoryContextAllocZero(function->fn_mcxt, sizeof(call_site));
		site->is_constant = get_fn_expr_arg_stable(function, 0);
		function->fn_extra = site;
	}
	if (site->is_constant)
	{
		if (site->schema == NULL || schema_is_stale(site->schema))
			site->schema = schema_acquire(PG_GETARG_JSONB_P(0), function->fn_mcxt);
		return site->schema;
	}
	return schema_acquire(PG_GETARG_JSONB_P(0), CurrentMemoryContext);
}

/*
 * is_valid_json(schema jsonb, document jsonb, assert_format boolean) RETURNS boolean
 */
Datum
etl_is_valid_json(PG_FUNCTION_ARGS)
{
	const compiled_schema *schema = get_schema(fcinfo);
	Jsonb *document = PG_GETARG_JSONB_P(1);
	bool valid = schema_validate(schema, document, PG_GETARG_BOOL(2), NULL, NULL);

	PG_FREE_IF_COPY(document, 1);
	PG_RETURN_BOOL(valid);
}

static void
put_row(void *argument, const schema_violation *violation)
{
	row_sink *sink = argument;
	MemoryContext caller = MemoryContextSwitchTo(sink->work);
	bool nulls[4] = {false};
	Datum values[4];

	CHECK_FOR_INTERRUPTS();
	values[0] = CStringGetTextDatum(violation->instance_path);
	values[1] = CStringGetTextDatum(violation->keyword);
	values[2] = CStringGetTextDatum(violation->schema_path);
	values[3] = CStringGetTextDatum(violation->message);
	tuplestore_putvalues(sink->rows, sink->descriptor, values, nulls);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(sink->work);
}

/*
 * validate_json(schema jsonb, document jsonb, assert_format boolean)
 *	  RETURNS TABLE (instance_path text, keyword text, schema_path text, message text)
 */
Datum
etl_validate_json(PG_FUNCTION_ARGS)
{
	const compiled_schema *schema = schema_acquire(PG_GETARG_JSONB_P(0), CurrentMemoryContext);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	row_sink sink;

	InitMaterializedSRF(fcinfo, 0);
	sink.rows = result->setResult;
	sink.descriptor = result->setDesc;
	sink.work = AllocSetContextCreate(CurrentMemoryContext, "violation", ALLOCSET_SMALL_SIZES);
	schema_validate(schema, PG_GETARG_JSONB_P(1), PG_GETARG_BOOL(2), put_row, &sink);
	MemoryContextDelete(sink.work);
	return (Datum) 0;
}

/*
 * _check_schema(uri text, schema jsonb) RETURNS void: raises unless the schema can be
 * registered under the URI.  References to schemas not registered yet are no error.  A schema
 * without "$schema" takes the dialect of whoever refers to it and is checked then.
 */
Datum
etl_check_schema(PG_FUNCTION_ARGS)
{
	char *uri = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Jsonb *schema = PG_GETARG_JSONB_P(1);
	json_view root;
	json_view dialect;

	if (*uri == '\0' || strchr(uri, '#') != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is not a URI to register a JSON Schema under", uri),
						errhint("It must not be empty and have no fragment, for example "
								"https://example.com/schemas/order.json.")));
	if (schema_builtin(uri) != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is a metaschema, which is always there", uri)));
	json_view_root(schema, &root);
	if (root.kind == JV_OBJECT && !json_find_name(&root, "$schema", &dialect))
		PG_RETURN_VOID();
	MemoryContextDelete(schema_compile(schema, uri, true)->context);
	PG_RETURN_VOID();
}
