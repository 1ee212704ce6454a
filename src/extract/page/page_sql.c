/*-------------------------------------------------------------------------
 *
 * page_sql.c
 *	  Pages and their options as SQL sees them: to check declarations, and to try a body
 *	  without asking for it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "extract/page/charset.h"
#include "extract/page/page.h"

PG_FUNCTION_INFO_V1(etl_check_charset);
PG_FUNCTION_INFO_V1(etl_reads_zstd);
PG_FUNCTION_INFO_V1(etl_read_page);

/* SQL: etl._check_charset(text).  Raises for a charset that is not known. */
Datum
etl_check_charset(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	charset found;

	if (!charset_by_name(name, &found))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown charset \"%s\"", name), errhint("%s", CHARSET_HINT)));
	PG_RETURN_VOID();
}

/* SQL: etl._reads_zstd() */
Datum
etl_reads_zstd(PG_FUNCTION_ARGS)
{
#ifdef ETL_ZSTD
	PG_RETURN_BOOL(true);
#else
	PG_RETURN_BOOL(false);
#endif
}

/*
 * SQL: etl._read_page(body bytea, decode jsonb, records text, content_type text, max_size
 * bigint): the records of a body as an extraction would find them.
 */
Datum
etl_read_page(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rows = (ReturnSetInfo *) fcinfo->resultinfo;
	bytea *body = PG_GETARG_BYTEA_PP(0);
	page_options *options =
		page_options_create(PG_GETARG_JSONB_P(1), text_to_cstring(PG_GETARG_TEXT_PP(2)));
	http_header content_type = {.name = "content-type"};
	http_response response = {.status = 200, .body_length = VARSIZE_ANY_EXHDR(body)};
	split_result records;
	page_failure failure;
	int flaw = 0;

	/* as it comes from the network: with a NUL behind it */
	response.body = palloc(response.body_length + 1);
	memcpy(response.body, VARDATA_ANY(body), response.body_length);
	response.body[response.body_length] = '\0';
	content_type.value = text_to_cstring(PG_GETARG_TEXT_PP(3));
	response.headers = list_make1(&content_type);
	if (!page_read(options, &response, Max(PG_GETARG_INT64(4), 0), &records, &failure))
		ereport(ERROR,
				(errcode(failure.sqlstate), errmsg("the page cannot be read: %s", failure.message),
				 errdetail("At byte %zu.", failure.offset),
				 failure.hint ? errhint("%s", failure.hint) : 0));
	if (records.problem != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_JSON_TEXT),
						errmsg("the page is not whole %s: %s", page_format_name(options->format),
							   records.problem),
						errdetail("At byte %zu.", records.problem_offset)));

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < records.count; i++)
	{
		Datum values[5];
		bool nulls[5] = {false};
		const record_range *record = &records.records[i];
		const record_range *origin = records.origins ? &records.origins[i] : record;
		const char *received = records.origin ? records.origin : response.body;

		values[0] = Int32GetDatum(i);
		values[1] = PointerGetDatum(
			cstring_to_text_with_len(response.body + record->offset, record->length));
		values[2] =
			PointerGetDatum(cstring_to_text_with_len(received + origin->offset, origin->length));
		values[3] = Int64GetDatum((int64) origin->offset);
		if (flaw < records.flaw_count && records.flaws[flaw].record == i)
		{
			nulls[1] = true;
			values[4] = CStringGetTextDatum(records.flaws[flaw++].reason);
		}
		else
			nulls[4] = true;
		tuplestore_putvalues(rows->setResult, rows->setDesc, values, nulls);
		pfree(DatumGetPointer(values[1]));
		pfree(DatumGetPointer(values[2]));
	}
	return (Datum) 0;
}
