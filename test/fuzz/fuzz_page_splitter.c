/*-------------------------------------------------------------------------
 *
 * fuzz_page_splitter.c
 *	  split_records() and record_path_parse() on any path and page.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "extract/page/record_path.h"
#include "extract/page/split.h"

typedef struct path_text
{
	const char *text;
	List *path;
} path_text;

static void
parse_path(void *argument)
{
	path_text *p = argument;

	p->path = record_path_parse(p->text, true);
}

/*
 * Input: a path, a line feed, a page.  Records lie in the page, in order and apart; a page
 * that is JSON is whole and has as many as PostgreSQL's own parser finds.
 */
FUZZ_TARGET(page_splitter)
{
	path_text p = {0};
	split_result result;
	size_t end = 0;
	int64 expected;

	p.text = fuzz_take_line(&input, &size);
	if (fuzz_try(parse_path, &p) != 0)
		return;
	split_records(input, size, p.path, &result);
	fuzz_require(result.problem == NULL || result.count == 0);
	fuzz_require(result.problem_offset <= size);
	for (int i = 0; i < result.count; i++)
	{
		fuzz_require(result.records[i].offset >= end && result.records[i].length > 0);
		end = result.records[i].offset + result.records[i].length;
		fuzz_require(end <= size);
	}

	expected = fuzz_count_values(input, size, p.path);
	if (expected >= 0)
		fuzz_require(result.problem == NULL && result.count == expected);
	for (int i = 0; expected >= 0 && i < result.count; i++)
		fuzz_require(fuzz_count_values(input + result.records[i].offset, result.records[i].length,
									   NIL) == 1);
}
