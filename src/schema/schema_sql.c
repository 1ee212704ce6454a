/*-------------------------------------------------------------------------
 *
 * schema_sql.c
 *	  JSON Schema for SQL: etl.is_valid_json, etl.validate_json, both of text, the check of a
 *	  schema that is to be registered.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "schema/compile.h"
#include "schema/json_parse.h"
#include "schema/schema.h"

PG_FUNCTION_INFO_V1(etl_is_valid_json);
PG_FUNCTION_INFO_V1(etl_validate_json);
PG_FUNCTION_INFO_V1(etl_is_valid_json_text);
PG_FUNCTION_INFO_V1(etl_validate_json_text);
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

static Jsonb *get_text_argument(FunctionCallInfo fcinfo, int number);
static const compiled_schema *acquire_schema(FunctionCallInfo fcinfo, bool is_text,
											 MemoryContext owner);
static bool is_constant(const FmgrInfo *function, int number);
static const compiled_schema *get_schema(FunctionCallInfo fcinfo, bool is_text);
static Datum is_valid(FunctionCallInfo fcinfo, const compiled_schema *schema, Jsonb *document);
static Datum report_all(FunctionCallInfo fcinfo, const compiled_schema *schema, Jsonb *document);
static void put_row(void *argument, const schema_violation *violation);

/*
 * An argument of JSON text; palloc'd.
 */
static Jsonb *
get_text_argument(FunctionCallInfo fcinfo, int number)
{
	text *json = PG_GETARG_TEXT_PP(number);

	return json_parse_text(VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
}

static const compiled_schema *
acquire_schema(FunctionCallInfo fcinfo, bool is_text, MemoryContext owner)
{
	return schema_acquire(is_text ? get_text_argument(fcinfo, 0) : PG_GETARG_JSONB_P(0), owner);
}

/*
 * Is an argument written as a constant?  get_fn_expr_arg_stable would not do: to it a
 * parameter is stable, and PL/pgSQL's variables are parameters that change between calls.
 */
static bool
is_constant(const FmgrInfo *function, int number)
{
	Node *call = function->fn_expr;

	return call != NULL && IsA(call, FuncExpr) &&
		   IsA(list_nth(((FuncExpr *) call)->args, number), Const);
}

/*
 * The compiled schema of argument 0: looked up once where it is a constant.
 */
static const compiled_schema *
get_schema(FunctionCallInfo fcinfo, bool is_text)
{
	FmgrInfo *function = fcinfo->flinfo;
	call_site *site = function->fn_extra;

	if (site == NULL)
	{
		site = MemoryContextAllocZero(function->fn_mcxt, sizeof(call_site));
		site->is_constant = is_constant(function, 0);
		function->fn_extra = site;
	}
	if (site->is_constant)
	{
		if (site->schema == NULL || schema_is_stale(site->schema))
			site->schema = acquire_schema(fcinfo, is_text, function->fn_mcxt);
		return site->schema;
	}
	return acquire_schema(fcinfo, is_text, CurrentMemoryContext);
}

static Datum
is_valid(FunctionCallInfo fcinfo, const compiled_schema *schema, Jsonb *document)
{
	bool valid = schema_validate(schema, document, PG_GETARG_BOOL(2), NULL, NULL);

	PG_FREE_IF_COPY(document, 1);
	PG_RETURN_BOOL(valid);
}

/*
 * is_valid_json(schema jsonb, document jsonb, assert_format boolean) RETURNS boolean
 */
Datum
etl_is_valid_json(PG_FUNCTION_ARGS)
{
	return is_valid(fcinfo, get_schema(fcinfo, false), PG_GETARG_JSONB_P(1));
}

/*
 * is_valid_json_text(schema text, document text, assert_format boolean) RETURNS boolean
 */
Datum
etl_is_valid_json_text(PG_FUNCTION_ARGS)
{
	return is_valid(fcinfo, get_schema(fcinfo, true), get_text_argument(fcinfo, 1));
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

static Datum
report_all(FunctionCallInfo fcinfo, const compiled_schema *schema, Jsonb *document)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	row_sink sink;

	InitMaterializedSRF(fcinfo, 0);
	sink.rows = result->setResult;
	sink.descriptor = result->setDesc;
	sink.work = AllocSetContextCreate(CurrentMemoryContext, "violation", ALLOCSET_SMALL_SIZES);
	schema_validate(schema, document, PG_GETARG_BOOL(2), put_row, &sink);
	MemoryContextDelete(sink.work);
	return (Datum) 0;
}

/*
 * validate_json(schema jsonb, document jsonb, assert_format boolean)
 *	  RETURNS TABLE (instance_path text, keyword text, schema_path text, message text)
 */
Datum
etl_validate_json(PG_FUNCTION_ARGS)
{
	return report_all(fcinfo, acquire_schema(fcinfo, false, CurrentMemoryContext),
					  PG_GETARG_JSONB_P(1));
}

/*
 * validate_json_text(schema text, document text, assert_format boolean), as validate_json
 */
Datum
etl_validate_json_text(PG_FUNCTION_ARGS)
{
	return report_all(fcinfo, acquire_schema(fcinfo, true, CurrentMemoryContext),
					  get_text_argument(fcinfo, 1));
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
