/*-------------------------------------------------------------------------
 *
 * json_row.c
 *	  Typed columns of a JSONB document in one pass.
 *
 * A chain of ->> and casts reads the document anew for each column: of a large one that means
 * to detoast it ten times for ten columns.  Here it is detoasted once, its fields are looked up
 * where they lie, and numbers and booleans become values without going through text.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/resowner.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(etl_json_row);

/* A column: where it is in the document, and how text becomes its value. */
typedef struct column_reader
{
	Oid type;
	int32 typmod;
	int nsteps;
	char **steps;
	int *lengths;
	Oid io_param;
	FmgrInfo input;
} column_reader;

/* What a call site needs, kept in fn_extra. */
typedef struct row_reader
{
	TupleDesc row_type;
	column_reader *columns;
	Datum *values;
	bool *nulls;
	MemoryContext scratch; /* of one call */
	ArrayType *paths;	   /* that the columns were prepared for */
} row_reader;

static void
set_steps(column_reader *column, Datum *steps, bool *nulls, int count, const char *name)
{
	column->nsteps = count;
	column->steps = palloc(sizeof(char *) * Max(count, 1));
	column->lengths = palloc(sizeof(int) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("the path of column \"%s\" has a null in it", name)));
		column->steps[i] = TextDatumGetCString(steps[i]);
		column->lengths[i] = strlen(column->steps[i]);
	}
}

/* The path of a column, as "a.b": the members to go through. */
static void
set_path(column_reader *column, const char *path, const char *name)
{
	Datum *steps;
	bool *nulls;
	int count;
	Datum parts = DirectFunctionCall2Coll(text_to_array, DEFAULT_COLLATION_OID,
										  CStringGetTextDatum(path), CStringGetTextDatum("."));

	deconstruct_array(DatumGetArrayTypeP(parts), TEXTOID, -1, false, TYPALIGN_INT, &steps, &nulls,
					  &count);
	set_steps(column, steps, nulls, count, name);
}

static row_reader *
prepare_reader(FunctionCallInfo fcinfo, ArrayType *paths)
{
	Oid row_type = get_fn_expr_argtype(fcinfo->flinfo, 1);
	MemoryContext context =
		AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "etl json row", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	row_reader *reader = palloc0(sizeof(row_reader));
	Datum *given = NULL;
	bool *given_nulls = NULL;
	int given_count = 0;
	int next = 0;

	if (!OidIsValid(row_type) || !type_is_rowtype(row_type) || row_type == RECORDOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("row_type must be of a composite type"),
				 errhint("Say which by NULL::schema.type; a table's name is one, too.")));
	reader->row_type = lookup_rowtype_tupdesc_copy(row_type, -1);
	if (paths != NULL)
	{
		reader->paths = (ArrayType *) DatumGetPointer(datumCopy(PointerGetDatum(paths), false, -1));
		if (ARR_NDIM(paths) > 1)
			ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("paths must be a list"),
							errhint("One path a column, such as {id,customer.city}.")));
		deconstruct_array(reader->paths, TEXTOID, -1, false, TYPALIGN_INT, &given, &given_nulls,
						  &given_count);
	}
	reader->columns = palloc0(sizeof(column_reader) * reader->row_type->natts);
	reader->values = palloc0(sizeof(Datum) * reader->row_type->natts);
	reader->nulls = palloc0(sizeof(bool) * reader->row_type->natts);
	for (int i = 0; i < reader->row_type->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(reader->row_type, i);
		column_reader *column = &reader->columns[i];
		const char *name = NameStr(attribute->attname);
		Oid input;

		if (attribute->attisdropped)
			continue;
		column->type = attribute->atttypid;
		column->typmod = attribute->atttypmod;
		getTypeInputInfo(column->type, &input, &column->io_param);
		fmgr_info_cxt(input, &column->input, context);
		if (paths == NULL)
			set_steps(column, (Datum[]){CStringGetTextDatum(name)}, (bool[]){false}, 1, name);
		else if (next >= given_count || given_nulls[next])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("column \"%s\" has no path", name),
							errhint("Give a path for each column of the type, in its order.")));
		else
			set_path(column, TextDatumGetCString(given[next++]), name);
	}
	if (next < given_count)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%d paths are given for %d columns", given_count, next),
						errhint("Give a path for each column of the type, in its order.")));
	reader->scratch = AllocSetContextCreate(context, "etl json row call", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(caller);
	fcinfo->flinfo->fn_extra = reader;
	return reader;
}

/* Finds the value at a path; false when there is none, or JSON's null. */
static bool
find_value(JsonbContainer *container, const column_reader *column, JsonbValue *value)
{
	for (int i = 0; i < column->nsteps; i++)
	{
		if (!JsonContainerIsObject(container) ||
			getKeyJsonValueFromContainer(container, column->steps[i], column->lengths[i], value) ==
				NULL)
			return false;
		if (i + 1 < column->nsteps)
		{
			if (value->type != jbvBinary)
				return false;
			container = value->val.binary.data;
		}
	}
	return column->nsteps > 0 && value->type != jbvNull;
}

static char *
value_text(JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return value->val.boolean ? "true" : "false";
		default:
			return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
	}
}

/* The value of a column, as ->> and a cast would give it. */
static Datum
convert(column_reader *column, JsonbValue *value)
{
	if (column->type == JSONBOID)
		return JsonbPGetDatum(JsonbValueToJsonb(value));
	if (column->type == TEXTOID && value->type == jbvString)
		return PointerGetDatum(
			cstring_to_text_with_len(value->val.string.val, value->val.string.len));
	if (column->type == BOOLOID && value->type == jbvBool)
		return BoolGetDatum(value->val.boolean);
	if (value->type == jbvNumeric)
	{
		Datum number = NumericGetDatum(value->val.numeric);

		if (column->type == NUMERICOID)
			return column->typmod < 0
					   ? number
					   : DirectFunctionCall2(numeric, number, Int32GetDatum(column->typmod));
		/* what is written with a fraction is no integer for ->> and a cast, and none here */
		if ((column->type == INT8OID || column->type == INT4OID) &&
			DatumGetInt32(DirectFunctionCall1(numeric_scale, number)) == 0)
			return DirectFunctionCall1(column->type == INT8OID ? numeric_int8 : numeric_int4,
									   number);
	}
	return InputFunctionCall(&column->input, value_text(value), column->io_param, column->typmod);
}

/* What a conversion that fails leaves is undone, as an EXCEPTION clause does it. */
static bool
convert_or_null(column_reader *column, JsonbValue *value, Datum *result)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool converted = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		*result = convert(column, value);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		/* only what the value is to blame for */
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			ReThrowError(error);
		FreeErrorData(error);
		converted = false;
	}
	PG_END_TRY();
	return converted;
}

/* Whether the plain way cannot fail: no need to be ready for it. */
static bool
cannot_fail(const column_reader *column, const JsonbValue *value)
{
	return column->type == JSONBOID || column->type == TEXTOID ||
		   (column->type == BOOLOID && value->type == jbvBool) ||
		   (column->type == NUMERICOID && column->typmod < 0 && value->type == jbvNumeric);
}

/*
 * SQL: etl.json_row(document jsonb, row_type anyelement, paths text[], errors text).
 * NULL for a document that is NULL; nulls for fields it does not have.
 */
Datum
etl_json_row(PG_FUNCTION_ARGS)
{
	ArrayType *paths = PG_ARGISNULL(2) ? NULL : PG_GETARG_ARRAYTYPE_P(2);
	row_reader *reader = fcinfo->flinfo->fn_extra;
	bool errors_are_null = false;
	MemoryContext caller = CurrentMemoryContext;
	Jsonb *document;
	HeapTuple tuple;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (!PG_ARGISNULL(3))
	{
		text *errors = PG_GETARG_TEXT_PP(3);

		errors_are_null =
			VARSIZE_ANY_EXHDR(errors) == 4 && memcmp(VARDATA_ANY(errors), "null", 4) == 0;
		if (!errors_are_null &&
			(VARSIZE_ANY_EXHDR(errors) != 4 || memcmp(VARDATA_ANY(errors), "fail", 4) != 0))
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid errors \"%s\"", text_to_cstring(errors)),
				 errhint("What becomes of a value that its type does not take: fail, or null.")));
	}
	if (reader == NULL || (paths == NULL) != (reader->paths == NULL) ||
		(paths != NULL && (VARSIZE(paths) != VARSIZE(reader->paths) ||
						   memcmp(paths, reader->paths, VARSIZE(paths)) != 0)))
		reader = prepare_reader(fcinfo, paths);
	MemoryContextReset(reader->scratch);
	MemoryContextSwitchTo(reader->scratch);
	document = PG_GETARG_JSONB_P(0);
	for (int i = 0; i < reader->row_type->natts; i++)
	{
		column_reader *column = &reader->columns[i];
		JsonbValue value;

		reader->nulls[i] = true;
		if (!OidIsValid(column->type) || !find_value(&document->root, column, &value))
			continue;
		if (!errors_are_null || cannot_fail(column, &value))
		{
			reader->values[i] = convert(column, &value);
			reader->nulls[i] = false;
		}
		else
			reader->nulls[i] = !convert_or_null(column, &value, &reader->values[i]);
	}
	MemoryContextSwitchTo(caller);
	tuple = heap_form_tuple(reader->row_type, reader->values, reader->nulls);
	PG_RETURN_DATUM(HeapTupleHeaderGetDatum(tuple->t_data));
}
