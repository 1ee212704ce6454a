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

#include "extract/page/ndjson.h"
#include "extract/page/page.h"
#include "extract/page/record_path.h"

static const char *const format_names[] = {
	[PAGE_JSON] = "JSON",
	[PAGE_NDJSON] = "NDJSON",
	[PAGE_CSV] = "CSV",
};

static JsonbValue *member(JsonbContainer *object, const char *name);
static char *text_member(JsonbContainer *object, const char *name);
static void read_csv_options(JsonbContainer *csv, csv_options *options);
static bool read_text(const page_options *options, http_response *response,
					  const page_text *decoded, size_t limit, split_result *records,
					  page_failure *failure);
static bool failed(const page_failure *failure, split_result *records);

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

/*
 * The body of an answer as text: decompressed if it is compressed, in UTF-8.  What is made
 * is palloc'd in the current context.  False, with the failure, when there is none; nothing
 * is changed then.  Opens and commits a transaction for a charset that PostgreSQL converts.
 */
bool
page_decode(const page_options *options, const http_response *response, size_t limit,
			page_text *text, page_failure *failure)
{
	if (!decompress_body(options->compression, response->body, response->body_length, limit,
						 &text->bytes, &text->length, failure) ||
		!charset_find(options->charset, http_response_header(response, "content-type"), text->bytes,
					  text->length, &text->from, &text->mark, failure))
		return false;
	if (text->from.kind == CHARSET_UTF8)
		text->mark = 0;
	return charset_to_utf8(&text->from, text->bytes + text->mark, text->length - text->mark,
						   &text->document, &text->document_length, failure);
}

/* page_read_text, but that a problem may be a failure. */
static bool
read_text(const page_options *options, http_response *response, const page_text *decoded,
		  size_t limit, split_result *records, page_failure *failure)
{
	const char *text = decoded->document; /* that records are ranges of */
	size_t text_length = decoded->document_length;

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
			if (!csv_read(&options->csv, decoded->document, decoded->document_length, limit, &text,
						  &text_length, records, failure))
				return false;
			records->origin = decoded->document;
			break;
	}

	if (decoded->from.kind != CHARSET_UTF8)
	{
		const record_range *ranges = records->origins != NULL ? records->origins : records->records;

		records->origins = charset_origins(&decoded->from, decoded->bytes + decoded->mark,
										   decoded->length - decoded->mark, decoded->document,
										   decoded->document_length, ranges, records->count);
		records->origin = decoded->bytes;
		for (int i = 0; i < records->count; i++)
			records->origins[i].offset += decoded->mark;
	}
	records->received = decoded->length;
	response->body = unconstify(char *, text);
	response->body_length = text_length;
	return true;
}

/* What has failed: false when that stays so, else there are no records, with a problem. */
static bool
failed(const page_failure *failure, split_result *records)
{
	memset(records, 0, sizeof(*records));
	if (!failure->again)
		return false;
	records->problem = failure->message;
	records->problem_offset = failure->offset;
	return true;
}

/*
 * page_read() of a body that page_decode() has made text already.
 */
bool
page_read_text(const page_options *options, http_response *response, const page_text *text,
			   size_t limit, split_result *records, page_failure *failure)
{
	memset(records, 0, sizeof(*records));
	memset(failure, 0, sizeof(*failure));
	return read_text(options, response, text, limit, records, failure) || failed(failure, records);
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
	page_text text;

	memset(records, 0, sizeof(*records));
	memset(failure, 0, sizeof(*failure));
	return (page_decode(options, response, limit, &text, failure) &&
			read_text(options, response, &text, limit, records, failure)) ||
		   failed(failure, records);
}
