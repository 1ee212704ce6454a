/*-------------------------------------------------------------------------
 *
 * page.c
 *	  The body of an answer as records.
 *
 * Bytes go three ways one after another: decompressed if they are compressed, to UTF-8 if
 * they are in another charset, and apart into records by their format.  Each record can be
 * traced back to the bytes it was received in.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "extract/charset.h"
#include "extract/ndjson.h"
#include "extract/page.h"
#include "extract/record_path.h"

static const char *const format_names[] = {
	[PAGE_JSON] = "JSON",
	[PAGE_NDJSON] = "NDJSON",
	[PAGE_CSV] = "CSV",
};

static JsonbValue *member(JsonbContainer *object, const char *name);
static char *text_member(JsonbContainer *object, const char *name);
static void read_csv_options(JsonbContainer *csv, csv_options *options);
static bool read_body(const page_options *options, http_response *response, size_t limit,
					  split_result *records, page_failure *failure);

/* How a format is called, for messages. */
const char *
page_format_name(page_format format)
{
	return format_names[format];
}

/* A member of an object; NULL without it. */
static JsonbValue *
member(JsonbContainer *object, const char *name)
{
	return getKeyJsonValueFromContainer(object, name, strlen(name), NULL);
}

/* A string in an object as UTF-8, palloc'd; NULL without it. */
static char *
text_member(JsonbContainer *object, const char *name)
{
	JsonbValue *value = member(object, name);
	char *text;

	if (value == NULL || value->type != jbvString)
		return NULL;
	text = pnstrdup(value->val.string.val, value->val.string.len);
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

static void
read_csv_options(JsonbContainer *csv, csv_options *options)
{
	JsonbValue *header = member(csv, "header");
	JsonbValue *columns = member(csv, "columns");

	options->delimiter = text_member(csv, "delimiter")[0];
	options->quote = text_member(csv, "quote")[0];
	options->escape = text_member(csv, "escape")[0];
	options->null = text_member(csv, "null");
	if (columns != NULL)
	{
		JsonbIterator *iterator = JsonbIteratorInit(columns->val.binary.data);
		JsonbIteratorToken token;
		JsonbValue value;

		while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		{
			char *name;

			if (token != WJB_ELEM)
				continue;
			name = pnstrdup(value.val.string.val, value.val.string.len);
			options->columns =
				lappend(options->columns, pg_server_to_any(name, strlen(name), PG_UTF8));
		}
	}
	if (header->type == jbvString)
		options->header = CSV_HEADER_MATCH;
	else if (!header->val.boolean)
		options->header = CSV_HEADER_NONE;
	else
		options->header = columns != NULL ? CSV_HEADER_SKIP : CSV_HEADER_NAMES;
}

/*
 * How pages are read: "decode" is what etl._check_format() returned (NULL: JSON), "records"
 * the path to records in JSON.  palloc'd in the current context.  Needs a transaction where
 * the database's encoding is not UTF-8.
 */
page_options *
page_options_create(Jsonb *decode, const char *records)
{
	page_options *options = palloc0(sizeof(page_options));
	char *format = NULL;

	if (decode != NULL)
	{
		JsonbContainer *root = &decode->root;
		char *compression = text_member(root, "compression");

		format = text_member(root, "format");
		options->charset = text_member(root, "charset");
		if (compression != NULL && !compression_by_name(compression, &options->compression))
			elog(ERROR, "unknown compression \"%s\"", compression);
	}
	if (format == NULL || strcmp(format, "json") == 0)
	{
		options->format = PAGE_JSON;
		options->records_path = record_path_parse(records, true);
	}
	else if (strcmp(format, "ndjson") == 0)
		options->format = PAGE_NDJSON;
	else if (strcmp(format, "csv") == 0)
	{
		options->format = PAGE_CSV;
		read_csv_options(member(&decode->root, "csv")->val.binary.data, &options->csv);
	}
	else
		elog(ERROR, "unknown format \"%s\"", format);
	return options;
}

/* page_read, but that a problem may be a failure. */
static bool
read_body(const page_options *options, http_response *response, size_t limit, split_result *records,
		  page_failure *failure)
{
	const char *bytes;
	size_t length;
	size_t mark; /* is no text; in UTF-8 it stays, so that offsets are those received */
	charset from;
	const char *document; /* in UTF-8 */
	size_t document_length;
	const char *text; /* that records are ranges of */
	size_t text_length;

	if (!decompress_body(options->compression, response->body, response->body_length, limit, &bytes,
						 &length, failure) ||
		!charset_find(options->charset, http_response_header(response, "content-type"), bytes,
					  length, &from, &mark, failure))
		return false;
	if (from.kind == CHARSET_UTF8)
		mark = 0;
	if (!charset_to_utf8(&from, bytes + mark, length - mark, &document, &document_length, failure))
		return false;

	text = document;
	text_length = document_length;
	switch (options->format)
	{
		case PAGE_JSON:
			split_records(text, text_length, options->records_path, records);
			break;
		case PAGE_NDJSON:
			if (!ndjson_read(text, text_length, records, failure))
				return false;
			break;
		case PAGE_CSV:
			if (!csv_read(&options->csv, document, document_length, limit, &text, &text_length,
						  records, failure))
				return false;
			records->origin = document;
			break;
	}

	if (from.kind != CHARSET_UTF8)
	{
		const record_range *ranges = records->origins != NULL ? records->origins : records->records;

		records->origins = charset_origins(&from, bytes + mark, length - mark, document,
										   document_length, ranges, records->count);
		records->origin = bytes;
		for (int i = 0; i < records->count; i++)
			records->origins[i].offset += mark;
	}
	records->received = length;
	response->body = unconstify(char *, text);
	response->body_length = text_length;
	return true;
}

/*
 * Reads the records of an answer.  Its body becomes the text that the records are ranges
 * of: decompressed, in UTF-8 as far as it is valid, CSV as JSON, with a NUL behind it.
 * limit: of the bytes of a decompressed body, and of the JSON made of one.  What is made is
 * palloc'd in the current context, which has to live as long as the answer.
 *
 * Returns false, with the failure, when there are no records and asking again is of no use;
 * records->problem, as for split_records(), means that the page is not whole and may be
 * when it is asked for again.
 *
 * No transaction has to be open; one is opened and committed for a charset that PostgreSQL
 * converts.  Raises what CHECK_FOR_INTERRUPTS() raises, and when there is no memory.
 * Memory: what is decompressed, converted and made, each once, beside the answer.
 */
bool
page_read(const page_options *options, http_response *response, size_t limit, split_result *records,
		  page_failure *failure)
{
	memset(records, 0, sizeof(*records));
	memset(failure, 0, sizeof(*failure));
	if (read_body(options, response, limit, records, failure))
		return true;
	memset(records, 0, sizeof(*records));
	if (!failure->again)
		return false;
	records->problem = failure->message;
	records->problem_offset = failure->offset;
	return true;
}
