/*-------------------------------------------------------------------------
 *
 * fuzz_page_reader.c
 *	  page_read(): a body of any format, charset and compression to records.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "extract/page/page.h"
#include "extract/page/record_path.h"

#define LIMIT 65536

/* Which of the letters a byte is; the first unless it is one of them. */
static int
choice(const char *letters, char c)
{
	const char *found = c ? strchr(letters, c) : NULL;

	return found ? (int) (found - letters) : 0;
}

/*
 * The first line says how a page is declared: format (j, n, c), compression (a, -, g, z), first
 * line of CSV (- s m h), its delimiter, quote and escape, charset.
 */
static void
read_options(page_options *options, char *line)
{
	char letters[6] = {0};

	memcpy(letters, line, strnlen(line, sizeof(letters)));
	options->format = choice("jnc", letters[0]);
	options->records_path = record_path_parse("$[*]", true);
	options->compression = choice("a-gz", letters[1]);
	options->csv.header = choice("-smh", letters[2]);
	options->csv.delimiter = strchr("\r\"", letters[3]) ? ',' : letters[3];
	options->csv.quote =
		strchr("\r", letters[4]) || letters[4] == options->csv.delimiter ? '"' : letters[4];
	options->csv.escape =
		strchr("\r", letters[5]) || letters[5] == options->csv.delimiter ? '"' : letters[5];
	options->csv.null = "";
	if (options->csv.header != CSV_HEADER_NAMES)
		options->csv.columns = list_make2("a", "b");
	if (strlen(line) > sizeof(letters))
		options->charset = line + sizeof(letters);
}

/*
 * Input: how the page is declared, a line feed, a Content-Type, a line feed, a body.  Records
 * lie in the text that was made, and where they come from in what was received.
 */
FUZZ_TARGET(page_reader)
{
	page_options options = {0};
	http_header type = {.name = "content-type"};
	http_response response = {.context = CurrentMemoryContext, .status = 200};
	split_result records;
	page_failure failure;

	read_options(&options, fuzz_take_line(&input, &size));
	type.value = fuzz_take_line(&input, &size);
	response.headers = list_make1(&type);
	response.body = palloc(size + 1);
	memcpy(response.body, input, size);
	response.body[size] = '\0';
	response.body_length = size;
	if (!page_read(&options, &response, LIMIT, &records, &failure))
	{
		fuzz_require(failure.message != NULL && failure.sqlstate != 0);
		return;
	}
	fuzz_require(records.problem == NULL || records.count == 0);
	fuzz_require(response.body[response.body_length] == '\0');
	for (int i = 0; i < records.count; i++)
	{
		fuzz_require(records.records[i].offset + records.records[i].length <= response.body_length);
		if (records.origin != NULL)
			fuzz_require(records.origins[i].offset + records.origins[i].length <= records.received);
	}
	for (int i = 0; i < records.flaw_count; i++)
		fuzz_require(records.flaws[i].record < records.count && records.flaws[i].reason != NULL);
}
