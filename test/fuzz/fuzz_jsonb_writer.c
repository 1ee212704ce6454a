/*-------------------------------------------------------------------------
 *
 * fuzz_jsonb_writer.c
 *	  jsonb_write() on any bytes, judged by jsonb_in.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "extract/json/jsonb_writer.h"

typedef struct text_case
{
	char *text;
	Jsonb *expected;
} text_case;

static void
read_json(void *argument)
{
	text_case *c = argument;

	c->expected = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(c->text)));
}

/*
 * Input: a record.  It becomes what jsonb_in makes of it, byte by byte, or is refused as
 * jsonb_in refuses it; also when the writer has just written it.
 */
FUZZ_TARGET(jsonb_writer)
{
	static jsonb_writer *writer = NULL;
	text_case c = {.text = fuzz_text(input, size)};
	bool is_text = strlen(c.text) == size && pg_verify_mbstr(PG_UTF8, input, (int) size, true);

	/* kept, as a worker keeps it: making one costs more than a record */
	if (writer == NULL)
		writer = jsonb_writer_create(TopMemoryContext);
	if (is_text)
		(void) fuzz_try(read_json, &c);
	for (int i = 0; i < 2; i++)
	{
		json_error error = {0};
		Jsonb *made = jsonb_write(writer, input, size, &error);

		fuzz_require((made == NULL) == (c.expected == NULL));
		if (made != NULL)
			fuzz_require(VARSIZE(made) == VARSIZE(c.expected) &&
						 memcmp(made, c.expected, VARSIZE(made)) == 0);
		else
		{
			fuzz_require(error.sql_state != 0 && error.offset <= size);
			fuzz_require(strnlen(error.message, sizeof(error.message)) < sizeof(error.message));
			fuzz_require(pg_verify_mbstr(PG_UTF8, error.message, strlen(error.message), true));
		}
		jsonb_writer_trim(writer);
	}
}
