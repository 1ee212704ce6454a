/*-------------------------------------------------------------------------
 *
 * record_parser.c
 *	  The bytes of a record to JSONB, or the reason why not.
 *
 * In a database whose encoding is UTF8, which is what JSON comes in, JSONB is written
 * directly (jsonb_writer.c) and errors are values.  In another one the text is converted
 * and PostgreSQL's parser asked: the page in one subtransaction and, only when a record in
 * it is refused, one by one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#include "extract/json/jsonb_writer.h"
#include "extract/json/record_parser.h"

PG_FUNCTION_INFO_V1(etl_json_as_jsonb);

/* The process' writer: what it has learnt of shapes, and its buffers, serve the next page. */
static jsonb_writer *
record_writer(void)
{
	static jsonb_writer *writer = NULL;

	if (writer == NULL)
		writer = jsonb_writer_create(TopMemoryContext);
	return writer;
}

/* A record's bytes as jsonb, by jsonb_in.  Raises what is wrong with them. */
static Jsonb *
convert_and_parse(const char *bytes, size_t length)
{
	char *text;

	if (memchr(bytes, '\0', length) != NULL)
		ereport(ERROR, (errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
						errmsg("the record contains a NUL byte")));
	if (length >= JSON_MAX_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("the record is too large")));
	(void) pg_verify_mbstr(PG_UTF8, bytes, length, false);
	text = pnstrdup(bytes, length);
	text = pg_any_to_server(text, length, PG_UTF8);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/*
 * Parses some records in one subtransaction.  Returns NULL when all were accepted, else
 * the error of the one that was not; then the results are void.
 */
static ErrorData *
try_records(const char *body, const record_range *ranges, int count, parsed_record *results)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		for (int i = 0; i < count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			results[i].payload = convert_and_parse(body + ranges[i].offset, ranges[i].length);
		}
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		/* a cancel, or a server out of memory, is not the record's fault */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			error->sqlerrcode == ERRCODE_OUT_OF_MEMORY ||
			ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTERNAL_ERROR)
			ReThrowError(error);
	}
	PG_END_TRY();
	return error;
}

/* Parses records by jsonb_in. */
static void
parse_converted(const char *body, const record_range *ranges, int count, parsed_record *results)
{
	if (count == 0 || try_records(body, ranges, count, results) == NULL)
		return;
	for (int i = 0; i < count; i++)
	{
		ErrorData *error = try_records(body, &ranges[i], 1, &results[i]);

		if (error == NULL)
			continue;
		results[i].payload = NULL;
		results[i].reason_code = pstrdup(unpack_sql_state(error->sqlerrcode));
		results[i].reason = error->detail ? psprintf("%s: %s", error->message, error->detail)
										  : pstrdup(error->message);
		FreeErrorData(error);
	}
}

/*
 * Parses records of a page.  results: an element for each, zeroed; what it receives is
 * palloc'd in the current context.  Raises only what is not a record's fault.
 */
void
parse_records(const char *body, const record_range *ranges, int count, parsed_record *results)
{
	jsonb_writer *writer;

	if (GetDatabaseEncoding() != PG_UTF8)
	{
		parse_converted(body, ranges, count, results);
		return;
	}
	writer = record_writer();
	for (int i = 0; i < count; i++)
	{
		json_error error;

		CHECK_FOR_INTERRUPTS();
		results[i].payload = jsonb_write(writer, body + ranges[i].offset, ranges[i].length, &error);
		if (results[i].payload == NULL)
		{
			results[i].reason_code = pstrdup(unpack_sql_state(error.sql_state));
			results[i].reason = pstrdup(error.message);
		}
	}
	jsonb_writer_trim(writer);
}

/*
 * SQL: etl._json_as_jsonb(bytea): what an extraction makes of a record's bytes.
 */
Datum
etl_json_as_jsonb(PG_FUNCTION_ARGS)
{
	bytea *record = PG_GETARG_BYTEA_PP(0);
	json_error error;
	Jsonb *result;

	if (GetDatabaseEncoding() != PG_UTF8)
		PG_RETURN_JSONB_P(convert_and_parse(VARDATA_ANY(record), VARSIZE_ANY_EXHDR(record)));
	result = jsonb_write(record_writer(), VARDATA_ANY(record), VARSIZE_ANY_EXHDR(record), &error);
	jsonb_writer_trim(record_writer());
	if (result == NULL)
		ereport(ERROR, (errcode(error.sql_state), errmsg("%s", error.message)));
	PG_RETURN_JSONB_P(result);
}
