/*-------------------------------------------------------------------------
 *
 * fuzz_page_value.c
 *	  page_value(): a cursor in any page, by any path; and graphql_error().
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "extract/page/graphql.h"
#include "extract/page/page_value.h"
#include "extract/page/record_path.h"

typedef struct path_text
{
	const char *text;
	List *path;
} path_text;

static void
parse_path(void *argument)
{
	path_text *p = argument;

	p->path = record_path_parse(p->text, false);
}

/*
 * Input: a path, a line feed, a page.
 */
FUZZ_TARGET(page_value)
{
	path_text p = {0};
	char *value;

	p.text = fuzz_take_line(&input, &size);
	if (fuzz_try(parse_path, &p) != 0)
		return;
	value = page_value(input, size, p.path);
	if (value != NULL)
		fuzz_require(strlen(value) <= size);
	(void) graphql_error(input, size, &value);
}
